"""What a run is: its states and the ways between them, the kinds of its events, and its limits. Pure."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from operalta.agents.errors import TransitionRefused


class RunState(StrEnum):
    """Where a run stands."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING_FOR_APPROVAL = "waiting_for_approval"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen in a run in this state."""
        return not _NEXT_STATES[self]


_ENDS = frozenset({RunState.FAILED, RunState.STOPPED})
_NEXT_STATES: dict[RunState, frozenset[RunState]] = {
    RunState.QUEUED: _ENDS | {RunState.RUNNING},
    # Back to queued: its worker died, and another takes it up from its last event.
    RunState.RUNNING: _ENDS | {RunState.WAITING_FOR_APPROVAL, RunState.FINISHED, RunState.QUEUED},
    RunState.WAITING_FOR_APPROVAL: _ENDS | {RunState.QUEUED, RunState.RUNNING},
    RunState.FINISHED: frozenset(),
    RunState.FAILED: frozenset(),
    RunState.STOPPED: frozenset(),
}


class EventKind(StrEnum):
    """The steps of a run, each one row. A run can be rebuilt from them alone."""

    RUN_STARTED = "run_started"
    CONTEXT_GATHERED = "context_gathered"
    MODEL_TEXT = "model_text"
    MODEL_ANSWERED = "model_answered"
    TOOL_ASKED = "tool_asked"
    TOOL_DECIDED = "tool_decided"
    APPROVAL_ASKED = "approval_asked"
    APPROVAL_DECIDED = "approval_decided"
    TOOL_OUTPUT = "tool_output"
    TOOL_RESULT = "tool_result"
    ANSWER = "answer"
    CHILD_BEGUN = "child_begun"
    CHILD_ENDED = "child_ended"
    RUN_FAILED = "run_failed"
    RUN_STOPPED = "run_stopped"
    RUN_FINISHED = "run_finished"
    RUN_RECOVERED = "run_recovered"
    RUN_CONTINUED = "run_continued"


def may_become(state: RunState, target: RunState) -> bool:
    """Tell whether a run in `state` may go to `target`."""
    return target in _NEXT_STATES[state]


def transition(state: RunState, target: RunState) -> RunState:
    """Return `target`, or raise TransitionRefused where no way leads there from `state`."""
    if not may_become(state, target):
        raise TransitionRefused
    return target


@dataclass(frozen=True, slots=True)
class RunLimits:
    """The most that one run may use. `cost_micros` is in millionths of the deployment's currency.

    `active_seconds` counts the time in which a worker had the run, not the hours a question waits for a
    person.
    """

    steps: int = 24
    tool_calls: int = 48
    tokens: int = 400_000
    cost_micros: int = 5_000_000
    active_seconds: float = 600.0

    def __post_init__(self) -> None:
        """Refuse limits that would stop a run before it starts."""
        if min(self.steps, self.tool_calls, self.tokens, self.cost_micros, self.active_seconds) < 0:
            raise ValueError("a limit cannot be below zero")

    def narrowed(self, other: Self) -> Self:
        """Return the smaller of each: what the company allows never widens what the deployment allows."""
        return replace(
            self,
            steps=min(self.steps, other.steps),
            tool_calls=min(self.tool_calls, other.tool_calls),
            tokens=min(self.tokens, other.tokens),
            cost_micros=min(self.cost_micros, other.cost_micros),
            active_seconds=min(self.active_seconds, other.active_seconds),
        )


MOST_CONTINUATIONS = 3
"""How often a run that reached a limit may be given the same allowance again; the database holds to it too."""


@dataclass(frozen=True, slots=True)
class RunUsage:
    """What a run has used so far, in the units of RunLimits. A child run's use counts into its parent's."""

    steps: int = 0
    tool_calls: int = 0
    tokens: int = 0
    cost_micros: int = 0
    active_seconds: float = 0.0

    def plus(self, other: Self) -> Self:
        """Return the sum of both."""
        return replace(
            self,
            steps=self.steps + other.steps,
            tool_calls=self.tool_calls + other.tool_calls,
            tokens=self.tokens + other.tokens,
            cost_micros=self.cost_micros + other.cost_micros,
            active_seconds=self.active_seconds + other.active_seconds,
        )


@dataclass(frozen=True, slots=True)
class LimitReached:
    """The limit that stops a run: its name in RunLimits, what it was, and what had been used."""

    name: str
    limit: float
    used: float

    @property
    def public_text(self) -> str:
        """What the person reads."""
        words = self.name.replace("_", " ").replace("cost micros", "cost")
        return f"This run reached its limit of {words}. Let it go on from here, or ask for less at once."


def check(usage: RunUsage, limits: RunLimits) -> LimitReached | None:
    """Return the first limit that leaves no room for one more step, or None. Ask before each step."""
    for name in ("steps", "tool_calls", "tokens", "cost_micros", "active_seconds"):
        used: float = getattr(usage, name)
        limit: float = getattr(limits, name)
        # A route may be free, so a cost of nothing fits a limit of nothing.
        if used > limit or (used == limit and name != "cost_micros"):
            return LimitReached(name, limit, used)
    return None
