"""Which passwords may be chosen: long enough, and none that is guessed early."""

import asyncio
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest

from operalta.identity.password_choice import (
    FEWEST_GUESSES,
    LENGTH_LOOKED_AT,
    WeakPassword,
    fewest_guesses,
    spellings,
    words_at_hand,
)
from operalta.identity.passwords import HashingBusy, PasswordHasher

PERSON = ("ada.lovelace@example.org", "Ada King", "Acmetools Ltd")


def is_common(password: str, *about: str) -> bool:
    """Judge as a worker does, in this process."""
    return fewest_guesses(spellings(password), words_at_hand(about)) < FEWEST_GUESSES


@pytest.mark.proves("2.1.2")
@pytest.mark.parametrize("password", ["", "kTz4!xw", "ünïçødé", "🔑🐟🌋🎺🧀🛶🪀", "é̈́é̈́"])
async def test_seven_characters_are_too_few_however_many_bytes(password: str, hasher: PasswordHasher) -> None:
    assert len(unicodedata.normalize("NFC", password)) < 8
    with pytest.raises(WeakPassword, match="8"):
        await hasher.check_choice(password)


@pytest.mark.proves("2.1.2")
@pytest.mark.parametrize(
    "password",
    [
        "kTz4!xwq",
        "k!z4!x?q",
        "kTz4!xwk",
        "ünïçødéx",
        "🔑🐟🌋🎺🧀🛶🪀🦔",
        "correct horse battery staple",
        "summer dragon computer freedom",
        "mein Hund frisst Steuern",
        "password manager rejected",
        "x" * 2 + "kq7" * 2 + "z" * 1016,
        "kTz4!xwq" * 3,
        "日本語のパスワード",
        "        a b c d e  f",
        "22130\n컆A1b 97",
    ],
)
async def test_eight_characters_suffice(password: str, hasher: PasswordHasher) -> None:
    await hasher.check_choice(password, PERSON)


async def test_characters_are_counted_after_composition(hasher: PasswordHasher) -> None:
    with pytest.raises(WeakPassword):
        await hasher.check_choice("e\u0301" * 2 + "abxyz")
    await hasher.check_choice(unicodedata.normalize("NFD", "éàüöñ-kz"))


@pytest.mark.parametrize(("length", "fits"), [(1024, True), (1025, False)])
async def test_the_longest_password(length: int, *, fits: bool, hasher: PasswordHasher) -> None:
    password = ("four wooden ladders lean, " + "kq7 zx" * 300)[:length]
    if fits:
        await hasher.check_choice(password)
    else:
        with pytest.raises(WeakPassword, match=r"1,?024"):
            await hasher.check_choice(password)


async def test_what_is_no_text_is_refused(hasher: PasswordHasher) -> None:
    with pytest.raises(WeakPassword, match="not text"):
        await hasher.check_choice("\ud800 and more of it")


# ── What is guessed early ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.proves("2.1.2")
async def test_a_common_password_is_refused(hasher: PasswordHasher) -> None:
    with pytest.raises(WeakPassword, match="Many people"):
        await hasher.check_choice("trustno1")
    await hasher.check_choice("Acmetools-2026")
    with pytest.raises(WeakPassword, match="Many people"):
        await hasher.check_choice("Acmetools-2026", PERSON)


@pytest.mark.proves("2.1.2")
@pytest.mark.parametrize(
    "password",
    [
        "12345678910",
        "87654321",
        "hgfedcba",
        "asdfghjkl",
        "qwerty123456",
        "1q2w3e4r",
        "1qaz2wsx",
        "!@#$%^&*",
        "PASSWORD",
        "P@ssw0rd!",
        "pa$$word2024",
        "iloveyou1!",
        "letmein123",
        "baseball",
        "dragon1992",
        "31.12.1999",
        "michael jordan",
    ],
)
def test_leaked_words_names_dates_and_rows_of_keys_are_common(password: str) -> None:
    assert is_common(password)


@pytest.mark.parametrize("password", ["password_password", "admin-admin", "p-a-s-s-w-o-r-d", "Welcome!2019"])
def test_signs_between_words_do_not_hide_them(password: str) -> None:
    assert is_common(password)


@pytest.mark.parametrize("password", ["Welcome2026!", "Summer-2026", "operalta1", "Operalta-2026"])
def test_the_products_name_and_the_years_of_late_are_common(password: str) -> None:
    assert is_common(password)


@pytest.mark.parametrize("password", ["Acmetools-2026", "ada.lovelace1", "AdaLovelace", "Ada.King1", "lovelaceAda"])
def test_what_is_known_of_a_person_is_common_for_that_person_alone(password: str) -> None:
    assert is_common(password, *PERSON)
    assert not is_common(password + "kq7", "Grace", "grace@example.net")


@pytest.mark.parametrize("group", ["a", "🔑", "ab", "kq7z", "kq7zxw5"])
def test_a_short_group_repeated_is_too_short_however_often(group: str) -> None:
    for length in (max(8, len(group) * 2), 64, 100, 1023):
        with pytest.raises(WeakPassword, match="Many people"):
            spellings((group * 1024)[:length])


@pytest.mark.parametrize("group", ["password", "passwordqwerty", "12345678", "password "])
def test_a_common_group_repeated_is_common_however_often(group: str) -> None:
    assert all(is_common((group * 128)[:length]) for length in (len(group) * 2, 64, 100, 1023))


def test_the_words_at_hand_are_bounded() -> None:
    words = words_at_hand(["a b cd", "word " * 500])
    assert len(words) == 40
    assert "cd" not in words


# ── Where it is judged ────────────────────────────────────────────────────────────────────────────────


async def test_a_worker_judges_and_is_given_little(hasher: PasswordHasher, monkeypatch: pytest.MonkeyPatch) -> None:
    """The estimate takes long for long texts: neither the event loop nor a worker may be held up by one."""
    given: list[str] = []

    async def record(work: Callable[..., object], texts: tuple[str, ...], words: tuple[str, ...]) -> object:
        assert work is fewest_guesses
        given.extend(texts)
        return work(texts, words)

    monkeypatch.setattr(hasher, "_run", record)
    await hasher.check_choice("four wooden ladders lean against the wall of a house, and nobody climbs them")
    assert [len(text) for text in given] == [LENGTH_LOOKED_AT] * 2


async def test_judging_has_its_place_in_the_queue() -> None:
    hasher = PasswordHasher({1: b"p" * 32}, cost=4, workers=1, queue_limit=1)
    try:
        waiting: list[Any] = [hasher.hash("x"), hasher.check_choice("kTz4!xwq")]
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(outcomes[1], HashingBusy)
    finally:
        await hasher.close()
