"""The limiter: one script, one round trip, one count for all processes; closed when its store is not well.

Needs Valkey, or Redis of version 7 or newer, that evicts nothing (`maxmemory-policy noeviction`): a store
that drops keys under pressure forgets counts.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Sequence
from importlib import resources
from typing import Any, Self, cast

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError

from operalta.guard.errors import LimiterUnavailable, TooManyRequests
from operalta.guard.keys import counted_keys
from operalta.guard.rules import Count, Decision, Limit, Rule, Subjects, conclude
from operalta.terms.registry import upholds

_log = logging.getLogger(__name__)

SOCKET_TIMEOUT_SECONDS = 0.15
DEADLINE_SECONDS = 0.2
"""Of one decision, waiting for a connection included: leaves 50 ms of the 250 in clause 3.5.1."""

PAUSE_SECONDS = 1.0
"""For how long requests that are not critical leave a failed store alone."""

_SCRIPT = resources.files("operalta.guard").joinpath("limits.lua").read_text(encoding="utf-8")
_SCRIPT_NAME = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
_MICROSECONDS = 1_000_000
_CLUSTER_SCHEMES = {"redis+cluster": "redis", "rediss+cluster": "rediss"}


class Limiter:
    """Decides whether a request may pass.

    `url` is `unix://…`, `redis://…`, `rediss://…`, or `redis+cluster://…` and `rediss+cluster://…` for a
    cluster. `digest_key` (32 bytes or more) keys the digests under which identities are counted. The
    time-outs are for the network; a store that takes longer counts as down.
    """

    def __init__(
        self,
        url: str,
        *,
        digest_key: bytes,
        connections: int = 32,
        socket_timeout_seconds: float = SOCKET_TIMEOUT_SECONDS,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        if len(digest_key) < hashlib.sha256().digest_size:
            raise ValueError("the limiter's digest key needs at least 32 bytes")
        self._digest_key = digest_key
        self._deadline_seconds = deadline_seconds
        self._paused_until = 0.0
        self._slots = asyncio.Semaphore(connections)  # the pools raise at once when they are empty
        self._client = _connect(url, connections, socket_timeout_seconds)

    async def __aenter__(self) -> Self:
        """Return the limiter; connections are opened when first needed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    @upholds("3.5.1", "4.3.3")
    async def admit(self, rule: Rule, subjects: Subjects) -> Decision | None:
        """Count a request and return the decision that let it pass, or raise `TooManyRequests`.

        With the store out of reach a critical rule raises `LimiterUnavailable`; any other returns None, and
        leaves the store alone for a second so that reading does not become slow.
        """
        if not rule.critical and time.monotonic() < self._paused_until:
            return None
        try:
            decision = await self.decide(rule, subjects)
        except LimiterUnavailable:
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            if rule.critical:
                raise
            return None
        if not decision.allowed:
            raise TooManyRequests(decision)
        return decision

    @upholds("3.1.1", "3.1.2", "3.1.3", "3.1.4", "3.1.5", "4.3.1")
    async def decide(self, rule: Rule, subjects: Subjects) -> Decision:
        """Count a request over all dimensions of `rule` at once, or, where one of them is full, in none.

        In any window of a limit at most its figure passes, by the store's own clock. Raise
        `LimiterUnavailable` when the store is down, slow, full, read-only or not making sense.
        """
        counted = counted_keys(rule, subjects, self._digest_key)
        arguments: list[str | int] = []
        for limit, _ in counted:
            arguments += [limit.limit, limit.window_seconds * _MICROSECONDS]
        reply = await self._run([key for _, key in counted], arguments)
        return _understand([limit for limit, _ in counted], reply)

    async def ping(self) -> None:
        """Return if decisions can be made; raise `LimiterUnavailable` otherwise.

        Runs the script itself with nothing to count, so a full or read-only store is noticed as well.
        """
        if await self._run([], []) != [1]:
            raise LimiterUnavailable

    async def _run(self, keys: Sequence[str], arguments: Sequence[str | int]) -> object:
        """Run the script by its name, or once by its text where the store has lost it."""
        parameters = (len(keys), *keys, *arguments)
        try:
            async with asyncio.timeout(self._deadline_seconds), self._slots:
                try:
                    return await self._execute("EVALSHA", _SCRIPT_NAME, *parameters)
                except NoScriptError:
                    return await self._execute("EVAL", _SCRIPT, *parameters)
        except Exception as error:  # whatever the driver raises (cluster errors are no RedisError): closed
            _log.warning("the rate-limit store failed: %s", type(error).__name__)
            raise LimiterUnavailable from error

    async def _execute(self, *command: str | int) -> object:
        client = cast("Any", self._client)  # the two clients type the same call differently
        return await client.execute_command(*command)


def _connect(url: str, connections: int, socket_timeout_seconds: float) -> "Redis | RedisCluster":
    scheme, _, rest = url.partition("://")
    if scheme in _CLUSTER_SCHEMES:
        return RedisCluster.from_url(
            f"{_CLUSTER_SCHEMES[scheme]}://{rest}",
            max_connections=connections,
            socket_timeout=socket_timeout_seconds,
            socket_connect_timeout=socket_timeout_seconds,
            reinitialize_steps=0,  # or redirections would cut connections that other calls are using
            retry=Retry(NoBackoff(), 1),  # one more try, to learn where a slot has moved to
            protocol=2,
            driver_info=None,
        )
    pools = cast("Any", ConnectionPool)  # its `from_url` is not typed
    pool: ConnectionPool = pools.from_url(
        url,
        max_connections=connections,
        socket_timeout=socket_timeout_seconds,
        socket_connect_timeout=socket_timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        driver_info=None,  # spares two round trips on each new connection
    )
    return Redis.from_pool(pool)


def _understand(limits: Sequence[Limit], reply: object) -> Decision:
    """Read the script's reply. What does not have its exact shape counts as a failed store."""
    figures = cast("list[object]", reply) if isinstance(reply, list) else []
    whole = [figure for figure in figures if isinstance(figure, int)]
    if len(whole) != len(figures) or len(whole) != 1 + 2 * len(limits) or whole[0] not in {0, 1}:
        raise LimiterUnavailable
    counts = tuple(
        Count(limit, remaining, wait) for limit, remaining, wait in zip(limits, whole[1::2], whole[2::2], strict=True)
    )
    allowed = whole[0] == 1
    sensible = all(0 <= count.remaining <= count.limit.limit and count.reset_microseconds >= 0 for count in counts)
    if not sensible or (not allowed and all(count.remaining for count in counts)):
        raise LimiterUnavailable
    return conclude(allowed=allowed, counts=counts)
