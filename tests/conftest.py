"""What all tests share: one PostgreSQL and one Valkey for each test process, started by the product's own code."""

import json
import secrets
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import hypothesis
import psycopg
import pytest
from psycopg.rows import DictRow, dict_row

from operalta.db.migrate import migrate
from operalta.db.pools import Connection, Pool
from operalta.operations.secrets import database_passwords, make_missing_secrets
from operalta.operations.servers import EmbeddedPostgres, EmbeddedValkey
from operalta.settings import DatabaseRole, Settings

TOOLS = (
    "memory_search",
    "memory_record",
    "memory_supersede",
    "memory_link",
    "metrics_read",
    "metrics_record",
    "metrics_compare",
    "conversation_search",
    "files_list",
    "files_read",
    "files_search",
    "files_write",
    "files_append",
    "files_move",
    "files_delete",
    "artifact_search",
    "artifact_read",
    "artifact_create",
    "artifact_revise",
    "web_fetch",
    "shell_run",
    "delegate",
    "ask_person",
    "integration_request",
    "integration_tool",
)


# No test asserts on time, and a machine that does something else for a moment is no fault in the product.
hypothesis.settings.register_profile("operalta", deadline=None)
hypothesis.settings.load_profile("operalta")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the hours-long proofs as well")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the soak tier out unless it is asked for; what is left out is counted as deselected, never as passed.

    Tests that share a deployment are kept in one process, or nothing is run: xdist passes their groups on in their
    names, and goes on without a word where that does not work.
    """
    grouped = config.getoption("loadgroup", default=False)
    if grouped and any(item.get_closest_marker("xdist_group") and "@" not in item.nodeid for item in items):
        raise pytest.UsageError("this pytest does not let xdist keep groups of tests together")
    if config.getoption("--soak"):
        return
    left_out = [item for item in items if item.get_closest_marker("soak") is not None]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item.get_closest_marker("soak") is None]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@dataclass(frozen=True)
class Servers:
    """Running servers, migrated, with the settings that reach them."""

    settings: Settings
    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    _idle: list[psycopg.Connection[DictRow]] = field(default_factory=list[psycopg.Connection[DictRow]])

    @contextmanager
    def as_owner(self) -> Generator[psycopg.Connection[DictRow]]:
        """Lend a connection of the database's owner, for arranging and for looking: rows of all companies.

        Connections are kept: making one takes longer than most of what is done with it.
        """
        connection = self._kept() or self._new()
        try:
            yield connection
        finally:
            with suppress(psycopg.Error):
                connection.rollback()
                connection.autocommit = True
                connection.execute("DISCARD ALL")
                self._idle.append(connection)

    def _kept(self) -> psycopg.Connection[DictRow] | None:
        """Return a connection that is still good, as none is once its server was stopped."""
        while self._idle:
            connection = self._idle.pop()
            with suppress(psycopg.Error):
                connection.execute("SELECT")
                return connection
        return None

    def _new(self) -> psycopg.Connection[DictRow]:
        dsn = self.settings.database_dsn(DatabaseRole.OWNER)
        # Prepared statements would be forgotten with DISCARD ALL, so none are made.
        return psycopg.Connection[DictRow].connect(dsn, row_factory=dict_row, autocommit=True, prepare_threshold=None)


@pytest.fixture(scope="session")
def servers() -> Generator[Servers]:
    # Short, because sockets have a limit of about 100 characters.
    var = Path(tempfile.mkdtemp(prefix="op-", dir="/tmp"))
    settings = Settings(var_dir=var)
    settings.run_path.mkdir(mode=0o700)
    make_missing_secrets(settings)
    postgres, valkey = EmbeddedPostgres(settings), EmbeddedValkey(settings)
    try:
        postgres.initialise()
        with (postgres.data / "postgresql.conf").open("a") as configuration:
            # What survives a crash of the machine is no matter of these tests.
            configuration.write("fsync = off\n")
        postgres.start()
        valkey.start()
        postgres.make_database()
        migrate(settings.database_dsn(DatabaseRole.OWNER), database_passwords(settings))
        yield Servers(settings, postgres, valkey)
    finally:
        valkey.stop()
        postgres.stop()
        shutil.rmtree(var, ignore_errors=True)


class LazyPool(Pool):
    """A pool that connects at its first use: few tests need all five."""

    @asynccontextmanager
    async def acquire(self) -> AsyncGenerator[Connection]:
        await self.open()
        async with super().acquire() as connection:
            yield connection


@dataclass(frozen=True)
class Pools:
    """One pool for each serving role."""

    signin: Pool
    web: Pool
    worker: Pool
    dispatch: Pool
    job: Pool


@pytest.fixture(scope="session")
async def pools(servers: Servers) -> AsyncGenerator[Pools]:
    """Pools that all tests of a process share, and with them one event loop: each connection is dear, and goes back
    clean."""
    made = {
        role: LazyPool(
            role, servers.settings.database_dsn(role), 6, search_path="jobs" if role is DatabaseRole.DISPATCH else None
        )
        for role in (
            DatabaseRole.SIGNIN,
            DatabaseRole.WEB,
            DatabaseRole.WORKER,
            DatabaseRole.DISPATCH,
            DatabaseRole.JOB,
        )
    }
    yield Pools(
        made[DatabaseRole.SIGNIN],
        made[DatabaseRole.WEB],
        made[DatabaseRole.WORKER],
        made[DatabaseRole.DISPATCH],
        made[DatabaseRole.JOB],
    )
    for pool in made.values():
        await pool.close()


@dataclass(frozen=True)
class Member:
    """A person with a live session, and the company they were put into."""

    person_id: UUID
    company_id: UUID
    company_slug: str
    session_secret: str
    email: str
    role: str


class World:
    """Arranges people and companies directly as the owner, for tests of rooms above them."""

    def __init__(self, owner: psycopg.Connection[dict[str, Any]]) -> None:
        self._owner = owner

    def company(self, kind: str = "startup") -> tuple[UUID, str]:
        slug = f"c-{secrets.token_hex(6)}"
        person = self._person(f"{slug}@founders.example")
        row = self._owner.execute(
            "INSERT INTO tenancy.companies (slug, name, kind, founded_by) VALUES (%s, %s, %s, %s) RETURNING id",
            (slug, f"Company {slug}", kind, person),
        ).fetchone()
        assert row is not None
        self._owner.execute(
            "INSERT INTO tenancy.memberships (company_id, person_id, role) VALUES (%s, %s, 'founder')",
            (row["id"], person),
        )
        self._owner.execute(
            "INSERT INTO agents.agents (company_id, slug, name, purpose, instructions, tools)"
            " VALUES (%s, 'chief-of-staff', 'Chief of staff', 'Answers.', 'Answer.', %s::jsonb)",
            (
                row["id"],
                json.dumps(dict.fromkeys(TOOLS, "allow") | {"shell_run": "ask"}),
            ),
        )
        return row["id"], slug

    def member(self, company: tuple[UUID, str], role: str = "founder") -> Member:
        email = f"{secrets.token_hex(6)}@people.example"
        person = self._person(email)
        self._owner.execute(
            "INSERT INTO tenancy.memberships (company_id, person_id, role) VALUES (%s, %s, %s)",
            (company[0], person, role),
        )
        return Member(person, company[0], company[1], self.session(person), email, role)

    def session(self, person: object) -> str:
        secret = secrets.token_urlsafe(24)
        self._owner.execute(
            "INSERT INTO identity.sessions (id, person_id, refresh_digest, access_digest, device_digest, user_agent,"
            " address, idle_expires_at, absolute_expires_at) VALUES (gen_random_uuid(), %s, sha256(%s),"
            " sha256(convert_to(%s, 'UTF8')), sha256('d'), 'test', '127.0.0.1', now() + interval '7 days',"
            " now() + interval '90 days')",
            (person, secrets.token_bytes(16), secret),
        )
        return secret

    def _person(self, email: str) -> UUID:
        row = self._owner.execute(
            "INSERT INTO identity.people (email, email_key, name, verified_at) VALUES (%s, %s, %s, now()) RETURNING id",
            (email, email, email.partition("@")[0]),
        ).fetchone()
        assert row is not None
        return row["id"]


@pytest.fixture
def world(servers: Servers) -> Generator[World]:
    with servers.as_owner() as owner:
        yield World(owner)
