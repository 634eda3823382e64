"""Companies with members, and scopes for them and for their agents' runs."""

import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import pytest

from operalta.db.scope import Origin, Scope, open_company_scope, open_run_scope
from operalta.kernel.ids import new_id
from operalta.sandbox.files import FileLimits
from operalta.workspace.files.file_store import FileStore
from tests.conftest import Member, Pools, Servers, World

Opening = Callable[[Member], AbstractAsyncContextManager[Scope]]


@dataclass(frozen=True)
class Office:
    """A startup with one member of each role, and another company's founder."""

    founder: Member
    advisor: Member
    investor: Member
    observer: Member
    stranger: Member


@pytest.fixture
def office(world: World) -> Office:
    here = world.company()
    return Office(
        world.member(here),
        world.member(here, "advisor"),
        world.member(here, "investor"),
        world.member(here, "observer"),
        world.member(world.company()),
    )


@pytest.fixture
def scope_of(pools: Pools) -> Opening:
    def opened(member: Member) -> AbstractAsyncContextManager[Scope]:
        return open_company_scope(pools.web, member.session_secret, member.company_slug, Origin())

    return opened


class Look:
    """Reads and arranges as the database's owner, who sees the rows of all companies."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers

    def rows(self, query: LiteralString, *values: object) -> list[dict[str, Any]]:
        with self._servers.as_owner() as owner:
            cursor = owner.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def actions(self, company: UUID) -> list[str]:
        found = self.rows("SELECT action FROM audit.events WHERE company_id = %s ORDER BY occurred_at", company)
        return [row["action"] for row in found]

    def start_run(self, member: Member, *, private: bool = True) -> tuple[UUID, UUID, str]:
        """Make a claimed run for a member; return conversation, run and claim."""
        conversation, message, run, claim = new_id(), new_id(), new_id(), secrets.token_hex(16)
        private_to = member.person_id if private else None
        self.rows(
            "INSERT INTO workspace.conversations (company_id, id, title, created_by, private_to)"
            " VALUES (%s, %s, 'Work', %s, %s)",
            member.company_id,
            conversation,
            member.person_id,
            private_to,
        )
        self.rows(
            "INSERT INTO workspace.messages (company_id, id, conversation_id, private_to, author_kind, person_id, body)"
            " VALUES (%s, %s, %s, %s, 'person', %s, 'Do it.')",
            member.company_id,
            message,
            conversation,
            private_to,
            member.person_id,
        )
        self.rows(
            "INSERT INTO agents.runs (company_id, id, conversation_id, message_id, agent_id, person_id, session_id,"
            " private_to, route, status, claim_digest, claim_expires_at) SELECT %s, %s, %s, %s, agent.id, %s,"
            " gen_random_uuid(), %s, 'built-in', 'running', sha256(convert_to(%s, 'UTF8')), now() + interval '1 hour'"
            " FROM agents.agents AS agent WHERE agent.company_id = %s LIMIT 1",
            member.company_id,
            run,
            conversation,
            message,
            member.person_id,
            private_to,
            claim,
            member.company_id,
        )
        return conversation, run, claim


@pytest.fixture
def look(servers: Servers) -> Look:
    return Look(servers)


RunOpening = Callable[[Member], AbstractAsyncContextManager[tuple[Scope, UUID]]]


@pytest.fixture
def run_for(pools: Pools, look: Look) -> RunOpening:
    """Opens the scope of a new run for a member, with the id of its conversation."""

    @asynccontextmanager
    async def opened(member: Member) -> AsyncGenerator[tuple[Scope, UUID]]:
        conversation, run, claim = look.start_run(member)
        async with open_run_scope(pools.worker, run, claim) as scope:
            yield scope, conversation

    return opened


@pytest.fixture
def files(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "workspaces", FileLimits(file_bytes=100_000, total_bytes=1_000_000, entries=400))
