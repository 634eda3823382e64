"""The SQL of conversations. Row security shows a private one to its person alone."""

from typing import Any

from operalta.db.scope import Row, Scope
from operalta.kernel.ids import ConversationId, MessageId
from operalta.workspace.conversations.rules import Author, Conversation, FoundMessage, Message
from operalta.workspace.rules import Position


async def insert_conversation(scope: Scope, conversation: ConversationId, title: str, *, private: bool) -> None:
    """Add a conversation of the person of the scope."""
    await scope.execute(
        """
        INSERT INTO workspace.conversations (company_id, id, title, created_by, private_to)
        VALUES (%(company)s, %(id)s, %(title)s, %(person)s, %(private_to)s)
        """,
        {
            "company": scope.company,
            "id": conversation,
            "title": title,
            "person": scope.actor.person_id,
            "private_to": scope.actor.person_id if private else None,
        },
    )


async def find_conversation(scope: Scope, conversation: ConversationId) -> Conversation | None:
    """Return one conversation."""
    row = await scope.one(
        """
        SELECT talk.id, talk.title, talk.created_by, person.name AS created_by_name, talk.private_to, talk.created_at,
            talk.updated_at
        FROM workspace.conversations AS talk LEFT JOIN identity.people AS person ON person.id = talk.created_by
        WHERE talk.company_id = %(company)s AND talk.id = %(id)s
        """,
        {"company": scope.company, "id": conversation},
    )
    return None if row is None else Conversation(**row)


async def page_of_conversations(
    scope: Scope, query: str | None, after: Position | None, most: int
) -> list[Conversation]:
    """Return up to `most` conversations, the last used first; with `query`, by their titles and what was said."""
    rows = await scope.all(
        """
        SELECT talk.id, talk.title, talk.created_by, person.name AS created_by_name, talk.private_to, talk.created_at,
            talk.updated_at
        FROM workspace.conversations AS talk LEFT JOIN identity.people AS person ON person.id = talk.created_by
        WHERE talk.company_id = %(company)s
          AND (%(query)s::text IS NULL OR position(lower(%(query)s::text) IN lower(talk.title)) > 0
            OR talk.id IN (SELECT said.conversation_id
              FROM workspace.search_messages(%(query)s::text, 200) AS found
              JOIN workspace.messages AS said ON said.company_id = %(company)s AND said.id = found.message_id))
          AND (%(at)s::timestamptz IS NULL OR (talk.updated_at, talk.id) < (%(at)s::timestamptz, %(id)s::uuid))
        ORDER BY talk.updated_at DESC, talk.id DESC LIMIT %(most)s
        """,
        {
            "company": scope.company,
            "query": query,
            "at": after and after.at,
            "id": after and after.id,
            "most": most,
        },
    )
    return [Conversation(**row) for row in rows]


async def rename_conversation(scope: Scope, conversation: ConversationId, title: str) -> bool:
    """Write a conversation's title; false where there is none to write."""
    touched = await scope.execute(
        "UPDATE workspace.conversations SET title = %(title)s WHERE company_id = %(company)s AND id = %(id)s",
        {"company": scope.company, "id": conversation, "title": title},
    )
    return touched == 1


async def mark_used(scope: Scope, conversation: ConversationId) -> None:
    """Move a conversation to the top of the list."""
    await scope.execute(
        "UPDATE workspace.conversations SET updated_at = now() WHERE company_id = %(company)s AND id = %(id)s",
        {"company": scope.company, "id": conversation},
    )


async def insert_message(
    scope: Scope, message: MessageId, conversation: Conversation, author: Author, *, body: str, key: str | None
) -> bool:
    """Add a message; false where the person used this key before (waits for one that does so at this moment)."""
    touched = await scope.execute(
        """
        INSERT INTO workspace.messages (company_id, id, conversation_id, private_to, author_kind, person_id, run_id,
            api_key_id, body, idempotency_key)
        VALUES (%(company)s, %(id)s, %(conversation)s, %(private_to)s, %(author)s, %(person)s, %(run)s, %(api_key)s,
            %(body)s, %(key)s)
        ON CONFLICT (company_id, person_id, idempotency_key) DO NOTHING
        """,
        {
            "company": scope.company,
            "id": message,
            "conversation": conversation.id,
            "private_to": conversation.private_to,
            "author": author.value,
            "person": scope.actor.person_id,
            "run": scope.actor.run_id,
            "api_key": scope.actor.key_id,
            "body": body,
            "key": key,
        },
    )
    return touched == 1


async def find_message(scope: Scope, *, message: MessageId | None = None, key: str | None = None) -> Message | None:
    """Return a message by its id, or by the key that the person of the scope gave it."""
    row = await scope.one(
        """
        SELECT said.id, said.conversation_id, said.author_kind AS author, said.person_id, person.name AS person_name,
            said.run_id, said.body, said.created_at
        FROM workspace.messages AS said LEFT JOIN identity.people AS person ON person.id = said.person_id
        WHERE said.company_id = %(company)s
          AND (said.id = %(id)s::uuid OR (said.person_id = %(person)s AND said.idempotency_key = %(key)s::text))
        """,
        {"company": scope.company, "id": message, "person": scope.actor.person_id, "key": key},
    )
    return None if row is None else _message(row)


async def page_of_messages(
    scope: Scope, conversation: ConversationId, before: Position | None, most: int
) -> list[Message]:
    """Return up to `most` messages of a conversation, the latest first, before a place in it."""
    rows = await scope.all(
        """
        SELECT said.id, said.conversation_id, said.author_kind AS author, said.person_id, person.name AS person_name,
            said.run_id, said.body, said.created_at
        FROM workspace.messages AS said LEFT JOIN identity.people AS person ON person.id = said.person_id
        WHERE said.company_id = %(company)s AND said.conversation_id = %(conversation)s
          AND (%(at)s::timestamptz IS NULL OR (said.created_at, said.id) < (%(at)s::timestamptz, %(id)s::uuid))
        ORDER BY said.created_at DESC, said.id DESC LIMIT %(most)s
        """,
        {
            "company": scope.company,
            "conversation": conversation,
            "at": before and before.at,
            "id": before and before.id,
            "most": most,
        },
    )
    return [_message(row) for row in rows]


async def matching_messages(scope: Scope, query: str, most: int) -> list[FoundMessage]:
    """Return up to `most` messages by the words in them, the best first."""
    rows = await scope.all(
        """
        SELECT said.id, said.conversation_id, said.author_kind AS author, said.person_id, person.name AS person_name,
            said.run_id, said.body, said.created_at, talk.title
        FROM workspace.search_messages(%(query)s::text, %(most)s) AS found
        JOIN workspace.messages AS said ON said.company_id = %(company)s AND said.id = found.message_id
        JOIN workspace.conversations AS talk ON talk.company_id = said.company_id AND talk.id = said.conversation_id
        LEFT JOIN identity.people AS person ON person.id = said.person_id
        ORDER BY found.rank DESC, said.id DESC
        """,
        {"company": scope.company, "query": query, "most": most},
    )
    return [FoundMessage(_message({name: row[name] for name in row if name != "title"}), row["title"]) for row in rows]


def _message(row: Row) -> Message:
    values: dict[str, Any] = {**row, "author": Author(row["author"])}
    return Message(**values)
