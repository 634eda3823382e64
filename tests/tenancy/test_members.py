"""Founding, reading, changing roles, removing, leaving; and that nobody raises themselves."""

import asyncio
from uuid import uuid4

import psycopg
import pytest

from operalta.access.rules import CompanyKind, Role
from operalta.db.errors import NoSuchCompany
from operalta.kernel.errors import InvalidInput, NotAllowed
from operalta.kernel.ids import PersonId
from operalta.tenancy.errors import LastFounder, MayNotFound, NoSuchMember, NotOneself
from operalta.tenancy.invitations import invite, list_invitations
from operalta.tenancy.rules import InvitationState
from operalta.tenancy.service import (
    change_role,
    found_company,
    get_company,
    leave,
    list_members,
    my_companies,
    remove_member,
)
from tests.conftest import Member
from tests.tenancy.conftest import Tenancy


async def test_founding_makes_a_company_with_a_free_slug_and_its_founder(tenancy: Tenancy) -> None:
    person, _, secret = tenancy.stranger()
    async with tenancy.person(secret) as scope:
        first = await found_company(scope, " Zürich  Works ", CompanyKind.STARTUP, anyone=True)
        second = await found_company(scope, "Zürich Works", CompanyKind.INVESTOR, anyone=True)
        assert first.slug.startswith("zurich-works")
        assert second.slug != first.slug
        entries = await my_companies(scope)
    assert [(entry.id, entry.name, entry.kind, entry.role) for entry in sorted(entries, key=lambda one: one.kind)] == [
        (second.id, "Zürich Works", CompanyKind.INVESTOR, Role.FOUNDER),
        (first.id, "Zürich Works", CompanyKind.STARTUP, Role.FOUNDER),
    ]
    async with tenancy.company(Member(person, first.id, first.slug, secret, "", "founder")) as scope:
        company = await get_company(scope)
        assert (company.name, company.slug, company.kind) == ("Zürich Works", first.slug, CompanyKind.STARTUP)
    assert tenancy.events(first.id) == ["company.founded"]


async def test_who_may_not_found_is_told_what_to_do(tenancy: Tenancy) -> None:
    _, _, unverified = tenancy.stranger(verified=False)
    async with tenancy.person(unverified) as scope:
        with pytest.raises(MayNotFound):
            await found_company(scope, "Acme", CompanyKind.STARTUP, anyone=True)
    person, _, secret = tenancy.stranger()
    async with tenancy.person(secret) as scope:
        with pytest.raises(MayNotFound):
            await found_company(scope, "Acme", CompanyKind.STARTUP, anyone=False)
        with pytest.raises(InvalidInput):
            await found_company(scope, "\n", CompanyKind.STARTUP, anyone=True)
    tenancy.owner.execute("UPDATE identity.people SET is_operator = true WHERE id = %s", (person,))
    async with tenancy.person(secret) as scope:
        await found_company(scope, "Acme", CompanyKind.STARTUP, anyone=False)


async def test_members_are_listed_page_by_page_to_those_who_may_see_them(tenancy: Tenancy) -> None:
    company = tenancy.world.company()
    members = [tenancy.world.member(company, role) for role in ("founder", "advisor", "investor", "observer")]
    tenancy.world.member(tenancy.world.company())
    async with tenancy.company(members[1]) as scope:
        everyone = await list_members(scope)
        first = await list_members(scope, limit=2)
        rest = await list_members(scope, after=first[-1].person_id, limit=100)
        assert first + rest == everyone
        assert len(everyone) == 5
        assert {member.person_id for member in everyone} >= {member.person_id for member in members}
    async with tenancy.company(members[3]) as scope:
        with pytest.raises(NotAllowed):
            await list_members(scope)


@pytest.mark.proves("2.5.4", "2.5.5")
async def test_a_founder_changes_roles_of_others_and_each_change_leaves_one_event(tenancy: Tenancy) -> None:
    company = tenancy.world.company()
    founder, advisor = tenancy.world.member(company), tenancy.world.member(company, "advisor")
    outsider = tenancy.world.member(tenancy.world.company(), "advisor")
    async with tenancy.company(founder) as scope:
        await change_role(scope, PersonId(advisor.person_id), Role.INVESTOR)
        await change_role(scope, PersonId(advisor.person_id), Role.INVESTOR)
        with pytest.raises(NotOneself):
            await change_role(scope, PersonId(founder.person_id), Role.OBSERVER)
        for nobody in (outsider.person_id, uuid4()):
            with pytest.raises(NoSuchMember):
                await change_role(scope, PersonId(nobody), Role.OBSERVER)
            with pytest.raises(NoSuchMember):
                await remove_member(scope, PersonId(nobody))
    assert tenancy.role(company[0], advisor.person_id) == "investor"
    assert tenancy.role(outsider.company_id, outsider.person_id) == "advisor"
    assert tenancy.events(company[0]) == ["member.role_changed"]


