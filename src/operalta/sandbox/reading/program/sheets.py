"""Workbooks: every sheet by its rows, numbers and dates as people see them, formulas as their last saved values."""

from . import limits
from .answer import Answer, Note, Reason, Refused
from .numbers import DateSystem, NumberFormats, number_below, shown_number
from .office import Document
from .rows import Rows
from .xml import Attributes, ignore, read_xml

_LETTERS = 3  # the last column is XFD
_MOST_ROWS_OF_EXCEL = 1_048_576


def read_sheets(content: bytes, answer: Answer) -> None:
    """Add the text of an XLSX, sheet by sheet. Raise Refused."""
    document = Document(content, answer)
    book = _Book()
    read_xml(document.archive.pieces(document.main), book.start, ignore, ignore)
    if not book.is_workbook:
        raise Refused(Reason.DAMAGED)
    relations = document.relations(document.main)
    formats, shared = NumberFormats(), _SharedStrings(answer)
    for relation in relations:
        if relation.kind == "styles":
            read_xml(document.archive.pieces(relation.part), formats.start, formats.end, ignore)
        elif relation.kind == "sharedStrings" and not shared.texts:
            read_xml(document.archive.pieces(relation.part), shared.start, shared.end, shared.text)
    parts = {relation.id: relation.part for relation in relations if relation.kind == "worksheet"}
    answer.facts["sheets"] = len(book.sheets)
    for name, relation_id, is_hidden in book.sheets[: limits.SHEETS]:
        if part := parts.pop(relation_id, ""):  # each is read once
            sheet = _Sheet(answer, formats, shared.texts, book.dates, name)
            answer.heading(f"{name} (hidden)" if is_hidden else name)
            if is_hidden:
                answer.note(Note.HIDDEN_SHEETS)
            read_xml(document.archive.pieces(part), sheet.start, sheet.end, sheet.text)
            sheet.rows.hand_over()
            _add_comments(document, part, answer)
    answer.cut = answer.cut or len(book.sheets) > limits.SHEETS


def _add_comments(document: Document, part: str, answer: Answer) -> None:
    for relation in document.relations(part):
        if relation.kind == "comments":
            answer.note(Note.COMMENTS)
            comments = _Comments(answer)
            read_xml(document.archive.pieces(relation.part), comments.start, comments.end, comments.text)


class _Book:
    """Which sheets there are, in order: name, relation, whether hidden."""

    def __init__(self) -> None:
        self.is_workbook = False
        self.dates = DateSystem.FROM_1900
        self.sheets: list[tuple[str, str, bool]] = []

    def start(self, tag: str, given: Attributes) -> None:
        if tag == "workbook":
            self.is_workbook = True
        elif tag == "workbookPr" and given.get("date1904") in {"1", "true"}:
            self.dates = DateSystem.FROM_1904
        elif tag == "sheet" and len(self.sheets) <= limits.SHEETS:
            hidden = given.get("state", "visible") != "visible"
            self.sheets.append((given.get("name", "")[: limits.HEADING_CHARACTERS], given.get("r:id", ""), hidden))


class _SharedStrings:
    """The texts that cells point to by number, as many as there is room for."""

    def __init__(self, answer: Answer) -> None:
        self.texts: list[str] = []
        self._answer = answer
        self._words: list[str] = []
        self._is_phonetic = False
        self._takes_text = False
        self._characters = 0

    def start(self, tag: str, _: Attributes) -> None:
        if tag == "rPh":
            self._is_phonetic = True
        self._takes_text = tag == "t" and not self._is_phonetic

    def end(self, tag: str) -> None:
        self._takes_text = False
        if tag == "rPh":
            self._is_phonetic = False
        elif tag == "si":
            if len(self.texts) < limits.SHARED_STRINGS:
                self.texts.append("".join(self._words))
            else:
                self._answer.cut = True
            self._words.clear()

    def text(self, text: str) -> None:
        if self._takes_text:
            self._characters += len(text)
            if self._characters <= limits.SHARED_CHARACTERS:
                self._words.append(text)
            else:
                self._answer.cut = True


class _Sheet:
    """Follows the cells of one sheet. What a sheet declares of its size is not looked at: only cells that are there."""

    def __init__(self, answer: Answer, formats: NumberFormats, shared: list[str], dates: DateSystem, name: str) -> None:
        self.rows = Rows(answer, name)
        self._answer = answer
        self._formats = formats
        self._shared = shared
        self._dates = dates
        self._cells: list[str] = []
        self._row = 0
        self._read_rows = 0
        self._cell: Attributes = {}
        self._has_formula = False
        self._is_phonetic = False
        self._takes_text = False
        self._words: list[str] = []

    def start(self, tag: str, given: Attributes) -> None:
        if tag == "row":
            self._row = number_below(_MOST_ROWS_OF_EXCEL + 1, given.get("r", "")) or self._row + 1
            self._cells = []
            self._read_rows += 1
        elif tag == "c":
            self._cell = given
            self._has_formula = False
            self._words.clear()
        elif tag == "f":
            self._has_formula = True
        elif tag == "rPh":
            self._is_phonetic = True
        self._takes_text = tag in {"v", "t"} and not self._is_phonetic

    def end(self, tag: str) -> None:
        self._takes_text = False
        if tag == "rPh":
            self._is_phonetic = False
        elif tag == "c":
            self._place_cell()
        elif tag == "row":
            if self._read_rows > limits.ROWS:
                self._answer.cut = True
            else:
                self.rows.add(self._row, self._cells)

    def text(self, text: str) -> None:
        if self._takes_text and len(self._words) < limits.CELL_CHARACTERS:
            self._words.append(text[: limits.CELL_CHARACTERS + 1])

    def _place_cell(self) -> None:
        column = _column_of(self._cell.get("r", ""), len(self._cells))
        if column > limits.COLUMNS:
            self._answer.cut = True
            return
        self._cells.extend([""] * (column - len(self._cells)))
        if column == len(self._cells):
            self._cells.append(self._shown())

    def _shown(self) -> str:
        value, kind = "".join(self._words), self._cell.get("t", "n")
        if self._has_formula:
            self._answer.note(Note.FORMULAS)
            if not value:
                return "(formula without a saved value)"
        if kind == "s":
            index = number_below(len(self._shared), value)
            return "" if index is None else self._shared[index]
        if kind == "b":
            return "TRUE" if value == "1" else "FALSE"
        if kind == "n":
            return shown_number(value, self._formats.of(self._cell.get("s", "")), self._dates)
        return value


class _Comments:
    """What was remarked on cells, each with the cell it stands at."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._cell = ""
        self._words: list[str] = []
        self._takes_text = False

    def start(self, tag: str, given: Attributes) -> None:
        if tag == "comment":
            self._cell = given.get("ref", "")[:20]
            self._words.clear()
        self._takes_text = tag == "t"

    def end(self, tag: str) -> None:
        self._takes_text = False
        said = "".join(self._words).strip()
        if tag == "comment" and said:
            self._answer.begin(place=f"comment at {self._cell}")
            self._answer.add(f"Comment: {said}")

    def text(self, text: str) -> None:
        if self._takes_text:
            self._words.append(text)


def _column_of(reference: str, following: int) -> int:
    """Return the column (the first is 0) that a reference such as `BC17` names; `following` where it names none."""
    letters = reference.rstrip("0123456789")
    if not 1 <= len(letters) <= _LETTERS or not (letters.isascii() and letters.isalpha()):
        return following
    column = 0
    for letter in letters.upper():
        column = column * 26 + ord(letter) - ord("A") + 1
    return column - 1
