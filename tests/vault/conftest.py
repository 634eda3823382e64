"""What tests of connections share: a provider, and the room of a deployment with somebody at its desk."""

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.conftest import Member, Pools, Servers, World
from tests.vault.authorization_server import AuthorizationServer, serving
from tests.vault.desk import Desk, make_desk


@pytest.fixture
def server() -> Generator[AuthorizationServer]:
    with serving() as started:
        yield started


@pytest.fixture
def founder(world: World) -> Member:
    return world.member(world.company())


@pytest.fixture
def desk(servers: Servers, pools: Pools, tmp_path: Path, server: AuthorizationServer, founder: Member) -> Desk:
    made = make_desk(servers, pools, tmp_path, server, founder)
    made.box.change("DELETE FROM credentials.oauth_revocations")
    return made