@pytest.mark.proves("2.5.4")
@pytest.mark.parametrize("kind", ["startup", "investor"])
async def test_no_service_raises_a_role_for_those_below_a_founder(tenancy: Tenancy, kind: str) -> None:
    company = tenancy.world.company(kind)
    other = tenancy.world.member(company, "observer")
    for role in ("advisor", "investor", "observer"):
        member = tenancy.world.member(company, role)
        async with tenancy.company(member) as scope:
            for target in (member, other):
                with pytest.raises(NotAllowed):
                    await change_role(scope, PersonId(target.person_id), Role.FOUNDER)
            with pytest.raises(NotAllowed):
                await remove_member(scope, PersonId(other.person_id))
            with pytest.raises(NotAllowed):
                await invite(scope, "friend@people.example", Role.OBSERVER)
        assert tenancy.role(company[0], member.person_id) == role


@pytest.mark.proves("2.5.4", "2.4.2")
@pytest.mark.parametrize("role", ["founder", "advisor", "investor", "observer"])
async def test_direct_sql_as_the_applications_role_raises_nobody(tenancy: Tenancy, role: str) -> None:
    company, foreign = tenancy.world.company(), tenancy.world.company()
    member, victim = tenancy.world.member(company, role), tenancy.world.member(foreign, "observer")
    friend, _, _ = tenancy.stranger()
    attempts = {
        "own role": "UPDATE tenancy.memberships SET role = 'founder' WHERE person_id = %(me)s",
        "own end": "UPDATE tenancy.memberships SET ended_at = NULL WHERE person_id = %(me)s",
        "foreign role": "UPDATE tenancy.memberships SET role = 'founder' WHERE company_id = %(foreign)s",
        "foreign end": "UPDATE tenancy.memberships SET ended_at = now() WHERE person_id = %(victim)s",
        "own company column": "UPDATE tenancy.memberships SET company_id = %(foreign)s WHERE person_id = %(me)s",
        "insert": "INSERT INTO tenancy.memberships (company_id, person_id, role)"
        " VALUES (%(company)s, %(friend)s, 'founder')",
        "insert abroad": "INSERT INTO tenancy.memberships (company_id, person_id, role)"
        " VALUES (%(foreign)s, %(me)s, 'founder')",
        "delete": "DELETE FROM tenancy.memberships WHERE person_id <> %(me)s",
        "company": "UPDATE tenancy.companies SET kind = 'investor'",
        "invite abroad": "INSERT INTO tenancy.invitations (company_id, email, email_key, role, invited_by)"
        " VALUES (%(foreign)s, 'x@y.example', 'x@y.example', 'observer', %(me)s)",
        "invite as another": "INSERT INTO tenancy.invitations (company_id, email, email_key, role, invited_by)"
        " VALUES (%(company)s, 'x@y.example', 'x@y.example', 'observer', %(victim)s)",
        "accept by hand": "UPDATE tenancy.invitations SET accepted_at = now()",
        "link by hand": "INSERT INTO identity.links (purpose, digest, expires_at)"
        " VALUES ('operator', sha256('x'), now() + interval '1 day')",
        "operator": "UPDATE identity.people SET is_operator = true",
        "permission": "INSERT INTO access.role_permissions VALUES ('startup', %(role)s, 'members:manage')",
        "bind": "SELECT scope.bind('person', %(me)s, %(foreign)s, 'startup', 'founder', NULL, NULL, true)",
    }
    if role != "founder":
        attempts["invite above"] = (
            "INSERT INTO tenancy.invitations (company_id, email, email_key, role, invited_by)"
            " VALUES (%(company)s, 'x@y.example', 'x@y.example', 'founder', %(me)s)"
        )
        attempts["another's role"] = "UPDATE tenancy.memberships SET role = 'observer' WHERE person_id <> %(me)s"
    values = {
        "me": member.person_id,
        "company": company[0],
        "foreign": foreign[0],
        "victim": victim.person_id,
        "friend": friend,
        "role": role,
    }
    before = _memberships(tenancy)
    for name, attempt in attempts.items():
        touched = 0
        try:
            async with tenancy.company(member) as scope:
                touched = await scope.execute(attempt, values)  # pyright: ignore[reportArgumentType] - literals above
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.RaiseException):
            touched = 0
        assert touched <= 0, name
    assert _memberships(tenancy) == before
    assert tenancy.owner.execute("SELECT 1 FROM tenancy.invitations WHERE email = 'x@y.example'").fetchall() == []


