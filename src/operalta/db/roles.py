"""The database's roles: made by the owner, each with a password of its own and nothing else to begin with."""

from collections.abc import Mapping
from typing import Any, LiteralString

import psycopg

from operalta.settings import DatabaseRole
from operalta.terms.registry import upholds

SERVING_ROLES = tuple(role for role in DatabaseRole if role is not DatabaseRole.OWNER)
DEFINER = "operalta_definer"
"""Owns the definer functions; nobody can connect as it."""

# The role's name and password verifier arrive as settings of this transaction: ALTER ROLE takes no parameters.
_MAKE_ROLE: LiteralString = """
DO $$
DECLARE
    wanted text := current_setting('operalta.role_name');
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
        EXECUTE format('CREATE ROLE %I', wanted);
    END IF;
END $$;
"""
_LET_SIGN_IN: LiteralString = """
DO $$
BEGIN
    EXECUTE format('ALTER ROLE %I LOGIN PASSWORD %L', current_setting('operalta.role_name'),
        current_setting('operalta.role_verifier'));
END $$;
"""
# From PostgreSQL 16 on, the maker of a role needs SET on it to give it functions.
_LET_OWNER_HAND_OVER: LiteralString = """
DO $$
BEGIN
    IF current_setting('server_version_num')::integer >= 160000 THEN
        EXECUTE format('GRANT operalta_definer TO %I WITH INHERIT FALSE, SET TRUE', current_user);
    ELSIF NOT pg_has_role(current_user, 'operalta_definer', 'MEMBER') THEN
        EXECUTE format('GRANT operalta_definer TO %I', current_user);
    END IF;
END $$;
"""
_CLOSE_DATABASE: LiteralString = """
DO $$
BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO operalta_signin, operalta_web, operalta_worker, operalta_dispatch, '
        'operalta_job, operalta_backup, operalta_verifier', current_database());
END $$;
"""


@upholds("7.2.3")
def ensure_roles(connection: psycopg.Connection[Any], passwords: Mapping[DatabaseRole, str]) -> None:
    """Make the roles that are missing and set each one's password, in one transaction of the owner's.

    The server receives SCRAM verifiers (RFC 5803), never the passwords themselves.
    """
    with connection.transaction():
        _name(connection, DEFINER)
        connection.execute(_MAKE_ROLE)
        for role in SERVING_ROLES:
            _name(connection, role.value)
            connection.execute(_MAKE_ROLE)
            verifier = connection.pgconn.encrypt_password(
                passwords[role].encode(), role.value.encode(), b"scram-sha-256"
            ).decode()
            connection.execute("SELECT set_config('operalta.role_verifier', %s, true)", (verifier,))
            connection.execute(_LET_SIGN_IN)
        connection.execute(_LET_OWNER_HAND_OVER)
        connection.execute(_CLOSE_DATABASE)


def _name(connection: psycopg.Connection[Any], role: str) -> None:
    connection.execute("SELECT set_config('operalta.role_name', %s, true)", (role,))
