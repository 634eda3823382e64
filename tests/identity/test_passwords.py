"""Passwords: hashed so that every byte counts, in processes that step aside, with work that tells nothing."""

import asyncio
import os
import signal
import subprocess
import sys
import unicodedata
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import bcrypt
import pytest

from operalta.identity import passwords
from operalta.identity.passwords import (
    HashingBusy,
    PasswordHash,
    PasswordHasher,
    PepperMissing,
)

PEPPERS = {1: b"p" * 32}
QUICK = 4


@pytest.fixture
async def hasher() -> AsyncIterator[PasswordHasher]:
    hasher = PasswordHasher(PEPPERS, cost=QUICK, workers=1)
    yield hasher
    await hasher.close()


@pytest.mark.proves("2.1.1")
async def test_what_is_stored_is_bcrypt_of_cost_twelve() -> None:
    hasher = PasswordHasher(PEPPERS, workers=1)
    try:
        stored = await hasher.hash("correct horse")
        assert stored.value.startswith("$2b$12$")
        assert (stored.scheme, stored.pepper_version) == ("bcrypt-hmac-sha256", 1)
        assert (await hasher.verify("correct horse", stored)).matches
        assert not (await hasher.verify("correct horsf", stored)).matches
        assert not bcrypt.checkpw(b"correct horse", stored.value.encode())
        assert stored.value not in repr(stored)
    finally:
        await hasher.close()


@pytest.mark.proves("2.1.1")
async def test_every_byte_of_a_long_password_counts(hasher: PasswordHasher) -> None:
    for length in (71, 72, 73, 100, 1023):
        password = "x" * length
        stored = await hasher.hash(password + "a")
        assert (await hasher.verify(password + "a", stored)).matches
        assert not (await hasher.verify(password + "b", stored)).matches
        assert not (await hasher.verify(password, stored)).matches


@pytest.mark.proves("2.1.1")
async def test_zero_bytes_end_nothing(hasher: PasswordHasher) -> None:
    stored = await hasher.hash("before\x00after")
    assert not (await hasher.verify("before\x00other", stored)).matches
    assert not (await hasher.verify("before", stored)).matches


async def test_composed_and_decomposed_spellings_are_one_password(hasher: PasswordHasher) -> None:
    composed = "Zürich-Übersee"
    decomposed = unicodedata.normalize("NFD", composed)
    assert composed != decomposed
    assert (await hasher.verify(decomposed, await hasher.hash(composed))).matches


async def test_salts_differ(hasher: PasswordHasher) -> None:
    assert (await hasher.hash("same")).value != (await hasher.hash("same")).value


async def test_another_pepper_does_not_match_and_a_missing_one_is_told(hasher: PasswordHasher) -> None:
    stored = await hasher.hash("password")
    other = PasswordHasher({1: b"q" * 32}, cost=QUICK, workers=1)
    newer = PasswordHasher({2: b"q" * 32}, cost=QUICK, workers=1)
    try:
        assert not (await other.verify("password", stored)).matches
        with pytest.raises(PepperMissing):
            await newer.verify("password", stored)
    finally:
        await other.close()
        await newer.close()


async def test_old_peppers_and_costs_ask_for_a_new_hash(hasher: PasswordHasher) -> None:
    stored = await hasher.hash("password")
    assert not (await hasher.verify("password", stored)).needs_rehash
    both = PasswordHasher({**PEPPERS, 2: b"q" * 32}, cost=QUICK, workers=1)
    dearer = PasswordHasher(PEPPERS, cost=QUICK + 1, workers=1)
    try:
        for later in (both, dearer):
            outcome = await later.verify("password", stored)
            assert (outcome.matches, outcome.needs_rehash) == (True, True)
            wrong = await later.verify("wrong", stored)
            assert (wrong.matches, wrong.needs_rehash) == (False, False)
        assert (await both.hash("password")).pepper_version == 2
    finally:
        await both.close()
        await dearer.close()


async def in_place(work: Callable[..., object], *arguments: object) -> object:
    """Do a worker's work in this process, where it can be watched."""
    return work(*arguments)


async def test_the_work_is_the_same_whatever_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted are bcrypt's rounds; time itself is not looked at."""
    present = QUICK + 3
    hashers = [PasswordHasher(PEPPERS, cost=cost) for cost in range(QUICK, present + 1)]
    newer = PasswordHasher({**PEPPERS, 2: b"q" * 32}, cost=present)
    rounds = 0
    real = bcrypt.checkpw

    def count(password: bytes, hashed_password: bytes) -> bool:
        nonlocal rounds
        rounds += 2 ** int(hashed_password[4:6])
        return real(password, hashed_password)

    monkeypatch.setattr(bcrypt, "checkpw", count)
    for hasher in (*hashers, newer):
        monkeypatch.setattr(hasher, "_run", in_place)
    hashes = [await hasher.hash("password") for hasher in hashers]
    unreadable = [PasswordHash("plain", 1, "password"), PasswordHash(hashes[0].scheme, 1, "broken")]
    for hasher in (hashers[-1], newer):
        for stored in (None, *unreadable, *hashes):
            for password in ("password", "another"):
                rounds = 0
                outcome = await hasher.verify(password, stored)
                assert outcome.matches is (stored in hashes and password == "password")
                assert rounds == 2**present


