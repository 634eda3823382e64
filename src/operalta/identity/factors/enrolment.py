"""Adding and removing second factors. Every step needs a session that proved itself in the last ten minutes."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from operalta.db.errors import SessionEnded
from operalta.db.pools import Pool
from operalta.db.scope import Scope
from operalta.guard.phone_numbers import PhoneNumber
from operalta.identity.errors import (
    CannotEnrol,
    NoSuchFactor,
    NotProved,
    SendingPaused,
    TooManyCodes,
    WrongCode,
)
from operalta.identity.factors import store
from operalta.identity.factors.authenticators import AuthenticatorSecrets
from operalta.identity.factors.proving import Proving
from operalta.identity.factors.rules import (
    Bearer,
    WayKind,
    authenticator_address,
    matching_step,
    new_authenticator_secret,
    new_recovery_codes,
    recovery_digest,
)
from operalta.identity.rules import person_name
from operalta.identity.step_up import is_recently_proved
from operalta.kernel import clock
from operalta.kernel.ids import new_id
from operalta.terms.registry import upholds


@dataclass(frozen=True, slots=True)
class Factor:
    """A second factor that one has. `label` is a phone number or a name; times are in UTC."""

    id: UUID
    kind: WayKind
    label: str
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class OwnFactors:
    """Everything that one can prove oneself by, and whether this session did so in the last ten minutes."""

    factors: tuple[Factor, ...]
    recovery_codes_left: int
    recently_proved: bool


@dataclass(frozen=True, slots=True)
class WaitingAuthenticator:
    """An app that becomes a factor with its first right code. `secret` (base32) is shown until then, never after."""

    id: UUID
    secret: str = field(repr=False)
    address: str = field(repr=False)


class Enrolment:
    """Adds and removes the factors of a session's person, with the sign-in role's pool and the keys of `Proving`."""

    def __init__(
        self,
        signin_pool: Pool,
        proving: Proving,
        secrets: AuthenticatorSecrets,
        code_key: bytes,
    ) -> None:
        self._pool = signin_pool
        self._proving = proving
        self._secrets = secrets
        self._code_key = code_key

    @property
    def offers_sms(self) -> bool:
        """Whether codes by SMS can be had here at all."""
        return self._proving.offers_sms

    # ── Phones ────────────────────────────────────────────────────────────────────────────────────────

    def number_to_enrol(self, typed: str) -> PhoneNumber:
        """Return the number as it will be kept and counted. Raise as `Proving.served` does."""
        return self._proving.served(typed)

    async def require_sendable(self, session_secret: str, number: PhoneNumber) -> None:
        """Raise what `send_code` would, and send nothing."""
        async with self._pool.acquire() as connection, connection.transaction():
            verdict = await store.may_enrol_phone(connection, session_secret, number.e164, number.country)
        _require(verdict)

    @upholds("2.2.1", "2.2.3")
    async def send_code(self, session_secret: str, number: PhoneNumber) -> None:
        """Send a code to a number that is to become a factor.

        Raise NotProved, CannotEnrol, TooManyCodes (a person a day, a number in five minutes), or SendingPaused: most
        people who ask for codes to that country never use them, which is how somebody earns on messages that we pay
        for.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            verdict = await store.send_enrolment_code(connection, session_secret, number.e164, number.country)
        _require(verdict)

    async def confirm_phone(self, session_secret: str, code: str) -> tuple[str, ...]:
        """Make the number a factor with the code sent to it; return recovery codes where there are none.

        Raise NotProved or WrongCode.
        """
        await self.require_proof(session_secret)
        await self._proving.by_enrolment_code(session_secret, code)
        return await self.first_recovery_codes(session_secret)

    # ── Authenticator apps ────────────────────────────────────────────────────────────────────────────

    @upholds("2.2.3")
    async def begin_authenticator(self, session_secret: str, name: str, account: str) -> WaitingAuthenticator:
        """Return a fresh secret for an app, to be confirmed within the hour. Raise NotProved or CannotEnrol.

        `account` is what the app calls it, such as the person's address.
        """
        clean = person_name(name)
        await self.require_proof(session_secret)
        app, secret = new_id(), new_authenticator_secret()
        async with self._pool.acquire() as connection, connection.transaction():
            kept = await store.add_authenticator(
                connection, session_secret, app, clean, self._secrets.seal(app, secret)
            )
        if not kept:
            raise CannotEnrol
        return WaitingAuthenticator(app, secret, authenticator_address(secret, account))

    async def waiting_authenticator(self, session_secret: str, account: str) -> WaitingAuthenticator:
        """Return the app that waits for its first code, so that its QR code can be shown again. Raise NoSuchFactor."""
        async with self._pool.acquire() as connection, connection.transaction():
            row = await store.waiting_authenticator(connection, session_secret)
        if row is None:
            raise NoSuchFactor
        secret = self._secrets.open(row["id"], row["sealed"])
        return WaitingAuthenticator(row["id"], secret, authenticator_address(secret, account))

    async def confirm_authenticator(self, session_secret: str, code: str) -> tuple[str, ...]:
        """Make the waiting app a factor with its first code; return recovery codes where there are none.

        Raise NotProved, NoSuchFactor or WrongCode.
        """
        await self.require_proof(session_secret)
        waiting = await self.waiting_authenticator(session_secret, "")
        step = matching_step(waiting.secret, code, clock.unix_seconds(), 0)
        if step is None:
            raise WrongCode("This code is not right. Check that the clocks of both devices are.", field="code")
        async with self._pool.acquire() as connection, connection.transaction():
            done = await store.confirm_authenticator(connection, session_secret, waiting.id, step)
        if not done:
            raise NoSuchFactor
        return await self.first_recovery_codes(session_secret)

    # ── Any factor ────────────────────────────────────────────────────────────────────────────────────

    @upholds("2.2.3")
    async def remove(self, session_secret: str, factor: UUID) -> None:
        """Remove a factor; the recovery codes go with the last one. Raise NotProved or NoSuchFactor."""
        await self.require_proof(session_secret)
        async with self._pool.acquire() as connection, connection.transaction():
            removed = await store.remove_factor(connection, session_secret, factor)
        if not removed:
            raise NoSuchFactor

    @upholds("2.2.3")
    async def replace_recovery_codes(self, session_secret: str) -> tuple[str, ...]:
        """Return fresh recovery codes, which nobody can be shown again; earlier ones are void.

        Raise NotProved, or NoSuchFactor where there is nothing they could stand in for.
        """
        await self.require_proof(session_secret)
        codes = new_recovery_codes()
        digests = [digest for code in codes if (digest := recovery_digest(self._code_key, code)) is not None]
        async with self._pool.acquire() as connection, connection.transaction():
            replaced = await store.replace_recovery_codes(connection, session_secret, digests)
        if not replaced:
            raise NoSuchFactor
        return codes

    async def first_recovery_codes(self, session_secret: str) -> tuple[str, ...]:
        """Return fresh recovery codes where the person has none, and nothing where there are some."""
        async with self._pool.acquire() as connection, connection.transaction():
            ways = await store.ways(connection, Bearer.session(session_secret))
        if any(way["way"] == WayKind.RECOVERY_CODE for way in ways):
            return ()
        return await self.replace_recovery_codes(session_secret)

    async def require_proof(self, session_secret: str) -> None:
        """Raise NotProved unless the session proved itself in the last ten minutes, SessionEnded where it is over."""
        async with self._pool.acquire() as connection, connection.transaction():
            proved = await store.is_proved(connection, session_secret)
        if proved is None:
            raise SessionEnded
        if not proved:
            raise NotProved


async def own_factors(scope: Scope) -> OwnFactors:
    """Return the factors of the scope's person."""
    rows = await store.own_factors(scope)
    return OwnFactors(
        tuple(
            Factor(row["id"], WayKind(row["way"]), row["label"], row["created_at"], row["last_used_at"]) for row in rows
        ),
        await store.recovery_codes_left(scope),
        await is_recently_proved(scope),
    )


def _require(verdict: str) -> None:
    """Raise what the database's word for a refused sending stands for."""
    match verdict:
        case "sent" | "yes":
            return
        case "taken":
            raise CannotEnrol
        case "enough":
            raise TooManyCodes
        case "pumped":
            raise SendingPaused
        case _:
            raise NotProved
