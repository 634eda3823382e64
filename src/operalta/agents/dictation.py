"""Which texts a person gave word for word, which are harmless where only they see them, and which moments they named.

A part of a sentence can say the opposite of the whole, so a text for others counts only as a whole: all of a short
quotation, all that follows a colon, all that follows the argument's own name, whole parts of a list behind that name
and a colon, or, for colleagues alone, all of what follows "that". Pure.
"""

import re
from datetime import UTC, datetime
from typing import Final

from operalta.agents.literals import ascii_fold, has_hidden
from operalta.agents.provenance import PersonWords, Sentence, own_places
from operalta.agents.quotation import Span
from operalta.agents.registry import SinkType

LONGEST_CLEAN = 2_000  # characters: a note, not a document
MOMENT_FORM: Final = "%Y-%m-%d %H:%M"

_ENDS_HERE = re.compile(r"[\s.!?;…\"'“”’)\]]*(?:\n|\Z)")  # noqa: RUF001 - the quotation marks are meant
_ENDS_SENTENCE = re.compile(r"[.!?…]+(?:\s|\Z)|\s*(?:\n|\Z)")
_BEFORE_COLON = re.compile(r":\s*\Z")
_LAST_WORD = re.compile(r"([^\W_]+):?\s+\Z")


def is_dictated(
    words: PersonWords, intent: tuple[Sentence, ...], value: str, labels: frozenset[str], *, to_colleagues: bool
) -> bool:
    """Tell whether the person gave exactly this text for others to see, in a sentence that asks for it."""
    if has_hidden(value):
        return False
    for place in own_places(words, intent, value, SinkType.BODY):
        if place in words.quotations.values or _is_rest(words.text, place) or _is_labelled(words.text, place, labels):
            return True
    return _is_listed(intent, value, labels) or (to_colleagues and _is_reported(intent, value))


def _is_rest(text: str, place: Span) -> bool:
    """Tell whether a place is all that stands between a colon and the end of its line."""
    return bool(_BEFORE_COLON.search(text, 0, place[0])) and bool(_ENDS_HERE.match(text, place[1]))


def _is_labelled(text: str, place: Span, labels: frozenset[str]) -> bool:
    """Tell whether a place is all that stands between the argument's own name and the end of the sentence."""
    named = _LAST_WORD.search(text, 0, place[0])
    return named is not None and ascii_fold(named[1]) in labels and bool(_ENDS_SENTENCE.match(text, place[1]))


def _is_listed(intent: tuple[Sentence, ...], value: str, labels: frozenset[str]) -> bool:
    """Tell whether `value` is one or more neighbouring parts of "address: 1 Elm Street, New York"."""
    for sentence in intent:
        for found in re.finditer(r"(\w+):\s+(.+?)(?=\s+and\s|[.!?]?\s*\Z)", sentence.prose):
            parts = found[2].split(", ")
            runs = (parts[start:end] for start in range(len(parts)) for end in range(start + 1, len(parts) + 1))
            if ascii_fold(found[1]) in labels and value in map(", ".join, runs):
                return True
    return False


_SHIFTED = {"you": "i", "you've": "i've", "you're": "i'm", "you'll": "i'll", "you'd": "i'd", "your": "my"}


def _is_reported(intent: tuple[Sentence, ...], value: str) -> bool:
    """Tell whether `value` is the whole of "… that you have seen it", in the words of whoever is to say it."""
    wanted = _spoken(value)
    for sentence in intent:
        _, found, clause = sentence.prose.rpartition(" that ")
        spoken = _spoken(clause)
        if found and len(spoken) > 1 and wanted in (spoken, [_SHIFTED.get(word, word) for word in spoken]):
            return True
    return False


def _spoken(text: str) -> list[str]:
    plain = ascii_fold(text).replace("’", "'")  # noqa: RUF001 - the typographic apostrophe
    return plain.strip().rstrip(".!?").split()


_LINK_LIKE = re.compile(r"://|\bwww\.|[@<>`\[\]{}|\\]|\b[\w-]+\.[a-z]{2,}\b|\bdot\s+\w", re.IGNORECASE)


def is_clean(value: str) -> bool:
    """Tell whether a text holds nothing that could lead anywhere: no link, address, markup or hidden character."""
    return len(value) <= LONGEST_CLEAN and not has_hidden(value) and not _LINK_LIKE.search(value)


def moment(value: object) -> datetime | None:
    """Return a moment that is written as YYYY-MM-DD HH:MM, or None. Both ends of a record are in the same place."""
    try:
        return datetime.strptime(str(value), MOMENT_FORM).replace(tzinfo=UTC)
    except ValueError:
        return None


_NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "an": 1, "a": 1}
_DURATION = re.compile(r"\b(\d{1,3}|one|two|three|four|five|six|an?)[\s-]+(hour|minute)", re.IGNORECASE)


def is_end(words: PersonWords, start: object, end: str, lasts: int | None) -> bool:
    """Tell whether `end` follows from `start` by a duration that the person named, or by the record's own."""
    begins, closes = moment(start), moment(end)
    if begins is None or closes is None:
        return False
    minutes = (closes - begins).total_seconds() / 60
    named = {
        int(_NUMBERS.get(ascii_fold(amount), 0) or amount) * (60 if ascii_fold(unit) == "hour" else 1)
        for sentence in words.consenting
        for amount, unit in _DURATION.findall(sentence.prose)
    }
    return minutes > 0 and minutes in (named or {lasts})
