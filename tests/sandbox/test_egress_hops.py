"""What holds from hop to hop: names, addresses, cookies; and the other family of addresses."""

import asyncio
from ipaddress import ip_address

import httpx2
import pytest

from operalta.sandbox import errors
from operalta.sandbox.dialling import Address
from operalta.sandbox.egress import OPEN, EgressDoor
from tests.sandbox.staging import (
    OTHER,
    PUBLIC,
    Authority,
    Log,
    LoopbackServer,
    Names,
    StagedNetwork,
    StartServer,
    answer,
    get,
    staged,
    transport_to,
)


async def test_cookies_are_never_kept(start_server: StartServer, log: Log) -> None:
    first, second = await start_server(), await start_server()
    kept = "Set-Cookie: session=secret; Path=/"
    first.answers |= {"/": answer(302, b"", "Location: /again", kept), "/again": answer(200, b"x", kept)}
    door = staged(log, first, second)
    for _ in range(2):
        page = await get(door, "http://a.example/")
        assert "secret" not in repr(page.headers)
    transport, base = transport_to(log, second)
    second.answers["/"] = answer(200, b"x", kept, "Set-Cookie2: session=secret")
    async with httpx2.AsyncClient(transport=transport, trust_env=False) as client:
        for _ in range(2):
            response = await client.get(base + "/")
            assert "set-cookie" not in response.headers
        assert list(client.cookies.jar) == []
    for server in (first, second):
        assert all(server.field_of(index, "cookie") is None for index in range(len(server.requests)))


async def test_a_head_without_end_is_given_up(start_server: StartServer, log: Log) -> None:
    server = await start_server()
    server.answers["/endless"] = b"HTTP/1.1 200 OK\r\n"
    server.endless = b"X-More: " + b"x" * 1_000 + b"\r\n"
    with pytest.raises(errors.FetchFailed):
        await get(staged(log, server), "http://a.example/endless")
    assert log.lines[-1].refusal == "fetch_failed"


@pytest.mark.proves("5.4.2")
async def test_every_hop_of_a_chain_is_resolved_checked_and_dialled_anew(start_server: StartServer, log: Log) -> None:
    first, second = await start_server(), await start_server()
    first.answers = {f"/{step}": answer(302, b"", f"Location: http://b.example/{step}") for step in range(3)}
    second.answers = {f"/{step}": answer(307, b"", f"Location: //a.example/{step + 1}") for step in range(3)}
    first.answers["/2"] = answer(200, b"end")
    names = Names({"a.example": [PUBLIC], "b.example": [OTHER]})
    network = StagedNetwork({PUBLIC: first.port, OTHER: second.port})
    page = await get(EgressDoor(OPEN, [], log, resolve=names, network=network), "http://a.example/0")
    assert page.body == b"end"
    assert names.asked == ["a.example", "b.example"] * 2 + ["a.example"]
    assert [address for address, _ in network.dialled] == [PUBLIC, OTHER, PUBLIC, OTHER, PUBLIC]
    assert [line.address for line in log.lines] == [PUBLIC, OTHER, PUBLIC, OTHER, PUBLIC]


@pytest.mark.proves("5.4.2")
async def test_a_name_that_turns_inward_between_two_hops_is_refused(start_server: StartServer, log: Log) -> None:
    outside = await start_server()
    outside.answers["/"] = answer(302, b"", "Location: http://a.example/again")
    answers = iter([PUBLIC, "127.0.0.1"])

    async def turning(_host: str, _port: int) -> tuple[Address, ...]:
        return (ip_address(next(answers)),)

    network = StagedNetwork({PUBLIC: outside.port})
    with pytest.raises(errors.DestinationRefused):
        await get(EgressDoor(OPEN, [], log, resolve=turning, network=network), "http://a.example/")
    assert network.dialled == [(PUBLIC, 80)]


async def test_the_name_of_another_script_is_resolved_and_sent_in_ascii(start_server: StartServer, log: Log) -> None:
    server = await start_server()
    names = Names({"xn--bcher-kva.example": [PUBLIC]})
    door = EgressDoor(OPEN, [], log, resolve=names, network=StagedNetwork({PUBLIC: server.port}))
    for host in ("b\u00fccher.example", "B\u00dcCHER.example", "bu\u0308cher\u3002example", "xn--bcher-kva.example"):
        await get(door, f"http://{host}/")
    assert set(names.asked) == {"xn--bcher-kva.example"}
    assert {server.field_of(index, "host") for index in range(4)} == {"xn--bcher-kva.example"}


async def test_an_ipv6_address_is_dialled_and_named_as_one(
    start_server: StartServer, log: Log, authority: Authority
) -> None:
    server = await start_server(tls=authority.serving("a.example"))
    address = "2606:4700:4700::1111"
    names = Names({"a.example": [address]})
    network = StagedNetwork({address: server.port})
    door = EgressDoor(OPEN, [], log, resolve=names, network=network, tls=authority.client)
    assert (await get(door, "https://a.example/")).body == b"hello"
    assert log.lines[0].address == address
    plain = await start_server()
    network.stage = {address: plain.port}
    page = await get(door, f"http://[{address.upper()}]/x")
    assert page.url == f"http://[{address}]/x"
    assert plain.field_of(0, "host") == f"[{address}]"
    assert network.dialled == [(address, 443), (address, 80)]


async def test_the_loopback_of_ipv6_is_reached_only_where_it_is_named(log: Log) -> None:
    server = LoopbackServer()
    listening = await asyncio.start_server(server.serve, "::1", 0)
    port: int = listening.sockets[0].getsockname()[1]
    async with listening:
        with pytest.raises(errors.DestinationRefused):
            await get(EgressDoor(OPEN, [], log), f"http://[::1]:{port}/")
        page = await get(EgressDoor(OPEN, [f"[::1]:{port}"], log), f"http://[0:0::1]:{port}/")
    assert page.body == b"hello"
    assert server.field_of(0, "host") == f"[::1]:{port}"
    assert server.connections == 1
