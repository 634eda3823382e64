"""What tests of connections and webhooks share: what is outside, and the room of a deployment with somebody in it."""

from collections.abc import Generator
from pathlib import Path
from uuid import UUID

import pytest

from tests.conftest import Member, Pools, Servers, World
from tests.vault.authorization_server import AuthorizationServer, serving
from tests.vault.desk import Desk, make_desk
from tests.vault.post import Post, make_post
from tests.vault.receiver import WebhookReceiver, receiving


@pytest.fixture
def server() -> Generator[AuthorizationServer]:
    with serving() as started:
        yield started


@pytest.fixture
def receiver() -> Generator[WebhookReceiver]:
    with receiving() as started:
        yield started


@pytest.fixture
def company(world: World) -> tuple[UUID, str]:
    return world.company()


@pytest.fixture
def founder(world: World, company: tuple[UUID, str]) -> Member:
    return world.member(company)


@pytest.fixture
def desk(servers: Servers, pools: Pools, tmp_path: Path, server: AuthorizationServer, founder: Member) -> Desk:
    made = make_desk(servers, pools, tmp_path, server, founder)
    made.box.change("DELETE FROM credentials.oauth_revocations")
    return made


@pytest.fixture
def post(servers: Servers, pools: Pools, tmp_path: Path, receiver: WebhookReceiver, founder: Member) -> Post:
    return make_post(servers, pools, tmp_path, receiver, founder)
