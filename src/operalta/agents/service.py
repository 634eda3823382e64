"""What people do with agents: write to them, change them, watch and stop their runs."""

from dataclasses import dataclass
from datetime import datetime
from textwrap import shorten
from typing import Any
from uuid import UUID

from operalta.access.rules import Permission
from operalta.agents import store
from operalta.agents.definitions import store as definition_store
from operalta.agents.rules import EventKind, RunState
from operalta.db.permission import require
from operalta.db.scope import Row, Scope
from operalta.kernel.errors import Conflict, NotAllowed, NotFound
from operalta.kernel.ids import AgentId, ConversationId, MessageId, RunId, new_id
from operalta.terms.registry import upholds
from operalta.workspace.conversations import service as conversations

LONGEST_TITLE = 60
_AMOUNTS = ("input_tokens", "output_tokens", "tokens")


@dataclass(frozen=True, slots=True)
class Posted:
    """A message that was taken, and the run that it made. `created` is false for a repeated idempotency key."""

    conversation_id: ConversationId
    message_id: MessageId
    run_id: RunId
    created: bool


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as people see it. `waits_for` is the run before it in its conversation, while that is not over."""

    id: RunId
    conversation_id: ConversationId
    message_id: MessageId
    agent_id: AgentId
    status: str
    failure: str | None
    created_at: datetime
    finished_at: datetime | None
    origin: str
    retry_of: RunId | None
    continued: int
    limit_reached: str | None
    waits_for: RunId | None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen in it."""
        return self.status in {"finished", "failed", "stopped"}


@dataclass(frozen=True, slots=True)
class RunEvent:
    """One step of a run."""

    sequence: int
    kind: str
    body: dict[str, Any]
    at: datetime


@upholds("5.0.1")
async def post_message(
    scope: Scope,
    text: str,
    *,
    conversation_id: UUID | None = None,
    agent_id: UUID | None = None,
    private: bool = True,
    idempotency_key: str | None = None,
) -> Posted:
    """Write to an agent: the message, its conversation where it is new, and the run, in one transaction.

    The same idempotency key with the same text gives the same run again. Raise InvalidInput, NotFound, Conflict.
    """
    require(scope, Permission.AGENTS_RUN)
    if agent_id is None:
        chosen = next(iter(await definition_store.agents(scope, retired=False, most=1)), None)
    else:
        chosen = await definition_store.agent(scope, agent_id)
    if chosen is None or chosen["retired_at"] is not None:
        raise NotFound("There is no such agent in this company.")
    if conversation_id is None and idempotency_key is not None:
        # A first message that is sent again must not open a second conversation.
        said = await conversations.find_by_key(scope, idempotency_key, text)
        conversation_id = said.conversation_id if said is not None else None
    if conversation_id is None:
        title = shorten(" ".join(text.split()), LONGEST_TITLE, placeholder="…") or "New conversation"
        conversation = await conversations.start_conversation(scope, title, private=private)
        here = conversation.id
    else:
        here = ConversationId(conversation_id)
    message, created = await conversations.add_person_message(scope, here, text, idempotency_key)
    if not created:
        earlier = await store.run_of_message(scope, message.id)
        if earlier is None:
            raise Conflict
        return Posted(message.conversation_id, message.id, RunId(earlier["id"]), created=False)
    run_id = RunId(new_id())
    if not await store.start_run(scope, run_id, message.id, chosen["id"], chosen["route"]):
        raise NotAllowed
    return Posted(here, message.id, run_id, created=True)


async def get_run(scope: Scope, run_id: UUID) -> RunView:
    """Return one run. Raise NotFound."""
    require(scope, Permission.AGENTS_RUN)
    row = await store.run(scope, run_id)
    if row is None:
        raise NotFound
    ahead = await store.run_ahead_of(scope, run_id) if row["status"] == RunState.QUEUED else None
    return RunView(
        RunId(row["id"]),
        ConversationId(row["conversation_id"]),
        MessageId(row["message_id"]),
        AgentId(row["agent_id"]),
        row["status"],
        row["failure"],
        row["created_at"],
        row["finished_at"],
        row["origin"],
        row["retry_of"],
        row["continued"],
        row["limit_reached"],
        ahead["id"] if ahead else None,
    )


async def steps_of_conversation(scope: Scope, conversation_id: UUID) -> dict[UUID, list[RunEvent]]:
    """Return, for each run of a conversation, the steps that its page shows."""
    require(scope, Permission.AGENTS_RUN)
    found: dict[UUID, list[RunEvent]] = {}
    for row in await store.steps_of_conversation(scope, conversation_id):
        event = RunEvent(row["sequence"], row["kind"], row["body"], row["at"])
        found.setdefault(row["run_id"], []).append(event)
    return found


async def runs_of_conversation(scope: Scope, conversation_id: UUID) -> list[Row]:
    """Return a conversation's runs, oldest first."""
    require(scope, Permission.AGENTS_RUN)
    return await store.runs_of_conversation(scope, conversation_id)


async def events_after(scope: Scope, run_id: UUID, after: int) -> tuple[RunEvent, ...]:
    """Return the events of a run after the one numbered `after`. Of what a model sent, only how much it was is told."""
    require(scope, Permission.AGENTS_RUN)
    return tuple(
        RunEvent(row["sequence"], row["kind"], _told(row["kind"], row["body"]), row["at"])
        for row in await store.events(scope, run_id, max(0, after))
    )


def _told(kind: str, body: dict[str, Any]) -> dict[str, Any]:
    return {name: body[name] for name in _AMOUNTS if name in body} if kind == EventKind.MODEL_ANSWERED else body


async def stop_run(scope: Scope, run_id: UUID) -> None:
    """Ask a run of one's own to stop; a run that waits for an answer stops too. Raise NotFound."""
    await get_run(scope, run_id)
    if await store.request_stop(scope, run_id):
        await store.resume_run(scope, run_id)
