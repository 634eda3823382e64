"""The chat: conversations, messages, and the live stream of a run."""

from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Header, Query
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response, StreamingResponse

from operalta.access.rules import Permission, permissions_of
from operalta.agents import going_on, service
from operalta.agents.approvals import service as approvals
from operalta.agents.context.service import context_of_run
from operalta.agents.definitions import service as definitions
from operalta.agents.definitions.rules import Agent, run_limits
from operalta.agents.rules import RunLimits
from operalta.agents.service import Posted
from operalta.db.scope import Scope
from operalta.guard import rules
from operalta.kernel.errors import InvalidInput, Refusal
from operalta.kernel.ids import ConversationId
from operalta.tenancy.service import get_company
from operalta.web import sse
from operalta.web.agent_views import REPLYING, WAITS, context_piece, conversation_messages, runs_at_work
from operalta.web.approval_views import approval_cards
from operalta.web.entry import CompanyEntry, InCompany
from operalta.web.presentation import go_to, page
from operalta.web.problems import wants_json
from operalta.workspace.conversations import service as conversations

router = APIRouter()

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_RUN, rules.READ))]
Writing = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_RUN, rules.CHAT))]
Stopping = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_RUN, rules.WRITE))]
Text = Annotated[str, Form(max_length=40_000)]
AgentChoice = Annotated[UUID | None, Form()]
Search = Annotated[str, Query(max_length=200)]
Key = Annotated[str | None, Header(alias="Idempotency-Key", min_length=8, max_length=200)]


@router.get("/c/{company}/chat")
async def start(entry: Reading, q: Search = "") -> HTMLResponse:
    """Show the conversations and a composer for a new one."""
    async with entry.scope() as scope:
        return await _page(entry, scope, None, search=q)


@router.post("/c/{company}/chat")
async def begin(
    entry: Writing, text: Text = "", agent_id: AgentChoice = None, private: Text = "", key: Key = None
) -> Response:
    """Begin a conversation with a message."""
    return await _post(entry, None, text, agent_id, private=private == "yes", key=key)


@router.get("/c/{company}/chat/{conversation_id}")
async def conversation(entry: Reading, conversation_id: UUID, q: Search = "") -> HTMLResponse:
    """Show one conversation."""
    async with entry.scope() as scope:
        return await _page(entry, scope, conversation_id, search=q)


@router.post("/c/{company}/chat/{conversation_id}")
async def write(
    entry: Writing, conversation_id: UUID, text: Text = "", agent_id: AgentChoice = None, key: Key = None
) -> Response:
    """Write a message."""
    return await _post(entry, conversation_id, text, agent_id, private=True, key=key)


@router.post("/c/{company}/runs/{run_id}/retry")
async def retry(entry: Writing, run_id: UUID) -> RedirectResponse:
    """Try a run again that failed or was stopped."""
    async with entry.scope() as scope:
        run = await service.get_run(scope, await going_on.retry_run(scope, run_id))
    return go_to(f"/c/{entry.company}/chat/{run.conversation_id}")


@router.post("/c/{company}/runs/{run_id}/continue")
async def go_on(entry: Writing, run_id: UUID) -> RedirectResponse:
    """Let a run go on that ended at a limit."""
    async with entry.scope() as scope:
        await going_on.continue_run(scope, run_id)
        run = await service.get_run(scope, run_id)
    return go_to(f"/c/{entry.company}/chat/{run.conversation_id}")


@router.get("/c/{company}/runs/{run_id}/events")
async def events(entry: Reading, run_id: UUID) -> StreamingResponse:
    """Stream a run's events."""
    async with entry.scope() as scope:
        await service.get_run(scope, run_id)
    stream = sse.run_events(entry, run_id, sse.last_event_id(entry))
    return StreamingResponse(stream, media_type="text/event-stream", headers=sse.HEADERS)


@router.get("/c/{company}/runs/{run_id}/context")
async def context(entry: Reading, run_id: UUID) -> HTMLResponse:
    """Show what the agent was told beside the message."""
    async with entry.scope() as scope:
        found = await context_of_run(scope, run_id)
        talk = await conversations.get(scope, found.conversation_id)
        shown = {
            "conversation": {"id": talk.id, "title": talk.title},
            "is_searching": found.is_searching,
            "earlier_messages": found.earlier_messages,
            "pieces": [context_piece(piece, entry.company) for piece in found.pieces],
            "tokens": found.tokens,
            "budget_tokens": found.budget_tokens,
        }
        return await page(entry.request, scope, "pages/run_context.html", shown, nav="chat")


