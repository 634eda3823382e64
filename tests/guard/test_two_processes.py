"""However many call at once, and through whichever process: what passes is the limit, to the call."""

import random
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import cycle
from typing import Any

import pytest
from redis import Redis

from operalta.app import build
from operalta.guard import rules
from operalta.guard.rules import Dimension, Limit, Rule
from tests.conftest import Servers
from tests.guard.limiter_process import Task, admitted, run_together
from tests.guard.store_server import Connect, Store
from tests.web.burst import Reply, Shot, fire, sources
from tests.web.crowd import BODIES, RULES, make_crowd, request_of, routes_of_signing_in, rule_of
from tests.web.processes import PATIENT, WebProcess, web_processes
from tests.web.site import Site

pytestmark = pytest.mark.xdist_group("web processes")

Command = Callable[..., Any]
CALLS = 1_000
LARGEST_OVER_HTTP = 600
GENERAL = (rules.READ, rules.SENSITIVE_WRITE)
CLAUSES = {"password-reset": "3.1.2", "otp-send": "3.1.3", "otp-check": "3.1.4"}


class Town:
    """Two web processes, and whoever calls them."""

    def __init__(self, servers: Servers, web: Sequence[WebProcess]) -> None:
        self._servers = servers
        self._base_url = web[0].base_url
        ports = [each.port for each in web]
        self._ports = [*ports, *reversed(ports)]  # so that every route is called through every process
        # It is not served: its table of routes is what is read.
        self.routes = routes_of_signing_in(Site(build(servers.settings), servers, web[0].port))
        self._store: Any = Redis.from_url(servers.settings.redis_address)  # pyright: ignore[reportUnknownMemberType] - the package leaves its arguments untyped

    def shots(self, rule: Rule, dimension: Dimension, calls: int, part: str = "") -> list[Shot]:
        """Calls under a rule, by every route that has it in turn, that differ in every dimension but one.

        `part` has to stand in the path of the routes, where one identity is not counted alike on all of them.
        """
        having = [each for each in self.routes if rule_of(each) is rule and part in each.path]
        assert having, f"no route is counted by {rule.name}"
        people = make_crowd(self._servers, self._base_url, 1 if dimension is Dimension.IDENTITY else calls)
        addresses = sources(1 if dimension is Dimension.ADDRESS else calls)
        turns = zip(range(calls), cycle(having), cycle(people), cycle(addresses), cycle(self._ports), strict=False)
        return [
            Shot(request_of(route, caller, self._base_url), port, address) for _, route, caller, address, port in turns
        ]

    def command(self, *words: str | int) -> Any:  # noqa: ANN401 - replies differ by command
        return self._store.execute_command(*words)

    def forget(self) -> None:
        self.command("FLUSHALL")


@pytest.fixture(scope="module")
def town(servers: Servers) -> Generator[Town]:
    with web_processes(servers, 2, PATIENT) as web:
        yield Town(servers, web)


def assert_exactly(limit: Limit, replies: list[Reply]) -> None:
    """Fail unless what passed is the limit to the call, and each of the others was told why and for how long."""
    refused = [reply for reply in replies if reply.status == 429]
    passed = [reply for reply in replies if reply.status != 429]
    # Nothing passed uncounted, and nothing broke.
    assert [(reply.status, reply.body[:200]) for reply in passed if not reply.limit or reply.status == 500] == []
    assert {reply.limit for reply in refused} <= {limit.name}
    assert len(passed) == min(limit.limit, len(replies))
    waits = [int(reply.headers["retry-after"]) for reply in refused]
    assert all(1 <= wait <= limit.window_seconds for wait in waits)


@pytest.mark.proves("3.1.1")
def test_every_route_of_signing_in_is_among_those_that_are_called_here(town: Town) -> None:
    missing = [(each.method, each.path) for each in town.routes if (each.method, each.path) not in BODIES]
    assert missing == [], "say in tests/web/crowd.py what these are sent"
    found = {rule_of(each).name for each in town.routes}
    assert found == {rule.name for rule in (*RULES, *GENERAL)}, "list the rule in tests/web/crowd.py"


@pytest.mark.proves("3.1.1", "3.1.2")
async def test_of_two_hundred_resets_for_one_address_five_pass_whoever_asks_and_whichever_process(town: Town) -> None:
    town.forget()
    replies = await fire(town.shots(rules.PASSWORD_RESET, Dimension.IDENTITY, 200))
    assert_exactly(rules.PASSWORD_RESET.limits[Dimension.IDENTITY], replies)


ALIKE = {"otp-send-identity": ("/send", "/factors/phone")}
"""Codes are counted by the number they go to; asking for one that will not be sent counts for whoever asks."""


def _over_http() -> Iterator[object]:
    for rule in (*RULES, *GENERAL):
        for dimension, limit in rule.limits.items():
            if dimension is not Dimension.COMPANY and limit.limit <= LARGEST_OVER_HTTP:
                marks = [pytest.mark.proves("3.1.1", *filter(None, [CLAUSES.get(rule.name)]))]
                for part in ALIKE.get(limit.name, ("",)):
                    yield pytest.param(rule, dimension, part, id=f"{limit.name}{part}", marks=marks)


