import gzip
import ssl
from ipaddress import ip_address

import anyio
import httpcore2
import httpx2
import pytest

from operalta.sandbox import egress, errors
from operalta.sandbox.dialling import Address, PinnedNetwork, resolve_with_system
from operalta.sandbox.egress import (
    ALLOW_LISTED,
    NONE,
    OPEN,
    EgressDoor,
    EgressLine,
    charset_of,
    sendable_fields,
)
from operalta.sandbox.transport import EgressTransport
from tests.sandbox.staging import (
    OTHER,
    PUBLIC,
    Authority,
    Log,
    Names,
    StagedNetwork,
    StartServer,
    answer,
    get,
    narrowed,
    staged,
    transport_to,
)


async def test_a_page_comes_back_with_its_line(start_server: StartServer, log: Log) -> None:
    server = await start_server()
    server.answers["/page"] = answer(200, b"gr\xfcezi", "Set-Cookie: a=b", content_type="text/plain; charset=latin1")
    page = await get(staged(log, server), "http://a.example/page?token=secret#part")
    assert (page.status, page.text, page.content_type) == (200, "grüezi", "text/plain")
    assert page.url == "http://a.example/page?token=secret"
    assert page.header("set-cookie") == ""
    assert [hop.status for hop in page.hops] == [200]
    assert server.field_of(0, "host") == "a.example"
    assert server.requests[0].startswith(b"GET /page?token=secret HTTP/1.1\r\n")
    (line,) = log.lines
    assert (line.scheme, line.host, line.port, line.path) == ("http", "a.example", 80, "/page")
    assert (line.address, line.status, line.refusal, line.bytes_received) == (PUBLIC, 200, None, 6)
    assert (line.policy, line.method, line.errand.purpose) == ("open", "GET", "test")
    assert "secret" not in repr(line)


@pytest.mark.proves("5.4.1")
@pytest.mark.parametrize(
    ("target", "rule"),
    [
        ("http://169.254.169.254/latest/meta-data/", "metadata"),
        ("http://[::ffff:169.254.169.254]/", "metadata"),
        ("http://127.0.0.1/", "address"),
        ("//127.0.0.1/", "address"),
        ("http://2130706433/", "address"),
        ("http://inside.example/", "address"),
        ("http://nowhere.example/", "address"),
        ("file:///etc/passwd", "scheme"),
        ("http://user:secret@b.example/", "credentials"),
        ("http://b.example:8080/", "port"),
    ],
)
async def test_a_redirect_is_judged_like_a_first_request(
    start_server: StartServer, log: Log, target: str, rule: str
) -> None:
    server = await start_server()
    server.answers["/"] = answer(302, b"", f"Location: {target}")
    with pytest.raises(errors.DestinationRefused) as refusal:
        await get(staged(log, server), "http://a.example/")
    assert refusal.value.rule == rule
    assert server.connections == 1
    assert [line.refusal for line in log.lines] == [None, rule]
    assert log.lines[1].address is None


@pytest.mark.proves("5.4.1", "5.4.2")
async def test_a_redirect_to_a_loopback_server_never_reaches_it(start_server: StartServer, log: Log) -> None:
    outside, inside = await start_server(), await start_server()
    for target in (f"http://127.0.0.1:{inside.port}/", f"http://0x7f.1:{inside.port}/",
                   f"http://[::ffff:127.0.0.1]:{inside.port}/", f"http://localhost:{inside.port}/"):  # fmt: skip
        outside.answers["/"] = answer(307, b"", f"Location: {target}")
        with pytest.raises(errors.DestinationRefused):
            await get(staged(log, outside), "http://a.example/")
    assert inside.connections == 0


@pytest.mark.proves("5.4.2")
async def test_a_resolver_that_flips_never_wins(start_server: StartServer, log: Log) -> None:
    outside, inside = await start_server(), await start_server()
    asked = 0

    async def flipping(_host: str, _port: int) -> tuple[Address, ...]:
        nonlocal asked
        asked += 1
        return (ip_address(PUBLIC if asked % 2 else "127.0.0.1"),)

    network = StagedNetwork({PUBLIC: outside.port})
    policy = narrowed(OPEN, ports=frozenset({inside.port}))
    door = EgressDoor(OPEN, [], log, resolve=flipping, network=network)
    fetched = refused = 0
    for _ in range(1_000):
        try:
            await get(door, f"http://flip.example:{inside.port}/", policy)
            fetched += 1
        except errors.DestinationRefused:
            refused += 1
    assert inside.connections == 0
    assert {address for address, _ in network.dialled} == {PUBLIC}
    assert (asked, fetched, refused) == (1_000, 500, 500)


