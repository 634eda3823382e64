"""Two companies with a row in every table, for tests of what SQL can reach."""

from collections.abc import Generator

import pytest

from tests.conftest import Servers
from tests.isolation.estate import Estate, Owner, build, clear


@pytest.fixture(scope="module")
def owner(servers: Servers) -> Generator[Owner]:
    with servers.as_owner() as connection:
        yield connection


@pytest.fixture(scope="module")
def estate(owner: Owner) -> Generator[Estate]:
    made = build(owner)
    yield made
    clear(owner, made)