@pytest.mark.soak
@pytest.mark.parametrize(("rule", "dimension", "part"), list(_over_http()))
async def test_of_a_thousand_calls_at_once_exactly_the_limit_passes_through_two_web_processes(
    town: Town, rule: Rule, dimension: Dimension, part: str
) -> None:
    town.forget()
    replies = await fire(town.shots(rule, dimension, CALLS, part))
    assert_exactly(rule.limits[dimension], replies)


def _every_limit() -> Iterator[object]:
    for rule in rules.rules():
        for dimension, limit in rule.limits.items():
            yield pytest.param(rule, dimension, id=limit.name)


@pytest.mark.soak
@pytest.mark.proves("3.1.1")
@pytest.mark.parametrize(("rule", "dimension"), list(_every_limit()))
def test_a_thousand_calls_too_many_are_refused_by_two_limiters_together(
    store: Store, rule: Rule, dimension: Dimension
) -> None:
    limit = rule.limits[dimension].limit
    calls = (limit + CALLS + 1) // 2
    tasks = [Task(store.url, rule.name, dimension.value, calls, name) for name in ("one", "other")]
    assert sum(run_together(tasks)) == limit


# ── The edge of a window ──────────────────────────────────────────────────────────────────────────────

PARTS = 13
"""A window is passed in hundredths, so many at a time: no sum of those steps comes near to a whole one."""


class Clock:
    """The time of the logs that many share, by one dimension and by everybody: it stands still but for what passes."""

    def __init__(self, command: Command, dimension: Dimension) -> None:
        self._command = command
        self._keys = [f"operalta:limit:*:{each.value}:*" for each in {dimension, Dimension.GLOBAL}]
        self._since = self._now()

    def let_pass(self, seconds: float) -> None:
        """Make every entry so much older, and let the logs expire so much earlier."""
        now = self._now()
        took, moved = now - self._since, int(seconds * 1_000_000)
        for key in (key for pattern in self._keys for key in self._command("KEYS", pattern)):
            entries = [min(int(entry) + took, now) - moved for entry in self._command("LRANGE", key, 0, -1)]
            left = int(self._command("PTTL", key)) + (took - moved) // 1_000
            self._command("DEL", key)
            for first in range(0, len(entries), 1_000):
                self._command("RPUSH", key, *entries[first : first + 1_000])
            self._command("PEXPIRE", key, left)
        self._since = self._now()

    def _now(self) -> int:
        seconds, microseconds = self._command("TIME")
        return int(seconds) * 1_000_000 + int(microseconds)


async def assert_no_window_holds_more(store: Store, connect: Connect, rule: Rule, dimension: Dimension) -> None:
    """Call in bursts at random times around the edges of windows, and expect what the last window leaves over."""
    limit = rule.limits[dimension]
    limiters, clock = [connect(store), connect(store)], Clock(store.command, dimension)
    chance = random.Random(limit.name)  # noqa: S311 - a failing course must come again
    passed: list[tuple[int, int]] = []
    now = 0
    for turn in range(max(5, min(24, 40_000 // limit.limit))):
        now += (steps := chance.choice((0, 1, 2, 3, 7, 8)))
        clock.let_pass(steps * PARTS * limit.window_seconds / 100)
        calls = chance.choice((1, limit.limit // 3 + 1, limit.limit + 3))
        task = Task(store.url, rule.name, dimension.value, calls, f"turn {turn}")
        within = sum(count for at, count in passed if (now - at) * PARTS < 100)
        count = await admitted(limiters[turn % 2], task)
        assert count == min(calls, limit.limit - within), (turn, now, passed)
        passed.append((now, count))


@pytest.mark.proves("3.1.2", "3.1.3", "3.1.4")
@pytest.mark.parametrize("rule", [rules.PASSWORD_RESET, rules.OTP_SEND, rules.OTP_CHECK], ids=lambda rule: rule.name)
async def test_around_the_edge_of_a_window_no_more_passes_than_in_any_other(
    store: Store, connect: Connect, rule: Rule
) -> None:
    await assert_no_window_holds_more(store, connect, rule, Dimension.IDENTITY)


@pytest.mark.soak
@pytest.mark.proves("3.1.1")
@pytest.mark.parametrize(("rule", "dimension"), list(_every_limit()))
async def test_around_the_edge_of_any_window_no_more_passes_than_its_limit(
    store: Store, connect: Connect, rule: Rule, dimension: Dimension
) -> None:
    await assert_no_window_holds_more(store, connect, rule, dimension)


@pytest.mark.proves("3.1.1", "3.1.2")
async def test_a_second_window_does_not_begin_before_the_first_call_has_left_the_first_one(town: Town) -> None:
    town.forget()
    clock = Clock(town.command, Dimension.IDENTITY)
    window = rules.PASSWORD_RESET.limits[Dimension.IDENTITY].window_seconds
    passed: list[int] = []
    shots = town.shots(rules.PASSWORD_RESET, Dimension.IDENTITY, 20)
    for share, calls in ((0.0, 3), (0.50, 20), (0.49, 20), (0.02, 20), (0.47, 20), (0.03, 20)):
        clock.let_pass(share * window)
        replies = await fire(shots[:calls])
        passed.append(sum(reply.status != 429 for reply in replies))
    assert passed == [3, 2, 0, 3, 0, 2]
