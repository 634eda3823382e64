"""The form of keys, and the bounds of what is asked of one."""

import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operalta.access.rules import KEY_SCOPES, Permission
from operalta.kernel.errors import InvalidInput
from operalta.vault.api_keys.noted_uses import MOST_REMEMBERED, NotedUses
from operalta.vault.api_keys.rules import (
    ALPHABET,
    KEY_LENGTH,
    checked_addresses,
    checked_life,
    checked_overlap,
    checked_scopes,
    digest_of,
    is_key_text,
    new_key_text,
    shown_part,
)


@pytest.mark.proves("1.3.2")
def test_a_key_is_recognised_by_scanners_and_shows_no_secret_in_its_name() -> None:
    made = [new_key_text() for _ in range(200)]
    assert len(set(made)) == 200
    for text in made:
        assert re.fullmatch(r"op_[0-9A-Za-z]{50}", text)
        assert len(text) == KEY_LENGTH
        assert is_key_text(text)
        assert shown_part(text) == text[:15]
        assert len(digest_of(text)) == 32


def test_the_check_is_the_crc_of_what_stands_before_it() -> None:
    text = new_key_text()
    number = 0
    for character in text[-6:]:
        number = number * 62 + ALPHABET.index(character)
    assert number == zlib.crc32(text[:-6].encode())


@given(st.integers(0, KEY_LENGTH - 1), st.sampled_from(ALPHABET + "_-. \n\u0661ß"))
def test_a_mistyped_key_is_none(place: int, character: str) -> None:
    text = new_key_text()
    wrong = text[:place] + character + text[place + 1 :]
    assert is_key_text(wrong) is (wrong == text)


@given(st.text(max_size=80))
def test_no_other_text_is_a_key(text: str) -> None:
    assert not is_key_text(text)
    assert not is_key_text(new_key_text() + text) or text == ""


@pytest.mark.proves("1.3.1", "7.2.2")
def test_a_key_gets_scopes_of_the_list_that_its_maker_holds() -> None:
    offered = frozenset({Permission.MEMORY_READ, Permission.FILES_READ})
    assert checked_scopes(["memory:read", "memory:read"], offered) == ["memory:read"]
    assert checked_scopes(["memory:write"], KEY_SCOPES) == ["memory:read", "memory:write"]
    for wrong in ([], ["memory:write"], ["members:manage"], ["keys:manage"], ["approvals:decide"], ["*"], ["x" * 99]):
        with pytest.raises(InvalidInput) as refused:
            checked_scopes(wrong, offered)
        assert refused.value.field == "scopes"


@pytest.mark.proves("1.3.1")
def test_no_key_can_be_given_what_only_people_decide() -> None:
    for_people = {
        Permission.MEMBERS_INVITE,
        Permission.MEMBERS_MANAGE,
        Permission.COMPANY_MANAGE,
        Permission.APPROVALS_DECIDE,
        Permission.AGENTS_MANAGE,
        Permission.KEYS_USE,
        Permission.KEYS_MANAGE,
        Permission.INTEGRATIONS_CONNECT,
        Permission.INTEGRATIONS_MANAGE,
        Permission.SHELL_RUN,
    }
    assert not for_people & KEY_SCOPES
    assert for_people | KEY_SCOPES == set(Permission)


@pytest.mark.parametrize(
    ("text", "network"),
    [("203.0.113.7", "203.0.113.7/32"), (" 203.0.113.0/24 ", "203.0.113.0/24"), ("2001:db8::/32", "2001:db8::/32")],
)
def test_addresses_are_networks(text: str, network: str) -> None:
    assert checked_addresses([text, text]) == [network]


@pytest.mark.parametrize(
    "text", ["", "203.0.113.1/24", "example.com", "1.2.3", "203.0.113.0/33", "fe80::1%eth0/64", "x" * 500]
)
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="no address or network"):
        checked_addresses([text])


def test_lives_overlaps_and_lists_have_bounds() -> None:
    for days in (0, -1, 367):
        with pytest.raises(InvalidInput):
            checked_life(days)
    for hours in (-1, 169):
        with pytest.raises(InvalidInput):
            checked_overlap(hours)
    with pytest.raises(InvalidInput):
        checked_addresses([f"203.0.113.{number}" for number in range(21)])


def test_a_use_is_noted_once_a_minute_and_memory_stays_bounded() -> None:
    noted = NotedUses()
    assert noted.is_due("one")
    assert not noted.is_due("one")
    assert all(noted.is_due(str(number)) for number in range(MOST_REMEMBERED))
    assert noted.is_due("one")
