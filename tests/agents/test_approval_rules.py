"""An approval fits one call, and a grant one shape of calls."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from operalta.agents.approvals.rules import ApprovalBinding, ProposedCall, arguments_shape, mismatches, propose
from operalta.agents.canonical import JsonValue
from operalta.agents.company_tools import company_registry
from operalta.agents.registry import ToolDeclaration
from operalta.kernel.ids import CompanyId, ConversationId, PersonId, RunId, SessionId

NOW = datetime(2030, 1, 1, tzinfo=UTC)
COMPANY, RUN, CONVERSATION, PERSON, SESSION, OTHER = (UUID(int=number) for number in range(1, 7))


def tool(name: str) -> ToolDeclaration:
    found = company_registry().resolve(name)
    assert isinstance(found, ToolDeclaration)
    return found


WRITE = tool("files_write")
ARGUMENTS: dict[str, JsonValue] = {"path": "plans/a.md", "content": "one"}


def proposed(declaration: ToolDeclaration = WRITE, arguments: dict[str, JsonValue] | None = None) -> ProposedCall:
    return propose(
        declaration,
        ARGUMENTS if arguments is None else arguments,
        company_id=CompanyId(COMPANY),
        run_id=RunId(RUN),
        conversation_id=ConversationId(CONVERSATION),
        requester_id=PersonId(PERSON),
    )


def given_approval() -> ApprovalBinding:
    call = proposed()
    return ApprovalBinding(
        arguments_sha256=call.arguments_sha256,
        tool_name=call.tool_name,
        tool_hash=call.tool_hash,
        company_id=call.company_id,
        run_id=call.run_id,
        conversation_id=call.conversation_id,
        requester_id=call.requester_id,
        expires_at=NOW + timedelta(hours=1),
        approver_session_id=SessionId(SESSION),
    )


def test_an_approval_fits_the_call_it_was_given_for() -> None:
    assert mismatches(given_approval(), proposed(), NOW) == ()
    reordered = dict(reversed(ARGUMENTS.items()))
    assert mismatches(given_approval(), proposed(arguments=reordered), NOW) == ()


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (proposed(arguments={**ARGUMENTS, "content": "one "}), "arguments_sha256"),
        (proposed(arguments={**ARGUMENTS, "path": "plans/A.md"}), "arguments_sha256"),
        (proposed(arguments={**ARGUMENTS, "more": None}), "arguments_sha256"),
        (proposed(replace(WRITE, purpose="Write.")), "tool_hash"),
        (proposed(replace(WRITE, name="files_writes")), "tool_name"),
        (replace(proposed(), company_id=CompanyId(OTHER)), "company_id"),
        (replace(proposed(), run_id=RunId(OTHER)), "run_id"),
        (replace(proposed(), conversation_id=ConversationId(OTHER)), "conversation_id"),
        (replace(proposed(), requester_id=PersonId(OTHER)), "requester_id"),
    ],
)
def test_anything_changed_is_a_new_question(call: ProposedCall, name: str) -> None:
    assert name in mismatches(given_approval(), call, NOW)


def test_an_approval_expires_and_needs_a_persons_session() -> None:
    approval = given_approval()
    assert mismatches(approval, proposed(), approval.expires_at) == ("expires_at",)
    assert mismatches(replace(approval, approver_session_id=None), proposed(), NOW) == ("approver_session_id",)


def test_a_grant_fixes_everything_but_the_texts() -> None:
    shape = arguments_shape(WRITE, ARGUMENTS)
    assert arguments_shape(WRITE, {**ARGUMENTS, "content": "two"}) == shape
    assert arguments_shape(WRITE, {**ARGUMENTS, "path": "plans/b.md"}) != shape
    assert arguments_shape(WRITE, {**ARGUMENTS, "more": 1}) != shape
    assert arguments_shape(tool("memory_record"), {"kind": "decision", "title": "A", "body": ""}) != shape


def test_a_grant_for_a_page_covers_its_site_and_no_other() -> None:
    fetch = tool("web_fetch")
    shape = arguments_shape(fetch, {"url": "https://example.com/a"})
    assert arguments_shape(fetch, {"url": "https://EXAMPLE.com:443/b?c"}) == shape
    for other in ("http://example.com/a", "https://example.com:444/a", "https://example.com.evil.example/a", "x"):
        assert arguments_shape(fetch, {"url": other}) != shape
