"""The pages around companies: the chooser, founding one, accepting an invitation, members and roles."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Query
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from operalta.access.rules import TEMPLATES, CompanyKind, Permission, Role, may_grant, permissions_of
from operalta.db.scope import open_person_scope
from operalta.guard import rules
from operalta.identity.errors import NotProved
from operalta.identity.own_account import me
from operalta.identity.passwords import SHORTEST_PASSWORD
from operalta.kernel.errors import Conflict, InvalidInput, NotAllowed, Refusal
from operalta.kernel.ids import InvitationId, PersonId
from operalta.settings import Settings, SignUp
from operalta.tenancy import invitations, service, staff
from operalta.tenancy.rules import InvitationState
from operalta.web.entry import (
    CompanyEntry,
    ForPeople,
    ForVisitors,
    InCompany,
    PersonEntry,
    VisitorEntry,
)
from operalta.web.pages.entrance import keep_session
from operalta.web.permission_labels import LABELS
from operalta.web.presentation import bare_page, go_to, page

router = APIRouter()

Looking = Annotated[VisitorEntry, Depends(ForVisitors(rules.PAGE))]
Accepting = Annotated[VisitorEntry, Depends(ForVisitors(rules.INVITATION_ACCEPT))]
Reading = Annotated[PersonEntry, Depends(ForPeople(rules.READ))]
Founding = Annotated[PersonEntry, Depends(ForPeople(rules.SENSITIVE_WRITE))]
InHouse = Annotated[CompanyEntry, Depends(InCompany(Permission.COMPANY_READ, rules.READ))]
SeeingMembers = Annotated[CompanyEntry, Depends(InCompany(Permission.MEMBERS_READ, rules.READ))]
Leaving = Annotated[CompanyEntry, Depends(InCompany(Permission.COMPANY_READ, rules.SENSITIVE_WRITE))]
Inviting = Annotated[CompanyEntry, Depends(InCompany(Permission.MEMBERS_INVITE, rules.INVITATION_SEND))]
Managing = Annotated[CompanyEntry, Depends(InCompany(Permission.MEMBERS_MANAGE, rules.SENSITIVE_WRITE))]
Text = Annotated[str, Form(max_length=2_000)]

_SHOWN_VISITS = 20
_FIRST_PAGES = ((Permission.AGENTS_RUN, "chat"), (Permission.MEMORY_READ, "memory"))


def may_found(settings: Settings, *, is_operator: bool) -> bool:
    """Tell whether somebody may found a company: everybody where sign-up is open, else the operator."""
    return is_operator or settings.sign_up is SignUp.OPEN


@router.get("/companies")
async def companies(entry: Reading) -> HTMLResponse:
    """Show one's companies and the form to found one."""
    return await _companies_page(entry, {}, None)


@router.post("/companies")
async def found(entry: Founding, name: Text = "", kind: Text = "startup") -> Response:
    """Found a company."""
    try:
        async with entry.scope() as scope:
            try:
                wanted = CompanyKind(kind)
            except ValueError:
                raise InvalidInput("Choose one of the kinds.", field="kind") from None
            anyone = entry.services.settings.sign_up is SignUp.OPEN
            made = await service.found_company(scope, name, wanted, anyone=anyone)
    except (InvalidInput, NotAllowed) as refusal:
        return await _companies_page(entry, {"name": name, "kind": kind}, refusal)
    return go_to(f"/c/{made.slug}")


@router.get("/c/{company}")
async def home(entry: InHouse) -> RedirectResponse:
    """Lead to the first page of the company that the role may see."""
    async with entry.scope() as scope:
        held = permissions_of(scope.actor.company_kind, scope.actor.role)
        first = next((path for permission, path in _FIRST_PAGES if permission in held), "members")
        return go_to(f"/c/{scope.actor.company_slug}/{first}")


# ── Invitations ────────────────────────────────────────────────────────────────────────────────────────


@router.get("/invitations/accept")
async def invitation(entry: Looking, token: Annotated[str, Query(max_length=200)] = "") -> HTMLResponse:
    """Show what one is invited to; nothing is used up by looking."""
    return await _invitation_page(entry, token, {}, None)


