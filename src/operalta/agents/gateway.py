"""What a run knows about records: the gateway computes it from typed fields, so that no model has to be believed. Pure.

It takes whole collections as they stood when the run began, hears what the run has read and changed, and answers with
bound records, a directory, selections and facts about a call's target. What comes in later can take trust away, never
add any.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast

from operalta.agents.canonical import JsonValue
from operalta.agents.decision_context import DecisionContext, TargetFacts, ToolSettings
from operalta.agents.dictation import moment
from operalta.agents.literals import ascii_fold
from operalta.agents.provenance import Origin, PersonWords, person_words
from operalta.agents.quotation import Span, blanked, find_quotations
from operalta.agents.records import Collection, CollectionRecord, Condition, Pick, Record, Selection, Selector
from operalta.agents.registry import SinkType, ToolDeclaration

_OUTWARD = frozenset({SinkType.PERSON, SinkType.ADDRESS, SinkType.ACCOUNT, SinkType.URL})


class Gateway:
    """The records of one run. `own` are the person's own addresses or names, as the platform knows them."""

    def __init__(
        self,
        collections: Iterable[Collection],
        records: Mapping[str, Sequence[Record]],
        own: frozenset[str] = frozenset(),
    ) -> None:
        """Take the collections whole, as they stand when the run begins."""
        self._collections = {one.name: one for one in collections}
        self._records = {name: tuple(records.get(name, ())) for name in self._collections}
        self._own = own
        self._changed: set[tuple[str, str]] = set()
        self._heard: list[PersonWords] = []
        self.directory = _directory(self._each(directories=True))
        # In a directory by a name that two share is still in it.
        self._first_party = own | {
            text
            for collection, record in self._each(directories=True)
            for text in (_text(record, collection.reference), _text(record, collection.identity))
        }
        self._bindable = {
            name: tuple(self._bindable_records(collection)) for name, collection in self._collections.items()
        }

    def _each(self, *, directories: bool) -> Iterator[tuple[Collection, Record]]:
        for name, collection in self._collections.items():
            if collection.directory is directories:
                yield from ((collection, record) for record in self._records[name])

    # ── What happens in the run ───────────────────────────────────────────────────────────────────────

    def hear(self, collection: str, records: Iterable[Record]) -> None:
        """Note messages that the run has read. What a colleague typed counts; who that is, the platform says."""
        declared = self._collections[collection]
        if declared.text is not None and declared.owner is not None:
            self._heard += [
                person_words(_text(record, declared.text), Origin.SESSION)
                for record in records
                if _text(record, declared.owner) in self._first_party
            ]

    def note_done(self, tool: ToolDeclaration, arguments: Mapping[str, JsonValue]) -> None:
        """Note a call that was carried out: what it touched is from now on no more as the person knows it."""
        for name, collection in tool.bindings.takes.items():
            if name in tool.bindings.leaves:
                continue
            self._changed |= {(collection, value) for value in _texts(arguments.get(name))}

    # ── What a decision rests on ──────────────────────────────────────────────────────────────────────

    def context(
        self,
        text: str,
        origin: Origin,
        settings: ToolSettings,
        facts: TargetFacts,
        *,
        own_space_calls: int = 0,
        passed: frozenset[str] = frozenset(),
    ) -> DecisionContext:
        """Return all that a decision about a call rests on, for a message that came this way."""
        prose = blanked(text, _quoted(text)) if origin is Origin.SESSION else ""
        selected = self._selected(prose)
        released = [(one.start, one.end) for one in selected] + self._conditions_that_hold(prose)
        return DecisionContext(
            words=person_words(text, origin, _apart(released)),
            settings=settings,
            facts=facts,
            colleagues=tuple(self._heard),
            directory=self.directory,
            records=self._as_they_are(),
            selections=tuple(selected),
            own_space_calls=own_space_calls,
            passed=passed,
        )

    def facts(self, tool: ToolDeclaration, arguments: Mapping[str, JsonValue]) -> TargetFacts:
        """Return what is known about a call's target just before it."""
        bindings = tool.bindings
        outward = any(_texts(arguments.get(name)) for name, sink in tool.sinks.items() if sink in _OUTWARD)
        targets = [self._find(collection, arguments.get(name)) for name, collection in bindings.takes.items()]
        kept = len(targets) == 1 and targets[0] is not None and self._is_private(*targets[0])
        return TargetFacts(
            is_new=True if bindings.creates is not None else None,
            is_private=(not outward) if bindings.creates is not None else None,
            changes_nothing=bool(bindings.sets) and len(targets) == 1 and self._is_idle(tool, arguments, targets[0]),
            is_kept=kept,
        )

    def _find(self, collection: str, reference: object) -> tuple[Collection, Record] | None:
        declared = self._collections[collection]
        wanted = str(reference)
        if (collection, wanted) in self._changed:
            return None
        found = [one for one in self._records[collection] if _text(one, declared.reference) == wanted]
        return (declared, found[0]) if len(found) == 1 else None

    def _is_private(self, collection: Collection, record: Record) -> bool:
        """Tell whether a record is the person's own and nobody else sees it."""
        if collection.owner is None or collection.readers is None:
            return False
        return _text(record, collection.owner) in self._own and not set(_texts(record.get(collection.readers)))

    @staticmethod
    def _is_idle(
        tool: ToolDeclaration, arguments: Mapping[str, JsonValue], target: tuple[Collection, Record] | None
    ) -> bool:
        """Tell whether all that a call would set stands in the record already."""
        given = {name: value for name, value in arguments.items() if value is not None}
        if target is None or set(given) - set(tool.bindings.sets) - set(tool.bindings.takes):
            return False
        return all(target[1].get(field) == given[name] for name, field in tool.bindings.sets.items() if name in given)

    # ── Records that can be named ─────────────────────────────────────────────────────────────────────

    def _bindable_records(self, collection: Collection) -> Iterator[CollectionRecord]:
        records = self._records[collection.name]
        names = [ascii_fold(_text(record, collection.identity)).strip() for record in records]
        times = Counter(names)
        for record, name in zip(records, names, strict=True):
            yield CollectionRecord(
                reference=_text(record, collection.reference),
                identity=_text(record, collection.identity),
                addresses=frozenset(text for field in collection.addresses for text in _texts(record.get(field))),
                is_unique=times[name] == 1,
                outsiders_write=collection.outsiders_write,
                owner_is_first_party=collection.owner is not None
                and _text(record, collection.owner) in self._first_party,
                collection=collection.name,
                short_names=tuple(_short_names(name, names)) if collection.says_short else (),
                nouns=collection.nouns,
                lasts=_minutes(record, collection),
            )

    def _as_they_are(self) -> tuple[CollectionRecord, ...]:
        return tuple(
            replace(one, changed_in_run=True) if (name, one.reference) in self._changed else one
            for name, records in self._bindable.items()
            for one in records
        )

    # ── Selections and conditions ─────────────────────────────────────────────────────────────────────

    def _selected(self, prose: str) -> list[Selection]:
        found: list[Selection] = []
        for name, collection in self._collections.items():
            for selector in collection.selectors:
                for place in re.finditer(selector.phrase, prose, re.IGNORECASE):
                    picked = _picked(selector, self._records[name], place)
                    references = frozenset(_text(one, collection.reference) for one in picked)
                    touched = {(selector.gives or name, one) for one in references} & self._changed
                    if references and (selector.pick is Pick.ALL or len(references) == 1) and not touched:
                        found.append(Selection(selector.gives or name, references, *place.span()))
        return found

    def _conditions_that_hold(self, prose: str) -> list[Span]:
        return [
            place.span("condition")
            for name, collection in self._collections.items()
            for condition in collection.conditions
            for place in re.finditer(condition.phrase, prose, re.IGNORECASE)
            if self._holds(collection, self._records[name], condition, place)
        ]

    @staticmethod
    def _holds(collection: Collection, records: Sequence[Record], condition: Condition, place: re.Match[str]) -> bool:
        then = moment(f"{place['date']} {place['time']}")
        if then is None or collection.starts is None or collection.ends is None:
            return False
        spans = [(moment(one.get(collection.starts)), moment(one.get(collection.ends))) for one in records]
        busy = any(start is not None and end is not None and start <= then < end for start, end in spans)
        return busy is not condition.free


