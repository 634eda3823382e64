"""The SQL of the delivery room: the sender's functions for the job role, and the operator's outbox."""

from datetime import datetime
from uuid import UUID

from operalta.db.pools import Connection
from operalta.db.scope import Row, Scope
from operalta.delivery.rules import Kind, Message


async def take_message(connection: Connection, message: UUID) -> Message | None:
    """Count an attempt and return the message; None where there is none, or it is finished."""
    cursor = await connection.execute(
        "SELECT id, kind, recipient, recipient_name, facts, attempts FROM elevated.take_message(%(message)s)",
        {"message": message},
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    return Message(row["id"], Kind(row["kind"]), row["recipient"], row["recipient_name"], row["facts"], row["attempts"])


async def attach_link(connection: Connection, message: UUID, digest: bytes) -> datetime:
    """Bind the digest of a fresh token to what the message is about; return until when the link works."""
    cursor = await connection.execute(
        "SELECT elevated.attach_link(%(message)s, %(digest)s) AS until", {"message": message, "digest": digest}
    )
    row = await cursor.fetchone()
    if row is None:  # a function without SETOF always gives one row
        raise LookupError("elevated.attach_link gave no row")
    until: datetime = row["until"]
    return until


async def finish_message(connection: Connection, message: UUID, *, sent: bool) -> None:
    """Note that the message has left, or has failed for good."""
    await connection.execute(
        "SELECT elevated.finish_message(%(message)s, %(outcome)s)",
        {"message": message, "outcome": "sent" if sent else "failed"},
    )


async def keep_in_outbox(connection: Connection, message: UUID, subject: str, body: str) -> None:
    """Put the finished text into the operator's outbox."""
    await connection.execute(
        "SELECT elevated.keep_in_outbox(%(message)s, %(subject)s, %(body)s)",
        {"message": message, "subject": subject, "body": body},
    )


async def outbox(scope: Scope, most: int) -> list[Row]:
    """Return the newest messages of the outbox; row security shows them to the operator alone."""
    return await scope.all(
        "SELECT id, recipient, subject, body, at FROM delivery.outbox ORDER BY at DESC, id LIMIT %(most)s",
        {"most": most},
    )
