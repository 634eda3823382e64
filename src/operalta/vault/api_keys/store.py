"""The SQL of API keys. Digests go in, and never come out."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from operalta.db.scope import Row, Scope


async def list_keys(scope: Scope, *, most: int) -> list[Row]:
    """Return the keys that the person may see, the newest first; ended ones for 90 days."""
    return await scope.all(
        """
        SELECT key.id, key.kind, key.name, key.scopes, key.addresses::text[] AS addresses, key.holder_id,
            person.name AS holder_name, key.shown, key.created_at, key.rotated_at, key.expires_at, key.previous_shown,
            key.previous_expires_at, key.last_used_at, host(key.last_used_from) AS last_used_from, key.refused_at,
            key.revoked_at, key.is_held, membership.role AS holder_role
        FROM credentials.api_keys AS key
        LEFT JOIN identity.people AS person ON person.id = key.holder_id
        LEFT JOIN tenancy.memberships AS membership ON membership.company_id = key.company_id
            AND membership.person_id = key.holder_id AND membership.ended_at IS NULL
        WHERE key.company_id = %(company)s
          AND coalesce(key.revoked_at, key.expires_at) > now() - interval '90 days'
        ORDER BY key.created_at DESC, key.id DESC LIMIT %(most)s
        """,
        {"company": scope.company, "most": most},
    )


async def make_key(
    scope: Scope,
    key: UUID,
    *,
    kind: str,
    name: str,
    scopes: Sequence[str],
    addresses: Sequence[str],
    until: datetime,
    digest: bytes,
    shown: str,
) -> str:
    """Keep a key and return what became of it: made, unproved, refused or too_many."""
    row = await scope.one(
        """
        SELECT credentials.make_api_key(%(key)s, %(kind)s, %(name)s, %(scopes)s::text[], %(addresses)s::text[]::cidr[],
            %(until)s, %(digest)s, %(shown)s) AS verdict
        """,
        {
            "key": key,
            "kind": kind,
            "name": name,
            "scopes": list(scopes),
            "addresses": list(addresses),
            "until": until,
            "digest": digest,
            "shown": shown,
        },
    )
    return row["verdict"] if row is not None else "refused"


async def rotate_key(scope: Scope, key: UUID, *, digest: bytes, shown: str, overlap: timedelta) -> str:
    """Give a key another secret and return what became of it: rotated, unproved or refused."""
    row = await scope.one(
        "SELECT credentials.rotate_api_key(%(key)s, %(digest)s, %(shown)s, %(overlap)s) AS verdict",
        {"key": key, "digest": digest, "shown": shown, "overlap": overlap},
    )
    return row["verdict"] if row is not None else "refused"


async def revoke_key(scope: Scope, key: UUID) -> bool:
    """End a key; false where there is none to end."""
    row = await scope.one("SELECT credentials.revoke_api_key(%(key)s) AS revoked", {"key": key})
    return row is not None and row["revoked"]
