"""Judging one call of a run: the policy over what the person typed, the person's own role, the standing grants."""

from typing import Any, cast

from operalta.access.rules import Permission
from operalta.agents import policy, store
from operalta.agents.approvals import store as approval_store
from operalta.agents.approvals.rules import arguments_shape
from operalta.agents.artifact_tools import stays_private
from operalta.agents.canonical import JsonValue, sha256_of
from operalta.agents.decision_context import DecisionContext, Outcome, PolicyDecision, TargetFacts, ToolSettings
from operalta.agents.journal import Attempt
from operalta.agents.named_records import gateway_for
from operalta.agents.provenance import Origin
from operalta.agents.reasons import explain_all
from operalta.agents.registry import ToolClass, ToolDeclaration, UnknownTool, tool_hash
from operalta.agents.rules import EventKind
from operalta.agents.steps import ToolCall
from operalta.agents.tool_functions import preview
from operalta.db.permission import holds
from operalta.db.scope import Scope
from operalta.kernel.errors import Refusal
from operalta.terms.registry import upholds


async def judge(attempt: Attempt, call: ToolCall, tool: ToolDeclaration | UnknownTool) -> PolicyDecision:
    """Decide about a call and write the decision down; after a restart, only where it has become another.

    A question stays a question over a restart: what was asked is settled by its approval alone.
    """
    memory = attempt.memory
    async with attempt.scope() as scope:
        await attempt.stop_if_wanted(scope)
        decision = policy.decide(tool, call.arguments or {}, await _context(attempt, scope, tool, call))
        if isinstance(tool, ToolDeclaration) and decision.outcome is not Outcome.DENY:
            decision = await _under_role_and_grant(attempt, scope, tool, call, decision)
            decision = await _unless_done_before(attempt, scope, tool, call, decision)
        before = memory.decided.get(call.call_id)
        if before == Outcome.ASK and decision.outcome is Outcome.ALLOW:
            decision = PolicyDecision(Outcome.ASK, ("asked_before",))
        if before is None:
            shown = cast("dict[str, Any]", dict(call.arguments or {}))
            asked = {"call_id": call.call_id, "tool": call.tool[:80], "arguments": shown}
            await attempt.event(scope, EventKind.TOOL_ASKED, asked)
        if before != decision.outcome:
            await attempt.event(scope, EventKind.TOOL_DECIDED, _as_event(call, tool, decision))
    return decision


def _as_event(call: ToolCall, tool: ToolDeclaration | UnknownTool, decision: PolicyDecision) -> dict[str, Any]:
    body: dict[str, Any] = {
        "call_id": call.call_id,
        "tool": call.tool[:80],
        "decision": decision.outcome.value,
        "reasons": list(decision.reasons),
        "reason": explain_all(decision.reasons),
    }
    if (
        isinstance(tool, ToolDeclaration)
        and decision.outcome is Outcome.ALLOW
        and tool.tool_class is not ToolClass.READ
    ):
        plain = _plain(tool, call)
        if plain is not None:
            body["call_key"] = policy.call_key(tool, plain)
    return body


def _plain(tool: ToolDeclaration, call: ToolCall) -> dict[str, JsonValue] | None:
    """Return a call's arguments in the form that is hashed, shown and run; None where they do not fit the tool."""
    accepted = policy.accept_arguments(tool, call.arguments or {})
    return None if accepted is None else policy.plain_arguments(accepted)


async def _context(
    attempt: Attempt, scope: Scope, tool: ToolDeclaration | UnknownTool, call: ToolCall
) -> DecisionContext:
    memory = attempt.memory
    settings = ToolSettings(
        enabled=frozenset(each.name for each in attempt.registry),
        granted=attempt.granted,
        agent={name: Outcome(outcome) for name, outcome in attempt.settings.items() if outcome in set(Outcome)},
    )
    gateway = await gateway_for(scope, attempt.run, attempt.prompt, tool)
    return gateway.context(
        attempt.prompt,
        # As the database notes it: whatever makes a run notes the key, or the time at which a schedule was due.
        Origin(attempt.run["origin"]),
        settings,
        await _facts(attempt, scope, tool, call),
        own_space_calls=len(memory.own_space - {call.call_id}),
        passed=frozenset(key for call_id, key in memory.passed.items() if call_id != call.call_id),
    )


async def _facts(attempt: Attempt, scope: Scope, tool: ToolDeclaration | UnknownTool, call: ToolCall) -> TargetFacts:
    """Find out about the target just before the call. Memory and files are seen by others: never private."""
    if isinstance(tool, UnknownTool) or call.arguments is None or not tool.available:
        return TargetFacts()
    arguments = policy.accept_arguments(tool, call.arguments)
    if arguments is None:
        return TargetFacts()
    try:
        before, after = await preview(attempt.files, scope, arguments)
    except Refusal:
        return TargetFacts()
    if before is None:
        return TargetFacts()
    return TargetFacts(
        is_new=before == "",
        is_private=stays_private(arguments, attempt.run),
        changes_nothing=before != "" and before == after,
    )


@upholds("5.5.1")
async def _unless_done_before(
    attempt: Attempt, scope: Scope, tool: ToolDeclaration, call: ToolCall, decision: PolicyDecision
) -> PolicyDecision:
    """Return the decision; a question where an earlier try of the same message has done this, or may have."""
    retried = attempt.run["retry_of"] is not None
    if not retried or decision.outcome is not Outcome.ALLOW or tool.tool_class is ToolClass.READ:
        return decision
    plain = _plain(tool, call)
    if plain is None:
        return decision
    done = await store.done_before(
        scope, attempt.run["id"], tool.name, sha256_of(plain), failures_too=tool.tool_class.reaches_outside
    )
    return PolicyDecision(Outcome.ASK, ("done_in_an_earlier_try",)) if done else decision


@upholds("5.0.1", "5.1.3")
async def _under_role_and_grant(
    attempt: Attempt, scope: Scope, tool: ToolDeclaration, call: ToolCall, decision: PolicyDecision
) -> PolicyDecision:
    """Return the decision within the person's role, and where they are to be asked, within what they have granted."""
    if not holds(scope, Permission(tool.permission)):
        return PolicyDecision(Outcome.DENY, ("your_role_does_not_permit_it",))
    # What a person granted is for what they ask for in their own session, not for a key or a schedule of theirs.
    typed = attempt.run["origin"] == Origin.SESSION
    if decision.outcome is not Outcome.ASK or tool.tool_class.is_sensitive or not typed:
        return decision
    plain = _plain(tool, call)
    if plain is None or tool.asks_each_time(plain):
        return decision
    shape = arguments_shape(tool, plain)
    grant = await approval_store.grant_for(scope, attempt.run, tool.name, tool_hash(tool), shape)
    return PolicyDecision(Outcome.ALLOW, ("granted_for_this_conversation",)) if grant else decision
