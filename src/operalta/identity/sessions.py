"""Signing in, the step to a second factor, rotating a session, signing out.

A session has a refresh token, an access token and a device secret. The refresh token names its step: session id,
counter, and an authentication code under the deployment's refresh key. Each step's secrets follow from that key, so
refreshes that happen at the same time are given the same successor, and the database stores digests only.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from operalta.db.errors import SessionEnded
from operalta.db.pools import Connection, Pool
from operalta.guard.comparison import is_same_secret
from operalta.identity import store
from operalta.identity.errors import TicketOver, WrongCredentials
from operalta.identity.factors.rules import Purpose
from operalta.identity.passwords import PasswordHash, PasswordHasher
from operalta.identity.rules import EmailAddress, could_be_token, counted_address, email_address, one_line
from operalta.identity.tokens import ACCESS_SECONDS, AccessTokens, derive_secret, digest, new_secret
from operalta.kernel import clock
from operalta.kernel.errors import InvalidInput
from operalta.kernel.ids import PersonId, SessionId, new_id
from operalta.terms.registry import upholds

REFRESH_DAYS = 7
"""A session that nobody refreshes ends after this (the database decides; clause 2.3.3)."""
TICKET_MINUTES = 15
"""For so long a second factor may be proved (the database decides)."""

_REFRESH_TOKEN = re.compile(
    r"(?P<session>[0-9a-f]{32})\.(?P<counter>0|[1-9][0-9]{0,8})\.(?P<code>[A-Za-z0-9_-]{43})", re.ASCII
)
_LONGEST_USER_AGENT = 400
_LONGEST_NETWORK_ADDRESS = 64


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What the cookies of a session hold, and until when (UTC). Nothing of it is stored anywhere in plain."""

    person_id: PersonId
    session_id: SessionId
    access_token: str = field(repr=False)
    access_expires_at: datetime
    refresh_token: str = field(repr=False)
    refresh_expires_at: datetime
    device_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SecondFactorNeeded:
    """The password (or the reset's link) is right, and a second factor has to be proved before anything comes of it.

    `ticket` and `device_secret` go into cookies; until `expires_at` (UTC) the ticket can be proved on that device.
    """

    ticket: str = field(repr=False)
    device_secret: str = field(repr=False)
    purpose: Purpose
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class _Step:
    """One step in a session's life: its number and the secrets that follow from it."""

    session: SessionId
    counter: int
    refresh_token: str = field(repr=False)
    access_secret: str = field(repr=False)

    @property
    def digests(self) -> store.SessionDigests:
        """What the database may know of it."""
        return store.SessionDigests(digest(self.refresh_token), digest(self.access_secret))


