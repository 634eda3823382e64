"""The server elsewhere says what it was told to, at two addresses with one port, and keeps who came and with what."""

import gzip
import socket
from collections.abc import Generator

import httpx2
import pytest

from operalta.assurance.elsewhere import GOOD, HOSTS, TRAP, Elsewhere, Reply, packed, redirect
from operalta.settings import Settings


@pytest.fixture
def elsewhere() -> Generator[Elsewhere]:
    made = Elsewhere()
    made.start()
    yield made
    made.stop()


def ask(url: str, method: str = "GET", **fields: str) -> httpx2.Response:
    return httpx2.request(method, url, headers=fields, trust_env=False, follow_redirects=False)


def test_visits_are_kept_with_the_address_at_which_they_arrived(elsewhere: Elsewhere) -> None:
    elsewhere.tell("/a/1", Reply(b"{}", kind="application/json"))
    for host in (GOOD, TRAP):
        answer = ask(elsewhere.url(host, "/a/1"), cookie="a=b")
        assert (answer.status_code, answer.json(), answer.headers["content-type"]) == (200, {}, "application/json")
    assert ask(elsewhere.url(GOOD, "/b"), "POST").status_code == 404
    first, second = elsewhere.visits("/a/")
    assert (first.address, second.address) == (GOOD, TRAP)
    assert (first.host, first.fields["cookie"]) == (f"{GOOD}:{elsewhere.port}", "a=b")
    assert [(visit.method, visit.path) for visit in elsewhere.visits("/b")] == [("POST", "/b")]


def test_nobody_listens_at_any_other_address(elsewhere: Elsewhere) -> None:
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.3", elsewhere.port), timeout=5)


def test_answers_may_be_long_misannounced_slow_or_lead_on(elsewhere: Elsewhere) -> None:
    elsewhere.tell("/long", Reply(b"x" * 1000, times=3))
    assert len(ask(elsewhere.url(GOOD, "/long")).content) == 3000
    assert ask(elsewhere.url(GOOD, "/long"), "HEAD").content == b""
    elsewhere.tell("/short", Reply(b"x", announced=2))
    with pytest.raises(httpx2.RemoteProtocolError):
        ask(elsewhere.url(GOOD, "/short"))
    elsewhere.tell("/kindless", Reply(kind="", pause=0.001))
    assert "content-type" not in ask(elsewhere.url(GOOD, "/kindless")).headers
    elsewhere.tell("/on", redirect("//b.example/", ("Set-Cookie", "a=b"), status=307))
    answer = ask(elsewhere.url(GOOD, "/on"))
    assert (answer.status_code, answer.headers["location"]) == (307, "//b.example/")
    assert answer.headers["set-cookie"] == "a=b"


@pytest.mark.parametrize("size", [1, 65_535, 65_536, 100_000, 6_000_000])
def test_what_is_packed_is_small_and_unpacks_to_the_size_that_was_asked_for(size: int) -> None:
    reply = packed(size)
    assert reply.fields == (("Content-Encoding", "gzip"),)
    assert len(gzip.decompress(reply.body)) == size
    assert len(reply.body) < 64 + size // 500


def test_the_exemptions_are_what_the_settings_take(elsewhere: Elsewhere) -> None:
    assert len(set(HOSTS)) == len(HOSTS) == len(elsewhere.exemptions) - 1
    assert f"{GOOD}:{elsewhere.port}" in elsewhere.exemptions
    assert not [each for each in elsewhere.exemptions if each.startswith(TRAP)]
    assert Settings(egress_exemptions=elsewhere.exemptions).egress_exemptions == elsewhere.exemptions


def test_one_that_never_started_stops() -> None:
    Elsewhere().stop()
