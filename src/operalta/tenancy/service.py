"""Founding a company, reading it, and its members: who they are, their roles, removing, leaving."""

from uuid import UUID

from operalta.access.rules import CompanyKind, Permission, Role, may_grant
from operalta.audit.rules import Action
from operalta.audit.service import record
from operalta.db.errors import NoSuchCompany
from operalta.db.permission import require
from operalta.db.scope import Row, Scope
from operalta.identity.errors import NotProved
from operalta.identity.rules import person_name
from operalta.identity.step_up import SensitiveOperation, require_recent_proof
from operalta.kernel.actor import ActorKind
from operalta.kernel.errors import NotAllowed
from operalta.kernel.ids import CompanyId, PersonId
from operalta.tenancy import store
from operalta.tenancy.errors import CannotHandOver, MayNotFound, NoSuchMember, NotOneself, RoleAboveYours
from operalta.tenancy.rules import Company, CompanyEntry, CompanyReference, Member, roles_out_of_reach, slug_of
from operalta.terms.registry import upholds

LARGEST_PAGE = 100


async def my_companies(scope: Scope) -> tuple[CompanyEntry, ...]:
    """Return the companies of the scope's person with the role held in each, by name."""
    return tuple(
        CompanyEntry(CompanyId(row["id"]), row["slug"], row["name"], CompanyKind(row["kind"]), Role(row["role"]))
        for row in await store.my_companies(scope)
    )


async def found_company(scope: Scope, name: str, kind: CompanyKind, *, anyone: bool) -> CompanyReference:
    """Found a company with the scope's person (a person scope) as its founder, and its first agents.

    The slug comes of the name, with a number where it is taken. `anyone` False: the operator alone may. Raise
    MayNotFound for whoever may not, or has not verified an address.
    """
    clean = person_name(name)
    row = await store.found_company(scope, name=clean, slug=slug_of(clean), kind=kind.value, anyone=anyone)
    if row is None:
        raise MayNotFound
    return CompanyReference(CompanyId(row["id"]), row["slug"])


async def get_company(scope: Scope) -> Company:
    """Return the company of the scope."""
    require(scope, Permission.COMPANY_READ)
    row = await store.get_company(scope)
    if row is None:
        raise NoSuchCompany
    return Company(CompanyId(row["id"]), row["slug"], row["name"], CompanyKind(row["kind"]), row["created_at"])


async def list_members(scope: Scope, *, after: PersonId | None = None, limit: int = LARGEST_PAGE) -> tuple[Member, ...]:
    """Return up to `limit` (at most 100) members by name, from the one after `after` on."""
    require(scope, Permission.MEMBERS_READ)
    rows = await store.list_members(scope, after=after, limit=max(1, min(limit, LARGEST_PAGE)))
    return tuple(_member(row) for row in rows)


@upholds("2.5.4", "2.5.5")
async def change_role(scope: Scope, person: PersonId, role: Role) -> None:
    """Give a member another role, never oneself and never one that may do more than one's own.

    Open invitations that the member sent and could no longer send with the new role are revoked. Raise NotOneself,
    RoleAboveYours, NoSuchMember, LastFounder or NotProved.
    """
    held = await _member_to_manage(scope, person)
    if not may_grant(scope.actor.company_kind, scope.actor.role, role):
        raise RoleAboveYours
    if held is role:
        return
    await require_recent_proof(scope, SensitiveOperation.CHANGE_ROLE)
    if not await store.change_role(scope, person, role.value):
        raise NoSuchMember
    revoked = await _revoke_out_of_reach(scope, person, role)
    await record(
        scope,
        Action.MEMBER_ROLE_CHANGED,
        "person",
        person,
        previous_role=held.value,
        role=role.value,
        invitations_revoked=revoked,
    )


@upholds("2.5.5")
async def remove_member(scope: Scope, person: PersonId) -> None:
    """End a member's membership at once, and the open invitations that they sent.

    Raise NotOneself (leaving is another use-case), RoleAboveYours, NoSuchMember, LastFounder or NotProved.
    """
    held = await _member_to_manage(scope, person)
    await require_recent_proof(scope, SensitiveOperation.REMOVE_MEMBER)
    if not await store.end_membership(scope, person):
        raise NoSuchMember
    revoked = await _revoke_out_of_reach(scope, person, None)
    await record(scope, Action.MEMBER_REMOVED, "person", person, role=held.value, invitations_revoked=revoked)


@upholds("2.5.4", "2.5.5")
async def transfer_ownership(scope: Scope, heir: PersonId, own_next_role: Role) -> None:
    """Make another member founder and take a lesser role oneself, both at once.

    The open invitations that one could no longer send are revoked. Raise NotOneself, NoSuchMember, CannotHandOver or
    NotProved.
    """
    require(scope, Permission.MEMBERS_MANAGE)
    _require_person(scope)
    if heir == scope.actor.person_id:
        raise NotOneself
    await require_recent_proof(scope, SensitiveOperation.TRANSFER_OWNERSHIP)
    # While one still may: afterwards the database lets one revoke nothing.
    revoked = await _revoke_out_of_reach(scope, scope.actor.person_id, own_next_role)
    match await store.transfer_ownership(scope, heir, own_next_role.value):
        case "done":
            if revoked:
                await record(scope, Action.INVITATION_REVOKED, "person", scope.actor.person_id, count=revoked)
        case "none":
            raise NoSuchMember
        case "unproved":
            raise NotProved
        case _:
            raise CannotHandOver


async def leave(scope: Scope) -> None:
    """End the membership of the scope's person, and the open invitations that they sent. Raise LastFounder."""
    _require_person(scope)
    revoked = await _revoke_out_of_reach(scope, scope.actor.person_id, None)
    if revoked:
        await record(scope, Action.INVITATION_REVOKED, "person", scope.actor.person_id, count=revoked)
    if not await store.leave(scope):
        raise NoSuchMember


async def _member_to_manage(scope: Scope, person: UUID) -> Role:
    require(scope, Permission.MEMBERS_MANAGE)
    _require_person(scope)
    if person == scope.actor.person_id:
        raise NotOneself
    row = await store.get_member(scope, person)
    if row is None:
        raise NoSuchMember
    held = Role(row["role"])
    if not may_grant(scope.actor.company_kind, scope.actor.role, held):
        raise RoleAboveYours
    return held


async def _revoke_out_of_reach(scope: Scope, inviter: UUID, role: Role | None) -> int:
    # Otherwise someone about to be removed could invite a second address of theirs and come back by it.
    roles = [wanted.value for wanted in roles_out_of_reach(scope.actor.company_kind, role)]
    return await store.revoke_invitations_of(scope, inviter, roles)


def _require_person(scope: Scope) -> None:
    if scope.actor.kind is not ActorKind.PERSON:
        raise NotAllowed


def _member(row: Row) -> Member:
    return Member(PersonId(row["person_id"]), row["name"], row["email"], Role(row["role"]), row["since"])
