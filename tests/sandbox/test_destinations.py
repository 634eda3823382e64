import json
from ipaddress import ip_address
from pathlib import Path
from typing import cast

import pytest

from operalta.sandbox.destinations import (
    Exemptions,
    Rule,
    check_addresses,
    check_destination,
    check_reach,
    check_redirect,
    parse_destination,
)
from operalta.sandbox.egress import ALLOW_LISTED, NONE, OPEN, EgressDoor
from operalta.sandbox.errors import DestinationRefused, FetchFailed
from tests.sandbox.staging import PUBLIC, Log, Names, StagedNetwork

URL_TESTS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "url" / "urltestdata.json"

LOOPBACK_NOTATIONS = (
    "127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0X7F.0.0.0X1", "017700000001",
    "0177.0.0.1", "0177.0x0.0.1", "127.0.0.1.", "127.255.255.254", "%31%32%37.0.0.1", "127%2e0%2e0%2e1",
    "\uff11\uff12\uff17.\uff10.\uff10.\uff11", "\uff11\uff12\uff17\u3002\uff10\u3002\uff10\u3002\uff11",
    "127\uff610\uff610\uff611",
    "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "0", "00", "0x", "0x0",
    "0.0.0.0",  # noqa: S104 - an address that must be refused
    "127.0.0.1\t", "12\n7.0.0.1",
)  # fmt: skip


def url_cases() -> list[dict[str, str]]:
    if not URL_TESTS.exists():
        pytest.skip("not run: the URL corpus is missing")
    entries = cast("list[str | dict[str, str]]", json.loads(URL_TESTS.read_text("utf-8")))
    return [entry for entry in entries if isinstance(entry, dict)]


def rule_of(url: str) -> str | None:
    try:
        destination = parse_destination(url)
        check_destination(destination, "GET", OPEN, exempt=False)
        if destination.address is not None:
            check_addresses([destination.address], exempt=False)
    except DestinationRefused as refusal:
        return refusal.rule
    return None


@pytest.mark.proves("5.4.1")
@pytest.mark.parametrize("host", LOOPBACK_NOTATIONS)
def test_loopback_is_known_in_every_notation(host: str) -> None:
    assert rule_of(f"http://{host}/") == Rule.ADDRESS


@pytest.mark.proves("5.4.1")
@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://169.254.169.254/latest/meta-data/", Rule.METADATA),
        ("http://0xa9fea9fe/", Rule.METADATA),
        ("http://[fd00:ec2::254]/", Rule.METADATA),
        ("http://metadata.google.internal/", Rule.METADATA),
        ("http://METADATA.google.internal./", Rule.METADATA),
        ("http://\uff4detadata.google\u3002internal/", Rule.METADATA),
        ("http://localhost/", Rule.ADDRESS),
        ("http://LocalHost./", Rule.ADDRESS),
        ("http://app.localhost/", Rule.ADDRESS),
        ("http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/", Rule.ADDRESS),
        ("https://user:secret@example.com/", Rule.CREDENTIALS),
        ("https://user@example.com/", Rule.CREDENTIALS),
        ("https://:secret@example.com/", Rule.CREDENTIALS),
        ("https://example.com\\@127.0.0.1/", None),
        ("https://example.com:22/", Rule.PORT),
        ("http://example.com:0/", Rule.PORT),
        ("https://example.com:8443/", Rule.PORT),
        ("https://example.com:443/", None),
        ("http://example.com:80/", None),
        ("ftp://example.com/", Rule.SCHEME),
        ("file:///etc/passwd", Rule.SCHEME),
        ("gopher://example.com/", Rule.SCHEME),
        ("data:text/plain,x", Rule.SCHEME),
        ("javascript:alert(1)", Rule.SCHEME),
        ("ws://example.com/", Rule.SCHEME),
        ("/relative", Rule.URL),
        ("", Rule.URL),
        ("https://", Rule.URL),
        ("https://exa%00mple.com/", Rule.URL),
        ("https://exa mple.com/", Rule.URL),
        ("https://[fe80::1%25eth0]/", Rule.URL),
        ("https://1.2.3.4.5/", Rule.URL),
        ("https://256.1.1.1/", Rule.URL),
        ("https://\ud800.example/", Rule.URL),
        ("https://example.com/" + "a" * 9000, Rule.URL),
        ("https://example.com/?q=127.0.0.1#@localhost", None),
        ("https://127.0.0.1.example.com/", None),
        ("https://[2606:4700:4700::1111]/", None),
        ("https://[64:ff9b::808:808]/", None),
    ],
)
def test_each_url_meets_its_rule(url: str, rule: str | None) -> None:
    assert rule_of(url) == rule


@pytest.mark.proves("5.4.3")
def test_none_opens_nothing_and_a_list_opens_what_is_on_it() -> None:
    listed = ALLOW_LISTED.for_hosts("api.example.com", "bücher.example", "127.0.0.1:9000", "[2001:db8::1]:8443")
    with pytest.raises(DestinationRefused, match="Nothing is fetched"):
        check_reach(parse_destination("https://example.com/"), NONE)
    for url in ("https://api.example.com/x", "https://API.example.com./", "https://xn--bcher-kva.example/",
                "http://127.0.0.1:9000/", "http://0x7f.1:9000/", "https://[2001:db8::1]:8443/"):  # fmt: skip
        check_reach(parse_destination(url), listed)
    for url in ("https://example.com/", "https://api.example.com.evil.example/", "https://x.api.example.com/",
                "http://127.0.0.1/", "http://127.0.0.1:9001/", "https://[2001:db8::1]/"):  # fmt: skip
        with pytest.raises(DestinationRefused) as refusal:
            check_reach(parse_destination(url), listed)
        assert refusal.value.rule == Rule.HOST


