"""Whether a person's words name a value: literally, through the directory, a record or a selection. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from operalta.agents.canonical import JsonValue, canonical_text
from operalta.agents.decision_context import DecisionContext
from operalta.agents.dictation import is_dictated, is_end
from operalta.agents.literals import ascii_fold
from operalta.agents.provenance import PersonWords, Sentence, literal, own_places
from operalta.agents.quotation import Span
from operalta.agents.records import CollectionRecord
from operalta.agents.registry import SinkType, ToolDeclaration

_RECIPIENTS = frozenset({SinkType.PERSON, SinkType.ADDRESS, SinkType.ACCOUNT})


@dataclass(frozen=True, slots=True)
class Given:
    """One value that was given for an argument; an argument that takes a list gives several."""

    name: str
    sink: SinkType
    value: str


def given_values(tool: ToolDeclaration, arguments: Mapping[str, JsonValue]) -> list[Given]:
    """Return the values that were given, with their types. Numbers are written as canonical JSON does."""
    return [
        Given(name, tool.sinks[name], value if isinstance(value, str) else canonical_text(value))
        for name, values in arguments.items()
        for value in (values if isinstance(values, list | tuple) else [values])
        if value is not None
    ]


def is_vouched(
    tool: ToolDeclaration,
    given: Given,
    arguments: Mapping[str, JsonValue],
    intent: tuple[Sentence, ...],
    context: DecisionContext,
) -> bool:
    """Tell whether the person's words name this value, in a sentence that holds the verb too."""
    match given.sink:
        case SinkType.CHOICE:
            return True
        case SinkType.BODY:
            labels = tool.bindings.labels.get(given.name, frozenset())
            reported = tool.bindings.to_colleagues
            return given.name in tool.bindings.dictated and (
                not given.value
                or (
                    not _is_a_name(given.value, context)
                    and is_dictated(context.words, intent, given.value, labels, to_colleagues=reported)
                )
            )
        case SinkType.MOMENT:
            return _is_named_moment(tool, given, arguments, intent, context)
        case _:
            return _is_named(tool, given, intent, context)


def _is_a_name(value: str, context: DecisionContext) -> bool:
    """Tell whether a text is only what something is called: in "post it to 'general'", nobody dictated "general"."""
    folded = ascii_fold(value)
    return any(folded in {ascii_fold(one.identity), ascii_fold(one.reference)} for one in context.records)


def _is_named(tool: ToolDeclaration, given: Given, intent: tuple[Sentence, ...], context: DecisionContext) -> bool:
    value, sink = given.value, given.sink
    if any(one.reference == value and one.changed_in_run and _fits(tool, given, one) for one in context.records):
        return False
    if literal(context.words, intent, value, sink):
        return True
    if sink in _RECIPIENTS and _in_directory(value, intent, context):
        return True
    bound = bound_records(tool, given, intent, context)
    if sink is SinkType.RECORD or given.name in tool.bindings.takes:
        return any(one.reference == value for one in bound) or _is_selected(tool, given, intent, context)
    return sink is SinkType.ADDRESS and any(value in one.addresses for one in bound)


def bound_records(
    tool: ToolDeclaration, given: Given, intent: tuple[Sentence, ...], context: DecisionContext
) -> list[CollectionRecord]:
    """Return the records that the person's words mean, of those that the argument may stand for."""
    fitting = [one for one in context.records if _fits(tool, given, one)]
    bound = [one for one in fitting if _is_bound(one, intent, context.words)]
    places = {one.identity: list(own_places(context.words, intent, one.identity, SinkType.BODY)) for one in fitting}
    return [one for one in bound if not any(_covers(other, one, places) for other in fitting)]


def _covers(longer: CollectionRecord, one: CollectionRecord, places: Mapping[str, list[Span]]) -> bool:
    """Tell whether a name stands in the message only because a longer one does, wholly or in part.

    "The Sports and Yoga Class" does not mean the "Yoga Class" too, nor "The Sports and".
    """
    if len(longer.identity) <= len(one.identity) or not places[longer.identity]:
        return False
    return ascii_fold(one.identity) in ascii_fold(longer.identity) or (
        bool(places[one.identity])
        and all(
            any(at < end and start < to for start, end in places[longer.identity]) for at, to in places[one.identity]
        )
    )


def _fits(tool: ToolDeclaration, given: Given, record: CollectionRecord) -> bool:
    wanted = tool.bindings.takes.get(given.name)
    return wanted is None or record.collection is None or record.collection == wanted


def _is_bound(record: CollectionRecord, intent: tuple[Sentence, ...], words: PersonWords) -> bool:
    if record.changed_in_run or not record.identity.strip():
        return False
    if record.outsiders_write and not record.owner_is_first_party:
        return False
    if any(literal(words, intent, name, SinkType.BODY) for name in record.short_names):
        return True
    if not record.is_unique or record.identity.strip().isdigit():
        return False
    return any(_names_it(record, place, words) for place in own_places(words, intent, record.identity, SinkType.BODY))


def _names_it(record: CollectionRecord, place: Span, words: PersonWords) -> bool:
    """Tell whether an identity is meant as a name: quoted, of several words, or beside its noun where it needs one."""
    if place in words.quotations.values:
        return True
    if record.outsiders_write and len(record.identity.split()) == 1:
        return False
    return not record.nouns or any(
        ascii_fold(word) in record.nouns
        for word in (
            *re.findall(r"(\w+)\W{1,3}\Z", words.text[: place[0]]),
            *re.findall(r"\A\W{1,3}(\w+)", words.text[place[1] :]),
        )
    )


def _is_selected(tool: ToolDeclaration, given: Given, intent: tuple[Sentence, ...], context: DecisionContext) -> bool:
    wanted = tool.bindings.takes.get(given.name)
    return any(
        one.collection == wanted
        and given.value in one.references
        and any(sentence.start <= one.start and one.end <= sentence.end for sentence in intent)
        for one in context.selections
    )


def _is_named_moment(
    tool: ToolDeclaration,
    given: Given,
    arguments: Mapping[str, JsonValue],
    intent: tuple[Sentence, ...],
    context: DecisionContext,
) -> bool:
    starts = tool.bindings.ends.get(given.name)
    if starts is None:
        return literal(context.words, context.words.consenting, given.value, SinkType.MOMENT)
    lasting = {
        one.lasts
        for each in given_values(tool, arguments)
        if each.name in tool.bindings.takes
        for one in bound_records(tool, each, intent, context)
        if one.reference == each.value
    }
    return is_end(context.words, arguments.get(starts), given.value, next(iter(lasting), None))


def _in_directory(value: str, intent: tuple[Sentence, ...], context: DecisionContext) -> bool:
    """Tell whether `value` is the address of an entry whose name stands in the message."""
    return any(
        address == value
        and literal(context.words, intent, name, SinkType.BODY)
        and not _is_part_of_longer(name, context.directory, intent, context.words)
        for name, address in context.directory.items()
    )


def _is_part_of_longer(
    name: str, directory: Mapping[str, str], intent: tuple[Sentence, ...], words: PersonWords
) -> bool:
    return any(
        len(other) > len(name)
        and ascii_fold(name) in ascii_fold(other)
        and literal(words, intent, other, SinkType.BODY)
        for other in directory
    )
