"""From what the reading program wrote to what a document says, trusting none of it. Pure.

A line at a time is taken apart, so that what a hostile answer costs here is bounded by the longest line.
"""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

from operalta.kernel.errors import Refusal
from operalta.sandbox import errors
from operalta.sandbox.reading.program import limits
from operalta.sandbox.reading.program.answer import Note, Reason
from operalta.sandbox.reading.program.visible import without_hidden_signs
from operalta.sandbox.reading.rules import IMAGES, DocumentKind, DocumentText, Passage, name_of_kind

_LARGEST_FACT = 2**31 - 1
_FACTS = ("pages", "slides", "sheets", "rows", "width", "height")

_REFUSALS: Mapping[str, type[Refusal]] = MappingProxyType(
    {
        Reason.DAMAGED: errors.DocumentDamaged,
        Reason.ENCRYPTED: errors.DocumentProtected,
        Reason.OLD_FORMAT: errors.DocumentOfOldFormat,
        Reason.UNSUPPORTED: errors.KindNotRead,
        Reason.TOO_LARGE: errors.DocumentTooLarge,
        Reason.TOO_DEEP: errors.DocumentTooLarge,
        Reason.TOO_MUCH_WORK: errors.DocumentTooLarge,
        Reason.BOMB: errors.DocumentSuspicious,
        Reason.ENTITIES: errors.DocumentSuspicious,
        Reason.ARCHIVE_NAMES: errors.DocumentSuspicious,
    }
)

_NOTES: Mapping[str, str] = MappingProxyType(
    {
        Note.MACROS: "Macros were left out.",
        Note.JAVASCRIPT: "Scripts were left out.",
        Note.EMBEDDED: "Files within the document were left out.",
        Note.EXTERNAL: "Parts that lie outside the document were not fetched.",
        Note.FORMULAS: "Formulas are shown as their last saved values.",
        Note.HIDDEN_TEXT: "Hidden text was left out.",
        Note.HIDDEN_SHEETS: "Some sheets are hidden from readers; they are marked.",
        Note.DELETIONS: "Text that was deleted while changes were tracked was left out.",
        Note.COMMENTS: "Comments are included and marked.",
        Note.DRAWINGS: "Charts and drawings were left out.",
        Note.PAGES_LEFT_OUT: "Some pages could not be read and were left out.",
        Note.PAGES_WITHOUT_TEXT: "Some pages hold pictures only, or nothing.",
        Note.ENCODING_GUESSED: "The text is not in UTF-8; some letters may be wrong.",
        Note.STOPPED: "Reading took too long and was stopped; what follows is missing.",
    }
)


def document_of(kind: DocumentKind, output: bytes) -> DocumentText:
    """Return what the program's answer says. Raise DocumentDamaged where it is none; nothing of it is shown then."""
    if len(output) > limits.OUTPUT_BYTES:
        raise errors.DocumentTooLarge
    lines = output.split(b"\n", limits.PASSAGES + 2)
    if len(lines) > limits.PASSAGES + 2 or lines.pop():
        raise errors.DocumentDamaged
    if not lines:
        raise errors.DocumentDamaged
    about = _object_in(lines[0], {"title", "facts", "notes", "cut"})
    facts = _facts_in(about["facts"])
    passages = _image(kind, facts) if kind in IMAGES else tuple(map(_passage_in, lines[1:]))
    if not isinstance(about["cut"], bool):
        raise errors.DocumentDamaged
    return DocumentText(
        kind=kind,
        title=_text_in(about["title"], limits.TITLE_CHARACTERS, lines=False),
        passages=tuple(passage for passage in passages if passage.body),
        facts=MappingProxyType(facts),
        notes=_notes_in(about["notes"]),
        cut=about["cut"],
    )


def refusal_of(output: bytes) -> Refusal:
    """Return the refusal that the program wrote down; DocumentDamaged where it wrote none that is known."""
    if len(output) > limits.LINE_BYTES:
        return errors.DocumentDamaged()
    try:
        reason = _object_in(output.removesuffix(b"\n"), {"refused"})["refused"]
    except errors.DocumentDamaged:
        return errors.DocumentDamaged()
    known = _REFUSALS.get(reason) if isinstance(reason, str) else None
    return (known or errors.DocumentDamaged)()


def _object_in(line: bytes, keys: set[str]) -> dict[str, Any]:
    if len(line) > limits.LINE_BYTES:
        raise errors.DocumentDamaged
    try:
        value: object = json.loads(line.decode())
    except (ValueError, RecursionError):
        raise errors.DocumentDamaged from None
    if not isinstance(value, dict):
        raise errors.DocumentDamaged
    found = cast("dict[str, Any]", value)
    if set(found) != keys:
        raise errors.DocumentDamaged
    return found


def _passage_in(line: bytes) -> Passage:
    found = _object_in(line, {"heading", "body", "place"})
    return Passage(
        heading=_text_in(found["heading"], limits.HEADING_CHARACTERS, lines=False),
        body=_text_in(found["body"], limits.BODY_CHARACTERS, lines=True),
        place=_text_in(found["place"], limits.PLACE_CHARACTERS, lines=False),
    )


def _image(kind: DocumentKind, facts: Mapping[str, int]) -> tuple[Passage, ...]:
    if not {"width", "height"} <= set(facts):
        raise errors.DocumentDamaged
    said = f"This is {name_of_kind(kind)}, {facts['width']} pixels wide and {facts['height']} high."
    return (Passage("", said, ""),)


def _text_in(value: object, most: int, *, lines: bool) -> str:
    """Return a text without hidden signs and lone surrogates, on one line unless `lines`."""
    if not isinstance(value, str) or len(value) > most:
        raise errors.DocumentDamaged
    plain = without_hidden_signs(value)
    return plain.strip() if lines else " ".join(plain.split())


def _facts_in(value: object) -> dict[str, int]:
    if not isinstance(value, dict):
        raise errors.DocumentDamaged
    found = cast("dict[str, object]", value)
    facts: dict[str, int] = {}
    for name, count in found.items():
        if name not in _FACTS or type(count) is not int or not 0 <= count <= _LARGEST_FACT:
            raise errors.DocumentDamaged
        facts[name] = count
    return facts


def _notes_in(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise errors.DocumentDamaged
    found = cast("list[object]", value)
    if len(found) > len(_NOTES):
        raise errors.DocumentDamaged
    notes: dict[str, None] = {}
    for note in found:
        if not isinstance(note, str) or note not in _NOTES:
            raise errors.DocumentDamaged
        notes[_NOTES[note]] = None
    return tuple(notes)
