"""Every function that a role may execute, found in the catalogue, called with what belongs to another company.

Its rows stay as they are, no answer has a row of it, and neither answer nor error has a text of it. What the design
lets a role do all the same is listed, with the reason; a function that is not listed is called like any other.
"""

from collections.abc import Generator
from typing import Any, Final

import psycopg
import pytest

from operalta.access.rules import KEY_SCOPES, CompanyKind, Role, StaffRole
from operalta.settings import DatabaseRole
from tests.conftest import Servers
from tests.db.executable import Function, calls, executable_by, ids_of
from tests.isolation.actors import AS_PERSON, Actor, bare, key, key_run, member, run, staff
from tests.isolation.digest import changed, snapshot
from tests.isolation.estate import Estate, Owner, build, clear

OURS, THEIRS = CompanyKind.STARTUP, CompanyKind.INVESTOR
STAFF: Final = Actor("staff outside any company", DatabaseRole.WEB, AS_PERSON, StaffRole.SUPPORT)
CALLERS: Final = (
    member(OURS, Role.FOUNDER),
    run(OURS, Role.FOUNDER),
    key(OURS, "company key", KEY_SCOPES),
    STAFF,
    *(bare(role) for role in DatabaseRole if role is not DatabaseRole.OWNER),
)
"""Who calls: with every right in one company, as an agent or a key there, as staff outside, and each role as it is."""

A_FEW, EVERY = 2, 1000
"""How many ids of each kind every function is tried with."""

MANY_CALLS: Final = (CALLERS[0], CALLERS[2], bare(DatabaseRole.WEB))
"""Who may call a hundred functions: with a few ids of each kind here, and with those of every row in the soak."""

LIKE_OTHERS: Final = (
    Actor("founder outside any company", DatabaseRole.WEB, AS_PERSON, Role.FOUNDER, home=OURS),
    key_run(OURS, "company key", KEY_SCOPES),
    staff(OURS, StaffRole.AUDITOR),
)
"""Who may call the same functions as one of those, from a scope that was opened another way: for the soak."""

CHANGES, TELLS = "changes", "tells"
_TO_AN_ADDRESS: Final = "It takes the address that a visitor types, whoever that visitor is, and answers nothing."
_SIGNS_IN: Final = "Signing in is what this role is for: what was proved is checked by identity, its only user."
_DELIVERS: Final = "The sender's own work: it takes messages by their ids, each with a purpose and an audit event."
_SEALS: Final = "The sealer's own work: it seals the events of all companies into one tree."
_RESEALS: Final = "Rotating a company's key seals its secrets anew: sealed values, and an event in its log."
_ROTATES: Final = "Rotating the root key wraps every account's authenticator anew: sealed values, of all accounts."
_QUEUE: Final = "The queue's own work: ids and no content."
_VISITS: Final = "One's own visits, to whichever company they are."
LISTED: Final[dict[tuple[str, str, str], str]] = {
    ("signin", "signin.credentials", TELLS): _SIGNS_IN,
    ("signin", "signin.rotate_session", TELLS): _SIGNS_IN,
    ("signin", "signin.rotate_session", CHANGES): _SIGNS_IN,
    ("signin", "signin.sign_in_with_passkey", TELLS): _SIGNS_IN,
    ("signin", "signin.sign_in_with_passkey", CHANGES): _SIGNS_IN,
    ("signin", "signin.record_refusal", CHANGES): _TO_AN_ADDRESS,
    ("signin", "signin.request_password_reset", CHANGES): _TO_AN_ADDRESS,
    ("signin", "signin.sign_up", CHANGES): _TO_AN_ADDRESS,
    ("visitor", "tenancy.end_staff_access", CHANGES): _VISITS,
    ("staff", "tenancy.end_staff_access", CHANGES): _VISITS,
    ("staff", "tenancy.own_staff_access", TELLS): _VISITS,
    ("staff", "tenancy.companies_for_staff", TELLS): "Staff choose a company by its name, and see nothing else of it.",
    ("job", "elevated.take_message", TELLS): _DELIVERS,
    ("job", "elevated.take_message", CHANGES): _DELIVERS,
    ("job", "elevated.unsealed_events", TELLS): _SEALS,
    ("job", "elevated.company_numbers", TELLS): "It gives back the ids that it was given, each with a number.",
    ("job", "elevated.record_leaf", CHANGES): _SEALS,
    ("job", "elevated.authenticators_to_rewrap", TELLS): _ROTATES,
    ("job", "elevated.secrets_to_reseal", TELLS): _RESEALS,
    ("job", "elevated.secrets_to_reseal", CHANGES): _RESEALS,
    ("job", "elevated.note_key_rotation", CHANGES): "The company whose key was rotated finds that in its own log.",
    ("dispatch", "agents.claim_run", CHANGES): _QUEUE,
    ("dispatch", "jobs.procrastinate_cancel_job_v1", CHANGES): _QUEUE,
    ("dispatch", "jobs.procrastinate_defer_periodic_job_v2", CHANGES): _QUEUE,
    ("dispatch", "jobs.procrastinate_fetch_job_v2", CHANGES): _QUEUE,
    ("dispatch", "jobs.procrastinate_fetch_job_v2", TELLS): _QUEUE,
}


