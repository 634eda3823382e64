"""The SQL of connections: reads under row security, and every write by a function that looks at the scope."""

from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from operalta.db.pools import Connection
from operalta.db.scope import Row, Scope

Lines = list[dict[str, Any]]


# ── Registrations ──────────────────────────────────────────────────────────────────────────────────────


async def clients(scope: Scope) -> list[Row]:
    """Return the company's registrations."""
    return await scope.all(
        """
        SELECT id, provider, issuer, title, client_id, kept_id, definition, created_at, changed_at
        FROM credentials.oauth_clients WHERE company_id = %(company)s AND removed_at IS NULL
        ORDER BY title, id
        """,
        {"company": scope.company},
    )


async def client(scope: Scope, client_id: UUID) -> Row | None:
    """Return one registration that is in use."""
    return await scope.one(
        """
        SELECT id, provider, issuer, title, client_id, kept_id, definition, created_at, changed_at
        FROM credentials.oauth_clients WHERE company_id = %(company)s AND id = %(id)s AND removed_at IS NULL
        """,
        {"company": scope.company, "id": client_id},
    )


async def register(scope: Scope, client_id: UUID, fields: dict[str, Any]) -> str:
    """Keep a registration; return the verdict."""
    return _verdict(
        await scope.one(
            """
            SELECT credentials.register_client(%(client)s, %(provider)s, %(issuer)s, %(title)s, %(known_as)s, %(secret)s,
                %(definition)s) AS verdict
            """,
            {
                **fields,
                "client": client_id,
                "definition": None if fields["definition"] is None else Jsonb(fields["definition"]),
            },
        ),
    )


async def change_client(scope: Scope, client_id: UUID, known_as: str) -> str:
    """Change a client id; return the verdict."""
    query = "SELECT credentials.change_client(%(client)s, %(known_as)s) AS verdict"
    return _verdict(await scope.one(query, {"client": client_id, "known_as": known_as}))


async def remove_client(scope: Scope, client_id: UUID) -> str:
    """Remove a registration; return the verdict."""
    query = "SELECT credentials.remove_client(%(client)s) AS verdict"
    return _verdict(await scope.one(query, {"client": client_id}))


# ── Connecting ─────────────────────────────────────────────────────────────────────────────────────────


async def begin(scope: Scope, client_id: UUID, again: UUID | None, state: bytes, scopes: tuple[str, ...]) -> str:
    """Keep the digest of a state; return the verdict."""
    query = "SELECT credentials.begin_connection(%(client)s, %(again)s, %(state)s, %(scopes)s::text[]) AS verdict"
    given = {"client": client_id, "again": again, "state": state, "scopes": list(scopes)}
    return _verdict(await scope.one(query, given))


async def take_state(scope: Scope, state: bytes) -> Row | None:
    """Take a state, once, in a person's own scope; return its company's id and slug."""
    return await scope.one("SELECT company, slug FROM credentials.take_state(%(state)s)", {"state": state})


async def taken_state(scope: Scope, state: bytes) -> Row | None:
    """Return what was begun with a state that was taken."""
    return await scope.one(
        "SELECT oauth_client, connection, scopes FROM credentials.taken_state(%(state)s)", {"state": state}
    )


async def keep_connection(scope: Scope, fields: dict[str, Any]) -> bool:
    """Keep the connection that came of a state. False: the state is not there any more."""
    row = await scope.one(
        """
        SELECT credentials.keep_connection(%(state)s, %(connection)s, %(access)s, %(refresh)s,
            make_interval(secs => %(lives)s), %(granted)s::text[], %(account)s) AS done
        """,
        fields,
    )
    return row is not None and row["done"]


# ── Looking and using ──────────────────────────────────────────────────────────────────────────────────


