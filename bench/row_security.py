"""Reading under row security against the same query with a plain WHERE, a million rows and a thousand companies.

    ./operalta bench row_security           (or: .venv/bin/python -m bench.row_security)

Starts its own PostgreSQL in a temporary folder, fills it (a minute), and prints medians of paired runs with their
ratios; it never judges. The scope is open already: what opening costs is measured by `scoped_read`.

One connection may be a fifth slower than the next for as long as it lives, wherever its memory came to lie: so every
read is measured on many pairs of fresh ones. A second table has a constant in the policy's place, `company_id = (SELECT
'…'::uuid)`: what row security costs on this server before anything is verified.
"""

import secrets
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg import sql

from operalta.db.migrate import migrate
from operalta.operations.secrets import database_passwords, make_missing_secrets
from operalta.operations.servers import EmbeddedPostgres
from operalta.settings import DatabaseRole, Settings

COMPANIES = 1_000
RECORDS = 1_000
CONNECTIONS = 16
ROUNDS = 60
WARM_UP = 20

PAGE: LiteralString = (
    "SELECT id, title, status, created_at FROM workspace.records WHERE company_id = %(company)s AND kind = 'decision'"
    " ORDER BY created_at DESC, id DESC LIMIT 50"
)
COUNT: LiteralString = "SELECT count(*) FROM workspace.records WHERE company_id = %(company)s"
AGGREGATE: LiteralString = (
    "SELECT kind, status, count(*), max(created_at) FROM workspace.records WHERE company_id = %(company)s"
    " GROUP BY kind, status"
)
SEARCH: LiteralString = (
    "SELECT record.id, record.title, found.rank FROM workspace.search_records(%(words)s, NULL, 50) AS found"
    " JOIN workspace.records AS record ON record.company_id = %(company)s AND record.id = found.record_id"
    " ORDER BY found.rank DESC, record.id DESC"
)
PLAIN_SEARCH: LiteralString = (
    "SELECT id, title, ts_rank(words, websearch_to_tsquery('english', %(words)s)) AS rank FROM workspace.records"
    " WHERE company_id = %(company)s AND words @@ websearch_to_tsquery('english', %(words)s)"
    " ORDER BY rank DESC, id DESC LIMIT 50"
)
COMMON, RARE = "pricing", "zeppelin"
"""Words of one row in ten, and of one row in five hundred."""

READS: dict[str, tuple[LiteralString, LiteralString, str]] = {
    "list, a page of 50": (PAGE, PAGE, ""),
    "count": (COUNT, COUNT, ""),
    "aggregate": (AGGREGATE, AGGREGATE, ""),
    "search, a common word": (SEARCH, PLAIN_SEARCH, COMMON),
    "search, a rare word": (SEARCH, PLAIN_SEARCH, RARE),
}


Side = tuple[psycopg.Connection[Any], LiteralString, list[float]]


