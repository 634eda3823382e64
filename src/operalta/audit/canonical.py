"""One encoding for what is hashed or signed: JSON in the canonical form of RFC 8785, without fractions.

The same value gives the same bytes on every machine, also after a round trip through a `jsonb` column. So
floats (whose text differs between implementations) and NUL (which `jsonb` cannot hold) are refused.
"""

import json
from collections.abc import Mapping, Sequence
from typing import cast

LARGEST_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader keeps exactly (RFC 7493 section 2.2)."""

MAXIMUM_DEPTH = 16


class NotCanonical(ValueError):  # noqa: N818 - reads as what it says of the value
    """The value has no canonical form; the message names the place and what to pass instead."""


def canonical_json(value: object) -> bytes:
    """Return `value` as canonical UTF-8 JSON; `NotCanonical` where it has no such form."""
    ordered = _ordered(value, "value", MAXIMUM_DEPTH)
    return json.dumps(ordered, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _ordered(value: object, place: str, depth: int) -> object:
    if depth == 0:
        raise NotCanonical(f"{place} is nested deeper than {MAXIMUM_DEPTH} levels.")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, place)
    if isinstance(value, int):
        if abs(value) > LARGEST_INTEGER:
            raise NotCanonical(f"{place} is an integer beyond 2^53 - 1. Pass it as text.")
        return int(value)
    if isinstance(value, Mapping):
        return _object(cast("Mapping[object, object]", value), place, depth)
    if isinstance(value, list | tuple):
        items = cast("Sequence[object]", value)
        return [_ordered(item, f"{place}[{position}]", depth - 1) for position, item in enumerate(items)]
    raise NotCanonical(f"{place} is a {type(value).__name__}. Pass text, an integer, a list or an object.")


def _object(value: Mapping[object, object], place: str, depth: int) -> dict[str, object]:
    members: dict[str, object] = {}
    for name, member in value.items():
        if not isinstance(name, str):
            raise NotCanonical(f"{place} has a name that is not text.")
        members[_text(name, place)] = _ordered(member, f"{place}.{name}", depth - 1)
    # RFC 8785 section 3.2.3 sorts by UTF-16 code units, which is not Python's order beyond the first plane.
    return dict(sorted(members.items(), key=lambda pair: pair[0].encode("utf-16-be")))


def _text(value: str, place: str) -> str:
    if "\0" in value:
        raise NotCanonical(f"{place} holds a NUL character. Remove it.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise NotCanonical(f"{place} holds half of a surrogate pair. Replace it.") from None
    return str(value)