def _picked(selector: Selector, records: Sequence[Record], place: re.Match[str]) -> list[Record]:
    match selector.pick:
        case Pick.ALL:
            return list(records)
        case Pick.HIGHEST | Pick.LOWEST:
            return _extreme(selector, [one for one in records if _is_such(one, selector, place)])
        case Pick.BEGINS:
            begins = ascii_fold(place["value"])
            return [one for one in records if ascii_fold(_text(one, selector.field)).startswith(begins)]
        case Pick.MATCHING:
            return [one for one in records if _is_such(one, selector, place)]


def _extreme(selector: Selector, records: Sequence[Record]) -> list[Record]:
    numbers = [value for one in records if isinstance(value := one.get(selector.field), int | float)]
    if len(numbers) != len(records) or not numbers:
        return []
    wanted = max(numbers) if selector.pick is Pick.HIGHEST else min(numbers)
    best = [one for one in records if one.get(selector.field) == wanted]
    return best if len(best) == 1 else []


def _is_such(record: Record, selector: Selector, place: re.Match[str]) -> bool:
    """Tell whether a record's fields are as all groups of the phrase that were said want them."""
    return all(_matches(record, selector, *group) for group in place.groupdict().items() if group[1] is not None)


def _matches(record: Record, selector: Selector, field: str, wanted: str) -> bool:
    held = ascii_fold(_text(record, field))
    return ascii_fold(wanted) in held if field == selector.field else ascii_fold(wanted) == held


