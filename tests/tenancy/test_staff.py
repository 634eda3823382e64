"""Visits of the operator's staff: a reason, a while, told to the company, ended by either side, changing nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest

from operalta.access.rules import STAFF_TEMPLATES, CompanyKind, Permission, Role, StaffRole, permissions_of
from operalta.audit.service import list_events
from operalta.db.errors import NoSuchCompany, SessionEnded
from operalta.identity.errors import NotProved
from operalta.kernel.actor import ActorKind
from operalta.kernel.errors import InvalidInput, NotAllowed, NotFound
from operalta.tenancy import staff
from operalta.tenancy.errors import CannotVisit, NoSuchVisit
from operalta.tenancy.invitations import invite
from operalta.tenancy.service import get_company, leave, list_members
from tests.conftest import Member
from tests.tenancy.conftest import Tenancy

REASON = "Ada asked by phone why her analyst finds no metrics"
pytestmark = pytest.mark.proves("7.2.3")


def staff_member(tenancy: Tenancy, role: str | None = "support", *, operator: bool = False) -> tuple[UUID, str]:
    """Somebody of the operator's staff who is a member nowhere: id and session secret."""
    person, _, secret = tenancy.stranger()
    if role is not None:
        tenancy.owner.execute("INSERT INTO identity.staff (person_id, role) VALUES (%s, %s)", (person, role))
    if operator:
        tenancy.owner.execute("UPDATE identity.people SET is_operator = true WHERE id = %s", (person,))
    return person, secret


async def visit(tenancy: Tenancy, secret: str, company: str, role: StaffRole = StaffRole.SUPPORT) -> UUID:
    async with tenancy.person(secret) as scope:
        return (await staff.visit_company(scope, company, role, REASON, 60)).id


def visitor(company: tuple[UUID, str], person: UUID, secret: str) -> Member:
    return Member(person, company[0], company[1], secret, "", "")


async def test_a_visit_opens_what_the_staff_role_names_and_the_company_sees_it(tenancy: Tenancy) -> None:
    company = tenancy.world.company()
    founder = tenancy.world.member(company)
    person, secret = staff_member(tenancy)
    with pytest.raises(NoSuchCompany):
        async with tenancy.company(visitor(company, person, secret)):
            pass
    opened = await visit(tenancy, secret, company[1])
    async with tenancy.company(visitor(company, person, secret)) as scope:
        assert (scope.actor.kind, scope.actor.role) == (ActorKind.STAFF, "support")
        assert scope.actor.staff_until is not None
        assert scope.actor.staff_until - datetime.now(UTC) <= timedelta(minutes=60)
        assert (await get_company(scope)).id == company[0]
        assert len(await list_members(scope)) == 2
        await staff.note_use(scope, "GET", "/c/x/members")
        for refused in (list_events(scope), invite(scope, "a@b.example", Role.OBSERVER), leave(scope)):
            with pytest.raises(NotAllowed):
                await refused
    async with tenancy.company(founder) as scope:
        (seen,) = await staff.visits_to_company(scope)
    assert (seen.id, seen.person_name, seen.role, seen.reason, seen.is_open) == (
        opened, "Stranger", StaffRole.SUPPORT, REASON, True,
    )  # fmt: skip
    events = tenancy.owner.execute(
        "SELECT action, actor_kind, actor_person_id AS who, detail FROM audit.events WHERE company_id = %s ORDER BY"
        " occurred_at",
        (company[0],),
    ).fetchall()
    assert [(event["action"], event["actor_kind"], event["who"]) for event in events] == [
        ("staff_access.opened", "staff", person), ("staff_access.used", "staff", person),
    ]  # fmt: skip
    assert events[0]["detail"]["reason"] == REASON


async def test_every_founder_is_told_by_mail_with_the_reason(tenancy: Tenancy) -> None:
    company = tenancy.world.company()
    founder, adviser = tenancy.world.member(company), tenancy.world.member(company, "advisor")
    _, secret = staff_member(tenancy)
    await visit(tenancy, secret, company[1])
    mails = tenancy.owner.execute(
        "SELECT recipient, facts FROM delivery.messages WHERE company_id = %s AND kind = 'staff_access'", (company[0],)
    ).fetchall()
    told = {mail["recipient"] for mail in mails}
    assert founder.email in told
    assert len(told) == 2
    assert adviser.email not in told
    assert {mail["facts"]["reason"] for mail in mails} == {REASON}


