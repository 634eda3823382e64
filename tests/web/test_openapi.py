"""The API's own description: valid, whole, and every input bounded."""

from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.web.site import Site

BOUNDED_FORMATS = {"uuid", "date", "date-time"}


@pytest.fixture
def document(site: Site) -> dict[str, Any]:
    answer = site.visitor().get("/api/openapi.json")
    assert answer.status == 200
    return answer.json


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield f"{method.upper()} {path}", operation


def unbounded(document: dict[str, Any], schema: dict[str, Any], place: str) -> Iterator[str]:
    """Yield the places of a schema where a client could send as much as it likes."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for name in ("anyOf", "oneOf", "allOf"):
        for each in schema.get(name, ()):
            yield from unbounded(document, each, place)
    if not {"enum", "const"} & schema.keys() and not is_bounded(schema):
        yield place
    if "items" in schema:
        yield from unbounded(document, schema["items"], f"{place}[]")
    for name, each in schema.get("properties", {}).items():
        yield from unbounded(document, each, f"{place}.{name}")


def is_bounded(schema: dict[str, Any]) -> bool:
    """Tell whether the schema itself, whatever lies in it, says how much it takes."""
    match schema.get("type"):
        case "string":
            return "maxLength" in schema or schema.get("format") in BOUNDED_FORMATS
        case "integer" | "number":
            return {"maximum", "minimum"} <= schema.keys()
        case "array":
            return "maxItems" in schema
        case "object":
            return schema.get("additionalProperties", True) is False
        case _:
            return True


def test_the_description_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


@pytest.mark.proves("3.4.1")
def test_every_input_of_every_operation_is_bounded(document: dict[str, Any]) -> None:
    found: list[str] = []
    for name, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            found += unbounded(document, parameter["schema"], f"{name} {parameter['name']}")
        for content in operation.get("requestBody", {}).get("content", {}).values():
            found += unbounded(document, content["schema"], name)
    assert found == []


def test_every_operation_says_how_it_may_refuse(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        assert {"401", "403", "404", "409", "422", "429", "503"} <= operation["responses"].keys(), name
        assert any(status.startswith("2") for status in operation["responses"]), name
        assert operation["summary"], name


def test_names_of_operations_are_unique(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))
