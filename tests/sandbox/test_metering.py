from collections.abc import AsyncIterator
from uuid import UUID

import httpx2
import pytest

from operalta.kernel.ids import CompanyId, RunId
from operalta.sandbox import errors
from operalta.sandbox.egress import ALLOW_LISTED, OPEN, EgressDoor, FetchedPage
from operalta.sandbox.metering import VOLUME_UNIT, Errand
from operalta.sandbox.transport import EgressTransport
from tests.sandbox.staging import (
    PUBLIC,
    Counted,
    Log,
    LoopbackServer,
    Names,
    StagedNetwork,
    StartServer,
    answer,
    narrowed,
)

COMPANY, RUN = CompanyId(UUID(int=1)), RunId(UUID(int=2))


class Away:
    """A meter whose store does not answer."""

    async def admit_request(self, errand: Errand) -> None:  # noqa: ARG002 - of the protocol
        raise errors.FetchNotCounted

    async def admit_volume(self, errand: Errand) -> None:  # noqa: ARG002 - of the protocol
        raise AssertionError("the request was not admitted")


class Outpaced(Counted):
    """A meter whose store goes away after the request was admitted."""

    async def admit_volume(self, errand: Errand) -> None:  # noqa: ARG002 - of the protocol
        raise errors.FetchNotCounted


def staged(log: Log, server: LoopbackServer, meter: Counted | Away | None) -> tuple[EgressDoor, StagedNetwork, Names]:
    network, names = StagedNetwork({PUBLIC: server.port}), Names({"a.example": [PUBLIC]})
    return EgressDoor(OPEN, [], log, meter=meter, resolve=names, network=network), network, names


async def get(door: EgressDoor, path: str = "") -> FetchedPage:
    return await door.fetch(
        f"http://a.example/{path}", surface=OPEN, purpose="test", company_id=COMPANY, run_id=RUN
    )  # fmt: skip


@pytest.mark.proves("5.4.3")
async def test_each_step_is_counted_for_its_company_and_run(start_server: StartServer, log: Log) -> None:
    server, meter = await start_server(), Counted()
    server.answers |= {"/from": answer(302, b"", "Location: /to"), "/to": answer()}
    door, _, _ = staged(log, server, meter)
    await get(door, "from")
    assert [(errand.company_id, errand.run_id) for errand in meter.requests] == [(COMPANY, RUN)] * 2
    assert len(meter.units) == 1, "the redirect has no body"
    await door.fetch("http://a.example/to", surface=OPEN, purpose="the deployment's own")
    assert len(meter.requests) == 2


@pytest.mark.proves("5.4.3")
async def test_a_request_that_is_not_admitted_does_not_even_ask_for_the_name(
    start_server: StartServer, log: Log
) -> None:
    server = await start_server()
    server.answers["/"] = answer(302, b"", "Location: /")
    door, network, names = staged(log, server, Counted(most_requests=2))
    with pytest.raises(errors.FetchLimitReached):
        await get(door)
    assert (server.connections, len(network.dialled), len(names.asked)) == (2, 2, 2)
    assert [line.refusal for line in log.lines] == [None, None, "fetch_limit_reached"]


@pytest.mark.proves("5.4.3", "4.3.3")
@pytest.mark.parametrize("meter", [Away(), None])
async def test_what_cannot_be_counted_does_not_leave(start_server: StartServer, log: Log, meter: Away | None) -> None:
    server = await start_server()
    door, network, names = staged(log, server, meter)
    with pytest.raises(errors.FetchNotCounted):
        await get(door)
    assert (network.dialled, names.asked) == ([], [])
    with pytest.raises(errors.FetchNotCounted):
        await door.fetch("http://a.example/", surface=OPEN, purpose="test", company_id=COMPANY)
    with pytest.raises(errors.FetchNotCounted):
        await door.fetch("http://a.example/", surface=OPEN, purpose="test", run_id=RUN)
    await door.fetch("http://a.example/", surface=OPEN, purpose="the deployment's own")


@pytest.mark.proves("5.4.3")
async def test_bodies_are_counted_by_units_that_are_begun(start_server: StartServer, log: Log) -> None:
    server, meter = await start_server(), Counted()
    door, _, _ = staged(log, server, meter)
    for size, units in ((0, 0), (1, 1), (VOLUME_UNIT, 1), (VOLUME_UNIT + 1, 2), (5 * VOLUME_UNIT, 5)):
        meter.units.clear()
        server.answers["/"] = answer(200, b"x" * size)
        assert len((await get(door)).body) == size
        assert len(meter.units) == units


@pytest.mark.proves("5.4.3")
async def test_a_body_ends_where_its_volume_does(start_server: StartServer, log: Log) -> None:
    server = await start_server()
    server.answers["/endless"] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
    server.endless = b"x" * 10_000
    door, _, _ = staged(log, server, Counted(most_units=2))
    with pytest.raises(errors.FetchLimitReached):
        await get(door, "endless")
    assert log.lines[-1].refusal == "fetch_limit_reached"
    assert 2 * VOLUME_UNIT < log.lines[-1].bytes_received < 3 * VOLUME_UNIT
    door, _, _ = staged(log, server, Outpaced())
    with pytest.raises(errors.FetchNotCounted):
        await get(door)


@pytest.mark.proves("5.4.3")
async def test_what_is_sent_counts_before_it_leaves(start_server: StartServer, log: Log) -> None:
    server, meter = await start_server(), Counted(most_units=2)
    host = f"127.0.0.1:{server.port}"
    door = EgressDoor(OPEN, [host], log, meter=meter)
    surface = narrowed(ALLOW_LISTED.for_hosts(host))
    transport = EgressTransport(door, surface, purpose="model", company_id=COMPANY, run_id=RUN)

    async def large() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * VOLUME_UNIT

    async with httpx2.AsyncClient(transport=transport, trust_env=False) as client:
        with pytest.raises(errors.FetchLimitReached):
            await client.post(f"http://{host}/", content=large())
        assert server.connections == 0
        meter.units.clear()
        await client.post(f"http://{host}/", content=b"x" * VOLUME_UNIT)
    assert len(meter.units) == 2, "one sent, one received"
