"""The resolver that the settings name, against a name server that speaks the real format."""

from collections.abc import Callable, Iterator
from ipaddress import ip_address

import pytest

from operalta.assurance.name_server import AAAA, CNAME, A, NameServer, Question, Record, reply
from operalta.sandbox import errors, naming
from operalta.sandbox.dialling import resolve_with_system
from operalta.sandbox.egress import OPEN, EgressDoor
from operalta.sandbox.naming import ResolverAt, resolver_at
from tests.sandbox.staging import PUBLIC, Log, StagedNetwork, StartServer, narrowed

OTHER = "93.184.215.15"
PUBLIC_IPV6 = "2606:4700:4700::1111"


class Staged(NameServer):
    """A name server whose messages a test may write itself."""

    write: Callable[[Question], list[bytes]] | None = None

    def messages(self, question: Question) -> list[bytes]:
        usual = super().messages(question)
        return usual if self.write is None else self.write(question)


@pytest.fixture
def names() -> Iterator[Staged]:
    server = Staged()
    server.start()
    yield server
    server.stop()


def asking(names: NameServer) -> ResolverAt:
    return ResolverAt("127.0.0.1", names.port)


async def found(names: NameServer, host: str = "a.example") -> list[str]:
    return [str(address) for address in await asking(names)(host, 80)]


def test_the_settings_name_a_resolver_or_leave_the_systems() -> None:
    assert resolver_at(None) is resolve_with_system
    assert isinstance(resolver_at(("127.0.0.1", 53)), ResolverAt)


async def test_every_address_of_both_families_is_found(names: Staged) -> None:
    names.tell("a.example", [PUBLIC, OTHER, PUBLIC_IPV6])
    assert await found(names) == [PUBLIC_IPV6, PUBLIC, OTHER]
    assert await found(names, "A.example.".lower()) == [PUBLIC_IPV6, PUBLIC, OTHER]
    assert await found(names, "nowhere.example") == []


@pytest.mark.parametrize("host", ["localhost", "localhost."])
async def test_this_machine_is_not_asked_for(names: Staged, host: str) -> None:
    assert await found(names, host) == ["127.0.0.1", "::1"]
    assert names.times_asked("localhost") == 0


async def test_aliases_are_followed_to_their_addresses(names: Staged) -> None:
    names.tell("a.example", ["b.example"])
    names.tell("b.example", ["c.example"])
    names.tell("c.example", [PUBLIC, PUBLIC_IPV6])
    assert await found(names) == [PUBLIC_IPV6, PUBLIC]


async def test_an_alias_in_a_circle_or_to_nowhere_leads_to_nothing(names: Staged) -> None:
    circle = [Record("a.example", CNAME, "b.example"), Record("b.example", CNAME, "a.example")]
    names.write = lambda question: [reply(question, circle)]
    assert await found(names) == []
    names.write = lambda question: [reply(question, circle[:1])]
    assert await found(names) == []


async def test_addresses_of_other_names_in_an_answer_are_not_the_hosts(names: Staged) -> None:
    mixed = [Record("b.example", A, OTHER), Record("a.example", A, PUBLIC), Record("c.example", A, "127.0.0.1")]
    names.write = lambda question: [reply(question, mixed if question.kind == A else [])]
    assert await found(names) == [PUBLIC]


async def test_a_long_answer_is_had_over_tcp(names: Staged) -> None:
    many = [Record("a.example", A, f"93.184.{high}.{low}") for high in range(4) for low in range(200)]

    def write(question: Question) -> list[bytes]:
        if question.kind == AAAA:
            return [reply(question, [])]
        return [reply(question, many if question.over_tcp else many[:5], cut_off=not question.over_tcp)]

    names.write = write
    assert len(await found(names)) == 800


async def test_what_does_not_belong_to_the_question_is_not_believed(names: Staged) -> None:
    def write(question: Question) -> list[bytes]:
        right = reply(question, [Record("a.example", A, PUBLIC)] if question.kind == A else [])
        forged = reply(question, [Record("a.example", A, "127.0.0.1")])
        other = forged.replace(b"\x01a\x07example", b"\x01b\x07example")
        return [
            bytes([forged[0] ^ 1]) + forged[1:],  # another number
            other,  # another question
            forged[:2] + b"\x01\x00" + forged[4:],  # a question, not an answer
            b"",
            forged[:20],
            forged[:12] + b"\xc0\x0c" + forged[12:],  # a name that points at itself
            right,
        ]

    names.write = write
    assert await found(names) == [PUBLIC]