async def test_any_text_that_a_client_can_send_has_an_answer(hasher: PasswordHasher) -> None:
    for password in ("", "\ud800", "\x00", "🔑" * 1024, "x" * 100_000):
        assert not (await hasher.verify(password, None)).matches
        assert (await hasher.verify(password, await hasher.hash(password))).matches


async def test_beyond_the_queue_requests_are_refused_and_later_ones_pass() -> None:
    hasher = PasswordHasher(PEPPERS, cost=8, workers=1, queue_limit=3)
    try:
        outcomes = await asyncio.gather(*(hasher.hash("x") for _ in range(10)), return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, HashingBusy)]
        assert len(refused) == 7
        assert refused[0].retry_after is not None
        assert (await hasher.verify("x", await hasher.hash("x"))).matches
    finally:
        await hasher.close()


async def test_a_request_that_goes_away_does_not_keep_its_place() -> None:
    hasher = PasswordHasher(PEPPERS, cost=8, workers=1, queue_limit=2)
    try:
        tasks = [asyncio.ensure_future(hasher.hash("x")) for _ in range(2)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while True:
            try:
                await hasher.hash("x")
            except HashingBusy:
                await asyncio.sleep(0.01)
            else:
                break
    finally:
        await hasher.close()


def read(path: Path) -> bytes:
    """Read a file of a thread or process, which may have ended meanwhile."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def children() -> list[int]:
    listed = [read(task / "children") for task in Path("/proc/self/task").iterdir()]
    pids = [int(pid) for pids in listed for pid in pids.split()]
    return [pid for pid in pids if b"spawn_main" in read(Path(f"/proc/{pid}/cmdline"))]


async def started_since(before: set[int], count: int) -> set[int]:
    """Wait for new workers: one that was forked just now has no name of its own yet."""
    async with asyncio.timeout(60):
        while True:
            found = set(children()) - before
            if len(found) >= count:
                return found
            await asyncio.sleep(0.01)


def nothing(*_: object) -> None:
    """Do nothing, whatever is given."""


def test_a_worker_asks_for_a_lower_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(os, "nice", asked.append)
    monkeypatch.setattr(signal, "signal", nothing)
    passwords.begin_worker()
    assert asked == [10]


async def test_workers_step_aside_and_end_with_the_pool() -> None:
    before = set(children())
    hasher = PasswordHasher(PEPPERS, cost=QUICK, workers=1)
    await asyncio.gather(*(hasher.hash("x") for _ in range(8)))
    workers = set(children()) - before
    assert len(workers) == 1
    # Where the tests themselves run at the lowest priority, none is lower.
    lower = min(os.getpriority(os.PRIO_PROCESS, 0) + 10, 19)
    assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in workers} == {lower}
    await hasher.close()
    assert not workers & set(children())
    assert (await hasher.hash("x")).value, "a closed hasher starts again when it is needed"
    await hasher.close()


async def test_workers_are_started_ahead_and_keep_no_place_in_the_queue() -> None:
    before = set(children())
    hasher = PasswordHasher(PEPPERS, cost=QUICK, workers=2, queue_limit=2)
    try:
        hasher.start()
        assert len(await started_since(before, 2)) == 2
        while True:
            try:
                await asyncio.gather(hasher.hash("x"), hasher.hash("x"))
            except HashingBusy:
                await asyncio.sleep(0.01)
            else:
                break
        assert len(set(children()) - before) == 2
    finally:
        await hasher.close()


async def test_a_killed_worker_is_replaced() -> None:
    before = set(children())
    hasher = PasswordHasher(PEPPERS, cost=12, workers=1)
    try:
        task = asyncio.ensure_future(hasher.hash("x"))
        for pid in await started_since(before, 1):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(HashingBusy):
            await task
        assert (await hasher.hash("x")).value
    finally:
        await hasher.close()


HASH_AND_BE_KILLED = """
import asyncio, os, signal
from operalta.identity.passwords import PasswordHasher

async def main():
    hasher = PasswordHasher({1: b"p" * 32}, cost=4, workers=1)
    await hasher.hash("x")
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(HASH_AND_BE_KILLED, encoding="utf-8")
    # The workers inherit the pipe: it ends when the last of them is gone, or this waits until it times out.
    finished = subprocess.run([sys.executable, script], stdout=subprocess.PIPE, check=False, timeout=60)
    assert finished.returncode == -signal.SIGKILL


@pytest.mark.parametrize("peppers", [{}, {1: b"short"}, {1: b"p" * 32, 2: b""}])
def test_peppers_that_protect_nothing_are_refused(peppers: dict[int, bytes]) -> None:
    with pytest.raises(ValueError, match="pepper"):
        PasswordHasher(peppers)
