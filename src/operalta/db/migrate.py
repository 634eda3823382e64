"""Brings the database to this release: roles, migrations, hardening, the copy of the role templates."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, pool

from operalta.access import rules
from operalta.db.errors import DatabaseOutOfReach, PolicyGaps, SchemaFromTheFuture
from operalta.db.policy_check import check_policies
from operalta.db.roles import ensure_roles
from operalta.settings import DatabaseRole

_MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(owner_dsn: str, passwords: Mapping[DatabaseRole, str]) -> str:
    """Migrate as the owner and return the revision reached.

    Raise DatabaseOutOfReach where nothing answers, SchemaFromTheFuture where a newer release has migrated it,
    PolicyGaps where what came of it is not covered by row security.
    Run again, it changes nothing but the passwords it was given.
    """
    try:
        connection = psycopg.connect(owner_dsn, connect_timeout=10)
    except psycopg.OperationalError as error:
        raise DatabaseOutOfReach(f"The database does not answer: {error}") from error
    with connection:
        ensure_roles(connection, passwords)
        connection.commit()
        _refuse_the_future(connection)
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(owner_dsn), poolclass=pool.NullPool)
    config = configuration()
    config.attributes["engine"] = engine
    logging.getLogger("alembic").setLevel(logging.WARNING)
    command.upgrade(config, "head")
    with psycopg.connect(owner_dsn) as connection:
        connection.execute((_MIGRATIONS / "harden.sql").read_bytes())
        _copy_role_templates(connection)
        if gaps := check_policies(connection):
            raise PolicyGaps(
                "The migrated database has gaps in row security, so nothing is started:\n"
                + "\n".join(f"  {gap.place}: {gap.fault}. Mend: {gap.mend}" for gap in gaps)
            )
    return head()


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
