"""What tests of companies share: opening scopes, and doing what the mail sender does."""

import secrets
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest

from operalta.db.scope import Origin, Scope, open_company_scope, open_person_scope
from tests.conftest import Member, Pools, Servers, World


@dataclass(frozen=True)
class Tenancy:
    """A world, its scopes, and the owner's connection to look behind them."""

    world: World
    pools: Pools
    owner: psycopg.Connection[dict[str, Any]]

    @asynccontextmanager
    async def company(self, member: Member) -> AsyncGenerator[Scope]:
        async with open_company_scope(self.pools.web, member.session_secret, member.company_slug, Origin()) as scope:
            yield scope

    @asynccontextmanager
    async def person(self, secret: str) -> AsyncGenerator[Scope]:
        async with open_person_scope(self.pools.web, secret, Origin()) as scope:
            yield scope

    def stranger(self, *, verified: bool = True) -> tuple[UUID, str, str]:
        """Somebody without a company: id, address, session secret."""
        email = f"{secrets.token_hex(6)}@strangers.example"
        row = self.owner.execute(
            "INSERT INTO identity.people (email, email_key, name, verified_at)"
            " VALUES (%s, %s, 'Stranger', CASE WHEN %s THEN now() END) RETURNING id",
            (email, email, verified),
        ).fetchone()
        assert row is not None
        return row["id"], email, self.world.session(row["id"])

    def link(self, invitation: UUID) -> str:
        """Do what the sender does with the mail of an invitation."""
        token = secrets.token_urlsafe(32)
        touched = self.owner.execute(
            """
            INSERT INTO identity.links (purpose, digest, company_id, invitation_id, expires_at)
            SELECT kind, sha256(convert_to(%s, 'UTF8')), company_id, invitation_id, now() + interval '7 days'
            FROM delivery.messages WHERE kind = 'invitation' AND invitation_id = %s LIMIT 1
            """,
            (token, invitation),
        ).rowcount
        assert touched == 1
        return token

    def role(self, company: UUID, person: UUID) -> str | None:
        """The role of a membership that holds, as the owner sees it."""
        row = self.owner.execute(
            "SELECT role FROM tenancy.memberships WHERE company_id = %s AND person_id = %s AND ended_at IS NULL",
            (company, person),
        ).fetchone()
        return None if row is None else row["role"]

    def events(self, company: UUID) -> list[str]:
        """The actions in a company's audit log, in order."""
        found = self.owner.execute(
            "SELECT action FROM audit.events WHERE company_id = %s ORDER BY occurred_at, id", (company,)
        ).fetchall()
        return [row["action"] for row in found]


@pytest.fixture
def tenancy(servers: Servers, pools: Pools, world: World) -> Generator[Tenancy]:
    with servers.as_owner() as owner:
        yield Tenancy(world, pools, owner)
