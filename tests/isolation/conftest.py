"""The served application, for walking its routes, and two companies in it."""

from collections.abc import Generator

import pytest

from operalta.guard.limiter import Limiter
from operalta.guard.rules import Rule, Subjects
from tests.conftest import Servers
from tests.isolation.calling import Plots, make_plots
from tests.isolation.estate import Owner, forget
from tests.web.site import Site, serving


@pytest.fixture(scope="session")
def site(servers: Servers) -> Generator[Site]:
    with serving(servers) as started:
        yield started


@pytest.fixture(scope="module", autouse=True)
def unlimited() -> Generator[None]:
    """Count nothing: the matrix asks more in a minute than any person, and limits are proved elsewhere."""

    async def admit(_self: Limiter, _rule: Rule, _subjects: Subjects) -> None:
        return None

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Limiter, "admit", admit)
        yield


@pytest.fixture(scope="module")
def owner(servers: Servers) -> Generator[Owner]:
    with servers.as_owner() as connection:
        yield connection


@pytest.fixture(scope="module")
def plots(site: Site, owner: Owner) -> Generator[Plots]:
    made = make_plots(site, owner)
    yield made
    companies = (made.startup, made.investor)
    people = [person for each in companies for person in each.people.values()]
    forget(owner, [each.company_id for each in companies], people)
