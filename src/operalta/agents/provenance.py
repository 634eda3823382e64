"""Which values in a message the person themself has put there, in consenting words. Pure.

Nothing here judges whether a text looks like an attack. It answers one question: does this exact value, of
this type, stand in what the person typed into the chat in their own session? Matching is literal: bounded by
token edges, ASCII case folding only, no Unicode folding, no spelling out, no guessing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from operalta.agents.literals import CLOSERS, FINDERS, OPENERS, ascii_fold, has_hidden
from operalta.agents.quotation import Quotations, Span, blanked, find_quotations
from operalta.agents.registry import SinkType

_LONGEST_OPENING = 6  # words, for "The subject of … should be"
LONGEST_NOTED = 60_000  # characters: a longer message is pasted text, and vouches for nothing


class Origin(StrEnum):
    """Where a message came from, as the platform knows it."""

    SESSION = "session"
    API_KEY = "api_key"
    SCHEDULE = "schedule"
    WEBHOOK = "webhook"
    FILE = "file"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Sentence:
    """A stretch of the person's own prose. `consents` is false near a negation, a condition or a report.

    `prose` is its text with quotations left out as spaces.
    """

    start: int
    end: int
    prose: str
    words: frozenset[str]
    consents: bool
    asks_whether: bool


@dataclass(frozen=True, slots=True)
class PersonWords:
    """A message with what in it is the person's own. Made by `person_words`, which alone is to be used."""

    text: str
    origin: Origin
    quotations: Quotations
    sentences: tuple[Sentence, ...]

    def intends(
        self,
        verbs: frozenset[str],
        labels: frozenset[str] = frozenset(),
        objects: frozenset[str] = frozenset(),
        *,
        as_request: bool = False,
    ) -> tuple[Sentence, ...]:
        """Return the consenting sentences that hold one of `verbs`, as a request, and of `objects` if there are any.

        With `as_request`, the verb must open what is asked: "the link between …" and "how to link …" ask for no link.

        Those that come straight after and say what one of `labels` is to be belong to them: "The subject should be …",
        "Her address is …". No other sentence lends its words to a verb that stands elsewhere.
        """
        found: list[Sentence] = []
        goes_on = False
        for sentence in self.sentences:
            asks = sentence.consents and not sentence.asks_whether
            wants = not verbs.isdisjoint(sentence.words) and not (objects and objects.isdisjoint(sentence.words))
            wants = wants and (not as_request or _opens_a_request(sentence.prose, verbs))
            goes_on = asks and (wants or (goes_on and _says_what_is_meant(sentence.prose, labels)))
            if goes_on:
                found.append(sentence)
        return tuple(found)

    @property
    def consenting(self) -> tuple[Sentence, ...]:
        """Return the sentences without negation, condition or report near them, questions included."""
        return tuple(sentence for sentence in self.sentences if sentence.consents)


def person_words(text: str, origin: Origin, released: tuple[Span, ...] = ()) -> PersonWords:
    """Read a message. Only one typed in the person's own session has sentences that can vouch.

    What is `released` keeps nothing from being consent: a condition that the gateway has found to hold, a negation that
    only describes a selection.
    """
    if origin is not Origin.SESSION or len(text) > LONGEST_NOTED:
        return PersonWords(text, origin, Quotations((), ()), ())
    quotations = find_quotations(text)
    return PersonWords(text, origin, quotations, _sentences(text, quotations, released))


