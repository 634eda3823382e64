"""Proving a second factor by a code: sent by SMS, made by an authenticator app, or kept on paper.

Every try that could be a guess is counted, and the count committed, before anything is compared.
"""

from collections.abc import Callable
from uuid import UUID

from operalta.db.pools import Pool
from operalta.guard.codes import code_digest, typed_code
from operalta.guard.comparison import is_same_secret
from operalta.guard.phone_numbers import NO_COUNTRY, PhoneNumber, phone_number
from operalta.identity.errors import (
    CountryNotServed,
    NoSuchFactor,
    NotAMobileNumber,
    SmsNotOffered,
    TicketOver,
    TooManyCodes,
    WayPaused,
    WrongCode,
)
from operalta.identity.factors import store
from operalta.identity.factors.authenticators import AuthenticatorSecrets
from operalta.identity.factors.rules import Bearer, Way, WayKind, matching_step, recovery_digest
from operalta.identity.rules import one_line
from operalta.kernel import clock
from operalta.terms.registry import upholds

_LONGEST_USER_AGENT = 400
_LONGEST_NETWORK_ADDRESS = 64


class Proving:
    """How a bearer proves a second factor by a code.

    `signin_pool` is the sign-in role's; `code_key` keys the digests of codes by SMS and on paper, `secrets` opens
    those that are shared with apps. `serves_country` tells whether codes may be sent to a country (ISO 3166-1
    alpha-2); None where none are sent.
    """

    def __init__(
        self,
        signin_pool: Pool,
        code_key: bytes,
        secrets: AuthenticatorSecrets,
        serves_country: Callable[[str], bool] | None,
    ) -> None:
        self._pool = signin_pool
        self._code_key = code_key
        self._secrets = secrets
        self._serves_country = serves_country

    @property
    def offers_sms(self) -> bool:
        """Whether codes by SMS can be had here at all."""
        return self._serves_country is not None

    def served(self, typed: str) -> PhoneNumber:
        """Return a number that codes are sent to.

        Raise SmsNotOffered, PhoneNotInternational, NotAMobileNumber or CountryNotServed.
        """
        if self._serves_country is None:
            raise SmsNotOffered
        number = phone_number(typed)
        if not number.may_be_mobile:
            raise NotAMobileNumber(field="phone")
        if number.country == NO_COUNTRY or not self._serves_country(number.country):
            raise CountryNotServed(field="phone")
        return number

    async def counted_as(self, asking: Bearer) -> str:
        """Return the identity under which a bearer's tries are counted. Raise TicketOver for none.

        It is the person, or the person on a device that the account knows: with one budget for both, whoever has
        the password could keep its owner out.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            row = await store.bearer(connection, asking)
        if row is None or row["purpose"] != asking.purpose:
            raise TicketOver
        person = f"person:{row['person_id']}"
        return f"{person} on {row['on_device'].hex()}" if row["known"] else person

    @upholds("2.2.3")
    async def ways(self, asking: Bearer) -> tuple[Way, ...]:
        """Return the ways that are open to a bearer; none for somebody without a second factor."""
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await store.ways(connection, asking)
        return tuple(Way(row["id"], WayKind(row["way"]), row["label"], row["paused"]) for row in rows)

    async def number_of(self, asking: Bearer, phone: UUID) -> str:
        """Return the number of one of the bearer's phones, by which sending is counted. Raise NoSuchFactor."""
        async with self._pool.acquire() as connection, connection.transaction():
            number = await store.phone_number(connection, asking, phone)
        if number is None:
            raise NoSuchFactor
        return number

    @upholds("2.2.1", "2.2.4")
    async def send_code(self, asking: Bearer, phone: UUID) -> None:
        """Have a code sent to one of the bearer's phones; an earlier one is void.

        The sender makes the code, after this has answered; here nobody knows it. Raise WayPaused, TooManyCodes,
        NoSuchFactor, SmsNotOffered or CountryNotServed.
        """
        country = self.served(await self.number_of(asking, phone)).country
        async with self._pool.acquire() as connection, connection.transaction():
            outcome = await store.send_code(connection, asking, phone, country)
        match outcome:
            case "sent":
                return
            case "paused":
                raise WayPaused
            case "enough":
                raise TooManyCodes
            case _:
                raise NoSuchFactor

    @upholds("2.2.2", "2.2.4", "3.1.4")
    async def by_code(self, asking: Bearer, typed: str, *, user_agent: str, address: str) -> None:
        """Prove the factor by a code that was sent by SMS. Raise WrongCode or WayPaused."""
        tried = await self._try_code(asking, "prove")
        if not self._fits(tried, typed) or not await self._accept(asking, tried):
            await self._refuse(asking, WayKind.PHONE, user_agent, address)

    async def by_enrolment_code(self, session_secret: str, typed: str) -> None:
        """Make the number a factor whose code this is. Raise WrongCode."""
        asking = Bearer.session(session_secret)
        tried = await self._try_code(asking, "enrol_phone")
        if not self._fits(tried, typed) or not await self._accept(asking, tried):
            raise WrongCode(field="code")

    @upholds("2.2.4")
    async def by_authenticator(self, asking: Bearer, typed: str, *, user_agent: str, address: str) -> None:
        """Prove the factor by the code of an authenticator app; each holds once. Raise WrongCode or WayPaused."""
        async with self._pool.acquire() as connection, connection.transaction():
            apps = await store.try_authenticator(connection, asking)
        if any(app["paused"] for app in apps):
            raise WayPaused
        now = clock.unix_seconds()
        for app in apps:
            step = matching_step(self._secrets.open(app["id"], app["sealed"]), typed, now, app["last_step"])
            if step is None:
                continue
            async with self._pool.acquire() as connection, connection.transaction():
                if await store.accept_authenticator(connection, asking, app["id"], step, app["attempt_id"]):
                    return
        await self._refuse(asking, WayKind.AUTHENTICATOR, user_agent, address)

    async def by_recovery_code(self, asking: Bearer, typed: str, *, user_agent: str, address: str) -> None:
        """Prove the factor by a recovery code, which is used up. Raise WrongCode."""
        digest = recovery_digest(self._code_key, typed)
        if digest is not None:
            async with self._pool.acquire() as connection, connection.transaction():
                if await store.use_recovery_code(connection, asking, digest):
                    return
        await self._refuse(asking, WayKind.RECOVERY_CODE, user_agent, address)

    async def _try_code(self, asking: Bearer, wanted: str) -> store.TriedCode:
        async with self._pool.acquire() as connection, connection.transaction():
            tried = await store.try_code(connection, asking, wanted)
        if tried.outcome == "paused":
            raise WayPaused
        return tried

    @upholds("3.2.1")
    def _fits(self, tried: store.TriedCode, typed: str) -> bool:
        """Tell whether this is the code. Only the digest is known, so it is made of what was typed and compared."""
        if tried.code_id is None or tried.digest is None:
            return False
        return is_same_secret(code_digest(self._code_key, tried.code_id, typed_code(typed) or ""), tried.digest)

    async def _accept(self, asking: Bearer, tried: store.TriedCode) -> bool:
        async with self._pool.acquire() as connection, connection.transaction():
            return await store.accept_code(connection, asking, tried)

    async def _refuse(self, asking: Bearer, way: WayKind, user_agent: str, address: str) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            await store.record_wrong_code(
                connection,
                asking,
                way.value,
                one_line(user_agent, _LONGEST_USER_AGENT),
                one_line(address, _LONGEST_NETWORK_ADDRESS),
            )
        raise WrongCode(field="code")
