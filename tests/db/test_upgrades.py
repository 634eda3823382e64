"""A database that came release by release is the same as one that was made at once."""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from operalta.db import migrate as migration
from operalta.db.migrate import head, migrate
from operalta.db.policy_check import Gap
from operalta.operations.secrets import database_passwords
from operalta.settings import DatabaseRole
from tests.conftest import Servers

# Names instead of numbers, which differ from database to database.
SHAPE: LiteralString = """
    SELECT 'relation' AS kind, class.oid::regclass::text AS name, concat_ws(' ', relkind, relowner::regrole,
        relrowsecurity, relforcerowsecurity,
        (SELECT string_agg(each, ' ' ORDER BY each) FROM unnest(relacl::text[]) AS each)) AS state
        FROM pg_class AS class WHERE relnamespace::regnamespace::text NOT LIKE ALL ('{pg_%,information_schema}')
    UNION ALL SELECT 'column', attrelid::regclass || '.' || attname, concat_ws(' ', atttypid::regtype, attnotnull,
        (SELECT string_agg(each, ' ' ORDER BY each) FROM unnest(attacl::text[]) AS each))
        FROM pg_attribute JOIN pg_class AS class ON class.oid = attrelid WHERE attnum > 0 AND NOT attisdropped
        AND relnamespace::regnamespace::text NOT LIKE ALL ('{pg_%,information_schema}')
    UNION ALL SELECT 'function', oid::regprocedure::text, concat_ws(' ', proowner::regrole, prosecdef, proconfig,
        (SELECT string_agg(each, ' ' ORDER BY each) FROM unnest(proacl::text[]) AS each), md5(pg_get_functiondef(oid)))
        FROM pg_proc WHERE prokind IN ('f', 'p')
        AND pronamespace::regnamespace::text NOT LIKE ALL ('{pg_%,information_schema}')
    UNION ALL SELECT 'policy', polrelid::regclass || '.' || polname, concat_ws(' ', polcmd, polroles::regrole[],
        pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) FROM pg_policy
    UNION ALL SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE conrelid <> 0
    UNION ALL SELECT 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid)
        FROM pg_trigger WHERE NOT tgisinternal
    ORDER BY 1, 2, 3
"""


@contextmanager
def another_database(servers: Servers, name: str) -> Generator[str]:
    """Make a database of its own on the server, and give the owner's address of it."""
    settings = servers.settings
    password = settings.secret("database-postgres").decode()
    address = make_conninfo(host=str(settings.socket_path), user="postgres", password=password, dbname="postgres")
    with psycopg.connect(address, autocommit=True) as superuser:
        superuser.execute(sql.SQL("CREATE DATABASE {} OWNER operalta_owner").format(sql.Identifier(name)))
        try:
            yield make_conninfo(settings.database_dsn(DatabaseRole.OWNER), dbname=name)
        finally:
            superuser.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def shape(address: str) -> list[Any]:
    with psycopg.connect(address) as owner:
        return owner.execute(SHAPE).fetchall()


def nothing_to_find(_: psycopg.Connection[Any]) -> list[Gap]:
    """Stand in for the policy check at earlier steps: it knows how the last one leaves things."""
    return []


@pytest.mark.proves("2.4.5")
def test_a_database_that_came_step_by_step_is_the_same_as_a_new_one(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step is hardened before the next one begins, as in a deployment that follows every release."""
    passwords, last = database_passwords(servers.settings), head()
    whole, steps = Path(migration.__file__).parent / "migrations", tmp_path / "migrations"
    shutil.copytree(whole, steps, ignore=shutil.ignore_patterns("__pycache__", "versions"))
    (steps / "versions").mkdir()
    with another_database(servers, "new") as new, another_database(servers, "stepwise") as stepwise:
        assert migrate(new, passwords) == last
        with monkeypatch.context() as patched:
            patched.setattr(migration, "_MIGRATIONS", steps)
            patched.setattr(migration, "check_policies", nothing_to_find)
            for script in sorted((whole / "versions").glob("*.py")):
                for part in script.parent.glob(f"{script.stem}.*"):
                    shutil.copy(part, steps / "versions")
                migrate(stepwise, passwords)
        assert migrate(stepwise, passwords) == last
        assert shape(stepwise) == shape(new)
