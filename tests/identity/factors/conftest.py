"""Second factors as `app` would wire them, people who have some, and what the sender would have sent."""

import hashlib
import secrets
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest
from pyotp.totp import TOTP

from operalta.guard.codes import code_digest, new_code
from operalta.identity.factors import store
from operalta.identity.factors.authenticators import AuthenticatorSecrets
from operalta.identity.factors.enrolment import Enrolment
from operalta.identity.factors.passkeys import Passkeys
from operalta.identity.factors.proving import Proving
from operalta.identity.factors.rules import Bearer, Purpose
from operalta.identity.sessions import SecondFactorNeeded, SignedIn
from operalta.sealing.keys import RootKey, RootKeys, new_root_key_text
from tests.identity.conftest import CLIENT, Identity

ORIGIN = "http://localhost:8080"


@dataclass(frozen=True)
class Person:
    """Somebody with a session, and what they have enrolled."""

    id: UUID
    email: str
    signed_in: SignedIn
    secret: str
    number: str


@dataclass(frozen=True)
class Factors:
    """The second factors of a deployment, and ways to arrange them."""

    identity: Identity
    proving: Proving
    enrolment: Enrolment
    passkeys: Passkeys
    code_key: bytes

    async def person(self) -> Person:
        email, person = await self.identity.person()
        signed_in = await self.identity.sign_in(email)
        number = f"+4179{secrets.randbelow(10**7):07d}"
        return Person(person, email, signed_in, self.identity.secret_of(signed_in), number)

    async def with_phone(self) -> Person:
        person = await self.person()
        await self.enrolment.send_code(person.secret, self.enrolment.number_to_enrol(person.number))
        await self.enrolment.confirm_phone(person.secret, self.deliver(person.id))
        return person

    async def with_authenticator(self, person: Person | None = None) -> tuple[Person, str]:
        """Somebody with an authenticator app, and its secret; the step of the first code is used up."""
        person = person or await self.person()
        waiting = await self.enrolment.begin_authenticator(person.secret, "Phone", person.email)
        await self.enrolment.confirm_authenticator(person.secret, TOTP(waiting.secret).now())
        return person, waiting.secret

    async def knock(self, person: Person, device: str | None = None) -> tuple[SecondFactorNeeded, Bearer]:
        """Give the right password, on a device of its own unless another is named; return the ticket and its bearer."""
        begun = await self.identity.begin(person.email, device=device)
        assert isinstance(begun, SecondFactorNeeded)
        return begun, Bearer.ticket(begun.ticket, begun.device_secret, Purpose.SIGN_IN)

    async def send(self, asking: Bearer, person: Person) -> str:
        """Have a code sent to the person's phone and return what arrives there."""
        await self.proving.send_code(asking, self.phone(person))
        return self.deliver(person.id)

    def phone(self, person: Person) -> UUID:
        return self.identity.rows("SELECT id FROM identity.phones WHERE person_id = %s", person.id)[0]["id"]

    def deliver(self, person: UUID) -> str:
        """Do what the sender does with the latest code of a person: make it, keep its digest, and return it."""
        row = self.identity.rows(
            "SELECT code.id, message.id AS message FROM identity.codes AS code JOIN delivery.messages AS message"
            " ON message.code_id = code.id WHERE code.person_id = %s ORDER BY code.created_at DESC LIMIT 1",
            person,
        )[0]
        code = new_code()
        with psycopg.connect(self.identity.job_dsn) as job:
            job.execute("SELECT FROM elevated.take_message(%s)", (row["message"],))
            job.execute(
                "SELECT elevated.attach_code(%s, %s)", (row["message"], code_digest(self.code_key, row["id"], code))
            )
        return code

    async def prove_by_code(self, asking: Bearer, code: str) -> None:
        await self.proving.by_code(asking, code, **CLIENT)

    async def try_code(self, asking: Bearer) -> store.TriedCode:
        """What happens below HTTP and below the service: the count alone."""
        async with self.identity.pools.signin.acquire() as connection, connection.transaction():
            return await store.try_code(connection, asking, "prove")

    async def accept(self, asking: Bearer, tried: store.TriedCode) -> bool:
        async with self.identity.pools.signin.acquire() as connection, connection.transaction():
            return await store.accept_code(connection, asking, tried)

    async def finish(self, begun: SecondFactorNeeded) -> SignedIn:
        return await self.identity.sessions.finish_sign_in(begun.ticket, begun.device_secret)

    def age(self, person: Person, days: float) -> None:
        """Let time pass for everything of a person that counts or expires."""
        for table, columns in AGEING.items():
            moved = ", ".join(f"{column} = {column} - make_interval(secs => %(by)s)" for column in columns)
            self.identity.owner.execute(
                f"UPDATE {table} SET {moved} WHERE person_id = %(person)s",  # noqa: S608 - names of this module  # pyright: ignore[reportArgumentType]
                {"by": days * 86_400, "person": person.id},
            )


AGEING = {
    "identity.sessions": (
        "created_at", "last_seen_at", "rotated_at", "idle_expires_at", "absolute_expires_at", "password_at",
        "second_factor_at",
    ),
    "identity.tickets": ("created_at", "expires_at", "proved_at"),
    "identity.codes": ("created_at", "expires_at", "used_at"),
    "identity.factor_attempts": ("at",),
    "identity.trusted_devices": ("at",),
    "delivery.messages": ("created_at",),
}  # fmt: skip


@pytest.fixture
def factors(identity: Identity) -> Factors:
    key = secrets.token_bytes(32)
    shared = AuthenticatorSecrets(RootKeys(RootKey.from_text(new_root_key_text())))
    pool = identity.pools.signin
    proving = Proving(pool, key, shared, {"CH", "DE"}.__contains__)
    enrolment = Enrolment(pool, proving, shared, key)
    return Factors(identity, proving, enrolment, Passkeys(pool, identity.sessions, enrolment, ORIGIN), key)


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
