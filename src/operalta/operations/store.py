"""The SQL that running the deployment needs, as the database's owner."""

from typing import Any

import psycopg


def has_operator(connection: psycopg.Connection[Any]) -> bool:
    """Tell whether somebody is the operator already."""
    row = connection.execute("SELECT EXISTS (SELECT FROM identity.people WHERE is_operator)").fetchone()
    return bool(row and row[0])


def keep_operator_link(connection: psycopg.Connection[Any], digest: bytes) -> None:
    """Keep the digest of a fresh operator link: one use, 30 minutes; earlier ones end."""
    connection.execute("UPDATE identity.links SET used_at = now() WHERE purpose = 'operator' AND used_at IS NULL")
    connection.execute(
        "INSERT INTO identity.links (purpose, digest, expires_at) VALUES ('operator', %s, now() + interval '30 minutes')",
        (digest,),
    )