@pytest.mark.proves("5.4.2")
async def test_one_local_answer_among_public_ones_refuses_the_name(start_server: StartServer, log: Log) -> None:
    inside = await start_server()
    for addresses in ([PUBLIC, "127.0.0.1"], ["::1", PUBLIC], [PUBLIC, "::ffff:10.0.0.1"]):
        network = StagedNetwork({PUBLIC: inside.port})
        door = EgressDoor(OPEN, [], log, resolve=Names({"a.example": addresses}), network=network)
        with pytest.raises(errors.DestinationRefused):
            await get(door, "http://a.example/")
        assert network.dialled == []


async def test_the_next_address_is_tried_when_one_does_not_answer(start_server: StartServer, log: Log) -> None:
    server = await start_server()
    network = StagedNetwork({OTHER: server.port})
    door = EgressDoor(OPEN, [], log, resolve=Names({"a.example": [PUBLIC, OTHER]}), network=network)
    assert (await get(door, "http://a.example/")).body == b"hello"
    assert network.dialled == [(PUBLIC, 80), (OTHER, 80)]
    assert log.lines[0].address == OTHER


@pytest.mark.proves("5.4.1")
async def test_an_exempt_destination_passes_and_its_neighbours_do_not(start_server: StartServer, log: Log) -> None:
    named, neighbour = await start_server(), await start_server()
    door = EgressDoor(OPEN, [f"127.0.0.1:{named.port}"], log)
    page = await get(door, f"http://127.0.0.1:{named.port}/")
    assert page.body == b"hello"
    assert log.lines[0].address == "127.0.0.1"
    for url in (f"http://127.0.0.1:{neighbour.port}/", f"http://localhost:{named.port}/"):
        with pytest.raises(errors.DestinationRefused):
            await get(door, url)
    named.answers["/"] = answer(302, b"", f"Location: http://127.0.0.1:{neighbour.port}/")
    with pytest.raises(errors.DestinationRefused):
        await get(door, f"http://127.0.0.1:{named.port}/")
    assert neighbour.connections == 0
    with pytest.raises(errors.DestinationRefused, match="Nothing is fetched"):
        await get(door, f"http://127.0.0.1:{named.port}/", NONE)
    with pytest.raises(errors.DestinationRefused, match="not on the list"):
        await get(door, f"http://127.0.0.1:{named.port}/", ALLOW_LISTED.for_hosts("a.example"))


@pytest.mark.proves("5.4.1")
async def test_no_page_from_outside_leads_to_an_exempt_destination(start_server: StartServer, log: Log) -> None:
    outside, named = await start_server(), await start_server()
    outside.answers["/"] = answer(302, b"", f"Location: http://127.0.0.1:{named.port}/")
    with pytest.raises(errors.DestinationRefused):
        await get(staged(log, outside, exemptions=(f"127.0.0.1:{named.port}",)), "http://a.example/")
    assert named.connections == 0


