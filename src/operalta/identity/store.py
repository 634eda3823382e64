"""The SQL of the identity room: the functions for visitors, and what a person reads of their own account.

The first take a connection of the sign-in role, which may call these functions and nothing else; the second take
a `Scope`.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import AsyncCursor

from operalta.db.pools import Connection
from operalta.db.scope import Row, Scope
from operalta.identity.passwords import PasswordHash
from operalta.identity.rules import EmailAddress


@dataclass(frozen=True, slots=True)
class Credentials:
    """The account found, and what a password for it is compared with."""

    person_id: UUID
    password: PasswordHash


@dataclass(frozen=True, slots=True)
class SessionDigests:
    """What the database knows of a session's secrets: their SHA-256 digests."""

    refresh: bytes
    access: bytes


@dataclass(frozen=True, slots=True)
class FreshSession:
    """A session to start: its id, the digests of its secrets, and after how many days at most it ends."""

    id: UUID
    digests: SessionDigests
    longest_days: int


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks: the digest of the device's own secret, what the browser says of itself, the network address."""

    device: bytes
    user_agent: str
    address: str


# ── Accounts ──────────────────────────────────────────────────────────────────────────────────────────


async def sign_up(connection: Connection, address: EmailAddress, name: str, password: PasswordHash) -> None:
    """Keep a sign-up until its link is confirmed, or mail the address that it has an account."""
    await connection.execute(
        "SELECT signin.sign_up(%(email)s, %(key)s, %(name)s, %(scheme)s, %(pepper_version)s, %(hash)s)",
        {"email": address.display, "key": address.key, "name": name, **_columns(password)},
    )


async def confirm_address(connection: Connection, token: str) -> bool:
    """Make the account of a sign-up, or verify an address. False: the link does not hold."""
    cursor = await connection.execute("SELECT signin.confirm_address(%(token)s) AS done", {"token": token})
    return (await _only(cursor))["done"]


async def operator_link_holds(connection: Connection, token: str) -> bool:
    """Tell whether the operator's link may still be used."""
    cursor = await connection.execute("SELECT signin.operator_link_holds(%(token)s) AS holds", {"token": token})
    return (await _only(cursor))["holds"]


async def become_operator(
    connection: Connection, token: str, address: EmailAddress, name: str, password: PasswordHash
) -> UUID | None:
    """Make the operator's account. None: the link does not hold, or the address has an account."""
    cursor = await connection.execute(
        """
        SELECT signin.become_operator(%(token)s, %(email)s, %(key)s, %(name)s, %(scheme)s, %(pepper_version)s, %(hash)s)
            AS person_id
        """,
        {"token": token, "email": address.display, "key": address.key, "name": name, **_columns(password)},
    )
    return (await _only(cursor))["person_id"]


async def become_operator_signed_in(connection: Connection, token: str, session_secret: str) -> bool:
    """Make the session's person the operator. False: the link does not hold, or the session is dead."""
    cursor = await connection.execute(
        "SELECT signin.become_operator_signed_in(%(token)s, %(secret)s) AS done",
        {"token": token, "secret": session_secret},
    )
    return (await _only(cursor))["done"]


async def invitation(connection: Connection, token: str) -> Row | None:
    """Return what the addressee of an invitation may see before signing in. None: it does not hold."""
    cursor = await connection.execute(
        "SELECT company, role, email, inviter, has_account FROM signin.invitation(%(token)s)", {"token": token}
    )
    return await cursor.fetchone()


async def sign_up_invited(connection: Connection, token: str, name: str, password: PasswordHash) -> UUID | None:
    """Make an account on the invited address. None: the link does not hold, or the address has an account."""
    cursor = await connection.execute(
        "SELECT signin.sign_up_invited(%(token)s, %(name)s, %(scheme)s, %(pepper_version)s, %(hash)s) AS person_id",
        {"token": token, "name": name, **_columns(password)},
    )
    return (await _only(cursor))["person_id"]


# ── Passwords ─────────────────────────────────────────────────────────────────────────────────────────


async def knows_device(connection: Connection, email_key: str, device_digest: bytes) -> bool:
    """Tell whether the owner of an address has signed in on this device before."""
    cursor = await connection.execute(
        "SELECT signin.knows_device(%(key)s, %(device)s) AS known", {"key": email_key, "device": device_digest}
    )
    row = await cursor.fetchone()
    return bool(row and row["known"])


async def credentials(connection: Connection, email_key: str) -> Credentials | None:
    """Return what a password for this address is compared with. None: no such account, or a disabled one."""
    cursor = await connection.execute(
        "SELECT person_id, scheme, pepper_version, hash FROM signin.credentials(%(key)s)", {"key": email_key}
    )
    return _credentials(await cursor.fetchone())


async def credentials_of_session(connection: Connection, session_secret: str) -> Credentials | None:
    """Return what the present password of a session's person is compared with. None: the session is dead."""
    cursor = await connection.execute(
        "SELECT person_id, scheme, pepper_version, hash FROM signin.credentials_of_session(%(secret)s)",
        {"secret": session_secret},
    )
    return _credentials(await cursor.fetchone())


