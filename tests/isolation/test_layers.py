"""Any one of the three layers may be gone: reading another company's rows still fails, on every route that reads."""

from collections.abc import Iterator

import psycopg
import pytest

from operalta.db.policy_check import check_policies
from operalta.settings import DatabaseRole
from operalta.web.entry import Audience
from tests.conftest import Servers
from tests.isolation.calling import READING, Plot, Plots, call, routes_for
from tests.isolation.estate import Owner
from tests.isolation.layers import LAYERS, without
from tests.web.site import Answer, Site
from tests.web.test_declarations import Route

Seen = tuple[Route, Answer]


def reading(site: Site, *audiences: Audience) -> list[Route]:
    """Return the routes that read."""
    return [route for route in routes_for(site, *audiences) if route.method in READING]


def at_their_address(site: Site, own: Plot, other: Plot) -> Iterator[Seen]:
    """Yield what the founder of one company gets at the address of the other."""
    for route in reading(site, Audience.COMPANY):
        yield route, call(own.founder, route, other.slug, other.ids)


def with_their_ids(site: Site, own: Plot, other: Plot) -> Iterator[Seen]:
    """Yield what a founder gets in their own company, with the other's ids, and in lists and on their own pages."""
    for route in reading(site, Audience.COMPANY, Audience.PERSON):
        yield route, call(own.founder, route, own.slug, other.ids)


@pytest.mark.proves("2.4.0")
@pytest.mark.parametrize("layer", LAYERS)
def test_without_one_layer_the_two_others_still_hold(site: Site, plots: Plots, owner: Owner, layer: str) -> None:
    own, other = plots.investor, plots.startup
    with without(owner, layer):
        there = list(at_their_address(site, own, other))
        here = list(with_their_ids(site, own, other))
    assert len(there) > 40
    for route, answer in there:
        assert answer.status in {403, 404}, (layer, route.path, answer.status)
    for route, answer in here:
        named = "{" in route.path.replace("{company}", "")
        # Nobody here is staff.
        fine = {404} if named else {200, 404} if "/staff" in route.path else {200, 303, 403}
        assert answer.status in fine, (layer, route.path, answer.status)
    leaked = [route.path for route, answer in (*there, *here) if other.canary in answer.text]
    assert leaked == [], layer


@pytest.mark.proves("2.4.0")
def test_without_all_three_the_other_company_lies_open(site: Site, plots: Plots, owner: Owner) -> None:
    """Else the test above would prove nothing."""
    own, other = plots.investor, plots.startup
    shown = {route.path for route, answer in at_their_address(site, other, other) if _tells(answer, other)}
    assert len(shown) > 20
    with without(owner, *LAYERS):
        told = {route.path for route, answer in at_their_address(site, own, other) if _tells(answer, other)}
    assert told == shown
    closed_again = [answer.status for _, answer in at_their_address(site, own, other)]
    assert set(closed_again) == {404}


def _tells(answer: Answer, plot: Plot) -> bool:
    """Tell whether a company's texts stand in an answer that is no page (their frame looks one's company up, too)."""
    return plot.canary in answer.text and not answer.header("content-type").startswith("text/html")


def test_everything_is_back_in_its_place(servers: Servers) -> None:
    with psycopg.connect(servers.settings.database_dsn(DatabaseRole.VERIFIER)) as connection:
        assert check_policies(connection) == []
