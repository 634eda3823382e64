"""Canonical JSON: the published number vectors of RFC 8785, sorting, and what is refused."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as some

from operalta.agents.canonical import JsonValue, canonical_bytes, canonical_text, sha256_of
from operalta.agents.errors import ArgumentsNotCanonical

# RFC 8785 appendix B: the bits of a double and how it is written.
NUMBERS = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555554", "333333333.33333325"),
    ("41b3de4355555555", "333333333.3333333"),
    ("41b3de4355555556", "333333333.3333334"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]


@pytest.mark.parametrize(("bits", "written"), NUMBERS)
def test_numbers_are_written_as_the_standard_writes_them(bits: str, written: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_text(number) == written


def test_names_are_sorted_by_utf16_and_nothing_is_added() -> None:
    # RFC 8785 section 3.2.3
    value = {"\u20ac": 5, "\r": 1, "\ufb33": 7, "1": 2, "\U0001f600": 6, "\u0080": 3, "\u00f6": 4}
    assert [json.loads(canonical_text(value))[name] for name in json.loads(canonical_text(value))] == [
        1,
        2,
        3,
        4,
        5,
        6,
        7,
    ]
    assert canonical_text({"b": [1, True, None], "a": 'é\n\u0001"'}) == '{"a":"é\\n\\u0001\\"","b":[1,true,null]}'


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), 2**53, -(2**53), "\ud800", {"\udc00": 1}, {1: 2}, b"x", {"a": object()}, {1, 2}],
)
def test_what_has_no_one_form_is_refused(value: JsonValue) -> None:
    with pytest.raises(ArgumentsNotCanonical):
        canonical_bytes(value)


def test_what_is_nested_without_end_is_refused() -> None:
    value: JsonValue = 1
    for _ in range(100):
        value = [value]
    with pytest.raises(ArgumentsNotCanonical):
        canonical_text(value)


TEXT = some.text(some.characters(codec="utf-8"))
VALUES = some.recursive(
    some.one_of(some.none(), some.booleans(), some.integers(-(2**53) + 1, 2**53 - 1), TEXT),
    lambda inner: some.one_of(some.lists(inner, max_size=4), some.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)


@given(VALUES)
def test_reading_it_back_gives_the_same_value_and_the_same_bytes(value: JsonValue) -> None:
    assert json.loads(canonical_text(value)) == value
    assert canonical_bytes(json.loads(canonical_bytes(value))) == canonical_bytes(value)


@given(some.floats(allow_nan=False, allow_infinity=False))
def test_every_number_reads_back_as_itself(number: float) -> None:
    assert float(canonical_text(number)) == number


@given(some.dictionaries(TEXT, some.integers(-9, 9), min_size=2))
def test_the_order_of_members_does_not_matter(value: dict[str, int]) -> None:
    assert sha256_of(dict(reversed(value.items()))) == sha256_of(value)
