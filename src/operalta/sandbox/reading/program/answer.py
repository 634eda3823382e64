"""What the program collects while it reads, and how that is written down."""

import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import BinaryIO

from . import limits
from .visible import without_hidden_signs


class Reason(StrEnum):
    """Why a document is not read. The server has the sentence for each."""

    DAMAGED = "damaged"
    ENCRYPTED = "encrypted"
    OLD_FORMAT = "old_format"
    UNSUPPORTED = "unsupported"
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    TOO_MUCH_WORK = "too_much_work"
    BOMB = "bomb"
    ENTITIES = "entities"
    ARCHIVE_NAMES = "archive_names"


class Note(StrEnum):
    """What people are told about a reading. The server has the sentence for each."""

    MACROS = "macros"
    JAVASCRIPT = "javascript"
    EMBEDDED = "embedded"
    EXTERNAL = "external"
    FORMULAS = "formulas"
    HIDDEN_TEXT = "hidden_text"
    HIDDEN_SHEETS = "hidden_sheets"
    DELETIONS = "deletions"
    COMMENTS = "comments"
    DRAWINGS = "drawings"
    PAGES_LEFT_OUT = "pages_left_out"
    PAGES_WITHOUT_TEXT = "pages_without_text"
    ENCODING_GUESSED = "encoding_guessed"
    STOPPED = "stopped"


class Refused(Exception):  # noqa: N818 - the product's word for it
    """The document is not read, for a `reason`."""

    def __init__(self, reason: Reason) -> None:
        """Hold the reason."""
        super().__init__(reason.value)
        self.reason = reason


class Full(Exception):  # noqa: N818 - not a fault: there is no room for more text
    """As much text was collected as may be answered."""


class OutOfTime(BaseException):
    """The time for this work is over. Not an Exception, so that no parser swallows it."""


class Answer:
    """The text of one document: passages under headings, within all limits. Text is cleaned when it is added.

    `heading` and `place` hold for the paragraphs added from then on. `add` raises Full where no passage more fits.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.title = ""
        self.facts: dict[str, int] = {}
        self.notes: dict[Note, None] = {}
        self.cut = False
        self.passages: list[tuple[str, str, str]] = []
        self._heading = ""
        self._place = ""
        self._body = ""
        self._is_alone = False  # nothing stands under the heading yet

    def note(self, note: Note) -> None:
        """Tell people something about this reading, once."""
        self.notes[note] = None

    def begin(self, *, heading: str | None = None, place: str | None = None) -> None:
        """Begin a new passage, under another heading or at another place."""
        self._flush()
        if heading is not None:
            self._heading = _one_line(heading, limits.HEADING_CHARACTERS)
        if place is not None:
            self._place = _one_line(place, limits.PLACE_CHARACTERS)

    def heading(self, text: str) -> None:
        """Begin what stands under the heading `text`. A heading with nothing under it is kept as text."""
        if not self._body and self._is_alone:
            self._body = self._heading
        self.begin(heading=text)
        self._is_alone = bool(self._heading)

    def add(self, text: str) -> None:
        """Add a paragraph. Raise Full."""
        if len(text) > limits.TEXT_CHARACTERS:
            self.cut = True
        for piece in _cut(without_hidden_signs(text[: limits.TEXT_CHARACTERS])):
            if self._body and len(self._body) + 2 + len(piece) > limits.BODY_CHARACTERS:
                self._flush()
            self._body = f"{self._body}\n\n{piece}" if self._body else piece

    def finish(self) -> None:
        """End the last passage."""
        try:
            self.heading("")
        except Full:
            self.cut = True

    def write(self, output: BinaryIO) -> None:
        """Write the answer down: a line about the document, then one for each passage."""
        about: Mapping[str, object] = {
            "title": _one_line(self.title, limits.TITLE_CHARACTERS),
            "facts": self.facts,
            "notes": list(self.notes),
            "cut": self.cut,
        }
        output.write(_line(about))
        output.writelines(
            _line({"heading": heading, "body": body, "place": place}) for heading, body, place in self.passages
        )

    def _flush(self) -> None:
        body, self._body = self._body, ""
        if not body:
            return
        if len(self.passages) == limits.PASSAGES:
            raise Full
        self.passages.append((self._heading, body, self._place))
        self._is_alone = False


def write_refusal(reason: Reason, output: BinaryIO) -> None:
    """Write down that the document is not read."""
    output.write(_line({"refused": reason}))


def _line(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _one_line(text: str, most: int) -> str:
    # Cut before it is cleaned too: a title may be as long as the document.
    return " ".join(without_hidden_signs(text[: 4 * most]).split())[:most].strip()


def _cut(paragraph: str) -> Iterator[str]:
    place, end = 0, len(paragraph)
    while end - place > limits.BODY_CHARACTERS:
        window = paragraph[place : place + limits.BODY_CHARACTERS]
        length = _good_end(window)
        if piece := window[:length].strip():
            yield piece
        place += length
    if rest := paragraph[place:].strip():
        yield rest


def _good_end(window: str) -> int:
    for mark in ("\n", ". ", "; ", " "):
        end = window.rfind(mark)
        if end > limits.BODY_CHARACTERS // 2:
            return end + len(mark)
    return len(window)
