"""What an approval is bound to, and what it still fits. Pure.

An approval answers one question about one call. Another argument, another definition of the tool, another
run, conversation, requester or company, a passed expiry: each makes a new question.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ada_url import URL

from operalta.agents.canonical import JsonValue, sha256_of
from operalta.agents.registry import SinkType, ToolDeclaration, tool_hash
from operalta.kernel.ids import CompanyId, ConversationId, PersonId, RunId, SessionId


@dataclass(frozen=True, slots=True)
class ProposedCall:
    """A call about to run: what an approval is compared with. `arguments_sha256` is over canonical JSON."""

    arguments_sha256: str
    arguments_shape: str
    tool_name: str
    tool_hash: str
    company_id: CompanyId
    run_id: RunId
    conversation_id: ConversationId
    requester_id: PersonId


@dataclass(frozen=True, slots=True)
class ApprovalBinding:
    """What one approval was asked for, and in which session it was given (None while it is only asked)."""

    arguments_sha256: str
    tool_name: str
    tool_hash: str
    company_id: CompanyId
    run_id: RunId
    conversation_id: ConversationId
    requester_id: PersonId
    expires_at: datetime
    approver_session_id: SessionId | None = None


def propose(
    tool: ToolDeclaration,
    arguments: Mapping[str, JsonValue],
    *,
    company_id: CompanyId,
    run_id: RunId,
    conversation_id: ConversationId,
    requester_id: PersonId,
) -> ProposedCall:
    """Describe a call by what binds it. `arguments` are the validated ones, defaults included."""
    return ProposedCall(
        arguments_sha256=sha256_of(arguments),
        arguments_shape=arguments_shape(tool, arguments),
        tool_name=tool.name,
        tool_hash=tool_hash(tool),
        company_id=company_id,
        run_id=run_id,
        conversation_id=conversation_id,
        requester_id=requester_id,
    )


_BOUND = (
    "arguments_sha256",
    "tool_name",
    "tool_hash",
    "company_id",
    "run_id",
    "conversation_id",
    "requester_id",
)


def mismatches(binding: ApprovalBinding, call: ProposedCall, now: datetime) -> tuple[str, ...]:
    """Return the names of all that keeps an approval from covering `call`; empty where it does.

    That it is used once is the database's to say, in one statement.
    """
    found = [name for name in _BOUND if getattr(binding, name) != getattr(call, name)]
    if binding.approver_session_id is None:
        found.append("approver_session_id")
    if now >= binding.expires_at:
        found.append("expires_at")
    return tuple(found)


def arguments_shape(tool: ToolDeclaration, arguments: Mapping[str, JsonValue]) -> str:
    """Return the hash of what a grant for a conversation fixes.

    Recipients, records, paths, amounts and choices stay exact, a URL keeps its origin; a text may differ, so
    only that it was given counts. What has no declared type stays exact.
    """
    shape: dict[str, JsonValue] = {}
    for name, value in arguments.items():
        sink = tool.sinks.get(name)
        if sink in {SinkType.BODY, SinkType.QUERY}:
            shape[name] = ["text", value is not None]
        elif sink is SinkType.URL and isinstance(value, str):
            shape[name] = ["origin", _origin(value)]
        else:
            shape[name] = ["exact", value]
    return sha256_of({"tool": tool.name, "arguments": shape})


def _origin(url: str) -> str:
    try:
        parsed = URL(url)
    except ValueError:
        return url
    return f"{parsed.protocol}//{parsed.host}" if parsed.host else url
