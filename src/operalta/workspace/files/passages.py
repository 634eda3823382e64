"""Cutting a text into passages that can be found and cited: by heading and paragraph, never too long. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

LONGEST_PASSAGE = 1_500
LONGEST_HEADING = 200
MOST_PASSAGES = 2_000
"""Of one file; about three million characters. What lies beyond can be read but not searched."""

_HEADING = re.compile(r" {0,3}#{1,6}[ \t]+(?P<title>.*?)(?:[ \t]+#+)?[ \t]*")
_FENCE = re.compile(r" {0,3}(?P<fence>`{3,}|~{3,})")


@dataclass(frozen=True, slots=True)
class Passage:
    """Some paragraphs under one heading."""

    heading: str
    body: str


def passages_of(text: str, *, markdown: bool) -> list[Passage]:
    """Cut `text` into at most `MOST_PASSAGES` passages, in order.

    With `markdown`, a heading begins a passage and is its heading; one inside a code fence is not taken for one.
    Paragraphs are kept together as long as they fit; one that is too long is cut at a line end, a sentence or a
    blank, where there is one.
    """
    made: list[Passage] = []
    for heading, paragraphs in _sections(text, markdown=markdown):
        for body in _packed(paragraphs):
            made.append(Passage(heading, body))
            if len(made) == MOST_PASSAGES:
                return made
    return made


def _sections(text: str, *, markdown: bool) -> Iterator[tuple[str, list[str]]]:
    heading = ""
    paragraphs: list[str] = []
    lines: list[str] = []
    fence = ""
    for line in [*text.replace("\r\n", "\n").split("\n"), ""]:
        if markdown and (found := _FENCE.match(line)):
            fence = _next_fence(fence, found["fence"])
        title = _HEADING.fullmatch(line) if markdown and not fence else None
        if (title or (not line.strip() and not fence)) and lines:
            paragraphs.append("\n".join(lines))
            lines = []
        if title:
            yield heading, paragraphs
            heading, paragraphs = title["title"].strip()[:LONGEST_HEADING], []
        elif line.strip() or fence:
            lines.append(line.rstrip())
    yield heading, [*paragraphs, *(["\n".join(lines)] if lines else [])]


def _next_fence(fence: str, marks: str) -> str:
    if not fence:
        return marks
    return "" if marks[0] == fence[0] and len(marks) >= len(fence) else fence


def _packed(paragraphs: list[str]) -> Iterator[str]:
    body = ""
    for piece in (piece for paragraph in paragraphs for piece in _cut(paragraph)):
        if body and len(body) + 2 + len(piece) > LONGEST_PASSAGE:
            yield body
            body = ""
        body = f"{body}\n\n{piece}" if body else piece
    if body:
        yield body


def _cut(paragraph: str) -> Iterator[str]:
    rest = paragraph
    while len(rest) > LONGEST_PASSAGE:
        end = _good_end(rest[:LONGEST_PASSAGE])
        if piece := rest[:end].strip():
            yield piece
        rest = rest[end:]
    if rest := rest.strip():
        yield rest


def _good_end(window: str) -> int:
    for mark in ("\n", ". ", "; ", " "):
        end = window.rfind(mark)
        if end > LONGEST_PASSAGE // 2:
            return end + len(mark)
    return len(window)
