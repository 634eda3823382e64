"""One attempt at a run under one claim: what it knows of the run, and its only way to write a step down.

Loop and settlement share it. Each transaction opens the run's scope anew, so a claim, a membership or a role that
ends stops the run at its next step.
"""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import psycopg

from operalta.access.rules import Denied, Permission
from operalta.access.rules import decide as decide_permission
from operalta.agents import store
from operalta.agents.decision_context import Outcome
from operalta.agents.dispatch import Claim
from operalta.agents.history import RunMemory
from operalta.agents.registry import ToolRegistry
from operalta.agents.rules import EventKind
from operalta.agents.steps import CallResult, History, ToolCall
from operalta.db.errors import ClaimLost
from operalta.db.pools import Pool
from operalta.db.scope import Row, Scope, open_run_scope
from operalta.terms.registry import upholds
from operalta.workspace.files.file_store import FileStore

LONGEST_WORK_MS = 86_400_000
_STRICTNESS = (Outcome.ALLOW, Outcome.ASK, Outcome.DENY)


class Stopped(Exception):  # noqa: N818 - a way out of the loop, no error
    """The person wants the run to stop."""


@dataclass(slots=True)
class Attempt:
    """What one attempt at a run works with. `run`, `prompt` and `earlier` are as read when it began.

    `agent` is as it was at the last step. `above` is what is decided about tools for the agents of the runs that
    it comes from. `counted_until` is when the last event was written, by the monotonic clock: the time at work up to
    then is kept.
    """

    pool: Pool
    registry: ToolRegistry
    files: FileStore
    claim: Claim
    run: Row
    agent: Row
    prompt: str
    earlier: History = field(default_factory=History)
    memory: RunMemory = field(default_factory=RunMemory)
    above: tuple[Mapping[str, str], ...] = ()
    counted_until: float = field(default_factory=time.monotonic)

    @asynccontextmanager
    async def scope(self) -> AsyncGenerator[Scope]:
        """Open the run's scope for one transaction. Raise ClaimLost where the run may not go on."""
        async with run_scope(self.pool, self.claim) as scope:
            yield scope

    @property
    def settings(self) -> Mapping[str, str]:
        """What is to be done with each tool that it has, and that every agent has for whom it works: the strictest."""
        line = (cast("Mapping[str, str]", self.agent["tools"]), *self.above)
        shared = set(line[0]).intersection(*line[1:])
        return {name: max((tools[name] for tools in line), key=_STRICTNESS.index) for name in shared}

    @property
    def granted(self) -> frozenset[str]:
        """The names of the tools that the agent may ask for at all."""
        return frozenset(name for name, outcome in self.settings.items() if outcome != Outcome.DENY)

    async def stop_if_wanted(self, scope: Scope) -> None:
        """Raise Stopped where the person has asked for it; seen here the moment their request is committed."""
        if self.claim.stop.is_set() or await store.stop_is_wanted(scope, self.claim.run_id):
            raise Stopped

    async def event(self, scope: Scope, kind: EventKind, body: dict[str, Any]) -> None:
        """Write the next step down. Raise ClaimLost where another worker has written it."""
        sequence = self.memory.sequence + 1
        kept = _without_nul(body)
        now = time.monotonic()
        worked_ms = min(int((now - self.counted_until) * 1000), LONGEST_WORK_MS)
        try:
            await store.add_event(scope, self.run, sequence, kind.value, kept, worked_ms)
        except psycopg.errors.UniqueViolation as taken:
            raise ClaimLost from taken
        self.counted_until = now
        self.memory.take(kind, kept, sequence, worked_ms)

    async def result(self, scope: Scope, call: ToolCall, result: CallResult) -> None:
        """Write down what came of a call."""
        content = cast("dict[str, Any]", dict(result.content))
        body = {
            "call_id": call.call_id,
            "tool": call.tool[:80],
            "outcome": result.outcome.value,
            "ok": not content.get("failed"),
            "output": str(content.get("summary", "")),
            "content": content,
        }
        await self.event(scope, EventKind.TOOL_RESULT, body)


@asynccontextmanager
@upholds("5.0.1")
async def run_scope(pool: Pool, claim: Claim) -> AsyncGenerator[Scope]:
    """Open a run's scope: the rights of its person at this moment, who must still be allowed to use agents.

    Raise ClaimLost where claim, membership or that right is gone, also when it goes before the transaction ends.
    """
    try:
        async with open_run_scope(pool, claim.run_id, claim.secret) as scope:
            actor = scope.actor
            if isinstance(decide_permission(actor.company_kind, actor.role, Permission.AGENTS_RUN), Denied):
                raise ClaimLost
            yield scope
    except psycopg.errors.InsufficientPrivilege as refused:
        raise ClaimLost from refused


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
