"""The SQL of second factors: the sign-in role's functions, and what a person reads of their own factors."""

from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

from operalta.db.pools import Connection
from operalta.db.scope import Row, Scope
from operalta.identity.factors.rules import Bearer


@dataclass(frozen=True, slots=True)
class TriedCode:
    """A try that was counted: `outcome` is tried, none or paused; the rest is there when it was tried."""

    outcome: str
    code_id: UUID | None
    digest: bytes | None
    attempt_id: UUID | None


async def bearer(connection: Connection, asking: Bearer) -> Row | None:
    """Return `person_id`, `purpose`, the digest of the device, and whether it is `known`. None: no such bearer."""
    return await _row(
        connection,
        "SELECT person_id, purpose, on_device, known FROM signin.bearer(%(kind)s, %(secret)s, %(device)s)",
        _asking(asking),
    )


async def ways(connection: Connection, asking: Bearer) -> list[Row]:
    """Return `id`, `way`, `label`, `paused`, `credential_id` and `transports` of each way open to a bearer."""
    cursor = await connection.execute(
        "SELECT id, way, label, paused, credential_id, transports FROM signin.ways(%(kind)s, %(secret)s, %(device)s)",
        _asking(asking),
    )
    return await cursor.fetchall()


# ── Codes by SMS ──────────────────────────────────────────────────────────────────────────────────────


async def phone_number(connection: Connection, asking: Bearer, phone: UUID) -> str | None:
    """Return the number of one of the bearer's phones."""
    return await _value(
        connection,
        "SELECT signin.phone_number(%(kind)s, %(secret)s, %(device)s, %(phone)s) AS value",
        {**_asking(asking), "phone": phone},
    )


async def send_code(connection: Connection, asking: Bearer, phone: UUID, country: str) -> str:
    """Have a code sent; return sent, paused, enough or none."""
    return await _value(
        connection,
        "SELECT signin.send_code(%(kind)s, %(secret)s, %(device)s, %(phone)s, %(country)s) AS value",
        {**_asking(asking), "phone": phone, "country": country},
    )


async def may_enrol_phone(connection: Connection, session_secret: str, number: str, country: str) -> str:
    """Tell whether a code may go to a number that is to become a factor: yes, or why not as below."""
    return await _value(
        connection,
        "SELECT signin.may_enrol_phone(%(secret)s, %(number)s, %(country)s) AS value",
        {"secret": session_secret, "number": number, "country": country},
    )


async def send_enrolment_code(connection: Connection, session_secret: str, number: str, country: str) -> str:
    """Have a code sent to a number that is to become a factor; return sent, unproved, taken, enough, pumped or none."""
    return await _value(
        connection,
        "SELECT signin.send_enrolment_code(%(secret)s, %(number)s, %(country)s) AS value",
        {"secret": session_secret, "number": number, "country": country},
    )


async def try_code(connection: Connection, asking: Bearer, wanted: str) -> TriedCode:
    """Count a try of the bearer's live code and return what to compare with. Commit before comparing."""
    row = await _row(
        connection,
        """
        SELECT outcome, code_id, digest, attempt_id
        FROM signin.try_code(%(kind)s, %(secret)s, %(device)s, %(wanted)s)
        """,
        {**_asking(asking), "wanted": wanted},
    )
    if row is None:  # the function always gives one row
        raise LookupError("the function gave no row")
    return TriedCode(row["outcome"], row["code_id"], row["digest"], row["attempt_id"])


async def accept_code(connection: Connection, asking: Bearer, tried: TriedCode) -> bool:
    """Use up a code that was right. False: somebody else was quicker, or it is no longer the bearer's."""
    return await _value(
        connection,
        "SELECT signin.accept_code(%(kind)s, %(secret)s, %(device)s, %(code)s, %(attempt)s) AS value",
        {**_asking(asking), "code": tried.code_id, "attempt": tried.attempt_id},
    )


async def record_wrong_code(connection: Connection, asking: Bearer, way: str, user_agent: str, address: str) -> None:
    """Keep a wrong code in the sign-in history and in the audit log."""
    await connection.execute(
        "SELECT signin.record_wrong_code(%(kind)s, %(secret)s, %(device)s, %(way)s, %(user_agent)s, %(address)s)",
        {**_asking(asking), "way": way, "user_agent": user_agent, "address": address},
    )


