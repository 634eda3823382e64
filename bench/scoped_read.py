"""One scoped read, taken apart: how many round trips it makes, and what each layer costs, as ratios within one run.

    ./operalta bench scoped_read            (or: .venv/bin/python -m bench.scoped_read)

Starts its own PostgreSQL in a temporary folder; prints medians of paired runs and never judges.
"""

import asyncio
import secrets
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import LiteralString
from uuid import UUID

import psycopg

from operalta.db.migrate import migrate
from operalta.db.pools import Pool
from operalta.db.scope import Origin, open_company_scope
from operalta.operations.secrets import database_passwords, make_missing_secrets
from operalta.operations.servers import EmbeddedPostgres
from operalta.settings import DatabaseRole, Settings

COMPANIES = 50
RECORDS = 400
ROUNDS = 400
PAGE: LiteralString = (
    "SELECT id, title, status, created_at FROM workspace.records WHERE company_id = %(company)s"
    " ORDER BY created_at DESC, id DESC LIMIT 50"
)
Read = Callable[[], Awaitable[None]]


def fill(owner: psycopg.Connection[tuple[object, ...]]) -> tuple[UUID, str]:
    """Make companies with records, and return one company and a session secret of its founder."""
    secret = secrets.token_urlsafe(24)
    person = owner.execute(
        "INSERT INTO identity.people (email, email_key, name, verified_at)"
        " VALUES ('b@example.org', 'b@example.org', 'B', now()) RETURNING id"
    ).fetchone()
    assert person is not None
    owner.execute(
        "INSERT INTO identity.sessions (id, person_id, refresh_digest, access_digest, device_digest, user_agent,"
        " address, idle_expires_at, absolute_expires_at)"
        " VALUES (gen_random_uuid(), %s, '', sha256(convert_to(%s, 'UTF8')), '',"
        " 'bench', '127.0.0.1', now() + interval '1 day', now() + interval '1 day')",
        (person[0], secret),
    )
    company: UUID | None = None
    for number in range(COMPANIES):
        row = owner.execute(
            "INSERT INTO tenancy.companies (slug, name, kind, founded_by)"
            " VALUES (%s, 'Bench', 'startup', %s) RETURNING id",
            (f"bench-{number}", person[0]),
        ).fetchone()
        assert row is not None
        assert isinstance(row[0], UUID)
        company = row[0]
        owner.execute(
            "INSERT INTO tenancy.memberships (company_id, person_id, role) VALUES (%s, %s, 'founder')",
            (company, person[0]),
        )
        owner.execute(
            "INSERT INTO workspace.records (company_id, id, kind, title, body, status, owner_id, recorded_by)"
            " SELECT %s, gen_random_uuid(), 'decision', 'Title ' || n, 'Body', 'decided', %s, %s"
            " FROM generate_series(1, %s) AS n",
            (company, person[0], person[0], RECORDS),
        )
    owner.execute("ANALYZE")
    assert company is not None
    return company, secret


async def paired(reads: dict[str, Read]) -> dict[str, float]:
    """Run each read in turn, round by round, and return its median in milliseconds."""
    taken: dict[str, list[float]] = {name: [] for name in reads}
    for _ in range(ROUNDS):
        for name, read in reads.items():
            started = time.perf_counter()
            await read()
            taken[name].append((time.perf_counter() - started) * 1000)
    return {name: statistics.median(values) for name, values in taken.items()}


async def measure(settings: Settings, company: UUID, secret: str) -> None:
    """Print what each layer of a scoped read costs."""
    web = Pool(DatabaseRole.WEB, settings.database_dsn(DatabaseRole.WEB), 2)
    await web.open()
    plain = await psycopg.AsyncConnection.connect(settings.database_dsn(DatabaseRole.OWNER), prepare_threshold=None)
    held = await psycopg.AsyncConnection.connect(settings.database_dsn(DatabaseRole.WEB), prepare_threshold=None)

    async def empty_transaction() -> None:
        async with plain.transaction():
            await plain.execute("SELECT 1")

    async def plain_read() -> None:
        async with plain.transaction():
            await (await plain.execute(PAGE, {"company": company})).fetchall()

    async def scope_opened() -> None:
        async with held.transaction():
            await held.execute("SELECT * FROM scope.open_scope(%s, %s)", (secret, str(company)))

    async def scoped_read() -> None:
        async with held.transaction():
            await held.execute("SELECT * FROM scope.open_scope(%s, %s)", (secret, str(company)))
            await (await held.execute(PAGE, {"company": company})).fetchall()

    async def through_the_pool() -> None:
        async with open_company_scope(web, secret, str(company), Origin()) as scope:
            await scope.all(PAGE, {"company": company})

    medians = await paired(
        {
            "empty transaction": empty_transaction,
            "page of 50 as owner, plain WHERE": plain_read,
            "scope opened": scope_opened,
            "scope opened and page of 50 under row security": scoped_read,
            "the same through the pool, connection cleaned": through_the_pool,
        }
    )
    await plain.close()
    await held.close()
    await web.close()
    base = medians["page of 50 as owner, plain WHERE"]
    print(f"{'':50} {'ms':>8} {'ratio':>7}")
    for name, value in medians.items():
        print(f"{name:50} {value:8.3f} {value / base:7.2f}")
    added = (medians["scope opened"] - medians["empty transaction"]) * 1000
    print(f"\nround trips of a scoped read: 4 (BEGIN, open, query, COMMIT); opening adds {added:.0f} µs")


def main() -> None:
    """Start a database, fill it, measure."""
    var = Path(tempfile.mkdtemp(prefix="op-bench-", dir="/tmp"))
    settings = Settings(var_dir=var)
    settings.run_path.mkdir(mode=0o700)
    make_missing_secrets(settings)
    postgres = EmbeddedPostgres(settings)
    try:
        postgres.start()
        postgres.make_database()
        owner_dsn = settings.database_dsn(DatabaseRole.OWNER)
        migrate(owner_dsn, database_passwords(settings))
        with psycopg.connect(owner_dsn) as owner:
            company, secret = fill(owner)
        asyncio.run(measure(settings, company, secret))
    finally:
        postgres.stop()
        shutil.rmtree(var, ignore_errors=True)


if __name__ == "__main__":
    from operalta.operations.privileges import leave_root

    leave_root(Path(__file__).resolve().parent.parent, (), module="bench.scoped_read")
    main()
