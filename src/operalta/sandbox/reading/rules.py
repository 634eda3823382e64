"""Which documents can be read, how their kind is told, and what a reading may hold. Pure.

What the reading program answers is as hostile as the document that it read: every line is bounded, checked and
cleaned here, and no sentence for people comes from it.
"""

import codecs
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from types import MappingProxyType

from operalta.sandbox.errors import NotWhatItsNameSays

LONGEST_HEAD = 1_024
"""Bytes of a document's beginning that its kind is told by."""


class DocumentKind(StrEnum):
    """The kinds of documents that are read. The value is what the reading program is called with."""

    PDF = "pdf"
    DOCX = "docx"
    PPTX = "pptx"
    XLSX = "xlsx"
    CSV = "csv"
    MARKDOWN = "markdown"
    HTML = "html"
    TEXT = "text"
    PNG = "png"
    JPEG = "jpeg"
    GIF = "gif"
    WEBP = "webp"
    BMP = "bmp"
    TIFF = "tiff"


IMAGES = frozenset({
    DocumentKind.PNG, DocumentKind.JPEG, DocumentKind.GIF, DocumentKind.WEBP, DocumentKind.BMP, DocumentKind.TIFF,
})  # fmt: skip
OFFICE = frozenset({DocumentKind.DOCX, DocumentKind.PPTX, DocumentKind.XLSX})

_KINDS: Mapping[str, DocumentKind] = MappingProxyType({
    "pdf": DocumentKind.PDF,
    "docx": DocumentKind.DOCX, "docm": DocumentKind.DOCX, "dotx": DocumentKind.DOCX,
    "pptx": DocumentKind.PPTX, "pptm": DocumentKind.PPTX, "ppsx": DocumentKind.PPTX,
    "xlsx": DocumentKind.XLSX, "xlsm": DocumentKind.XLSX,
    "csv": DocumentKind.CSV, "tsv": DocumentKind.CSV,
    "md": DocumentKind.MARKDOWN, "markdown": DocumentKind.MARKDOWN,
    "html": DocumentKind.HTML, "htm": DocumentKind.HTML, "xhtml": DocumentKind.HTML,
    "txt": DocumentKind.TEXT, "text": DocumentKind.TEXT, "log": DocumentKind.TEXT, "rst": DocumentKind.TEXT,
    "png": DocumentKind.PNG, "jpg": DocumentKind.JPEG, "jpeg": DocumentKind.JPEG, "gif": DocumentKind.GIF,
    "webp": DocumentKind.WEBP, "bmp": DocumentKind.BMP, "tif": DocumentKind.TIFF, "tiff": DocumentKind.TIFF,
})  # fmt: skip

_ARCHIVE = "archive"
_OLD_OFFICE = "old office"
_PROGRAM = "program"
_TEXT = "text"
_UNKNOWN = "unknown"
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", _ARCHIVE),
    (bytes.fromhex("d0cf11e0a1b11ae1"), _OLD_OFFICE),
    (b"\x89PNG\r\n\x1a\n", DocumentKind.PNG),
    (b"\xff\xd8\xff", DocumentKind.JPEG),
    (b"GIF87a", DocumentKind.GIF),
    (b"GIF89a", DocumentKind.GIF),
    (b"II*\0", DocumentKind.TIFF),
    (b"MM\0*", DocumentKind.TIFF),
    (b"\x7fELF", _PROGRAM),
    (b"MZ", _PROGRAM),
    (b"BM", DocumentKind.BMP),
)
_SHORT = 2
_PDF_MARK = b"%PDF-"
_WIDE_TEXT = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_AS_TEXT = frozenset({DocumentKind.CSV, DocumentKind.MARKDOWN, DocumentKind.HTML, DocumentKind.TEXT})
_NAMES: Mapping[DocumentKind, str] = MappingProxyType({
    DocumentKind.PDF: "a PDF", DocumentKind.DOCX: "a Word document", DocumentKind.PPTX: "a presentation",
    DocumentKind.XLSX: "a workbook", DocumentKind.CSV: "a table", DocumentKind.MARKDOWN: "a text",
    DocumentKind.HTML: "a page", DocumentKind.TEXT: "a text", DocumentKind.PNG: "a PNG image",
    DocumentKind.JPEG: "a JPEG image", DocumentKind.GIF: "a GIF image", DocumentKind.WEBP: "a WebP image",
    DocumentKind.BMP: "a BMP image", DocumentKind.TIFF: "a TIFF image",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Passage:
    """Some paragraphs under one heading; `place` tells where they stand, such as `page 3` or `sheet May, rows 2-40`."""

    heading: str
    body: str
    place: str


@dataclass(frozen=True, slots=True)
class DocumentText:
    """What a document says.

    `facts` are counts and sizes (`pages`, `slides`, `sheets`, `rows`, `width`, `height`), `notes` sentences for people
    about what was left out. `cut`: the document holds more than its passages.
    """

    kind: DocumentKind
    title: str
    passages: tuple[Passage, ...]
    facts: Mapping[str, int]
    notes: tuple[str, ...]
    cut: bool

    @property
    def text(self) -> str:
        """All of it as one text, headings above what stands under them."""
        return text_of((passage.heading, passage.body) for passage in self.passages)


def text_of(passages: Iterable[tuple[str, str]]) -> str:
    """Return passages, each a heading and a body, as one text: a heading once above all that stands under it."""
    parts: list[str] = []
    above = ""
    for heading, body in passages:
        if heading != above:
            above = heading
            parts += [heading] if heading else []
        parts.append(body)
    return "\n\n".join(parts)


def kind_of(name: str, head: bytes) -> DocumentKind | None:
    """Return the kind of the document `name` that begins with `head`; None for a kind that is not read.

    The extension names it, and the first bytes must agree: what runs as one thing here and as another elsewhere is how
    people are deceived. Raise NotWhatItsNameSays.
    """
    kind = _KINDS.get(PurePosixPath(name).suffix.removeprefix(".").lower())
    if kind is None:
        return None
    if not _agrees(kind, head[:LONGEST_HEAD]):
        raise NotWhatItsNameSays(
            f"This file is named like {_NAMES[kind]} and is something else. Give it the name of what it is, "
            "or choose another file."
        )
    return kind


def name_of_kind(kind: DocumentKind) -> str:
    """Return what people call a document of this kind, with its article."""
    return _NAMES[kind]


def _agrees(kind: DocumentKind, head: bytes) -> bool:
    found = _found_in(head)
    if kind in OFFICE:
        return found in {_ARCHIVE, _OLD_OFFICE}  # of the latter the reading program tells what it is
    if kind is DocumentKind.PDF and found in {_TEXT, _UNKNOWN}:
        return _PDF_MARK in head  # some printers put lines of their own before it
    return found == (_TEXT if kind in _AS_TEXT else kind)


def _found_in(head: bytes) -> str:
    for signature, found in _SIGNATURES:
        # Two letters begin many a text as well.
        if head.startswith(signature) and (len(signature) > _SHORT or b"\0" in head):
            return found
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return DocumentKind.WEBP
    if head.startswith(_PDF_MARK):
        return DocumentKind.PDF
    if head.startswith(_WIDE_TEXT) or b"\0" not in head:
        return _TEXT
    return _UNKNOWN
