"""Handing a task to another agent: a run of its own below the one that asks, with the same person and no more rights.

The other agent is looked up in the run's own scope, so that one of another company does not exist, whatever its name.
Its tools are those that every agent above it has too; its task vouches for nothing, so whatever it would change is
asked about; what it uses counts for the run above. Its answer is an agent's words: data, as a page or a file is.
"""

from typing import Any
from uuid import UUID

from operalta.agents import store
from operalta.agents.company_tools import Delegate
from operalta.agents.definitions import store as definition_store
from operalta.agents.errors import CannotDelegate, NoSuchAgent
from operalta.agents.history import remember
from operalta.agents.registry import ToolResult
from operalta.agents.rules import EventKind, RunState
from operalta.agents.tool_work import ToolWork
from operalta.db.scope import Row, Scope
from operalta.kernel.ids import RunId, new_id
from operalta.terms.registry import upholds

DELEGATE = "delegate"


@upholds("5.1.2")
async def begin(scope: Scope, arguments: Delegate, call_id: str) -> dict[str, Any]:
    """Begin the run of the agent that is to help; return the event of it. Raise NoSuchAgent, CannotDelegate."""
    found = await definition_store.agent_called(scope, arguments.agent)
    if found is None:
        raise NoSuchAgent
    child = RunId(new_id())
    match await store.start_child_run(scope, child, found["id"], arguments.task, call_id):
        case "made":
            return {"call_id": call_id, "run_id": str(child), "agent": found["name"]}
        case "none":
            raise NoSuchAgent
        case "deep":
            raise CannotDelegate("A helper of a helper hands nothing on. Do this part yourself.")
        case "many":
            raise CannotDelegate("This run has handed on eight tasks already. Do the rest yourself.")
        case _:
            raise CannotDelegate


async def outcome(scope: Scope, child: Row, call_id: str) -> tuple[ToolResult, dict[str, Any]]:
    """Return what came of a run that is over, and the event that tells what it used."""
    events = await store.all_events(scope, child["id"])
    used = remember(events).usage
    told = {
        "call_id": call_id,
        "run_id": str(child["id"]),
        "steps": used.steps,
        "tool_calls": used.tool_calls,
        "tokens": used.tokens,
        "cost_micros": used.cost_micros,
        "active_seconds": used.active_seconds,
    }
    return _result(child, events), told


def is_over(child: Row) -> bool:
    """Tell whether nothing more will happen in a run."""
    return RunState(child["status"]).is_over


async def some_are_over(scope: Scope, run_id: UUID, told: frozenset[str]) -> bool:
    """Tell whether a run that was begun has come to its end, beside those that were `told` of."""
    return any(str(child) not in told for child in await store.children_over(scope, run_id))


def _result(child: Row, events: list[Row]) -> ToolResult:
    name = child["agent_name"]
    if child["status"] == RunState.FINISHED:
        answer = next((event["body"]["text"] for event in reversed(events) if event["kind"] == EventKind.ANSWER), "")
        return ToolResult(summary=f"{name} has answered.", content=answer, from_outside=True)
    why = "It was stopped." if child["status"] == RunState.STOPPED else child["failure"] or "It failed."
    return ToolResult(summary=f"{name} did not come to an answer. {why}", failed=True)


async def never_called(_work: ToolWork, _arguments: Delegate) -> ToolResult:
    """Stand where other tools have a function: what is delegated is a run of its own, which the settlement begins."""
    raise RuntimeError("a delegation is no function call")
