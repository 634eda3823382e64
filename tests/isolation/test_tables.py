"""Every table, every verb, as everybody: what the catalogue has, against what `expectations.py` says.

Whatever the law says, nobody sees or touches a row of a company that is not theirs; that is held apart.
"""

from collections.abc import Generator
from contextlib import contextmanager

import psycopg
import pytest

from operalta.access.rules import Allowed, CompanyKind, Permission, Role, StaffRole, decide
from operalta.settings import DatabaseRole
from tests.conftest import Servers
from tests.isolation.actors import ACTORS, Actor, member, run, staff
from tests.isolation.estate import Estate, Owner, build, clear
from tests.isolation.expectations import EVERY, LAWS, VERBS
from tests.isolation.judging import Cells
from tests.isolation.matrix import Ground, Seat, Table, tables

SERVING = [role.value for role in DatabaseRole if role is not DatabaseRole.OWNER]


@pytest.fixture(scope="module")
def estate(owner: Owner) -> Generator[Estate]:
    made = build(owner)
    yield made
    clear(owner, made)


@pytest.fixture(scope="module")
def ground(owner: Owner, estate: Estate) -> Ground:
    assert estate.startup.id != estate.investor.id
    return Ground(owner)


@pytest.fixture(scope="module")
def catalogue(owner: Owner) -> dict[str, Table]:
    return tables(owner, SERVING)


@contextmanager
def seated(actor: Actor, servers: Servers, estate: Estate, ground: Ground) -> Generator[Seat]:
    """Open the actor's scope on a connection of their database role."""
    with psycopg.connect(servers.settings.database_dsn(actor.database_role)) as connection:
        if actor.opens:
            facts = actor.facts(estate)
            connection.execute(actor.opens, facts)
            bound = connection.execute("SELECT scope.scope_person(), scope.scope_company()").fetchone()
            assert bound == (facts["person"], facts["company"]), actor.name
        yield Seat(connection, ground)
        connection.rollback()


@pytest.mark.proves("2.4.1", "2.4.2", "7.2.3")
def test_the_law_knows_every_table_and_no_other(catalogue: dict[str, Table]) -> None:
    assert LAWS.keys() == catalogue.keys()


@pytest.mark.proves("2.4.2", "7.2.3")
def test_nothing_is_granted_but_what_the_law_says(catalogue: dict[str, Table]) -> None:
    granted = {
        (name, role, verb): columns
        for name, table in catalogue.items()
        for (role, verb), columns in table.granted.items()
    }
    lawful = {
        (name, f"operalta_{role}", law.verb): law.columns_of(catalogue[name].columns)
        for name, laws in LAWS.items()
        for law in laws
        for role in law.roles
    }
    assert granted == lawful


def test_every_table_has_rows_of_both_companies_to_leak(
    catalogue: dict[str, Table], ground: Ground, estate: Estate
) -> None:
    empty = [name for name, table in catalogue.items() if not ground.rows(table, tuple(table.columns), EVERY)]
    assert empty == []
    for name, table in catalogue.items():
        # Staff are members of neither.
        if {"company_id", "person_id"} & table.columns.keys() and name != "identity.staff":
            assert ground.count_of(table, estate.startup), name
            assert ground.count_of(table, estate.investor), name


@pytest.mark.proves("2.4.2", "2.5.0", "2.5.4", "7.2.3")
@pytest.mark.parametrize("actor", ACTORS, ids=lambda actor: actor.name)
def test_everybody_gets_what_the_law_says_and_nothing_else(
    actor: Actor, servers: Servers, estate: Estate, ground: Ground, catalogue: dict[str, Table]
) -> None:
    with seated(actor, servers, estate, ground) as seat:
        cells = Cells(actor, estate, seat)
        wrong = [found for table in catalogue.values() for verb in VERBS for found in cells.judged(table, verb)]
    assert wrong == []


@pytest.mark.proves("2.5.0", "2.5.1", "2.5.3")
@pytest.mark.parametrize("kind", CompanyKind)
def test_application_and_database_decide_alike(
    kind: CompanyKind, servers: Servers, estate: Estate, ground: Ground
) -> None:
    """Each pair of role and permission is put to both separately, for a person, an agent at work for one, and staff."""
    for role in (*Role, *StaffRole):
        decided = [(each.value, isinstance(decide(kind, role, each), Allowed)) for each in Permission]
        for actor in (staff(kind, role),) if isinstance(role, StaffRole) else (member(kind, role), run(kind, role)):
            with seated(actor, servers, estate, ground) as seat:
                answers = seat.connection.execute(
                    "SELECT wanted, scope.may(wanted) AND scope.company_permitting(wanted) = scope.scope_company(),"
                    " %s = ANY (scope.roles_permitted(wanted)) FROM unnest(%s::text[]) AS wanted",
                    (role, [*Permission]),
                ).fetchall()
            assert answers == [(name, allowed, allowed) for name, allowed in decided], (kind, role)


@pytest.mark.proves("2.5.0", "2.5.3")
def test_without_a_membership_the_database_permits_nothing(servers: Servers, estate: Estate, ground: Ground) -> None:
    asked = 0
    for actor in ACTORS:
        if actor.role is None and actor.database_role in {DatabaseRole.WEB, DatabaseRole.WORKER}:
            asked += 1
            with seated(actor, servers, estate, ground) as seat:
                answers = seat.connection.execute(
                    "SELECT wanted FROM unnest(%s::text[]) AS wanted WHERE scope.may(wanted)"
                    " OR scope.roles_permitted(wanted) <> '{}' OR scope.company_permitting(wanted) IS NOT NULL",
                    ([*Permission],),
                ).fetchall()
            assert answers == [], actor.name
    assert asked > 5
