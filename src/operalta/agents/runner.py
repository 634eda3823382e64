"""The runner: takes a run from its last event to its end, or to the next question for a person.

Every step is a row before the next one begins, so a run survives the death of its worker and goes on from its last
event. A tool's effect and its event commit together; a tool that reaches outside is marked before it starts and is
never repeated by itself.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

import psycopg
import structlog
from psycopg.types.json import Jsonb
from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, UserPromptPart

from operalta.access.rules import Denied, Permission
from operalta.access.rules import decide as decide_permission
from operalta.agents import approval_rules, policy, store
from operalta.agents.canonical import JsonValue, sha256_of
from operalta.agents.dispatch import Claim, Dispatcher
from operalta.agents.errors import ModelMisbehaved
from operalta.agents.history import RunMemory, as_message, remember
from operalta.agents.policy import DecisionContext, Outcome, PolicyDecision, TargetFacts, ToolSettings
from operalta.agents.provenance import Origin, person_words
from operalta.agents.registry import ToolClass, ToolDeclaration, ToolRegistry, ToolRun, UnknownTool, tool_hash
from operalta.agents.routes import RouteRegistry
from operalta.agents.rules import EventKind, RunLimits, RunState, check
from operalta.agents.steps import (
    CallResult,
    History,
    ModelTurn,
    TextDelta,
    ToolCall,
    denied,
    failed,
    next_step,
    open_calls,
    succeeded,
)
from operalta.agents.tool_functions import ToolWork, preview
from operalta.audit.rules import Action
from operalta.audit.rules import Outcome as Ended
from operalta.audit.service import record
from operalta.db.errors import ClaimLost
from operalta.db.pools import Pool
from operalta.db.scope import Row, Scope, open_run_scope
from operalta.kernel.errors import Refusal
from operalta.kernel.ids import ApprovalId, ConversationId, new_id
from operalta.terms.registry import upholds
from operalta.workspace.conversations.service import add_agent_message
from operalta.workspace.files.file_store import FileStore

LONGEST_ANSWER = 20_000
PIECE_CHARACTERS = 400
_OUTWARD = frozenset({ToolClass.EGRESS, ToolClass.EXECUTE})
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Runner:
    """What running needs; made once by the worker."""

    pool: Pool
    dispatcher: Dispatcher
    registry: ToolRegistry
    routes: RouteRegistry
    files: FileStore
    limits: RunLimits = field(default_factory=RunLimits)

    async def run(self, run_id: UUID) -> None:
        """Execute a run as far as it goes. Does nothing where it is over or another worker has it."""
        async with self.dispatcher.claimed(run_id) as claim:
            if claim is None:
                return
            try:
                await _Execution(self, claim).go()
            except ClaimLost:
                await self.dispatcher.abandon(claim, "The person it worked for may no longer work here.")


class _Stopped(Exception):  # noqa: N818 - a way out of the loop, no error
    """The person wants the run to stop."""


class _Waiting(Exception):  # noqa: N818 - a way out of the loop, no error
    """A question is open."""


class _Execution:
    """One attempt at a run, under one claim."""

    def __init__(self, runner: Runner, claim: Claim) -> None:
        self._runner = runner
        self._claim = claim
        self._run: Row = {}
        self._agent: Row = {}
        self._prompt = ""
        self._earlier: History = []
        self._memory = RunMemory()

    async def go(self) -> None:
        await self._load()
        try:
            while True:
                await self._step()
        except _Waiting:
            async with self._scope() as scope:
                await store.set_status(scope, self._claim.run_id, RunState.WAITING_FOR_APPROVAL)
        except _Stopped:
            async with self._scope() as scope:
                await self._event(scope, EventKind.RUN_STOPPED, {})
                await self._end(scope, RunState.STOPPED, Action.RUN_STOPPED, Ended.SUCCEEDED, None)
        except _Finished:
            pass
        except Refusal as refusal:
            await self._fail(refusal.public_text)
        except (ClaimLost, psycopg.OperationalError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - a run that fails must say so and end, whatever it was
            log.error("the run failed", run=str(self._claim.run_id), error=type(error).__name__)  # noqa: TRY400 - values
            await self._fail("Something went wrong on our side. Send the message again.")

    def _scope(self) -> AbstractAsyncContextManager[Scope]:
        return open_run_scope(self._runner.pool, self._claim.run_id, self._claim.secret)

    async def _load(self) -> None:
        async with self._scope() as scope:
            run = await store.run(scope, self._claim.run_id)
            agent = await store.agent(scope, run["agent_id"]) if run else None
            message = await store.message(scope, run["message_id"]) if run else None
            if run is None or agent is None or message is None:
                raise ClaimLost
            self._run, self._agent, self._prompt = run, agent, message["body"]
            self._earlier = _as_history(await store.earlier_messages(scope, run))
            self._memory = remember(await store.events(scope, self._claim.run_id))
            if self._memory.sequence == 0:
                await self._event(scope, EventKind.RUN_STARTED, {"agent": agent["name"], "route": run["route"]})
                await self._event(scope, EventKind.CONTEXT_GATHERED, {"earlier_messages": len(self._earlier)})
                await record(scope, Action.RUN_STARTED, "run", run["id"], agent=agent["slug"], route=run["route"])
            elif self._memory.last is not EventKind.APPROVAL_ASKED:
                await self._event(scope, EventKind.RUN_RECOVERED, {"attempt": run["attempts"]})
                await record(scope, Action.RUN_RECOVERED, "run", run["id"], attempt=run["attempts"])

    async def _step(self) -> None:
        if self._claim.stop.is_set() or self._run["stop_requested_at"] is not None:
            raise _Stopped
        if self._claim.lost.is_set():
            raise ClaimLost
        history = self._memory.history(self._prompt, self._agent["instructions"], self._earlier)
        calls = open_calls(history)
        if calls:
            await self._settle(calls)
            return
        if reached := check(self._memory.usage, self._runner.limits):
            await self._fail(reached.public_text)
            raise _Finished
        turn = await self._ask_model(history)
        if turn.is_answer:
            await self._answer(turn)
            raise _Finished

    async def _ask_model(self, history: History) -> ModelTurn:
        model = self._runner.routes.model_for(self._run["route"])
        granted = [tool for tool in self._runner.registry if tool.name in self._granted()]
        piece = ""
        turn: ModelTurn | None = None
        async for part in next_step(model, history, granted):
            if isinstance(part, TextDelta):
                piece += part.text
                if len(piece) >= PIECE_CHARACTERS:
                    await self._say(piece)
                    piece = ""
            else:
                turn = part
            if self._claim.stop.is_set():
                raise _Stopped
        if turn is None:
            raise ModelMisbehaved
        if piece:
            await self._say(piece)
        async with self._scope() as scope:
            body = {"message": as_message(turn.message_json), "tokens": turn.usage.tokens}
            await self._event(scope, EventKind.MODEL_ANSWERED, body)
        return turn

    async def _say(self, text: str) -> None:
        async with self._scope() as scope:
            await self._event(scope, EventKind.MODEL_TEXT, {"text": text})

    async def _answer(self, turn: ModelTurn) -> None:
        text = turn.text[:LONGEST_ANSWER]
        async with self._scope() as scope:
            await add_agent_message(scope, ConversationId(self._run["conversation_id"]), text)
            await self._event(scope, EventKind.ANSWER, {"text": text})
            await self._event(scope, EventKind.RUN_FINISHED, {})
            await self._end(scope, RunState.FINISHED, Action.RUN_FINISHED, Ended.SUCCEEDED, None)

    async def _settle(self, calls: tuple[ToolCall, ...]) -> None:
        """Bring every call of the last turn to its result. What needs a person is asked in one go."""
        waits = False
        for call in calls:
            if call.call_id not in self._memory.results:
                waits = not await self._settle_one(call) or waits
            if self._claim.stop.is_set():
                raise _Stopped
        if waits:
            raise _Waiting

    async def _settle_one(self, call: ToolCall) -> bool:
        """Settle one call. False: it waits for a person."""
        tool = self._runner.registry.resolve(call.tool)
        decision = await self._decide(call, tool)
        if decision.outcome is Outcome.DENY or isinstance(tool, UnknownTool):
            await self._deny(call, tool, decision)
            return True
        arguments = policy.accept_arguments(tool, call.arguments or {})
        if arguments is None:
            await self._deny(call, tool, PolicyDecision(Outcome.DENY, ("arguments_do_not_fit",)))
            return True
        plain = policy.plain_arguments(arguments)
        approval: Row | None = None
        if decision.outcome is Outcome.ASK:
            approval = await self._approval(call, tool, arguments, plain, decision)
            if approval is None:
                return False
            if approval["decision"] == "denied" or approval["expired"]:
                word = "You said no." if approval["decision"] == "denied" else "Nobody answered in time."
                if approval["expired"] and approval["decision"] is None:
                    async with self._scope() as scope:
                        await record(scope, Action.APPROVAL_EXPIRED, "approval", approval["id"])
                await self._keep_result(call, denied(call, word), None)
                return True
        await self._carry_out(call, tool, arguments, plain, approval)
        return True

    async def _decide(self, call: ToolCall, tool: ToolDeclaration | UnknownTool) -> PolicyDecision:
        async with self._scope() as scope:
            asked_before = call.call_id in self._memory.decided
            facts = await self._facts(scope, tool, call)
            decision = policy.decide(tool, call.arguments or {}, self._context(facts))
            if isinstance(tool, ToolDeclaration) and decision.outcome is not Outcome.DENY:
                decision = await self._under_role_and_grant(scope, tool, call, decision)
            if asked_before:
                # A question stays a question over a restart: what was asked is decided by its approval alone.
                if self._memory.decided[call.call_id] == Outcome.ASK and decision.outcome is Outcome.ALLOW:
                    return PolicyDecision(Outcome.ASK, ("asked_before",))
                return decision
            shown = cast("dict[str, Any]", dict(call.arguments or {}))
            await self._event(
                scope, EventKind.TOOL_ASKED, {"call_id": call.call_id, "tool": call.tool[:80], "arguments": shown}
            )
            body: dict[str, Any] = {
                "call_id": call.call_id,
                "tool": call.tool[:80],
                "decision": decision.outcome.value,
                "reasons": list(decision.reasons),
                "reason": ", ".join(decision.reasons),
            }
            if isinstance(tool, ToolDeclaration) and decision.outcome is Outcome.ALLOW:
                accepted = policy.accept_arguments(tool, call.arguments or {})
                if accepted is not None and tool.tool_class is not ToolClass.READ:
                    body["call_key"] = policy.call_key(tool, policy.plain_arguments(accepted))
            await self._event(scope, EventKind.TOOL_DECIDED, body)
        return decision

    def _granted(self) -> frozenset[str]:
        tools: Mapping[str, str] = self._agent["tools"]
        return frozenset(name for name, outcome in tools.items() if outcome != Outcome.DENY)

    def _context(self, facts: TargetFacts) -> DecisionContext:
        tools: Mapping[str, str] = self._agent["tools"]
        settings = ToolSettings(
            enabled=frozenset(tool.name for tool in self._runner.registry),
            granted=self._granted(),
            agent={name: Outcome(outcome) for name, outcome in tools.items() if outcome in set(Outcome)},
        )
        return DecisionContext(
            words=person_words(self._prompt, Origin.SESSION),
            settings=settings,
            facts=facts,
            own_space_calls=self._memory.own_space_calls,
            passed=frozenset(self._memory.passed),
        )

    async def _facts(self, scope: Scope, tool: ToolDeclaration | UnknownTool, call: ToolCall) -> TargetFacts:
        """Find out about the target just before the call. A company's files are seen by others: never private."""
        if isinstance(tool, UnknownTool) or call.arguments is None:
            return TargetFacts()
        arguments = policy.accept_arguments(tool, call.arguments)
        if arguments is None or not tool.available:
            return TargetFacts()
        try:
            before, after = await preview(self._runner.files, scope, arguments)
        except Refusal:
            return TargetFacts()
        if before is None:
            return TargetFacts()
        return TargetFacts(is_new=before == "", is_private=False, changes_nothing=before != "" and before == after)

    async def _under_role_and_grant(
        self, scope: Scope, tool: ToolDeclaration, call: ToolCall, decision: PolicyDecision
    ) -> PolicyDecision:
        actor = scope.actor
        if isinstance(decide_permission(actor.company_kind, actor.role, Permission(tool.permission)), Denied):
            return PolicyDecision(Outcome.DENY, ("your_role_does_not_permit_it",))
        if decision.outcome is not Outcome.ASK or tool.tool_class.is_sensitive:
            return decision
        accepted = policy.accept_arguments(tool, call.arguments or {})
        if accepted is None:
            return decision
        shape = approval_rules.arguments_shape(tool, policy.plain_arguments(accepted))
        grant = await store.grant_for(scope, self._run["conversation_id"], tool.name, tool_hash(tool), shape)
        return PolicyDecision(Outcome.ALLOW, ("granted_for_this_conversation",)) if grant else decision

    @upholds("5.5.2")
    async def _deny(self, call: ToolCall, tool: ToolDeclaration | UnknownTool, decision: PolicyDecision) -> None:
        reason = _REASONS.get(decision.reasons[0], decision.reasons[0].replace("_", " "))
        if isinstance(tool, ToolDeclaration) and tool.absent_because is not None:
            reason = tool.absent_because
        async with self._scope() as scope:
            action = Action.TOOL_UNKNOWN if isinstance(tool, UnknownTool) else Action.TOOL_DENIED
            await record(
                scope, action, "tool", call.tool[:80], Ended.REFUSED, run=str(self._run["id"]), reasons=decision.reasons
            )
            await self._result_event(scope, call, denied(call, reason), None)

    @upholds("5.3.3", "5.5.1")
    async def _approval(
        self,
        call: ToolCall,
        tool: ToolDeclaration,
        arguments: object,
        plain: dict[str, JsonValue],
        decision: PolicyDecision,
    ) -> Row | None:
        """Return the decided (or lapsed) question about a call, or put it and return None while it is open."""
        async with self._scope() as scope:
            found = await store.approval_of_call(scope, self._run["id"], call.call_id)
            if found is not None:
                return found if found["decision"] is not None or found["expired"] else None
            before, after = await preview(self._runner.files, scope, arguments)
            approval_id = new_id()
            asked: dict[str, Any] = {
                "id": approval_id,
                "run": self._run["id"],
                "conversation": self._run["conversation_id"],
                "private_to": self._run["private_to"],
                "agent": self._run["agent_id"],
                "requester": scope.actor.person_id,
                "call": call.call_id,
                "tool": tool.name,
                "tool_class": tool.tool_class.value,
                "tool_hash": tool_hash(tool),
                "arguments": Jsonb(plain),
                "sha256": sha256_of(plain),
                "shape": approval_rules.arguments_shape(tool, plain),
                "reasons": Jsonb(list(decision.reasons)),
                "before": before,
                "after": after,
            }
            if await store.ask(scope, asked):
                await self._event(
                    scope, EventKind.APPROVAL_ASKED, {"approval_id": str(approval_id), "call_id": call.call_id}
                )
                await record(
                    scope, Action.APPROVAL_ASKED, "approval", approval_id, tool=tool.name, sha256=asked["sha256"]
                )
        return None

    async def _carry_out(
        self,
        call: ToolCall,
        tool: ToolDeclaration,
        arguments: object,
        plain: dict[str, JsonValue],
        approval: Row | None,
    ) -> None:
        if tool.tool_class in _OUTWARD:
            await self._carry_out_outside(call, tool, arguments, plain, approval)
            return
        async with self._scope() as scope:
            if not await self._begin(scope, call, tool, plain, approval):
                return
            work = ToolWork(scope, ApprovalId(approval["id"]) if approval else None)
            try:
                # A refused effect is undone alone; the row that says so stays.
                async with scope.connection.transaction():
                    result = succeeded(call, await _run_of(tool)(work, arguments))
            except Refusal as refusal:
                result = failed(call, refusal.public_text)
            except psycopg.errors.InsufficientPrivilege:
                result = failed(call, "Your role does not permit this.")
            await self._finish(scope, call, tool, result, approval)

    async def _carry_out_outside(
        self,
        call: ToolCall,
        tool: ToolDeclaration,
        arguments: object,
        plain: dict[str, JsonValue],
        approval: Row | None,
    ) -> None:
        """Run a tool whose effect no transaction undoes: marked before, so that it happens at most once."""
        async with self._scope() as scope:
            if not await self._begin(scope, call, tool, plain, approval):
                return
        work = ToolWork(None)
        try:
            result = succeeded(call, await _run_of(tool)(work, arguments))
        except Refusal as refusal:
            result = failed(call, refusal.public_text)
        async with self._scope() as scope:
            for line in work.egress:
                outcome = line.refusal or str(line.status or "")
                await store.add_egress_line(
                    scope,
                    self._run,
                    {
                        "method": line.method[:10],
                        "destination": f"{line.scheme}://{line.host}:{line.port}{line.path}"[:2000],
                        "address": line.address,
                        "outcome": outcome[:80],
                        "bytes": line.bytes_received,
                        "milliseconds": line.milliseconds,
                        "purpose": line.errand.purpose[:80],
                    },
                )
                refused = line.refusal is not None
                await record(
                    scope,
                    Action.EGRESS_REFUSED if refused else Action.EGRESS_FETCHED,
                    "destination",
                    f"{line.scheme}://{line.host}:{line.port}",
                    Ended.REFUSED if refused else Ended.SUCCEEDED,
                    rule=line.refusal or "",
                )
            await self._finish(scope, call, tool, result, approval)

    async def _begin(
        self, scope: Scope, call: ToolCall, tool: ToolDeclaration, plain: dict[str, JsonValue], approval: Row | None
    ) -> bool:
        """Mark the call as begun and use its approval up. False: it is settled without running."""
        digest = sha256_of(plain)
        if not await store.begin_call(scope, self._run, call.call_id, tool.name, digest):
            # The worker died between the mark and the result: what happened outside is unknown.
            unknown = failed(call, "This was interrupted and may have happened. It is not repeated by itself.")
            await self._result_event(scope, call, unknown, None)
            return False
        if approval is not None and not await store.consume(
            scope, approval["id"], self._run["id"], digest, tool_hash(tool)
        ):
            await self._result_event(scope, call, denied(call, "The approval does not fit this call any more."), None)
            return False
        return True

    async def _finish(
        self, scope: Scope, call: ToolCall, tool: ToolDeclaration, result: CallResult, approval: Row | None
    ) -> None:
        content = cast("dict[str, Any]", dict(result.content))
        await store.finish_call(scope, self._run["id"], call.call_id, content)
        ended = Ended.FAILED if content.get("failed") else Ended.SUCCEEDED
        await record(
            scope,
            Action.TOOL_CALLED,
            "tool",
            tool.name,
            ended,
            run=str(self._run["id"]),
            approval=str(approval["id"]) if approval else None,
        )
        await self._result_event(scope, call, result, content)

    async def _keep_result(self, call: ToolCall, result: CallResult, content: dict[str, Any] | None) -> None:
        async with self._scope() as scope:
            await self._result_event(scope, call, result, content)

    async def _result_event(
        self, scope: Scope, call: ToolCall, result: CallResult, content: dict[str, Any] | None
    ) -> None:
        kept = content if content is not None else cast("dict[str, Any]", dict(result.content))
        body = {
            "call_id": call.call_id,
            "tool": call.tool[:80],
            "outcome": result.outcome.value,
            "ok": not kept.get("failed"),
            "output": str(kept.get("summary", "")),
            "content": kept,
        }
        await self._event(scope, EventKind.TOOL_RESULT, body)

    async def _event(self, scope: Scope, kind: EventKind, body: dict[str, Any]) -> None:
        sequence = self._memory.sequence + 1
        await store.add_event(scope, self._run, sequence, kind.value, _without_nul(body))
        self._memory.take(kind, body, sequence)

    async def _fail(self, text: str) -> None:
        async with self._scope() as scope:
            await self._event(scope, EventKind.RUN_FAILED, {"text": text})
            await self._end(scope, RunState.FAILED, Action.RUN_FAILED, Ended.FAILED, text)

    async def _end(self, scope: Scope, state: RunState, action: Action, ended: Ended, failure: str | None) -> None:
        await store.set_status(scope, self._claim.run_id, state.value, failure[:400] if failure else None)
        await record(scope, action, "run", self._claim.run_id, ended)


