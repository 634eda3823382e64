"""What the three office formats share: parts, the relations between them, titles, and what is left out of all."""

from collections.abc import Callable
from dataclasses import dataclass

from . import limits
from .answer import Answer, Note, Reason, Refused
from .archive import Archive, resolved
from .xml import Attributes, ignore, read_xml

REPEATED = "Fallback"
"""The element with the same once more, for older programs."""

_MACROS = ("vbaproject.bin", "vbadata.xml", "macrosheets/", "activex/")
_OBJECTS = ("/charts/", "/diagrams/", "/ink/", "/model3d/")
_EMBEDDED = "/embeddings/"
_LINKS_OF_READERS = frozenset({"hyperlink"})
"""Relations to the outside that only a click follows."""


@dataclass(frozen=True, slots=True)
class Relation:
    """From one part to another, by the last word of its type, such as `styles`."""

    id: str
    kind: str
    part: str


class Document:
    """An office document whose archive was found honest."""

    def __init__(self, content: bytes, answer: Answer) -> None:
        """Open the archive, find the main part, note what will be left out. Raise Refused."""
        self.archive = Archive(content)
        self._answer = answer
        for name in self.archive.names():
            if any(mark in name for mark in _MACROS):
                answer.note(Note.MACROS)
            elif any(mark in f"/{name}" for mark in _OBJECTS):
                answer.note(Note.DRAWINGS)
            elif _EMBEDDED in name:
                answer.note(Note.EMBEDDED)
        top = self.relations("")
        main = next((each.part for each in top if each.kind == "officeDocument"), "")
        if main not in self.archive:
            raise Refused(Reason.DAMAGED)
        self.main = main
        answer.title = next((self._title(each.part) for each in top if each.kind == "core-properties"), "")

    def relations(self, part: str) -> list[Relation]:
        """Return the relations of `part` (the empty name: of the document) to parts that exist, in order."""
        folder, _, name = part.rpartition("/")
        rels = f"{folder}/_rels/{name}.rels".lstrip("/")
        found: list[Relation] = []
        if rels not in self.archive:
            return found

        def start(tag: str, given: Attributes) -> None:
            if tag != "Relationship":
                return
            kind = given.get("Type", "").rpartition("/")[2]
            if given.get("TargetMode") == "External":
                if kind not in _LINKS_OF_READERS:
                    self._answer.note(Note.EXTERNAL)
                return
            target = resolved(part, given.get("Target", ""))
            if target in self.archive:
                found.append(Relation(given.get("Id", ""), kind, target))
            if len(found) > limits.RELATIONSHIPS:
                raise Refused(Reason.TOO_LARGE)

        read_xml(self.archive.pieces(rels), start, ignore, ignore)
        return found

    def _title(self, part: str) -> str:
        reader = _TitleReader()
        read_xml(self.archive.pieces(part), reader.start, reader.end, reader.text)
        return "".join(reader.words)


class _TitleReader:
    def __init__(self) -> None:
        self.words: list[str] = []
        self._is_inside = False

    def start(self, tag: str, _: Attributes) -> None:
        self._is_inside = tag == "title"

    def end(self, _: str) -> None:
        self._is_inside = False

    def text(self, text: str) -> None:
        if self._is_inside and len(self.words) < limits.TITLE_CHARACTERS:
            self.words.append(text[: limits.TITLE_CHARACTERS])


class Blocks:
    """Collects what paragraphs and tables hold, nested in each other as they may be, and adds it to an answer.

    A row of a table is one line, its cells with a bar between them; a table within a cell is part of the cell's text.
    """

    def __init__(self, add: Callable[[str], None]) -> None:
        """Begin outside of any table; `add` takes each paragraph."""
        self._add = add
        self._tables: list[_Table] = []

    def add(self, text: str) -> None:
        """Add a paragraph, to the cell where there is one."""
        if self._tables:
            self._tables[-1].cell.append(text)
        elif text.strip():
            self._add(text)

    @property
    def is_in_table(self) -> bool:
        """Tell whether a table is open."""
        return bool(self._tables)

    def start(self, tag: str) -> None:
        """Begin a table."""
        if tag == "tbl":
            self._tables.append(_Table())

    def end(self, tag: str) -> None:
        """End a cell, a row or a table."""
        if not self._tables:
            return
        table = self._tables[-1]
        if tag == "tc":
            table.row.append(" ".join(" ".join(table.cell).split()))
            table.cell.clear()
        elif tag == "tr":
            if any(table.row):
                table.rows.append(" | ".join(table.row))
            table.row.clear()
            self._hand_over_full_rows(table)
        elif tag == "tbl":
            self._tables.pop()
            self.add("\n".join(table.rows))

    def _hand_over_full_rows(self, table: "_Table") -> None:
        if len(self._tables) == 1 and sum(map(len, table.rows)) > limits.BODY_CHARACTERS // 2:
            self._add("\n".join(table.rows))
            table.rows.clear()


class _Table:
    def __init__(self) -> None:
        self.rows: list[str] = []
        self.row: list[str] = []
        self.cell: list[str] = []


def add_marked(answer: Answer, mark: str, paragraphs: list[str]) -> None:
    """Add `paragraphs` as one text with a `mark` before it that tells what it is, such as `Notes`."""
    said = "\n".join(text for text in paragraphs if text.strip())
    if said:
        answer.add(f"{mark}: {said}")
