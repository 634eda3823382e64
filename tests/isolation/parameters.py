"""Every parameter of every route, from the application itself: in the path, the query, headers, cookies and bodies."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel

from operalta.web.entry import Audience
from tests.isolation.calling import READING
from tests.web.site import Site
from tests.web.test_declarations import Route, routes

PATH, QUERY, HEADER, COOKIE, JSON, FORM, PART = "path", "query", "header", "cookie", "json", "form", "part"


@dataclass(frozen=True)
class Parameter:
    """Where a text can be put: the kind of place, and its name; within JSON a path of names and positions."""

    place: str
    name: tuple[str | int, ...]

    @property
    def last(self) -> str:
        """Return the name of the field itself."""
        return str(next(each for each in reversed(self.name) if isinstance(each, str)))


@dataclass(frozen=True)
class Operation:
    """A route with everything that it takes."""

    route: Route
    parameters: tuple[Parameter, ...]


# What is read from the request itself and declared nowhere. One stands for all that browsers send of themselves.
_OF_VISITORS = (Parameter(COOKIE, ("all cookies and the browser's name",)),)
_OF_UPLOADS = tuple(Parameter(PART, (name,)) for name in ("filename", "folder", "path"))
_OF_STREAMS = (Parameter(HEADER, ("Last-Event-ID",)),)


def operations(site: Site) -> list[Operation]:
    """Return every route with its parameters."""
    dependants = {
        (method, context.path): context.original_route.dependant
        for context in iter_route_contexts(site.application.routes)
        if isinstance(context.original_route, APIRoute)
        for method in context.original_route.methods or ()
    }
    found = [
        Operation(route, tuple(_parameters(dependants[route.method, route.path], route))) for route in routes(site)
    ]
    assert sum(len(operation.parameters) for operation in found) > 300
    return found


def _parameters(dependant: Dependant, route: Route) -> Iterator[Parameter]:
    for place, name, annotation in _declared(dependant, route):
        model = _model_in(annotation)
        if model is None:
            yield Parameter(place, (name,))
        elif place == JSON:
            yield from (Parameter(JSON, path) for path in _paths(model))
        else:
            yield from (Parameter(place, (_alias(model, field),)) for field in model.model_fields)
    if route.declarations[0].audience is Audience.VISITOR and route.method not in READING:
        yield from _OF_VISITORS
    if route.path.endswith("/files") and route.method == "POST":
        yield from _OF_UPLOADS
    if route.path.endswith("/events"):
        yield from _OF_STREAMS
    if route.path.endswith("/tools") and route.method == "POST":
        yield from (Parameter(FORM, (name,)) for name in ("memory_search", "invented"))


def _declared(dependant: Dependant, route: Route) -> Iterator[tuple[str, str, Any]]:
    body = JSON if route.path.startswith("/api/") else FORM
    for place, fields in (
        (PATH, dependant.path_params),
        (QUERY, dependant.query_params),
        (HEADER, dependant.header_params),
        (COOKIE, dependant.cookie_params),
        (body, dependant.body_params),
    ):
        for field in fields:
            yield place, field.alias, field.field_info.annotation
    for inner in dependant.dependencies:
        yield from _declared(inner, route)


def _paths(model: type[BaseModel]) -> Iterator[tuple[str | int, ...]]:
    for field, described in model.model_fields.items():
        name, inner = _alias(model, field), _model_in(described.annotation)
        if inner is None:
            yield (name,)
            continue
        listed = "tuple" in str(described.annotation) or "list" in str(described.annotation)
        for path in _paths(inner):
            yield (name, 0, *path) if listed else (name, *path)


def _model_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - annotations are anything
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_in(each)) is not None), None)


def _alias(model: type[BaseModel], field: str) -> str:
    described = model.model_fields[field]
    generator = model.model_config.get("alias_generator")
    return described.alias or (generator(field) if callable(generator) else field)
