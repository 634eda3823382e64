"""What conversations and messages are, and their bounds. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from operalta.kernel.ids import ConversationId, MessageId, PersonId, RunId
from operalta.kernel.texts import checked_line

LONGEST_TITLE = 200
LONGEST_MESSAGE = 20_000
SHORTEST_KEY, LONGEST_KEY = 8, 200


class Author(StrEnum):
    """Who speaks: a person in their own session, or an agent in its run for that person."""

    PERSON = "person"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation. `private_to` names the one person who can see it; None: all who may use agents here."""

    id: ConversationId
    title: str
    created_by: PersonId
    created_by_name: str | None
    private_to: PersonId | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Message:
    """What was said once. `person_id` is the speaker, or the person for whom the agent of `run_id` speaks."""

    id: MessageId
    conversation_id: ConversationId
    author: Author
    person_id: PersonId
    person_name: str | None
    run_id: RunId | None
    body: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class FoundMessage:
    """A message that was found by its words, and the title of its conversation."""

    message: Message
    title: str


def checked_key(key: str | None) -> str | None:
    """Return the idempotency key. Raise InvalidInput unless it is one line of 8 to 200 characters."""
    return None if key is None else checked_line(key, "idempotency key", LONGEST_KEY, SHORTEST_KEY)
