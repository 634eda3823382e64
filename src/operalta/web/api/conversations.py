"""Conversations with agents, and what is said in them."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query
from pydantic import Field

from operalta.access.rules import Permission
from operalta.agents import service as agents
from operalta.guard import rules
from operalta.kernel.ids import ConversationId
from operalta.web.api.models import REFUSALS, USUAL_PAGE_SIZE, Body, Cursor, Listing, PageSize, Shown
from operalta.web.api.runs import Run
from operalta.web.entry import CompanyEntry, InCompany
from operalta.workspace.conversations import rules as bounds
from operalta.workspace.conversations import service
from operalta.workspace.rules import LONGEST_QUERY

router = APIRouter(prefix="/companies/{company}/conversations", tags=["agents"], responses=REFUSALS)

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_RUN, rules.READ))]
Starting = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_RUN, rules.WRITE))]
Chatting = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_RUN, rules.CHAT))]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=bounds.SHORTEST_KEY,
        max_length=bounds.LONGEST_KEY,
        description="The same key with the same text gives the run that is there",
    ),
]


class ConversationBody(Body):
    """A new conversation. A private one does not exist for anybody else in the company."""

    title: Annotated[str, Field(min_length=1, max_length=bounds.LONGEST_TITLE)]
    private: bool = True


class MessageBody(Body):
    """A message to an agent, or to the company's first one."""

    text: Annotated[str, Field(min_length=1, max_length=bounds.LONGEST_MESSAGE, description="A question, or a command")]
    agent_id: UUID | None = None


class Conversation(Shown):
    """A conversation."""

    id: UUID
    title: str
    is_private: bool
    created_by: UUID
    created_by_name: str | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, found: bounds.Conversation) -> Self:
        """Return a conversation as it is shown."""
        return cls(
            id=found.id,
            title=found.title,
            is_private=found.private_to is not None,
            created_by=found.created_by,
            created_by_name=found.created_by_name,
            created_at=found.created_at,
            updated_at=found.updated_at,
        )


class Message(Shown):
    """What was said once. `person_id` is the speaker, or the person for whom the agent of `run_id` speaks."""

    id: UUID
    author: bounds.Author
    person_id: UUID
    person_name: str | None
    run_id: UUID | None
    body: str
    created_at: datetime


class Taken(Shown):
    """A message that was taken, with the run that it made. `created` is false for a key that was used before."""

    message_id: UUID
    created: bool
    run: Run
    events_url: str
    stop_url: str


@router.get("")
async def list_conversations(
    entry: Reading,
    q: Annotated[str, Query(max_length=LONGEST_QUERY, description="Words to look for in titles")] = "",
    cursor: Cursor = None,
    limit: PageSize = USUAL_PAGE_SIZE,
) -> Listing[Conversation]:
    """List the conversations that one can see, the last used first."""
    async with entry.scope() as scope:
        found = await service.list_conversations(scope, q or None, cursor, limit)
    return Listing[Conversation](
        items=tuple(Conversation.of(each) for each in found.items), next_cursor=found.next_cursor
    )


@router.post("", status_code=HTTPStatus.CREATED)
async def start_conversation(entry: Starting, body: ConversationBody) -> Conversation:
    """Start a conversation."""
    async with entry.scope() as scope:
        return Conversation.of(await service.start_conversation(scope, body.title, private=body.private))


@router.get("/{conversation_id}")
async def get_conversation(entry: Reading, conversation_id: UUID) -> Conversation:
    """Return one conversation."""
    async with entry.scope() as scope:
        return Conversation.of(await service.get(scope, ConversationId(conversation_id)))


@router.get("/{conversation_id}/messages")
async def list_messages(
    entry: Reading, conversation_id: UUID, cursor: Cursor = None, limit: PageSize = USUAL_PAGE_SIZE
) -> Listing[Message]:
    """List the latest messages, the oldest of them first; the cursor leads to those before."""
    async with entry.scope() as scope:
        found = await service.messages(scope, ConversationId(conversation_id), cursor, limit)
    return Listing[Message](
        items=tuple(Message.model_validate(each) for each in found.items), next_cursor=found.next_cursor
    )


@router.post("/{conversation_id}/messages", status_code=HTTPStatus.ACCEPTED)
async def write(entry: Chatting, conversation_id: UUID, body: MessageBody, key: Key = None) -> Taken:
    """Write to an agent. Its run starts at once; follow it by its events."""
    async with entry.scope() as scope:
        posted = await agents.post_message(
            scope, body.text, conversation_id=conversation_id, agent_id=body.agent_id, idempotency_key=key
        )
        run = Run.model_validate(await agents.get_run(scope, posted.run_id))
    address = f"/api/v1/companies/{entry.company}/runs/{posted.run_id}"
    return Taken(
        message_id=posted.message_id,
        created=posted.created,
        run=run,
        events_url=f"{address}/events",
        stop_url=f"{address}/stop",
    )
