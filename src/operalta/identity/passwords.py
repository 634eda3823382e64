"""Passwords: how they are hashed and checked (clause 2.1.1), and where their choice is judged (clause 2.1.2).

What is hashed is bcrypt over base64(HMAC-SHA-256(pepper, password in NFC)). bcrypt reads 72 bytes only; the
keyed digest is 44, so every byte of a password of any length counts, and a stolen table is worth nothing
without the pepper. Hashing takes a quarter of a second of a core; it runs in other processes that step aside,
so that the requests beside it stay fast.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import multiprocessing
import os
import re
import signal
import threading
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

import bcrypt

from operalta.identity.password_choice import (
    FEWEST_GUESSES,
    SHORTEST_PASSWORD,
    TOO_COMMON,
    WeakPassword,
    fewest_guesses,
    spellings,
    words_at_hand,
)
from operalta.kernel.errors import Unavailable
from operalta.terms.registry import upholds

__all__ = [
    "COST",
    "SCHEME",
    "SHORTEST_PASSWORD",
    "HashingBusy",
    "PasswordHash",
    "PasswordHasher",
    "PepperMissing",
    "Verification",
    "WeakPassword",
]

SCHEME = "bcrypt-hmac-sha256"
COST = 12
_SMALLEST_PEPPER_BYTES = 32
_LOWEST_COST = 4
_NICENESS = 10
_STORED = re.compile(rb"\$2b\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


class HashingBusy(Unavailable):
    """Many people are signing in at this moment. Try again in a few seconds."""

    retry_after_seconds = 2


class PepperMissing(Unavailable):
    """Passwords cannot be checked right now. The operator must restore an earlier pepper."""


@dataclass(frozen=True, slots=True)
class PasswordHash:
    """What is stored of a password: the scheme, the version of the pepper, the bcrypt value."""

    scheme: str
    pepper_version: int
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether a password matches, and whether it should be hashed anew now that it is at hand."""

    matches: bool
    needs_rehash: bool