# Words near which no other word is consent: negations, conditions, reported and supposed speech.
_BLOCKERS_BY_SENSE = {
    "negation": """not never no none nothing nobody neither nor without cannot dont doesnt didnt wont wouldnt
        shouldnt cant couldnt mustnt isnt arent stop avoid refrain forbid prevent cancel refuse skip except
        instead rather wrong mistake doubt nicht nie niemals kein keine keinen keinem keiner ohne statt""",
    "condition": """if when whenever unless until once after before later provided otherwise suppose supposing
        imagine pretend hypothetically unlikely maybe perhaps assuming pending depending wenn falls sobald bis bevor
        nachdem sonst vielleicht""",
    "report": """said says saying tells told asked asks wrote writes claims claimed according reads quote
        quoted sagt sagte schrieb schreibt laut""",
}
_BLOCKERS = frozenset(word for words in _BLOCKERS_BY_SENSE.values() for word in words.split())
_CONDITIONS = re.compile(
    r"\b(?:in\s+case|as\s+soon\s+as(?!\s+(?:possible|you\s+can))|as\s+long\s+as|subject\s+to)\b", re.IGNORECASE
)
_CONTRACTED = re.compile(r"n['’]t\b", re.IGNORECASE)  # noqa: RUF001 - the typographic apostrophe is meant
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")  # noqa: RUF001 - as above
_WEB_TOKEN = re.compile(r"(?:https?://|\bwww\.)\S+", re.IGNORECASE | re.ASCII)
_REMINDER = re.compile(r"\b(?:do\s+not|don['’]?t)\s+forget\s+to\b", re.IGNORECASE)  # noqa: RUF001 - as above
_SENTENCE_END = re.compile(r"[.!?;…。！？]+(?=\s|\Z)|\n+")  # noqa: RUF001 - full-width ends are meant
_REQUEST = re.compile(
    r"\W*(?:(?:also|and|then|now|auch|dann)\W+)?(?:please\W+)?"
    r"(?:can|could|would|will|kannst|könntest|würdest)\W+(?:you|du)\b",
    re.IGNORECASE,
)


_OPENING = (
    r"(?:\A\W*(?:\w{1,2}\)\s+)?|(?P<goes_on>,\s+|\band\s+)|\bplease\s+|\b(?:can|could|will|would)\s+you\s+)"
    r"(?:(?:please|also|then|now|just|kindly|next|finally|first|ok|okay|so|yes|hi|hey|hello|thanks)\W+){0,3}"
)
_NO_OBJECT = """of for about between from in that is was are were has had by up off out aside back how why what where
    whether"""
_TELLING = re.compile(
    r"\b(?:(?:will|would|should|could|can|may|might|must|shall)\b(?!\W+you\b)|i|we|he|she|they|whether)\b",
    re.IGNORECASE,
)


def _opens_a_request(prose: str, verbs: frozenset[str]) -> bool:
    """Tell whether one of `verbs` opens a sentence or a part of one, and something to do it to comes after it.

    What goes on from words that tell of somebody asks for nothing: "Anna will read it and link …". Behind a colon
    stands what is talked about, as behind "Translate this:".
    """
    verb, no_object = "|".join(map(re.escape, sorted(verbs))), "|".join(_NO_OBJECT.split())
    wanted = rf"{_OPENING}(?:{verb})\s+(?!(?:{no_object})\b)"
    told = _TELLING.search(prose)
    until = len(prose) if told is None else told.start()
    return any(found["goes_on"] is None or found.start() < until for found in re.finditer(wanted, prose, re.IGNORECASE))


_WHETHER = re.compile(
    r"\W*(?:(?:also|and|so|then|now)\W+)?"
    r"(?:should|shall|may|might|must|can|could|will|would|do|does|did|is|are|was|were|has|have|had)\W+"
    r"(?:i|we|it|he|she|they|one|this|that|these|those|there|anybody|anyone|somebody|someone)\b",
    re.IGNORECASE,
)


def _says_what_is_meant(prose: str, labels: frozenset[str]) -> bool:
    """Tell whether a sentence opens by saying what an argument is to be, and speaks about nothing else."""
    opening = [ascii_fold(word) for word in prose.split()[:_LONGEST_OPENING]]
    if not opening or opening[0] not in {"the", "her", "his", "their", "its"}:
        return False
    named = 1
    while named < len(opening) and opening[named] in labels:
        named += 1
    return 1 < named < len(opening) and opening[named] in {"is", "are", "should", "must", "will"}


