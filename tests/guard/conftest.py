"""Stores and limiters for the tests of the guard room."""

from collections.abc import AsyncIterator, Iterator

import pytest

from operalta.guard.limiter import Limiter
from tests.guard.store_server import DIGEST_KEY, Connect, Store, new_store


@pytest.fixture(scope="session")
def shared_store() -> Iterator[Store]:
    store = new_store()
    try:
        store.start()
        yield store
    finally:
        store.close()


@pytest.fixture
def store(shared_store: Store) -> Store:
    shared_store.command("FLUSHALL")
    return shared_store


@pytest.fixture
def own_store() -> Iterator[Store]:
    """A server that the test may break."""
    store = new_store()
    try:
        store.start()
        yield store
    finally:
        store.close()


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Make limiters that wait long enough for a busy machine, and close them."""
    limiters: list[Limiter] = []

    def make(store: Store) -> Limiter:
        limiter = Limiter(
            store.url, digest_key=DIGEST_KEY, socket_timeout_seconds=20, deadline_seconds=20, connections=16
        )
        limiters.append(limiter)
        return limiter

    yield make
    for limiter in limiters:
        await limiter.close()
