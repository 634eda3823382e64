"""Brings the database to this release: roles, migrations, hardening, the copy of the role templates, the policy check.

All of it is one transaction on one connection: what the policy check finds undoes everything, and the database stays
as it was. A statement that cannot run in a transaction, such as CREATE INDEX CONCURRENTLY, has no place in a migration
of ours. Should one be needed, it gets a step of its own in `migrate`, after the commit: written so that it can be run
again (IF NOT EXISTS), and only for what row security does not rest on, since its outcome is not undone. An index that
such a step left half made is found by the policy check (`not_in_force`).
"""

import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, pool

from operalta.access import rules
from operalta.db.errors import DatabaseOutOfReach, PolicyGaps, SchemaFromTheFuture
from operalta.db.policy_check import check_policies
from operalta.db.roles import ensure_roles
from operalta.settings import DatabaseRole
from operalta.terms.registry import upholds

_MIGRATIONS = Path(__file__).parent / "migrations"


@upholds("2.4.5")
def migrate(owner_dsn: str, passwords: Mapping[DatabaseRole, str]) -> str:
    """Migrate as the owner and return the revision reached.

    Raise DatabaseOutOfReach where nothing answers, SchemaFromTheFuture where a newer release has migrated it,
    PolicyGaps where what would come of it is not covered by row security; nothing is changed then.
    Run again, it changes nothing but the passwords it was given. Two at once stand in line.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)
    with _one_transaction(owner_dsn) as (alchemy, connection):
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('operalta.migrate', 0))")
        _refuse_the_future(connection)
        ensure_roles(connection, passwords)
        config = configuration()
        config.attributes["connection"] = alchemy
        command.upgrade(config, "head")
        connection.execute((_MIGRATIONS / "harden.sql").read_bytes())
        _copy_role_templates(connection)
        if gaps := check_policies(connection):
            raise PolicyGaps(
                "The migrated database would have gaps in row security, so nothing was changed and nothing is "
                "started:\n" + "\n".join(f"  {gap.place}: {gap.fault}. Mend: {gap.mend}" for gap in gaps)
            )
    return head()


@contextmanager
def _one_transaction(owner_dsn: str) -> Generator[tuple[Connection, psycopg.Connection[Any]]]:
    """Open the owner's one transaction, as Alembic's layer and the driver each see it."""
    try:
        connection = psycopg.connect(owner_dsn, connect_timeout=10)
        # Whatever is stored for the owner or the database: names without a schema are those of `public`.
        connection.execute("SELECT set_config('search_path', 'public', false)")
        connection.commit()
    except psycopg.OperationalError as error:
        raise DatabaseOutOfReach(f"The database does not answer: {error}") from error
    engine = create_engine("postgresql+psycopg://", creator=lambda: connection, poolclass=pool.NullPool)
    # Its layer asks the server a few things when it first connects and ends that transaction, so ours begins after.
    with engine.connect() as alchemy, alchemy.begin():
        yield alchemy, connection


def configuration() -> Config:
    """Return Alembic's configuration for the migrations of this release."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config


def head() -> str:
    """Return the newest revision that this release knows."""
    return ScriptDirectory.from_config(configuration()).get_current_head() or ""


def _refuse_the_future(connection: psycopg.Connection[Any]) -> None:
    present = connection.execute("SELECT to_regclass('public.alembic_version')").fetchone()
    if present is None or present[0] is None:
        return
    row = connection.execute("SELECT version_num FROM public.alembic_version").fetchone()
    known = {script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()}
    if row is not None and row[0] not in known:
        raise SchemaFromTheFuture(
            f"The database is at revision {row[0]}, which this release does not know: run the newer release."
        )


def _copy_role_templates(connection: psycopg.Connection[Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM access.role_permissions")
        cursor.executemany(
            "INSERT INTO access.role_permissions (company_kind, role, permission) VALUES (%s, %s, %s)",
            rules.table(),
        )