async def request_password_reset(connection: Connection, email_key: str) -> None:
    """Have a reset link mailed where the address has an account."""
    await connection.execute("SELECT signin.request_password_reset(%(key)s)", {"key": email_key})


async def reset_password(
    connection: Connection, token: str, password: PasswordHash, ticket: bytes, client: Client
) -> str:
    """Set a new password and end every session: done. Or second_factor (the ticket carries it), or spent."""
    cursor = await connection.execute(
        """
        SELECT signin.reset_password(%(token)s, %(scheme)s, %(pepper_version)s, %(hash)s, %(ticket)s, %(device)s,
            %(user_agent)s, %(address)s) AS outcome
        """,
        {"token": token, **_columns(password), "ticket": ticket, **_client(client)},
    )
    return (await _only(cursor))["outcome"]


async def finish_reset(connection: Connection, ticket: str, device: bytes) -> bool:
    """Set the password that a proved ticket carries. False: it is not proved, or ticket or link are used or late."""
    cursor = await connection.execute(
        "SELECT signin.finish_reset(%(ticket)s, %(device)s) AS done", {"ticket": ticket, "device": device}
    )
    return (await _only(cursor))["done"]


async def change_password(connection: Connection, session_secret: str, seen_hash: str, password: PasswordHash) -> str:
    """Set a new password and end every other session: done. Or unproved, or stale (something changed in between)."""
    cursor = await connection.execute(
        """
        SELECT signin.change_password(%(secret)s, %(seen_hash)s, %(scheme)s, %(pepper_version)s, %(hash)s) AS outcome
        """,
        {"secret": session_secret, "seen_hash": seen_hash, **_columns(password)},
    )
    return (await _only(cursor))["outcome"]


async def rehash(connection: Connection, person: UUID, seen_hash: str, password: PasswordHash) -> bool:
    """Keep the same password under a newer scheme, cost or pepper. False: it changed in between."""
    cursor = await connection.execute(
        "SELECT signin.rehash(%(person)s, %(seen_hash)s, %(scheme)s, %(pepper_version)s, %(hash)s) AS done",
        {"person": person, "seen_hash": seen_hash, **_columns(password)},
    )
    return (await _only(cursor))["done"]


async def must_prove(connection: Connection, session_secret: str) -> bool:
    """Tell whether the session has to prove a second factor before it changes the password."""
    cursor = await connection.execute("SELECT signin.must_prove(%(secret)s) AS must", {"secret": session_secret})
    return (await _only(cursor))["must"]


async def prove_password(connection: Connection, session_secret: str, seen_hash: str) -> bool:
    """Note that the session gave the right password again. False: session or password changed in between."""
    cursor = await connection.execute(
        "SELECT signin.prove_password(%(secret)s, %(seen_hash)s) AS done",
        {"secret": session_secret, "seen_hash": seen_hash},
    )
    return (await _only(cursor))["done"]


async def trust_device(connection: Connection, token: str, device: bytes) -> bool:
    """Let the device count apart from strangers' after a pause. False: the link does not hold."""
    cursor = await connection.execute(
        "SELECT signin.trust_device(%(token)s, %(device)s) AS done", {"token": token, "device": device}
    )
    return (await _only(cursor))["done"]


# ── Sessions ──────────────────────────────────────────────────────────────────────────────────────────


async def start_session(
    connection: Connection, person: UUID, seen_hash: str, fresh: FreshSession, ticket: bytes, client: Client
) -> str:
    """Start a session: started. Or second_factor (the ticket holds instead), or stale (the password changed)."""
    cursor = await connection.execute(
        """
        SELECT signin.start_session(%(person)s, %(seen_hash)s, %(session)s, %(refresh)s, %(access)s, %(device)s,
            %(user_agent)s, %(address)s, %(days)s, %(ticket)s) AS outcome
        """,
        {"person": person, "seen_hash": seen_hash, "ticket": ticket, **_fresh(fresh), **_client(client)},
    )
    return (await _only(cursor))["outcome"]


async def finish_sign_in(connection: Connection, ticket: str, device: bytes, fresh: FreshSession) -> UUID | None:
    """Turn a proved ticket into a session and return its person. None: it is not proved, used or late."""
    cursor = await connection.execute(
        """
        SELECT signin.finish_sign_in(%(ticket)s, %(device)s, %(session)s, %(refresh)s, %(access)s, %(days)s) AS person
        """,
        {"ticket": ticket, "device": device, **_fresh(fresh)},
    )
    return (await _only(cursor))["person"]


