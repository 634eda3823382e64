"""Invitations: one role, one address, one use."""

import asyncio
import secrets
from pathlib import Path

import pytest

from operalta.access.rules import Role
from operalta.identity.accounts import Accounts
from operalta.identity.errors import AddressHasAccount, LinkSpent
from operalta.identity.passwords import PasswordHasher
from operalta.identity.sessions import Sessions
from operalta.identity.tokens import AccessTokens
from operalta.kernel.errors import InvalidInput, NotAllowed, Refusal
from operalta.kernel.ids import InvitationId, new_id
from operalta.sealing.keys import RootKey, RootKeys, new_root_key_text
from operalta.sealing.signing import SigningKeyRing, SigningPurpose
from operalta.tenancy.errors import AlreadyInvited, AlreadyMember, InvitationSpent, NoSuchInvitation
from operalta.tenancy.invitations import (
    accept_invitation,
    invite,
    list_invitations,
    resend_invitation,
    revoke_invitation,
)
from operalta.tenancy.rules import InvitationState
from operalta.tenancy.service import my_companies
from tests.tenancy.conftest import Tenancy


def _address() -> str:
    return f"{secrets.token_hex(6)}@invited.example"


@pytest.mark.proves("2.5.4", "2.5.5")
async def test_an_invitation_gives_its_role_to_its_address_once(tenancy: Tenancy) -> None:
    founder = tenancy.world.member(tenancy.world.company())
    person, email, secret = tenancy.stranger()
    _, _, other_secret = tenancy.stranger()
    async with tenancy.company(founder) as scope:
        invitation = await invite(scope, email.upper(), Role.ADVISOR)
        assert (invitation.role, invitation.state) == (Role.ADVISOR, InvitationState.OPEN)
    token, second_token = tenancy.link(invitation.id), tenancy.link(invitation.id)
    async with tenancy.person(other_secret) as scope:
        with pytest.raises(InvitationSpent):
            await accept_invitation(scope, token)
        assert await my_companies(scope) == ()
    async with tenancy.person(secret) as scope:
        joined = await accept_invitation(scope, token)
        assert joined.id == founder.company_id
        for spent in (token, second_token):
            with pytest.raises(InvitationSpent):
                await accept_invitation(scope, spent)
    assert tenancy.role(founder.company_id, person) == "advisor"
    assert tenancy.events(founder.company_id) == ["member.invited", "invitation.accepted"]


@pytest.mark.proves("2.5.4")
async def test_a_link_opened_many_times_at_once_is_used_once(tenancy: Tenancy) -> None:
    founder = tenancy.world.member(tenancy.world.company())
    _, email, secret = tenancy.stranger()
    async with tenancy.company(founder) as scope:
        invitation = await invite(scope, email, Role.OBSERVER)
    token = tenancy.link(invitation.id)

    async def accept() -> bool:
        async with tenancy.person(secret) as scope:
            try:
                await accept_invitation(scope, token)
            except InvitationSpent:
                return False
            return True

    assert sorted(await asyncio.gather(*(accept() for _ in range(6)))) == [False] * 5 + [True]


@pytest.mark.proves("2.5.4")
async def test_an_invitation_never_changes_the_role_of_a_member(tenancy: Tenancy) -> None:
    company = tenancy.world.company()
    founder = tenancy.world.member(company)
    person, email, secret = tenancy.stranger()
    async with tenancy.company(founder) as scope:
        high = await invite(scope, email, Role.FOUNDER)
    tenancy.owner.execute(
        "INSERT INTO tenancy.memberships (company_id, person_id, role) VALUES (%s, %s, 'observer')",
        (company[0], person),
    )
    async with tenancy.person(secret) as scope:
        await accept_invitation(scope, tenancy.link(high.id))
    assert tenancy.role(company[0], person) == "observer"


async def test_an_unverified_address_cannot_accept(tenancy: Tenancy) -> None:
    founder = tenancy.world.member(tenancy.world.company())
    person, email, secret = tenancy.stranger(verified=False)
    async with tenancy.company(founder) as scope:
        invitation = await invite(scope, email, Role.OBSERVER)
    async with tenancy.person(secret) as scope:
        with pytest.raises(InvitationSpent):
            await accept_invitation(scope, tenancy.link(invitation.id))
    assert tenancy.role(founder.company_id, person) is None


async def test_a_revoked_or_expired_invitation_holds_no_longer(tenancy: Tenancy) -> None:
    founder = tenancy.world.member(tenancy.world.company())
    _, email, secret = tenancy.stranger()
    async with tenancy.company(founder) as scope:
        revoked = await invite(scope, email, Role.OBSERVER)
        with pytest.raises(AlreadyInvited):
            await invite(scope, email, Role.ADVISOR)
        await revoke_invitation(scope, revoked.id)
        with pytest.raises(NoSuchInvitation):
            await revoke_invitation(scope, revoked.id)
        expired = await invite(scope, email, Role.OBSERVER)
    tenancy.owner.execute(
        "UPDATE tenancy.invitations SET expires_at = now() - interval '1 second' WHERE id = %s", (expired.id,)
    )
    async with tenancy.person(secret) as scope:
        for invitation in (revoked, expired):
            with pytest.raises(InvitationSpent):
                await accept_invitation(scope, tenancy.link(invitation.id))
        for invented in ("", "\x00", "x" * 43, "x" * 10_000):
            with pytest.raises(InvitationSpent):
                await accept_invitation(scope, invented)
    async with tenancy.company(founder) as scope:
        for invitation in (revoked.id, expired.id, InvitationId(new_id())):
            with pytest.raises(NoSuchInvitation):
                await resend_invitation(scope, invitation)
        assert [one.state for one in await list_invitations(scope)] == [
            InvitationState.EXPIRED,
            InvitationState.REVOKED,
        ]