@pytest.fixture
def fresh(owner: Owner) -> Generator[Estate]:
    """An estate for each caller, since what is listed does change it."""
    made = build(owner)
    yield made
    clear(owner, made)


@pytest.mark.proves("2.4.2", "7.2.3")
@pytest.mark.parametrize(
    ("caller", "of_each"),
    [
        *(pytest.param(each, EVERY, id=each.name) for each in CALLERS if each not in MANY_CALLS),
        *(pytest.param(each, A_FEW, id=f"{each.name}, a few ids") for each in MANY_CALLS),
        *(pytest.param(each, EVERY, id=each.name, marks=pytest.mark.soak) for each in (*MANY_CALLS, *LIKE_OTHERS)),
    ],
)
def test_no_function_reaches_another_company(
    caller: Actor, of_each: int, servers: Servers, owner: Owner, fresh: Estate
) -> None:
    found = _reached(caller, of_each, servers, owner, fresh)
    role = _listed_as(caller)
    listed = {each for each in LISTED if each[0] == role}
    assert {each: told for each, told in found.items() if each not in listed} == {}
    assert listed - found.keys() == set(), "it reaches nothing (any more): take it from the list"


def _listed_as(caller: Actor) -> str:
    if caller.person in {role.value for role in StaffRole}:
        return "staff" if caller is STAFF else "visitor"
    return caller.database_role.removeprefix("operalta_")


def _reached(
    caller: Actor, of_each: int, servers: Servers, owner: Owner, estate: Estate
) -> dict[tuple[str, str, str], object]:
    """Call every function and return what it told of the other company, or changed there."""
    theirs, role = estate.company(THEIRS), _listed_as(caller)
    ids = ids_of(owner, theirs, of_each)
    assert len(ids) > 60
    found: dict[tuple[str, str, str], object] = {}
    with psycopg.connect(servers.settings.database_dsn(caller.database_role)) as connection:
        notices: list[str] = []
        connection.add_notice_handler(lambda notice: notices.append(f"{notice.message_primary}{notice.message_detail}"))
        before = snapshot(owner, theirs.mark)
        for function in executable_by(owner, caller.database_role):
            _assert_bound(connection, caller, estate)
            for arguments in calls(function, ids, theirs):
                told = _told(connection, caller, estate, function, arguments)
                if theirs.canary in told or (theirs.mark in told and not told.startswith("refused")):
                    found[role, function.name, TELLS] = (arguments, told[:300])
            after = snapshot(owner, theirs.mark)
            if touched := changed(before, after):
                found[role, function.name, CHANGES] = touched
            before = after
        assert theirs.canary not in "".join(notices)
    return found


def _assert_bound(connection: psycopg.Connection[Any], caller: Actor, estate: Estate) -> None:
    """Assert that the caller's scope still opens, as it is opened before each call."""
    if not caller.opens:
        return
    facts = caller.facts(estate)
    with connection.transaction():
        connection.execute(caller.opens, facts)
        bound = connection.execute("SELECT scope.scope_person(), scope.scope_company()").fetchone()
        assert bound == (facts["person"], facts["company"])


def _told(
    connection: psycopg.Connection[Any], caller: Actor, estate: Estate, function: Function, arguments: list[Any]
) -> str:
    """Return everything that a call brings back. What it changes is committed."""
    facts = caller.facts(estate)
    try:
        with connection.transaction():
            if caller.opens:
                connection.execute(caller.opens, facts)
            return str(connection.execute(function.call, arguments).fetchall())
    except psycopg.Error as error:
        # An error may repeat what was sent, ids among it, but no text that only rows hold.
        parts = (error, error.diag.message_detail, error.diag.message_hint, error.diag.context)
        return "refused: " + " ".join(map(str, parts))
