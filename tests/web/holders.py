"""People with a password and second factors, as clients of the API; what would be sent to them is caught here."""

import asyncio
import hashlib
import secrets
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from pyotp.totp import TOTP

from operalta.guard.codes import code_digest, new_code
from operalta.identity.passwords import PasswordHash, PasswordHasher
from operalta.settings import DatabaseRole, Settings
from tests.conftest import Member, World
from tests.web.site import Answer, Client, Site

PASSWORD = "four wooden ladders lean"


@dataclass
class Holder:
    """A member with a password; `home` is a client with a session of theirs."""

    site: Site
    member: Member
    home: Client

    @property
    def email(self) -> str:
        return self.member.email

    def knock(self, client: Client | None = None) -> tuple[Client, Answer]:
        """Give the right address and password, on a device of its own unless a client is named."""
        client = client or self.site.visitor()
        return client, client.api("POST", "/auth/sign-in", {"email": self.email, "password": PASSWORD})

    def add_phone(self) -> str:
        number = f"+4179{secrets.randbelow(10**7):07d}"
        sent = self.home.api("POST", "/auth/factors/phone", {"phone": number})
        assert sent.status == 202, sent.text
        added = self.home.api("POST", "/auth/factors/phone/confirm", {"code": self.arrived()})
        assert added.status == 201, added.text
        return number

    def add_app(self) -> str:
        made = self.home.api("POST", "/auth/factors/totp", {"name": "Phone"})
        assert made.status == 201, made.text
        secret: str = made.json["secret"]
        added = self.home.api("POST", "/auth/factors/totp/confirm", {"code": TOTP(secret).now()})
        assert added.status == 201, added.text
        self.execute("UPDATE identity.authenticators SET last_step = 0 WHERE person_id = %s", self.member.person_id)
        return secret

    def arrived(self) -> str:
        """The code that the sender would have sent last, made as the sender makes it."""
        row = self.rows(
            "SELECT code.id, message.id AS message FROM identity.codes AS code JOIN delivery.messages AS message"
            " ON message.code_id = code.id WHERE code.person_id = %s ORDER BY code.created_at DESC LIMIT 1",
            self.member.person_id,
        )[0]
        settings, code = self.site.services.settings, new_code()
        digest = code_digest(settings.secret("code-key"), row["id"], code)
        with psycopg.connect(settings.database_dsn(DatabaseRole.JOB)) as job:
            job.execute("SELECT FROM elevated.take_message(%s)", (row["message"],))
            job.execute("SELECT elevated.attach_code(%s, %s)", (row["message"], digest))
        return code

    def link(self, kind: str) -> str:
        """The link that the sender would have mailed last."""
        settings, token = self.site.services.settings, secrets.token_urlsafe(32)
        with psycopg.connect(settings.database_dsn(DatabaseRole.JOB), autocommit=True) as job:
            for row in self.rows("SELECT id FROM delivery.messages WHERE kind = %s AND status = 'queued'", kind):
                job.execute("SELECT FROM elevated.take_message(%s)", (row["id"],))
            row = self.rows(
                "SELECT id FROM delivery.messages WHERE kind = %s AND person_id = %s ORDER BY created_at DESC LIMIT 1",
                kind,
                self.member.person_id,
            )[0]
            digest = hashlib.sha256(token.encode()).digest()
            with job.transaction():
                job.execute("SELECT FROM elevated.take_message(%s)", (row["id"],))
                job.execute("SELECT elevated.attach_link(%s, %s)", (row["id"], digest))
        return token

    def let_pass(self, minutes: int) -> None:
        """Let the proofs of the person's sessions be so long ago."""
        self.execute(
            "UPDATE identity.sessions SET password_at = password_at - make_interval(mins => %s),"
            " second_factor_at = second_factor_at - make_interval(mins => %s) WHERE person_id = %s",
            minutes,
            minutes,
            self.member.person_id,
        )

    def rows(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        with self.site.servers.as_owner() as owner:
            return owner.execute(query, parameters).fetchall()  # pyright: ignore[reportArgumentType] - a test's literal

    def execute(self, query: str, *parameters: object) -> None:
        with self.site.servers.as_owner() as owner:
            owner.execute(query, parameters)  # pyright: ignore[reportArgumentType] - a test's literal


def holder(site: Site, world: World, role: str = "founder") -> Holder:
    """A member of a company of their own, with a password."""
    member = world.member(world.company(), role)
    found = Holder(site, member, site.member(member))
    stored = asyncio.run(_hashed(site.services.settings))
    found.execute(
        "INSERT INTO identity.passwords (person_id, scheme, pepper_version, hash) VALUES (%s, %s, %s, %s)",
        member.person_id,
        stored.scheme,
        stored.pepper_version,
        stored.value,
    )
    return found


def phone_of(answer: Answer) -> UUID:
    """The phone among the ways that an answer names."""
    return next(UUID(way["id"]) for way in answer.json["ways"] if way["kind"] == "phone")


async def _hashed(settings: Settings) -> PasswordHash:
    hasher = PasswordHasher(settings.peppers(), cost=4, workers=1)
    try:
        return await hasher.hash(PASSWORD)
    finally:
        await hasher.close()
