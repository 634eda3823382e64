"""The limiter against a real store."""

import asyncio
import signal
import time
from collections import Counter
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from operalta.guard import rules
from operalta.guard.errors import LimiterUnavailable, TooManyRequests, UnknownAddress
from operalta.guard.keys import counted_keys
from operalta.guard.limiter import Limiter
from operalta.guard.rules import Dimension, Limit, Rule, Subjects
from operalta.guard.subjects import email_identity, person_identity, phone_identity
from tests.guard.store_server import DIGEST_KEY, PASSWORD, Connect, Store, free_port, new_store

ADDRESS = "203.0.113.7"


def rule_of(name: str, *, critical: bool = True, **limits: tuple[int, int]) -> Rule:
    return Rule(
        name,
        {Dimension(dimension): Limit(f"{name}-{dimension}", *figures) for dimension, figures in limits.items()},
        critical=critical,
    )


@pytest.mark.proves("3.1.5", "4.3.1")
async def test_exactly_forty_of_two_hundred_concurrent_requests_pass(store: Store, connect: Connect) -> None:
    limiters = [connect(store), connect(store)]
    caller = Subjects(identity=person_identity(uuid4()), company="c")
    decisions = await asyncio.gather(*(limiters[number % 2].decide(rules.CHAT, caller) for number in range(200)))
    assert Counter(decision.allowed for decision in decisions) == {True: 40, False: 160}
    assert sorted(decision.remaining for decision in decisions if decision.allowed) == list(range(40))
    assert all(1 <= (decision.retry_after or 0) <= 60 for decision in decisions if not decision.allowed)


@pytest.mark.parametrize(
    ("rule", "identity", "passing"),
    [
        pytest.param(rules.PASSWORD_RESET, email_identity("a@example.org"), 5, marks=pytest.mark.proves("3.1.2")),
        pytest.param(rules.OTP_SEND, phone_identity("+41446681800"), 3, marks=pytest.mark.proves("3.1.3")),
        pytest.param(rules.OTP_CHECK, person_identity(UUID(int=7)), 10, marks=pytest.mark.proves("3.1.4")),
    ],
)
async def test_one_more_than_the_figure_is_refused_with_the_time_to_wait(
    rule: Rule, identity: str, passing: int, store: Store, connect: Connect
) -> None:
    limiter = connect(store)
    caller = Subjects(identity=identity, address=ADDRESS)
    for _ in range(passing):
        await limiter.admit(rule, caller)
    with pytest.raises(TooManyRequests) as refused:
        await limiter.admit(rule, caller)
    assert refused.value.retry_after is not None
    assert 1 <= refused.value.retry_after <= rule.limits[Dimension.IDENTITY].window_seconds
    other = Subjects(identity=f"{identity}-another", address=ADDRESS)
    assert await limiter.admit(rule, other) is not None


@pytest.mark.proves("3.1.2")
async def test_no_window_of_any_length_of_a_limit_holds_more_than_its_figure(store: Store, connect: Connect) -> None:
    """A limiter with fixed windows lets twice the figure pass around the border between two of them."""
    limiter = connect(store)
    rule = rule_of("border", identity=(5, 1))
    caller = Subjects(identity="somebody")
    admitted = 0
    deadline = time.monotonic() + 3.5
    while time.monotonic() < deadline:
        admitted += (await limiter.decide(rule, caller)).allowed
        await asyncio.sleep(0.005)
        # The store's own log, by the store's own clock, holds what passed in the last window.
        (key,) = store.command("KEYS", "*")
        assert store.command("LLEN", key) <= 5
    assert admitted > 5


@pytest.mark.proves("3.1.2", "3.1.5")
async def test_the_times_of_admission_are_never_closer_than_the_window_allows(store: Store, connect: Connect) -> None:
    limiter = connect(store)
    rule = rule_of("spacing", identity=(4, 1))
    times: list[tuple[int, int]] = []

    async def knock() -> None:
        while len(times) < 13:
            before = _store_time(store)
            allowed = (await limiter.decide(rule, Subjects(identity="somebody"))).allowed
            if allowed:
                times.append((before, _store_time(store)))
            await asyncio.sleep(0.01)

    await asyncio.gather(*(knock() for _ in range(4)))
    times.sort()
    # An admission lies between the two readings around it, so no five of them may fit into a second.
    for first in range(len(times) - 4):
        five = times[first : first + 5]
        assert max(after for _, after in five) - min(before for before, _ in five) >= 1_000_000


