"""Taking a credential out of what a service answers, however it is written there. Pure.

A service that echoes what it was sent, in an error or on purpose, must not hand the credential to an agent, an event
or a page. Found are: the text as it is; with any of its characters percent-encoded, escaped as in JSON, or written as
HTML does, also several times over; in base64 in either alphabet, alone or inside of something longer, also broken into
lines; and in hexadecimal digits. A service that means harm can write it in ways of its own: it has the credential
already. But it must not hold us up: the work grows with the length of the answer, whatever that says.
"""

import base64
import html
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from operalta.terms.registry import upholds

REDACTED = "[redacted]"
MOST_LAYERS = 5
"""So often is an answer decoded; JSON in JSON in JSON has fifteen backslashes before a quotation mark at the fourth."""

SHORTEST_FORM = 8
"""A secret may itself read as something encoded. What it would stand for is looked for from this length on."""

_MOST_PER_CHARACTER = 12
_H = "[0-9a-f]"
_LAST = f"%[89ab]{_H}"
# Ways of writing a character, and in how many it is written. A run of one way is taken at once. None
# can begin inside of itself, so nothing is read again and again, whatever an answer says.
_WAYS = {
    "percent": (rf"%[0-7]{_H}", 3),
    "percent_two": (rf"%(?:c[2-9a-f]|d{_H}){_LAST}", 6),
    "percent_three": (rf"%(?:e0%[ab]{_H}|e[1-9a-cef]{_LAST}|ed%[89]{_H}){_LAST}", 9),
    "percent_four": (rf"%(?:f0%[9ab]{_H}|f[1-3]{_LAST}|f4%8{_H}){_LAST}{_LAST}", 12),
    "escape": (r'\\(?-i:["/\\nr])', 2),
    "narrow": (rf"\\(?-i:x){_H}{_H}", 4),
    "wide": (rf"\\(?-i:u)(?!d[89a-f]){_H}{{4}}", 6),
    "pair": (rf"\\(?-i:u)d[89ab]{_H}{_H}\\(?-i:u)d[c-f]{_H}{_H}", 12),
}
_WRITTEN = re.compile(
    # Looked at first, or each of the ways would be tried at every character.
    r"(?=[%\\&])(?:"
    + "|".join(f"(?P<{name}>(?:{way})+)" for name, (way, _) in _WAYS.items())
    + rf"|(?P<reference>&(?:\#x0*+{_H}{{1,6}}|\#0*+[0-9]{{1,7}}|amp|lt|gt|quot|apos);))",
    re.IGNORECASE | re.ASCII,
)


@upholds("1.3.2", "7.2.2")
class Redactor:
    """Takes these secrets out of texts. They never show in a representation."""

    def __init__(self, *secrets: str) -> None:
        """Prepare for `secrets`; empty ones are passed over."""
        each = set(filter(None, secrets))
        self._plain = {form for secret in each for form in _forms(secret)}
        self._digits = {secret.encode().hex() for secret in each}
        self._cores = {core for secret in each for core in _cores(secret.encode())}
        self._margin = _MOST_PER_CHARACTER * max(map(len, secrets), default=0)

    def __repr__(self) -> str:
        """Return a text without the secrets."""
        return "Redactor()"

    def clean(self, text: str) -> str:
        """Return `text` with `[redacted]` in place of each secret."""
        if not self._plain:
            return text
        spans = [span for layer in _layers(text) for span in self._found(layer)]
        parts: list[str] = []
        end = 0
        for start, stop in _apart(spans):
            parts += [text[end:start], REDACTED]
            end = stop
        return "".join([*parts, text[end:]])

    def beginning(self, text: str, longest: int) -> str:
        """Return the cleaned beginning of `text`, at most `longest` characters; no secret is cut in half at its end."""
        window = text[: longest + self._margin]
        cleaned = self.clean(window)
        if len(window) < len(text):
            cleaned = cleaned[: max(0, len(cleaned) - self._margin)]
        return cleaned[:longest]

    def _found(self, layer: "_Layer") -> Iterator[tuple[int, int]]:
        """Return where in the original text this layer holds a secret."""
        yield from layer.places(self._plain, layer.text)
        yield from layer.places(self._digits, _small_digits(layer.text))
        squeezed = "".join(layer.text.split())
        yield from layer.places(self._cores, squeezed.replace("-", "+").replace("_", "/"), is_squeezed=True)


