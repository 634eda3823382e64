"""What the JSON schema of a tool's arguments leaves room for: closed choices, bounded texts, bounded lists. Pure."""

from collections.abc import Mapping
from typing import TypeAlias, cast

from operalta.agents.canonical import JsonValue

Schema: TypeAlias = Mapping[str, JsonValue]


def is_closed(schema: Schema, argument: str) -> bool:
    """Tell whether an argument leaves no room for text: a closed list, a yes or no, a bounded number."""
    return all(
        "enum" in one
        or "const" in one
        or one.get("type") in {"boolean", "null"}
        or (one.get("type") == "integer" and "minimum" in one and "maximum" in one)
        for one in _variants(schema, _property(schema, argument))
    )


def is_bounded(schema: Schema, argument: str) -> bool:
    """Tell whether every text in an argument has a longest length, and every list a greatest.

    Objects within an argument are not taken at all.
    """
    return all(_is_bounded(schema, one) for one in _variants(schema, _property(schema, argument)))


def _is_bounded(schema: Schema, one: Schema) -> bool:
    if one.get("type") == "array":
        items = one.get("items")
        return (
            "maxItems" in one
            and isinstance(items, dict)
            and all(
                each.get("type") != "array" and _is_bounded(schema, each)
                for each in _variants(schema, cast("Schema", items))
            )
        )
    if one.get("type") == "string":
        return "maxLength" in one or "enum" in one or "const" in one
    return one.get("type") in {"boolean", "null", "integer", "number"}


def _property(schema: Schema, argument: str) -> Schema:
    properties = cast("dict[str, dict[str, JsonValue]]", schema["properties"])
    return properties[argument]


def _variants(schema: Schema, part: Schema) -> list[Schema]:
    """Return the alternatives of a property, references followed."""
    if "$ref" in part:
        definitions = cast("dict[str, dict[str, JsonValue]]", schema.get("$defs", {}))
        return _variants(schema, definitions[str(part["$ref"]).rpartition("/")[2]])
    alternatives = part.get("anyOf")
    if isinstance(alternatives, list):
        return [
            variant
            for one in alternatives
            if isinstance(one, dict)
            for variant in _variants(schema, cast("Schema", one))
        ]
    return [part]
