"""What people do with agents: write to them, watch and stop their runs, decide their questions."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from textwrap import shorten
from typing import Any
from uuid import UUID

from operalta.access.rules import Permission
from operalta.agents import store
from operalta.agents.approvals import store as approval_store
from operalta.agents.definitions import store as definition_store
from operalta.agents.errors import ApprovalNotValid
from operalta.agents.policy import ASKED_EACH_TIME
from operalta.agents.registry import ToolClass
from operalta.agents.rules import RunState
from operalta.audit.rules import Action
from operalta.audit.service import record
from operalta.db.permission import require
from operalta.db.scope import Row, Scope
from operalta.kernel.errors import Conflict, InvalidInput, NotAllowed, NotFound
from operalta.kernel.ids import AgentId, ApprovalId, ConversationId, MessageId, RunId, new_id
from operalta.terms.registry import upholds
from operalta.workspace.conversations import service as conversations

LONGEST_TITLE = 60
DECISIONS = ("once", "conversation", "denied")


@dataclass(frozen=True, slots=True)
class Posted:
    """A message that was taken, and the run that it made. `created` is false for a repeated idempotency key."""

    conversation_id: ConversationId
    message_id: MessageId
    run_id: RunId
    created: bool


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as people see it. `waits_for` is the run before it in its conversation, while that is not over."""

    id: RunId
    conversation_id: ConversationId
    message_id: MessageId
    agent_id: AgentId
    status: str
    failure: str | None
    created_at: datetime
    finished_at: datetime | None
    origin: str
    retry_of: RunId | None
    continued: int
    limit_reached: str | None
    waits_for: RunId | None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen in it."""
        return self.status in {"finished", "failed", "stopped"}


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One step of a run."""

    sequence: int
    kind: str
    body: dict[str, Any]
    at: datetime


@dataclass(frozen=True, slots=True)
class Approval:
    """A question for a person: all of what would be done, and why it is asked."""

    id: ApprovalId
    run_id: RunId
    conversation_id: ConversationId
    call_id: str
    agent_name: str
    requester_name: str | None
    tool: str
    tool_class: str
    arguments: dict[str, Any]
    reasons: tuple[str, ...]
    before: str | None
    after: str | None
    asked_at: datetime
    expires_at: datetime
    expired: bool
    decision: str | None
    decided_at: datetime | None
    decider_name: str | None
    is_private: bool

    @property
    def may_be_granted_for_conversation(self) -> bool:
        """Whether "for this conversation" is offered: not for what is asked about each time."""
        return _may_be_granted(self.tool_class, self.reasons)


@upholds("5.0.1")
async def post_message(
    scope: Scope,
    text: str,
    *,
    conversation_id: UUID | None = None,
    agent_id: UUID | None = None,
    private: bool = True,
    idempotency_key: str | None = None,
) -> Posted:
    """Write to an agent: the message, its conversation where it is new, and the run, in one transaction.

    The same idempotency key with the same text gives the same run again. Raise InvalidInput, NotFound, Conflict.
    """
    require(scope, Permission.AGENTS_RUN)
    agents = await definition_store.agents(scope, retired=False)
    chosen = next((row for row in agents if agent_id is None or row["id"] == agent_id), None)
    if chosen is None:
        raise NotFound("There is no such agent in this company.")
    if conversation_id is None and idempotency_key is not None:
        # A first message that is sent again must not open a second conversation.
        said = await conversations.find_by_key(scope, idempotency_key, text)
        conversation_id = said.conversation_id if said is not None else None
    if conversation_id is None:
        title = shorten(" ".join(text.split()), LONGEST_TITLE, placeholder="…") or "New conversation"
        conversation = await conversations.start_conversation(scope, title, private=private)
        here = conversation.id
    else:
        here = ConversationId(conversation_id)
    message, created = await conversations.add_person_message(scope, here, text, idempotency_key)
    if not created:
        earlier = await store.run_of_message(scope, message.id)
        if earlier is None:
            raise Conflict
        return Posted(message.conversation_id, message.id, RunId(earlier["id"]), created=False)
    run_id = RunId(new_id())
    if not await store.start_run(scope, run_id, message.id, chosen["id"], chosen["route"]):
        raise NotAllowed
    return Posted(here, message.id, run_id, created=True)


async def get_run(scope: Scope, run_id: UUID) -> RunView:
    """Return one run. Raise NotFound."""
    require(scope, Permission.AGENTS_RUN)
    row = await store.run(scope, run_id)
    if row is None:
        raise NotFound
    ahead = await store.run_ahead_of(scope, run_id) if row["status"] == RunState.QUEUED else None
    return RunView(
        RunId(row["id"]),
        ConversationId(row["conversation_id"]),
        MessageId(row["message_id"]),
        AgentId(row["agent_id"]),
        row["status"],
        row["failure"],
        row["created_at"],
        row["finished_at"],
        row["origin"],
        row["retry_of"],
        row["continued"],
        row["limit_reached"],
        ahead["id"] if ahead else None,
    )


