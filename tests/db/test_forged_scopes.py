"""The scope that the database signs, under attack: forged, mixed, replayed, kept, and raced with transactions."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final, LiteralString

import psycopg
import pytest
from psycopg.rows import tuple_row

from operalta.access.rules import CompanyKind, Role, StaffRole
from operalta.db.pools import Pool
from operalta.settings import DatabaseRole
from tests.conftest import Servers
from tests.isolation.actors import AS_PERSON, IN_COMPANY, Actor, member, run, staff
from tests.isolation.estate import Company, Estate, Owner

Connection = psycopg.Connection[tuple[Any, ...]]
FOUNDER: Final = member(CompanyKind.STARTUP, Role.FOUNDER)
HERE: Final = Actor("guest", DatabaseRole.WEB, IN_COMPANY, "guest", CompanyKind.STARTUP, Role.OBSERVER)
THERE: Final = Actor("guest", DatabaseRole.WEB, IN_COMPANY, "guest", CompanyKind.INVESTOR, Role.FOUNDER)
SCOPED: Final = (FOUNDER, run(CompanyKind.STARTUP, Role.FOUNDER))

SIGNATURE_LENGTH: Final = 64
VALUE: LiteralString = "SELECT current_setting('operalta.scope', true)"
SET: LiteralString = "SELECT set_config('operalta.scope', %s, true)"
COMPANIES: LiteralString = "SELECT slug FROM tenancy.companies"
# Every part of the scope that verifies, and every kind of row that it could show.
SEEN: LiteralString = """
SELECT (SELECT count(scope.part(which)) FROM generate_series(0, 12) AS which)
    + (SELECT count(*) FROM tenancy.companies) + (SELECT count(*) FROM tenancy.memberships)
    + (SELECT count(*) FROM identity.people) + (SELECT count(*) FROM workspace.records)
    + (SELECT count(*) FROM workspace.messages) + (SELECT count(*) FROM agents.runs)
