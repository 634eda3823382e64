"""Canonical JSON after RFC 8785 (JCS): the same value is always the same bytes, so that it can be hashed.

Stricter than the RFC where it leaves room for surprise: integers beyond 2**53 - 1 and lone surrogates are
refused, since two readers could understand them differently.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

from operalta.agents.errors import ArgumentsNotCanonical

JsonValue: TypeAlias = "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"

_LARGEST_INTEGER = 2**53 - 1
_DEEPEST = 32
_PLAIN_FROM, _PLAIN_TO = -6, 21  # ECMA-262 Number::toString: outside, exponents are written


def canonical_text(value: JsonValue) -> str:
    """Return `value` as canonical JSON. Raise ArgumentsNotCanonical for what has no unambiguous form."""
    return _write(value, 0)


def canonical_bytes(value: JsonValue) -> bytes:
    """Return `value` as canonical JSON in UTF-8."""
    try:
        return canonical_text(value).encode("utf-8")
    except UnicodeEncodeError:
        raise ArgumentsNotCanonical from None


def sha256_of(value: JsonValue) -> str:
    """Return the SHA-256 of the canonical form, in hex."""
    return hashlib.sha256(canonical_bytes(value)).hexdigest()


def _write(value: object, depth: int) -> str:
    if depth > _DEEPEST:
        raise ArgumentsNotCanonical
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case str():
            return json.dumps(value, ensure_ascii=False)
        case int():
            return _integer(value)
        case float():
            return _number(value)
        case Mapping():
            return _object(cast("Mapping[object, object]", value), depth)
        case list() | tuple():
            items = cast("Sequence[object]", value)
            return "[" + ",".join(_write(item, depth + 1) for item in items) + "]"
        case _:
            raise ArgumentsNotCanonical


def _object(value: Mapping[object, object], depth: int) -> str:
    if not all(isinstance(name, str) for name in value):
        raise ArgumentsNotCanonical
    members = cast("Mapping[str, object]", value)
    # RFC 8785 section 3.2.3: names are sorted by their UTF-16 code units.
    names = sorted(members, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
    return "{" + ",".join(f"{_write(name, depth)}:{_write(members[name], depth + 1)}" for name in names) + "}"


def _integer(value: int) -> str:
    if abs(value) > _LARGEST_INTEGER:
        raise ArgumentsNotCanonical
    return str(value)


def _number(value: float) -> str:
    """Write a double as ECMA-262 does (RFC 8785 section 3.2.2.3)."""
    if not math.isfinite(value):
        raise ArgumentsNotCanonical
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = f"{abs(value)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    # The value is 0.digits times ten to the power of `point`.
    leading_zeros = len(whole + fraction) - len(digits)
    point = len(whole) + int(exponent or 0) - leading_zeros
    digits = digits.rstrip("0")
    return sign + _place_point(digits, point)


def _place_point(digits: str, point: int) -> str:
    count = len(digits)
    if count <= point <= _PLAIN_TO:
        return digits + "0" * (point - count)
    if 0 < point <= _PLAIN_TO:
        return f"{digits[:point]}.{digits[point:]}"
    if _PLAIN_FROM < point <= 0:
        return "0." + "0" * -point + digits
    exponent = point - 1
    mantissa = digits[0] + (f".{digits[1:]}" if count > 1 else "")
    return f"{mantissa}e{'+' if exponent > 0 else '-'}{abs(exponent)}"
