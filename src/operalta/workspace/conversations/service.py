"""Starting conversations, finding them, and speaking in them.

Whoever may use agents may speak. A private conversation does not exist for anybody else in the company.
"""

from operalta.access.rules import Permission
from operalta.audit.rules import Action
from operalta.audit.service import record as record_event
from operalta.db.permission import require
from operalta.db.scope import Scope
from operalta.kernel.actor import ActorKind
from operalta.kernel.errors import InvalidInput
from operalta.kernel.ids import ConversationId, MessageId, new_id
from operalta.kernel.texts import checked_line, checked_text
from operalta.terms.registry import upholds
from operalta.workspace.conversations import store
from operalta.workspace.conversations.rules import (
    LONGEST_MESSAGE,
    LONGEST_TITLE,
    Author,
    Conversation,
    FoundMessage,
    Message,
    checked_key,
)
from operalta.workspace.errors import KeyUsedOtherwise, NoSuchConversation, NotSpokenHere
from operalta.workspace.rules import (
    USUAL_PAGE,
    Page,
    Position,
    any_of,
    checked_limit,
    checked_query,
    page_of,
    position_cursor,
    position_in,
)


@upholds("2.5.3")
async def start_conversation(scope: Scope, title: str, *, private: bool = True) -> Conversation:
    """Start a conversation and return it; private to the person of the scope unless said otherwise."""
    require(scope, Permission.AGENTS_RUN)
    _require_speaker(scope, ActorKind.PERSON, ActorKind.KEY)
    if private and not scope.actor.sees_private:
        raise InvalidInput("A key of the company has nothing private. Make the conversation open.", field="private")
    title = checked_line(title, "title", LONGEST_TITLE, 1)
    conversation = ConversationId(new_id())
    await store.insert_conversation(scope, conversation, title, private=private)
    await record_event(scope, Action.CONVERSATION_STARTED, "conversation", conversation, private=private)
    return await _found(scope, conversation)


async def list_conversations(
    scope: Scope, query: str | None = None, cursor: str | None = None, limit: int = USUAL_PAGE
) -> Page[Conversation]:
    """Return the conversations that the person can see, the last used first; with `query`, by title and words said."""
    require(scope, Permission.AGENTS_RUN)
    after = position_in(cursor)
    most = checked_limit(limit)
    found = await store.page_of_conversations(scope, checked_query(query), after, most + 1)
    return page_of(found, most, lambda last: position_cursor(Position(last.updated_at, last.id)))


@upholds("5.1.1")
async def get(scope: Scope, conversation_id: ConversationId) -> Conversation:
    """Return a conversation. Raise NoSuchConversation, also for a colleague's private one."""
    require(scope, Permission.AGENTS_RUN)
    return await _found(scope, conversation_id)


@upholds("2.5.3")
async def rename(scope: Scope, conversation_id: ConversationId, title: str) -> Conversation:
    """Give a conversation another title and return it. Raise NoSuchConversation, InvalidInput."""
    require(scope, Permission.AGENTS_RUN)
    title = checked_line(title, "title", LONGEST_TITLE, 1)
    if not await store.rename_conversation(scope, conversation_id, title):
        raise NoSuchConversation
    await record_event(scope, Action.CONVERSATION_CHANGED, "conversation", conversation_id)
    return await _found(scope, conversation_id)


@upholds("2.5.3")
async def add_person_message(
    scope: Scope, conversation_id: ConversationId, body: str, idempotency_key: str | None = None
) -> tuple[Message, bool]:
    """Say something as the person of the scope; return the message, and whether it is new.

    The same key with the same words in the same conversation gives the message that is there. Raise
    KeyUsedOtherwise for other words, NoSuchConversation, InvalidInput (1 to 20,000 characters).
    """
    require(scope, Permission.AGENTS_RUN)
    _require_speaker(scope, ActorKind.PERSON, ActorKind.KEY)
    body = checked_text(body, "message", LONGEST_MESSAGE, 1)
    key = checked_key(idempotency_key)
    conversation = await _found(scope, conversation_id)
    message = MessageId(new_id())
    if await store.insert_message(scope, message, conversation, Author.PERSON, body=body, key=key):
        await store.mark_used(scope, conversation_id)
        await record_event(scope, Action.MESSAGE_WRITTEN, "message", message, conversation=conversation_id)
        return await _said(scope, message), True
    earlier = await store.find_message(scope, key=key)
    if earlier is None or earlier.body != body or earlier.conversation_id != conversation_id:
        raise KeyUsedOtherwise
    return earlier, False


async def find_by_key(scope: Scope, idempotency_key: str, body: str) -> Message | None:
    """Return the message that the person gave this key before. Raise KeyUsedOtherwise where its words were others."""
    require(scope, Permission.AGENTS_RUN)
    earlier = await store.find_message(scope, key=checked_key(idempotency_key))
    if earlier is not None and earlier.body != checked_text(body, "message", LONGEST_MESSAGE, 1):
        raise KeyUsedOtherwise
    return earlier


@upholds("2.5.3", "5.1.3")
async def add_agent_message(scope: Scope, conversation_id: ConversationId, body: str) -> Message:
    """Say something as the agent of the scope's run. Raise NoSuchConversation, NotSpokenHere, InvalidInput."""
    require(scope, Permission.AGENTS_RUN)
    _require_speaker(scope, ActorKind.RUN)
    body = checked_text(body, "message", LONGEST_MESSAGE, 1)
    conversation = await _found(scope, conversation_id)
    message = MessageId(new_id())
    await store.insert_message(scope, message, conversation, Author.AGENT, body=body, key=None)
    await store.mark_used(scope, conversation_id)
    await record_event(scope, Action.MESSAGE_WRITTEN, "message", message, conversation=conversation_id)
    return await _said(scope, message)


@upholds("5.1.1")
async def messages(
    scope: Scope, conversation_id: ConversationId, cursor: str | None = None, limit: int = 100
) -> Page[Message]:
    """Return the latest messages, oldest of them first; the cursor leads to those before. Raise NoSuchConversation."""
    require(scope, Permission.AGENTS_RUN)
    before = position_in(cursor)
    most = checked_limit(limit)
    await _found(scope, conversation_id)
    found = await store.page_of_messages(scope, conversation_id, before, most + 1)
    page = page_of(found, most, lambda last: position_cursor(Position(last.created_at, last.id)))
    return Page(page.items[::-1], page.next_cursor)


@upholds("5.1.1")
async def search_messages(scope: Scope, query: str, limit: int = 20) -> tuple[FoundMessage, ...]:
    """Return the messages whose words match best, in conversations that the person can see.

    Quotes, `or` and a minus work as in a web search. Where no message holds all the words, those with any of them.
    """
    require(scope, Permission.AGENTS_RUN)
    most = checked_limit(limit)
    asked = checked_query(query)
    if asked is None:
        return ()
    found = await store.matching_messages(scope, asked, most)
    if not found and (looser := any_of(asked)) is not None:
        found = await store.matching_messages(scope, looser, most)
    return tuple(found)


def _require_speaker(scope: Scope, *kinds: ActorKind) -> None:
    if scope.actor.kind not in kinds:
        raise NotSpokenHere


async def _found(scope: Scope, conversation: ConversationId) -> Conversation:
    found = await store.find_conversation(scope, conversation)
    if found is None:
        raise NoSuchConversation
    return found


async def _said(scope: Scope, message: MessageId) -> Message:
    said = await store.find_message(scope, message=message)
    if said is None:  # it was written in this transaction, so only a lost membership can hide it
        raise NoSuchConversation
    return said