def _store_time(store: Store) -> int:
    seconds, microseconds = store.command("TIME")
    return int(seconds) * 1_000_000 + int(microseconds)


async def test_a_refused_request_consumes_nothing_in_any_dimension(store: Store, connect: Connect) -> None:
    limiter = connect(store)
    rule = rule_of("refusal", identity=(1, 60), address=(3, 60), company=(50, 60))
    first = Subjects(identity="first", address=ADDRESS, company="c")
    assert (await limiter.decide(rule, first)).allowed
    for _ in range(20):
        assert not (await limiter.decide(rule, first)).allowed
    for name in ("second", "third"):
        assert (await limiter.decide(rule, Subjects(identity=name, address=ADDRESS, company="c"))).allowed
    full = await limiter.decide(rule, Subjects(identity="fourth", address=ADDRESS, company="c"))
    assert not full.allowed
    assert full.policy.name == "refusal-address"
    assert sorted(store.command("LLEN", key) for key in store.command("KEYS", "*")) == [1, 1, 1, 3, 3]


async def test_a_burst_that_ages_at_once_frees_the_whole_limit(store: Store, connect: Connect) -> None:
    limiter = connect(store)
    rule = rule_of("burst", identity=(300, 1))
    caller = Subjects(identity="somebody")
    decisions = await asyncio.gather(*(limiter.decide(rule, caller) for _ in range(320)))
    assert sum(decision.allowed for decision in decisions) >= 300
    await asyncio.sleep(1.2)
    # One entry is made to outlive the burst, so that the log is aged by the script and not by its expiry.
    (key,) = store.command("KEYS", "*") or (None,)
    if key is None:
        store.command("RPUSH", counted_keys(rule, caller, DIGEST_KEY)[0][1], *[_store_time(store) - 2_000_000] * 200)
    decision = await limiter.decide(rule, caller)
    assert decision.allowed
    assert decision.remaining == 299


async def test_a_lowered_limit_counts_what_passed_before(store: Store, connect: Connect) -> None:
    limiter = connect(store)
    caller = Subjects(identity="somebody")
    for _ in range(8):
        await limiter.decide(rule_of("lowered", identity=(10, 60)), caller)
    decision = await limiter.decide(rule_of("lowered", identity=(3, 60)), caller)
    assert (decision.allowed, decision.remaining) == (False, 0)


async def test_the_store_sees_no_identity(store: Store, connect: Connect) -> None:
    limiter = connect(store)
    await limiter.decide(rules.OTP_SEND, Subjects(identity=phone_identity("+41446681800"), address=ADDRESS))
    await limiter.decide(rules.PASSWORD_RESET, Subjects(identity=email_identity("ada@example.org"), address=ADDRESS))
    keys = b" ".join(store.command("KEYS", "*"))
    for trace in (b"41446681800", b"ada", b"example", ADDRESS.encode()):
        assert trace not in keys
    assert all(0 < store.command("TTL", key) <= 901 for key in store.command("KEYS", "*"))


def test_the_keys_of_one_decision_share_a_slot() -> None:
    caller = Subjects(identity="i", address=ADDRESS, company="c")
    for rule in rules.rules():
        tags = {key.partition("{")[2].partition("}")[0] for _, key in counted_keys(rule, caller, DIGEST_KEY)}
        assert len(tags) == 1


async def test_a_missing_subject_never_passes(store: Store, connect: Connect) -> None:
    limiter = connect(store)
    with pytest.raises(ValueError, match="identity"):
        await limiter.admit(rules.SIGN_IN, Subjects(address=ADDRESS))
    with pytest.raises(UnknownAddress):
        await limiter.admit(rules.SIGN_IN, Subjects(identity="email:a@example.org"))
    with pytest.raises(ValueError, match="nothing to count"):
        await limiter.admit(rule_of("company-only", company=(1, 1)), Subjects())


