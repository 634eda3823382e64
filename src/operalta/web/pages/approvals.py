"""The approvals inbox, single approvals, and standing grants."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Query
from fastapi.responses import HTMLResponse, RedirectResponse

from operalta.access.rules import Permission
from operalta.agents import service
from operalta.db.scope import Scope
from operalta.guard import rules
from operalta.kernel.ids import ConversationId
from operalta.tenancy.service import get_company
from operalta.web.agent_views import approval_card
from operalta.web.entry import CompanyEntry, InCompany
from operalta.web.presentation import go_to, page, safe_next
from operalta.workspace.conversations import service as conversations

router = APIRouter()

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.APPROVALS_READ, rules.READ))]
Deciding = Annotated[CompanyEntry, Depends(InCompany(Permission.APPROVALS_DECIDE, rules.SENSITIVE_WRITE))]


@router.get("/c/{company}/approvals")
async def inbox(entry: Reading, state: Annotated[Literal["waiting", "decided"], Query()] = "waiting") -> HTMLResponse:
    """Show the questions that wait, or those that are decided."""
    async with entry.scope() as scope:
        listed = await service.list_approvals(scope, waiting=state == "waiting")
        context = {
            "state": state,
            "approvals": [await _card(scope, each) for each in listed],
            "waiting_count": await service.count_waiting_approvals(scope),
            "previous_url": None,
            "next_url": None,
            "grants": [
                {
                    "id": grant["id"],
                    "tool": grant["tool"],
                    "agent": "",
                    "requester": grant["requester_name"],
                    "conversation": {"id": grant["conversation_id"], "title": "Conversation"},
                    "granted_by": grant["given_by_name"],
                    "granted_at": grant["given_at"],
                }
                for grant in await service.list_grants(scope)
            ],
        }
        return await page(entry.request, scope, "pages/approvals.html", context, nav="approvals")


@router.get("/c/{company}/approvals/{approval_id}")
async def approval(entry: Reading, approval_id: UUID) -> HTMLResponse:
    """Show one question."""
    async with entry.scope() as scope:
        found = await service.get_approval(scope, approval_id)
        context = {
            "approval": await _card(scope, found),
            "return_to": f"/c/{entry.company}/chat/{found.conversation_id}",
        }
        return await page(entry.request, scope, "pages/approval.html", context, nav="approvals")


@router.post("/c/{company}/approvals/{approval_id}/decision")
async def decide(
    entry: Deciding,
    approval_id: UUID,
    decision: Annotated[str, Form(max_length=20)] = "",
    return_to: Annotated[str, Form(max_length=2_000)] = "",
) -> RedirectResponse:
    """Decide a question; the run goes on."""
    async with entry.scope() as scope:
        await service.decide_approval(scope, approval_id, decision)
    return go_to(safe_next(return_to) if return_to else f"/c/{entry.company}/approvals", "decided")


@router.post("/c/{company}/grants/{grant_id}/revoke")
async def revoke(entry: Deciding, grant_id: UUID) -> RedirectResponse:
    """End a standing grant."""
    async with entry.scope() as scope:
        await service.revoke_grant(scope, grant_id)
    return go_to(f"/c/{entry.company}/approvals", "revoked")


async def _card(scope: Scope, found: service.Approval) -> dict[str, object]:
    conversation = await conversations.get(scope, ConversationId(found.conversation_id))
    shown = {"id": conversation.id, "title": conversation.title}
    return approval_card(found, (await get_company(scope)).name, shown)