@pytest.mark.proves("5.4.3")
def test_the_policies_differ_in_what_may_be_sent() -> None:
    listed = ALLOW_LISTED.for_hosts("example.com")
    secure = parse_destination("https://example.com/")
    check_destination(secure, "POST", listed, exempt=False)
    for destination, method, policy, rule in (
        (secure, "POST", OPEN, Rule.METHOD),
        (secure, "TRACE", listed, Rule.METHOD),
        (secure, "CONNECT", listed, Rule.METHOD),
        (parse_destination("http://example.com/"), "GET", listed, Rule.SCHEME),
        (parse_destination("https://example.com:80/"), "GET", listed, Rule.PORT),
    ):
        with pytest.raises(DestinationRefused) as refusal:
            check_destination(destination, method, policy, exempt=False)
        assert refusal.value.rule == rule
    assert OPEN.request_bytes == 0
    assert {policy.name for policy in (OPEN, ALLOW_LISTED, NONE)} == {"open", "allow-listed", "none"}


@pytest.mark.parametrize("entry", ["*.example", "a.example/x", "a@b", "", "a b", "a.example?x", "a.example#x"])
def test_a_list_takes_nothing_but_hosts(entry: str) -> None:
    with pytest.raises(ValueError, match=r"host|Invalid"):
        ALLOW_LISTED.for_hosts(entry)


@pytest.mark.parametrize(
    "entry",
    ["127.0.0.1", "http://127.0.0.1:9000", "127.0.0.1:", "127.0.0.1:0x50", "*:9000", "127.0.0.1:99999",
     "a@127.0.0.1:9000", "127.0.0.1:9000/x", ":9000", "[::1]"],
)  # fmt: skip
def test_an_exemption_is_exactly_a_host_and_a_port(entry: str) -> None:
    with pytest.raises(ValueError, match="host and port"):
        Exemptions.of([entry])


def test_an_exemption_covers_its_port_alone() -> None:
    exemptions = Exemptions.of(["127.0.0.1:9000", "[::1]:9001", "Minio.internal:80"])
    for url in ("http://127.0.0.1:9000/", "http://0x7f.1:9000/", "https://[::1]:9001/", "http://minio.internal/"):
        assert exemptions.cover(parse_destination(url)), url
    for url in ("http://127.0.0.1:9001/", "http://127.0.0.2:9000/", "http://localhost:9000/", "http://[::1]/",
                "https://minio.internal/"):  # fmt: skip
        assert not exemptions.cover(parse_destination(url)), url


@pytest.mark.proves("5.4.1")
def test_all_answers_are_checked_and_none_is_not_enough() -> None:
    public, inside = ip_address(PUBLIC), ip_address("10.0.0.1")
    check_addresses([public, public], exempt=False)
    check_addresses([inside], exempt=True)
    for addresses in ([public, inside], [inside, public], []):
        with pytest.raises(DestinationRefused):
            check_addresses(addresses, exempt=False)
    with pytest.raises(DestinationRefused):
        check_addresses([ip_address("169.254.169.254")], exempt=True)


def test_a_name_that_leads_inside_and_one_that_leads_nowhere_sound_the_same() -> None:
    texts: set[str] = set()
    for addresses in ([ip_address("10.0.0.1")], []):
        with pytest.raises(DestinationRefused) as refusal:
            check_addresses(addresses, exempt=False)
        texts.add(refusal.value.public_text + refusal.value.rule + refusal.value.code)
    assert len(texts) == 1


def test_a_redirect_neither_drops_tls_nor_carries_a_body_elsewhere() -> None:
    secure, plain = parse_destination("https://a.example/"), parse_destination("http://a.example/")
    other = parse_destination("https://b.example/")
    check_redirect(plain, secure, has_body=False)
    check_redirect(secure, other, has_body=False)
    check_redirect(secure, secure, has_body=True)
    for source, target, has_body in ((secure, plain, False), (secure, other, True)):
        with pytest.raises(DestinationRefused):
            check_redirect(source, target, has_body=has_body)


@pytest.mark.external
@pytest.mark.proves("5.4.2")
async def test_the_host_that_is_judged_is_the_host_that_is_dialled(log: Log) -> None:
    """Over the public URL corpus: the resolver is asked for, and the Host field names, what the standard says."""
    cases = url_cases()
    tried = 0
    for case in cases:
        if case.get("failure") or case["protocol"] not in {"http:", "https:"}:
            continue
        if case["username"] or case["password"] or case["port"] == "0":
            with pytest.raises(DestinationRefused):
                parse_destination(case["input"], case["base"])
            continue
        base = case["base"]
        destination = parse_destination(case["input"], base)
        assert destination.bracketed_host == case["hostname"]
        assert destination.authority == case["host"]
        assert destination.target == case["pathname"] + case["search"]
        if destination.address is None:
            names, network = Names({destination.host: [PUBLIC]}), StagedNetwork()
            exemptions = [] if "*" in destination.host else [f"{destination.host}:{destination.port}"]
            door = EgressDoor(OPEN, exemptions, log, resolve=names, network=network)
            with pytest.raises((FetchFailed, DestinationRefused)):
                await door.fetch(destination.href, surface=OPEN, purpose="test")
            if log.lines[-1].refusal == "fetch_failed":
                assert names.asked == [destination.host]
                assert network.dialled[0] == (PUBLIC, destination.port)
                assert log.lines[-1].host == case["hostname"]
                tried += 1
    assert tried > 150


@pytest.mark.external
@pytest.mark.proves("5.4.2")
def test_what_the_standard_refuses_is_refused() -> None:
    cases = url_cases()
    for case in cases:
        if case.get("failure"):
            with pytest.raises(DestinationRefused):
                parse_destination(case["input"], case["base"])
