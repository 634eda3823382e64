"""Verifying one API key: its form and digest against SHA-256 alone, and its scope against a session's, as ratios.

    ./operalta bench api_key          (or: .venv/bin/python -m bench.api_key)

Starts its own PostgreSQL in a temporary folder; prints medians of paired rounds and never judges.
"""

import asyncio
import hashlib
import shutil
import tempfile
from pathlib import Path
from uuid import UUID

import psycopg

from bench import file_open, scoped_read
from operalta.db.migrate import migrate
from operalta.operations.secrets import database_passwords, make_missing_secrets
from operalta.operations.servers import EmbeddedPostgres
from operalta.settings import DatabaseRole, Settings
from operalta.vault.api_keys.rules import digest_of, is_key_text, new_key_text, shown_part

OTHER_KEYS = 10_000


def fill(owner: psycopg.Connection[tuple[object, ...]], company: UUID, text: str) -> None:
    """Keep one key of the company's founder, and many more that nobody uses."""
    owner.execute(
        "INSERT INTO credentials.api_keys (company_id, kind, name, scopes, holder_id, digest, shown, created_by,"
        " expires_at) SELECT %(company)s, 'personal', 'Bench', '{memory:read}', held.person_id,"
        " CASE n WHEN 0 THEN %(digest)s ELSE sha256(convert_to('key ' || n, 'UTF8')) END, %(shown)s, held.person_id,"
        " now() + interval '1 day' FROM tenancy.memberships AS held CROSS JOIN generate_series(0, %(others)s) AS n"
        " WHERE held.company_id = %(company)s",
        {"company": company, "digest": digest_of(text), "shown": shown_part(text), "others": OTHER_KEYS},
    )
    owner.execute("ANALYZE credentials.api_keys")


def measure_digest(text: str) -> None:
    """Print what looking at a key costs before the database is asked."""
    known = digest_of(text)
    medians = file_open.paired(
        {
            "SHA-256 alone": lambda: hashlib.sha256(text.encode()).digest() == known,
            "form, check and SHA-256": lambda: is_key_text(text) and digest_of(text) == known,
        }
    )
    show("one key", "µs", medians)


async def measure_scope(settings: Settings, company: UUID, session: str, text: str) -> None:
    """Print what opening a scope with a key costs, beside one with a session."""
    dsn = settings.database_dsn(DatabaseRole.WEB)
    async with await psycopg.AsyncConnection.connect(dsn, prepare_threshold=None) as held:

        async def empty_transaction() -> None:
            async with held.transaction():
                await held.execute("SELECT 1")

        async def with_session() -> None:
            async with held.transaction():
                await held.execute("SELECT * FROM scope.open_scope(%s, %s)", (session, str(company)))

        async def with_key() -> None:
            async with held.transaction():
                await held.execute(
                    "SELECT * FROM scope.open_key_scope(%s, %s, '203.0.113.7'::inet)", (text, str(company))
                )

        reads: dict[str, scoped_read.Read] = {
            "empty transaction": empty_transaction,
            "scope of a session": with_session,
            "scope of a key": with_key,
        }
        show("one scope", "ms", await scoped_read.paired(reads))


def show(title: str, unit: str, medians: dict[str, float]) -> None:
    """Print medians, with their ratio to the first."""
    base = next(iter(medians.values()))
    print(f"{title:40} {unit:>8} {'ratio':>7}")
    for name, value in medians.items():
        print(f"{name:40} {value:8.3f} {value / base:7.2f}")


def main() -> None:
    """Start a server, fill it, measure, and take it away."""
    var = Path(tempfile.mkdtemp(prefix="op-bench-", dir="/tmp"))
    settings, text = Settings(var_dir=var), new_key_text()
    settings.run_path.mkdir(mode=0o700)
    make_missing_secrets(settings)
    postgres = EmbeddedPostgres(settings)
    try:
        postgres.start()
        postgres.make_database()
        migrate(settings.database_dsn(DatabaseRole.OWNER), database_passwords(settings))
        with psycopg.connect(settings.database_dsn(DatabaseRole.OWNER), autocommit=True) as owner:
            company, session = scoped_read.fill(owner)
            fill(owner, company, text)
        measure_digest(text)
        asyncio.run(measure_scope(settings, company, session, text))
    finally:
        postgres.stop()
        shutil.rmtree(var, ignore_errors=True)


if __name__ == "__main__":
    from operalta.operations.privileges import leave_root

    leave_root(Path(__file__).resolve().parent.parent, (), module="bench.api_key")
    main()