# ── Authenticator apps, recovery codes ────────────────────────────────────────────────────────────────


async def try_authenticator(connection: Connection, asking: Bearer) -> list[Row]:
    """Count a try; return `paused`, `attempt_id`, `id`, `sealed`, `last_step` of each app. Commit before comparing."""
    cursor = await connection.execute(
        """
        SELECT paused, attempt_id, id, sealed, last_step
        FROM signin.try_authenticator(%(kind)s, %(secret)s, %(device)s)
        """,
        _asking(asking),
    )
    return await cursor.fetchall()


async def accept_authenticator(connection: Connection, asking: Bearer, app: UUID, step: int, attempt: UUID) -> bool:
    """Use up a time step. False: it, or a later one, was used before."""
    return await _value(
        connection,
        """
        SELECT signin.accept_authenticator(%(kind)s, %(secret)s, %(device)s, %(app)s, %(step)s, %(attempt)s) AS value
        """,
        {**_asking(asking), "app": app, "step": step, "attempt": attempt},
    )


async def use_recovery_code(connection: Connection, asking: Bearer, digest: bytes) -> bool:
    """Use up a recovery code. False: the bearer's person has none with this digest."""
    return await _value(
        connection,
        "SELECT signin.use_recovery_code(%(kind)s, %(secret)s, %(device)s, %(digest)s) AS value",
        {**_asking(asking), "digest": digest},
    )


# ── Passkeys ──────────────────────────────────────────────────────────────────────────────────────────


async def keep_challenge(connection: Connection, asking: Bearer | bytes, wanted: str, challenge: bytes) -> bool:
    """Keep a challenge for a bearer, or, given a device's digest alone, for a visitor. False: no such bearer."""
    return await _value(
        connection,
        "SELECT signin.keep_challenge(%(kind)s, %(secret)s, %(device)s, %(wanted)s, %(challenge)s) AS value",
        {**_asking(asking), "wanted": wanted, "challenge": challenge},
    )


async def take_challenge(connection: Connection, asking: Bearer | bytes, wanted: str, challenge: bytes) -> bool:
    """Use up a challenge. False: it is not this bearer's (or device's), or was used, or is late."""
    return await _value(
        connection,
        "SELECT signin.take_challenge(%(kind)s, %(secret)s, %(device)s, %(wanted)s, %(challenge)s) AS value",
        {**_asking(asking), "wanted": wanted, "challenge": challenge},
    )


async def passkey(connection: Connection, credential: bytes) -> Row | None:
    """Return `id`, `person_id`, `public_key` and `sign_count` of a passkey."""
    return await _row(
        connection,
        "SELECT id, person_id, public_key, sign_count FROM signin.passkey(%(credential)s)",
        {"credential": credential},
    )


async def accept_passkey(connection: Connection, asking: Bearer, passkey_id: UUID, count: int) -> bool:
    """Note that a bearer's passkey answered. False: it is not theirs, or its counter did not grow."""
    return await _value(
        connection,
        "SELECT signin.accept_passkey(%(kind)s, %(secret)s, %(device)s, %(passkey)s, %(count)s) AS value",
        {**_asking(asking), "passkey": passkey_id, "count": count},
    )


async def passkey_owner(connection: Connection, session_secret: str) -> Row | None:
    """Return `person_id`, `email`, `name` and `credentials` of a session that may enrol. None: it may not."""
    return await _row(
        connection,
        "SELECT person_id, email, name, credentials FROM signin.passkey_owner(%(secret)s)",
        {"secret": session_secret},
    )


async def add_passkey(
    connection: Connection,
    session_secret: str,
    *,
    name: str,
    credential: bytes,
    public_key: bytes,
    count: int,
    transports: list[str],
) -> bool:
    """Keep a passkey. False: not proved, too many, or the credential is known."""
    return await _value(
        connection,
        """
        SELECT signin.add_passkey(%(secret)s, %(name)s, %(credential)s, %(key)s, %(count)s, %(transports)s) AS value
        """,
        {
            "secret": session_secret,
            "name": name,
            "credential": credential,
            "key": public_key,
            "count": count,
            "transports": transports,
        },
    )


