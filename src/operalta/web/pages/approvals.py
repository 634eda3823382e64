"""The approvals inbox, single cards, standing grants; who decides about what, and who gets mail."""

from collections.abc import Sequence
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Query
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from pydantic import StringConstraints

from operalta.access.rules import Permission, Role, permissions_of
from operalta.agents.approvals import deciders, service
from operalta.agents.approvals.deciders import Deciders
from operalta.agents.registry import ToolClass
from operalta.db.scope import Scope
from operalta.guard import rules
from operalta.identity.errors import NotProved
from operalta.kernel.errors import InvalidInput, NotAllowed, NotFound, Refusal
from operalta.kernel.ids import ConversationId
from operalta.tenancy.service import get_company
from operalta.web.approval_views import approval_cards, rule_rows, to_deny
from operalta.web.entry import CompanyEntry, InCompany
from operalta.web.presentation import go_to, page, safe_next, typed_lines
from operalta.workspace.conversations import service as conversations

router = APIRouter()

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.APPROVALS_READ, rules.READ))]
Deciding = Annotated[CompanyEntry, Depends(InCompany(Permission.APPROVALS_DECIDE, rules.SENSITIVE_WRITE))]
Ruling = Annotated[CompanyEntry, Depends(InCompany(Permission.COMPANY_MANAGE, rules.SENSITIVE_WRITE))]

Decision = Annotated[str, Form(max_length=20)]
Answer = Annotated[str, Form(max_length=10_000)]
ReturnTo = Annotated[str, Form(max_length=2_000)]
Seen = Annotated[tuple[Annotated[str, StringConstraints(max_length=120)], ...], Form(max_length=service.MOST_AT_ONCE)]
"""The calls that the form showed: id and digest of the arguments, each."""

_MOST_FIELDS = 120


@router.get("/c/{company}/approvals")
async def inbox(entry: Reading, state: Annotated[Literal["waiting", "decided"], Query()] = "waiting") -> HTMLResponse:
    """Show the questions that wait, or those that are decided."""
    async with entry.scope() as scope:
        listed = await service.list_approvals(scope, waiting=state == "waiting")
        grants = await service.list_grants(scope)
        titles = await _titles(scope, {*(each.conversation_id for each in listed)})
        titles |= await _titles(scope, {grant["conversation_id"] for grant in grants} - set(titles))
        context = {
            "state": state,
            "approvals": approval_cards(listed, (await get_company(scope)).name, titles.__getitem__),
            "to_deny": to_deny(listed),
            "waiting_count": await service.count_waiting_approvals(scope),
            "previous_url": None,
            "next_url": None,
            "grants": [
                {
                    "id": grant["id"],
                    "tool": grant["tool"],
                    "arguments": grant["arguments"],
                    "agent": grant["agent_name"],
                    "requester": grant["requester_name"],
                    "conversation": titles[grant["conversation_id"]],
                    "granted_by": grant["given_by_name"],
                    "granted_at": grant["given_at"],
                    "expires_at": grant["expires_at"],
                }
                for grant in grants
            ],
        }
        return await page(entry.request, scope, "pages/approvals.html", context, nav="approvals")


@router.get("/c/{company}/approvals/settings")
async def settings(entry: Reading) -> HTMLResponse:
    """Show who decides about which class of tools, and what the person wants mail about."""
    return await _settings_page(entry, None)


@router.post("/c/{company}/approvals/settings/rules")
async def change_rules(entry: Ruling) -> Response:
    """Change who decides about which class of tools."""
    form = await entry.request.form(max_fields=_MOST_FIELDS, max_files=0)
    wanted = {
        each: Deciders(
            tuple(str(role) for role in form.getlist(f"roles:{each.value}")), form.get(f"second:{each.value}") == "yes"
        )
        for each in ToolClass
    }
    try:
        async with entry.scope() as scope:
            await deciders.change_rules(scope, wanted)
    except NotProved:
        raise
    except (InvalidInput, NotAllowed) as refusal:
        return await _settings_page(entry, refusal)
    return go_to(f"/c/{entry.company}/approvals/settings", "saved")


