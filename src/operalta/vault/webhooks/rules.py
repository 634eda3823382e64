"""What webhooks tell, when they are tried again, and how they are doing, in words. Pure."""

import base64
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus
from types import MappingProxyType
from uuid import UUID

from operalta.kernel.errors import InvalidInput
from operalta.terms.registry import upholds
from operalta.vault.webhooks.signatures import PREFIX

LONGEST_NAME = 80
LONGEST_URL = 2_000
LONGEST_OVERLAP_HOURS = 168
MOST_LISTED = 100
SECRET_BYTES = 32

PAUSES_SECONDS = (5, 300, 1_800, 7_200, 18_000, 36_000, 36_000)
"""From one attempt to the next, as Standard Webhooks recommends; together about 27 and a half hours."""

JITTER = 0.2
"""By up to this part a pause is longer, so that what failed together is not tried again together."""

MOST_WAITING = 1_000
"""For one endpoint. What happens while so many wait is left out, and counted."""

LONGEST_DAYS = 4
"""Whatever has waited for so long is given up, whatever it waited for."""

LONGEST_WAIT_SECONDS = 36_000
"""A receiver that asks for more patience than this is tried again all the same."""

_SUCCESS = range(200, 300)


class EventKind(StrEnum):
    """What can be told. The closed list: names of actions of the audit log."""

    MEMORY_RECORDED = "memory.recorded"
    MEMORY_SUPERSEDED = "memory.superseded"
    METRIC_POINT_RECORDED = "metric.point_recorded"
    FILE_WRITTEN = "file.written"
    RUN_FINISHED = "run.finished"
    RUN_FAILED = "run.failed"
    RUN_STOPPED = "run.stopped"
    APPROVAL_ASKED = "approval.asked"
    INVITATION_ACCEPTED = "invitation.accepted"
    MEMBER_ROLE_CHANGED = "member.role_changed"
    MEMBER_REMOVED = "member.removed"
    MEMBER_LEFT = "member.left"
    COMPANY_OWNERSHIP_TRANSFERRED = "company.ownership_transferred"


EVENT_LABELS = MappingProxyType(
    {
        EventKind.MEMORY_RECORDED: "Something was recorded in the memory",
        EventKind.MEMORY_SUPERSEDED: "An entry of the memory was superseded",
        EventKind.METRIC_POINT_RECORDED: "A figure of a metric was entered",
        EventKind.FILE_WRITTEN: "A file was written",
        EventKind.RUN_FINISHED: "An agent has answered",
        EventKind.RUN_FAILED: "An agent's run failed",
        EventKind.RUN_STOPPED: "An agent's run was stopped",
        EventKind.APPROVAL_ASKED: "An agent asks for an approval",
        EventKind.INVITATION_ACCEPTED: "Somebody joined",
        EventKind.MEMBER_ROLE_CHANGED: "A member has another role",
        EventKind.MEMBER_REMOVED: "A member was removed",
        EventKind.MEMBER_LEFT: "A member left",
        EventKind.COMPANY_OWNERSHIP_TRANSFERRED: "The company was handed over",
    }
)
"""Every kind in a few words. What happens in private conversations is never told."""


class OffBecause(StrEnum):
    """Why it was switched off, where no person did it."""

    GONE = "gone"
    FAILING = "failing"
    LEFT = "left"
    CHANGED = "changed"


_OFF_WORDS = MappingProxyType(
    {
        OffBecause.GONE: "Switched off: the receiver answered that it is gone (410). Switch it on when it is back.",
        OffBecause.FAILING: "Switched off: nothing has arrived for three days. Mend the receiver, then switch it on.",
        OffBecause.LEFT: (
            "Switched off: whoever held it may no longer manage integrations here. Switch it on, and you hold it."
        ),
        OffBecause.CHANGED: "Switched off: it has another address. Switch it on, and you hold it.",
    }
)


EXCHANGE_FIRST = (
    "Off: whoever has seen its secret may no longer manage integrations here."
    " Give it another secret, then switch it on; you hold it then."
)
"""What is said of it until its secret is exchanged, whatever else it is off for."""


