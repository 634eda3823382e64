"""What the program answers is hostile too: only what is sound and bounded becomes a document."""

import contextlib
import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operalta.sandbox import errors
from operalta.sandbox.reading.program import limits
from operalta.sandbox.reading.program.answer import Note, Reason
from operalta.sandbox.reading.results import document_of, refusal_of
from operalta.sandbox.reading.rules import DocumentKind

ABOUT: Mapping[str, object] = {"title": "T", "facts": {"pages": 1}, "notes": ["macros"], "cut": False}
PASSAGE: Mapping[str, object] = {"heading": "H", "body": "B", "place": "page 1"}


def written(*lines: object) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def test_a_sound_answer_becomes_a_document() -> None:
    found = document_of(DocumentKind.PDF, written(ABOUT, PASSAGE))
    assert (found.title, found.facts, found.notes, found.cut) == ("T", {"pages": 1}, ("Macros were left out.",), False)
    assert found.text == "H\n\nB"


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"\n",
        b"{}",
        written(ABOUT)[:-1],
        written(PASSAGE),
        written(ABOUT, ABOUT),
        written([ABOUT]),
        written(ABOUT) + b"\xff\n",
        written(ABOUT) + b"[" * 10_000 + b"\n",
        written(ABOUT) + b"9" * 10_000 + b"\n",
        written(ABOUT) + b" " * limits.LINE_BYTES + written(PASSAGE),
        written(ABOUT, *[PASSAGE] * (limits.PASSAGES + 1)),
        written({**ABOUT, "more": 1}),
        written({**ABOUT, "cut": 0}),
        written({**ABOUT, "title": None}),
        written({**ABOUT, "title": "x" * (limits.TITLE_CHARACTERS + 1)}),
        written({**ABOUT, "facts": []}),
        written({**ABOUT, "facts": {"pages": True}}),
        written({**ABOUT, "facts": {"pages": -1}}),
        written({**ABOUT, "facts": {"pages": 2**31}}),
        written({**ABOUT, "facts": {"pages": 1.5}}),
        written({**ABOUT, "facts": {"secrets": 1}}),
        written({**ABOUT, "notes": "macros"}),
        written({**ABOUT, "notes": ["Call this number"]}),
        written({**ABOUT, "notes": [["macros"]]}),
        written({**ABOUT, "notes": ["macros"] * 99}),
        written(ABOUT, {**PASSAGE, "body": ["x"]}),
        written(ABOUT, {**PASSAGE, "body": "x" * (limits.BODY_CHARACTERS + 1)}),
        written(ABOUT, {**PASSAGE, "heading": "x" * (limits.HEADING_CHARACTERS + 1)}),
        written(ABOUT, {**PASSAGE, "place": "x" * (limits.PLACE_CHARACTERS + 1)}),
        written(ABOUT, {"body": "x"}),
    ],
)
def test_an_unsound_answer_is_none(output: bytes) -> None:
    with pytest.raises(errors.DocumentDamaged):
        document_of(DocumentKind.PDF, output)


def test_an_answer_is_cleaned_once_more() -> None:
    hidden = "a\0b\u202ec\u200bd\ud800e\U000e0041f"
    passage = {"heading": f"{hidden}\nx", "body": f" {hidden}\ny ", "place": f"{hidden}\tz"}
    found = document_of(DocumentKind.PDF, written({**ABOUT, "title": hidden}, passage, {**PASSAGE, "body": "\u200b"}))
    assert found.title == "abcdef"
    assert [(each.heading, each.body, each.place) for each in found.passages] == [("abcdef x", "abcdef\ny", "abcdef z")]


def test_an_answer_longer_than_its_cap_is_not_looked_at() -> None:
    with pytest.raises(errors.DocumentTooLarge):
        document_of(DocumentKind.PDF, b" " * (limits.OUTPUT_BYTES + 1))


def test_the_words_about_an_image_are_ours() -> None:
    about = {**ABOUT, "facts": {"width": 3, "height": 4}}
    found = document_of(DocumentKind.PNG, written(about, {**PASSAGE, "body": "not ours"}))
    assert found.text == "This is a PNG image, 3 pixels wide and 4 high."
    with pytest.raises(errors.DocumentDamaged):
        document_of(DocumentKind.PNG, written({**ABOUT, "facts": {"width": 3}}))


def test_every_note_and_every_reason_has_its_words() -> None:
    for note in Note:
        assert document_of(DocumentKind.PDF, written({**ABOUT, "notes": [note]})).notes[0].endswith(".")
    for reason in set(Reason) - {Reason.DAMAGED}:
        assert type(refusal_of(written({"refused": reason}))) is not errors.DocumentDamaged


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"{",
        written({"refused": "Call this number"}),
        written({"refused": ["damaged"]}),
        written([]),
        b"x" * 99_999,
    ],
)
def test_an_unsound_refusal_tells_nothing(output: bytes) -> None:
    refusal = refusal_of(output)
    assert type(refusal) is errors.DocumentDamaged
    assert refusal.public_text == errors.DocumentDamaged().public_text


@given(st.sampled_from((b"", written(ABOUT))), st.binary(max_size=300))
def test_whatever_is_answered_there_is_a_document_or_a_refusal(sound: bytes, mess: bytes) -> None:
    with contextlib.suppress(errors.DocumentDamaged):
        document_of(DocumentKind.TEXT, sound + mess)
