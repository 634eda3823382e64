"""What all of the workspace shares: bounds on text, words to search for, pages with cursors. Pure."""

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar, cast
from uuid import UUID

from operalta.kernel.errors import InvalidInput
from operalta.kernel.texts import checked_text

LONGEST_QUERY = 400
LARGEST_PAGE = 100
USUAL_PAGE = 50

_LONGEST_CURSOR = 4_000
_WORD = re.compile(r"[^\W_]+")
_MOST_WORDS = 24

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some of a list, and the cursor for what follows; None at the end. A cursor tells nothing secret."""

    items: tuple[Item, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a list that is ordered by time, newest first, and id."""

    at: datetime
    id: UUID


def checked_limit(limit: int) -> int:
    """Return `limit`. Raise InvalidInput unless it is between 1 and LARGEST_PAGE."""
    if not 1 <= limit <= LARGEST_PAGE:
        raise InvalidInput(f"The limit is between 1 and {LARGEST_PAGE}.", field="limit")
    return limit


def checked_query(query: str | None) -> str | None:
    """Return the words to look for, or None where there are none."""
    return checked_text(query or "", "query", LONGEST_QUERY).strip() or None


def any_of(query: str) -> str | None:
    """Return `query` loosened so that any one of its words will do; None where that changes nothing."""
    words = list(dict.fromkeys(_WORD.findall(query)))[:_MOST_WORDS]
    return " or ".join(words)[:LONGEST_QUERY] if len(words) > 1 else None


def page_of(found: list[Item], limit: int, cursor_after: Callable[[Item], str]) -> Page[Item]:
    """Make a page of at most `limit` from `found`, which was asked for with one more than that."""
    shown = tuple(found[:limit])
    return Page(shown, cursor_after(shown[-1]) if len(found) > limit else None)


def encode_cursor(*parts: str) -> str:
    """Return an opaque cursor that holds `parts`."""
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).rstrip(b"=").decode()


def decode_cursor(cursor: str, count: int) -> tuple[str, ...]:
    """Return the `count` parts of a cursor. Raise InvalidInput for anything that is none."""
    if len(cursor) > _LONGEST_CURSOR:
        raise _not_a_cursor()
    try:
        decoded = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        parts: Any = json.loads(decoded)
    except (binascii.Error, ValueError, RecursionError):
        raise _not_a_cursor() from None
    if not isinstance(parts, list) or len(cast("list[Any]", parts)) != count:
        raise _not_a_cursor()
    texts = tuple(part for part in cast("list[Any]", parts) if isinstance(part, str))
    if len(texts) != count:
        raise _not_a_cursor()
    return tuple(checked_text(text, "cursor", _LONGEST_CURSOR) for text in texts)


def position_cursor(position: Position) -> str:
    """Return the cursor of a place in a list that is ordered by time."""
    return encode_cursor(position.at.isoformat(), str(position.id))


def position_in(cursor: str | None) -> Position | None:
    """Return the place that a cursor stands for, or None without one. Raise InvalidInput for anything else."""
    if cursor is None:
        return None
    at, identifier = decode_cursor(cursor, 2)
    try:
        position = Position(datetime.fromisoformat(at), UUID(identifier))
    except ValueError:
        raise _not_a_cursor() from None
    if position.at.tzinfo is None:
        raise _not_a_cursor()
    return position


def _not_a_cursor() -> InvalidInput:
    return InvalidInput("This cursor is not one of ours. Start again from the first page.", field="cursor")