class _Finished(Exception):  # noqa: N818 - a way out of the loop, no error
    """The run has come to its end."""


_REASONS = {
    "unknown_tool": "There is no tool of that name. It was not run, and that was recorded.",
    "not_available_here": "This tool is not available here.",
    "not_switched_on_for_the_company": "This tool is switched off for the company.",
    "not_granted_to_the_agent": "This agent may not use that tool.",
    "arguments_do_not_fit": "What was asked does not fit the tool, so it was not run.",
    "your_role_does_not_permit_it": "Your role does not permit this.",
    "agent_setting": "This agent is set never to use that tool.",
}


def _run_of(tool: ToolDeclaration) -> ToolRun:
    if tool.run is None:
        raise RuntimeError(f"no function is bound for {tool.name}")
    return tool.run


def _as_history(said: list[Row]) -> History:
    history: History = []
    for row in said:
        if row["author_kind"] == "person":
            history.append(ModelRequest(parts=[UserPromptPart(row["body"])]))
        else:
            history.append(ModelResponse(parts=[TextPart(row["body"])]))
    return history


def _without_nul(value: Any) -> Any:  # noqa: ANN401 - any JSON in, the same JSON out
    """Return JSON data without the NUL character, which PostgreSQL's jsonb refuses."""
    match value:
        case str():
            return value.replace("\x00", "")
        case dict():
            return {_without_nul(key): _without_nul(each) for key, each in cast("dict[Any, Any]", value).items()}
        case list() | tuple():
            return [_without_nul(each) for each in cast("list[Any]", value)]
        case _:
            return value
