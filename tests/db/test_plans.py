"""How PostgreSQL goes about row security: each policy's functions are called once a statement, never once a row."""

from collections.abc import Iterator
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql

from operalta.access.rules import CompanyKind, Role
from tests.conftest import Servers
from tests.isolation.actors import Actor, member, run
from tests.isolation.estate import Estate, Owner
from tests.isolation.matrix import tables

CONDITIONS: Final = ("Filter", "Index Cond", "Recheck Cond", "Join Filter", "Hash Cond", "Merge Cond")
READERS: Final = (member(CompanyKind.STARTUP, Role.FOUNDER), run(CompanyKind.STARTUP, Role.FOUNDER))


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def for_each_row(connection: psycopg.Connection[Any], query: sql.Composed) -> list[str]:
    """Return the conditions of a query's plan in which a function of the scope stands."""
    row = connection.execute(sql.SQL("EXPLAIN (FORMAT JSON) ") + query).fetchone()
    assert row is not None
    plan: dict[str, Any] = row[0][0]["Plan"]
    return [node[each] for node in nodes(plan) for each in CONDITIONS if "scope." in str(node.get(each, ""))]


@pytest.mark.proves("2.4.2")
@pytest.mark.parametrize("actor", READERS, ids=lambda actor: actor.database_role)
def test_no_read_policy_calls_a_function_for_each_row(
    servers: Servers, estate: Estate, owner: Owner, actor: Actor
) -> None:
    walked = 0
    with psycopg.connect(servers.settings.database_dsn(actor.database_role)) as connection:
        connection.execute(actor.opens, actor.facts(estate))
        for table in tables(owner, [actor.database_role.value]).values():
            granted = table.granted.get((actor.database_role.value, "SELECT"))
            if granted:
                walked += 1
                columns = sql.SQL(", ").join(map(sql.Identifier, granted))
                query = sql.SQL("SELECT {} FROM {}").format(columns, table.identifier)
                assert for_each_row(connection, query) == [], table.name
        connection.rollback()
    assert walked > 15


def test_a_function_that_is_called_for_each_row_is_seen(servers: Servers, estate: Estate) -> None:
    actor = READERS[0]
    with psycopg.connect(servers.settings.database_dsn(actor.database_role)) as connection:
        connection.execute(actor.opens, actor.facts(estate))
        query = sql.SQL("SELECT id FROM {} WHERE company_id = {}()").format(
            sql.Identifier("workspace", "records"), sql.Identifier("scope", "scope_company")
        )
        assert for_each_row(connection, query) != []
        connection.rollback()