class PasswordHasher:
    """Hashes, checks and judges passwords in a few processes that have a low priority.

    `peppers` are secrets of at least 32 bytes by version; the highest is used for new hashes. There are as many
    `workers` as cores unless told otherwise, started by `start` or when first needed. More than `queue_limit`
    requests at a time, waiting ones included, are refused with `HashingBusy`: a queue that only grows would
    answer nobody.
    """

    def __init__(
        self,
        peppers: Mapping[int, bytes],
        *,
        cost: int = COST,
        workers: int | None = None,
        queue_limit: int = 32,
    ) -> None:
        if not peppers or any(len(pepper) < _SMALLEST_PEPPER_BYTES for pepper in peppers.values()):
            raise ValueError("give at least one pepper of at least 32 bytes")
        self._peppers = dict(peppers)
        self._newest = max(peppers)
        self._cost = cost
        self._workers = workers or len(os.sched_getaffinity(0))
        self._queue_limit = queue_limit
        self._waiting = 0
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        # By cost, what is compared with where there is no account, and where a stored cost is below the present
        # one: a real salt, so the work is the same, and an end that no hash has.
        self._decoys = {each: bcrypt.gensalt(each) + b"." * 31 for each in range(_LOWEST_COST, cost + 1)}

    def start(self) -> None:
        """Start the workers ahead of the first request. It does not wait: each takes some tenths of a second."""
        for _ in range(self._workers):
            with contextlib.suppress(HashingBusy):
                self._submit(fewest_guesses, ("operalta",), ())

    @upholds("2.1.2")
    async def check_choice(self, password: str, context: Iterable[str] = ()) -> None:
        """Return if a password may be chosen by somebody; raise `WeakPassword` otherwise.

        `context` is what is known of the person, such as name and e-mail address. Raise `HashingBusy` when too
        many are waiting.
        """
        guesses = await self._run(fewest_guesses, spellings(password), words_at_hand(context))
        if guesses < FEWEST_GUESSES:
            raise WeakPassword(TOO_COMMON, field="password")

    @upholds("2.1.1")
    async def hash(self, password: str) -> PasswordHash:
        """Return what to store for a password. Raise `HashingBusy` when too many are waiting."""
        value = await self._run(_hash_digest, self._digest(password, self._newest), self._cost)
        return PasswordHash(SCHEME, self._newest, value.decode())

    @upholds("2.1.1")
    async def verify(self, password: str, stored: PasswordHash | None) -> Verification:
        """Tell whether a password is the stored one. With None, no account, the same work says no.

        A hash of an earlier, lower cost is topped up to the work of the present one, so that time tells a
        stranger nothing of it. Raise `HashingBusy` when too many are waiting, `PepperMissing` where the pepper is
        not configured.
        """
        value = b"" if stored is None or stored.scheme != SCHEME else stored.value.encode("utf-8", "replace")
        written = _STORED.fullmatch(value)
        if stored is None or written is None:
            await self._run(_check_digest, self._digest(password, self._newest), self._decoys[self._cost])
            return Verification(matches=False, needs_rehash=False)
        cost = int(written[1])
        # 2^c + (2^c + 2^(c+1) + … + 2^(present-1)) = 2^present
        topping = [self._decoys[each] for each in range(cost, self._cost)]
        matches = await self._run(_check_digest, self._digest(password, stored.pepper_version), value, *topping)
        outdated = stored.pepper_version != self._newest or cost != self._cost
        return Verification(matches=matches, needs_rehash=matches and outdated)

    async def close(self) -> None:
        """End the worker processes when they have finished what is waiting."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.shutdown)

    def _digest(self, password: str, pepper_version: int) -> bytes:
        """Return the 44 bytes that bcrypt reads. Neither the password nor the pepper reaches the worker."""
        pepper = self._peppers.get(pepper_version)
        if pepper is None:
            raise PepperMissing
        text = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
        return base64.b64encode(hmac.new(pepper, text, hashlib.sha256).digest())

    async def _run(
        self,
        work: Callable[_Parameters, _Result],
        *args: _Parameters.args,
        **kwargs: _Parameters.kwargs,
    ) -> _Result:
        pool, future = self._submit(work, *args, **kwargs)
        try:
            return await asyncio.wrap_future(future)
        except BrokenProcessPool:
            self._forget(pool)
            raise HashingBusy from None

    def _submit(
        self,
        work: Callable[_Parameters, _Result],
        *args: _Parameters.args,
        **kwargs: _Parameters.kwargs,
    ) -> tuple[ProcessPoolExecutor, Future[_Result]]:
        with self._lock:
            if self._waiting >= self._queue_limit:
                raise HashingBusy
            pool = self._pool = self._pool or self._make_pool()
            self._waiting += 1
        try:
            future = pool.submit(work, *args, **kwargs)
        except RuntimeError:  # broken meanwhile, or shut down
            self._forget(pool)
            self._done()
            raise HashingBusy from None
        future.add_done_callback(self._done)
        return pool, future

    def _make_pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._workers, mp_context=multiprocessing.get_context("spawn"), initializer=begin_worker
        )

    def _forget(self, pool: ProcessPoolExecutor) -> None:
        """Let the next request start other workers: one was ended from outside, perhaps for want of memory."""
        with self._lock:
            if self._pool is pool:
                self._pool = None

    def _done(self, _: object = None) -> None:
        with self._lock:
            self._waiting -= 1


def begin_worker() -> None:
    """Prepare a worker process: low priority, and an end of its own should its parent be killed."""
    # Low, and not idle: among other work an idle process gets no core at all, and then nobody could sign in.
    os.nice(_NICENESS)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers in order
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.join,), daemon=True).start()


def _end_with(join: Callable[[], None]) -> None:
    join()
    os._exit(0)


def _hash_digest(digest: bytes, cost: int) -> bytes:
    """Return the bcrypt hash of a keyed digest."""
    return bcrypt.hashpw(digest, bcrypt.gensalt(cost))


def _check_digest(digest: bytes, stored: bytes, *topping: bytes) -> bool:
    """Tell whether a keyed digest has this bcrypt hash, after as much further work as comparing `topping` takes."""
    for decoy in topping:
        bcrypt.checkpw(digest, decoy)
    return bcrypt.checkpw(digest, stored)
