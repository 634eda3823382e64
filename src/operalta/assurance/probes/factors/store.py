"""The SQL of the probes of second factors: looking as the owner, calling as the sign-in role, letting time pass."""

from uuid import UUID

from operalta.assurance.probes.store import Probed
from operalta.db.scope import Row

# ── Looking, as the owner ─────────────────────────────────────────────────────────────────────────────


async def newest_code(connection: Probed, number: str) -> Row | None:
    """Return the code that was sent to a number last: `id`, `digest`, `attempts`, and how long it still lives.

    `seconds_left` is by the database's clock at this moment.
    """
    cursor = await connection.execute(
        "SELECT id, digest, attempts, extract(epoch FROM expires_at - clock_timestamp())::float AS seconds_left"
        " FROM identity.codes WHERE number = %s ORDER BY created_at DESC LIMIT 1",
        (number,),
    )
    return await cursor.fetchone()


async def codes_of_number(connection: Probed, number: str) -> list[Row]:
    """Return `id` and `digest` of every code that was sent to a number, the oldest first."""
    cursor = await connection.execute(
        "SELECT id, digest FROM identity.codes WHERE number = %s ORDER BY created_at", (number,)
    )
    return await cursor.fetchall()


async def newest_message(connection: Probed, number: str) -> Row | None:
    """Return `status`, `attempts` and the provider's `reference` of the message that was made for a number last."""
    cursor = await connection.execute(
        "SELECT status, attempts, provider_reference AS reference FROM delivery.messages"
        " WHERE recipient = %s ORDER BY created_at DESC LIMIT 1",
        (number,),
    )
    return await cursor.fetchone()


async def password_of(connection: Probed, email: str) -> str:
    """Return the hash of a person's password, to be compared with itself."""
    cursor = await connection.execute(
        "SELECT password.hash FROM identity.passwords AS password"
        " JOIN identity.people AS person ON person.id = password.person_id WHERE person.email = %s",
        (email,),
    )
    row: Row | None = await cursor.fetchone()
    if row is None:
        raise LookupError("this person has no password")
    return row["hash"]


async def factors_of(connection: Probed, email: str) -> list[str]:
    """Return the ids of everything that a person can prove themselves by, recovery codes included."""
    cursor = await connection.execute(
        "SELECT held.id::text AS id FROM identity.people AS person CROSS JOIN LATERAL ("
        " SELECT id FROM identity.phones WHERE person_id = person.id"
        " UNION ALL SELECT id FROM identity.authenticators WHERE person_id = person.id"
        " UNION ALL SELECT id FROM identity.passkeys WHERE person_id = person.id"
        " UNION ALL SELECT id FROM identity.recovery_codes WHERE person_id = person.id) AS held"
        " WHERE person.email = %s ORDER BY 1",
        (email,),
    )
    return [row["id"] for row in await cursor.fetchall()]


# ── Calling, as the sign-in role ──────────────────────────────────────────────────────────────────────


async def try_code(connection: Probed, session_secret: str) -> str:
    """Try a session's live code past every limit of the web process; return what the database makes of it."""
    cursor = await connection.execute(
        "SELECT outcome FROM signin.try_code('session', %s, ''::bytea, 'prove')", (session_secret,)
    )
    row: Row | None = await cursor.fetchone()
    return "nothing" if row is None else row["outcome"]


async def accept_code(connection: Probed, session_secret: str, code: UUID) -> bool:
    """Try to use up a code, which is taken to be right, for a session; return whether the database did."""
    cursor = await connection.execute(
        "SELECT signin.accept_code('session', %s, ''::bytea, %s, NULL) AS value", (session_secret, code)
    )
    row: Row | None = await cursor.fetchone()
    return row is not None and row["value"] is True


# ── Letting time pass, in the throw-away alone ────────────────────────────────────────────────────────


async def age_codes(connection: Probed, number: str, seconds: float) -> None:
    """Let this much time pass for every code that was sent to a number; with less than none, turn it back."""
    await connection.execute(
        "UPDATE identity.codes AS code SET created_at = code.created_at - shift.by, expires_at = code.expires_at - shift.by"
        " FROM (SELECT make_interval(secs => %s) AS by) AS shift WHERE code.number = %s",
        (seconds, number),
    )


async def age_factor_proofs(connection: Probed, email: str, seconds: float) -> None:
    """Let this much time pass since a person's sessions proved the second factor. The password stays as fresh as it is."""
    await connection.execute(
        "UPDATE identity.sessions AS session SET second_factor_at = session.second_factor_at - make_interval(secs => %s)"
        " FROM identity.people AS person WHERE person.id = session.person_id AND person.email = %s",
        (seconds, email),
    )