# ── Enrolment ─────────────────────────────────────────────────────────────────────────────────────────


async def is_proved(connection: Connection, session_secret: str) -> bool | None:
    """Tell whether the session has proved itself in the last ten minutes. None: it is over."""
    return await _value(connection, "SELECT signin.is_proved(%(secret)s) AS value", {"secret": session_secret})


async def add_authenticator(connection: Connection, session_secret: str, app: UUID, name: str, sealed: bytes) -> bool:
    """Keep an app that waits for its first code. False: not proved, or too many."""
    return await _value(
        connection,
        "SELECT signin.add_authenticator(%(secret)s, %(app)s, %(name)s, %(sealed)s) AS value",
        {"secret": session_secret, "app": app, "name": name, "sealed": sealed},
    )


async def waiting_authenticator(connection: Connection, session_secret: str) -> Row | None:
    """Return `id`, `sealed` and `name` of the app that waits for its first code."""
    return await _row(
        connection,
        "SELECT id, sealed, name FROM signin.waiting_authenticator(%(secret)s)",
        {"secret": session_secret},
    )


async def confirm_authenticator(connection: Connection, session_secret: str, app: UUID, step: int) -> bool:
    """Make the waiting app a factor and use up its first step."""
    return await _value(
        connection,
        "SELECT signin.confirm_authenticator(%(secret)s, %(app)s, %(step)s) AS value",
        {"secret": session_secret, "app": app, "step": step},
    )


async def remove_factor(connection: Connection, session_secret: str, factor: UUID) -> bool:
    """Remove a factor of any kind. False: not proved, or no such factor."""
    return await _value(
        connection,
        "SELECT signin.remove_factor(%(secret)s, %(factor)s) AS value",
        {"secret": session_secret, "factor": factor},
    )


async def replace_recovery_codes(connection: Connection, session_secret: str, digests: list[bytes]) -> bool:
    """Replace every recovery code. False: not proved, or no factor to stand in for."""
    return await _value(
        connection,
        "SELECT signin.replace_recovery_codes(%(secret)s, %(digests)s) AS value",
        {"secret": session_secret, "digests": digests},
    )


# ── One's own factors, read in a scope ────────────────────────────────────────────────────────────────


async def own_factors(scope: Scope) -> list[Row]:
    """Return `id`, `way`, `label`, `created_at` and `last_used_at` of the person's factors, in order of their age."""
    return await scope.all(
        """
        SELECT id, 'phone' AS way, number AS label, created_at, last_used_at
            FROM identity.phones WHERE person_id = %(person)s
        UNION ALL
        SELECT id, 'authenticator', name, created_at, last_used_at
            FROM identity.authenticators WHERE person_id = %(person)s AND confirmed_at IS NOT NULL
        UNION ALL
        SELECT id, 'passkey', name, created_at, last_used_at FROM identity.passkeys WHERE person_id = %(person)s
        ORDER BY created_at, id
        """,
        {"person": scope.actor.person_id},
    )


async def recovery_codes_left(scope: Scope) -> int:
    """Return how many of the person's recovery codes are unused."""
    row = await scope.one(
        "SELECT count(*) AS left FROM identity.recovery_codes WHERE person_id = %(person)s AND used_at IS NULL",
        {"person": scope.actor.person_id},
    )
    return 0 if row is None else row["left"]


def _asking(asking: Bearer | bytes) -> dict[str, Any]:
    if isinstance(asking, bytes):
        return {"kind": "", "secret": "", "device": asking}
    return {"kind": asking.kind, "secret": asking.secret, "device": asking.device}


async def _row(connection: Connection, query: LiteralString, parameters: dict[str, Any]) -> Row | None:
    return await (await connection.execute(query, parameters)).fetchone()


async def _value(connection: Connection, query: LiteralString, parameters: dict[str, Any]) -> Any:  # noqa: ANN401 - as the function returns
    row = await _row(connection, query, parameters)
    return None if row is None else row["value"]
