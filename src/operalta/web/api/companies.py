"""Companies, their members, and invitations."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import Field

from operalta.access.rules import CompanyKind, Permission, Role
from operalta.db.scope import open_person_scope
from operalta.guard import rules
from operalta.kernel.errors import InvalidInput, NotSignedIn
from operalta.kernel.ids import InvitationId, PersonId
from operalta.settings import SignUp
from operalta.tenancy import invitations, service
from operalta.tenancy.rules import InvitationState
from operalta.web.api.auth import LinkToken, Password, started
from operalta.web.api.models import REFUSALS, USUAL_PAGE_SIZE, Body, Cursor, Listing, PageSize, Shown, whole
from operalta.web.entry import CompanyEntry, ForPeople, ForVisitors, InCompany, PersonEntry, VisitorEntry
from operalta.workspace.rules import decode_cursor, encode_cursor

router = APIRouter(tags=["companies"], responses=REFUSALS)

Reading = Annotated[PersonEntry, Depends(ForPeople(rules.READ))]
Founding = Annotated[PersonEntry, Depends(ForPeople(rules.SENSITIVE_WRITE))]
Accepting = Annotated[VisitorEntry, Depends(ForVisitors(rules.INVITATION_ACCEPT))]
InHouse = Annotated[CompanyEntry, Depends(InCompany(Permission.COMPANY_READ, rules.READ))]
Leaving = Annotated[CompanyEntry, Depends(InCompany(Permission.COMPANY_READ, rules.SENSITIVE_WRITE, people_only=True))]
SeeingMembers = Annotated[CompanyEntry, Depends(InCompany(Permission.MEMBERS_READ, rules.READ))]
Managing = Annotated[CompanyEntry, Depends(InCompany(Permission.MEMBERS_MANAGE, rules.SENSITIVE_WRITE))]
SeeingInvitations = Annotated[CompanyEntry, Depends(InCompany(Permission.MEMBERS_INVITE, rules.READ))]
Inviting = Annotated[CompanyEntry, Depends(InCompany(Permission.MEMBERS_INVITE, rules.INVITATION_SEND))]
Revoking = Annotated[CompanyEntry, Depends(InCompany(Permission.MEMBERS_INVITE, rules.SENSITIVE_WRITE))]


class FoundBody(Body):
    """A new company."""

    name: Annotated[str, Field(min_length=1, max_length=400)]
    kind: CompanyKind = CompanyKind.STARTUP


class RoleBody(Body):
    """A role."""

    role: Role


class InviteBody(Body):
    """Who is to come, as what."""

    email: Annotated[str, Field(min_length=1, max_length=400)]
    role: Role


class AcceptBody(Body):
    """An invitation's token; with a name and a password for somebody who has no account yet."""

    token: LinkToken
    name: Annotated[str, Field(min_length=1, max_length=400)] | None = None
    password: Password | None = None


class CompanyReference(Shown):
    """Where a company is found."""

    id: UUID
    slug: str


class Company(Shown):
    """A company."""

    id: UUID
    slug: str
    name: str
    kind: CompanyKind
    created_at: datetime


class CompanyOfMine(Shown):
    """A company that one belongs to, with one's role there."""

    id: UUID
    slug: str
    name: str
    kind: CompanyKind
    role: Role


class Member(Shown):
    """A member."""

    person_id: UUID
    name: str
    email: str
    role: Role
    since: datetime


class Invitation(Shown):
    """An invitation. Its link is known to its addressee alone."""

    id: UUID
    email: str
    role: Role
    state: InvitationState
    inviter: str | None
    created_at: datetime
    expires_at: datetime


@router.get("/companies")
async def list_companies(
    entry: Reading, cursor: Cursor = None, limit: PageSize = USUAL_PAGE_SIZE
) -> Listing[CompanyOfMine]:
    """List one's companies by name."""
    async with entry.scope() as scope:
        shown, following = whole(await service.my_companies(scope), limit, cursor)
    return Listing[CompanyOfMine](
        items=tuple(CompanyOfMine.model_validate(each) for each in shown), next_cursor=following
    )


@router.post("/companies", status_code=HTTPStatus.CREATED)
async def found(entry: Founding, body: FoundBody) -> CompanyReference:
    """Found a company, with oneself as its founder."""
    anyone = entry.services.settings.sign_up is SignUp.OPEN
    async with entry.scope() as scope:
        return CompanyReference.model_validate(await service.found_company(scope, body.name, body.kind, anyone=anyone))


@router.get("/companies/{company}")
async def get_company(entry: InHouse) -> Company:
    """Return a company."""
    async with entry.scope() as scope:
        return Company.model_validate(await service.get_company(scope))