@pytest.mark.proves("5.4.1")
async def test_proxies_of_the_environment_are_ignored(
    start_server: StartServer, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, proxy = await start_server(), await start_server()
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    door = EgressDoor(OPEN, [f"127.0.0.1:{named.port}"], log)
    await get(door, f"http://127.0.0.1:{named.port}/")
    surface = ALLOW_LISTED.for_hosts(f"127.0.0.1:{named.port}")
    transport = EgressTransport(door, surface, purpose="model")
    async with httpx2.AsyncClient(transport=transport, trust_env=False) as client:
        await client.get(f"http://127.0.0.1:{named.port}/")
    assert (named.connections, proxy.connections) == (2, 0)


async def test_credentials_stay_with_the_origin_they_were_meant_for(start_server: StartServer, log: Log) -> None:
    first, second = await start_server(), await start_server()
    first.answers |= {
        "/": answer(302, b"", "Location: /again"),
        "/again": answer(302, b"", "Location: http://b.example/"),
    }
    second.answers |= {"/": answer(302, b"", "Location: /end"), "/end": answer()}
    page = await staged(log, first, second).fetch(
        "http://a.example/", surface=OPEN, purpose="test",
        headers={"Authorization": "Bearer x", "Cookie": "a=b", "X-Api-Key": "k", "Accept-Language": "de"},
    )  # fmt: skip
    assert [hop.url for hop in page.hops][-1] == "http://b.example/end"
    for index in (0, 1):
        assert first.field_of(index, "authorization") == "Bearer x"
        assert first.field_of(index, "x-api-key") == "k"
    for index in (0, 1):
        for name in ("authorization", "cookie", "x-api-key"):
            assert second.field_of(index, name) is None
        assert second.field_of(index, "accept-language") == "de"
        assert second.field_of(index, "host") == "b.example"


async def test_redirects_end(start_server: StartServer, log: Log) -> None:
    server = await start_server()
    server.answers["/"] = answer(302, b"", "Location: /")
    with pytest.raises(errors.TooManyRedirects):
        await get(staged(log, server), "http://a.example/")
    assert server.connections == 1 + OPEN.redirects == len(log.lines)


async def test_a_body_is_sent_and_a_post_turns_into_a_get_as_browsers_do(start_server: StartServer, log: Log) -> None:
    server = await start_server()
    host = f"127.0.0.1:{server.port}"
    door = EgressDoor(OPEN, [host], log)
    for status, expected in ((302, b"GET /end"), (303, b"GET /end"), (307, b"POST /end"), (308, b"POST /end")):
        server.requests.clear()
        server.answers |= {"/": answer(status, b"", "Location: /end"), "/end": answer()}
        await door.fetch(
            f"http://{host}/", surface=ALLOW_LISTED.for_hosts(host), purpose="test", method="POST", body=b"abc",
            headers={"Content-Type": "text/plain"},
        )  # fmt: skip
        assert server.requests[0].endswith(b"\r\n\r\nabc")
        assert server.requests[1].startswith(expected)
        assert server.requests[1].endswith(b"abc") == expected.startswith(b"POST")
    assert log.lines[0].bytes_sent == 3
    with pytest.raises(errors.FetchTooLarge):
        await door.fetch(f"http://{host}/", surface=OPEN, purpose="test", body=b"a")


@pytest.mark.proves("5.4.3")
async def test_sizes_are_capped_as_announced_as_sent_and_as_unpacked(start_server: StartServer, log: Log) -> None:
    server = await start_server()
    surface = narrowed(OPEN, response_bytes=10_000)
    bomb = gzip.compress(bytes(1_000_000))
    assert len(bomb) < 10_000
    server.answers |= {
        "/announced": answer(200, b"x" * 10_001),
        "/endless": b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n",
        "/bomb": answer(200, bomb, "Content-Encoding: gzip"),
        "/exact": answer(200, b"x" * 10_000),
        "/packed": answer(200, gzip.compress(b"one") + gzip.compress(b"two"), "Content-Encoding: gzip"),
        "/damaged": answer(200, gzip.compress(b"x" * 500)[:-9], "Content-Encoding: gzip"),
        "/strange": answer(200, b"x", "Content-Encoding: br"),
    }
    server.endless = b"5\r\nhello\r\n"
    door = staged(log, server)
    for path in ("announced", "endless", "bomb"):
        with pytest.raises(errors.FetchTooLarge):
            await get(door, f"http://a.example/{path}", surface)
        assert log.lines[-1].refusal == "fetch_too_large"
        assert log.lines[-1].bytes_received < 100_000
    for path in ("damaged", "strange"):
        with pytest.raises(errors.FetchFailed):
            await get(door, f"http://a.example/{path}", surface)
    assert len((await get(door, "http://a.example/exact", surface)).body) == 10_000
    assert (await get(door, "http://a.example/packed", surface)).body == b"onetwo"


@pytest.mark.proves("5.4.3")
async def test_time_is_capped_for_silence_for_drips_and_for_names(start_server: StartServer, log: Log) -> None:
    server = await start_server()
    server.answers["/endless"] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
    server.endless = b" "
    surface = narrowed(OPEN, seconds=0.3, response_bytes=10**9)
    door = staged(log, server)
    for path in ("silent", "endless"):
        with pytest.raises(errors.FetchTimedOut):
            await get(door, f"http://a.example/{path}", surface)
        assert log.lines[-1].refusal == "fetch_timed_out"

    async def never(_host: str, _port: int) -> tuple[Address, ...]:
        await anyio.sleep_forever()
        return ()

    with pytest.raises(errors.FetchTimedOut):
        await get(EgressDoor(OPEN, [], log, resolve=never), "http://a.example/", surface)


@pytest.mark.proves("5.4.3")
async def test_content_that_a_policy_does_not_take_is_refused(start_server: StartServer, log: Log) -> None:
    server = await start_server()
    door = staged(log, server)
    for content_type in ("application/octet-stream", "application/x-msdownload", "application/zip", "", "text"):
        server.answers["/"] = answer(200, b"MZ", content_type=content_type)
        with pytest.raises(errors.ContentRefused):
            await get(door, "http://a.example/")
        assert log.lines[-1].refusal == "content_refused"
    for content_type in ("Text/HTML; charset=utf-8", "application/pdf", "image/png", "application/json"):
        server.answers["/"] = answer(200, b"x", content_type=content_type)
        await get(door, "http://a.example/")
    server.answers["/"] = b"HTTP/1.1 204 No Content\r\n\r\n"
    assert (await get(door, "http://a.example/")).body == b""


@pytest.mark.proves("5.4.3")
async def test_the_deployments_policy_binds_every_surface(start_server: StartServer, log: Log) -> None:
    server = await start_server()
    network, names = StagedNetwork({PUBLIC: server.port}), Names({"a.example": [PUBLIC]})
    for policy in (NONE, ALLOW_LISTED.for_hosts("b.example")):
        door = EgressDoor(policy, [], log, resolve=names, network=network)
        with pytest.raises(errors.DestinationRefused):
            await get(door, "http://a.example/")
    assert names.asked == []
    door = EgressDoor(ALLOW_LISTED.for_hosts("a.example"), [], log, resolve=names, network=network)
    await get(door, "http://a.example/")


@pytest.mark.proves("5.4.2")
async def test_the_certificate_is_checked_against_the_name(
    start_server: StartServer, log: Log, authority: Authority
) -> None:
    server = await start_server(tls=authority.serving("a.example"))
    network = StagedNetwork({PUBLIC: server.port})
    names = Names({"a.example": [PUBLIC], "a.example.": [PUBLIC], "b.example": [PUBLIC]})
    door = EgressDoor(OPEN, [], log, resolve=names, network=network, tls=authority.client)
    assert (await get(door, "https://a.example/")).body == b"hello"
    assert (await get(door, "https://a.example./")).body == b"hello"
    with pytest.raises(errors.FetchFailed):
        await get(door, "https://b.example/")
    with pytest.raises(errors.FetchFailed):
        await get(door, f"https://{PUBLIC}/")
    assert server.server_names[:3] == ["a.example", "a.example", "b.example"]
    assert server.field_of(1, "host") == "a.example."
    unknown = EgressDoor(OPEN, [], log, resolve=names, network=network)
    with pytest.raises(errors.FetchFailed):
        await get(unknown, "https://a.example/")


@pytest.mark.proves("5.4.2")
async def test_tls_is_not_given_up_on_the_way(start_server: StartServer, log: Log, authority: Authority) -> None:
    server = await start_server(tls=authority.serving("a.example"))
    server.answers["/"] = answer(301, b"", "Location: http://a.example/")
    network = StagedNetwork({PUBLIC: server.port})
    door = EgressDoor(OPEN, [], log, resolve=Names({"a.example": [PUBLIC]}), network=network, tls=authority.client)
    with pytest.raises(errors.DestinationRefused) as refusal:
        await get(door, "https://a.example/")
    assert refusal.value.rule == "downgrade"


async def test_no_answer_is_handed_out_without_its_line(start_server: StartServer) -> None:
    server = await start_server()

    async def broken(_line: EgressLine) -> None:
        raise RuntimeError

    names, network = Names({"a.example": [PUBLIC]}), StagedNetwork({PUBLIC: server.port})
    door = EgressDoor(OPEN, [], broken, resolve=names, network=network)
    with pytest.raises(errors.FetchFailed, match="could not be recorded"):
        await get(door, "http://a.example/")


async def test_a_request_that_is_cancelled_leaves_its_line(start_server: StartServer, log: Log) -> None:
    server = await start_server()
    door = staged(log, server)
    with anyio.move_on_after(0.2):
        await get(door, "http://a.example/silent")
    assert [line.refusal for line in log.lines] == ["cancelled"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("Host", "x"), ("content-length", "3"), ("Transfer-Encoding", "chunked"), ("Connection", "x"),
     ("Accept-Encoding", "br"), ("Proxy-Authorization", "x"), ("a b", "x"), ("a:", "x"), ("", "x"),
     ("x-a", "b\r\nc: d"), ("x-a", "b\nc"), ("x-a", "\x00"), ("x-a", "\u2028"), ("x-a", "a" * 9000)],
)  # fmt: skip
def test_header_fields_that_would_change_the_request_are_refused(name: str, value: str) -> None:
    with pytest.raises(errors.InvalidRequest):
        sendable_fields([(name, value)])


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [("text/html", "utf-8"), ("text/html; charset=ISO-8859-1", "iso8859-1"), ('a/b; x=1; charset="Big5"', "big5"),
     ("a/b;charset=punycode", "utf-8"), ("a/b;charset=hex", "utf-8"), ("a/b;charset=\0", "utf-8"),
     ("a/b;charset=", "utf-8"), ("a/b;charset=utf_7", "utf-8")],
)  # fmt: skip
def test_only_common_charsets_are_decoded(content_type: str, charset: str) -> None:
    assert charset_of(content_type) == charset


