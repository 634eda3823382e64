from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operalta.kernel.errors import InvalidInput
from operalta.kernel.texts import checked_line, checked_text
from operalta.workspace.rules import Position, any_of, decode_cursor, encode_cursor, position_cursor, position_in


@given(st.text(max_size=300) | st.text("abcdefgXYZ019-_=", max_size=60))
def test_a_cursor_that_is_garbage_is_invalid_input_and_never_another_error(garbage: str) -> None:
    with pytest.raises(InvalidInput):
        position_in(garbage)


SOME_ID = UUID("01a20928-2a3d-70dc-a422-d601a4a25005")


def test_cursors_come_back_as_they_were() -> None:
    position = Position(datetime(2026, 3, 16, 9, 30, 0, 123456, tzinfo=UTC), SOME_ID)
    assert position_in(position_cursor(position)) == position
    assert position_in(None) is None
    assert decode_cursor(encode_cursor("notes/größe.md"), 1) == ("notes/größe.md",)


@pytest.mark.parametrize(
    "cursor",
    [
        encode_cursor("2026-03-16T09:30:00", str(SOME_ID)),
        encode_cursor("2026-03-16T09:30:00+00:00", "x"),
        encode_cursor("2026-03-16T09:30:00+00:00", str(SOME_ID), "more"),
        encode_cursor("\x00", str(SOME_ID)),
        encode_cursor("\ud800", str(SOME_ID)),
        "bnVsbA",
        "WzEsMl0",
        "W" * 5_000,
    ],
)
def test_a_cursor_of_another_make_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidInput):
        position_in(cursor)


@pytest.mark.parametrize("text", ["a\x00b", "lone \ud800 surrogate", "", "  \n ", "x" * 21])
def test_text_that_cannot_be_kept_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        checked_text(text, "body", 20, 1)


@pytest.mark.parametrize("text", ["two\nlines", "tab\there", "bell\x07", "separator\u2028here"])
def test_a_title_is_one_line(text: str) -> None:
    with pytest.raises(InvalidInput):
        checked_line(text, "title", 200, 1)


def test_words_are_loosened_to_any_of_them() -> None:
    assert any_of("pricing of the Swiss plan") == "pricing or of or the or Swiss or plan"
    assert any_of("pricing") is None
    assert any_of('"') is None
