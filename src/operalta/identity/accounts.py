"""Opening an account, proving its address, and its password: the use-cases of visitors.

Whoever asks learns nothing about whether an address has an account (clause 7.3.2): the answer is the same, and so
is the work that shows in its time. What differs arrives by mail.
"""

from dataclasses import dataclass

from operalta.access.rules import Role
from operalta.db.errors import SessionEnded
from operalta.db.pools import Pool
from operalta.identity import store
from operalta.identity.errors import (
    AddressHasAccount,
    LinkSpent,
    NotProved,
    SignUpClosed,
    TicketOver,
    WrongPassword,
)
from operalta.identity.factors.rules import Purpose
from operalta.identity.passwords import PasswordHash, PasswordHasher
from operalta.identity.rules import could_be_token, email_address, person_name
from operalta.identity.sessions import (
    SecondFactorNeeded,
    Sessions,
    SignedIn,
    client_of,
    known_or_new_device,
    second_factor_needed,
)
from operalta.identity.tokens import digest, new_secret
from operalta.terms.registry import upholds


@dataclass(frozen=True, slots=True)
class PendingInvitation:
    """What the addressee of an invitation sees before signing in. `inviter` and `company` are names."""

    company: str
    role: Role
    email: str
    inviter: str
    has_account: bool


