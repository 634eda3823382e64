"""Somebody with a phone and the right password: arranged as the database's owner, acting as a visitor does."""

import secrets
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from operalta.guard.codes import code_digest
from operalta.guard.comparison import is_same_secret
from operalta.settings import Settings
from tests.conftest import Pools, Servers
from tests.delivery.sms_server import SIGNING_KEY, TOKEN, Provider

NUMBER = "+41791234567"
COUNTRY = "CH"


@dataclass(frozen=True)
class PhoneOwner:
    """Holds a ticket: the password was right, the second factor is still open."""

    servers: Servers
    person: UUID
    phone: UUID
    secret: str
    device: bytes

    async def ask(self, pools: Pools) -> UUID:
        """Have a code sent and return the message that waits for the sender."""
        async with pools.signin.acquire() as connection, connection.transaction():
            asked = await connection.execute(
                "SELECT signin.send_code('ticket', %s, %s, %s, %s) AS outcome",
                (self.secret, self.device, self.phone, COUNTRY),
            )
            assert await asked.fetchone() == {"outcome": "sent"}
        message = self.row(
            "SELECT sent.id FROM delivery.messages AS sent JOIN identity.codes AS code ON code.id = sent.code_id"
            " WHERE code.person_id = %s ORDER BY code.created_at DESC LIMIT 1"
        )
        return message["id"]

    async def tries(self, pools: Pools, typed: str) -> bool:
        """Try a code, as the product does, and tell whether it proved the factor."""
        key = self.servers.settings.secret("code-key")
        async with pools.signin.acquire() as connection, connection.transaction():
            trying = await connection.execute(
                "SELECT * FROM signin.try_code('ticket', %s, %s, 'prove')", (self.secret, self.device)
            )
            tried = await trying.fetchone()
            assert tried is not None
        if tried["outcome"] != "tried" or not is_same_secret(
            code_digest(key, tried["code_id"], typed), bytes(tried["digest"])
        ):
            return False
        async with pools.signin.acquire() as connection, connection.transaction():
            accepting = await connection.execute(
                "SELECT signin.accept_code('ticket', %s, %s, %s, %s) AS accepted",
                (self.secret, self.device, tried["code_id"], tried["attempt_id"]),
            )
            accepted = await accepting.fetchone()
        assert accepted is not None
        return accepted["accepted"]

    def row(self, query: str) -> dict[str, Any]:
        """Return the one row that a query of the owner finds for this person."""
        with self.servers.as_owner() as owner:
            found = owner.execute(query, (self.person,)).fetchone()  # pyright: ignore[reportArgumentType, reportCallIssue] - literal in each test
        assert found is not None
        return found

    @property
    def code(self) -> dict[str, Any]:
        """The row of the latest code."""
        return self.row("SELECT * FROM identity.codes WHERE person_id = %s ORDER BY created_at DESC LIMIT 1")


def phone_owner(servers: Servers) -> PhoneOwner:
    """Arrange one."""
    secret, device = secrets.token_urlsafe(24), secrets.token_bytes(32)
    with servers.as_owner() as owner:
        person = owner.execute(
            "INSERT INTO identity.people (email, email_key, name) VALUES (%s, %s, 'Ada') RETURNING id",
            ("ada@people.example", str(uuid4())),
        ).fetchone()
        assert person is not None
        phone = owner.execute(
            "INSERT INTO identity.phones (person_id, number) VALUES (%s, %s) RETURNING id", (person["id"], NUMBER)
        ).fetchone()
        assert phone is not None
        owner.execute(
            "INSERT INTO identity.tickets (digest, purpose, person_id, device_digest, seen_hash, user_agent, address)"
            " VALUES (sha256(convert_to(%s, 'UTF8')), 'sign_in', %s, %s, 'hash', 'test', '127.0.0.1')",
            (secret, person["id"], device),
        )
    return PhoneOwner(servers, person["id"], phone["id"], secret, device)


def message_row(servers: Servers, message: UUID) -> dict[str, Any]:
    """Return a message as the database holds it."""
    with servers.as_owner() as owner:
        row = owner.execute("SELECT * FROM delivery.messages WHERE id = %s", (message,)).fetchone()
    assert row is not None
    return row


def sms_settings(servers: Servers, provider: Provider, **changes: object) -> Settings:
    """Return settings that name `provider`, whose secrets are put where they belong."""
    give_secrets(servers)
    given: dict[str, Any] = {
        "var_dir": servers.settings.var_dir,
        "sms_provider": provider.name,
        "sms_api_url": provider.url,
        "sms_countries": (COUNTRY,),
        **provider.settings,
        **changes,
    }
    return Settings(**given)


def give_secrets(servers: Servers) -> None:
    """Put the provider's secrets where the product looks for them."""
    for name, value in (("sms-token", TOKEN), ("sms-signing-key", SIGNING_KEY)):
        path = servers.settings.secrets_path / name
        path.touch(mode=0o600)
        path.write_text(value)