"""


@contextmanager
def connected(servers: Servers, actor: Actor) -> Generator[Connection]:
    with psycopg.connect(servers.settings.database_dsn(actor.database_role), row_factory=tuple_row) as connection:
        yield connection
        connection.rollback()


def value(connection: Connection) -> str:
    return str(only(connection, VALUE))


def only(connection: Connection, query: LiteralString, *values: object) -> object:
    row = connection.execute(query, values).fetchone()
    assert row is not None
    return row[0]


def bind(connection: Connection, actor: Actor, estate: Estate) -> str:
    """Open a scope and return its value."""
    connection.execute(actor.opens, actor.facts(estate))
    return value(connection)


def alterations(genuine: str, foreign: Company) -> Iterator[str]:
    """Yield everything that somebody might write in place of a scope."""
    parts = genuine.split("|")
    signature = parts[-1]
    wanted = ("", "run", "person", "staff", "founder", "startup", "investor", "1", "0", "t", " ", foreign.slug, genuine)
    people = (str(person.id) for person in foreign.people.values())
    sessions = (str(person.session_id) for person in foreign.people.values())
    ids = (*wanted, str(foreign.id), *people, *sessions, *(str(each.id) for each in foreign.runs.values()))
    for place, part in enumerate(parts):
        before, after = parts[:place], parts[place + 1 :]
        number = [str(int(part) + step) for step in (-1, 1)] if part.isdecimal() else []
        for instead in (*ids, *number, part.upper(), f" {part}", f"{part} ", part * 2, part[:-1], part[::-1]):
            yield "|".join((*before, instead, *after))
        yield "|".join((*before, *after))
        yield "|".join((*before, part, part, *after))
        for other in range(place):
            swapped = list(parts)
            swapped[place], swapped[other] = swapped[other], swapped[place]
            yield "|".join(swapped)
    for length in range(len(genuine)):
        yield genuine[:length]
        yield genuine[length + 1 :]
    body = genuine.removesuffix(signature)
    for place, character in enumerate(signature):
        yield body + signature[:place] + ("0" if character != "0" else "1") + signature[place + 1 :]
    yield from (
        genuine + "|",
        "|" + genuine,
        genuine + "\n",
        genuine.replace("|", "||"),
        genuine.replace("-", "\u2010"),
    )


@pytest.mark.proves("2.4.2")
@pytest.mark.parametrize("actor", SCOPED, ids=lambda actor: actor.database_role)
def test_a_scope_that_was_altered_anywhere_opens_nothing(servers: Servers, estate: Estate, actor: Actor) -> None:
    with connected(servers, actor) as connection:
        genuine = bind(connection, actor, estate)
        forged = {each for each in alterations(genuine, estate.investor) if each != genuine}
        assert len(forged) > 500
        for each in forged:
            connection.execute(SET, (each,))
            assert only(connection, SEEN) == 0, each
        connection.execute(SET, (genuine,))
        assert only(connection, SEEN) != 0


@pytest.mark.proves("2.4.2")
def test_the_parts_of_two_genuine_scopes_make_no_third(servers: Servers, estate: Estate) -> None:
    with connected(servers, HERE) as connection:
        here, there = bind(connection, HERE, estate).split("|"), bind(connection, THERE, estate).split("|")
        differing = [place for place, (one, two) in enumerate(zip(here, there, strict=True)) if one != two]
        assert len(differing) > 3, "company, kind, role and signature at least"
        for first, second in ((here, there), (there, here)):
            for chosen in range(1, 2 ** len(differing) - 1):
                mixed = list(first)
                for bit, place in enumerate(differing):
                    if chosen >> bit & 1:
                        mixed[place] = second[place]
                connection.execute(SET, ("|".join(mixed),))
                assert only(connection, SEEN) == 0, mixed


@pytest.mark.proves("2.4.2")
@pytest.mark.parametrize("actor", SCOPED, ids=lambda actor: actor.database_role)
def test_a_scope_cannot_be_replayed(servers: Servers, estate: Estate, actor: Actor) -> None:
    """Neither in the next transaction, nor in another connection of the same role, nor in one of the other role."""
    with connected(servers, actor) as connection:
        genuine = bind(connection, actor, estate)
        for other in SCOPED:
            with connected(servers, other) as elsewhere:
                elsewhere.execute(SET, (genuine,))
                assert only(elsewhere, SEEN) == 0
        assert only(connection, SEEN) != 0
        for end in ("COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN"):
            genuine = bind(connection, actor, estate)
            connection.execute("SELECT set_config('stolen.scope', %s, false)", (genuine,))
            connection.execute(end.encode())
            assert only(connection, SEEN) == 0, end
            connection.execute(SET, (genuine,))
            assert only(connection, SEEN) == 0, end
            connection.execute("SELECT set_config('operalta.scope', %s, false)", (genuine,))
            connection.commit()
            assert only(connection, SEEN) == 0, end


@pytest.mark.proves("2.4.2")
@pytest.mark.parametrize("actor", SCOPED, ids=lambda actor: actor.database_role)
def test_a_scope_holds_in_its_own_backend_and_from_its_own_start_alone(
    servers: Servers, estate: Estate, owner: Owner, actor: Actor
) -> None:
    """A genuine signature opens nothing where it was made for another backend or for another moment."""
    with connected(servers, actor) as connection:
        says = bind(connection, actor, estate)[:-SIGNATURE_LENGTH]
        backend, start = connection.execute(
            "SELECT pg_backend_pid(), extract(epoch FROM transaction_timestamp())"
        ).fetchall()[0]
        for other_backend, later in ((0, 0), (1, 0), (-1, 0), (0, Decimal("0.000001")), (0, Decimal(-1)), (0, 60)):
            signature = _signed(owner, f"{says}{backend + other_backend}|{start + later}")
            connection.execute(SET, (says + signature,))
            assert (only(connection, SEEN) != 0) == (not other_backend and not later), (other_backend, later)


def _signed(owner: Owner, says: str) -> str:
    """Return the database's own signature, which no role that serves can have."""
    with owner.transaction():
        owner.execute("SET LOCAL ROLE operalta_definer")
        row = owner.execute("SELECT scope.signature(%s) AS signature", (says,)).fetchone()
    assert row is not None
    return str(row["signature"])


@pytest.mark.proves("2.4.2")
@pytest.mark.xfail(strict=True, reason="all transactions of one message have the same start, which is what is signed")
def test_a_scope_does_not_outlive_its_transaction_within_one_message(servers: Servers, estate: Estate) -> None:
    facts = FOUNDER.facts(estate)
    with connected(servers, FOUNDER) as connection:
        connection.autocommit = True
        cursor = connection.execute(
            f"BEGIN; SELECT FROM scope.open_scope('{facts['session']}', '{facts['slug']}');"  # noqa: S608 - an attack
            " SELECT set_config('stolen.scope', current_setting('operalta.scope'), false); COMMIT AND CHAIN;"
            " SELECT set_config('operalta.scope', current_setting('stolen.scope'), true);"
            " SELECT set_config('stolen.count', count(*)::text, false) FROM tenancy.companies; COMMIT".encode()
        )
        assert cursor.nextset()
        assert only(connection, "SELECT current_setting('stolen.count')") == "0"