async def connections(scope: Scope, *, only: UUID | None = None) -> list[Row]:
    """Return the company's connections (at most 500), or one of them: what is in use first, the newest first."""
    return await scope.all(
        """
        SELECT one.id, one.oauth_client_id, known.provider, known.issuer, known.title, known.definition, one.person_id,
            colleague.name AS owner_name, one.account, one.status, one.asked_scopes, one.granted_scopes, one.connected_at,
            one.expires_at, one.kept_refresh_id IS NOT NULL AS refreshes, one.last_used_at, one.refreshed_at,
            one.failed_at, one.failure, one.revoked_at, one.at_provider
        FROM credentials.connections AS one
        JOIN credentials.oauth_clients AS known ON known.company_id = one.company_id AND known.id = one.oauth_client_id
        LEFT JOIN identity.people AS colleague ON colleague.id = one.person_id
        WHERE one.company_id = %(company)s AND (%(only)s::uuid IS NULL OR one.id = %(only)s)
          AND (one.status <> 'revoked' OR one.revoked_at > now() - interval '30 days')
        ORDER BY one.status = 'revoked', one.connected_at DESC, one.id LIMIT 500
        """,
        {"company": scope.company, "only": only},
    )


async def use(scope: Scope, connection_id: UUID) -> Row | None:
    """Return whether a connection of the scope's own person can be used, and the ids of its secrets."""
    return await scope.one(
        "SELECT verdict, oauth_client, access, refresh, made FROM credentials.use_connection(%(connection)s)",
        {"connection": connection_id},
    )


async def claim_refresh(scope: Scope, connection_id: UUID, generation: int) -> Row | None:
    """Claim the refresh of a stale token; None where somebody else has it."""
    return await scope.one(
        """
        SELECT claim, interrupted, access_revision, refresh_revision
        FROM credentials.claim_refresh(%(connection)s, %(generation)s)
        """,
        {"connection": connection_id, "generation": generation},
    )


async def hold_key_of_refresh(connection: Connection, company: UUID, connection_id: UUID, claim: str) -> None:
    """Hold the company's key until what is sealed under it is committed, as who keeps a secret in a scope does."""
    await connection.execute(
        "SELECT credentials.hold_key_of_refresh(%(company)s, %(connection)s, %(claim)s)",
        {"company": company, "connection": connection_id, "claim": claim},
    )


async def end_refresh(connection: Connection, fields: dict[str, Any], lines: Lines) -> bool:
    """Store how a refresh ended. Without a scope: the claim is what lets in. False: the lines alone are kept."""
    cursor = await connection.execute(
        """
        SELECT credentials.end_refresh(%(company)s, %(connection)s, %(claim)s, %(access)s, %(access_revision)s, %(refresh)s,
            %(refresh_revision)s, make_interval(secs => %(lives)s), %(granted)s::text[], %(why)s, %(broken)s,
            make_interval(secs => %(pause)s), %(lines)s) AS done
        """,
        {**fields, "lines": Jsonb(lines)},
    )
    row = await cursor.fetchone()
    return row is not None and row["done"]


async def note_refresh(connection: Connection, company: UUID, connection_id: UUID, claim: str, lines: Lines) -> None:
    """Leave lines in the egress log for whoever holds the claim of a refresh, or held it."""
    await connection.execute(
        "SELECT credentials.note_refresh(%(company)s, %(connection)s, %(claim)s, %(lines)s)",
        {"company": company, "connection": connection_id, "claim": claim, "lines": Jsonb(lines)},
    )


async def revoke(scope: Scope, connection_id: UUID) -> bool:
    """End a connection here. False where there is none that the scope's person may end."""
    row = await scope.one("SELECT credentials.revoke_connection(%(connection)s) AS done", {"connection": connection_id})
    return row is not None and row["done"]


async def note_requests(scope: Scope, lines: Lines) -> None:
    """Leave lines in the egress log."""
    if lines:
        await scope.execute("SELECT credentials.note_requests(%(lines)s)", {"lines": Jsonb(lines)})


# ── The job role ───────────────────────────────────────────────────────────────────────────────────────


async def take_revocation(connection: Connection) -> Row | None:
    """Take a revocation that is due, with its sealed secrets."""
    return await (await connection.execute("SELECT * FROM elevated.take_revocation()")).fetchone()


async def finish_revocation(connection: Connection, company: UUID, revocation: UUID, ended: str, lines: Lines) -> None:
    """Note how an attempt ended."""
    await connection.execute(
        "SELECT elevated.finish_revocation(%(company)s, %(revocation)s, %(ended)s, %(lines)s)",
        {"company": company, "revocation": revocation, "ended": ended, "lines": Jsonb(lines)},
    )


async def forget_states(connection: Connection) -> None:
    """Forget consents that were never given."""
    await connection.execute("SELECT elevated.forget_states()")


def _verdict(row: Row | None) -> str:
    return row["verdict"] if row is not None else "refused"