@router.post("/invitations/accept")
async def accept(
    entry: Accepting,
    token: Annotated[str, Form(max_length=200)] = "",
    name: Text = "",
    password: Annotated[str, Form(max_length=5_000)] = "",
) -> Response:
    """Join the company; without a session, with a new account on the invited address."""
    services = await entry.admit(f"link:{token[:32]}")
    secret = entry.claims.session_secret if entry.claims else None
    try:
        if secret is None:
            signed_in = await services.accounts.sign_up_invited(
                token, name, password, device_secret=entry.device, user_agent=entry.user_agent, address=entry.address
            )
            keep_session(entry.request, signed_in)
            secret = services.tokens.verify_access(signed_in.access_token).session_secret
        async with open_person_scope(services.web, secret, entry.origin) as scope:
            joined = await invitations.accept_invitation(scope, token)
    except InvalidInput as refusal:
        return await _invitation_page(entry, token, {"name": name}, refusal)
    return go_to(f"/c/{joined.slug}")


@router.post("/c/{company}/invitations")
async def invite(entry: Inviting, email: Text = "", role: Text = "") -> Response:
    """Invite somebody in a role that holds no more than one's own."""
    try:
        async with entry.scope() as scope:
            await invitations.invite(scope, email, _role(role))
    except (InvalidInput, Conflict, NotAllowed) as refusal:
        return await _members_page(entry, {"email": email, "role": role}, refusal)
    return go_to(f"/c/{entry.company}/members", "invited")


@router.post("/c/{company}/invitations/{invitation_id}/resend")
async def resend(entry: Inviting, invitation_id: UUID) -> RedirectResponse:
    """Mail an open invitation again."""
    async with entry.scope() as scope:
        await invitations.resend_invitation(scope, InvitationId(invitation_id))
    return go_to(f"/c/{entry.company}/members", "invited")


@router.post("/c/{company}/invitations/{invitation_id}/revoke")
async def revoke(entry: Inviting, invitation_id: UUID) -> RedirectResponse:
    """End an invitation."""
    async with entry.scope() as scope:
        await invitations.revoke_invitation(scope, InvitationId(invitation_id))
    return go_to(f"/c/{entry.company}/members", "revoked")


# ── Members ────────────────────────────────────────────────────────────────────────────────────────────


@router.get("/c/{company}/members")
async def members(entry: SeeingMembers) -> HTMLResponse:
    """Show members, invitations, and what each role may do."""
    return await _members_page(entry, {}, None)


@router.post("/c/{company}/members/{person_id}/role")
async def change_role(entry: Managing, person_id: UUID, role: Text = "") -> Response:
    """Give a member another role."""
    try:
        async with entry.scope() as scope:
            await service.change_role(scope, PersonId(person_id), _role(role))
    except NotProved:
        raise
    except (InvalidInput, Conflict, NotAllowed) as refusal:
        return await _members_page(entry, {}, refusal)
    return go_to(f"/c/{entry.company}/members", "saved")


@router.post("/c/{company}/members/{person_id}/hand-over")
async def hand_over(entry: Managing, person_id: UUID, role: Text = "") -> Response:
    """Make a member founder and take a lesser role oneself."""
    try:
        async with entry.scope() as scope:
            await service.transfer_ownership(scope, PersonId(person_id), _role(role))
    except NotProved:
        raise
    except (InvalidInput, Conflict, NotAllowed) as refusal:
        return await _members_page(entry, {}, refusal)
    return go_to(f"/c/{entry.company}", "handed-over")


@router.post("/c/{company}/staff-visits/{visit_id}/end")
async def end_visit(entry: Managing, visit_id: UUID) -> RedirectResponse:
    """End a visit of the operator's staff."""
    async with entry.scope() as scope:
        await staff.end_visit(scope, visit_id)
    return go_to(f"/c/{entry.company}/members", "visit-ended")