@router.post("/c/{company}/approvals/settings/mail")
async def choose_mail(entry: Deciding, wanted: Annotated[str, Form(max_length=20)] = "") -> RedirectResponse:
    """Keep what the person wants mail about."""
    async with entry.scope() as scope:
        await deciders.choose_mail(scope, wanted)
    return go_to(f"/c/{entry.company}/approvals/settings", "saved")


@router.get("/c/{company}/approvals/{approval_id}")
async def approval(entry: Reading, approval_id: UUID) -> HTMLResponse:
    """Show the card of one question."""
    async with entry.scope() as scope:
        found = await service.card_of(scope, approval_id)
        titles = await _titles(scope, {found[0].conversation_id})
        (card,) = approval_cards(found, (await get_company(scope)).name, titles.__getitem__)
        context = {"approval": card, "return_to": f"/c/{entry.company}/chat/{found[0].conversation_id}"}
        return await page(entry.request, scope, "pages/approval.html", context, nav="approvals")


@router.post("/c/{company}/approvals/decision")
async def decide_together(
    entry: Deciding, decision: Decision = "", return_to: ReturnTo = "", shown: Seen = ()
) -> RedirectResponse:
    """Decide the questions that were shown, all of them; their runs go on."""
    async with entry.scope() as scope:
        await service.decide_together(scope, _seen(shown), decision)
    return _back(entry, return_to)


@router.post("/c/{company}/approvals/{approval_id}/decision")
async def decide(
    entry: Deciding,
    approval_id: UUID,
    decision: Decision = "",
    return_to: ReturnTo = "",
    shown: Seen = (),
    answer: Answer = "",
) -> RedirectResponse:
    """Decide one question, or answer it; the run goes on."""
    seen = _seen(shown)
    if seen and approval_id not in seen:
        raise InvalidInput("This call is not among those that were shown.")
    async with entry.scope() as scope:
        said = typed_lines(answer) if decision == "once" else ""
        await service.decide_approval(scope, approval_id, decision, seen.get(approval_id), said)
    return _back(entry, return_to)


@router.post("/c/{company}/grants/{grant_id}/revoke")
async def revoke(entry: Deciding, grant_id: UUID) -> RedirectResponse:
    """End a standing grant."""
    async with entry.scope() as scope:
        await service.revoke_grant(scope, grant_id)
    return go_to(f"/c/{entry.company}/approvals", "revoked")


def _back(entry: CompanyEntry, return_to: str) -> RedirectResponse:
    return go_to(safe_next(return_to) if return_to else f"/c/{entry.company}/approvals", "decided")


def _seen(shown: Sequence[str]) -> dict[UUID, str]:
    found: dict[UUID, str] = {}
    for each in shown:
        name, _, digest = each.partition(" ")
        try:
            found[UUID(name)] = digest
        except ValueError:
            raise NotFound from None
    return found


async def _titles(scope: Scope, wanted: set[ConversationId]) -> dict[UUID, dict[str, object]]:
    found = [await conversations.get(scope, each) for each in wanted]
    return {one.id: {"id": one.id, "title": one.title} for one in found}


async def _settings_page(entry: CompanyEntry, refusal: Refusal | None) -> HTMLResponse:
    async with entry.scope() as scope:
        kind = scope.actor.company_kind
        context = {
            "rules": rule_rows(await deciders.list_rules(scope)),
            "roles": [each.value for each in Role if Permission.APPROVALS_DECIDE in permissions_of(kind, each.value)],
            "mail": await deciders.own_mail(scope),
        }
        return await page(
            entry.request, scope, "pages/approval_settings.html", context, nav="approvals", refusal=refusal
        )
