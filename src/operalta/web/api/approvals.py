"""Approvals: the questions that agents' calls wait for, their answers, who may give them, and the standing grants."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from operalta.access.rules import Permission, Role
from operalta.agents.approvals import deciders, service
from operalta.agents.approvals.deciders import Deciders
from operalta.agents.registry import ToolClass
from operalta.db.scope import Scope
from operalta.guard import rules
from operalta.web.api.models import REFUSALS, USUAL_PAGE_SIZE, Body, Cursor, Listing, PageSize, Shown, whole
from operalta.web.entry import CompanyEntry, InCompany

router = APIRouter(prefix="/companies/{company}/approvals", tags=["agents"], responses=REFUSALS)

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.APPROVALS_READ, rules.READ))]
Deciding = Annotated[CompanyEntry, Depends(InCompany(Permission.APPROVALS_DECIDE, rules.SENSITIVE_WRITE))]
Ruling = Annotated[CompanyEntry, Depends(InCompany(Permission.COMPANY_MANAGE, rules.SENSITIVE_WRITE))]
State = Annotated[Literal["waiting", "decided"], Query(description="`decided` holds those that have expired, too")]
Digest = Annotated[
    str,
    Field(
        min_length=64,
        max_length=64,
        pattern="^[0-9a-f]{64}$",
        description="The digest of the arguments as they were shown",
    ),
]
Wanted = Annotated[
    Literal["own", "all", "none"], Field(description="Mail about one's own agents' questions, about all, or none")
]


class DecisionBody(Body):
    """An answer: for this call alone, for calls of this kind in the conversation, or no.

    Give the digest that was shown to have it compared; what a question asks never changes. An agent that asks something
    (`ask_person`) gets `answer` with `once`.
    """

    decision: Literal["once", "conversation", "denied"]
    arguments_sha256: Digest | None = None
    answer: Annotated[str, Field(max_length=service.LONGEST_ANSWER)] | None = None


class SeenCall(Body):
    """A call as somebody was shown it."""

    id: UUID
    arguments_sha256: Digest


class JointDecisionBody(Body):
    """One answer for these calls and no others. A yes is for all of them or for none."""

    decision: Literal["once", "conversation", "denied"]
    calls: Annotated[list[SeenCall], Field(min_length=1, max_length=service.MOST_AT_ONCE)]


class Approval(Shown):
    """A question: everything that would be done, and why it is asked.

    Questions of one `card_id` were proposed together. `before` and `after` are the texts that a write would replace
    and put there; null where it writes none.
    """

    id: UUID
    card_id: UUID
    run_id: UUID
    conversation_id: UUID
    call_id: str
    agent_name: str
    requester_name: str | None
    tool: str
    tool_class: str
    arguments: dict[str, Any]
    arguments_sha256: str
    reasons: tuple[str, ...]
    before: str | None
    after: str | None
    may_be_granted_for_conversation: bool
    deciding_roles: tuple[str, ...]
    needs_second_person: bool
    may_decide: bool
    asked_at: datetime
    expires_at: datetime
    expired: bool
    decision: Literal["once", "conversation", "denied"] | None
    decided_at: datetime | None
    decider_name: str | None
    answer: str | None


class Grant(Shown):
    """A standing grant for a tool in one conversation, for one person's calls through one agent.

    `arguments` are those of the call that it was given for; texts may differ from them, and no more than the origin
    of an address has to be the same.
    """

    id: UUID
    conversation_id: UUID
    agent_name: str
    tool: str
    arguments: dict[str, Any]
    requester_name: str | None
    given_by_name: str | None
    given_at: datetime
    expires_at: datetime


class ClassRule(Shown):
    """Who decides about a class of tools: these roles, and never whoever asked where `second_person`."""

    tool_class: ToolClass
    roles: tuple[str, ...]
    second_person: bool
    changed_by_name: str | None
    changed_at: datetime | None


class WantedRule(Body):
    """Who is to decide about a class of tools. Founders always may; the rule only ever takes away from others."""

    tool_class: ToolClass
    roles: Annotated[list[Role], Field(max_length=len(Role))]
    second_person: bool = False


class RulesBody(Body):
    """The rules to change; classes that are not named keep theirs."""

    rules: Annotated[list[WantedRule], Field(min_length=1, max_length=len(ToolClass))]


class MailBody(Body):
    """What the person wants mail about."""

    wanted: Wanted


class MailChoice(Shown):
    """What the person wants mail about; null for whoever decides nothing."""

    wanted: Wanted | None


@router.get("")
async def list_approvals(
    entry: Reading, state: State = "waiting", cursor: Cursor = None, limit: PageSize = USUAL_PAGE_SIZE
) -> Listing[Approval]:
    """List the questions that wait, or the last hundred that do not, newest first."""
    async with entry.scope() as scope:
        found = await service.list_approvals(scope, waiting=state == "waiting")
    items, following = whole(found, limit, cursor)
    return Listing[Approval](items=tuple(Approval.model_validate(each) for each in items), next_cursor=following)


@router.post("/decision", status_code=HTTPStatus.NO_CONTENT)
async def decide_together(entry: Deciding, body: JointDecisionBody) -> None:
    """Answer several questions in one transaction, exactly as they were shown; their runs go on.

    409 where one of them was answered before, has expired, or differs from what was shown. A no is kept for the rest.
    """
    async with entry.scope() as scope:
        shown = {call.id: call.arguments_sha256 for call in body.calls}
        await service.decide_together(scope, shown, body.decision)


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


@router.get("/rules")
async def list_rules(entry: Reading) -> Listing[ClassRule]:
    """List who decides about which class of tools."""
    async with entry.scope() as scope:
        return await _rules(scope)


@router.put("/rules")
async def change_rules(entry: Ruling, body: RulesBody) -> Listing[ClassRule]:
    """Change who decides about some classes. Asks for a recent proof."""
    wanted = {
        each.tool_class: Deciders(tuple(role.value for role in each.roles), each.second_person) for each in body.rules
    }
    async with entry.scope() as scope:
        await deciders.change_rules(scope, wanted)
        return await _rules(scope)


@router.get("/mail")
async def get_mail(entry: Reading) -> MailChoice:
    """Return what the person wants mail about."""
    async with entry.scope() as scope:
        return MailChoice.model_validate({"wanted": await deciders.own_mail(scope)})


@router.put("/mail")
async def choose_mail(entry: Deciding, body: MailBody) -> MailChoice:
    """Choose about which waiting questions to get mail. A mail only opens the page; nothing is decided by it."""
    async with entry.scope() as scope:
        await deciders.choose_mail(scope, body.wanted)
    return MailChoice(wanted=body.wanted)


@router.get("/{approval_id}")
async def get_approval(entry: Reading, approval_id: UUID) -> Approval:
    """Return one question."""
    async with entry.scope() as scope:
        return Approval.model_validate(await service.get_approval(scope, approval_id))


@router.post("/{approval_id}/decision")
async def decide(entry: Deciding, approval_id: UUID, body: DecisionBody) -> Approval:
    """Answer a question; its run goes on. Only the first answer counts: 409 after it, or after the expiry."""
    async with entry.scope() as scope:
        decided = await service.decide_approval(scope, approval_id, body.decision, body.arguments_sha256)
        return Approval.model_validate(decided)


async def _rules(scope: Scope) -> Listing[ClassRule]:
    found = await deciders.list_rules(scope)
    return Listing[ClassRule](items=tuple(ClassRule.model_validate(each) for each in found))