async def test_an_invitation_is_sent_again_with_a_mail_of_its_own(tenancy: Tenancy) -> None:
    founder = tenancy.world.member(tenancy.world.company())
    email = _address()
    async with tenancy.company(founder) as scope:
        invitation = await invite(scope, email, Role.OBSERVER)
        assert await resend_invitation(scope, invitation.id) == invitation
    mails = tenancy.owner.execute(
        "SELECT facts FROM delivery.messages WHERE recipient = %s AND kind = 'invitation'", (email,)
    ).fetchall()
    assert [mail["facts"]["role"] for mail in mails] == ["observer", "observer"]
    assert tenancy.events(founder.company_id) == ["member.invited", "member.invited"]


async def test_a_member_is_not_invited_again(tenancy: Tenancy) -> None:
    company = tenancy.world.company()
    founder, member = tenancy.world.member(company), tenancy.world.member(company, "observer")
    async with tenancy.company(founder) as scope:
        with pytest.raises(AlreadyMember):
            await invite(scope, member.email.upper(), Role.ADVISOR)
        with pytest.raises(InvalidInput):
            await invite(scope, "not an address", Role.ADVISOR)
        # A member elsewhere is nobody here, and nothing tells otherwise.
        elsewhere = tenancy.world.member(tenancy.world.company())
        await invite(scope, elsewhere.email, Role.ADVISOR)


@pytest.mark.proves("2.4.2")
async def test_another_companys_invitations_cannot_be_seen_or_touched(tenancy: Tenancy) -> None:
    founder = tenancy.world.member(tenancy.world.company())
    other = tenancy.world.member(tenancy.world.company())
    async with tenancy.company(founder) as scope:
        invitation = await invite(scope, _address(), Role.OBSERVER)
    async with tenancy.company(other) as scope:
        assert await list_invitations(scope) == ()
        for attempt in (revoke_invitation, resend_invitation):
            with pytest.raises(NoSuchInvitation):
                await attempt(scope, invitation.id)
    observer = tenancy.world.member((founder.company_id, founder.company_slug), "observer")
    async with tenancy.company(observer) as scope:
        with pytest.raises(NotAllowed):
            await list_invitations(scope)
        rows = await scope.all("SELECT id FROM tenancy.invitations")
        assert rows == []


async def test_invitations_are_listed_page_by_page(tenancy: Tenancy) -> None:
    founder = tenancy.world.member(tenancy.world.company())
    async with tenancy.company(founder) as scope:
        made = [await invite(scope, _address(), Role.OBSERVER) for _ in range(3)]
        everything = await list_invitations(scope)
        first = await list_invitations(scope, limit=2)
        assert {one.id for one in everything} == {one.id for one in made}
        assert first + await list_invitations(scope, after=first[-1].id) == everything


async def test_somebody_without_an_account_signs_up_with_the_link_and_joins(tenancy: Tenancy, tmp_path: Path) -> None:
    hasher = PasswordHasher({1: secrets.token_bytes(32)}, cost=4, workers=1)
    ring = SigningKeyRing(tmp_path, RootKeys(RootKey.from_text(new_root_key_text())), SigningPurpose.ACCESS_TOKEN)
    tokens = AccessTokens(ring, issuer="test", audience="operalta")
    sessions = Sessions(tenancy.pools.signin, hasher, tokens, secrets.token_bytes(32))
    accounts = Accounts(tenancy.pools.signin, hasher, sessions, sign_up_is_open=False)
    founder = tenancy.world.member(tenancy.world.company())
    email = _address()
    about = {"user_agent": "test", "address": "192.0.2.7"}
    async with tenancy.company(founder) as scope:
        invitation = await invite(scope, email, Role.INVESTOR)
    token = tenancy.link(invitation.id)
    try:
        seen = await accounts.invitation(token)
        assert (seen.email, seen.role, seen.has_account) == (email, Role.INVESTOR, False)
        signed_in = await accounts.sign_up_invited(
            token, "Ines", "four wooden ladders lean", device_secret=None, **about
        )
        with pytest.raises(AddressHasAccount):
            await accounts.sign_up_invited(token, "Ines", "four wooden ladders lean", device_secret=None, **about)
        async with tenancy.person(tokens.verify_access(signed_in.access_token).session_secret) as scope:
            assert (await accept_invitation(scope, token)).id == founder.company_id
            assert [entry.role for entry in await my_companies(scope)] == [Role.INVESTOR]
        refused: list[Refusal] = []
        for spent in (token, "x" * 43, ""):
            with pytest.raises(LinkSpent) as refusal:
                await accounts.invitation(spent)
            refused.append(refusal.value)
        assert len({refusal.public_text for refusal in refused}) == 1
    finally:
        await hasher.close()
