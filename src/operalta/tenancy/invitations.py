"""Invitations: a role is given with them, to one address, for one use (clause 2.5.4)."""

from operalta.access.rules import Permission, Role, may_grant, permissions_of
from operalta.audit.rules import Action
from operalta.audit.service import record
from operalta.db.permission import require
from operalta.db.scope import Row, Scope
from operalta.identity.rules import could_be_token, email_address
from operalta.identity.step_up import SensitiveOperation, require_recent_proof
from operalta.kernel.actor import ActorKind
from operalta.kernel.errors import NotAllowed
from operalta.kernel.ids import CompanyId, InvitationId, new_id
from operalta.tenancy import store
from operalta.tenancy.errors import (
    AlreadyInvited,
    AlreadyMember,
    InvitationSpent,
    NoSuchInvitation,
    RoleAboveYours,
)
from operalta.tenancy.rules import CompanyReference, Invitation, InvitationState, sees_members
from operalta.terms.registry import upholds

LARGEST_PAGE = 100


@upholds("2.5.4", "2.5.5")
async def invite(scope: Scope, email: str, role: Role) -> Invitation:
    """Invite an address with a role that may do no more than one's own; the mail leaves with the transaction.

    The answer never holds the link: its addressee alone receives it. Raise RoleAboveYours, AlreadyInvited,
    AlreadyMember (to someone who may see members; nobody else learns it), or NotProved where the role manages members.
    """
    require(scope, Permission.MEMBERS_INVITE)
    _require_person(scope)
    address = email_address(email)
    if not may_grant(scope.actor.company_kind, scope.actor.role, role):
        raise RoleAboveYours
    if sees_members(scope.actor.company_kind, scope.actor.role) and await store.has_member(scope, address):
        raise AlreadyMember
    if await store.has_open_invitation(scope, address):
        raise AlreadyInvited
    await _require_proof_for(scope, role)
    invitation = InvitationId(new_id())
    await store.add_invitation(scope, invitation=invitation, address=address, role=role.value)
    await store.send_invitation(scope, invitation)
    await record(scope, Action.MEMBER_INVITED, "invitation", invitation, email=address.display, role=role.value)
    return await _get(scope, invitation)


@upholds("2.5.5")
async def resend_invitation(scope: Scope, invitation: InvitationId) -> Invitation:
    """Mail an open invitation again, with a fresh link. Raise NoSuchInvitation where it is not open."""
    require(scope, Permission.MEMBERS_INVITE)
    _require_person(scope)
    standing = await _get(scope, invitation)
    await _require_proof_for(scope, standing.role)
    if not await store.send_invitation(scope, invitation):
        raise NoSuchInvitation
    await record(
        scope,
        Action.MEMBER_INVITED,
        "invitation",
        invitation,
        email=standing.email,
        role=standing.role.value,
        again=True,
    )
    return standing


@upholds("2.5.5")
async def revoke_invitation(scope: Scope, invitation: InvitationId) -> None:
    """Revoke an invitation: its links hold no longer. Raise NoSuchInvitation where there is nothing to revoke."""
    require(scope, Permission.MEMBERS_INVITE)
    _require_person(scope)
    if not await store.revoke_invitation(scope, invitation):
        raise NoSuchInvitation
    await record(scope, Action.INVITATION_REVOKED, "invitation", invitation)


async def list_invitations(
    scope: Scope, *, after: InvitationId | None = None, limit: int = LARGEST_PAGE
) -> tuple[Invitation, ...]:
    """Return up to `limit` (at most 100) invitations, the newest first, from the one after `after` on."""
    require(scope, Permission.MEMBERS_INVITE)
    rows = await store.list_invitations(scope, after=after, limit=max(1, min(limit, LARGEST_PAGE)))
    return tuple(_invitation(row) for row in rows)


@upholds("2.5.4")
async def accept_invitation(scope: Scope, token: str) -> CompanyReference:
    """Join the company that the link invites to, with the invited role. `scope` is a person's.

    Holds once, for the invited address alone, and only where that address is verified. A membership that stands
    already keeps its role. Raise InvitationSpent otherwise, whatever the reason.
    """
    row = await store.accept_invitation(scope, token) if could_be_token(token) else None
    if row is None:
        raise InvitationSpent
    return CompanyReference(CompanyId(row["id"]), row["slug"])


async def _require_proof_for(scope: Scope, role: Role) -> None:
    # Otherwise a stolen session could bring in an account of the thief's that may remove the owner.
    if Permission.MEMBERS_MANAGE in permissions_of(scope.actor.company_kind, role.value):
        await require_recent_proof(scope, SensitiveOperation.INVITE_MANAGER)


async def _get(scope: Scope, invitation: InvitationId) -> Invitation:
    row = await store.get_invitation(scope, invitation)
    if row is None:
        raise NoSuchInvitation
    return _invitation(row)


def _require_person(scope: Scope) -> None:
    if scope.actor.kind is not ActorKind.PERSON:
        raise NotAllowed


def _invitation(row: Row) -> Invitation:
    return Invitation(
        id=InvitationId(row["id"]),
        email=row["email"],
        role=Role(row["role"]),
        state=InvitationState(row["state"]),
        inviter=row["inviter"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
    )