def fill(owner: psycopg.Connection[Any]) -> tuple[UUID, str]:
    """Make companies whose rows lie among each other's, and return one of them and a session secret of its founder."""
    secret = secrets.token_urlsafe(24)
    person = _only(
        owner,
        "INSERT INTO identity.people (email, email_key, name, verified_at)"
        " VALUES ('b@example.org', 'b@example.org', 'B', now()) RETURNING id",
    )
    owner.execute(
        "INSERT INTO identity.sessions (id, person_id, refresh_digest, access_digest, device_digest, user_agent,"
        " address, idle_expires_at, absolute_expires_at) VALUES (gen_random_uuid(), %s, '',"
        " sha256(convert_to(%s, 'UTF8')), '', 'bench', '127.0.0.1', now() + interval '1 day',"
        " now() + interval '1 day')",
        (person, secret),
    )
    owner.execute(
        "WITH made AS (INSERT INTO tenancy.companies (slug, name, kind, founded_by)"
        " SELECT 'bench-' || n, 'Bench', 'startup', %(person)s FROM generate_series(1, %(companies)s) AS n"
        " RETURNING id)"
        " INSERT INTO tenancy.memberships (company_id, person_id, role) SELECT id, %(person)s, 'founder' FROM made",
        {"person": person, "companies": COMPANIES},
    )
    owner.execute(
        """
        INSERT INTO workspace.records (company_id, id, kind, title, body, status, owner_id, recorded_by, created_at)
        SELECT host.id, gen_random_uuid(), (ARRAY['decision', 'hypothesis', 'experiment', 'blocker'])[1 + n %% 4],
            'Entry ' || n || CASE WHEN n %% 10 = 0 THEN ' pricing' ELSE '' END,
            'We looked at the plan of quarter ' || n %% 7 || CASE WHEN n %% 500 = 3 THEN ' and a zeppelin' ELSE '' END,
            (ARRAY['open', 'decided', 'done'])[1 + n %% 3], %(person)s, %(person)s, now() - make_interval(mins => n)
        FROM generate_series(1, %(records)s) AS n CROSS JOIN tenancy.companies AS host
        """,
        {"person": person, "records": RECORDS},
    )
    owner.commit()
    owner.autocommit = True
    owner.execute("VACUUM ANALYZE")
    return _only(owner, "SELECT id FROM tenancy.companies WHERE slug = 'bench-50'"), secret


def compare(title: str, settings: Settings, company: UUID, secret: str) -> None:
    """Run every read in turn under row security and as the owner, and print the medians."""
    print(f"{title:36} {'scope':>8} {'WHERE':>8} {'ratio':>7}")
    for name, (scoped, plain, words) in READS.items():
        values: dict[str, object] = {"company": company, "words": words}
        taken: tuple[list[float], list[float]] = ([], [])
        for _ in range(CONNECTIONS):
            web = psycopg.connect(settings.database_dsn(DatabaseRole.WEB), prepare_threshold=None)
            owner = psycopg.connect(settings.database_dsn(DatabaseRole.OWNER), prepare_threshold=None)
            with web, owner:
                web.execute("SELECT * FROM scope.open_scope(%s, %s)", (secret, str(company)))
                for turn in range(WARM_UP + ROUNDS):
                    # Each goes first in every second pair.
                    both: tuple[Side, Side] = ((web, scoped, taken[0]), (owner, plain, taken[1]))
                    for connection, query, kept in both if turn % 2 else both[::-1]:
                        took = _took(connection, query, values)
                        if turn >= WARM_UP:
                            kept.append(took)
        mine, base = (statistics.median(each) for each in taken)
        print(f"{name:36} {mine:8.3f} {base:8.3f} {mine / base:7.2f}", flush=True)


def put_a_constant_into_the_policy(settings: Settings, company: UUID) -> None:
    """Have the policy of reading compare with a value that nobody has to verify."""
    with psycopg.connect(settings.database_dsn(DatabaseRole.OWNER)) as owner:
        owner.execute(
            sql.SQL("ALTER POLICY scoped_read ON workspace.records USING (company_id = (SELECT {}::uuid))").format(
                str(company)
            )
        )


def _took(connection: psycopg.Connection[Any], query: LiteralString, values: dict[str, object]) -> float:
    started = time.perf_counter()
    rows = connection.execute(query, values).fetchall()
    took = (time.perf_counter() - started) * 1000
    if not rows:
        raise RuntimeError("a read that finds nothing measures nothing")
    return took


def _only(owner: psycopg.Connection[Any], query: LiteralString) -> Any:  # noqa: ANN401 - one value of any type
    row = owner.execute(query).fetchone()
    if row is None:
        raise RuntimeError("the database returned no row")
    return row[0]


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
        compare("milliseconds, median", settings, company, secret)
        put_a_constant_into_the_policy(settings, company)
        compare("with a constant in the policy", settings, company, secret)
    finally:
        postgres.stop()
        shutil.rmtree(var, ignore_errors=True)


if __name__ == "__main__":
    from operalta.operations.privileges import leave_root

    leave_root(Path(__file__).resolve().parent.parent, (), module="bench.row_security")
    main()