async def sign_in_with_passkey(
    connection: Connection, passkey: UUID, count: int, fresh: FreshSession, client: Client
) -> UUID | None:
    """Start a session for a passkey's owner and return them. None: it is gone, or its counter did not grow."""
    cursor = await connection.execute(
        """
        SELECT signin.sign_in_with_passkey(%(passkey)s, %(count)s, %(session)s, %(refresh)s, %(access)s, %(device)s,
            %(user_agent)s, %(address)s, %(days)s) AS person
        """,
        {"passkey": passkey, "count": count, **_fresh(fresh), **_client(client)},
    )
    return (await _only(cursor))["person"]


async def record_refusal(connection: Connection, email_key: str, user_agent: str, address: str) -> None:
    """Keep a refused sign-in in the history of the account, where there is one, and in the audit log."""
    await connection.execute(
        "SELECT signin.record_refusal(%(key)s, %(user_agent)s, %(address)s)",
        {"key": email_key, "user_agent": user_agent, "address": address},
    )


async def rotate_session(
    connection: Connection, session: UUID, presented: bytes, device: bytes, successor: SessionDigests
) -> Row:
    """Rotate a session under its row's lock. Return `outcome` (rotated, same, reused, ended) and `person_id`."""
    cursor = await connection.execute(
        """
        SELECT outcome, person_id
        FROM signin.rotate_session(%(session)s, %(presented)s, %(device)s, %(refresh)s, %(access)s)
        """,
        {
            "session": session,
            "presented": presented,
            "device": device,
            "refresh": successor.refresh,
            "access": successor.access,
        },
    )
    return await _only(cursor)


async def end_session(connection: Connection, session_secret: str) -> bool:
    """End the session of this access secret. False: it was dead."""
    cursor = await connection.execute("SELECT signin.end_session(%(secret)s) AS done", {"secret": session_secret})
    return (await _only(cursor))["done"]


# ── One's own account, read in a scope ────────────────────────────────────────────────────────────────


async def get_person(scope: Scope) -> Row | None:
    """Return the scope's own person."""
    return await scope.one(
        """
        SELECT id, email, name, is_operator, verified_at, created_at,
            is_operator OR EXISTS (SELECT FROM identity.staff AS own WHERE own.person_id = people.id) AS is_staff
        FROM identity.people WHERE id = %(person)s
        """,
        {"person": scope.actor.person_id},
    )


async def list_sessions(scope: Scope) -> list[Row]:
    """Return the person's live sessions, the one seen last first (at most 100)."""
    return await scope.all(
        """
        SELECT id, created_at, last_seen_at, user_agent, address, idle_expires_at, absolute_expires_at
        FROM identity.sessions
        WHERE person_id = %(person)s AND ended_at IS NULL AND idle_expires_at > now() AND absolute_expires_at > now()
        ORDER BY last_seen_at DESC, id LIMIT 100
        """,
        {"person": scope.actor.person_id},
    )


async def is_recently_proved(scope: Scope) -> bool:
    """Tell whether the scope's session has proved itself in the last ten minutes."""
    row = await scope.one("SELECT scope.recently_proved() AS proved")
    return row is not None and row["proved"]


async def password_changed_at(scope: Scope) -> datetime | None:
    """Return when the person's password was last set."""
    row = await scope.one("SELECT identity.own_password_changed_at() AS changed_at")
    return None if row is None else row["changed_at"]


async def end_sessions(scope: Scope, which: UUID | None) -> int:
    """End one of the person's sessions, or all others (None). Return how many ended."""
    row = await scope.one("SELECT identity.end_sessions(%(which)s) AS ended", {"which": which})
    return 0 if row is None else row["ended"]


async def list_sign_ins(scope: Scope, limit: int) -> list[Row]:
    """Return the person's latest sign-ins and refused attempts, the newest first."""
    return await scope.all(
        """
        SELECT at, outcome, user_agent, address FROM identity.sign_in_history
        WHERE person_id = %(person)s ORDER BY at DESC, id LIMIT %(limit)s
        """,
        {"person": scope.actor.person_id, "limit": limit},
    )


async def send_verification(scope: Scope) -> bool:
    """Mail the verification link of the person's address again. False: it is verified."""
    row = await scope.one("SELECT delivery.send_verification() AS sent")
    return row is not None and row["sent"]


async def _only(cursor: AsyncCursor[Row]) -> Row:
    row = await cursor.fetchone()
    if row is None:  # a function without SETOF always gives one row
        raise LookupError("the function gave no row")
    return row


def _columns(password: PasswordHash) -> dict[str, object]:
    return {"scheme": password.scheme, "pepper_version": password.pepper_version, "hash": password.value}


def _fresh(fresh: FreshSession) -> dict[str, object]:
    return {
        "session": fresh.id,
        "refresh": fresh.digests.refresh,
        "access": fresh.digests.access,
        "days": fresh.longest_days,
    }


def _client(client: Client) -> dict[str, object]:
    return {"device": client.device, "user_agent": client.user_agent, "address": client.address}


def _credentials(row: Row | None) -> Credentials | None:
    if row is None:
        return None
    return Credentials(row["person_id"], PasswordHash(row["scheme"], row["pepper_version"], row["hash"]))