@pytest.mark.proves("2.4.2")
def test_a_scope_does_not_outlive_its_transaction_within_one_block(servers: Servers, estate: Estate) -> None:
    facts = FOUNDER.facts(estate)
    with connected(servers, FOUNDER) as connection:
        connection.autocommit = True
        connection.execute(
            f"""DO $$ DECLARE kept text; BEGIN
                PERFORM scope.open_scope('{facts["session"]}', '{facts["slug"]}');
                kept := current_setting('operalta.scope');
                PERFORM set_config('stolen.before', count(*)::text, false) FROM tenancy.companies;
                COMMIT;
                PERFORM set_config('operalta.scope', kept, true);
                PERFORM set_config('stolen.after', count(*)::text, false) FROM tenancy.companies;
            END $$""".encode()
        )
        assert only(connection, "SELECT current_setting('stolen.before')") == "1"
        assert only(connection, "SELECT current_setting('stolen.after')") == "0"


@pytest.mark.proves("2.4.2")
def test_two_scopes_in_one_transaction_are_never_open_at_once(servers: Servers, estate: Estate) -> None:
    startup, investor = [(estate.startup.slug,)], [(estate.investor.slug,)]
    with connected(servers, HERE) as connection:
        bind(connection, HERE, estate)
        assert connection.execute(COMPANIES).fetchall() == startup
        connection.execute("SAVEPOINT before")
        bind(connection, THERE, estate)
        assert connection.execute(COMPANIES).fetchall() == investor
        connection.execute("ROLLBACK TO SAVEPOINT before")
        assert connection.execute(COMPANIES).fetchall() == startup
        connection.execute("SAVEPOINT before")
        connection.execute(AS_PERSON, HERE.facts(estate))
        assert connection.execute(COMPANIES).fetchall() == []
        connection.execute("RELEASE SAVEPOINT before")
        assert connection.execute(COMPANIES).fetchall() == []


@pytest.mark.proves("2.4.2", "2.5.0")
def test_asking_for_a_company_that_is_not_ones_own_opens_nothing_more(servers: Servers, estate: Estate) -> None:
    facts = FOUNDER.facts(estate)
    with connected(servers, FOUNDER) as connection:
        for slug in (estate.investor.slug, str(estate.investor.id), "", "%", "' OR true --", "no-such-company"):
            connection.execute(IN_COMPANY, facts | {"slug": slug})
            assert only(connection, SEEN) == 0, slug
        bind(connection, FOUNDER, estate)
        connection.execute(IN_COMPANY, facts | {"slug": estate.investor.slug})
        assert connection.execute(COMPANIES).fetchall() == [(estate.startup.slug,)]


def test_transactions_cannot_be_prepared_and_scopes_not_be_had_in_a_chosen_snapshot(
    servers: Servers, estate: Estate
) -> None:
    with connected(servers, FOUNDER) as connection:
        bind(connection, FOUNDER, estate)
        with pytest.raises(psycopg.errors.ActiveSqlTransaction):
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.rollback()
        bind(connection, FOUNDER, estate)
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            connection.execute("PREPARE TRANSACTION 'mine'")
        connection.rollback()
        assert only(connection, SEEN) == 0
        bind(connection, FOUNDER, estate)
        with pytest.raises(psycopg.errors.ActiveSqlTransaction):
            connection.execute("DISCARD ALL")


@pytest.mark.proves("2.4.2")
def test_what_was_prepared_or_declared_in_one_scope_gives_the_rows_of_the_present_one(
    servers: Servers, estate: Estate
) -> None:
    with connected(servers, HERE) as connection:
        bind(connection, HERE, estate)
        connection.execute("PREPARE theirs AS SELECT slug FROM tenancy.companies")
        for mode in ("force_generic_plan", "force_custom_plan"):
            connection.execute("SELECT set_config('plan_cache_mode', %s, false)", (mode,))
            bind(connection, HERE, estate)
            assert connection.execute("EXECUTE theirs").fetchall() == [(estate.startup.slug,)]
            connection.commit()
            assert connection.execute("EXECUTE theirs").fetchall() == []
            bind(connection, THERE, estate)
            assert connection.execute("EXECUTE theirs").fetchall() == [(estate.investor.slug,)]
        for fetched_first in (True, False):
            bind(connection, HERE, estate)
            connection.execute("DECLARE theirs SCROLL CURSOR FOR SELECT slug FROM tenancy.companies")
            if fetched_first:
                assert connection.execute("FETCH ALL FROM theirs").fetchall() == [(estate.startup.slug,)]
                connection.execute("MOVE BACKWARD ALL FROM theirs")
            bind(connection, THERE, estate)
            # It reads in the scope in which it was first read from; never in two.
            expected = estate.startup if fetched_first else estate.investor
            assert connection.execute("FETCH ALL FROM theirs").fetchall() == [(expected.slug,)]
            connection.execute("CLOSE theirs")


