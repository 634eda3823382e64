"""Every route of a company, from the application's own table, as those who do not belong to it.

Outsiders, removed members and people of no company meet the same bytes as for a company that does not exist, and
ids of another company's rows are as unknown in one's own as ids of no row at all.
"""

from collections.abc import Iterator

import pytest

from operalta.access.rules import Role
from operalta.web.entry import Audience
from tests.isolation.calling import (
    NO_COMPANY,
    READING,
    Plot,
    Plots,
    call,
    headers_of,
    nothing,
    routes_for,
    without_request_id,
)
from tests.isolation.digest import changed, snapshot
from tests.isolation.estate import Owner
from tests.isolation.route_law import lawful
from tests.web.site import Client, Site
from tests.web.test_declarations import routes


@pytest.mark.proves("2.4.1", "2.5.0", "2.5.1")
def test_every_route_is_for_whom_the_law_says(site: Site) -> None:
    declared = {
        f"{each.method} {each.path}": each.declarations[0].permission or each.declarations[0].audience
        for each in routes(site)
    }
    assert declared == lawful()


@pytest.mark.proves("2.4.1")
def test_every_documented_operation_is_a_route_of_the_law(site: Site) -> None:
    described = site.visitor().get("/api/openapi.json").json["paths"]
    documented = {f"{method.upper()} {path}" for path, methods in described.items() for method in methods}
    assert len(documented) > 70
    assert documented - lawful().keys() <= {"GET /healthz", "GET /readyz"}


def strangers(plots: Plots) -> Iterator[tuple[str, Client, Plot]]:
    """Yield everybody who does not belong to a company, with the company."""
    for own, other in plots.both():
        yield f"founder of the {other.kind}", other.founder, own
        yield "removed founder", own.clients["removed"], own
    yield "newcomer", plots.newcomer, plots.startup


@pytest.mark.proves("2.4.1", "2.4.2", "2.5.0")
def test_strangers_meet_the_same_answer_as_for_a_company_that_does_not_exist(site: Site, plots: Plots) -> None:
    for who, client, plot in strangers(plots):
        for route in routes_for(site, Audience.COMPANY):
            theirs = call(client, route, plot.slug, plot.ids)
            nobodys = call(client, route, NO_COMPANY, plot.ids)
            place = (who, route.method, route.path, theirs.status, nobodys.status)
            assert theirs.status == nobodys.status == 404, place
            assert plot.canary not in theirs.text, place
            assert without_request_id(theirs) == without_request_id(nobodys).replace(NO_COMPANY, plot.slug), place
            assert headers_of(theirs) == headers_of(nobodys), place


@pytest.mark.proves("2.4.1", "2.4.2", "2.5.0")
def test_the_companys_id_in_the_address_opens_no_more_than_its_name(site: Site, plots: Plots) -> None:
    plot, other = plots.startup, plots.investor
    for route in routes_for(site, Audience.COMPANY):
        if route.method in READING:
            answer = call(other.founder, route, str(plot.company_id), plot.ids)
            assert answer.status == 404, (route.path, answer.status)


@pytest.mark.proves("2.4.1", "2.4.2")
def test_rows_of_another_company_are_not_found_from_ones_own(site: Site, plots: Plots) -> None:
    """With every right in one's own company, an id of another company's row is as unknown as one of no row at all."""
    walked = 0
    for own, other in plots.both():
        for route in routes_for(site, Audience.COMPANY):
            if "{" not in route.path.replace("{company}", ""):
                continue
            walked += 1
            theirs = call(own.founder, route, own.slug, other.ids)
            nobodys = call(own.founder, route, own.slug, nothing(own))
            place = (route.method, route.path, theirs.status, nobodys.status)
            assert theirs.status == nobodys.status == 404, place
            assert other.canary not in theirs.text, place
            assert without_request_id(theirs) == without_request_id(nobodys), place
    assert walked > 80


@pytest.mark.proves("2.4.1", "2.4.2")
def test_strangers_change_nothing_of_a_company(site: Site, plots: Plots, owner: Owner) -> None:
    """Its rows are the same before and after, whatever was sent and to whichever address."""
    for own, other in plots.both():
        needles = (own.company_id, own.canary, *own.people.values())
        before = snapshot(owner, *needles)
        assert len({place for place, _ in before}) > 15
        for route in routes_for(site, Audience.COMPANY):
            if route.method not in READING:
                call(other.founder, route, own.slug, own.ids)
                call(other.founder, route, other.slug, own.ids)
                call(own.clients["removed"], route, own.slug, own.ids)
        assert changed(before, snapshot(owner, *needles)) == {}


@pytest.mark.proves("2.5.0")
def test_nobodys_own_pages_tell_of_a_company_they_are_not_in(site: Site, plots: Plots) -> None:
    for who, client, plot in strangers(plots):
        for route in routes_for(site, Audience.PERSON):
            if route.method in READING:
                answer = call(client, route, plot.slug, plot.ids)
                fine = {404} if "/staff" in route.path else {200, 303, 403}  # nobody here is staff
                assert answer.status in fine, (who, route.path, answer.status)
                assert plot.canary not in answer.text, (who, route.path)
                assert plot.slug not in answer.text, (who, route.path)


@pytest.mark.proves("2.5.0")
def test_a_founder_finds_their_own_company_on_their_own_pages(plots: Plots) -> None:
    """Else the test above would prove nothing."""
    for plot, _ in plots.both():
        for path in ("/companies", "/api/v1/companies"):
            assert plot.canary in plot.clients[Role.FOUNDER].get(path).text
