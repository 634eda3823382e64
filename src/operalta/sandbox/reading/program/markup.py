"""Pages and plain texts: HTML as its reader sees it, Markdown by its headings, other text by its paragraphs."""

import re

from . import limits
from .answer import Answer, Note
from .encoding import decoded
from .visible import visible_words

_HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
_PARAGRAPHS = frozenset({
    "address", "article", "aside", "blockquote", "dd", "div", "dl", "dt", "figure", "footer", "header", "hr", "main",
    "nav", "ol", "p", "pre", "section", "table", "ul",
})  # fmt: skip
_MARKDOWN_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(?P<title>[^\n]*)")
_CLOSING_MARKS = re.compile(r"(?:^|[ \t])#+$")
_FENCE = re.compile(r" {0,3}(?P<fence>`{3,}|~{3,})")
_COMMENT_BEGINS, _COMMENT_ENDS = "<!--", "-->"


def read_plain(content: bytes, answer: Answer) -> None:
    """Add a plain text, by paragraphs. Raise Refused."""
    _add_paragraphs(decoded(content, answer), answer)


def read_html(content: bytes, answer: Answer) -> None:
    """Add what a reader of the page sees, under its headings. Raise Refused."""
    source = decoded(content, answer)
    _Page(answer).read(source)


def read_markdown(content: bytes, answer: Answer) -> None:
    """Add a text in Markdown, under its headings; comments, which no reader sees, are left out. Raise Refused."""
    text = _Markdown(answer)
    for line in decoded(content, answer).replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        text.take(line)
    text.end_paragraph()


class _Page:
    """Puts the visible words of a page together to paragraphs under headings."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._words: list[str] = []
        self._heading = ""

    def read(self, source: str) -> None:
        for words, tag in visible_words(source):
            name = tag.removeprefix("/")
            if tag == "title":
                self._end_paragraph()
                self._heading = tag
            elif tag == "/title" and self._heading == "title":
                self._answer.title = self._answer.title or self._taken()
                self._heading = ""
            elif name in _HEADINGS:
                self._begin_or_end_heading(tag)
            elif name in _PARAGRAPHS and not self._heading:
                self._end_paragraph()
            self._words.append(words)
        self._end_paragraph()

    def _begin_or_end_heading(self, tag: str) -> None:
        if tag.startswith("/") and self._heading:
            if words := self._taken():
                self._answer.heading(words)
            self._heading = ""
        else:
            self._end_paragraph()
            self._heading = "" if tag.startswith("/") else tag

    def _end_paragraph(self) -> None:
        if text := self._taken():
            self._answer.add(text)

    def _taken(self) -> str:
        """Take what was collected, blanks drawn together within its lines."""
        lines = (" ".join(line.split()) for line in "".join(self._words).split("\n"))
        self._words.clear()
        return "\n".join(line for line in lines if line)


class _Markdown:
    """Follows a text in Markdown by its lines. What is in a code fence is neither a heading nor a comment."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._lines: list[str] = []
        self._fence = ""
        self._is_comment = False

    def take(self, line: str) -> None:
        """Take the next line."""
        if not self._is_comment and (found := _FENCE.match(line)):
            self._fence = _next_fence(self._fence, found["fence"])
        seen = line if self._fence else self._without_comments(line)
        title = None if self._fence else _MARKDOWN_HEADING.fullmatch(seen)
        if title:
            self.end_paragraph()
            words = _CLOSING_MARKS.sub("", title["title"].strip()[: 2 * limits.HEADING_CHARACTERS]).strip()
            self._answer.heading(words)
            self._answer.title = self._answer.title or words
        elif seen.strip() or self._fence:
            self._lines.append(seen.rstrip())
        else:
            self.end_paragraph()

    def end_paragraph(self) -> None:
        """Hand over the lines that belong together."""
        text = "\n".join(self._lines)
        self._lines.clear()
        if text.strip():
            self._answer.add(text)

    def _without_comments(self, line: str) -> str:
        kept: list[str] = []
        place = 0
        while place < len(line):
            mark = _COMMENT_ENDS if self._is_comment else _COMMENT_BEGINS
            found = line.find(mark, place)
            end = len(line) if found < 0 else found
            if not self._is_comment:
                kept.append(line[place:end])
            if found >= 0:
                self._is_comment = not self._is_comment
                self._answer.note(Note.HIDDEN_TEXT)
            place = end + len(mark)
        return "".join(kept)


def _next_fence(fence: str, marks: str) -> str:
    if not fence:
        return marks
    return "" if marks[0] == fence[0] and len(marks) >= len(fence) else fence


def _add_paragraphs(text: str, answer: Answer) -> None:
    lines: list[str] = []
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if line.strip():
            lines.append(line.rstrip())
        elif lines:
            answer.add("\n".join(lines))
            lines.clear()
    if lines:
        answer.add("\n".join(lines))
