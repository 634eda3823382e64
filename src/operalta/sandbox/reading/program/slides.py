"""Slides: each under its title, with its tables, what its speaker noted and what was remarked on it."""

from . import limits
from .answer import Answer, Note, Reason, Refused
from .office import REPEATED, Blocks, Document, add_marked
from .xml import Attributes, ignore, read_xml

_TITLES = frozenset({"title", "ctrTitle"})
_SMALL_PRINT = frozenset({"dt", "ftr", "hdr", "sldImg", "sldNum"})


def read_slides(content: bytes, answer: Answer) -> None:
    """Add the text of a PPTX, slide by slide as they are shown. Raise Refused."""
    document = Document(content, answer)
    order = _Order()
    read_xml(document.archive.pieces(document.main), order.start, ignore, ignore)
    if not order.is_presentation:
        raise Refused(Reason.DAMAGED)
    parts = {relation.id: relation.part for relation in document.relations(document.main) if relation.kind == "slide"}
    slides = list(dict.fromkeys(parts[each] for each in order.ids if each in parts))  # each is read once
    answer.facts["slides"] = len(slides)
    for number, part in enumerate(slides[: limits.SLIDES], 1):
        _read_slide(document, part, number, answer)
    answer.cut = answer.cut or len(slides) > limits.SLIDES


def _read_slide(document: Document, part: str, number: int, answer: Answer) -> None:
    slide = _Shapes()
    read_xml(document.archive.pieces(part), slide.start, slide.end, slide.text, without=REPEATED)
    hidden = " (hidden)" if slide.is_hidden else ""
    answer.heading("")
    answer.begin(place=f"slide {number}{hidden}")
    answer.heading(" ".join(" ".join(slide.title).split()))
    for paragraph in slide.paragraphs:
        answer.add(paragraph)
    for relation in document.relations(part):
        if relation.kind == "notesSlide":
            notes = _Shapes()
            read_xml(document.archive.pieces(relation.part), notes.start, notes.end, notes.text, without=REPEATED)
            add_marked(answer, "Notes", [*notes.title, *notes.paragraphs])
        elif relation.kind == "comments":
            remarks = _Remarks()
            read_xml(document.archive.pieces(relation.part), remarks.start, remarks.end, remarks.text)
            answer.note(Note.COMMENTS)
            add_marked(answer, "Comment", remarks.said)


class _Order:
    """The slides in the order in which they are shown, by their relations' ids."""

    def __init__(self) -> None:
        self.is_presentation = False
        self.ids: list[str] = []

    def start(self, tag: str, given: Attributes) -> None:
        if tag == "presentation":
            self.is_presentation = True
        elif tag == "sldId" and len(self.ids) <= limits.SLIDES:
            self.ids.append(given.get("r:id", ""))


class _Shapes:
    """Follows the elements of one slide or of its notes."""

    def __init__(self) -> None:
        self.is_hidden = False
        self.title: list[str] = []
        self.paragraphs: list[str] = []
        self._blocks = Blocks(self.paragraphs.append)
        self._words: list[str] = []
        self._holds = ""
        self._takes_text = False

    def start(self, tag: str, given: Attributes) -> None:
        self._takes_text = tag == "t"
        if tag in {"sld", "notes"}:
            self.is_hidden = given.get("show") in {"0", "false"}
        elif tag == "sp":
            self._holds = ""
        elif tag == "ph":
            self._holds = given.get("type", "")
        elif tag == "br":
            self._words.append("\n")
        else:
            self._blocks.start(tag)

    def end(self, tag: str) -> None:
        self._takes_text = False
        if tag == "p":
            text = "".join(self._words).strip()
            self._words.clear()
            self._place(text)
        elif tag == "sp":
            self._holds = ""
        else:
            self._blocks.end(tag)

    def text(self, text: str) -> None:
        if self._takes_text:
            self._words.append(text)

    def _place(self, text: str) -> None:
        if not text or self._holds in _SMALL_PRINT:
            return
        if self._holds in _TITLES:
            self.title.append(text)
        else:
            self._blocks.add(text)


class _Remarks:
    """What was remarked on a slide, in the old form (`text`) and in the new one (`t`)."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self._takes_text = False

    def start(self, tag: str, _: Attributes) -> None:
        self._takes_text = tag in {"t", "text"}

    def end(self, _: str) -> None:
        self._takes_text = False

    def text(self, text: str) -> None:
        if self._takes_text:
            self.said.append(text)