class DeliveryStatus(StrEnum):
    """What became of a delivery so far."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where events go, as it may be shown: scheme and host of its address, never the rest, which may hold a secret."""

    id: UUID
    name: str
    destination: str
    events: tuple[EventKind, ...]
    is_on: bool
    off_because: OffBecause | None
    holder_id: UUID
    holder_name: str | None
    created_at: datetime
    changed_at: datetime | None
    rotated_at: datetime | None
    previous_until: datetime | None
    needs_secret: bool
    switched_at: datetime | None
    failing_since: datetime | None
    last_attempt_at: datetime | None
    last_success_at: datetime | None
    last_status: int | None
    last_failure: str | None
    waiting: int
    dead: int
    dropped: int
    dropped_at: datetime | None

    @property
    def state(self) -> str:
        """The state in one word."""
        if not self.is_on:
            return "off"
        return "failing" if self.failing_since else "on"

    @property
    def says(self) -> str:
        """The state in words, with what to do about it."""
        left_out = f"At least {self.dropped} events were left out, because {MOST_WAITING:,} were waiting."
        return f"{self._state_says} {left_out}" if self.dropped else self._state_says

    @property
    def _state_says(self) -> str:
        if self.needs_secret:
            return EXCHANGE_FIRST
        if self.off_because is not None:
            return _OFF_WORDS[self.off_because]
        if not self.is_on:
            return "Off: nothing is sent."
        if self.failing_since is not None:
            return (
                f"{self.last_failure or 'It does not answer.'} It is tried again; after three days it is switched off."
            )
        return "On." if self.last_success_at else "On. Nothing has been sent yet."


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one endpoint. `id` is in the header `webhook-id`, the same in every attempt."""

    id: UUID
    event: str
    subject_kind: str
    subject_id: UUID | None
    occurred_at: datetime
    status: DeliveryStatus
    attempts: int
    next_at: datetime | None
    attempted_at: datetime | None
    last_status: int | None
    failure: str | None
    finished_at: datetime | None
    replayed_at: datetime | None

    @property
    def message_id(self) -> str:
        """What receivers know it by."""
        return message_id_of(self.id)


@dataclass(frozen=True, slots=True)
class SecretOnce:
    """A signing secret, at the one moment in which it is told."""

    id: UUID
    name: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an attempt comes to: one of the words of `elevated.finish_webhook`."""

    ended: str
    status: int | None = None
    why: str | None = None
    pause_seconds: float = 0


def new_secret() -> str:
    """Return a fresh signing secret in the form of Standard Webhooks."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii")


def message_id_of(delivery: UUID) -> str:
    """Return the value of `webhook-id`."""
    return f"msg_{delivery.hex}"


@upholds("7.2.2")
def body_of(event: str, company: UUID, subject_kind: str, subject_id: UUID | None, occurred_at: datetime) -> bytes:
    """Return what is sent: kind, time and ids, the same bytes in every attempt. Whoever may read more asks the API."""
    content = {
        "type": event,
        "timestamp": occurred_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "data": {"company": str(company), "kind": subject_kind, "id": None if subject_id is None else str(subject_id)},
    }
    return json.dumps(content, separators=(",", ":")).encode()


def checked_events(names: Iterable[str]) -> tuple[EventKind, ...]:
    """Return the kinds of these names, in the order of the list. Raise InvalidInput for none, or for another."""
    wanted = set(names)
    if not wanted:
        raise InvalidInput("Choose at least one kind of event.", field="events")
    if not wanted <= set(EventKind):
        raise InvalidInput("Choose kinds of events from the list.", field="events")
    return tuple(kind for kind in EventKind if kind in wanted)


def checked_overlap(hours: int) -> int:
    """Return `hours`. Raise InvalidInput outside 0 to 168."""
    if not 0 <= hours <= LONGEST_OVERLAP_HOURS:
        raise InvalidInput("The secret before can go on for up to seven days (168 hours).", field="overlap_hours")
    return hours


def verdict_of_answer(status: int, retry_after: str, attempt: int, chance: float, now: datetime) -> Verdict:
    """Return what an answer comes to. `chance` lies between 0 and 1; `retry_after` is the field's value, or empty."""
    if status in _SUCCESS:
        return Verdict("delivered", status)
    if status == HTTPStatus.GONE:
        return Verdict("gone", status, "The receiver answered that it is gone (410).")
    return verdict_of_failure(_words_of(status), attempt, chance, status, wait_of(retry_after, now))


def verdict_of_failure(
    why: str, attempt: int, chance: float, status: int | None = None, wait_seconds: float = 0
) -> Verdict:
    """Return what a failed attempt (the first one is 1) comes to: another one after a pause, or the end."""
    if attempt > len(PAUSES_SECONDS):
        return Verdict("dead", status, why)
    pause = PAUSES_SECONDS[attempt - 1] * (1 + JITTER * chance)
    return Verdict("later", status, why, max(pause, min(wait_seconds, LONGEST_WAIT_SECONDS)))


def wait_of(retry_after: str, now: datetime) -> float:
    """Return the seconds of a Retry-After field (RFC 9110 section 10.2.3); 0 where it says nothing of use."""
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return float(int(text[:9]))
    try:
        until = parsedate_to_datetime(text[:60])
    except (ValueError, OverflowError, IndexError, TypeError):
        return 0
    return max(0.0, (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp() - now.timestamp())


def _words_of(status: int) -> str:
    if status in range(300, 400):
        return f"The receiver answered with a redirect ({status}), which is not followed. Give its final address."
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return f"The receiver refused ({status}). Check that it has the signing secret."
    if status == HTTPStatus.NOT_FOUND:
        return "The receiver knows no such address (404). Check the address."
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "The receiver asks for patience (429)."
    return f"The receiver answered with an error ({status})."