@dataclass(frozen=True, slots=True)
class _Layer:
    """A text decoded so many times, and for each of its characters where in the original one it starts and ends."""

    text: str
    starts: Sequence[int]
    ends: Sequence[int]

    def places(self, needles: set[str], within: str, *, is_squeezed: bool = False) -> Iterator[tuple[int, int]]:
        """Return where the original text holds one of `needles`. `within` is this one, or this one without blanks."""
        kept: Sequence[int] | None = None if is_squeezed else range(len(self.text))
        for needle in needles:
            at = within.find(needle)
            while at >= 0:
                if kept is None:
                    kept = [place for place, one in enumerate(self.text) if not one.isspace()]
                yield self.starts[kept[at]], self.ends[kept[at + len(needle) - 1]]
                at = within.find(needle, at + len(needle))

    def undone(self) -> "_Layer | None":
        """Return the text decoded once more; None where nothing in it is encoded."""
        parts: list[str] = []
        starts, ends = array("Q"), array("Q")
        end = 0
        for found in _WRITTEN.finditer(self.text):
            first, last = found.span()
            characters, length = _characters(found)
            parts += [self.text[end:first], characters]
            starts.extend(self.starts[end:first])
            ends.extend(self.ends[end:first])
            starts.extend(self.starts[first:last:length])
            ends.extend(self.ends[first + length - 1 : last : length])
            end = last
        if not parts:
            return None
        starts.extend(self.starts[end:])
        ends.extend(self.ends[end:])
        return _Layer("".join([*parts, self.text[end:]]), starts, ends)


def _layers(text: str) -> Iterator[_Layer]:
    """Return the text as it is, and decoded once, twice and so on while that changes it."""
    layer: _Layer | None = _Layer(text, range(len(text)), range(1, len(text) + 1))
    for _ in range(MOST_LAYERS + 1):
        if layer is None:
            return
        yield layer
        layer = layer.undone()


def _characters(found: re.Match[str]) -> tuple[str, int]:
    """Return what a run stands for, and how many of its characters make one."""
    run, way = found[0], found.lastgroup or ""
    match way:
        case "reference":
            # One that is no character stands for a replacement, which is in no secret.
            return html.unescape(run.lower())[:1] or "\ufffd", len(run)
        case "escape":
            characters = run[1::2].replace("n", "\n").replace("r", "\r")
        case "narrow":
            characters = bytes.fromhex(run.replace("\\x", "")).decode("latin-1")
        case "wide" | "pair":
            characters = bytes.fromhex(run.replace("\\u", "")).decode("utf-16-be")
        case _:
            characters = bytes.fromhex(run.replace("%", "")).decode()
    return characters, _WAYS[way][1]


def _forms(secret: str) -> Iterator[str]:
    """Return a secret, and what it would be read as where it looks like something encoded itself."""
    yield from {secret, secret.replace(" ", "+")}
    for layer in _layers(secret):
        if len(layer.text) >= SHORTEST_FORM:
            yield layer.text


def _cores(raw: bytes) -> Iterator[str]:
    """Return the parts of a base64 text that stand for a secret alone, at each of the three places in a group."""
    for before in range(3):
        start, end = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        core = base64.b64encode(b"\x00" * before + raw).decode("ascii")[start:end]
        if core:
            yield core


def _small_digits(text: str) -> str:
    """Return `text` with hexadecimal digits in small letters, and not a character more or less."""
    for one in "ABCDEF":
        text = text.replace(one, one.lower())
    return text


def _apart(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Return spans in order, those that overlap as one."""
    spans.sort()
    start, end = -1, 0
    for first, last in spans:
        if first >= end:
            if start >= 0:
                yield start, end
            start, end = first, last
        else:
            end = max(end, last)
    if start >= 0:
        yield start, end
