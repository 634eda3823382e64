"""What a reader of the log may ask for: filters, the line in which people write them, and places in the list."""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from operalta.audit.errors import UnreadableCursor, UnreadableQuery
from operalta.audit.rules import Outcome, utc_text

LONGEST_QUERY = 400

_HOW_TO_WRITE_A_DAY = "Write a day as created:2026-01-31, or with >, >=, < or <= before it."
_TERM = re.compile(r'(?:(?P<field>[a-z_]+):)?(?P<value>"[^"]*"|[^\s"]+)')
_DAY = re.compile(r"(?P<sign>>=|<=|>|<|)(?P<day>\d{4}-\d{2}-\d{2})")


@dataclass(frozen=True, slots=True)
class EventFilters:
    """Which events are wanted; None and empty text want all.

    `action` is the beginning of an action's name. `actor` is a person's id, or part of their name or address.
    `words` stands somewhere in the target. `since` is included, `until` is not.
    """

    action: str = ""
    actor: str = ""
    words: str = ""
    outcome: Outcome | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class EventCursor:
    """A place in the list, newest first: what comes next is older than this event."""

    occurred_at: datetime
    event_id: UUID

    def to_text(self) -> str:
        """Return the cursor as it stands in addresses."""
        return base64.urlsafe_b64encode(f"{utc_text(self.occurred_at)} {self.event_id}".encode()).decode()

    @classmethod
    def from_text(cls, text: str) -> "EventCursor":
        """Return the cursor that `to_text` wrote. Raise UnreadableCursor for anything else."""
        try:
            moment, _, event = base64.b64decode(text.encode(), altchars=b"-_", validate=True).decode().partition(" ")
            occurred_at = datetime.fromisoformat(moment)
            event_id = UUID(event)
        except (ValueError, binascii.Error) as error:
            raise UnreadableCursor from error
        if occurred_at.tzinfo is None:
            raise UnreadableCursor
        return cls(occurred_at, event_id)


def parse_query(text: str) -> EventFilters:
    """Return the filters that a person wrote, such as `actor:"Ada L" action:file. created:>=2026-01-01 report`.

    `created:` takes a day in UTC, alone or behind `>`, `>=`, `<` or `<=`. Words without a field are looked for in
    the target. Raise UnreadableQuery with what to write instead.
    """
    text = " ".join(text.replace("\0", " ").split())
    if len(text) > LONGEST_QUERY:
        raise UnreadableQuery(f"A search has at most {LONGEST_QUERY} characters. Leave something out.")
    if text.count('"') % 2:
        raise UnreadableQuery("A quotation mark is missing. Write it at both ends of the words that belong together.")
    fields: dict[str, str] = {}
    words: list[str] = []
    since: datetime | None = None
    until: datetime | None = None
    for term in _TERM.finditer(text):
        field, value = term["field"], term["value"].strip('"')
        if field is None:
            words.append(value)
        elif field == "created":
            first, last = _days(value)
            since = max((moment for moment in (since, first) if moment), default=None)
            until = min((moment for moment in (until, last) if moment), default=None)
        elif field in ("actor", "action", "outcome"):
            fields[field] = value
        else:
            raise UnreadableQuery(f"There is no field {field}. Use actor, action, outcome or created.")
    return EventFilters(
        action=fields.get("action", "").removesuffix("*"),
        actor=fields.get("actor", ""),
        words=" ".join(words),
        outcome=_outcome(fields.get("outcome")),
        since=since,
        until=until,
    )


def _outcome(value: str | None) -> Outcome | None:
    try:
        return None if value is None else Outcome(value)
    except ValueError:
        raise UnreadableQuery("An outcome is succeeded, refused or failed.") from None


def _days(value: str) -> tuple[datetime | None, datetime | None]:
    """Return the first moment wanted and the first one no longer wanted."""
    match = _DAY.fullmatch(value)
    if match is None:
        raise UnreadableQuery(_HOW_TO_WRITE_A_DAY)
    try:
        start = datetime.combine(date.fromisoformat(match["day"]), time(), UTC)
        end = start + timedelta(days=1)
    except (ValueError, OverflowError):
        raise UnreadableQuery(_HOW_TO_WRITE_A_DAY) from None
    by_sign = {">": (end, None), ">=": (start, None), "<": (None, start), "<=": (None, end), "": (start, end)}
    return by_sign[match["sign"]]