async def test_a_store_that_lost_the_script_is_given_it_again(store: Store, connect: Connect) -> None:
    limiter = connect(store)
    await limiter.ping()
    store.command("SCRIPT", "FLUSH")
    assert (await limiter.decide(rules.CHAT, Subjects(identity="i"))).allowed
    store.command("SCRIPT", "FLUSH")
    await limiter.ping()


async def test_a_cancelled_call_does_not_leave_its_answer_to_the_next(store: Store) -> None:
    async with Limiter(
        store.url, digest_key=DIGEST_KEY, connections=1, socket_timeout_seconds=20, deadline_seconds=20
    ) as limiter:
        await limiter.ping()
        for _ in range(20):
            call = asyncio.ensure_future(limiter.decide(rule_of("one", identity=(1, 60)), Subjects(identity="a")))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            decision = await limiter.decide(rules.CHAT, Subjects(identity=str(uuid4()), company="c"))
            assert (decision.remaining, decision.policy.name) == (39, "chat-identity")


# ── Closed when the store is not well ────────────────────────────────────────────────────────────────


async def assert_closed(limiter: Limiter) -> None:
    caller = Subjects(identity="email:a@example.org", address=ADDRESS, company="c")
    for rule in (rules.SIGN_IN, rules.OTP_CHECK, rules.REFRESH, rules.PASSWORD_RESET, rules.CHAT):
        with pytest.raises(LimiterUnavailable) as refused:
            await limiter.admit(rule, caller)
        assert refused.value.retry_after is not None
    with pytest.raises(LimiterUnavailable):
        await limiter.ping()
    assert await limiter.admit(rules.READ, caller) is None


@pytest.mark.proves("3.5.1", "4.3.3")
async def test_a_killed_store_closes_critical_rules_and_a_restarted_one_opens_them(own_store: Store) -> None:
    async with Limiter(own_store.url, digest_key=DIGEST_KEY) as limiter:
        await limiter.ping()
        own_store.kill()
        await assert_closed(limiter)
        own_store.start()
    async with Limiter(own_store.url, digest_key=DIGEST_KEY, deadline_seconds=20) as limiter:
        await limiter.ping()
        assert await limiter.admit(rules.CHAT, Subjects(identity="i")) is not None


@pytest.mark.proves("3.5.1", "4.3.3")
async def test_the_same_limiter_goes_on_after_a_restart(own_store: Store, connect: Connect) -> None:
    limiter = connect(own_store)
    await limiter.ping()
    own_store.kill()
    with pytest.raises(LimiterUnavailable):
        await limiter.ping()
    own_store.start()
    await limiter.ping()


@pytest.mark.proves("3.5.1", "4.3.3")
async def test_a_hung_store_closes_critical_rules(own_store: Store) -> None:
    async with Limiter(own_store.url, digest_key=DIGEST_KEY) as limiter:
        await limiter.ping()
        own_store.send(signal.SIGSTOP)
        try:
            await assert_closed(limiter)
        finally:
            own_store.send(signal.SIGCONT)


@pytest.mark.proves("3.5.1", "4.3.3")
async def test_many_callers_of_a_hung_store_are_all_refused(own_store: Store) -> None:
    async with Limiter(own_store.url, digest_key=DIGEST_KEY, connections=4) as limiter:
        await limiter.ping()
        own_store.send(signal.SIGSTOP)
        try:
            outcomes = await asyncio.gather(
                *(limiter.admit(rules.CHAT, Subjects(identity="i")) for _ in range(50)),
                return_exceptions=True,
            )
        finally:
            own_store.send(signal.SIGCONT)
    assert {type(outcome) for outcome in outcomes} == {LimiterUnavailable}


@pytest.mark.proves("3.5.1", "4.3.3")
async def test_a_full_store_closes_critical_rules(own_store: Store, connect: Connect) -> None:
    limiter = connect(own_store)
    await limiter.ping()
    own_store.command("CONFIG", "SET", "maxmemory", 1)
    await assert_closed(limiter)
    own_store.command("CONFIG", "SET", "maxmemory", 0)
    await limiter.ping()


