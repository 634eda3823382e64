"""The SQL of the assurance room."""

from typing import Any

from psycopg import AsyncConnection

from operalta.db.pools import Connection
from operalta.db.scope import Row


async def newest_evidence(connection: Connection) -> Row | None:
    """Return the document of evidence that was published last, and when (of the web or the verifier role)."""
    cursor = await connection.execute(
        "SELECT evidence.at, evidence.document FROM assurance.evidence ORDER BY evidence.at DESC, evidence.id DESC LIMIT 1"
    )
    return await cursor.fetchone()


async def add_evidence(connection: AsyncConnection[Any], document: str) -> None:
    """Publish a document of evidence, as the verifier role."""
    await connection.execute("INSERT INTO assurance.evidence (document) VALUES (%s::jsonb)", (document,))
