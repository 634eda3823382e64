"""Passwords: hashed so that every byte counts, in processes that step aside; and which may be chosen."""

import asyncio
import os
import signal
import subprocess
import sys
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from operalta.identity import passwords
from operalta.identity.passwords import (
    HashingBusy,
    PasswordHash,
    PasswordHasher,
    PepperMissing,
    WeakPassword,
    check_strength,
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


async def test_an_unknown_address_costs_the_same_work(hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch) -> None:
    """One check of the same cost is done in each case; time itself is not looked at."""
    asked: list[bytes] = []
    real: Any = hasher._run  # pyright: ignore[reportPrivateUsage] - the work itself is not to be seen otherwise

    async def record(work: object, digest: bytes, stored: bytes) -> object:
        asked.append(stored)
        assert work is passwords._check_digest  # pyright: ignore[reportPrivateUsage] - as above
        outcome: object = await real(work, digest, stored)
        return outcome

    stored = await hasher.hash("password")
    monkeypatch.setattr(hasher, "_run", record)
    assert not (await hasher.verify("password", None)).matches
    assert not (await hasher.verify("password", PasswordHash("plain", 1, "password"))).matches
    assert not (await hasher.verify("password", PasswordHash(stored.scheme, 1, "broken"))).matches
    assert (await hasher.verify("password", stored)).matches
    assert {value[:7] for value in asked} == {b"$2b$04$"}
    assert [len(value) for value in asked] == [60] * 4


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


def children() -> list[int]:
    listed = [task / "children" for task in Path("/proc/self/task").iterdir()]
    pids = [int(pid) for file in listed for pid in file.read_text(encoding="ascii").split()]
    return [pid for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def test_workers_have_a_low_priority_and_end_with_the_pool() -> None:
    before = set(children())
    hasher = PasswordHasher(PEPPERS, cost=QUICK, workers=1)
    await asyncio.gather(*(hasher.hash("x") for _ in range(8)))
    workers = set(children()) - before
    assert len(workers) == 1
    assert {os.getpriority(os.PRIO_PROCESS, pid) - os.getpriority(os.PRIO_PROCESS, 0) for pid in workers} == {10}
    await hasher.close()
    assert not workers & set(children())
    assert (await hasher.hash("x")).value, "a closed hasher starts again when it is needed"
    await hasher.close()


async def test_a_killed_worker_is_replaced() -> None:
    before = set(children())
    hasher = PasswordHasher(PEPPERS, cost=12, workers=1)
    try:
        task = asyncio.ensure_future(hasher.hash("x"))
        await asyncio.sleep(0)
        workers = set(children()) - before
        assert workers, "the worker is started when the work is handed over"
        for pid in workers:
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


# ── Which passwords may be chosen ────────────────────────────────────────────────────────────────────


@pytest.mark.proves("2.1.2")
@pytest.mark.parametrize("password", ["", "kTz4!xw", "ünïçødé", "🔑🐟🌋🎺🧀🛶🪀", "é̈́é̈́"])
def test_seven_characters_are_too_few_however_many_bytes(password: str) -> None:
    assert len(unicodedata.normalize("NFC", password)) < 8
    with pytest.raises(WeakPassword):
        check_strength(password)


@pytest.mark.proves("2.1.2")
@pytest.mark.parametrize(
    "password",
    [
        "kTz4!xwq",
        "ünïçødéx",
        "🔑🐟🌋🎺🧀🛶🪀🦔",
        "correct horse battery staple",
        "summer dragon computer freedom",
        "mein Hund frisst Steuern",
        "password manager rejected",
        "x" * 2 + "kq7" * 2 + "z" * 1016,
        "日本語のパスワード",
        "        a b c d e  f",
    ],
)
def test_eight_characters_suffice(password: str) -> None:
    check_strength(password)


def test_characters_are_counted_after_composition() -> None:
    with pytest.raises(WeakPassword):
        check_strength("e\u0301" * 2 + "abxyz")
    check_strength(unicodedata.normalize("NFD", "éàüöñ-kz"))


@pytest.mark.proves("2.1.2")
@pytest.mark.parametrize(
    "password",
    [
        "aaaaaaaa",
        "🔑" * 20,
        "abababab",
        "abcabcabc",
        "12341234",
        "12345678",
        "87654321",
        "1234567890",
        "12345678910",
        "abcdefgh",
        "hgfedcba",
        "qwertyui",
        "asdfghjkl",
        "qwerty123456",
        "1q2w3e4r",
        "1qaz2wsx",
        "!@#$%^&*",
        "password",
        "PASSWORD",
        "Password1",
        "P@ssw0rd!",
        "pa$$word2024",
        "passwordpassword",
        "password_password",
        "iloveyou1!",
        "letmein123",
        "Welcome2026!",
        "admin-admin",
        "Summer2026!",
        "operalta1",
        "Operalta-2026",
        "trustno1trustno1",
        "baseball",
    ],
)
def test_common_passwords_are_refused(password: str) -> None:
    with pytest.raises(WeakPassword):
        check_strength(password)


def test_words_of_the_moment_are_refused() -> None:
    check_strength("Acmetools-2026")
    check_strength("ada.lovelace1")
    for password in ("Acmetools-2026", "ada.lovelace1"):
        with pytest.raises(WeakPassword):
            check_strength(password, ("Acmetools Ltd", "ada.lovelace@example.org", "Ada"))


@pytest.mark.parametrize(("length", "fits"), [(1024, True), (1025, False)])
def test_the_longest_password(length: int, *, fits: bool) -> None:
    password = ("kq7 zx" * 300)[:length]
    if fits:
        check_strength(password)
    else:
        with pytest.raises(WeakPassword):
            check_strength(password)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(WeakPassword):
        check_strength("\ud800 and more of it")
