"""A run's states and limits."""

from dataclasses import replace

import pytest

from operalta.agents.errors import TransitionRefused
from operalta.agents.rules import EventKind, LimitReached, RunLimits, RunState, RunUsage, check, may_become, transition

WAYS = {
    RunState.QUEUED: {RunState.RUNNING, RunState.FAILED, RunState.STOPPED},
    RunState.RUNNING: {
        RunState.QUEUED,
        RunState.WAITING_FOR_APPROVAL,
        RunState.FINISHED,
        RunState.FAILED,
        RunState.STOPPED,
    },
    RunState.WAITING_FOR_APPROVAL: {RunState.QUEUED, RunState.RUNNING, RunState.FAILED, RunState.STOPPED},
    RunState.FINISHED: set[RunState](),
    RunState.FAILED: set[RunState](),
    RunState.STOPPED: set[RunState](),
}


@pytest.mark.parametrize("state", list(RunState))
@pytest.mark.parametrize("target", list(RunState))
def test_only_these_ways_lead_on(state: RunState, target: RunState) -> None:
    assert may_become(state, target) is (target in WAYS[state])
    if target in WAYS[state]:
        assert transition(state, target) is target
    else:
        with pytest.raises(TransitionRefused):
            transition(state, target)


def test_a_run_that_is_over_stays_over_and_any_other_can_be_stopped() -> None:
    for state in RunState:
        assert state.is_over is (state in {RunState.FINISHED, RunState.FAILED, RunState.STOPPED})
        assert may_become(state, RunState.STOPPED) is not state.is_over


LIMITS = RunLimits(steps=3, tool_calls=3, tokens=30, cost_micros=300, active_seconds=3.0)


@pytest.mark.parametrize(
    ("usage", "name"),
    [
        (RunUsage(), None),
        (RunUsage(2, 2, 29, 300, 2.9), None),
        (RunUsage(steps=3), "steps"),
        (RunUsage(tool_calls=3), "tool_calls"),
        (RunUsage(tokens=30), "tokens"),
        (RunUsage(cost_micros=301), "cost_micros"),
        (RunUsage(active_seconds=3.0), "active_seconds"),
        (RunUsage(steps=9, tokens=99), "steps"),
    ],
)
def test_a_limit_is_reached(usage: RunUsage, name: str | None) -> None:
    reached = check(usage, LIMITS)
    assert (reached.name if reached else None) == name


def test_a_free_route_runs_on_a_budget_of_nothing() -> None:
    assert check(RunUsage(), replace(LIMITS, cost_micros=0)) is None
    assert check(RunUsage(cost_micros=1), replace(LIMITS, cost_micros=0)) is not None


def test_limits_narrow_and_never_widen() -> None:
    wide = RunLimits(steps=99, tool_calls=1, tokens=99, cost_micros=999, active_seconds=1.0)
    assert LIMITS.narrowed(wide) == replace(LIMITS, tool_calls=1, active_seconds=1.0)
    with pytest.raises(ValueError, match="below zero"):
        RunLimits(steps=-1)


def test_use_adds_up() -> None:
    assert RunUsage(1, 2, 3, 4, 5.0).plus(RunUsage(1, 1, 1, 1, 1.0)) == RunUsage(2, 3, 4, 5, 6.0)


def test_a_limit_is_told_in_words() -> None:
    assert "limit of tool calls" in LimitReached("tool_calls", 3, 3).public_text
    assert "limit of cost." in LimitReached("cost_micros", 3, 3).public_text


def test_event_kinds_are_named_as_they_are_stored() -> None:
    assert all(kind.value == kind.name.lower() and len(kind.value) <= 40 for kind in EventKind)
    assert {
        "run_started", "context_gathered", "model_text", "tool_asked", "tool_decided", "approval_asked",
        "approval_decided", "tool_result", "answer", "run_failed", "run_stopped", "run_finished", "run_recovered",
    } <= {kind.value for kind in EventKind}  # fmt: skip