@pytest.mark.parametrize("how", ["the company", "the visitor", "time", "dismissed", "shut out", "another role"])
async def test_a_visit_ends_at_once_whoever_ends_it(tenancy: Tenancy, how: str) -> None:
    company = tenancy.world.company()
    person, secret = staff_member(tenancy)
    opened = await visit(tenancy, secret, company[1])
    by: dict[str, LiteralString] = {
        "time": (
            "UPDATE tenancy.staff_access SET opened_at = now() - interval '2 hours', expires_at = now()"
            " WHERE person_id = %s"
        ),
        "dismissed": "SELECT elevated.dismiss_staff(%s, 'left the help desk')",
        "shut out": "UPDATE identity.people SET disabled_at = now() WHERE id = %s",
        "another role": "UPDATE identity.staff SET role = 'auditor' WHERE person_id = %s",
    }
    if how == "the company":
        async with tenancy.company(tenancy.world.member(company)) as scope:
            await staff.end_visit(scope, opened)
    elif how == "the visitor":
        async with tenancy.person(secret) as scope:
            await staff.end_visit(scope, opened)
            with pytest.raises(NoSuchVisit):
                await staff.end_visit(scope, opened)
    elif how == "dismissed":
        with tenancy.owner.transaction():
            tenancy.owner.execute("SET LOCAL ROLE operalta_definer")
            tenancy.owner.execute(by[how], (person,))
    else:
        tenancy.owner.execute(by[how], (person,))
    with pytest.raises(SessionEnded if how == "shut out" else NoSuchCompany):
        async with tenancy.company(visitor(company, person, secret)):
            pass
    ended = "staff_access.ended" in tenancy.events(company[0])
    assert ended == (how in {"the company", "the visitor", "dismissed"})


async def test_a_visit_needs_a_reason_a_bound_a_proof_and_a_role_that_one_holds(tenancy: Tenancy) -> None:
    company = tenancy.world.company()
    person, secret = staff_member(tenancy)
    async with tenancy.person(secret) as scope:
        for reason, minutes in (("because", 60), ("", 60), ("x" * 501, 60), (REASON, 4), (REASON, 481), (REASON, -1)):
            with pytest.raises(InvalidInput):
                await staff.visit_company(scope, company[1], StaffRole.SUPPORT, reason, minutes)
        for wanted, role in ((company[1], StaffRole.AUDITOR), ("no-such-company", StaffRole.SUPPORT)):
            with pytest.raises(CannotVisit):
                await staff.visit_company(scope, wanted, role, REASON, 60)
    tenancy.owner.execute(
        "UPDATE identity.sessions SET password_at = now() - interval '11 minutes' WHERE person_id = %s", (person,)
    )
    async with tenancy.person(secret) as scope:
        with pytest.raises(NotProved):
            await staff.visit_company(scope, company[1], StaffRole.SUPPORT, REASON, 60)
        row = await scope.one(
            "SELECT verdict FROM tenancy.open_staff_access(%(company)s, 'support', %(reason)s, 60)",
            {"company": company[1], "reason": REASON},
        )
    assert row == {"verdict": "unproved"}
    assert tenancy.events(company[0]) == []


async def test_only_staff_see_companies_and_the_operator_may_take_either_role(tenancy: Tenancy) -> None:
    company = tenancy.world.company("investor")
    founder = tenancy.world.member(company)
    async with tenancy.person(founder.session_secret) as scope:
        for refused in (staff.companies_to_visit(scope), staff.own_visits(scope), staff.own_staff_roles(scope)):
            with pytest.raises(NotFound):
                await refused
        rows = await scope.all("SELECT * FROM tenancy.companies_for_staff(NULL, 100)")
    assert rows == []
    person, secret = staff_member(tenancy, None, operator=True)
    async with tenancy.person(secret) as scope:
        assert await staff.own_staff_roles(scope) == (StaffRole.AUDITOR, StaffRole.SUPPORT)
        found = await staff.companies_to_visit(scope, after=company[1][:-1], limit=1)
        assert [each.slug for each in found] == [company[1]]
    await visit(tenancy, secret, company[1], StaffRole.AUDITOR)
    async with tenancy.company(visitor(company, person, secret)) as scope:
        assert (await list_events(scope)).events
        assert not scope.actor.is_operator