@pytest.mark.proves("3.5.1", "4.3.3")
async def test_a_replica_closes_critical_rules(own_store: Store, connect: Connect) -> None:
    limiter = connect(own_store)
    await limiter.ping()
    own_store.command("REPLICAOF", "127.0.0.1", free_port())
    await assert_closed(limiter)


@pytest.mark.proves("3.5.1", "4.3.3")
async def test_a_store_that_misses_its_replicas_closes_critical_rules(own_store: Store, connect: Connect) -> None:
    limiter = connect(own_store)
    await limiter.ping()
    own_store.command("CONFIG", "SET", "min-replicas-to-write", 1)
    await assert_closed(limiter)


@pytest.mark.proves("3.5.1", "4.3.3")
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"+OK\r\n" * 3,
        b"$-1\r\n" * 3,
        b":1\r\n" * 3,
        b"*0\r\n" * 3,
        b"*3\r\n:1\r\n:40\r\n$1\r\nx\r\n" * 3,
        b"*3\r\n:1\r\n:-1\r\n:1\r\n" * 3,
        b"*3\r\n:1\r\n:9999\r\n:1\r\n" * 3,
        b"*3\r\n:2\r\n:39\r\n:1\r\n" * 3,
        b"*3\r\n:0\r\n:39\r\n:1\r\n" * 3,
        b"-ERR nonsense\r\n" * 3,
        b"\xff\xfe\x00" * 100,
    ],
)
async def test_a_store_that_answers_nonsense_closes_critical_rules(answer: bytes, tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(65536):
                writer.write(answer)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    path = tmp_path / "s"
    server = await asyncio.start_unix_server(serve, path)
    try:
        async with Limiter(f"unix://{path}", digest_key=DIGEST_KEY) as limiter:
            with pytest.raises(LimiterUnavailable):
                await limiter.admit(rules.CHAT, Subjects(identity="i"))
    finally:
        server.close()


async def test_a_short_digest_key_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Limiter("unix:///nowhere", digest_key=b"short")


# ── A cluster ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.proves("4.3.1")
async def test_a_cluster_of_three_nodes_counts_as_one() -> None:
    nodes = [
        new_store("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", port=free_port()) for _ in range(3)
    ]
    try:
        for node in nodes:
            node.start()
        join(nodes)
        urls = [f"redis+cluster://:{PASSWORD}@127.0.0.1:{node.port}" for node in nodes[:2]]
        async with (
            Limiter(urls[0], digest_key=DIGEST_KEY, socket_timeout_seconds=20, deadline_seconds=20) as one,
            Limiter(urls[1], digest_key=DIGEST_KEY, socket_timeout_seconds=20, deadline_seconds=20) as two,
        ):
            for identity in ("a", "b", "c"):
                caller = Subjects(identity=identity, company="c", address=ADDRESS)
                decisions = await asyncio.gather(
                    *((one, two)[number % 2].decide(rules.CHAT, caller) for number in range(100))
                )
                assert sum(decision.allowed for decision in decisions) == 40
            single = rule_of("single", identity=(3, 60))
            for number in range(30):
                caller = Subjects(identity=str(number))
                assert [(await one.decide(single, caller)).allowed for _ in range(4)] == [True] * 3 + [False]
            await one.ping()
            assert all(node.command("DBSIZE") for node in nodes)
            for node in nodes:
                node.kill()
            with pytest.raises(LimiterUnavailable):
                await one.admit(rules.CHAT, Subjects(identity="a"))
    finally:
        for node in nodes:
            node.close()


def join(nodes: list[Store]) -> None:
    slots = 16384
    for number, node in enumerate(nodes):
        first, last = number * slots // len(nodes), (number + 1) * slots // len(nodes) - 1
        node.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        node.command("CLUSTER", "ADDSLOTSRANGE", first, last)
        if number:
            node.command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
    for _ in range(500):
        states = [bytes(node.command("CLUSTER", "INFO")) for node in nodes]
        if all(b"cluster_state:ok" in state and b"cluster_known_nodes:3" in state for state in states):
            return
        time.sleep(0.02)
    raise AssertionError("the cluster did not form")