async def steps_of_conversation(scope: Scope, conversation_id: UUID) -> dict[UUID, list[RunEvent]]:
    """Return, for each run of a conversation, the steps that its page shows."""
    require(scope, Permission.AGENTS_RUN)
    found: dict[UUID, list[RunEvent]] = {}
    for row in await store.steps_of_conversation(scope, conversation_id):
        event = RunEvent(row["sequence"], row["kind"], row["body"], row["at"])
        found.setdefault(row["run_id"], []).append(event)
    return found


async def runs_of_conversation(scope: Scope, conversation_id: UUID) -> list[Row]:
    """Return a conversation's runs, oldest first."""
    require(scope, Permission.AGENTS_RUN)
    return await store.runs_of_conversation(scope, conversation_id)


async def events_after(scope: Scope, run_id: UUID, after: int) -> tuple[RunEvent, ...]:
    """Return the events of a run after the one numbered `after`. The model's raw messages stay inside."""
    require(scope, Permission.AGENTS_RUN)
    return tuple(
        RunEvent(row["sequence"], row["kind"], {} if row["kind"] == "model_answered" else row["body"], row["at"])
        for row in await store.events(scope, run_id, max(0, after))
    )


async def stop_run(scope: Scope, run_id: UUID) -> None:
    """Ask a run of one's own to stop; a run that waits for an answer stops too. Raise NotFound."""
    await get_run(scope, run_id)
    if await store.request_stop(scope, run_id):
        await store.resume_run(scope, run_id)


# ── Approvals ──────────────────────────────────────────────────────────────────────────────────────────


async def count_waiting_approvals(scope: Scope) -> int:
    """Return how many questions wait that the person can see; none without the permission."""
    try:
        require(scope, Permission.APPROVALS_READ)
    except NotAllowed:
        return 0
    return await approval_store.waiting_count(scope)


async def list_approvals(scope: Scope, *, waiting: bool, conversation_id: UUID | None = None) -> tuple[Approval, ...]:
    """Return the questions that wait, or those that do not, newest first, at most 100."""
    require(scope, Permission.APPROVALS_READ)
    return tuple(
        _approval(row)
        for row in await approval_store.approvals(scope, waiting=waiting, conversation_id=conversation_id)
    )


async def get_approval(scope: Scope, approval_id: UUID) -> Approval:
    """Return one question. Raise NotFound."""
    require(scope, Permission.APPROVALS_READ)
    row = await approval_store.approval(scope, approval_id)
    if row is None:
        raise NotFound
    return _approval(row)


@upholds("5.5.1")
async def decide_approval(scope: Scope, approval_id: UUID, decision: str) -> Approval:
    """Decide a question: `once`, `conversation` or `denied`; the run goes on.

    Only a person in their own session decides, and only the first decision counts. Raise NotFound, InvalidInput,
    NotAllowed, or ApprovalNotValid where it was decided before or has expired.
    """
    require(scope, Permission.APPROVALS_DECIDE)
    if decision not in DECISIONS:
        raise InvalidInput(f"The decision is one of {', '.join(DECISIONS)}.", field="decision")
    row = await approval_store.approval(scope, approval_id)
    if row is None:
        raise NotFound
    if decision == "conversation" and not _may_be_granted(row["tool_class"], row["reasons"]):
        raise InvalidInput("This kind of call is approved one by one.", field="decision")
    if not await approval_store.decide(scope, approval_id, decision):
        raise ApprovalNotValid
    action = Action.APPROVAL_DENIED if decision == "denied" else Action.APPROVAL_GRANTED
    await record(scope, action, "approval", approval_id, tool=row["tool"], scope_of_decision=decision)
    if decision == "conversation":
        await approval_store.give_grant(scope, row)
        await record(scope, Action.GRANT_GIVEN, "approval", approval_id, tool=row["tool"])
    await store.resume_run(scope, row["run_id"])
    return await get_approval(scope, approval_id)


def _may_be_granted(tool_class: str, reasons: Iterable[str]) -> bool:
    return not ToolClass(tool_class).is_sensitive and ASKED_EACH_TIME not in reasons


async def list_grants(scope: Scope) -> list[Row]:
    """Return the standing grants."""
    require(scope, Permission.APPROVALS_READ)
    return await approval_store.grants(scope)


async def revoke_grant(scope: Scope, grant_id: UUID) -> None:
    """End a grant at once. Raise NotFound."""
    require(scope, Permission.APPROVALS_DECIDE)
    if not await approval_store.revoke_grant(scope, grant_id):
        raise NotFound
    await record(scope, Action.GRANT_REVOKED, "grant", grant_id)


def _approval(row: Row) -> Approval:
    return Approval(
        id=ApprovalId(row["id"]),
        run_id=RunId(row["run_id"]),
        conversation_id=ConversationId(row["conversation_id"]),
        call_id=row["call_id"],
        agent_name=row["agent_name"],
        requester_name=row["requester_name"],
        tool=row["tool"],
        tool_class=row["tool_class"],
        arguments=row["arguments"],
        reasons=tuple(row["reasons"]),
        before=row["before"],
        after=row["after"],
        asked_at=row["asked_at"],
        expires_at=row["expires_at"],
        expired=row["expired"],
        decision=row["decision"],
        decided_at=row["decided_at"],
        decider_name=row["decider_name"],
        is_private=row["private_to"] is not None,
    )
