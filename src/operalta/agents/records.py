"""What an integration's author declares about records: who can write them, and how people mean one of them. Pure.

A declaration says nothing about any record; `operalta.agents.gateway` holds the records of a run against it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TypeAlias

from operalta.agents.canonical import JsonValue

Record: TypeAlias = Mapping[str, JsonValue]


class Pick(StrEnum):
    """How a selector picks among all records of a collection.

    `HIGHEST` and `LOWEST` compare numbers among the records whose fields are as the phrase's groups say (a city, a
    kind), and a tie picks nothing. `BEGINS` wants the one record whose field begins
    with the words of the group `value`. `MATCHING` wants one record of which each group's field is equal to its words,
    or holds them where it is the text. `ALL` picks every record.
    """

    HIGHEST = "highest"
    LOWEST = "lowest"
    BEGINS = "begins"
    MATCHING = "matching"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Selector:
    """Words with which a person leaves it to be worked out which record they mean: "the largest file".

    `phrase` is a regular expression over what the person typed, in either case. `gives` is the collection to which
    what is picked belongs, where it is not the selector's own.
    """

    phrase: str
    pick: Pick
    field: str = ""
    gives: str | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that the records themselves answer: "am I free at 12:00 on 2024-05-19? If so".

    `phrase` has the groups `date` and `time`, and `condition` around the words that make it one. It holds where no
    record is under way then (`free`), or where one is.
    """

    phrase: str
    free: bool


def _no_words() -> frozenset[str]:
    return frozenset()


def _no_names() -> Mapping[str, str]:
    return MappingProxyType({})


def _no_labels() -> Mapping[str, frozenset[str]]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Collection:
    """Records of one kind, by the names of their fields.

    `reference` is what a tool takes, `identity` that by which people name a record; `says_short` lets its first words
    do where they fit no other. `nouns` are words of which one must stand beside an unquoted identity, where it is a
    common word. `outsiders_write` says that somebody outside of the company can bring a record in; then `owner`, which
    the platform sets, decides. `addresses` are trusted. `readers` holds who sees a record beside its owner. `text` is
    what a colleague typed, for messages. `starts` and `ends` are moments as YYYY-MM-DD HH:MM. A `directory` maps names
    of first-party people, channels or accounts to what tools take.
    """

    name: str
    reference: str
    identity: str
    outsiders_write: bool = True
    owner: str | None = None
    addresses: tuple[str, ...] = ()
    readers: str | None = None
    text: str | None = None
    starts: str | None = None
    ends: str | None = None
    directory: bool = False
    says_short: bool = False
    nouns: frozenset[str] = field(default_factory=_no_words)
    selectors: tuple[Selector, ...] = ()
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Bindings:
    """How a tool's arguments hang on records and on what a person dictates; the part of a declaration beyond sinks.

    `objects` are the words of which one must stand beside a verb that means much else too ("create" an event). `takes`
    names the collection whose reference an argument is; what is in `leaves` is only pointed at, and stays as it was.
    `labels` are the words for an argument ("subject"); `dictated` the arguments whose text may go to others when the
    person gave it word for word; `to_colleagues` says that nobody else sees it, so that "tell her that …" is enough.
    `ends` names, for a moment, the argument from which it counts. A call `creates` a record of that collection, which
    is private unless it names somebody. `sets` names the record's field that an argument replaces. `clean_text` lets
    a text without links, addresses and hidden characters into the person's own space. `as_request` lets a word of the
    lexicon count only where it opens a request, since it is a noun as well ("the link between …", "note that …").
    """

    objects: frozenset[str] = field(default_factory=_no_words)
    takes: Mapping[str, str] = field(default_factory=_no_names)
    leaves: frozenset[str] = field(default_factory=_no_words)
    labels: Mapping[str, frozenset[str]] = field(default_factory=_no_labels)
    dictated: frozenset[str] = field(default_factory=_no_words)
    to_colleagues: bool = False
    ends: Mapping[str, str] = field(default_factory=_no_names)
    creates: str | None = None
    sets: Mapping[str, str] = field(default_factory=_no_names)
    clean_text: bool = False
    as_request: bool = False

    @property
    def arguments(self) -> frozenset[str]:
        """Every argument that is named here."""
        return frozenset(
            (*self.takes, *self.leaves, *self.labels, *self.dictated, *self.ends, *self.ends.values(), *self.sets)
        )

    def as_json(self) -> dict[str, JsonValue]:
        """Return all of it as JSON, to be hashed."""
        return {
            "objects": list[JsonValue](sorted(self.objects)),
            "takes": dict(self.takes),
            "leaves": list[JsonValue](sorted(self.leaves)),
            "labels": {name: list[JsonValue](sorted(words)) for name, words in self.labels.items()},
            "dictated": list[JsonValue](sorted(self.dictated)),
            "to_colleagues": self.to_colleagues,
            "ends": dict(self.ends),
            "creates": self.creates,
            "sets": dict(self.sets),
            "clean_text": self.clean_text,
            # Only where it is so: what people have granted for other tools goes by a digest of this.
            **({"as_request": True} if self.as_request else {}),
        }


UNBOUND = Bindings()


@dataclass(frozen=True, slots=True)
class CollectionRecord:
    """A record read in this run that an argument may name, with what makes it trustworthy or not.

    `reference` is what a tool takes; `identity` the field by which people name it; `addresses` its trusted
    address fields. `is_unique` says that no other record of the collection has this identity. Where
    `outsiders_write`, the record counts only when its owner is first-party: a planted one can be the only
    one of its name. `short_names` are beginnings of the identity that fit no other record. `lasts` is its length in
    minutes. Without a `collection` it may stand for any argument that takes a record.
    """

    reference: str
    identity: str
    addresses: frozenset[str] = frozenset()
    is_unique: bool = False
    outsiders_write: bool = True
    owner_is_first_party: bool = False
    changed_in_run: bool = False
    collection: str | None = None
    short_names: tuple[str, ...] = ()
    nouns: frozenset[str] = frozenset()
    lasts: int | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """What a selector's words, at `start` to `end` of the message, came to when the gateway worked it out."""

    collection: str
    references: frozenset[str]
    start: int
    end: int