_PARTS = re.compile(r"[-_. ]+")


def _short_names(name: str, names: Sequence[str]) -> Iterator[str]:
    """Yield the beginnings of a name, of two or more words, that stand in no other name."""
    parts = _PARTS.split(name)
    others = [f" {' '.join(_PARTS.split(other))} " for other in names]
    for length in range(2, len(parts)):
        short = " ".join(parts[:length])
        if sum(f" {short} " in other for other in others) == 1:
            yield short


def _minutes(record: Record, collection: Collection) -> int | None:
    if collection.starts is None or collection.ends is None:
        return None
    start, end = moment(record.get(collection.starts)), moment(record.get(collection.ends))
    return None if start is None or end is None else int((end - start).total_seconds() // 60)


def _directory(entries: Iterable[tuple[Collection, Record]]) -> Mapping[str, str]:
    """Map names to what tools take. A name that two share names nobody."""
    found: dict[str, set[str]] = {}
    spelt: dict[str, str] = {}
    for collection, record in entries:
        name = _text(record, collection.identity).strip()
        spelt.setdefault(ascii_fold(name), name)
        found.setdefault(ascii_fold(name), set()).add(_text(record, collection.reference))
    return {spelt[name]: next(iter(values)) for name, values in found.items() if name and len(values) == 1}


def _quoted(text: str) -> list[Span]:
    quotations = find_quotations(text)
    return sorted((*quotations.passages, *quotations.values))


def _apart(spans: Iterable[Span]) -> tuple[Span, ...]:
    apart: list[Span] = []
    for start, end in sorted(spans):
        if apart and start < apart[-1][1]:
            apart[-1] = (apart[-1][0], max(end, apart[-1][1]))
        else:
            apart.append((start, end))
    return tuple(apart)


def _text(record: Record, field: str) -> str:
    value = record.get(field)
    return "" if value is None else str(value)


def _texts(value: object) -> list[str]:
    if value is None:
        return []
    if isinstance(value, list | tuple | dict):
        return [str(one) for one in cast("Iterable[object]", value)]
    return [str(value)]