@router.get("/companies/{company}/members")
async def list_members(
    entry: SeeingMembers, cursor: Cursor = None, limit: PageSize = USUAL_PAGE_SIZE
) -> Listing[Member]:
    """List members by name. The last page may be empty."""
    after = _identifier(cursor)
    async with entry.scope() as scope:
        members = await service.list_members(scope, after=PersonId(after) if after else None, limit=limit)
    following = encode_cursor(str(members[-1].person_id)) if len(members) == limit else None
    return Listing[Member](items=tuple(Member.model_validate(each) for each in members), next_cursor=following)


@router.put("/companies/{company}/members/{person_id}/role", status_code=HTTPStatus.NO_CONTENT)
async def change_role(entry: Managing, person_id: UUID, body: RoleBody) -> None:
    """Give a member another role, which may do no more than one's own."""
    async with entry.scope() as scope:
        await service.change_role(scope, PersonId(person_id), body.role)


@router.post("/companies/{company}/members/{person_id}/hand-over", status_code=HTTPStatus.NO_CONTENT)
async def hand_over(entry: Managing, person_id: UUID, body: RoleBody) -> None:
    """Make a member founder and take a lesser role oneself, both at once."""
    async with entry.scope() as scope:
        await service.transfer_ownership(scope, PersonId(person_id), body.role)


@router.delete("/companies/{company}/members/{person_id}", status_code=HTTPStatus.NO_CONTENT)
async def remove_member(entry: Leaving, person_id: UUID) -> None:
    """End a membership at once: somebody else's, which needs `members:manage`, or one's own."""
    async with entry.scope() as scope:
        if person_id == scope.actor.person_id:
            await service.leave(scope)
        else:
            await service.remove_member(scope, PersonId(person_id))


@router.get("/companies/{company}/invitations")
async def list_invitations(
    entry: SeeingInvitations, cursor: Cursor = None, limit: PageSize = USUAL_PAGE_SIZE
) -> Listing[Invitation]:
    """List invitations, the newest first. The last page may be empty."""
    after = _identifier(cursor)
    async with entry.scope() as scope:
        sent = await invitations.list_invitations(scope, after=InvitationId(after) if after else None, limit=limit)
    following = encode_cursor(str(sent[-1].id)) if len(sent) == limit else None
    return Listing[Invitation](items=tuple(Invitation.model_validate(each) for each in sent), next_cursor=following)


@router.post("/companies/{company}/invitations", status_code=HTTPStatus.CREATED)
async def invite(entry: Inviting, body: InviteBody) -> Invitation:
    """Invite an address in a role that may do no more than one's own."""
    async with entry.scope() as scope:
        return Invitation.model_validate(await invitations.invite(scope, body.email, body.role))


@router.post("/companies/{company}/invitations/{invitation_id}/resend")
async def resend(entry: Inviting, invitation_id: UUID) -> Invitation:
    """Mail an open invitation again, with a fresh link."""
    async with entry.scope() as scope:
        return Invitation.model_validate(await invitations.resend_invitation(scope, InvitationId(invitation_id)))


@router.delete("/companies/{company}/invitations/{invitation_id}", status_code=HTTPStatus.NO_CONTENT)
async def revoke(entry: Revoking, invitation_id: UUID) -> None:
    """Revoke an invitation: its links hold no longer."""
    async with entry.scope() as scope:
        await invitations.revoke_invitation(scope, InvitationId(invitation_id))


@router.post("/invitations/accept")
async def accept(entry: Accepting, body: AcceptBody) -> CompanyReference:
    """Join the company that invites; without a session, with a new account on the invited address."""
    services = await entry.admit(f"link:{body.token[:32]}")
    if entry.claims is not None:
        secret = entry.claims.session_secret
    elif body.name is None or body.password is None:
        raise NotSignedIn("Sign in first; or send a name and a password to open an account on the invited address.")
    else:
        signed_in = await services.accounts.sign_up_invited(
            body.token,
            body.name,
            body.password,
            device_secret=entry.device,
            user_agent=entry.user_agent,
            address=entry.address,
        )
        started(entry, signed_in)
        secret = services.tokens.verify_access(signed_in.access_token).session_secret
    async with open_person_scope(services.web, secret, entry.origin) as scope:
        return CompanyReference.model_validate(await invitations.accept_invitation(scope, body.token))


def _identifier(cursor: str | None) -> UUID | None:
    if cursor is None:
        return None
    try:
        return UUID(decode_cursor(cursor, 1)[0])
    except ValueError:
        raise InvalidInput("This cursor is not one of ours. Start again from the first page.", field="cursor") from None
