"""What the resources of the API share: the base of all models, pages with cursors, and how refusals look."""

from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from operalta.kernel.errors import InvalidInput
from operalta.workspace.rules import LARGEST_PAGE, USUAL_PAGE, decode_cursor, encode_cursor

Item = TypeVar("Item")

Cursor = Annotated[
    str | None, Query(max_length=4_000, description="`next_cursor` of the page before; none for the first page")
]
PageSize = Annotated[int, Query(ge=1, le=LARGEST_PAGE, description="How many at most")]
USUAL_PAGE_SIZE = USUAL_PAGE


class Body(BaseModel):
    """What a client sends: a field that is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Shown(BaseModel):
    """What a client receives. Made of the services' own values."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class Listing(Shown, Generic[Item]):
    """Some of a list. `next_cursor` is null at its end."""

    items: Annotated[tuple[Item, ...], Field(max_length=5_000)]
    next_cursor: str | None = None


class Fault(Shown):
    """What is wrong with one field."""

    field: str
    text: str


class Problem(Shown):
    """A refusal or a fault (RFC 9457). `code` is for programs, `detail` for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: tuple[Fault, ...] | None = None


_TEXTS = {
    401: "There is no session, or it has ended. Sign in, or refresh.",
    403: "The role does not hold the permission, or the request comes from another site.",
    404: "There is no such thing, or it is not yours to see; the two look alike.",
    409: "It was changed in the meantime, or stands in the way of what is asked.",
    413: "More was sent than is taken here.",
    422: "What was sent cannot be used; `errors` names the fields.",
    429: "Too many requests; `Retry-After` tells how long to wait.",
    503: "A part that this needs does not answer; `Retry-After` tells how long to wait.",
}
_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": dict(_PROBLEM)} for status, text in _TEXTS.items()
}
# Naming the model once puts it among the document's components, where the others point to it.
REFUSALS[422]["model"] = Problem
"""How every route may refuse, for its `responses`."""


def whole(items: tuple[Item, ...], limit: int, cursor: str | None) -> tuple[tuple[Item, ...], str | None]:
    """Return a page of a list that is at hand as a whole, and the cursor for what follows.

    The cursor holds how many were shown. Raise InvalidInput for one that is none of ours.
    """
    start = start_of(cursor)
    end = start + limit
    return items[start:end], (_numbered(end) if end < len(items) else None)


def start_of(cursor: str | None) -> int:
    """Return how many were shown before this page. Raise InvalidInput for a cursor that is none of ours."""
    return 0 if cursor is None else _number(decode_cursor(cursor, 1)[0])


def part(items: tuple[Item, ...], limit: int, start: int) -> tuple[tuple[Item, ...], str | None]:
    """Return a page of a list, of which one more was fetched after `start`, and the cursor for what follows."""
    return items[:limit], (_numbered(start + limit) if len(items) > limit else None)


def _numbered(count: int) -> str:
    return encode_cursor(str(count))


def _number(text: str) -> int:
    if not text.isdecimal() or not text.isascii() or len(text) > 9:  # noqa: PLR2004 - more than any list has
        raise InvalidInput("This cursor is not one of ours. Start again from the first page.", field="cursor")
    return int(text)
