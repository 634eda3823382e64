"""Settling one call of a run: denied, asked about, or carried out at most once.

A tool's effect and its event commit together. A tool that reaches outside, where no transaction undoes anything, is
marked before it starts and never repeated by itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import psycopg
from psycopg.types.json import Jsonb

from operalta.agents import delegation, policy, store
from operalta.agents.approvals import rules as approval_rules
from operalta.agents.approvals import store as approval_store
from operalta.agents.canonical import JsonValue
from operalta.agents.company_tools import Delegate
from operalta.agents.decision_context import Outcome, PolicyDecision
from operalta.agents.dispatch import unless_stopped
from operalta.agents.errors import CannotBeShown
from operalta.agents.journal import Attempt
from operalta.agents.judgement import judge
from operalta.agents.reasons import explain
from operalta.agents.registry import ToolClass, ToolDeclaration, ToolRun, UnknownTool
from operalta.agents.rules import EventKind
from operalta.agents.steps import CallResult, ToolCall, denied, failed, succeeded
from operalta.agents.tool_functions import preview
from operalta.agents.tool_work import ToolWork
from operalta.audit.rules import Action
from operalta.audit.rules import Outcome as Ended
from operalta.audit.service import record
from operalta.db.errors import DatabaseOutOfReach
from operalta.db.scope import Row, Scope
from operalta.kernel import clock
from operalta.kernel.errors import InvalidInput, NotAllowed, NotFound, Refusal, TooLarge
from operalta.kernel.ids import ApprovalId, CompanyId, ConversationId, PersonId, RunId, new_id
from operalta.sandbox.exchange import EgressLine
from operalta.terms.registry import upholds

_INTERRUPTED = "This was interrupted and may have happened. It is not repeated by itself."
_DOES_NOT_FIT = "The approval does not fit this call any more. Ask for it again."
_NOT_THEIRS = "The approval came from somebody who may no longer give it. Ask for it again."
_CHANGED_SINCE = "What this would replace has changed since you were asked. Ask for it again."


@dataclass(frozen=True, slots=True)
class Accepted:
    """A call whose arguments fit its tool. `typed`: the person typed exactly this as a command."""

    call: ToolCall
    tool: ToolDeclaration
    arguments: object
    plain: dict[str, JsonValue]
    proposed: approval_rules.ProposedCall
    typed: bool


async def settle(attempt: Attempt, call: ToolCall) -> bool:
    """Bring a call to its result, or put the question about it. False: it waits for a person."""
    tool = attempt.registry.resolve(call.tool)
    decision = await judge(attempt, call, tool)
    if decision.outcome is Outcome.DENY or isinstance(tool, UnknownTool):
        await _deny(attempt, call, tool, decision)
        return True
    arguments = policy.accept_arguments(tool, call.arguments or {})
    if arguments is None:
        await _deny(attempt, call, tool, PolicyDecision(Outcome.DENY, ("arguments_do_not_fit",)))
        return True
    plain = policy.plain_arguments(arguments)
    typed = "typed_as_a_command" in decision.reasons
    accepted = Accepted(call, tool, arguments, plain, _propose(attempt, tool, plain), typed)
    if decision.outcome is Outcome.ALLOW:
        return await _carry_out(attempt, accepted, None)
    return await _settle_by_approval(attempt, accepted, decision)


async def questions_first(attempt: Attempt, calls: Iterable[ToolCall]) -> list[ToolCall]:
    """Return the calls of a turn in the order in which they are settled: what a person is asked about comes first.

    So a turn's questions are put together, and no call of it that takes its time can add to a card that is looked at.
    """
    open_ones = [call for call in calls if call.call_id not in attempt.memory.results]
    if len(open_ones) < 2:  # noqa: PLR2004 - one has no order
        return open_ones
    asks = {
        call.call_id
        for call in open_ones
        if (await judge(attempt, call, attempt.registry.resolve(call.tool))).outcome is Outcome.ASK
    }
    return sorted(open_ones, key=lambda call: call.call_id not in asks)


async def _settle_by_approval(attempt: Attempt, accepted: Accepted, decision: PolicyDecision) -> bool:
    call = accepted.call
    try:
        approval = await _approval(attempt, accepted, decision)
    except CannotBeShown as refusal:
        async with attempt.scope() as scope:
            await attempt.result(scope, call, failed(call, refusal.public_text))
        return True
    if approval is None:
        return False
    refusal = _refused(approval)
    if refusal is None:
        return await _carry_out(attempt, accepted, approval)
    async with attempt.scope() as scope:
        if approval["decision"] is None:
            await record(scope, Action.APPROVAL_EXPIRED, "approval", approval["id"], tool=accepted.tool.name)
        await attempt.result(scope, call, denied(call, refusal))
    return True


def _propose(attempt: Attempt, tool: ToolDeclaration, plain: dict[str, JsonValue]) -> approval_rules.ProposedCall:
    return approval_rules.propose(
        tool,
        plain,
        company_id=attempt.run["company_id"],
        run_id=RunId(attempt.run["id"]),
        conversation_id=ConversationId(attempt.run["conversation_id"]),
        requester_id=PersonId(attempt.run["person_id"]),
    )


def _refused(approval: Row) -> str | None:
    """Tell why a question that is closed does not let its call run; None where it does, or where it has run."""
    if approval["decision"] == "denied":
        return "A person said no."
    if approval["expired"] and approval["consumed_at"] is None:
        return "Nobody answered in time." if approval["decision"] is None else "The approval came, and has expired."
    return None


@upholds("5.5.2")
async def _deny(
    attempt: Attempt, call: ToolCall, tool: ToolDeclaration | UnknownTool, decision: PolicyDecision
) -> None:
    reason = explain(decision.reasons[0])
    if isinstance(tool, ToolDeclaration) and tool.absent_because is not None:
        reason = tool.absent_because
    action = Action.TOOL_UNKNOWN if isinstance(tool, UnknownTool) else Action.TOOL_DENIED
    async with attempt.scope() as scope:
        run = str(attempt.run["id"])
        await record(scope, action, "tool", call.tool[:80], Ended.REFUSED, run=run, reasons=decision.reasons)
        await attempt.result(scope, call, denied(call, reason))


@upholds("5.3.3", "5.5.1")
async def _approval(attempt: Attempt, accepted: Accepted, decision: PolicyDecision) -> Row | None:
    """Return the decided (or lapsed) question about a call, or put it and return None while it is open."""
    call = accepted.call
    async with attempt.scope() as scope:
        found = await approval_store.approval_of_call(scope, attempt.run["id"], call.call_id)
        if found is None:
            await _ask(attempt, scope, accepted, decision)
            return None
        if found["decision"] is None and not found["expired"]:
            return None
        if call.call_id in attempt.memory.open_questions:
            body = {
                "approval_id": str(found["id"]),
                "card_id": str(found["card_id"]),
                "call_id": call.call_id,
                "decision": found["decision"] or "expired",
            }
            await attempt.event(scope, EventKind.APPROVAL_DECIDED, body)
        return found


async def _ask(attempt: Attempt, scope: Scope, accepted: Accepted, decision: PolicyDecision) -> None:
    before, after = await _shown(attempt, scope, accepted)
    approval_id = new_id()
    # What is asked without anything happening in between is one card; the first question stands for it.
    card = attempt.memory.card
    asked: dict[str, Any] = {
        "id": approval_id,
        "run": attempt.run["id"],
        "conversation": attempt.run["conversation_id"],
        "private_to": attempt.run["private_to"],
        "agent": attempt.run["agent_id"],
        "requester": scope.actor.person_id,
        "call": accepted.call.call_id,
        "card": card,
        "tool": accepted.tool.name,
        "tool_class": accepted.tool.tool_class.value,
        "tool_hash": accepted.proposed.tool_hash,
        "arguments": Jsonb(accepted.plain),
        "sha256": accepted.proposed.arguments_sha256,
        "shape": accepted.proposed.arguments_shape,
        "reasons": Jsonb(list(decision.reasons)),
        "before": before,
        "after": after,
    }
    await approval_store.ask(scope, asked)
    body = {
        "approval_id": str(approval_id),
        "card_id": card or str(approval_id),
        "call_id": accepted.call.call_id,
    }
    await attempt.event(scope, EventKind.APPROVAL_ASKED, body)
    sha256 = accepted.proposed.arguments_sha256
    await record(scope, Action.APPROVAL_ASKED, "approval", approval_id, tool=accepted.tool.name, sha256=sha256)


async def _shown(attempt: Attempt, scope: Scope, accepted: Accepted) -> tuple[str | None, str | None]:
    """Return what a card shows of a change. Raise CannotBeShown where the change would be refused anyway."""
    try:
        return await preview(attempt.files, scope, accepted.arguments)
    except (InvalidInput, NotAllowed, NotFound, TooLarge) as refusal:
        raise CannotBeShown(refusal.public_text) from refusal


async def _carry_out(attempt: Attempt, accepted: Accepted, approval: Row | None) -> bool:
    """Do what was asked for. False: another agent is at it, and this one waits."""
    if accepted.tool.tool_class is ToolClass.DELEGATE:
        return await _hand_over(attempt, accepted, approval)
    if accepted.tool.tool_class.reaches_outside:
        await _carry_out_outside(attempt, accepted, approval)
    else:
        await _carry_out_here(attempt, accepted, approval)
    return True


async def _hand_over(attempt: Attempt, accepted: Accepted, approval: Row | None) -> bool:
    """Begin the run of another agent, once, or tell what came of it. False while it is at work."""
    call = accepted.call
    async with attempt.scope() as scope:
        child = await store.child_of_call(scope, attempt.run["id"], call.call_id)
        if child is not None:
            if not delegation.is_over(child):
                return False
            given, used = await delegation.outcome(scope, child, call.call_id)
            await attempt.event(scope, EventKind.CHILD_ENDED, used)
            await _finish(attempt, scope, accepted, succeeded(call, given), approval)
            return True
        if not await _begin(attempt, scope, accepted, approval):
            return True
        try:
            begun = await delegation.begin(scope, cast("Delegate", accepted.arguments), call.call_id)
        except Refusal as refusal:
            await _finish(attempt, scope, accepted, failed(call, refusal.public_text), approval)
            return True
        await attempt.event(scope, EventKind.CHILD_BEGUN, begun)
        return False


async def _carry_out_here(attempt: Attempt, accepted: Accepted, approval: Row | None) -> None:
    call = accepted.call
    async with attempt.scope() as scope:
        if not await _begin(attempt, scope, accepted, approval):
            return
        by_person = accepted.typed or approval is not None
        work = ToolWork(scope, ApprovalId(approval["id"]) if approval else None, by_person=by_person)
        try:
            # A refused effect is undone alone; the row that says so stays.
            async with scope.connection.transaction():
                result = succeeded(call, await _run_of(accepted.tool)(work, accepted.arguments))
        except DatabaseOutOfReach:
            raise
        except Refusal as refusal:
            result = failed(call, refusal.public_text)
        except psycopg.errors.InsufficientPrivilege:
            result = failed(call, explain("your_role_does_not_permit_it"))
        await _finish(attempt, scope, accepted, result, approval)


async def _carry_out_outside(attempt: Attempt, accepted: Accepted, approval: Row | None) -> None:
    """Run a tool whose effect no transaction undoes: marked before, so that it happens at most once."""
    call = accepted.call
    async with attempt.scope() as scope:
        if not await _begin(attempt, scope, accepted, approval):
            return

    async def tell(text: str) -> None:
        async with attempt.scope() as scope:
            await attempt.event(scope, EventKind.TOOL_OUTPUT, {"call_id": call.call_id, "text": text})

    work = ToolWork(
        None,
        company_id=CompanyId(attempt.run["company_id"]),
        run_id=RunId(attempt.run["id"]),
        reopen=attempt.scope,
        tell=tell,
    )
    try:
        given = await unless_stopped(attempt.claim, _run_of(accepted.tool)(work, accepted.arguments))
        result = succeeded(call, given) if given is not None else failed(call, _STOPPED_MIDWAY)
    except DatabaseOutOfReach:
        # Nobody knows what happened outside: whoever goes on with the run finds the mark, and no result.
        raise
    except Refusal as refusal:
        result = failed(call, refusal.public_text)
    except Exception:
        async with attempt.scope() as scope:
            await keep_egress(attempt, scope, work.egress)
        raise
    async with attempt.scope() as scope:
        await keep_egress(attempt, scope, work.egress)
        await _finish(attempt, scope, accepted, result, approval)


async def keep_egress(attempt: Attempt, scope: Scope, lines: Iterable[EgressLine]) -> None:
    """Write down what left, in the company's egress log and in its audit log."""
    for line in lines:
        destination = f"{line.scheme}://{line.host}:{line.port}"
        kept = {
            "method": line.method[:10],
            "destination": f"{destination}{line.path}"[:2000],
            "address": line.address,
            "outcome": (line.refusal or str(line.status or ""))[:80],
            "bytes": line.bytes_received,
            "milliseconds": line.milliseconds,
            "purpose": line.errand.purpose[:80],
        }
        await store.add_egress_line(scope, attempt.run, kept)
        action = Action.EGRESS_FETCHED if line.refusal is None else Action.EGRESS_REFUSED
        ended = Ended.SUCCEEDED if line.refusal is None else Ended.REFUSED
        await record(scope, action, "destination", destination, ended, rule=line.refusal or "")


