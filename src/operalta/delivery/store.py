"""The SQL of the delivery room: the sender's functions for the job role, receipts, and the operator's outbox."""

from datetime import datetime
from uuid import UUID

from operalta.db.pools import Connection
from operalta.db.scope import Row, Scope
from operalta.delivery.rules import Kind, Message, Outcome


async def take_message(connection: Connection, message: UUID) -> Message | None:
    """Count an attempt and return the message; None where there is none, or it is finished."""
    cursor = await connection.execute(
        "SELECT id, kind, recipient, recipient_name, facts, attempts, code_id FROM elevated.take_message(%(message)s)",
        {"message": message},
    )
    row = await cursor.fetchone()
    if row is None:
        return None
    return Message(
        row["id"],
        Kind(row["kind"]),
        row["recipient"],
        row["recipient_name"],
        row["facts"],
        row["attempts"],
        row["code_id"],
    )


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


async def attach_code(connection: Connection, message: UUID, digest: bytes) -> datetime | None:
    """Bind the keyed digest of a fresh code to its row; return until when it works, or None where it is too late."""
    cursor = await connection.execute(
        "SELECT elevated.attach_code(%(message)s, %(digest)s) AS until", {"message": message, "digest": digest}
    )
    row = await cursor.fetchone()
    return None if row is None else row["until"]


async def finish_message(connection: Connection, message: UUID, outcome: Outcome, reference: str | None) -> None:
    """Note how the message ended, and what its carrier calls it."""
    await connection.execute(
        "SELECT elevated.finish_message(%(message)s, %(outcome)s, %(reference)s)",
        {"message": message, "outcome": outcome.value, "reference": reference},
    )


async def note_receipt(connection: Connection, reference: str, outcome: str) -> None:
    """Note what a carrier tells of the message that it calls `reference`; of one that is not ours, nothing."""
    await connection.execute(
        "SELECT delivery.note_receipt(%(reference)s, %(outcome)s)", {"reference": reference, "outcome": outcome}
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
        "SELECT id, channel, recipient, subject, body, at FROM delivery.outbox ORDER BY at DESC, id LIMIT %(most)s",
        {"most": most},
    )
