"""Requests of runs, counted by the real limiter: for the run, for its company, and not at all without the store."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest

from operalta.agents.way_out import EgressLimits, doors
from operalta.guard import rules
from operalta.guard.limiter import Limiter
from operalta.guard.rules import Dimension
from operalta.kernel.ids import CompanyId, RunId
from operalta.sandbox.errors import FetchLimitReached, FetchNotCounted
from operalta.sandbox.metering import Errand
from operalta.sandbox.policies import OPEN
from operalta.settings import Settings
from tests.guard.store_server import DIGEST_KEY, Store, new_store
from tests.sandbox.staging import Log, LoopbackServer


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    server = new_store()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
async def limiter(store: Store) -> AsyncIterator[Limiter]:
    async with Limiter(store.url, digest_key=DIGEST_KEY, socket_timeout_seconds=20, deadline_seconds=20) as made:
        yield made


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
async def server() -> AsyncIterator[LoopbackServer]:
    made = LoopbackServer()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield made


def errand() -> Errand:
    return Errand("test", CompanyId(uuid4()), RunId(uuid4()))


async def admitted(limits: EgressLimits, who: list[Errand], *, volume: bool = False) -> int:
    admit = limits.admit_volume if volume else limits.admit_request
    for number, each in enumerate(who):
        try:
            await admit(each)
        except FetchLimitReached as refusal:
            assert refusal.retry_after is not None  # noqa: PT017 - each of many
            return number
    return len(who)


@pytest.mark.proves("5.4.3")
@pytest.mark.parametrize("volume", [False, True])
async def test_a_run_and_a_company_have_only_so_much(limiter: Limiter, *, volume: bool) -> None:
    rule = rules.EGRESS_VOLUME if volume else rules.EGRESS_REQUESTS
    most_of_a_run = rule.limits[Dimension.IDENTITY].limit
    most_of_a_company = rule.limits[Dimension.COMPANY].limit
    limits, one = EgressLimits(limiter), errand()
    assert await admitted(limits, [one] * (most_of_a_run + 1), volume=volume) == most_of_a_run
    assert await admitted(limits, [errand()], volume=volume) == 1, "others are not affected"
    colleagues = [Errand("test", one.company_id, RunId(uuid4())) for _ in range(most_of_a_company)]
    assert await admitted(limits, colleagues, volume=volume) == most_of_a_company - most_of_a_run
    runless = Errand("test", CompanyId(uuid4()))
    assert await admitted(limits, [runless] * (most_of_a_run + 1), volume=volume) == most_of_a_run + 1


@pytest.mark.proves("5.4.3", "4.3.3")
async def test_without_the_store_nothing_leaves(tmp_path: object, log: Log, server: LoopbackServer) -> None:
    async with Limiter(f"unix://{tmp_path}/none.sock", digest_key=DIGEST_KEY) as away:
        settings = Settings(egress_exemptions=(f"127.0.0.1:{server.port}",))
        door = doors(settings, away)(log)
        who = errand()
        with pytest.raises(FetchNotCounted):
            await door.fetch(
                f"http://127.0.0.1:{server.port}/", surface=OPEN, purpose="test", company_id=who.company_id
            )
    assert server.connections == 0


@pytest.mark.proves("5.4.3")
async def test_a_door_counts_with_the_store(limiter: Limiter, log: Log, server: LoopbackServer) -> None:
    door = doors(Settings(egress_exemptions=(f"127.0.0.1:{server.port}",)), limiter)(log)
    who = errand()
    await admitted(EgressLimits(limiter), [who] * (rules.EGRESS_REQUESTS.limits[Dimension.IDENTITY].limit - 1))
    url = f"http://127.0.0.1:{server.port}/"
    await door.fetch(url, surface=OPEN, purpose="test", company_id=who.company_id, run_id=who.run_id)
    with pytest.raises(FetchLimitReached):
        await door.fetch(url, surface=OPEN, purpose="test", company_id=who.company_id, run_id=who.run_id)
    assert server.connections == 1
