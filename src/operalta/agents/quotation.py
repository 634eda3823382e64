"""Which parts of a message are somebody else's words: quotations, pasted passages, forwarded mail. Pure.

Where it is not clear where a quotation ends, it ends at the end of the message: what is taken for quoted only
costs a question, what is taken for the person's own could cost more.
"""

import re
from dataclasses import dataclass
from typing import TypeAlias

LONGEST_QUOTED_VALUE = 80

Span: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Quotations:
    """The parts of a text that are not the person's own prose, as sorted, disjoint (start, end) pairs.

    `passages` vouch for nothing. `values` are the insides of short quotations on one line, such as a title:
    each may stand for itself as a whole, and never for a part of itself.
    """

    passages: tuple[Span, ...]
    values: tuple[Span, ...]


_FENCE = re.compile(r"[ \t]*(`{3,}|~{3,})")
_QUOTE_LINE = re.compile(r"[ \t]*[>＞›|│]")  # noqa: RUF001 - the look-alikes are meant: mail programs use them
_INDENTED = re.compile(r"(?: {4}|\t)\s*\S")
_HEADER_LINE = re.compile(
    r"[ \t*]*(?:from|to|cc|bcc|sent|date|subject|reply-to|von|an|gesendet|datum|betreff|de|à|objet|envoyé)"
    r"[ \t*]*:",
    re.IGNORECASE,
)
_SENDER_LINE = re.compile(r"[ \t*]*(?:from|von|de)[ \t*]*:", re.IGNORECASE)
_FORWARDED = re.compile(
    r"[ \t]*(?:-{2,}[ \t]*(?:forwarded|original|weitergeleitete|ursprüngliche|message)\b.*"
    r"|begin forwarded message.*|anfang der weitergeleiteten.*"
    r"|(?:on|am|le)\b.{4,200}\b(?:wrote|schrieb.*|a écrit)[ \t]*:?[ \t]*"
    r"|_{10,}[ \t]*)\Z",
    re.IGNORECASE,
)
_QUOTE_TAG = re.compile(r"<(blockquote|pre|code|q)\b.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_BACKTICKS = re.compile(r"(`+)([^`]*)(?:\1|\Z)")

_DOUBLE_MARKS = frozenset('"“”„‟«»＂〝〞〟「」『』')  # noqa: RUF001 - all marks that people quote with
_SINGLE_MARKS = frozenset("'‘’‚‛‹›＇")  # noqa: RUF001 - as above
_OPENING_NEIGHBOURS = frozenset("([{<-–—/:=,;")  # noqa: RUF001 - the dashes are meant
_CLOSING_NEIGHBOURS = frozenset(")]}>.,;:!?-–—/…")  # noqa: RUF001 - the dashes are meant


def find_quotations(text: str) -> Quotations:
    """Find what in `text` is quoted, pasted or forwarded."""
    blocks = _merged([*_block_spans(text), *(found.span() for found in _QUOTE_TAG.finditer(text))])
    rest = blanked(text, blocks)
    inline = _merged(
        [
            *_marked(rest, _DOUBLE_MARKS, is_apostrophe=False),
            *_marked(rest, _SINGLE_MARKS, is_apostrophe=True),
            *_ticked(rest),
        ]
    )
    values = tuple(
        inside for outer in inline if _is_value(text, outer) and (inside := _inside(text, outer))[0] < inside[1]
    )
    whole = {outer for outer in inline if _is_value(text, outer)}
    passages = _merged([*blocks, *(outer for outer in inline if outer not in whole)])
    return Quotations(passages, values)


def blanked(text: str, spans: tuple[Span, ...] | list[Span]) -> str:
    """Return `text` with what lies in `spans` replaced by spaces, so that positions stay."""
    pieces: list[str] = []
    at = 0
    for start, end in spans:
        pieces += (text[at:start], " " * (end - start))
        at = end
    return "".join((*pieces, text[at:]))


def _block_spans(text: str) -> list[Span]:
    """Find quoted lines with the lines that run on from them, fences, indented code and forwarded mail."""
    spans: list[Span] = []
    at = 0
    fence: str | None = None
    running_on = False
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        start, at = at, at + len(line)
        bare = line.rstrip()
        if fence is not None:
            spans.append((start, at))
            fence = None if _closes(bare, fence) else fence
            continue
        if _begins_mail(bare, lines[number + 1 : number + 3]):
            return [*spans, (start, len(text))]
        opened = _FENCE.match(bare)
        if opened is not None:
            fence = opened[1]
        running_on = bool(_QUOTE_LINE.match(bare)) or (running_on and bool(bare))
        if fence is not None or running_on or _INDENTED.match(bare):
            spans.append((start, at))
    return spans


def _closes(line: str, fence: str) -> bool:
    stripped = line.strip()
    return len(stripped) >= len(fence) and set(stripped) == {fence[0]}


def _begins_mail(line: str, following: list[str]) -> bool:
    if _FORWARDED.match(line) or _SENDER_LINE.match(line):
        return True
    return bool(_HEADER_LINE.match(line)) and any(_HEADER_LINE.match(one) for one in following)


def _marked(text: str, marks: frozenset[str], *, is_apostrophe: bool) -> list[Span]:
    """Find the outermost quotations by whether a mark leans on the word to its right or to its left.

    Direction rather than shape, since the same mark opens in one language and closes in another; and depth,
    so that a mark inside a pasted text cannot end the quotation early. What never closes runs to the end.
    """
    spans: list[Span] = []
    depth = 0
    start = 0
    for at, character in enumerate(text):
        if character not in marks:
            continue
        before = text[at - 1] if at else " "
        after = text[at + 1] if at + 1 < len(text) else " "
        open_left = before.isspace() or before in _OPENING_NEIGHBOURS or before in marks
        open_right = after.isspace() or after in _CLOSING_NEIGHBOURS or after in marks
        if depth == 0:
            # An apostrophe stands inside or after words; any other mark opens unless it plainly closes.
            if open_left or not (is_apostrophe or open_right):
                depth, start = 1, at
        elif open_left and not open_right:
            depth += 1
        elif open_right and not before.isspace():
            depth -= 1
            if depth == 0:
                spans.append((start, at + 1))
    return [*spans, (start, len(text))] if depth else spans


def _ticked(text: str) -> list[Span]:
    return [found.span() for found in _BACKTICKS.finditer(text)]


def _is_value(text: str, outer: Span) -> bool:
    inside = text[slice(*_inside(text, outer))]
    closed = text[outer[1] - 1] in _DOUBLE_MARKS | _SINGLE_MARKS | {"`"} and outer[1] - outer[0] > 1
    return closed and len(inside) <= LONGEST_QUOTED_VALUE and len(inside.splitlines()) <= 1


def _inside(text: str, outer: Span) -> Span:
    start, end = outer
    marks = _DOUBLE_MARKS | _SINGLE_MARKS | {"`"}
    if text[start] == "`":
        while start < end and text[start] == "`":
            start += 1
        while end > start and text[end - 1] == "`":
            end -= 1
        return start, end
    start += 1
    return start, end - 1 if end > start and text[end - 1] in marks else end


def _merged(spans: list[Span]) -> tuple[Span, ...]:
    merged: list[Span] = []
    for start, end in sorted(span for span in spans if span[0] < span[1]):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)
