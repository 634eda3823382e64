"""What an approval is bound to, what it still fits, and what a person is shown before giving it. Pure.

An approval answers one question about one call. Another argument, another definition of the tool, another
run, conversation, requester or company, a passed expiry: each makes a new question.
"""

import difflib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from ada_url import URL

from operalta.agents.canonical import JsonValue, canonical_text, sha256_of
from operalta.agents.registry import SinkType, ToolDeclaration, tool_hash
from operalta.kernel.ids import CompanyId, ConversationId, PersonId, RunId, SessionId

LONGEST_COMPARED = 4_000  # lines: beyond, the whole text is shown as replaced, since matching would be slow


class ApprovalScope(StrEnum):
    """For how long an approval holds."""

    ONCE = "once"
    CONVERSATION = "conversation"


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
    is_sensitive: bool


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


@dataclass(frozen=True, slots=True)
class ConversationGrant:
    """An approval for the rest of a conversation: one tool, one requester, one shape of arguments."""

    arguments_shape: str
    tool_name: str
    tool_hash: str
    company_id: CompanyId
    conversation_id: ConversationId
    requester_id: PersonId
    expires_at: datetime
    approver_session_id: SessionId
    revoked: bool = False


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
        is_sensitive=tool.tool_class.is_sensitive,
    )


def bind(call: ProposedCall, expires_at: datetime) -> ApprovalBinding:
    """Return the binding of the question about `call`, which lapses at `expires_at`."""
    return ApprovalBinding(
        arguments_sha256=call.arguments_sha256,
        tool_name=call.tool_name,
        tool_hash=call.tool_hash,
        company_id=call.company_id,
        run_id=call.run_id,
        conversation_id=call.conversation_id,
        requester_id=call.requester_id,
        expires_at=expires_at,
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
_GRANTED = ("arguments_shape", "tool_name", "tool_hash", "company_id", "conversation_id", "requester_id")


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


def binding_matches(binding: ApprovalBinding, call: ProposedCall, now: datetime) -> bool:
    """Tell whether an approval covers `call`."""
    return not mismatches(binding, call, now)


def grant_covers(grant: ConversationGrant, call: ProposedCall, now: datetime) -> bool:
    """Tell whether a grant for the conversation covers `call`. Never for a sensitive class."""
    return (
        not call.is_sensitive
        and not grant.revoked
        and now < grant.expires_at
        and all(getattr(grant, name) == getattr(call, name) for name in _GRANTED)
    )


def scopes_offered(tool: ToolDeclaration) -> tuple[ApprovalScope, ...]:
    """Return the scopes that a person may choose from for this tool."""
    if tool.tool_class.is_sensitive:
        return (ApprovalScope.ONCE,)
    return (ApprovalScope.ONCE, ApprovalScope.CONVERSATION)


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


@dataclass(frozen=True, slots=True)
class ShownArgument:
    """One argument as a card shows it: in full. `has_hidden` warns of characters that were made visible."""

    name: str
    sink: str
    text: str
    has_hidden: bool


def describe_arguments(tool: ToolDeclaration, arguments: Mapping[str, JsonValue]) -> tuple[ShownArgument, ...]:
    """Return every argument in full, in the tool's own order, with what cannot be seen written out.

    Nothing is ever cut. Control, bidi and zero-width characters appear as ⟦U+202E⟧, so that what a person
    reads is what will be done; line ends and tabs stay.
    """
    known = [name for name in tool.arguments.model_fields if name in arguments]
    names = [*known, *(name for name in arguments if name not in known)]
    shown: list[ShownArgument] = []
    for name in names:
        value = arguments[name]
        raw = value if isinstance(value, str) else canonical_text(value)
        text = make_visible(raw)
        sink = tool.sinks.get(name)
        shown.append(ShownArgument(name, sink.value if sink else "undeclared", text, text != raw))
    return tuple(shown)


_UNSEEN = {"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp"}
_BLANK_LETTERS = frozenset("\u115f\u1160\u3164\uffa0\u2800")  # they take up room and show nothing


def make_visible(text: str) -> str:
    """Write out the characters of `text` that cannot be seen, white space but for space, tab, line end too."""
    return "".join(_shown(one) for one in text)


def _shown(one: str) -> str:
    if one in "\n\t " or not (
        unicodedata.category(one) in _UNSEEN or unicodedata.category(one) == "Zs" or one in _BLANK_LETTERS
    ):
        return one
    return f"⟦U+{ord(one):04X}⟧"


class LineChange(StrEnum):
    """What happens to a line."""

    SAME = "same"
    REMOVED = "removed"
    ADDED = "added"


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line of a comparison, with its number (from 1) before and after; None on the side it is not on."""

    change: LineChange
    before: int | None
    after: int | None
    text: str


def diff_lines(before: str, after: str) -> tuple[DiffLine, ...]:
    """Compare two texts line by line. Every line of both is in the result: nothing is left out."""
    old, new = _lines(before), _lines(after)
    if max(len(old), len(new)) > LONGEST_COMPARED:
        return (*_removed(old, 0, len(old)), *_added(new, 0, len(new)))
    found: list[DiffLine] = []
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    for tag, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if tag == "equal":
            found += (
                DiffLine(LineChange.SAME, old_from + at + 1, new_from + at + 1, make_visible(line))
                for at, line in enumerate(old[old_from:old_to])
            )
        else:
            found += _removed(old, old_from, old_to)
            found += _added(new, new_from, new_to)
    return tuple(found)


def _lines(text: str) -> list[str]:
    """Split at line feeds alone, so that nothing else can hide where a line ends."""
    return text.split("\n") if text else []


def _removed(lines: list[str], start: int, end: int) -> list[DiffLine]:
    return [DiffLine(LineChange.REMOVED, at + 1, None, make_visible(lines[at])) for at in range(start, end)]


def _added(lines: list[str], start: int, end: int) -> list[DiffLine]:
    return [DiffLine(LineChange.ADDED, None, at + 1, make_visible(lines[at])) for at in range(start, end)]
