"""The three layers that keep companies apart, and how each of them is taken away for a while.

The check on every route, the scope that the database opens for members only, and the row policies.
"""

import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import LiteralString

import pytest
from psycopg import sql

from operalta.access import rules
from operalta.db import permission
from tests.isolation.estate import Owner

ROUTE_CHECK, SCOPE, POLICIES = LAYERS = ("the check on every route", "the scope", "the policies")


@contextmanager
def without(owner: Owner, *layers: str) -> Generator[None]:
    """Take layers away; put them back whatever happens."""
    ways = {
        ROUTE_CHECK: _without_route_check,
        SCOPE: partial(_without_scope, owner),
        POLICIES: partial(_without_policies, owner),
    }
    with ExitStack() as gone:
        for layer in layers:
            gone.enter_context(ways[layer]())
        yield


@contextmanager
def _without_route_check() -> Generator[None]:
    """Let every check of a permission pass, wherever it is called."""

    def allow(*_: object) -> rules.Allowed:
        return rules.Allowed()

    def hold_all(*_: object) -> frozenset[rules.Permission]:
        return rules.ALL

    with pytest.MonkeyPatch.context() as patched:
        for original, replacement in (
            (permission.require, allow),
            (rules.decide, allow),
            (rules.permissions_of, hold_all),
        ):
            assert _replace_everywhere(patched, original, replacement) > 1
        yield


def _replace_everywhere(patched: pytest.MonkeyPatch, original: object, replacement: object) -> int:
    """Replace what modules have imported by name as well, and return in how many places it stood."""
    places = [
        (module, name)
        for key, module in list(sys.modules.items())
        if key.startswith("operalta.")
        for name, value in vars(module).items()
        if value is original
    ]
    for module, name in places:
        patched.setattr(module, name, replacement)
    return len(places)


_OPEN_FOR_ANYBODY: LiteralString = """
DECLARE
    found record;
    place record;
BEGIN
    SELECT live.session_id, live.person_id, person.is_operator INTO found
        FROM scope.live_session(secret) AS live JOIN identity.people AS person ON person.id = live.person_id;
    SELECT host.id, host.slug, host.kind, membership.role INTO place
        FROM tenancy.companies AS host LEFT JOIN tenancy.memberships AS membership
            ON membership.company_id = host.id AND membership.person_id = found.person_id
        WHERE host.slug = company OR host.id::text = company;
    PERFORM scope.bind('person', found.person_id, place.id, place.kind, place.role, found.session_id, NULL,
        found.is_operator);
    RETURN QUERY SELECT found.session_id, found.person_id, found.is_operator, place.id, place.slug, place.kind,
        place.role;
END
"""


@contextmanager
def _without_scope(owner: Owner) -> Generator[None]:
    """Bind whatever company was asked for. What role somebody has who is no member, nobody can say."""
    row = owner.execute("SELECT pg_get_functiondef('scope.open_scope'::regproc) AS original").fetchone()
    assert row is not None
    head, _, _ = row["original"].partition("AS $function$")
    _define(owner, f"{head}AS $function${_OPEN_FOR_ANYBODY}$function$")
    try:
        yield
    finally:
        _define(owner, row["original"])


def _define(owner: Owner, function: str) -> None:
    with owner.transaction():
        owner.execute("SET LOCAL ROLE operalta_definer")
        owner.execute(function.encode())


@contextmanager
def _without_policies(owner: Owner) -> Generator[None]:
    """Switch row security off on every table."""
    tables = owner.execute(
        "SELECT relnamespace::regnamespace::text AS space, relname AS name FROM pg_class"
        " WHERE relkind IN ('r', 'p') AND relrowsecurity"
    ).fetchall()
    assert len(tables) > 40
    names = [sql.Identifier(table["space"], table["name"]) for table in tables]
    try:
        for name in names:
            owner.execute(sql.SQL("ALTER TABLE {} DISABLE ROW LEVEL SECURITY").format(name))
        yield
    finally:
        for name in names:
            owner.execute(sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(name))
