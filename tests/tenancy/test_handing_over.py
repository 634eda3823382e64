"""Handing a company over: another becomes founder, oneself something less, both or neither."""

import asyncio
from uuid import uuid4

import pytest

from operalta.access.rules import Role
from operalta.identity.errors import NotProved
from operalta.kernel.errors import NotAllowed
from operalta.kernel.ids import PersonId
from operalta.tenancy.errors import CannotHandOver, NoSuchMember, NotOneself
from operalta.tenancy.invitations import invite, list_invitations
from operalta.tenancy.rules import InvitationState
from operalta.tenancy.service import change_role, transfer_ownership
from tests.conftest import Member
from tests.tenancy.conftest import Tenancy

pytestmark = pytest.mark.proves("2.5.4")


def alone(tenancy: Tenancy, kind: str = "startup") -> tuple[Member, Member]:
    """The only founder of a company, and an advisor there."""
    company = tenancy.world.company(kind)
    founder, adviser = tenancy.world.member(company), tenancy.world.member(company, "advisor")
    tenancy.owner.execute(
        "UPDATE tenancy.memberships SET ended_at = now() WHERE company_id = %s AND person_id NOT IN (%s, %s)",
        (company[0], founder.person_id, adviser.person_id),
    )
    return founder, adviser


@pytest.mark.parametrize("kind", ["startup", "investor"])
async def test_the_last_founder_hands_over_and_both_are_told(tenancy: Tenancy, kind: str) -> None:
    founder, adviser = alone(tenancy, kind)
    async with tenancy.company(founder) as scope:
        await invite(scope, "later@people.example", Role.FOUNDER)
        await transfer_ownership(scope, PersonId(adviser.person_id), Role.OBSERVER)
    roles = [tenancy.role(founder.company_id, each.person_id) for each in (founder, adviser)]
    assert roles == ["observer", "founder"]
    assert tenancy.events(founder.company_id)[-2:] == ["company.ownership_transferred", "invitation.revoked"]
    told = tenancy.owner.execute(
        "SELECT recipient FROM delivery.messages WHERE company_id = %s AND kind = 'ownership'", (founder.company_id,)
    ).fetchall()
    assert {mail["recipient"] for mail in told} == {founder.email, adviser.email}
    async with tenancy.company(adviser) as scope:
        (invitation,) = await list_invitations(scope)
        assert invitation.state is InvitationState.REVOKED
    async with tenancy.company(founder) as scope:
        with pytest.raises(NotAllowed):
            await change_role(scope, PersonId(adviser.person_id), Role.OBSERVER)


async def test_it_needs_a_recent_proof_in_the_code_and_in_the_database(tenancy: Tenancy) -> None:
    founder, adviser = alone(tenancy)
    tenancy.owner.execute(
        "UPDATE identity.sessions SET password_at = now() - interval '11 minutes' WHERE person_id = %s",
        (founder.person_id,),
    )
    async with tenancy.company(founder) as scope:
        with pytest.raises(NotProved):
            await transfer_ownership(scope, PersonId(adviser.person_id), Role.ADVISOR)
        row = await scope.one(
            "SELECT tenancy.transfer_ownership(%(heir)s, 'advisor') AS verdict", {"heir": adviser.person_id}
        )
    assert row == {"verdict": "unproved"}
    assert tenancy.role(founder.company_id, founder.person_id) == "founder"


async def test_nobody_but_a_founder_hands_over_and_never_to_a_stranger_or_oneself(tenancy: Tenancy) -> None:
    founder, adviser = alone(tenancy)
    stranger = tenancy.world.member(tenancy.world.company())
    async with tenancy.company(founder) as scope:
        with pytest.raises(NotOneself):
            await transfer_ownership(scope, PersonId(founder.person_id), Role.ADVISOR)
        for heir in (stranger.person_id, uuid4()):
            with pytest.raises(NoSuchMember):
                await transfer_ownership(scope, PersonId(heir), Role.ADVISOR)
        with pytest.raises(CannotHandOver):
            await transfer_ownership(scope, PersonId(adviser.person_id), Role.FOUNDER)
    async with tenancy.company(adviser) as scope:
        with pytest.raises(NotAllowed):
            await transfer_ownership(scope, PersonId(founder.person_id), Role.ADVISOR)
        # By SQL of one's own: neither to somebody else nor to oneself.
        for heir in (founder.person_id, adviser.person_id):
            row = await scope.one("SELECT tenancy.transfer_ownership(%(heir)s, 'observer') AS verdict", {"heir": heir})
            assert row == {"verdict": "refused"}
        for role in ("support", "auditor", "", None):
            row = await scope.one("SELECT tenancy.transfer_ownership(NULL, %(role)s) AS verdict", {"role": role})
            assert row == {"verdict": "refused"}
    assert tenancy.role(founder.company_id, founder.person_id) == "founder"
    assert "company.ownership_transferred" not in tenancy.events(founder.company_id)


async def test_of_two_who_hand_over_to_each_other_at_once_a_founder_remains(tenancy: Tenancy) -> None:
    founder, second = alone(tenancy)
    tenancy.owner.execute(
        "UPDATE tenancy.memberships SET role = 'founder' WHERE company_id = %s AND person_id = %s",
        (founder.company_id, second.person_id),
    )

    async def hand_over(giver: Member, heir: Member) -> None:
        async with tenancy.company(giver) as scope:
            await transfer_ownership(scope, PersonId(heir.person_id), Role.OBSERVER)

    done = await asyncio.gather(hand_over(founder, second), hand_over(second, founder), return_exceptions=True)
    roles = {tenancy.role(founder.company_id, each.person_id) for each in (founder, second)}
    assert "founder" in roles
    assert len([each for each in done if each is None]) >= 1