class Accounts:
    """Accounts, as visitors reach them through the sign-in role.

    `sessions` starts the session that an account begins with; `sign_up_is_open` False leaves invitations and the
    operator's link as the only ways in.
    """

    def __init__(
        self, signin_pool: Pool, hasher: PasswordHasher, sessions: Sessions, *, sign_up_is_open: bool = True
    ) -> None:
        self._pool = signin_pool
        self._hasher = hasher
        self._sessions = sessions
        self._sign_up_is_open = sign_up_is_open

    @upholds("7.3.2")
    async def sign_up(self, email: str, name: str, password: str) -> None:
        """Keep a sign-up until the link that is mailed to its address is opened.

        Where the address has an account, its owner is told by mail instead. Raise InvalidInput for what cannot be
        used, which depends on what was typed alone; SignUpClosed where sign-up is closed.
        """
        if not self._sign_up_is_open:
            raise SignUpClosed
        address, clean_name = email_address(email), person_name(name)
        hashed = await self._hash_new(password, email, clean_name)
        async with self._pool.acquire() as connection, connection.transaction():
            await store.sign_up(connection, address, clean_name, hashed)

    async def confirm_address(self, token: str) -> bool:
        """Open the account of a sign-up, or verify an address. False: the link is used, expired or not ours."""
        if not could_be_token(token):
            return False
        async with self._pool.acquire() as connection, connection.transaction():
            return await store.confirm_address(connection, token)

    # ── The password ──────────────────────────────────────────────────────────────────────────────────

    @upholds("7.3.2")
    async def request_password_reset(self, email: str) -> None:
        """Have a reset link mailed to the address, if it has an account; the caller cannot tell."""
        address = email_address(email)
        async with self._pool.acquire() as connection, connection.transaction():
            await store.request_password_reset(connection, address.key)

    @upholds("2.2.3", "2.3.4")
    async def reset_password(
        self, token: str, new_password: str, *, device_secret: str | None, user_agent: str, address: str
    ) -> SecondFactorNeeded | None:
        """Set a new password with a mailed link, and end every session. Raise LinkSpent or InvalidInput.

        Where the account has a second factor, nothing changes yet: the ticket carries the new password, and the link
        stays, until one is proved (`finish_reset`).
        """
        if not could_be_token(token):
            raise LinkSpent
        hashed = await self._hash_new(new_password)
        ticket, device = new_secret(), known_or_new_device(device_secret)
        async with self._pool.acquire() as connection, connection.transaction():
            outcome = await store.reset_password(
                connection, token, hashed, digest(ticket), client_of(device, user_agent, address)
            )
        match outcome:
            case "done":
                return None
            case "second_factor":
                return second_factor_needed(ticket, device, Purpose.RESET_PASSWORD)
            case _:
                raise LinkSpent

    @upholds("2.2.3", "2.3.4")
    async def finish_reset(self, ticket: str, device_secret: str) -> None:
        """Set the password of a reset whose second factor has been proved. Raise TicketOver."""
        async with self._pool.acquire() as connection, connection.transaction():
            done = await store.finish_reset(connection, ticket, digest(device_secret))
        if not done:
            raise TicketOver

    @upholds("2.2.3", "2.3.4")
    async def change_password(self, session_secret: str, current: str, new_password: str) -> None:
        """Set a new password and end every session but this one, at once.

        Raise SessionEnded, WrongPassword, NotProved (a second factor must be proved first), or InvalidInput where the
        new one cannot be used.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            if await store.must_prove(connection, session_secret):
                raise NotProved
        found = await self._check_present(session_secret, current)
        hashed = await self._hash_new(new_password)
        async with self._pool.acquire() as connection, connection.transaction():
            outcome = await store.change_password(connection, session_secret, found.password.value, hashed)
        if outcome == "unproved":
            raise NotProved
        if outcome != "done":
            raise SessionEnded

    async def prove_password(self, session_secret: str, current: str) -> None:
        """Note that the session's person gave the right password again. Raise SessionEnded or WrongPassword."""
        found = await self._check_present(session_secret, current)
        async with self._pool.acquire() as connection, connection.transaction():
            done = await store.prove_password(connection, session_secret, found.password.value)
        if not done:
            raise SessionEnded

    async def trust_device(self, token: str, device_secret: str) -> None:
        """Lift a pause of codes for this device, with the mailed link. Raise LinkSpent."""
        if not could_be_token(token):
            raise LinkSpent
        async with self._pool.acquire() as connection, connection.transaction():
            done = await store.trust_device(connection, token, digest(device_secret))
        if not done:
            raise LinkSpent

    async def _check_present(self, session_secret: str, current: str) -> store.Credentials:
        """Return the credentials of a session's person once `current` was found to be their password."""
        if not could_be_token(session_secret):
            raise SessionEnded
        async with self._pool.acquire() as connection, connection.transaction():
            found = await store.credentials_of_session(connection, session_secret)
        if found is None:
            raise SessionEnded
        if not (await self._hasher.verify(current, found.password)).matches:
            raise WrongPassword
        return found

    # ── The operator's link ───────────────────────────────────────────────────────────────────────────

    async def operator_link_holds(self, token: str) -> bool:
        """Tell whether the operator's link may still be used."""
        if not could_be_token(token):
            return False
        async with self._pool.acquire() as connection, connection.transaction():
            return await store.operator_link_holds(connection, token)

    async def become_operator(
        self,
        token: str,
        email: str,
        name: str,
        password: str,
        *,
        device_secret: str | None,
        user_agent: str,
        address: str,
    ) -> SignedIn:
        """Make the operator's account with the link and sign it in; a link to verify its address is mailed.

        Raise LinkSpent, or AddressHasAccount (the link still holds then), or InvalidInput.
        """
        mail_address, clean_name = email_address(email), person_name(name)
        if not await self.operator_link_holds(token):
            raise LinkSpent
        hashed = await self._hash_new(password, email, clean_name)
        async with self._pool.acquire() as connection, connection.transaction():
            person = await store.become_operator(connection, token, mail_address, clean_name, hashed)
            if person is None:
                raise AddressHasAccount if await store.operator_link_holds(connection, token) else LinkSpent
            signed_in = await self._sessions.start(
                connection, person, hashed, device_secret=device_secret, user_agent=user_agent, address=address
            )
        if not isinstance(signed_in, SignedIn):
            raise SessionEnded
        return signed_in

    async def become_operator_signed_in(self, token: str, session_secret: str) -> None:
        """Make the session's person the operator. Raise LinkSpent where the link or the session does not hold."""
        if not (could_be_token(token) and could_be_token(session_secret)):
            raise LinkSpent
        async with self._pool.acquire() as connection, connection.transaction():
            done = await store.become_operator_signed_in(connection, token, session_secret)
        if not done:
            raise LinkSpent

    # ── Invitations ───────────────────────────────────────────────────────────────────────────────────

    async def invitation(self, token: str) -> PendingInvitation:
        """Return what an invitation's link stands for. Raise LinkSpent where it holds no longer."""
        if not could_be_token(token):
            raise LinkSpent
        async with self._pool.acquire() as connection, connection.transaction():
            row = await store.invitation(connection, token)
        if row is None:
            raise LinkSpent
        return PendingInvitation(row["company"], Role(row["role"]), row["email"], row["inviter"], row["has_account"])

    @upholds("2.5.4")
    async def sign_up_invited(
        self, token: str, name: str, password: str, *, device_secret: str | None, user_agent: str, address: str
    ) -> SignedIn:
        """Make an account on the invited address, which the link proves, and sign it in. It joins by accepting.

        Raise LinkSpent, AddressHasAccount, or InvalidInput.
        """
        clean_name = person_name(name)
        invited = await self.invitation(token)
        if invited.has_account:
            raise AddressHasAccount
        hashed = await self._hash_new(password, invited.email, clean_name)
        async with self._pool.acquire() as connection, connection.transaction():
            person = await store.sign_up_invited(connection, token, clean_name, hashed)
            if person is None:
                raise LinkSpent
            signed_in = await self._sessions.start(
                connection, person, hashed, device_secret=device_secret, user_agent=user_agent, address=address
            )
        if not isinstance(signed_in, SignedIn):
            raise SessionEnded
        return signed_in

    @upholds("2.1.1", "2.1.2")
    async def _hash_new(self, password: str, *about_the_person: str) -> PasswordHash:
        await self._hasher.check_choice(password, about_the_person)
        return await self._hasher.hash(password)
