"""Identifiers: UUIDs of version 7 (RFC 9562 section 5.7), with a type of their own for each kind of thing.

The types stop a person's id from being passed where a company's is wanted; at run time all are UUIDs.
"""

import secrets
import time
from typing import NewType
from uuid import UUID

PersonId = NewType("PersonId", UUID)
CompanyId = NewType("CompanyId", UUID)
SessionId = NewType("SessionId", UUID)
InvitationId = NewType("InvitationId", UUID)
RecordId = NewType("RecordId", UUID)
MetricId = NewType("MetricId", UUID)
FileId = NewType("FileId", UUID)
ArtifactId = NewType("ArtifactId", UUID)
AgentId = NewType("AgentId", UUID)
ConversationId = NewType("ConversationId", UUID)
MessageId = NewType("MessageId", UUID)
RunId = NewType("RunId", UUID)
ApprovalId = NewType("ApprovalId", UUID)
ScheduleId = NewType("ScheduleId", UUID)
ApiKeyId = NewType("ApiKeyId", UUID)
RequestId = NewType("RequestId", UUID)

_RANDOM_BITS = 74


def new_id() -> UUID:
    """Return a fresh identifier that sorts by its time of creation, with 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    random = secrets.randbits(_RANDOM_BITS)
    value = (milliseconds & ((1 << 48) - 1)) << 80
    value |= 0x7 << 76
    value |= (random >> 62) << 64
    value |= 0b10 << 62
    value |= random & ((1 << 62) - 1)
    return UUID(int=value)