class Sessions:
    """Starts, rotates and ends sessions.

    `signin_pool` is the sign-in role's, `refresh_key` has at least 32 bytes and is in no backup of the database.
    `longest_days` after its start a session ends, however often it is refreshed.
    """

    def __init__(
        self,
        signin_pool: Pool,
        hasher: PasswordHasher,
        token_issuer: AccessTokens,
        refresh_key: bytes,
        longest_days: int = 90,
    ) -> None:
        self._pool = signin_pool
        self._hasher = hasher
        self._tokens = token_issuer
        self._refresh_key = refresh_key
        self._longest_days = longest_days

    @upholds("2.2.3", "2.3.1", "7.3.2")
    async def sign_in(
        self, email: str, password: str, *, device_secret: str | None, user_agent: str, address: str
    ) -> SignedIn | SecondFactorNeeded:
        """Start a session, or, for somebody with a second factor, the way to one.

        Raise WrongCredentials, with the same work done, whatever of the two is not right. `device_secret` is what the
        device kept from before, if anything; `user_agent` and `address` go into the sign-in history, the session list
        and the audit log.
        """
        typed = _address_or_none(email)
        key = "" if typed is None else typed.key
        async with self._pool.acquire() as connection, connection.transaction():
            found = await store.credentials(connection, key)
        verdict = await self._hasher.verify(password, None if found is None else found.password)
        if found is None or not verdict.matches:
            await self._record_refusal(key, user_agent, address)
            raise WrongCredentials
        renewed = await self._hasher.hash(password) if verdict.needs_rehash else None
        async with self._pool.acquire() as connection, connection.transaction():
            seen = found.password
            if renewed is not None and await store.rehash(connection, found.person_id, seen.value, renewed):
                seen = renewed
            begun = await self.start(
                connection,
                found.person_id,
                seen,
                device_secret=device_secret,
                user_agent=user_agent,
                address=address,
            )
        if begun is None:
            raise WrongCredentials
        return begun

    async def start(
        self,
        connection: Connection,
        person: UUID,
        password: PasswordHash,
        *,
        device_secret: str | None,
        user_agent: str,
        address: str,
    ) -> SignedIn | SecondFactorNeeded | None:
        """Start a session for a person whose password is known to be `password`. None: it changed in between."""
        device = known_or_new_device(device_secret)
        ticket = new_secret()
        step = self._step(SessionId(new_id()), 0)
        outcome = await store.start_session(
            connection,
            person,
            password.value,
            self._fresh(step),
            digest(ticket),
            client_of(device, user_agent, address),
        )
        match outcome:
            case "started":
                return self._signed_in(PersonId(person), step, device)
            case "second_factor":
                return second_factor_needed(ticket, device, Purpose.SIGN_IN)
            case _:
                return None

    @upholds("2.2.3", "2.2.4")
    async def finish_sign_in(self, ticket: str, device_secret: str) -> SignedIn:
        """Start the session of a ticket whose second factor has been proved. Raise TicketOver."""
        step = self._step(SessionId(new_id()), 0)
        async with self._pool.acquire() as connection, connection.transaction():
            person = await store.finish_sign_in(connection, ticket, digest(device_secret), self._fresh(step))
        if person is None:
            raise TicketOver
        return self._signed_in(PersonId(person), step, device_secret)

    async def start_with_passkey(
        self, passkey: UUID, count: int, *, device_secret: str, user_agent: str, address: str
    ) -> SignedIn | None:
        """Start a session for the owner of a passkey that has just answered. None: it is gone or was copied."""
        step = self._step(SessionId(new_id()), 0)
        client = client_of(device_secret, user_agent, address)
        async with self._pool.acquire() as connection, connection.transaction():
            person = await store.sign_in_with_passkey(connection, passkey, count, self._fresh(step), client)
        return None if person is None else self._signed_in(PersonId(person), step, device_secret)

    @upholds("2.3.1", "2.3.3", "3.2.1")
    async def counted_as(self, email: str, device_secret: str | None) -> str:
        """Return the spelling under which a sign-in is counted: the address, or the address on a device it knows.

        With one budget for both, somebody who keeps guessing would keep the owner out.
        """
        counted = counted_address(email)
        if device_secret is None or not could_be_token(device_secret):
            return counted
        async with self._pool.acquire() as connection, connection.transaction():
            known = await store.knows_device(connection, counted, digest(device_secret))
        return f"{counted} on {digest(device_secret).hex()}" if known else counted

    async def refresh(self, refresh_token: str, device_secret: str | None) -> SignedIn:
        """Rotate a session and return its next tokens. Raise SessionEnded where there are none to be had.

        Refreshes of one device within ten seconds of each other are given the same successor. An older token, or
        one that another device presents, ends the whole session.
        """
        present = self._authentic_step(refresh_token)
        successor = self._step(present.session, present.counter + 1)
        device = device_secret or ""
        async with self._pool.acquire() as connection, connection.transaction():
            row = await store.rotate_session(
                connection, present.session, digest(present.refresh_token), digest(device), successor.digests
            )
        # Raised only now: what ended the session must be committed.
        if row["outcome"] not in {"rotated", "same"}:
            raise SessionEnded
        return self._signed_in(PersonId(row["person_id"]), successor, device)

    async def sign_out(self, access_secret: str) -> bool:
        """End the session of this access secret (the claim `sec` of an access token). False: it was over."""
        if not could_be_token(access_secret):
            return False
        async with self._pool.acquire() as connection, connection.transaction():
            return await store.end_session(connection, access_secret)

    def _authentic_step(self, refresh_token: str) -> _Step:
        """Return the step that a refresh token names, once its code is found to be ours."""
        parts = _REFRESH_TOKEN.fullmatch(refresh_token)
        if parts is None:
            raise SessionEnded
        step = self._step(SessionId(UUID(hex=parts["session"])), int(parts["counter"]))
        if not is_same_secret(refresh_token, step.refresh_token):
            raise SessionEnded
        return step

    def _fresh(self, step: _Step) -> store.FreshSession:
        return store.FreshSession(step.session, step.digests, self._longest_days)

    def _step(self, session: SessionId, counter: int) -> _Step:
        code = derive_secret(self._refresh_key, "refresh", session, counter)
        return _Step(
            session=session,
            counter=counter,
            refresh_token=f"{session.hex}.{counter}.{code}",
            access_secret=derive_secret(self._refresh_key, "access", session, counter),
        )

    def _signed_in(self, person: PersonId, step: _Step, device: str) -> SignedIn:
        now = clock.now()
        return SignedIn(
            person_id=person,
            session_id=step.session,
            access_token=self._tokens.issue_access(
                person=person, session=step.session, session_secret=step.access_secret
            ),
            access_expires_at=now + timedelta(seconds=ACCESS_SECONDS),
            refresh_token=step.refresh_token,
            refresh_expires_at=now + timedelta(days=REFRESH_DAYS),
            device_secret=device,
        )

    async def _record_refusal(self, key: str, user_agent: str, address: str) -> None:
        client = client_of("", user_agent, address)
        async with self._pool.acquire() as connection, connection.transaction():
            await store.record_refusal(connection, key, client.user_agent, client.address)


def known_or_new_device(device_secret: str | None) -> str:
    """Return what the device kept from before, or a fresh secret for it."""
    return device_secret if device_secret is not None and could_be_token(device_secret) else new_secret()


def client_of(device_secret: str, user_agent: str, address: str) -> store.Client:
    """Return what is kept of a client: its device's digest, and one line each of what it says and where it is."""
    return store.Client(
        digest(device_secret),
        one_line(user_agent, _LONGEST_USER_AGENT),
        one_line(address, _LONGEST_NETWORK_ADDRESS),
    )


def second_factor_needed(ticket: str, device_secret: str, purpose: Purpose) -> SecondFactorNeeded:
    """Return what a ticket that was just made is told as."""
    return SecondFactorNeeded(ticket, device_secret, purpose, clock.now() + timedelta(minutes=TICKET_MINUTES))


def _address_or_none(email: str) -> EmailAddress | None:
    try:
        return email_address(email)
    except InvalidInput:
        return None