@pytest.mark.proves("2.4.2")
async def test_what_one_loan_leaves_in_a_connection_the_next_does_not_find(servers: Servers, estate: Estate) -> None:
    """A cursor WITH HOLD keeps its rows past the transaction: so connections go back clean."""
    pool = Pool(DatabaseRole.WEB, servers.settings.database_dsn(DatabaseRole.WEB), 1)
    await pool.open()
    try:
        async with pool.acquire() as connection:
            backend = connection.info.backend_pid
            await connection.execute(IN_COMPANY, FOUNDER.facts(estate))
            for leaving in LEFT:
                await connection.execute(leaving)
            await connection.commit()
            kept = await (await connection.execute("FETCH ALL FROM held")).fetchall()
            assert [row["slug"] for row in kept] == [estate.startup.slug], "as long as it is lent, it is there"
        async with pool.acquire() as connection:
            assert connection.info.backend_pid == backend
            row = await (await connection.execute(_FOUND)).fetchone()
            assert row == {"cursors": 0, "settings": None, "read_only": "off", "isolation": "read committed"}
            with pytest.raises(psycopg.errors.InvalidCursorName):
                await connection.execute("FETCH ALL FROM held")
    finally:
        await pool.close()


LEFT: Final[tuple[LiteralString, ...]] = (
    "DECLARE held CURSOR WITH HOLD FOR SELECT slug FROM tenancy.companies",
    "SELECT set_config('stolen.scope', current_setting('operalta.scope'), false)",
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
)
_FOUND: LiteralString = """
SELECT (SELECT count(*)::int FROM pg_cursors) AS cursors, nullif(current_setting('stolen.scope', true), '') AS settings,
    current_setting('default_transaction_read_only') AS read_only,
    current_setting('default_transaction_isolation') AS isolation
"""


@pytest.mark.proves("2.5.0", "7.2.3")
def test_staff_who_become_members_while_they_look_stay_staff(servers: Servers, estate: Estate, owner: Owner) -> None:
    actor = staff(CompanyKind.STARTUP, StaffRole.SUPPORT)
    facts = {"company": estate.startup.id, "person": actor.person_in(estate).id}
    with connected(servers, actor) as connection:
        bind(connection, actor, estate)
        owner.execute(
            "INSERT INTO tenancy.memberships (company_id, person_id, role) VALUES (%(company)s, %(person)s, 'founder')",
            facts,
        )
        try:
            assert only(connection, "SELECT scope.may('memory:write')") is False
            for table in ("workspace.records SET status", "agents.agents SET name", "tenancy.memberships SET role"):
                assert connection.execute(f"UPDATE {table} = 'observer'".encode()).rowcount == 0, table
        finally:
            owner.execute(
                "DELETE FROM tenancy.memberships WHERE company_id = %(company)s AND person_id = %(person)s", facts
            )


@pytest.mark.proves("2.4.2", "2.5.0")
@pytest.mark.parametrize("kind", CompanyKind)
def test_a_membership_that_ends_stops_writing_at_once_and_reading_with_the_transaction(
    servers: Servers, estate: Estate, owner: Owner, kind: CompanyKind
) -> None:
    company = estate.company(kind)
    advisor = company.people[Role.ADVISOR]
    actor = member(kind, Role.ADVISOR)
    end = (
        "UPDATE tenancy.memberships SET ended_at = CASE WHEN %s THEN now() END WHERE company_id = %s AND person_id = %s"
    )
    with connected(servers, actor) as connection:
        bind(connection, actor, estate)
        assert connection.execute("UPDATE workspace.records SET status = status").rowcount > 0
        owner.execute(end, (True, company.id, advisor.id))
        try:
            assert connection.execute("UPDATE workspace.records SET status = status").rowcount == 0
            connection.rollback()
            connection.execute(actor.opens, actor.facts(estate))
            assert only(connection, SEEN) == 0
            claimed = run(kind, Role.ADVISOR)
            with connected(servers, claimed) as working:
                assert working.execute(claimed.opens, claimed.facts(estate)).fetchone() is None
                assert only(working, SEEN) == 0
        finally:
            owner.execute(end, (False, company.id, advisor.id))
