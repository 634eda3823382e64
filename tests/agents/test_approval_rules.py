"""An approval fits one call; a card hides nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as some

from operalta.agents.approval_rules import (
    LONGEST_COMPARED,
    ApprovalBinding,
    ApprovalScope,
    ConversationGrant,
    LineChange,
    ProposedCall,
    arguments_shape,
    bind,
    binding_matches,
    describe_arguments,
    diff_lines,
    grant_covers,
    make_visible,
    mismatches,
    propose,
    scopes_offered,
)
from operalta.agents.canonical import JsonValue
from operalta.agents.company_tools import COMPANY_TOOLS, company_registry
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
    return replace(bind(proposed(), NOW + timedelta(hours=1)), approver_session_id=SessionId(SESSION))


def test_an_approval_fits_the_call_it_was_given_for() -> None:
    assert binding_matches(given_approval(), proposed(), NOW)
    reordered = dict(reversed(ARGUMENTS.items()))
    assert binding_matches(given_approval(), proposed(arguments=reordered), NOW)


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
    assert not binding_matches(given_approval(), call, NOW)
    assert name in mismatches(given_approval(), call, NOW)


def test_an_approval_expires_and_needs_a_persons_session() -> None:
    approval = given_approval()
    assert mismatches(approval, proposed(), approval.expires_at) == ("expires_at",)
    assert mismatches(replace(approval, approver_session_id=None), proposed(), NOW) == ("approver_session_id",)


def grant(call: ProposedCall | None = None) -> ConversationGrant:
    call = call or proposed()
    return ConversationGrant(
        arguments_shape=call.arguments_shape,
        tool_name=call.tool_name,
        tool_hash=call.tool_hash,
        company_id=call.company_id,
        conversation_id=call.conversation_id,
        requester_id=call.requester_id,
        expires_at=NOW + timedelta(hours=1),
        approver_session_id=SessionId(SESSION),
    )


def test_a_grant_covers_the_conversation_with_other_texts() -> None:
    assert grant_covers(grant(), proposed(arguments={**ARGUMENTS, "content": "two"}), NOW)
    assert grant_covers(grant(), replace(proposed(), run_id=RunId(OTHER)), NOW)


@pytest.mark.parametrize(
    "call",
    [
        replace(proposed(), requester_id=PersonId(OTHER)),  # another member of the same conversation
        replace(proposed(), conversation_id=ConversationId(OTHER)),
        replace(proposed(), company_id=CompanyId(OTHER)),
        proposed(replace(WRITE, purpose="Write.")),
        proposed(arguments={**ARGUMENTS, "path": "plans/b.md"}),
        proposed(tool("memory_record"), {"kind": "decision", "title": "A", "body": ""}),
    ],
)
def test_a_grant_covers_nothing_else(call: ProposedCall) -> None:
    assert not grant_covers(grant(), call, NOW)


def test_a_grant_ends_when_revoked_or_expired_and_never_covers_a_sensitive_class() -> None:
    assert not grant_covers(replace(grant(), revoked=True), proposed(), NOW)
    assert not grant_covers(grant(), proposed(), grant().expires_at)
    run = proposed(tool("shell_run"), {"command": "ls", "seconds": 60})
    assert not grant_covers(grant(run), run, NOW)
    for declaration in COMPANY_TOOLS:
        offered = scopes_offered(declaration)
        assert (ApprovalScope.CONVERSATION in offered) is not declaration.tool_class.is_sensitive
        assert ApprovalScope.ONCE in offered


def test_a_grant_for_a_page_covers_its_site_and_no_other() -> None:
    fetch = tool("web_fetch")
    shape = arguments_shape(fetch, {"url": "https://example.com/a"})
    assert arguments_shape(fetch, {"url": "https://EXAMPLE.com:443/b?c"}) == shape
    for other in ("http://example.com/a", "https://example.com:444/a", "https://example.com.evil.example/a", "x"):
        assert arguments_shape(fetch, {"url": other}) != shape


def test_a_card_shows_every_argument_in_full() -> None:
    content = "line\n" * 20_000 + "the end"
    shown = describe_arguments(WRITE, {"content": content, "path": "a.md", "more": {"b": 1, "a": [2]}})
    assert [(one.name, one.sink) for one in shown] == [
        ("path", "path"),
        ("content", "body"),
        ("more", "undeclared"),
    ]
    assert shown[1].text == content
    assert shown[2].text == '{"a":[2],"b":1}'
    assert not any(one.has_hidden for one in shown)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a\u202eb", "a⟦U+202E⟧b"),
        ("a\u200bb", "a⟦U+200B⟧b"),
        ("a\x00b\rc", "a⟦U+0000⟧b⟦U+000D⟧c"),
        ("a\u2028b", "a⟦U+2028⟧b"),
        ("a\u00a0b", "a⟦U+00A0⟧b"),
        ("a\u3164b", "a⟦U+3164⟧b"),
        ("a\U000e0041b", "a⟦U+E0041⟧b"),
        ("a\tb\nc é 漢", "a\tb\nc é 漢"),
    ],
)
def test_a_card_shows_what_cannot_be_seen(text: str, seen: str) -> None:
    assert make_visible(text) == seen
    (shown,) = describe_arguments(WRITE, {"content": text})
    assert shown.has_hidden is (seen != text)


def test_a_comparison_tells_what_changes() -> None:
    lines = diff_lines("a\nb\nc", "a\nB\nc\nd")
    assert [(line.change.value, line.before, line.after, line.text) for line in lines] == [
        ("same", 1, 1, "a"),
        ("removed", 2, None, "b"),
        ("added", None, 2, "B"),
        ("same", 3, 3, "c"),
        ("added", None, 4, "d"),
    ]
    assert [line.change for line in diff_lines("", "a")] == [LineChange.ADDED]
    assert diff_lines("", "") == ()


def test_a_long_comparison_is_whole_too() -> None:
    long = "x\n" * LONGEST_COMPARED
    assert len(diff_lines(long, long + "y")) == 2 * (LONGEST_COMPARED + 1)


TEXT = some.text(some.sampled_from("ab\n"), max_size=30)


@given(TEXT, TEXT)
def test_both_texts_can_be_read_off_a_comparison(before: str, after: str) -> None:
    lines = diff_lines(before, after)
    old = [line.text for line in lines if line.change is not LineChange.ADDED]
    new = [line.text for line in lines if line.change is not LineChange.REMOVED]
    assert "\n".join(old) == before
    assert "\n".join(new) == after