async def test_the_systems_resolver_answers_with_addresses_or_nothing() -> None:
    assert all(address.is_loopback for address in await resolve_with_system("localhost", 80))
    assert await resolve_with_system("localhost", 80)
    assert await resolve_with_system("a" * 300 + ".invalid", 80) == ()


async def test_nothing_of_this_machine_is_dialled_by_path() -> None:
    with pytest.raises(httpcore2.ConnectError):
        await PinnedNetwork([], StagedNetwork()).connect_unix_socket("/run/x.sock")


@pytest.mark.proves("5.4.2", "5.4.3")
async def test_a_client_of_httpx2_goes_through_the_door(start_server: StartServer, log: Log) -> None:
    server, other = await start_server(), await start_server()
    server.answers["/"] = answer(200, gzip.compress(b'{"a":1}'), "Content-Encoding: gzip",
                                 content_type="application/json")  # fmt: skip
    transport, base = transport_to(log, server)
    async with httpx2.AsyncClient(transport=transport, trust_env=False, follow_redirects=True) as client:
        response = await client.post(base + "/", json={"q": "x"})
        assert response.json() == {"a": 1}
        assert server.requests[0].endswith(b'{"q":"x"}')
        assert log.lines[0].bytes_sent == 9
        for url in (f"http://127.0.0.1:{other.port}/", "https://inside.example/", "https://169.254.169.254/"):
            with pytest.raises(errors.DestinationRefused):
                await client.get(url)
        server.answers["/away"] = answer(307, b"", f"Location: http://127.0.0.1:{other.port}/")
        server.answers["/here"] = answer(307, b"", "Location: /")
        with pytest.raises(errors.DestinationRefused):
            await client.get(base + "/away")
        assert (await client.get(base + "/here")).status_code == 200
        server.answers["/large"] = answer(200, b"x" * 10_001)
        with pytest.raises(errors.FetchTooLarge):
            await client.get(base + "/large")
        with pytest.raises(errors.FetchTooLarge):
            await client.post(base + "/", content=bytes(10 * 1024 * 1024 + 1))
        extensions = {"target": b"/secret", "sni_hostname": "x"}
        await client.get(base + "/", extensions=extensions)
        assert server.requests[-1].startswith(b"GET / ")
    assert other.connections == 0