async def test_a_family_without_an_answer_does_not_take_the_other_along(
    names: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(naming, "_TRY_SECONDS", 0.2)
    refused = 5
    names.write = lambda question: (
        [reply(question, [Record("a.example", A, PUBLIC)])]
        if question.kind == A
        else [reply(question, [], code=refused)]
    )
    assert await found(names) == [PUBLIC]
    names.write = lambda question: [reply(question, [Record("a.example", A, PUBLIC)])] if question.kind == A else []
    assert await found(names) == [PUBLIC]
    names.write = lambda _: []
    assert await found(names) == []


async def test_a_question_that_is_lost_is_asked_again(names: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "_TRY_SECONDS", 0.2)
    asked: list[int] = []

    def write(question: Question) -> list[bytes]:
        asked.append(question.kind)
        records = [Record("a.example", A, PUBLIC)] if question.kind == A else []
        return [reply(question, records)] if asked.count(question.kind) > 1 else []

    names.write = write
    assert await found(names) == [PUBLIC]


@pytest.mark.parametrize("host", ["a" * 64 + ".example", ".".join(["a" * 60] * 5), "a..example", "\u00fc.example"])
async def test_a_name_that_no_question_can_hold_leads_to_nothing(names: Staged, host: str) -> None:
    assert await found(names, host) == []


# ── Through the door ──────────────────────────────────────────────────────────────────────────────────


async def rule_of(names: NameServer, log: Log) -> tuple[str, list[tuple[str, int]]]:
    network = StagedNetwork()
    door = EgressDoor(OPEN, [], log, resolve=asking(names), network=network)
    with pytest.raises((errors.DestinationRefused, errors.FetchFailed)) as refusal:
        await door.fetch("http://a.example/", surface=OPEN, purpose="test")
    return getattr(refusal.value, "rule", refusal.value.code), network.dialled


@pytest.mark.proves("5.4.1", "5.4.2")
@pytest.mark.parametrize("inside", ["127.0.0.1", "10.0.0.1", "::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "fd00::1"])
async def test_one_inner_address_at_the_end_of_a_chain_refuses_the_name(names: Staged, log: Log, inside: str) -> None:
    names.tell("a.example", ["b.example"])
    names.tell("b.example", [PUBLIC, inside, PUBLIC_IPV6])
    assert await rule_of(names, log) == ("address", [])
    names.tell("a.example", [inside])
    assert await rule_of(names, log) == ("address", [])
    names.tell("a.example", ["metadata.google.internal"])
    names.tell("metadata.google.internal", [PUBLIC, "169.254.169.254"])
    assert await rule_of(names, log) == ("metadata", [])


@pytest.mark.proves("5.4.1")
async def test_a_name_behind_nat64_is_dialled_at_its_translated_address(names: Staged, log: Log) -> None:
    for address in ("64:ff9b::5db8:d70e", "64:ff9b:1::5db8:d70e"):
        names.tell("a.example", [address])
        assert await rule_of(names, log) == ("fetch_failed", [(address, 80)])


@pytest.mark.proves("5.4.2")
async def test_a_name_server_that_flips_never_wins(start_server: StartServer, names: Staged, log: Log) -> None:
    outside, inside = await start_server(), await start_server()
    turns = [[PUBLIC], ["127.0.0.1"], [PUBLIC, "127.0.0.1"]]
    names.tell("a.example", *(turns[number % 3] for number in range(1_000)))
    network = StagedNetwork({PUBLIC: outside.port})
    door = EgressDoor(OPEN, [], log, resolve=asking(names), network=network)
    surface = narrowed(OPEN, ports=frozenset({inside.port}))
    fetched = 0
    for _ in range(1_000):
        try:
            await door.fetch(f"http://a.example:{inside.port}/", surface=surface, purpose="test")
            fetched += 1
        except errors.DestinationRefused as refusal:
            assert refusal.rule == "address"  # noqa: PT017 - each of many
    assert names.times_asked("a.example", A) == 1_000
    assert {address for address, _ in network.dialled} == {PUBLIC}
    assert (fetched, outside.connections, inside.connections) == (334, 334, 0)


async def test_a_family_that_leads_nowhere_does_not_keep_the_other_away(
    start_server: StartServer, names: Staged, log: Log
) -> None:
    server = await start_server()
    names.tell("a.example", [*(f"2606:4700::{number}" for number in range(1, 9)), PUBLIC])
    network = StagedNetwork({PUBLIC: server.port})
    door = EgressDoor(OPEN, [], log, resolve=asking(names), network=network)
    assert (await door.fetch("http://a.example/", surface=OPEN, purpose="test")).body == b"hello"
    assert network.dialled == [("2606:4700::1", 80), (PUBLIC, 80)]
    assert log.lines[0].address == PUBLIC
    names.tell("a.example", [PUBLIC_IPV6, OTHER])
    network.stage = {PUBLIC_IPV6: server.port}
    await door.fetch("http://a.example/", surface=OPEN, purpose="test")
    assert log.lines[1].address == str(ip_address(PUBLIC_IPV6))
