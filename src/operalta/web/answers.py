"""What an agent answers to a program: text, as its run brings it about, and what it waits for.

For the ways in that have no page: chat completions and the MCP server.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from uuid import UUID

from operalta.agents import service
from operalta.agents.rules import EventKind
from operalta.agents.service import RunEvent
from operalta.db.scope import Scope
from operalta.kernel import clock
from operalta.kernel.errors import InvalidInput, LimitReached, Unavailable
from operalta.web import sse
from operalta.web.entry import CompanyEntry

LONGEST_WAIT_SECONDS = 900.0
_ENDS = frozenset({EventKind.RUN_FAILED, EventKind.RUN_STOPPED})


class RunNotFinished(InvalidInput):
    """The agent was stopped before it had finished. What it did is in the company's conversations."""


class RunAnswer:
    """What an agent has said so far. `failure` is a sentence for people where its run did not finish."""

    def __init__(self, approvals: str) -> None:
        """Begin with nothing; `approvals` is the address of the page with the questions for people."""
        self.text = ""
        self.failure: str | None = None
        self._approvals = approvals

    def take(self, event: RunEvent) -> str:
        """Take a step of the run in and return what it adds to the text."""
        added = ""
        match event.kind:
            case EventKind.MODEL_TEXT:
                added = event.body["text"]
            case EventKind.ANSWER if event.body["text"].strip() not in self.text:
                added = event.body["text"]
            case EventKind.RUN_RECOVERED if self.text.strip():
                added = f"{_gap(self.text)}The work was interrupted, and begins again.\n\n"
            case EventKind.APPROVAL_ASKED:
                question = f"{self._approvals}/{event.body['approval_id']}"
                added = f"{_gap(self.text)}This waits for a person, and has not been done: {question}"
            case EventKind.TOOL_ASKED:
                added = _gap(self.text)  # what follows a tool's work begins a paragraph of its own
            case kind if kind in _ENDS:
                told: str | None = event.body.get("text")
                self.failure = told or RunNotFinished().public_text
            case _:
                pass
        self.text += added
        return added


def approvals_at(entry: CompanyEntry, scope: Scope) -> str:
    """Return where people find the questions of the scope's company."""
    return f"{entry.services.settings.base_url}/c/{scope.actor.company_slug}/approvals"


async def followed(entry: CompanyEntry, run_id: UUID, *, until_left: bool = False) -> AsyncGenerator[RunEvent]:
    """Yield a run's events until it is over or waits for a person; with `until_left`, until the program has gone.

    Each look opens a scope of its own: a key that is revoked sees no more. Raise what the scope refuses with,
    LimitReached for too many at once, Unavailable for a run that goes on for too long.
    """
    after, until, told = 0, time.monotonic() + LONGEST_WAIT_SECONDS, False
    with sse.counted(entry.identity) as admitted:
        if not admitted:
            raise LimitReached("This key waits for several answers already. Ask again when one has come.")
        while time.monotonic() < until:
            async with entry.scope() as scope:
                run = await service.get_run(scope, run_id)
                found = await service.events_after(scope, run_id, after)
            for event in found:
                after, told = event.sequence, event.kind in _ENDS
                yield event
            if not found and run.status in {"failed", "stopped"} and not told:
                # It was ended from outside, which leaves no event of its own.
                yield RunEvent(after + 1, f"run_{run.status}", {"text": run.failure}, clock.now())
            if not found and (run.is_over or run.status == "waiting_for_approval"):
                return
            if until_left and await entry.request.is_disconnected():
                return  # the run goes on, and nobody waits for it here
            await asyncio.sleep(sse.PAUSE_SECONDS)
    raise Unavailable("The agent is still at work. Its answer will be in the company's conversations.")


def _gap(text: str) -> str:
    return "\n\n" if text.strip() and not text.endswith("\n") else ""