async def _begin(attempt: Attempt, scope: Scope, accepted: Accepted, approval: Row | None) -> bool:
    """Mark the call as begun and use its approval up. False: it is settled without running."""
    await attempt.stop_if_wanted(scope)
    call, digest = accepted.call, accepted.proposed.arguments_sha256
    if not await store.begin_call(scope, attempt.run, call.call_id, accepted.tool.name, digest):
        # The worker died between the mark and the result: what happened outside is unknown.
        await attempt.result(scope, call, failed(call, _INTERRUPTED))
        return False
    refusal = None if approval is None else await use_up(attempt, scope, accepted, approval)
    if refusal is not None:
        await attempt.result(scope, call, denied(call, refusal))
    return refusal is None


@upholds("5.5.1")
async def use_up(attempt: Attempt, scope: Scope, accepted: Accepted, approval: Row) -> str | None:
    """Consume an approval for exactly this call. Return why not where it does not fit any more."""
    binding = approval_rules.ApprovalBinding(
        arguments_sha256=approval["arguments_sha256"],
        tool_name=approval["tool"],
        tool_hash=approval["tool_hash"],
        company_id=approval["company_id"],
        run_id=approval["run_id"],
        conversation_id=approval["conversation_id"],
        requester_id=approval["requester_id"],
        expires_at=approval["expires_at"],
        approver_session_id=approval["decided_session"],
    )
    differing = approval_rules.mismatches(binding, accepted.proposed, clock.now())
    refusal = _DOES_NOT_FIT if differing else None
    if refusal is None and approval["before"] is not None:
        try:
            before, _ = await _shown(attempt, scope, accepted)
        except CannotBeShown as refused:
            differing, refusal = ("before",), refused.public_text
        else:
            if before != approval["before"]:
                differing, refusal = ("before",), _CHANGED_SINCE
    proposed = accepted.proposed
    if refusal is None and not await approval_store.consume(
        scope, approval["id"], attempt.run["id"], proposed.arguments_sha256, proposed.tool_hash
    ):
        stands = await approval_store.decision_stands(scope, approval["id"])
        differing, refusal = (("consumed_at",), _DOES_NOT_FIT) if stands else (("approver",), _NOT_THEIRS)
    if refusal is not None:
        name, run = accepted.tool.name, str(attempt.run["id"])
        await record(scope, Action.TOOL_DENIED, "tool", name, Ended.REFUSED, run=run, differing=differing)
    return refusal


async def _finish(attempt: Attempt, scope: Scope, accepted: Accepted, result: CallResult, approval: Row | None) -> None:
    content = cast("dict[str, Any]", dict(result.content))
    run = attempt.run["id"]
    await store.finish_call(scope, run, accepted.call.call_id, content)
    ended = Ended.FAILED if content.get("failed") else Ended.SUCCEEDED
    used = str(approval["id"]) if approval else None
    await record(scope, Action.TOOL_CALLED, "tool", accepted.tool.name, ended, run=str(run), approval=used)
    await attempt.result(scope, accepted.call, result)


_STOPPED_MIDWAY = "It was stopped while it was under way. What it did outside, if anything, is not known."


def _run_of(tool: ToolDeclaration) -> ToolRun:
    if tool.run is None:
        raise RuntimeError(f"no function is bound for {tool.name}")
    return tool.run