def _sentences(text: str, quotations: Quotations, released: tuple[Span, ...]) -> tuple[Sentence, ...]:
    prose = blanked(text, _joined(quotations))
    spans = _sentence_spans(prose)
    # The words of an address are no prose: they neither forbid nor ask.
    spoken = _WEB_TOKEN.sub(lambda found: " " * len(found[0]), prose)
    # "Do not forget to …" is a request, and what is released has been answered.
    judged = blanked(_REMINDER.sub(lambda found: " " * len(found[0]), spoken), sorted(released))
    blocked = [
        not _BLOCKERS.isdisjoint(ascii_fold(word) for word in _WORD.findall(judged, *span))
        or bool(_CONTRACTED.search(judged, *span) or _CONDITIONS.search(judged, *span))
        or has_hidden(text[slice(*span)])
        for span in spans
    ]
    # "Never do any of these:" speaks about all that follows.
    listed = next(
        (at for at, span in enumerate(spans) if blocked[at] and prose[slice(*span)].rstrip().endswith(":")),
        len(spans),
    )
    return tuple(
        Sentence(
            start,
            end,
            prose[start:end],
            _whole_words(spoken[start:end]),
            # "Never do the following. Write …" and "Write …. Only if she agrees.": neighbours count too.
            consents=at < listed and not any(blocked[max(0, at - 1) : at + 2]),
            asks_whether=_asks_whether(prose[start:end]),
        )
        for at, (start, end) in enumerate(spans)
    )


def _asks_whether(prose: str) -> bool:
    """Tell whether a sentence only wants to know something. Not everybody types the question mark."""
    if _WHETHER.match(prose):
        return True
    return prose.rstrip().endswith(("?", "？")) and not _REQUEST.match(prose)  # noqa: RUF001 - the full width is meant


def _whole_words(prose: str) -> frozenset[str]:
    """Return the words that stand by themselves: "write" in "notes/write.md" asks for nothing."""
    return frozenset(ascii_fold(token.lstrip(OPENERS).rstrip(CLOSERS)) for token in prose.split())


def _sentence_spans(prose: str) -> list[Span]:
    """Cut at sentence ends and line ends; what has no word of its own belongs to the sentence before it."""
    spans: list[Span] = []
    start = 0
    for end in (*(found.end() for found in _SENTENCE_END.finditer(prose)), len(prose)):
        if _WORD.search(prose, start, end):
            spans.append((start, end))
        elif spans:
            spans[-1] = (spans[-1][0], end)
        else:
            continue
        start = end
    return spans


def _joined(quotations: Quotations) -> list[Span]:
    return sorted((*quotations.passages, *quotations.values))


def literal(words: PersonWords, sentences: tuple[Sentence, ...], value: str, sink: SinkType) -> bool:
    """Tell whether `value`, as a `sink`, stands in one of `sentences` as the person's own words."""
    return any(True for _ in own_places(words, sentences, value, sink))


def own_places(words: PersonWords, sentences: tuple[Sentence, ...], value: str, sink: SinkType) -> Iterator[Span]:
    """Yield where `value`, as a `sink`, stands in `sentences` as the person's own words."""
    if value.strip():
        for place in FINDERS[sink](words.text, value):
            if _is_own(words, place) and _within(sentences, place):
                yield place


def _within(sentences: tuple[Sentence, ...], place: Span) -> bool:
    # A sentence between two that consent consents too, since a refusal reaches its neighbours.
    return all(any(one.start <= at < one.end for one in sentences) for at in (place[0], place[1] - 1))


def _is_own(words: PersonWords, place: Span) -> bool:
    start, end = place
    if any(start < to and frm < end for frm, to in words.quotations.passages):
        return False
    # A quoted value stands for itself as a whole, or as a part of a longer text that holds all of it.
    return all(
        (start, end) == value or (start < value[0] and value[1] < end)
        for value in words.quotations.values
        if start < value[1] and value[0] < end
    )