async def test_a_client_of_httpx2_sees_failures_as_it_knows_them(start_server: StartServer, log: Log) -> None:
    server = await start_server()
    transport, base = transport_to(log, server, seconds=0.3)
    async with httpx2.AsyncClient(transport=transport, trust_env=False) as client:
        with pytest.raises(httpx2.ReadTimeout):
            await client.get(base + "/silent")
        server.answers["/broken"] = b"HTTP/9 what\r\n\r\n"
        with pytest.raises(httpx2.ConnectError):
            await client.get(base + "/broken")
    assert [line.refusal for line in log.lines] == ["fetch_timed_out", "fetch_failed"]


def test_certificates_that_the_environment_names_are_not_trusted(
    log: Log, authority: Authority, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    pem = "".join(ssl.DER_cert_to_PEM_cert(der) for der in authority.client.get_ca_certs(binary_form=True))
    file = f"{tmp_path}/environment.pem"
    with open(file, "w", encoding="ascii") as opened:  # noqa: PTH123 - a plain file in a test
        opened.write(pem)
    monkeypatch.setenv("SSL_CERT_FILE", file)
    egress._public_authorities.cache_clear()  # pyright: ignore[reportPrivateUsage]
    door = EgressDoor(OPEN, [], log)
    known = door._tls.get_ca_certs(binary_form=True)  # pyright: ignore[reportPrivateUsage]
    assert not set(authority.client.get_ca_certs(binary_form=True)) & set(known)
