"""What tests of pages and of the API share: the served application, and a company with one member of each role."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from tests.agents.conftest import Desk
from tests.conftest import Member, Pools, Servers, World
from tests.web.site import Client, Site, serving


@pytest.fixture(scope="session")
def served(servers: Servers) -> Generator[Site]:
    with serving(servers) as started:
        yield started


@pytest.fixture
def site(served: Site) -> Site:
    """The served application, with every limit untouched: all tests come from one address."""
    store: Any = redis.Redis.from_url(served.services.settings.redis_address)  # pyright: ignore[reportUnknownMemberType] - the package leaves its arguments untyped
    store.flushall()
    store.close()
    return served


@dataclass(frozen=True)
class House:
    """A startup with a founder, an advisor, an investor and an observer, and the founder of another company."""

    slug: str
    members: dict[str, Member]
    clients: dict[str, Client]
    outsider: Client

    @property
    def founder(self) -> Client:
        return self.clients["founder"]

    @property
    def observer(self) -> Client:
        return self.clients["observer"]


@pytest.fixture
def house(site: Site, world: World) -> House:
    company = world.company()
    members = {role: world.member(company, role) for role in ("founder", "advisor", "investor", "observer")}
    return House(
        company[1],
        members,
        {role: site.member(member) for role, member in members.items()},
        site.member(world.member(world.company())),
    )


@pytest.fixture
def desk(pools: Pools, servers: Servers, site: Site) -> Desk:
    """Works on the runs that requests to the site make."""
    return Desk(pools, servers, site.services.files, ())