@router.post("/c/{company}/members/{person_id}/end")
async def end(entry: Leaving, person_id: UUID) -> Response:
    """Remove a member, or leave."""
    try:
        async with entry.scope() as scope:
            if scope.actor.person_id == person_id:
                await service.leave(scope)
                return go_to("/companies", "saved")
            await service.remove_member(scope, PersonId(person_id))
    except NotProved:
        raise
    except (InvalidInput, Conflict, NotAllowed) as refusal:
        return await _members_page(entry, {}, refusal)
    return go_to(f"/c/{entry.company}/members", "saved")


def _role(name: str) -> Role:
    try:
        return Role(name)
    except ValueError:
        raise InvalidInput("Choose one of the roles.", field="role") from None


async def _companies_page(entry: PersonEntry, form: dict[str, str], refusal: Refusal | None) -> HTMLResponse:
    async with entry.scope() as scope:
        person = await me(scope)
        context = {
            "may_found": may_found(entry.services.settings, is_operator=scope.actor.is_operator),
            "must_verify": person.verified_at is None,
            "form": form,
        }
        return await page(
            entry.request,
            scope,
            "pages/companies.html",
            context,
            refusal=refusal,
        )


async def _invitation_page(
    entry: VisitorEntry, token: str, form: dict[str, str], refusal: Refusal | None
) -> HTMLResponse:
    found = await entry.services.accounts.invitation(token)
    shown = {
        "company_name": found.company,
        "role": found.role.value,
        "email": found.email,
        "invited_by": found.inviter,
    }
    context: dict[str, object] = {
        "token": token,
        "invitation": shown,
        "form": form,
        "password_minimum": SHORTEST_PASSWORD,
        "has_other_account": False,
        "has_account": found.has_account,
    }
    if entry.claims is None:
        return bare_page(entry.request, "pages/invitation.html", context, refusal=refusal)
    async with open_person_scope(entry.services.web, entry.claims.session_secret, entry.origin) as scope:
        person = await me(scope)
        context["has_other_account"] = person.email.casefold() != found.email.casefold()
        return await page(entry.request, scope, "pages/invitation.html", context, refusal=refusal)


async def _members_page(entry: CompanyEntry, form: dict[str, str], refusal: Refusal | None) -> HTMLResponse:
    async with entry.scope() as scope:
        actor = scope.actor
        kind = CompanyKind(actor.company_kind)
        held = permissions_of(kind, actor.role)
        manages = Permission.MEMBERS_MANAGE in held
        waiting = await invitations.list_invitations(scope) if Permission.MEMBERS_INVITE in held else ()
        context = {
            "members": [
                {
                    "id": each.person_id,
                    "name": each.name,
                    "email": each.email,
                    "role": each.role.value,
                    "since": each.since,
                    "is_you": each.person_id == actor.person_id,
                    "may_change": manages and each.person_id != actor.person_id,
                    "may_be_heir": actor.role == Role.FOUNDER and each.person_id != actor.person_id,
                }
                for each in await service.list_members(scope)
            ],
            "invitations": [
                {
                    "id": each.id,
                    "email": each.email,
                    "role": each.role.value,
                    "invited_by": each.inviter,
                    "expires_at": each.expires_at,
                    "state": "expired" if each.expires_at < datetime.now(UTC) else "pending",
                }
                for each in waiting
                if each.state in {InvitationState.OPEN, InvitationState.EXPIRED}
            ],
            "visits": await staff.visits_to_company(scope, limit=_SHOWN_VISITS),
            "may_end_visits": manages,
            "lesser_roles": [role.value for role in TEMPLATES[kind] if role is not Role.FOUNDER],
            "roles": [role.value for role in TEMPLATES[kind]],
            "grantable": [role.value for role in TEMPLATES[kind] if may_grant(kind, actor.role, role)],
            "permission_table": [
                {
                    "permission": permission.value,
                    "label": label,
                    "roles": {role.value for role, permissions in TEMPLATES[kind].items() if permission in permissions},
                }
                for permission, label in LABELS.items()
            ],
            "form": form,
        }
        return await page(entry.request, scope, "pages/members.html", context, nav="company", refusal=refusal)