@router.post("/c/{company}/runs/{run_id}/stop")
async def stop(entry: Stopping, run_id: UUID) -> Response:
    """Ask a run to stop."""
    async with entry.scope() as scope:
        run = await service.get_run(scope, run_id)
        await service.stop_run(scope, run_id)
    if wants_json(entry.request):
        return JSONResponse({"stopping": True}, 202)
    return go_to(f"/c/{entry.company}/chat/{run.conversation_id}", "stopped")


async def _post(
    entry: CompanyEntry,
    conversation_id: UUID | None,
    text: str,
    agent_id: UUID | None,
    *,
    private: bool,
    key: str | None,
) -> Response:
    try:
        async with entry.scope() as scope:
            posted = await service.post_message(
                scope,
                text,
                conversation_id=conversation_id,
                agent_id=agent_id,
                private=private,
                idempotency_key=key,
            )
            run = await service.get_run(scope, posted.run_id)
    except InvalidInput as refusal:
        if wants_json(entry.request):
            raise
        async with entry.scope() as scope:
            return await _page(entry, scope, conversation_id, form={"text": text}, refusal=refusal)
    address = f"/c/{entry.company}/chat/{posted.conversation_id}"
    if wants_json(entry.request):
        says = WAITS if run.waits_for else REPLYING
        return JSONResponse({**_addresses(entry, posted), "conversation_url": address, "status": says}, 202)
    return go_to(address)


def _addresses(entry: CompanyEntry, posted: Posted) -> dict[str, str]:
    run = f"/c/{entry.company}/runs/{posted.run_id}"
    return {"run_id": str(posted.run_id), "events_url": f"{run}/events", "stop_url": f"{run}/stop"}


async def _page(
    entry: CompanyEntry,
    scope: Scope,
    conversation_id: UUID | None,
    *,
    search: str = "",
    form: dict[str, str] | None = None,
    refusal: Refusal | None = None,
) -> HTMLResponse:
    known = await definitions.list_agents(scope, retired=True)
    agents = [agent for agent in known if agent.retired_at is None]
    listed = await conversations.list_conversations(scope, search or None)
    context: dict[str, Any] = {
        "conversations": [
            {
                "id": each.id,
                "title": each.title,
                "updated_at": each.updated_at,
                "is_private": each.private_to is not None,
            }
            for each in listed.items
        ],
        "search": search,
        "conversation": None,
        "messages": [],
        "approvals": [],
        "live_run": None,
        "ahead": None,
        "agents": [{"id": agent.id, "name": agent.name} for agent in agents],
        "agent_id": agents[0].id if agents else None,
        "limits": None,
        "form": form or {},
    }
    if conversation_id is not None:
        context |= await _conversation(entry, scope, ConversationId(conversation_id), known)
    return await page(entry.request, scope, "pages/chat.html", context, nav="chat", refusal=refusal)


async def _conversation(
    entry: CompanyEntry, scope: Scope, conversation_id: ConversationId, known: Sequence[Agent]
) -> dict[str, Any]:
    agents: dict[UUID, str] = {one.id: one.name for one in known}
    allowances: dict[UUID, int] = {one.id: run_limits(one.limits, RunLimits()).tool_calls for one in known}
    here = await conversations.get(scope, conversation_id)
    said = await conversations.messages(scope, conversation_id)
    runs = await service.runs_of_conversation(scope, conversation_id)
    steps = await service.steps_of_conversation(scope, conversation_id)
    live, ahead = runs_at_work(runs, entry.company, scope.actor.person_id)
    held = permissions_of(scope.actor.company_kind, scope.actor.role)
    waiting = (
        await approvals.list_approvals(scope, waiting=True, conversation_id=conversation_id)
        if Permission.APPROVALS_READ in held
        else ()
    )
    company = await get_company(scope)
    shown = {"id": here.id, "title": here.title}
    return {
        "conversation": {**shown, "is_private": here.private_to is not None},
        "messages": conversation_messages(
            said.items, runs, steps, agents, allowances, entry.company, scope.actor.person_id
        ),
        # The stream of the run that is followed brings its cards, but only to browsers with script.
        "approvals": [
            {**card, "is_streamed": live is not None and card["run_id"] == live["id"]}
            for card in approval_cards(waiting, company.name, lambda _: shown)
        ],
        "live_run": live,
        "ahead": ahead,
        "agent_id": runs[-1]["agent_id"] if runs else next(iter(agents), None),
    }