async def test_a_removed_member_is_out_at_once_and_their_invitations_with_them(tenancy: Tenancy) -> None:
    company = tenancy.world.company()
    founder, second = tenancy.world.member(company), tenancy.world.member(company)
    async with tenancy.company(second) as scope:
        await invite(scope, "my-second-address@people.example", Role.FOUNDER)
    async with tenancy.company(founder) as scope:
        await remove_member(scope, PersonId(second.person_id))
        assert [one.state for one in await list_invitations(scope)] == [InvitationState.REVOKED]
        with pytest.raises(NoSuchMember):
            await remove_member(scope, PersonId(second.person_id))
    with pytest.raises(NoSuchCompany):
        async with tenancy.company(second):
            pass
    async with tenancy.person(second.session_secret) as scope:
        assert await my_companies(scope) == ()
    assert tenancy.events(company[0]) == ["member.invited", "member.removed"]


async def test_a_demoted_founders_open_invitations_are_revoked(tenancy: Tenancy) -> None:
    company = tenancy.world.company()
    founder, second = tenancy.world.member(company), tenancy.world.member(company)
    async with tenancy.company(second) as scope:
        await invite(scope, "my-second-address@people.example", Role.FOUNDER)
    async with tenancy.company(founder) as scope:
        await invite(scope, "kept@people.example", Role.OBSERVER)
        await change_role(scope, PersonId(second.person_id), Role.OBSERVER)
        states = {one.email.partition("@")[0]: one.state for one in await list_invitations(scope)}
    assert states == {"my-second-address": InvitationState.REVOKED, "kept": InvitationState.OPEN}


async def test_leaving_ends_ones_own_membership_and_invitations(tenancy: Tenancy) -> None:
    company = tenancy.world.company()
    second, observer = tenancy.world.member(company), tenancy.world.member(company, "observer")
    async with tenancy.company(second) as scope:
        await invite(scope, "my-second-address@people.example", Role.FOUNDER)
    for member in (second, observer):
        async with tenancy.company(member) as scope:
            await leave(scope)
        assert tenancy.role(company[0], member.person_id) is None
    assert tenancy.owner.execute(
        "SELECT revoked_at IS NOT NULL AS revoked FROM tenancy.invitations WHERE company_id = %s", (company[0],)
    ).fetchall() == [{"revoked": True}]
    assert tenancy.events(company[0]) == ["member.invited", "invitation.revoked", "member.left", "member.left"]


async def test_the_last_founder_stays(tenancy: Tenancy) -> None:
    person, _, secret = tenancy.stranger()
    async with tenancy.person(secret) as scope:
        made = await found_company(scope, "One Founder", CompanyKind.STARTUP, anyone=True)
    only = Member(person, made.id, made.slug, secret, "", "founder")
    with pytest.raises(LastFounder):
        async with tenancy.company(only) as scope:
            await leave(scope)
    assert tenancy.role(made.id, person) == "founder"


@pytest.mark.parametrize("way", ["both leave", "each removes the other"])
async def test_of_two_founders_who_go_at_once_one_stays(tenancy: Tenancy, way: str) -> None:
    for _ in range(5):
        person, _, secret = tenancy.stranger()
        async with tenancy.person(secret) as scope:
            made = await found_company(scope, "Two Founders", CompanyKind.STARTUP, anyone=True)
        first = Member(person, made.id, made.slug, secret, "", "founder")
        second = tenancy.world.member((made.id, made.slug))
        both_are_in = asyncio.Barrier(2)

        async def go(one: Member, other: Member, both_are_in: asyncio.Barrier = both_are_in) -> None:
            async with tenancy.company(one) as scope:
                await both_are_in.wait()
                if way == "both leave":
                    await leave(scope)
                else:
                    await remove_member(scope, PersonId(other.person_id))

        results = await asyncio.gather(go(first, second), go(second, first), return_exceptions=True)
        left = [tenancy.role(made.id, one.person_id) for one in (first, second)]
        assert sorted(role or "" for role in left) == ["", "founder"]
        refused = [result for result in results if result is not None]
        assert len(refused) == 1
        assert isinstance(refused[0], LastFounder | NoSuchMember)


def _memberships(tenancy: Tenancy) -> list[dict[str, object]]:
    return tenancy.owner.execute(
        "SELECT company_id, person_id, role, ended_at FROM tenancy.memberships ORDER BY company_id, person_id"
    ).fetchall()
