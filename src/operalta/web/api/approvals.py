"""Approvals: the questions that agents' calls wait for, their answers, and the standing grants."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from operalta.access.rules import Permission
from operalta.agents import service
from operalta.guard import rules
from operalta.web.api.models import REFUSALS, USUAL_PAGE_SIZE, Body, Cursor, Listing, PageSize, Shown, whole
from operalta.web.entry import CompanyEntry, InCompany

router = APIRouter(prefix="/companies/{company}/approvals", tags=["agents"], responses=REFUSALS)

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.APPROVALS_READ, rules.READ))]
Deciding = Annotated[CompanyEntry, Depends(InCompany(Permission.APPROVALS_DECIDE, rules.SENSITIVE_WRITE))]
State = Annotated[Literal["waiting", "decided"], Query(description="`decided` holds those that have expired, too")]


class DecisionBody(Body):
    """An answer: for this call alone, for calls of this kind in the conversation, or no."""

    decision: Literal["once", "conversation", "denied"]


class Approval(Shown):
    """A question: everything that would be done, and why it is asked.

    `before` and `after` are the texts that a write would replace and put there; null where it writes none.
    """

    id: UUID
    run_id: UUID
    conversation_id: UUID
    call_id: str
    agent_name: str
    requester_name: str | None
    tool: str
    tool_class: str
    arguments: dict[str, Any]
    reasons: tuple[str, ...]
    before: str | None
    after: str | None
    may_be_granted_for_conversation: bool
    asked_at: datetime
    expires_at: datetime
    expired: bool
    decision: Literal["once", "conversation", "denied"] | None
    decided_at: datetime | None
    decider_name: str | None


class Grant(Shown):
    """A standing grant for a tool in one conversation, for one person's calls."""

    id: UUID
    conversation_id: UUID
    tool: str
    requester_name: str | None
    given_by_name: str | None
    given_at: datetime


@router.get("")
async def list_approvals(
    entry: Reading, state: State = "waiting", cursor: Cursor = None, limit: PageSize = USUAL_PAGE_SIZE
) -> Listing[Approval]:
    """List the questions that wait, or the last hundred that do not, newest first."""
    async with entry.scope() as scope:
        found = await service.list_approvals(scope, waiting=state == "waiting")
    items, following = whole(found, limit, cursor)
    return Listing[Approval](items=tuple(Approval.model_validate(each) for each in items), next_cursor=following)


@router.get("/grants")
async def list_grants(entry: Reading) -> Listing[Grant]:
    """List the standing grants, newest first."""
    async with entry.scope() as scope:
        found = await service.list_grants(scope)
    return Listing[Grant](items=tuple(Grant(**each) for each in found))


@router.delete("/grants/{grant_id}", status_code=HTTPStatus.NO_CONTENT)
async def revoke_grant(entry: Deciding, grant_id: UUID) -> None:
    """End a grant at once."""
    async with entry.scope() as scope:
        await service.revoke_grant(scope, grant_id)


@router.get("/{approval_id}")
async def get_approval(entry: Reading, approval_id: UUID) -> Approval:
    """Return one question."""
    async with entry.scope() as scope:
        return Approval.model_validate(await service.get_approval(scope, approval_id))


@router.post("/{approval_id}/decision")
async def decide(entry: Deciding, approval_id: UUID, body: DecisionBody) -> Approval:
    """Answer a question; its run goes on. Only the first answer counts: 409 after it, or after the expiry."""
    async with entry.scope() as scope:
        return Approval.model_validate(await service.decide_approval(scope, approval_id, body.decision))
