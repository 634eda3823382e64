"""The runner: takes a run from its last event to its end, or to the next question for a person.

Every step is a row before the next one begins, so a run survives the death of its worker and goes on from its last
event. How a single call is settled stands in `settlement`.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
import structlog
from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, UserPromptPart

from operalta.agents import store
from operalta.agents.context.assembly import gather
from operalta.agents.context.rules import gathered
from operalta.agents.day_limits.service import get_day
from operalta.agents.definitions import store as definition_store
from operalta.agents.definitions.rules import run_limits
from operalta.agents.delegation import some_are_over
from operalta.agents.dispatch import Claim, Dispatcher
from operalta.agents.history import remember
from operalta.agents.journal import Attempt, Stopped, run_scope
from operalta.agents.model_routes.ledger import end_requests
from operalta.agents.model_step import ask_model
from operalta.agents.registry import ToolRegistry
from operalta.agents.route_rules import BUILTIN_ROUTE
from operalta.agents.routes import RouteRegistry
from operalta.agents.rules import EventKind, RunLimits, RunState, check
from operalta.agents.settlement import questions_first, settle
from operalta.agents.steps import History, answer_in, open_calls
from operalta.audit.rules import Action, Outcome
from operalta.audit.service import record
from operalta.db.errors import ClaimLost, DatabaseOutOfReach
from operalta.db.pools import Pool
from operalta.db.scope import Row, Scope
from operalta.kernel.errors import Refusal
from operalta.kernel.ids import ConversationId
from operalta.terms.registry import upholds
from operalta.workspace.conversations.service import add_agent_message
from operalta.workspace.files.file_store import FileStore

LONGEST_ANSWER = 20_000
MOST_ATTEMPTS = 100
"""How often a run is taken up, by workers that died and after approvals, before it is given up."""
SHOWN_TRIES = 3
MOST_OUTAGES = 10
"""How often one worker goes on with a run by itself after the database was away; then the queue tries it later."""

OUTAGE_PAUSE_SECONDS = 1.0
OUTAGE_LOOKS = 20
"""How often a worker that lost the database looks for it, each time waiting for a connection as well."""

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

    @upholds("5.0.1")
    async def run(self, run_id: UUID) -> None:
        """Execute a run as far as it goes. Does nothing where it is over or another worker has it."""
        async with self.dispatcher.claimed(run_id) as claim:
            if claim is None:
                return
            lost = outages = 0
            while lost < 2:  # noqa: PLR2004 - the second time it was no accident
                try:
                    await self._attempt(claim)
                except ClaimLost:
                    if not await self.dispatcher.renew(claim):
                        return
                    # The claim is ours. Either it was kept too late, and the next try finds the run where it stands,
                    # or its person may no longer work here, and it is given up.
                    lost += 1
                except (DatabaseOutOfReach, psycopg.OperationalError):
                    outages += 1
                    if outages > MOST_OUTAGES:
                        raise
                    if not await self._held_after_an_outage(claim):
                        return
                else:
                    return
            await self.dispatcher.abandon(claim, "The person it worked for may no longer work here.")

    async def _held_after_an_outage(self, claim: Claim) -> bool:
        """Wait for the database, and tell whether the run is still ours. Raise DatabaseOutOfReach where it stays away.

        Whoever let the claim lapse instead would keep the person waiting for longer than most outages last.
        """
        for _ in range(OUTAGE_LOOKS):
            await asyncio.sleep(OUTAGE_PAUSE_SECONDS)
            with suppress(DatabaseOutOfReach):
                return await self.dispatcher.renew(claim)
        raise DatabaseOutOfReach

    async def _attempt(self, claim: Claim) -> None:
        attempt = await self._take_up(claim)
        try:
            while await self._step(attempt):
                pass
        except Stopped:
            async with attempt.scope() as scope:
                await attempt.event(scope, EventKind.RUN_STOPPED, {})
                await _end(attempt, scope, RunState.STOPPED)
        except (DatabaseOutOfReach, psycopg.OperationalError):
            raise
        except Refusal as refusal:
            await _fail(attempt, refusal.public_text)
        except (ClaimLost, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - a run that fails must say so and end, whatever it was
            log.error("the run failed", run=str(claim.run_id), error=type(error).__name__)  # noqa: TRY400 - values
            await _fail(attempt, "Something went wrong on our side. Send the message again.")

    async def _take_up(self, claim: Claim) -> Attempt:
        """Read where the run stands, and write down that it begins, or that another worker goes on with it."""
        async with run_scope(self.pool, claim) as scope:
            run = await store.run(scope, claim.run_id)
            agent = await definition_store.agent(scope, run["agent_id"]) if run else None
            message = await store.message(scope, run["message_id"]) if run else None
            if run is None or agent is None or message is None:
                raise ClaimLost
            prompt = run["task"] or message["body"]
            attempt = Attempt(self.pool, self.registry, self.files, claim, run, agent, prompt)
            await _read_line(scope, attempt)
            if run["parent_run_id"] is None:
                attempt.earlier = _as_history(await store.earlier_messages(scope, run))
                attempt.earlier += await _earlier_tries(scope, run, message["body"])
            attempt.memory = remember(await store.all_events(scope, claim.run_id))
            if attempt.memory.sequence == 0:
                start = {"agent": agent["name"], "version": agent["version"], "route": run["route"]}
                await attempt.event(scope, EventKind.RUN_STARTED, start)
                await attempt.event(scope, EventKind.CONTEXT_GATHERED, await _context(attempt, scope))
                await record(scope, Action.RUN_STARTED, "run", run["id"], agent=agent["slug"], route=run["route"])
            elif run["continued"] > attempt.memory.continued:
                await attempt.event(scope, EventKind.RUN_CONTINUED, {"times": run["continued"]})
            elif not attempt.memory.open_questions:
                # Its worker may have died while a model was asked: nobody knows what came of that.
                await end_requests(scope, attempt, "lost")
                await attempt.event(scope, EventKind.RUN_RECOVERED, {"attempt": run["attempts"]})
                await record(scope, Action.RUN_RECOVERED, "run", run["id"], attempt=run["attempts"])
        return attempt

    async def _step(self, attempt: Attempt) -> bool:
        """Do the next step. False: the run has come to its end, or waits."""
        if attempt.claim.lost.is_set():
            raise ClaimLost
        async with attempt.scope() as scope:
            await attempt.stop_if_wanted(scope)
            # What people change about the agent holds from the next step on, and a retired one does nothing more.
            attempt.agent = await definition_store.agent(scope, attempt.run["agent_id"]) or attempt.agent
            await _read_line(scope, attempt)
            day = await get_day(scope)
        if attempt.agent["retired_at"] is not None:
            raise Stopped
        history = attempt.memory.history(attempt.prompt, attempt.agent["instructions"], attempt.earlier)
        if open_calls(history):
            return await self._settle(attempt, history)
        answer = answer_in(history)
        if answer is not None:
            await _answer(attempt, answer)
            return False
        reached = check(attempt.memory.usage, run_limits(attempt.agent["limits"], self.limits)) or day.reached
        if reached is not None:
            await _fail(attempt, reached.public_text, reached.name)
            return False
        if attempt.run["attempts"] > MOST_ATTEMPTS:
            await _fail(attempt, "This was tried too often. Send the message again, or ask for less at once.")
            return False
        await ask_model(attempt, self.routes, history)
        return True

    async def _settle(self, attempt: Attempt, history: History) -> bool:
        """Bring every call of the last turn to its result. What needs a person is asked in one go."""
        waits = False
        for call in await questions_first(attempt, open_calls(history)):
            waits = not await settle(attempt, call) or waits
        if waits:
            async with attempt.scope() as scope:
                await attempt.stop_if_wanted(scope)
                if await some_are_over(scope, attempt.claim.run_id, frozenset(attempt.memory.children_ended)):
                    return True
                await store.set_status(scope, attempt.claim.run_id, RunState.WAITING_FOR_APPROVAL)
        return not waits


async def _read_line(scope: Scope, attempt: Attempt) -> None:
    """Read what the agents of the runs above are held to now; a run that comes from none needs no look."""
    if attempt.run["parent_run_id"] is not None:
        attempt.above = tuple(await store.tools_above(scope))


async def _context(attempt: Attempt, scope: Scope) -> dict[str, Any]:
    """Gather what the model is told beside the message. The built-in route looks for itself, in front of the person."""
    if attempt.run["route"] == BUILTIN_ROUTE:
        return gathered((), len(attempt.earlier))
    pieces = await gather(
        scope,
        attempt.prompt,
        ConversationId(attempt.run["conversation_id"]),
        registry=attempt.registry,
        granted=attempt.granted,
        store=attempt.files,
    )
    return gathered(pieces, len(attempt.earlier))


async def _answer(attempt: Attempt, text: str) -> None:
    kept = text[:LONGEST_ANSWER]
    async with attempt.scope() as scope:
        await attempt.stop_if_wanted(scope)
        if attempt.run["parent_run_id"] is None:
            await add_agent_message(scope, ConversationId(attempt.run["conversation_id"]), kept)
        await attempt.event(scope, EventKind.ANSWER, {"text": kept})
        await attempt.event(scope, EventKind.RUN_FINISHED, {})
        await _end(attempt, scope, RunState.FINISHED)


async def _fail(attempt: Attempt, text: str, limit: str | None = None) -> None:
    async with attempt.scope() as scope:
        await attempt.event(scope, EventKind.RUN_FAILED, {"text": text})
        await _end(attempt, scope, RunState.FAILED, text[:400], limit)


_ENDS = {
    RunState.FINISHED: (Action.RUN_FINISHED, Outcome.SUCCEEDED),
    RunState.STOPPED: (Action.RUN_STOPPED, Outcome.SUCCEEDED),
    RunState.FAILED: (Action.RUN_FAILED, Outcome.FAILED),
}


async def _end(
    attempt: Attempt, scope: Scope, state: RunState, failure: str | None = None, limit: str | None = None
) -> None:
    await store.set_status(scope, attempt.claim.run_id, state.value, failure, limit)
    action, outcome = _ENDS[state]
    await record(scope, action, "run", attempt.claim.run_id, outcome)


async def _earlier_tries(scope: Scope, run: Row, prompt: str) -> History:
    """Return what came of the tries before this one, so that the model knows what is done and need not be done again.

    A call whose outcome nobody knows is left out; whether it may be repeated, the judgement asks a person.
    """
    tries: list[History] = []
    while run["retry_of"] is not None and len(tries) < SHOWN_TRIES:
        earlier = await store.run(scope, run["retry_of"])
        if earlier is None:
            break
        settled = remember(await store.all_events(scope, earlier["id"])).settled(prompt)
        tries.insert(0, settled if len(settled) > 1 else [])
        run = earlier
    return [message for each in tries for message in each]


def _as_history(said: list[Row]) -> History:
    history: History = []
    for row in said:
        if row["author_kind"] == "person":
            history.append(ModelRequest(parts=[UserPromptPart(row["body"])]))
        else:
            history.append(ModelResponse(parts=[TextPart(row["body"])]))
    return history
