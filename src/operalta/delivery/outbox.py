"""The outbox page's content: mail and SMS that do not leave in the embedded default, for the operator's eyes alone."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from operalta.db.scope import Scope
from operalta.delivery import store
from operalta.kernel.errors import NotFound

MOST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class OutboxMessage:
    """One message as it would have been sent; `channel` is `mail` or `sms`."""

    id: UUID
    channel: str
    recipient: str
    subject: str
    body: str
    at: datetime


async def list_outbox(scope: Scope) -> tuple[OutboxMessage, ...]:
    """Return the newest messages first. Raise NotFound for everybody but the operator."""
    if not scope.actor.is_operator:
        raise NotFound
    rows = await store.outbox(scope, MOST_SHOWN)
    return tuple(
        OutboxMessage(row["id"], row["channel"], row["recipient"], row["subject"], row["body"], row["at"])
        for row in rows
    )
