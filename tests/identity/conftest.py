"""The identity room on real servers, with hashing that is quick enough to be done often."""

import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from operalta.identity.accounts import Accounts
from operalta.identity.passwords import PasswordHasher
from operalta.identity.sessions import SecondFactorNeeded, Sessions, SignedIn
from operalta.identity.tokens import AccessTokens, issuer_name
from operalta.sealing.keys import RootKey, RootKeys, new_root_key_text
from operalta.sealing.signing import SigningKeyRing, SigningPurpose
from operalta.settings import DatabaseRole
from tests.conftest import Pools, Servers

CLIENT = {"user_agent": "Mozilla/5.0 (X11; Linux) Firefox/150.0", "address": "192.0.2.7"}
PASSWORD = "four wooden ladders lean"


@pytest.fixture(scope="session")
async def hasher() -> AsyncGenerator[PasswordHasher]:
    made = PasswordHasher({1: secrets.token_bytes(32)}, cost=4, workers=1, queue_limit=200)
    yield made
    await made.close()


@pytest.fixture
def tokens(tmp_path: Path) -> AccessTokens:
    roots = RootKeys(RootKey.from_text(new_root_key_text()))
    ring = SigningKeyRing(tmp_path, roots, SigningPurpose.ACCESS_TOKEN)
    return AccessTokens(ring, issuer=issuer_name("http://localhost", "local"), audience="operalta")


@dataclass(frozen=True)
class Identity:
    """The room as `app` would wire it, and the owner's connection to arrange and to look."""

    accounts: Accounts
    sessions: Sessions
    tokens: AccessTokens
    hasher: PasswordHasher
    pools: Pools
    owner: psycopg.Connection[dict[str, Any]]
    job_dsn: str

    def rows(self, query: str, *parameters: object) -> list[dict[str, Any]]:
        return self.owner.execute(query, parameters).fetchall()  # pyright: ignore[reportArgumentType] - a test's literal

    def take_messages(self) -> None:
        """Do what the sender does first: look up whose addresses those are."""
        with psycopg.connect(self.job_dsn, autocommit=True) as job:
            for row in self.rows("SELECT id FROM delivery.messages WHERE status = 'queued' AND attempts = 0"):
                job.execute("SELECT FROM elevated.take_message(%s)", (row["id"],))

    def mails(self, email: str) -> list[str]:
        """Which mails wait for an address, in order."""
        self.take_messages()
        found = self.rows("SELECT kind FROM delivery.messages WHERE recipient = %s ORDER BY created_at, id", email)
        return [row["kind"] for row in found]

    def link(self, kind: str, email: str, *, expired: bool = False) -> str:
        """Do what the sender does: bind the digest of a fresh token to the latest mail of this kind, return it."""
        self.take_messages()
        token = secrets.token_urlsafe(32)
        touched = self.owner.execute(
            """
            INSERT INTO identity.links (purpose, digest, person_id, pending_sign_up_id, company_id, invitation_id,
                expires_at)
            SELECT kind, sha256(convert_to(%(token)s, 'UTF8')), person_id, pending_sign_up_id, company_id,
                invitation_id, now() + CASE WHEN %(expired)s THEN interval '-1 second' ELSE interval '30 minutes' END
            FROM delivery.messages WHERE kind = %(kind)s AND recipient = %(email)s ORDER BY created_at DESC LIMIT 1
            """,
            {"token": token, "kind": kind, "email": email, "expired": expired},
        ).rowcount
        assert touched == 1
        return token

    async def person(self, *, password: str = PASSWORD) -> tuple[str, UUID]:
        """Sign somebody up and confirm the address; return address and person."""
        email = f"{secrets.token_hex(6)}@people.example"
        await self.accounts.sign_up(email, "Ada Example", password)
        assert await self.accounts.confirm_address(self.link("confirm_sign_up", email))
        return email, self.rows("SELECT id FROM identity.people WHERE email = %s", email)[0]["id"]

    async def sign_in(self, email: str, password: str = PASSWORD, device: str | None = None) -> SignedIn:
        """Sign in somebody who has no second factor."""
        begun = await self.begin(email, password, device)
        assert isinstance(begun, SignedIn)
        return begun

    async def begin(
        self, email: str, password: str = PASSWORD, device: str | None = None
    ) -> SignedIn | SecondFactorNeeded:
        return await self.sessions.sign_in(email, password, device_secret=device, **CLIENT)

    async def reset(self, token: str, password: str, device: str | None = None) -> SecondFactorNeeded | None:
        return await self.accounts.reset_password(token, password, device_secret=device, **CLIENT)

    def secret_of(self, signed_in: SignedIn) -> str:
        """The access secret, as the web takes it from the verified token."""
        return self.tokens.verify_access(signed_in.access_token).session_secret


@pytest.fixture
async def identity(
    servers: Servers, pools: Pools, hasher: PasswordHasher, tokens: AccessTokens
) -> AsyncGenerator[Identity]:
    sessions = Sessions(pools.signin, hasher, tokens, secrets.token_bytes(32))
    accounts = Accounts(pools.signin, hasher, sessions)
    with servers.as_owner() as owner:
        job_dsn = servers.settings.database_dsn(DatabaseRole.JOB)
        yield Identity(accounts, sessions, tokens, hasher, pools, owner, job_dsn)