async def test_whoever_is_a_member_visits_as_one_and_staff_never_write_as_members(tenancy: Tenancy) -> None:
    company = tenancy.world.company()
    person, secret = staff_member(tenancy)
    await visit(tenancy, secret, company[1])
    async with tenancy.company(visitor(company, person, secret)) as scope:
        tenancy.owner.execute(
            "INSERT INTO tenancy.memberships (company_id, person_id, role) VALUES (%s, %s, 'founder')",
            (company[0], person),
        )
        row = await scope.one(
            "SELECT scope.is_company_member_with_role(%(company)s, ARRAY['founder']) AS writes", {"company": company[0]}
        )
        assert row == {"writes": False}
    async with tenancy.company(visitor(company, person, secret)) as scope:
        assert (scope.actor.kind, scope.actor.role) == (ActorKind.PERSON, "founder")
    async with tenancy.person(secret) as scope:
        with pytest.raises(CannotVisit):
            await staff.visit_company(scope, company[1], StaffRole.SUPPORT, REASON, 60)


WRITES: tuple[LiteralString, ...] = (
    (
        "INSERT INTO tenancy.staff_access (company_id, person_id, person_name, role, reason, expires_at)"
        " VALUES (%(company)s, %(person)s, 'x', 'auditor', 'because I can do it', now() + interval '1 hour')"
    ),
    "UPDATE tenancy.staff_access SET expires_at = now() + interval '8 hours'",
    "DELETE FROM tenancy.staff_access",
    "INSERT INTO identity.staff (person_id, role) VALUES (%(person)s, 'auditor')",
    "SELECT tenancy.end_visit(%(company)s, %(person)s, %(person)s)",
    "SELECT elevated.appoint_staff(%(person)s, 'auditor', 'because')",
    "SELECT identity.is_staff(%(person)s, NULL)",
)


@pytest.mark.parametrize("attempt", WRITES)
async def test_sql_of_ones_own_makes_nobody_staff_and_prolongs_no_visit(
    tenancy: Tenancy, attempt: LiteralString
) -> None:
    company = tenancy.world.company()
    person, secret = staff_member(tenancy)
    await visit(tenancy, secret, company[1])
    for opening in (tenancy.person(secret), tenancy.company(visitor(company, person, secret))):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with opening as scope:
                await scope.execute(attempt, {"company": company[0], "person": person})


async def test_another_company_cannot_end_or_see_a_visit(tenancy: Tenancy) -> None:
    company, other = tenancy.world.company(), tenancy.world.company()
    _, secret = staff_member(tenancy)
    opened = await visit(tenancy, secret, company[1])
    for stranger in (tenancy.world.member(other), tenancy.world.member(company, "advisor")):
        async with tenancy.company(stranger) as scope:
            for unknown in (opened, uuid4()):
                with pytest.raises(NoSuchVisit):
                    await staff.end_visit(scope, unknown)
    async with tenancy.company(tenancy.world.member(other)) as scope:
        assert await staff.visits_to_company(scope) == ()
    _, second = staff_member(tenancy)
    async with tenancy.person(second) as scope:
        with pytest.raises(NoSuchVisit):
            await staff.end_visit(scope, opened)


def test_staff_read_little_and_write_nothing_and_the_kinds_differ() -> None:
    writing = {each for each in Permission if not each.value.endswith(":read")}
    content = {Permission.MEMORY_READ, Permission.METRICS_READ, Permission.FILES_READ, Permission.APPROVALS_READ}
    held: dict[tuple[CompanyKind, StaffRole], Any] = {
        (kind, role): permissions for kind, roles in STAFF_TEMPLATES.items() for role, permissions in roles.items()
    }
    assert set(held) == {(kind, role) for kind in CompanyKind for role in StaffRole}
    for (kind, role), permissions in held.items():
        assert not permissions & (writing | content)
        assert permissions_of(kind, role) == permissions
    assert held[CompanyKind.STARTUP, StaffRole.SUPPORT] != held[CompanyKind.INVESTOR, StaffRole.SUPPORT]
