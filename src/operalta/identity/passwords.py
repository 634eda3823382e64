"""Passwords: how they are hashed, checked and chosen (clauses 2.1.1 and 2.1.2).

What is hashed is bcrypt over base64(HMAC-SHA-256(pepper, password in NFC)). bcrypt reads 72 bytes only; the
keyed digest is 44, so every byte of a password of any length counts, and a stolen table is worth nothing
without the pepper. Hashing takes a quarter of a second of a core; it runs in other processes at a low
priority, so that the requests beside it stay fast.
"""

import asyncio
import base64
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

from operalta.kernel.errors import InvalidInput, Unavailable
from operalta.terms.registry import upholds

SCHEME = "bcrypt-hmac-sha256"
COST = 12
SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 1024
_SMALLEST_PEPPER_BYTES = 32
_NICENESS = 10
_STORED = re.compile(rb"\$2b\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


class WeakPassword(InvalidInput):
    """Choose another password: at least 8 characters, and not one that many people use."""


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
    """Hashes and checks passwords in a few processes of low priority.

    `peppers` are secrets of at least 32 bytes by version; the highest is used for new hashes. `workers` are
    started when first needed. More than `queue_limit` requests at a time, waiting ones included, are refused
    with `HashingBusy`: a queue that only grows would answer nobody.
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
        self._workers = workers or os.cpu_count() or 1
        self._queue_limit = queue_limit
        self._waiting = 0
        self._lock = threading.Lock()
        self._pool: ProcessPoolExecutor | None = None
        # Compared with where there is no account: a real salt of the same cost, so the work is the same, and
        # an end that no hash has.
        self._nobody = bcrypt.gensalt(cost) + b"." * 31

    @upholds("2.1.1")
    async def hash(self, password: str) -> PasswordHash:
        """Return what to store for a password. Raise `HashingBusy` when too many are waiting."""
        value = await self._run(_hash_digest, self._digest(password, self._newest), self._cost)
        return PasswordHash(SCHEME, self._newest, value.decode())

    @upholds("2.1.1")
    async def verify(self, password: str, stored: PasswordHash | None) -> Verification:
        """Tell whether a password is the stored one. With None, no account, the same work says no.

        Raise `HashingBusy` when too many are waiting, `PepperMissing` where the pepper is not configured.
        """
        if stored is None:
            await self._run(_check_digest, self._digest(password, self._newest), self._nobody)
            return Verification(matches=False, needs_rehash=False)
        value = stored.value.encode("utf-8", "replace")
        written = _STORED.fullmatch(value)
        if stored.scheme != SCHEME or written is None:
            await self._run(_check_digest, self._digest(password, self._newest), self._nobody)
            return Verification(matches=False, needs_rehash=False)
        matches = await self._run(_check_digest, self._digest(password, stored.pepper_version), value)
        outdated = stored.pepper_version != self._newest or int(written[1]) != self._cost
        return Verification(matches=matches, needs_rehash=matches and outdated)

    async def close(self) -> None:
        """End the worker processes when they have finished what is waiting."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.shutdown)

    def _digest(self, password: str, pepper_version: int) -> bytes:
        """Return the 44 bytes that bcrypt reads. Neither password nor pepper reaches the workers."""
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
            pool = self._pool = self._pool or self._start()
            self._waiting += 1
        try:
            future = pool.submit(work, *args, **kwargs)
        except RuntimeError:  # broken meanwhile, or shut down
            self._forget(pool)
            self._done()
            raise HashingBusy from None
        future.add_done_callback(self._done)
        return pool, future

    def _start(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self._workers, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_worker
        )

    def _forget(self, pool: ProcessPoolExecutor) -> None:
        """Let the next request start other workers: one was ended from outside, perhaps for want of memory."""
        with self._lock:
            if self._pool is pool:
                self._pool = None

    def _done(self, _: object = None) -> None:
        with self._lock:
            self._waiting -= 1


def _begin_worker() -> None:
    """Prepare a worker process: low priority, and an end of its own should its parent be killed."""
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


def _check_digest(digest: bytes, stored: bytes) -> bool:
    """Tell whether a keyed digest has this bcrypt hash."""
    return bcrypt.checkpw(digest, stored)


@upholds("2.1.2")
def check_strength(password: str, context: Iterable[str] = ()) -> None:
    """Return if a password may be chosen; raise `WeakPassword` otherwise.

    It has 8 to 1,024 characters, counted as Unicode code points after NFC (NIST SP 800-63B section 3.1.1.2),
    and none is demanded of a certain kind. Refused as common are one sign or a short group repeated, runs
    along the alphabet, the digits or a keyboard's rows, and about sixty well-known words, also with digits or
    signs around them or letters written as digits. `context` adds words of the moment, such as the company's
    name or the e-mail address. That is a modest list: it stops what is guessed first, not all that has leaked.
    """
    text = unicodedata.normalize("NFC", password)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise WeakPassword("The password has signs that are not text.", field="password") from None
    if len(text) < SHORTEST_PASSWORD:
        raise WeakPassword(f"Choose a password of at least {SHORTEST_PASSWORD} characters.", field="password")
    if len(text) > LONGEST_PASSWORD:
        raise WeakPassword(f"A password has at most {LONGEST_PASSWORD} characters.", field="password")
    folded = text.casefold()
    if _is_repeated(folded) or _is_run(folded) or _is_common(folded, context):
        raise WeakPassword("Many people use this password. Choose another, such as four words.", field="password")


_COMMON_WORDS = """
password passwort passw pass motdepasse contrasena wachtwoord parola senha admin administrator root user
username guest test testing tester login logon signin signup welcome willkommen bienvenue hello hallo letmein
changeme change secret geheim master access system server default temp temporary qwerty qwertz azerty
iloveyou loveyou sunshine princess dragon monkey football baseball superman batman pokemon starwars shadow
michael charlie jordan freedom whatever trustno trustnoone computer internet samsung google facebook summer
winter spring autumn sommer monday friday january december startup founder company operalta
"""
_COMMON = frozenset(_COMMON_WORDS.split())
_RUNS = (
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890",
    "qwertyuiop",
    "qwertzuiop",
    "azertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "yxcvbnm",
    "1q2w3e4r5t6z7u8i9o0p",
    "1q2w3e4r5t6y7u8i9o0p",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    "!@#$%^&*()",
    '!"§$%&/()=',
)
_WRITTEN_AS_DIGITS = str.maketrans("0134578@$!", "oieastbasi")
_LONGEST_GROUP = 4
_SHORTEST_RUN = 3
_SIGNS_AFTER_RUNS = 2
_FEW_WORDS = 2
_AROUND = "0123456789 !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_SHORTEST_CONTEXT = 3


def _is_repeated(text: str) -> bool:
    """Tell whether one group of up to four signs fills the text."""
    return any((text[:size] * (len(text) // size + 1))[: len(text)] == text for size in range(1, _LONGEST_GROUP + 1))


def _is_run(text: str) -> bool:
    """Tell whether the text is made of runs of at least three neighbours, in either direction.

    Up to two signs at its end may be others.
    """
    position = 0
    while position < len(text) - _SIGNS_AFTER_RUNS:
        length = max(_run_length(text[position:], row) for run in _RUNS for row in (run, run[::-1]))
        if length < _SHORTEST_RUN:
            return False
        position += length
    return True


def _run_length(text: str, row: str) -> int:
    """Return how many signs at the start of the text follow each other in the row."""
    start = row.find(text[0])
    if start < 0:
        return 0
    length = 0
    for sign, expected in zip(text, row[start:], strict=False):
        if sign != expected:
            break
        length += 1
    return length


def _is_common(text: str, context: Iterable[str]) -> bool:
    """Tell whether the text is one or two common words, but for digits and signs around and between them."""
    words = _COMMON | {word for given in context for word in _words(given.casefold()) if len(word) >= _SHORTEST_CONTEXT}
    for core in (text, text.rstrip(_AROUND), text.strip(_AROUND)):
        for spelling in (core, core.translate(_WRITTEN_AS_DIGITS)):
            parts = set(_words(spelling))
            if 0 < len(parts) <= _FEW_WORDS and all(_is_made_of(part, words) for part in parts):
                return True
    return False


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text)


def _is_made_of(part: str, words: frozenset[str]) -> bool:
    """Tell whether a part is a common word, or the same one twice."""
    half = part[: len(part) // 2]
    return part in words or (part == half * 2 and half in words)
