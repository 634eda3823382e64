"""Sessions that the database's owner puts there, as if they had begun by signing in, with what opens each step."""

import secrets
from dataclasses import dataclass, field
from uuid import UUID

from operalta.db.errors import SessionEnded
from operalta.db.scope import Origin, open_person_scope
from operalta.identity.accounts import Accounts
from operalta.identity.passwords import PasswordHash
from operalta.identity.sessions import Sessions, SignedIn
from operalta.identity.tokens import derive_secret, digest, new_secret
from operalta.kernel.ids import SessionId, new_id
from tests.identity.conftest import Identity

DAY_SECONDS = 24 * 3600
IDLE_SECONDS = 7 * DAY_SECONDS


@dataclass(frozen=True)
class Held:
    """A session, the device that it was begun on, and the key from which the secrets of all its steps follow."""

    id: SessionId
    person: UUID
    device: str
    key: bytes = field(repr=False)

    def refresh_token(self, step: int) -> str:
        return f"{self.id.hex}.{step}.{derive_secret(self.key, 'refresh', self.id, step)}"

    def access_secret(self, step: int) -> str:
        return derive_secret(self.key, "access", self.id, step)


class Arranger:
    """The services of the identity room under a key that the test knows, and people and sessions for them."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._key = secrets.token_bytes(32)
        self.sessions = Sessions(identity.pools.signin, identity.hasher, identity.tokens, self._key)
        self.accounts = Accounts(identity.pools.signin, identity.hasher, self.sessions)

    def person(self, password: PasswordHash | None = None) -> UUID:
        """Somebody with a verified address, and with a password where one is given."""
        address = f"{secrets.token_hex(8)}@people.example"
        row = self._identity.rows(
            "INSERT INTO identity.people (email, email_key, name, verified_at) VALUES (%s, %s, 'Ada Example', now())"
            " RETURNING id",
            address,
            address,
        )[0]
        if password is not None:
            self._identity.owner.execute(
                "INSERT INTO identity.passwords (person_id, scheme, pepper_version, hash) VALUES (%s, %s, %s, %s)",
                (row["id"], password.scheme, password.pepper_version, password.value),
            )
        return row["id"]

    def session(self, person: UUID, *, longest_seconds: int = 90 * DAY_SECONDS) -> Held:
        """A session at its first step, on a device of its own."""
        held = Held(SessionId(new_id()), person, new_secret(), self._key)
        self._identity.owner.execute(
            """
            INSERT INTO identity.sessions (id, person_id, refresh_digest, access_digest, device_digest, user_agent,
                address, idle_expires_at, absolute_expires_at)
            VALUES (%s, %s, %s, %s, %s, 'test', '127.0.0.1', now() + make_interval(secs => %s),
                now() + make_interval(secs => %s))
            """,
            (
                held.id,
                person,
                digest(held.refresh_token(0)),
                digest(held.access_secret(0)),
                digest(held.device),
                IDLE_SECONDS,
                longest_seconds,
            ),
        )
        return held

    async def refresh(self, held: Held, step: int) -> SignedIn:
        """Present the refresh token of a step from the session's own device."""
        return await self.sessions.refresh(held.refresh_token(step), held.device)

    async def opens(self, access_secret: str) -> bool:
        """Tell whether an access secret opens a scope."""
        try:
            async with open_person_scope(self._identity.pools.web, access_secret, Origin()):
                return True
        except SessionEnded:
            return False
