"""Word documents: paragraphs under their headings, tables by rows, footnotes and comments marked as what they are."""

from . import limits
from .answer import Answer, Note, Reason, Refused
from .office import REPEATED, Blocks, Document
from .xml import Attributes, ignore, read_xml

_OFF = frozenset({"0", "false", "off"})
_DEEPEST_OUTLINE = 8  # 0 is a heading of the first level, 9 is body text
_LONGEST_CHAIN = 10  # of styles based on others
_ASIDES = {"footnotes": "Footnotes", "endnotes": "Endnotes", "comments": "Comments"}
_SIGNS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


def read_word(content: bytes, answer: Answer) -> None:
    """Add the text of a DOCX. Raise Refused."""
    document = Document(content, answer)
    relations = document.relations(document.main)
    styles = _Styles()
    for relation in relations:
        if relation.kind == "styles":
            read_xml(document.archive.pieces(relation.part), styles.start, styles.end, ignore)
            break
    body = _Paragraphs(answer, styles)
    read_xml(document.archive.pieces(document.main), body.start, body.end, body.text, without=REPEATED)
    if not body.is_document:
        raise Refused(Reason.DAMAGED)
    for relation in relations:
        if place := _ASIDES.get(relation.kind):
            if relation.kind == "comments":
                answer.note(Note.COMMENTS)
            answer.heading("")
            answer.begin(place=place.lower())
            aside = _Paragraphs(answer, styles, mark=place.removesuffix("s"))
            read_xml(document.archive.pieces(relation.part), aside.start, aside.end, aside.text, without=REPEATED)


class _Styles:
    """Which styles are headings, by their id: those named so (in English in every edition), or based on one."""

    def __init__(self) -> None:
        self._headings: set[str] = set()
        self._based_on: dict[str, str] = {}
        self._style = ""

    def start(self, tag: str, given: Attributes) -> None:
        value = given.get("val", "")
        if tag == "style":
            self._style = given.get("styleId", "")
            if len(self._based_on) + len(self._headings) > limits.STYLES:
                raise Refused(Reason.TOO_LARGE)
        elif tag == "name" and self._style and _is_heading_name(value):
            self._headings.add(self._style)
        elif tag == "basedOn" and self._style:
            self._based_on[self._style] = value
        elif tag == "outlineLvl" and self._style and _is_heading_level(value):
            self._headings.add(self._style)

    def end(self, tag: str) -> None:
        if tag == "style":
            self._style = ""

    def is_heading(self, style: str) -> bool:
        for _ in range(_LONGEST_CHAIN):
            if style in self._headings:
                return True
            style = self._based_on.get(style, "")
        return False


class _Paragraph:
    def __init__(self) -> None:
        self.words: list[str] = []
        self.is_heading = False


class _Paragraphs:
    """Follows the elements of one part. A text box is a paragraph within a paragraph, so they are kept as a stack."""

    def __init__(self, answer: Answer, styles: _Styles, mark: str = "") -> None:
        self.is_document = False
        self._answer = answer
        self._styles = styles
        self._mark = mark
        self._blocks = Blocks(answer.add)
        self._open: list[_Paragraph] = []
        self._takes_text = False
        self._is_hidden = False
        self._describes = 0

    def start(self, tag: str, given: Attributes) -> None:
        self._takes_text = tag == "t" and not self._is_hidden
        if tag == "p":
            self._open.append(_Paragraph())
        elif tag in {"pPr", "rPr"}:
            self._describes += 1
        elif tag == "r":
            self._is_hidden = False
        elif tag == "document":
            self.is_document = True
        elif tag == "delText":
            self._answer.note(Note.DELETIONS)
        elif self._describes:
            self._described(tag, given)
        elif tag in _SIGNS and self._open and not self._is_hidden:
            self._open[-1].words.append(_SIGNS[tag])
        else:
            self._blocks.start(tag)

    def end(self, tag: str) -> None:
        self._takes_text = False
        if tag == "p" and self._open:
            self._finish(self._open.pop())
        elif tag in {"pPr", "rPr"}:
            self._describes -= 1
        elif tag == "r":
            self._is_hidden = False
        else:
            self._blocks.end(tag)

    def text(self, text: str) -> None:
        if self._takes_text and self._open:
            self._open[-1].words.append(text)

    def _described(self, tag: str, given: Attributes) -> None:
        value = given.get("val", "")
        if tag == "vanish" and value not in _OFF:
            self._is_hidden = True
            self._answer.note(Note.HIDDEN_TEXT)
        elif self._open and tag == "pStyle":
            self._open[-1].is_heading |= self._styles.is_heading(value)
        elif self._open and tag == "outlineLvl":
            self._open[-1].is_heading |= _is_heading_level(value)

    def _finish(self, paragraph: _Paragraph) -> None:
        text = "".join(paragraph.words).strip()
        if not text:
            return
        if paragraph.is_heading and not self._mark and not self._blocks.is_in_table:
            self._answer.heading(text)
        else:
            self._blocks.add(f"{self._mark}: {text}" if self._mark else text)


def _is_heading_name(name: str) -> bool:
    plain = name.lower()
    return plain in {"title", "heading"} or (plain.startswith("heading ") and plain[8:].isdecimal())


def _is_heading_level(value: str) -> bool:
    return len(value) == 1 and "0" <= value <= str(_DEEPEST_OUTLINE)
