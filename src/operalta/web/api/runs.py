"""Runs: what becomes of a message to an agent, step by step."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.responses import StreamingResponse

from operalta.access.rules import Permission
from operalta.agents import going_on, service
from operalta.agents.context.service import context_of_run
from operalta.guard import rules
from operalta.web import sse
from operalta.web.api.models import REFUSALS, Shown
from operalta.web.entry import CompanyEntry, InCompany

router = APIRouter(prefix="/companies/{company}/runs", tags=["agents"], responses=REFUSALS)

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_RUN, rules.READ))]
Beginning = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_RUN, rules.CHAT))]
Stopping = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_RUN, rules.WRITE))]
_STREAM = {
    "description": "Server-sent events: `id` is the step's number, `event` its kind, `data` JSON with `body`. A stream "
    "that is opened again with `Last-Event-ID` goes on behind that step. After `run_recovered`, text that no answer "
    "has completed is void.",
    "content": {"text/event-stream": {"schema": {"type": "string"}}},
}


class Run(Shown):
    """A run. `failure` is a sentence for people where it failed.

    `limit_reached`: the limit that ended it, after which it can go on. `waits_for`: the run before it in the same
    conversation, which has to be over first. `origin`: where the words of its message come from.
    """

    id: UUID
    conversation_id: UUID
    message_id: UUID
    agent_id: UUID
    status: Literal["queued", "running", "waiting_for_approval", "finished", "failed", "stopped"]
    failure: str | None
    created_at: datetime
    finished_at: datetime | None
    origin: Literal["session", "api_key", "schedule"]
    retry_of: UUID | None
    continued: int
    limit_reached: str | None
    waits_for: UUID | None


@router.get("/{run_id}")
async def get_run(entry: Reading, run_id: UUID) -> Run:
    """Return a run as it stands."""
    async with entry.scope() as scope:
        return Run.model_validate(await service.get_run(scope, run_id))


class ContextPiece(Shown):
    """A part of the workspace that went into a prompt: where it is, what it says, who may have written it, and why."""

    kind: str
    reference: str
    title: str
    text: str
    trust: Literal["member", "agent", "outside"]
    why: str
    is_cut: bool
    tokens: int


class RunContext(Shown):
    """What a run was told beside its message. On the built-in route nothing is: it searches with its tools."""

    earlier_messages: int
    pieces: tuple[ContextPiece, ...]
    tokens: int
    budget_tokens: int


@router.get("/{run_id}/context")
async def get_context(entry: Reading, run_id: UUID) -> RunContext:
    """Return what the agent saw; nothing yet while the run waits for its turn."""
    async with entry.scope() as scope:
        found = await context_of_run(scope, run_id)
    return RunContext(
        earlier_messages=found.earlier_messages,
        pieces=tuple(ContextPiece.model_validate(piece.as_json()) for piece in found.pieces),
        tokens=found.tokens,
        budget_tokens=found.budget_tokens,
    )


@router.get("/{run_id}/events", response_class=StreamingResponse, responses={200: _STREAM})
async def follow_run(entry: Reading, run_id: UUID) -> StreamingResponse:
    """Replay a run's steps and follow it until it is over."""
    async with entry.scope() as scope:
        await service.get_run(scope, run_id)
    stream = sse.run_events(entry, run_id, sse.last_event_id(entry))
    return StreamingResponse(stream, media_type="text/event-stream", headers=sse.HEADERS)


@router.post("/{run_id}/stop", status_code=HTTPStatus.ACCEPTED)
async def stop_run(entry: Stopping, run_id: UUID) -> Run:
    """Ask a run of one's own to stop. No tool is started after this; one that runs is let finish."""
    async with entry.scope() as scope:
        await service.stop_run(scope, run_id)
        return Run.model_validate(await service.get_run(scope, run_id))


@router.post("/{run_id}/retry", status_code=HTTPStatus.ACCEPTED)
async def retry_run(entry: Beginning, run_id: UUID) -> Run:
    """Try a run of one's own again that failed or was stopped; return the new one, which begins with the same message.

    It is told what the earlier one did. What that did, or may have done, is not repeated without asking.
    """
    async with entry.scope() as scope:
        return Run.model_validate(await service.get_run(scope, await going_on.retry_run(scope, run_id)))


@router.post("/{run_id}/continue", status_code=HTTPStatus.ACCEPTED)
async def continue_run(entry: Beginning, run_id: UUID) -> Run:
    """Let a run of one's own go on that ended at a limit, with the same allowance again; at most three times."""
    async with entry.scope() as scope:
        await going_on.continue_run(scope, run_id)
        return Run.model_validate(await service.get_run(scope, run_id))
