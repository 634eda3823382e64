"""What people do about agents' questions: look at them, decide them one by one or together, end standing grants."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from operalta.access.rules import Permission
from operalta.agents.approvals import store
from operalta.agents.company_tools import ASK_PERSON
from operalta.agents.errors import ApprovalNotValid, NotTheirsToDecide
from operalta.agents.policy import ASKED_EACH_TIME
from operalta.agents.registry import ToolClass
from operalta.agents.store import resume_run
from operalta.audit.rules import Action
from operalta.audit.service import record
from operalta.db.permission import require
from operalta.db.scope import Row, Scope
from operalta.kernel.errors import InvalidInput, NotAllowed, NotFound
from operalta.kernel.ids import ApprovalId, ConversationId, RunId
from operalta.kernel.texts import checked_text
from operalta.terms.registry import upholds

DECISIONS = ("once", "conversation", "denied")
MOST_AT_ONCE = 100
LONGEST_ANSWER = 4_000


@dataclass(frozen=True, slots=True)
class Approval:
    """A question for a person: all of what would be done, and why it is asked.

    Questions of the same `card_id` were proposed together. `deciding_roles` and `needs_second_person` are the
    company's rule for its class; `may_decide` is for the person who looks.
    """

    id: ApprovalId
    card_id: ApprovalId
    run_id: RunId
    conversation_id: ConversationId
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
    asked_at: datetime
    expires_at: datetime
    expired: bool
    decision: str | None
    decided_at: datetime | None
    decider_name: str | None
    is_private: bool
    deciding_roles: tuple[str, ...]
    needs_second_person: bool
    may_decide: bool
    answer: str | None

    @property
    def is_question(self) -> bool:
        """Whether the agent asks for an answer in words, and not whether it may do something."""
        return self.tool == ASK_PERSON

    @property
    def is_waiting(self) -> bool:
        """Whether somebody can still answer."""
        return self.decision is None and not self.expired

    @property
    def may_be_granted_for_conversation(self) -> bool:
        """Whether "for this conversation" is offered: not for what is asked about each time."""
        return _may_be_granted(self.tool_class, self.reasons)


async def count_waiting_approvals(scope: Scope) -> int:
    """Return how many questions wait that the person can see; none without the permission."""
    try:
        require(scope, Permission.APPROVALS_READ)
    except NotAllowed:
        return 0
    return await store.waiting_count(scope)


async def list_approvals(scope: Scope, *, waiting: bool, conversation_id: UUID | None = None) -> tuple[Approval, ...]:
    """Return the questions that wait, or those that do not, newest first, at most 100."""
    require(scope, Permission.APPROVALS_READ)
    return await _shown(scope, await store.approvals(scope, waiting=waiting, conversation_id=conversation_id))


async def get_approval(scope: Scope, approval_id: UUID) -> Approval:
    """Return one question. Raise NotFound."""
    require(scope, Permission.APPROVALS_READ)
    found = await _shown(scope, await store.approvals(scope, ids=[approval_id]))
    if not found:
        raise NotFound
    return found[0]


async def card_of(scope: Scope, approval_id: UUID) -> tuple[Approval, ...]:
    """Return every question that was proposed together with this one, and itself, in order. Raise NotFound."""
    require(scope, Permission.APPROVALS_READ)
    found = await _shown(scope, await store.approvals(scope, card_of=approval_id))
    if not found:
        raise NotFound
    return found[::-1]


async def decide_approval(
    scope: Scope, approval_id: UUID, decision: str, shown_sha256: str | None = None, answer: str | None = None
) -> Approval:
    """Decide one question: `once`, `conversation` or `denied`; the run goes on. Raise as `decide_together`.

    What a question asks never changes; `shown_sha256` is the digest of the arguments that the person was shown, for
    whoever wants that checked. `answer` is what the person says to an agent that asked them something.
    """
    require(scope, Permission.APPROVALS_DECIDE)
    rows = await store.approvals(scope, ids=[approval_id])
    if not rows:
        raise NotFound
    shown = rows[0]["arguments_sha256"] if shown_sha256 is None else shown_sha256
    await decide_together(scope, {approval_id: shown}, decision, answer)
    return await get_approval(scope, approval_id)


@upholds("5.5.1")
async def decide_together(scope: Scope, shown: Mapping[UUID, str], decision: str, answer: str | None = None) -> None:
    """Decide exactly the questions that were shown, each with the digest of its arguments, in one transaction.

    Only people decide, in a session of their own; only the first decision counts. A yes is for all of them or for
    none; a no is recorded for those that can still be denied. Raise NotFound, InvalidInput, NotAllowed,
    NotTheirsToDecide, or ApprovalNotValid where one was decided before, has expired, or is not what was shown.
    """
    require(scope, Permission.APPROVALS_DECIDE)
    if decision not in DECISIONS:
        raise InvalidInput(f"The decision is one of {', '.join(DECISIONS)}.", field="decision")
    if not 0 < len(shown) <= MOST_AT_ONCE:
        raise InvalidInput(f"Decide 1 to {MOST_AT_ONCE} calls at once.", field="shown")
    rows = {row["id"]: row for row in await store.approvals(scope, ids=list(shown))}
    if set(rows) != set(shown):
        raise NotFound
    others, own = await store.classes_to_decide(scope)
    for row in rows.values():
        if row["tool_class"] not in (own if row["requester_id"] == scope.actor.person_id else others):
            raise NotTheirsToDecide
        if decision == "conversation" and not _may_be_granted(row["tool_class"], row["reasons"]):
            raise InvalidInput("This kind of call is approved one by one.", field="decision")
    said = _answer_for(rows.values(), decision, answer)
    decided = await store.decide(scope, shown, decision, said)
    if not decided or (decision != "denied" and decided != set(shown)):
        raise ApprovalNotValid
    await _follow_up(scope, [rows[each] for each in shown if each in decided], decision)


async def _follow_up(scope: Scope, rows: Iterable[Row], decision: str) -> None:
    """Write down each decision, give the grants that come with it, and let the runs go on."""
    action = Action.APPROVAL_DENIED if decision == "denied" else Action.APPROVAL_GRANTED
    runs: set[UUID] = set()
    for row in rows:
        await record(scope, action, "approval", row["id"], tool=row["tool"], scope_of_decision=decision)
        if decision == "conversation":
            await store.give_grant(scope, row)
            await record(scope, Action.GRANT_GIVEN, "approval", row["id"], tool=row["tool"])
        runs.add(row["run_id"])
    for run in sorted(runs):
        await resume_run(scope, run)


def _answer_for(rows: Iterable[Row], decision: str, answer: str | None) -> str | None:
    """Return the answer, tidied. Raise InvalidInput for a question without one, and for one that nothing asks for."""
    asked = [row["tool"] == ASK_PERSON for row in rows]
    if decision == "once" and any(asked):
        if len(asked) > 1 or not (answer or "").strip():
            raise InvalidInput("Answer the agent's question by itself, in words, or deny it.", field="answer")
        return checked_text(str(answer).strip(), "answer", LONGEST_ANSWER, 1)
    if (answer or "").strip():
        raise InvalidInput("Nothing was asked that takes an answer.", field="answer")
    return None


def _may_be_granted(tool_class: str, reasons: Iterable[str]) -> bool:
    return not ToolClass(tool_class).is_sensitive and ASKED_EACH_TIME not in reasons


async def list_grants(scope: Scope) -> list[Row]:
    """Return the standing grants."""
    require(scope, Permission.APPROVALS_READ)
    return await store.grants(scope)


async def revoke_grant(scope: Scope, grant_id: UUID) -> None:
    """End a grant at once. Raise NotFound."""
    require(scope, Permission.APPROVALS_DECIDE)
    if not await store.revoke_grant(scope, grant_id):
        raise NotFound
    await record(scope, Action.GRANT_REVOKED, "grant", grant_id)


async def _shown(scope: Scope, rows: list[Row]) -> tuple[Approval, ...]:
    if not rows:
        return ()
    rules = {rule["tool_class"]: rule for rule in await store.class_rules(scope)}
    others, own = await store.classes_to_decide(scope)
    return tuple(
        _approval(
            row,
            rules.get(row["tool_class"], {"roles": [], "second_person": False}),
            may_decide=row["tool_class"] in (own if row["requester_id"] == scope.actor.person_id else others),
        )
        for row in rows
    )


def _approval(row: Row, rule: Row, *, may_decide: bool) -> Approval:
    return Approval(
        id=ApprovalId(row["id"]),
        card_id=ApprovalId(row["card_id"]),
        run_id=RunId(row["run_id"]),
        conversation_id=ConversationId(row["conversation_id"]),
        call_id=row["call_id"],
        agent_name=row["agent_name"],
        requester_name=row["requester_name"],
        tool=row["tool"],
        tool_class=row["tool_class"],
        arguments=row["arguments"],
        arguments_sha256=row["arguments_sha256"],
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
        deciding_roles=tuple(rule["roles"]),
        needs_second_person=rule["second_person"],
        may_decide=may_decide,
        answer=row["answer"],
    )
