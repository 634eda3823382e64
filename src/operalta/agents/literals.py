"""Where a value stands in a text, by what it is: an address, an amount, a path, an identifier, a moment. Pure.

Matching is literal: bounded by token edges, ASCII case folding only, no Unicode folding, no spelling out, no guessing.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator

from ada_url import URL

from operalta.agents.quotation import Span
from operalta.agents.registry import SinkType

SHORTEST_NUMBER = 6  # digits: a shorter bare number stands in too many messages by chance

_ASCII_UPPER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def ascii_fold(text: str) -> str:
    """Lower A to Z and nothing else, so that the length and every other character stay."""
    return text.translate(_ASCII_UPPER)


def has_hidden(text: str) -> bool:
    """Tell whether `text` holds characters that a reader cannot see: controls, bidi marks, zero widths."""
    return any(unicodedata.category(one) in {"Cc", "Cf", "Co", "Cn", "Cs"} and one not in "\n\r\t" for one in text)


OPENERS = "([{<\"'“”„«‘‚‹`"  # noqa: RUF001 - the quotation marks are meant
CLOSERS = ".,;:!?…)]}>\"'”“»’›`"  # noqa: RUF001 - as above
_MOST_PUNCTUATION = 8


def _occurrences(text: str, value: str) -> Iterator[Span]:
    at = text.find(value)
    while at >= 0:
        yield at, at + len(value)
        at = text.find(value, at + 1)


def _bounded(text: str, place: Span, separators: str = "") -> bool:
    """Tell whether a place begins and ends where words do: at white space, give or take punctuation."""
    start, end = place
    while start > 0 and text[start - 1] in OPENERS and place[0] - start < _MOST_PUNCTUATION:
        start -= 1
    while end < len(text) and text[end] in CLOSERS and end - place[1] < _MOST_PUNCTUATION:
        end += 1
    begins = start == 0 or text[start - 1].isspace() or text[start - 1] in separators
    ends = end == len(text) or text[end].isspace() or (end > place[1] and text[end - 1] in separators)
    return begins and ends


def _plain(text: str, value: str) -> Iterator[Span]:
    """Find a text as it is, between token edges, A to Z in either case."""
    folded, wanted = ascii_fold(text), ascii_fold(value.strip())
    return (place for place in _occurrences(folded, wanted) if _bounded(text, place))


def _path(text: str, value: str) -> Iterator[Span]:
    if "://" in value or value != value.strip():
        return iter(())
    return (place for place in _occurrences(text, value) if _bounded(text, place, separators=",;"))


_ADDRESS = re.compile(r"[A-Za-z0-9._%+'-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,63}\Z", re.ASCII)


def is_address(value: str) -> bool:
    """Tell whether `value` is one plain e-mail address."""
    return bool(_ADDRESS.match(value))


def _address(text: str, value: str) -> Iterator[Span]:
    if not is_address(value):
        return iter(())
    places = _occurrences(ascii_fold(text), ascii_fold(value))
    return (place for place in places if _bounded(text, place, separators=",;"))


def is_identifier(value: str) -> bool:
    """Tell whether `value` can name one thing: no bare short number, and more than a common word's shape.

    An id, an IBAN, a slug with a mark or a digit in it. A plain word ("friend") names nobody.
    """
    digits = re.sub(r"[\s#.,'/_-]", "", value)
    if digits.isdigit():
        return digits.isascii() and len(digits) >= SHORTEST_NUMBER
    return bool(re.search(r"[0-9_@#:-]", value)) and not value.isspace()


def _identifier(text: str, value: str) -> Iterator[Span]:
    if not is_identifier(value):
        return iter(())
    places = _occurrences(ascii_fold(text), ascii_fold(value))
    return (place for place in places if _bounded(text, place, separators=",;"))


_AMOUNT = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,8})?\Z", re.ASCII)
_CURRENCY = "$€£¥"
_CHANGES_BEFORE = frozenset({"minus", "negative", "plus"})
_CHANGES_BEHIND = frozenset(
    """k thousand thousands m mn mm mio million millions b bn mrd billion billions trillion trillions hundred dozen lakh
    crore tausend millionen milliarden more less fewer higher lower""".split()  # noqa: SIM905 - a list reads worse
)
_SIGNS = frozenset(",.'+-−–*/×~≈<>±")  # noqa: RUF001 - the dashes and the sign are meant


def _amount(text: str, value: str) -> Iterator[Span]:
    """Find a number that stands alone: no part of 1,500, nor of 5 000, nor of 12.30, nor of 3 million, nor of (300)."""
    if not _AMOUNT.match(value):
        return
    tokens = [(found.start(), found.group()) for found in re.finditer(r"\S+", text)]
    for at, (start, token) in enumerate(tokens):
        bare = token.rstrip(".,;:!?)").lstrip("(")
        # In accounts, a number in brackets is one below nothing.
        if bare.strip(_CURRENCY) != value or (token.startswith("(") and token.rstrip(".,;:!?").endswith(")")):
            continue
        before = tokens[at - 1][1] if at else ""
        behind = tokens[at + 1][1] if at + 1 < len(tokens) else ""
        if not (
            any(one[:1].isdigit() or one[-1:].isdigit() or (one and _SIGNS.issuperset(one)) for one in (before, behind))
            or ascii_fold(before).strip("(") in _CHANGES_BEFORE
            or (token.endswith(bare) and ascii_fold(behind).rstrip(CLOSERS) in _CHANGES_BEHIND)
        ):
            yield start, start + len(token)


_WEB = re.compile(r"https?://", re.IGNORECASE | re.ASCII)


def normalised_url(value: str) -> str | None:
    """Return an http or https URL as the WHATWG standard writes it, or None for anything else.

    A scheme must be written out, so a file name never counts; sign-in data, white space and control
    characters never count, though the standard's parser would drop them in silence.
    """
    if not _WEB.match(value) or has_hidden(value) or "\\" in value or any(one.isspace() for one in value):
        return None
    try:
        url = URL(value)
    except ValueError:
        return None
    return None if url.username or url.password or not url.hostname else url.href


_BARE_WEB = re.compile(r"www(?:\.[a-z0-9-]{1,63}){2,8}(?:/[!-~]{0,500})?\Z", re.ASCII)


def _url(text: str, value: str) -> Iterator[Span]:
    """Find an address as the standard reads it, or, without a scheme, one that begins with www. exactly as it is."""
    wanted = normalised_url(value)
    if wanted is None and not _BARE_WEB.match(value):
        return
    for found in re.finditer(r"\S+", text):
        token = found.group()
        lead = len(token) - len(token.lstrip(OPENERS))
        bare = token[lead:]
        for _ in range(_MOST_PUNCTUATION):
            # No Unicode folding: a host in other letters counts only when it is passed on as it was typed.
            same = bare == value or (
                wanted is not None and bare.isascii() and value.isascii() and normalised_url(bare) == wanted
            )
            if same:
                yield found.start() + lead, found.start() + lead + len(bare)
                break
            if not bare or bare[-1] not in CLOSERS:
                break
            bare = bare[:-1]


def _nothing(_text: str, _value: str) -> Iterator[Span]:
    return iter(())


_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d))?\Z", re.ASCII)


def _moment(text: str, value: str) -> Iterator[Span]:
    """Find a date as it is written, with its time behind it, or "at" its time, or the date behind "on"."""
    found = _MOMENT.match(value)
    if found is None:
        return
    date, time = found.groups()
    for start, end in _occurrences(text, date):
        if not _bounded(text, (start, end), separators=",;"):
            continue
        if time is None:
            yield start, end
            continue
        for at, to in _occurrences(text, time):
            if _bounded(text, (at, to), separators=",;"):
                yield min(start, at), max(end, to)


FINDERS: dict[SinkType, Callable[[str, str], Iterator[Span]]] = {
    SinkType.PERSON: _address,
    SinkType.ADDRESS: _address,
    SinkType.ACCOUNT: _identifier,
    SinkType.URL: _url,
    SinkType.AMOUNT: _amount,
    SinkType.PATH: _path,
    SinkType.RECORD: _identifier,
    SinkType.MOMENT: _moment,
    SinkType.BODY: _plain,
    SinkType.QUERY: _plain,
    SinkType.CHOICE: _nothing,
}
