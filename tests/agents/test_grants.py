"""A grant for a conversation is narrow and can be revoked; sensitive calls are asked about each time."""

from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg.types.json import Jsonb

from operalta.agents import service
from operalta.agents.approvals import service as approvals
from operalta.agents.approvals import store as approval_store
from operalta.agents.company_tools import Arguments, Body, Path
from operalta.agents.registry import SinkType, ToolClass, ToolDeclaration, ToolRegistry, ToolResult
from operalta.agents.tool_work import ToolWork
from operalta.db.scope import open_run_scope
from operalta.kernel.errors import InvalidInput, NotFound
from operalta.kernel.ids import new_id
from operalta.workspace.conversations import service as conversations
from tests.agents.conftest import Desk, Office, calling
from tests.conftest import Member


async def _granted(desk: Desk, member: Member) -> UUID:
    """A conversation in which writing this file has been granted; returns its id."""
    run = await desk.waiting(member, private=False)
    await desk.decide(member, run, "conversation")
    assert desk.status(run) == "finished"
    return desk.question(run)["conversation_id"]


@pytest.mark.proves("5.5.1")
async def test_a_grant_covers_the_same_kind_of_call_and_ends_when_revoked(desk: Desk, office: Office) -> None:
    conversation = await _granted(desk, office.founder)
    again = await desk.say(office.founder, "write the file plan.md with Another text.", conversation=conversation)
    assert desk.status(again.run_id) == "finished"
    assert len(desk.file_versions(office.founder)) == 2
    async with desk.scope(office.founder) as scope:
        (grant,) = await approvals.list_grants(scope)
        await approvals.revoke_grant(scope, grant["id"])
        with pytest.raises(NotFound):
            await approvals.revoke_grant(scope, grant["id"])
    third = await desk.say(office.founder, "write the file plan.md with A third.", conversation=conversation)
    assert desk.status(third.run_id) == "waiting_for_approval"
    assert {"grant.given", "grant.revoked"} <= set(desk.audited(office.founder))


@pytest.mark.proves("5.5.1")
async def test_a_grant_covers_nothing_else(desk: Desk, office: Office) -> None:
    conversation = await _granted(desk, office.founder)
    for member, words, place in (
        (office.founder, "write the file other.md with x.", conversation),
        (office.founder, "write the file plan.md with x.", None),
        (office.colleague, "write the file plan.md with x.", conversation),
    ):
        run = (await desk.say(member, words, conversation=place)).run_id
        assert desk.status(run) == "waiting_for_approval"
        await desk.decide(member, run, "denied")
    assert len(desk.file_versions(office.founder)) == 1


@pytest.mark.proves("5.5.1")
async def test_a_grant_ends_by_itself(desk: Desk, office: Office) -> None:
    conversation = await _granted(desk, office.founder)
    desk.rows("UPDATE agents.grants SET given_at = now() - interval '31 days'")
    late = await desk.say(office.founder, "write the file plan.md with x.", conversation=conversation)
    assert desk.status(late.run_id) == "waiting_for_approval"


class Erase(Arguments):
    """What to erase."""

    path: Path
    why: Body = ""


@pytest.fixture
def with_a_sensitive_tool(desk: Desk, office: Office) -> ToolDeclaration:
    """A tool that destroys, in the registry and granted to the agent."""
    tool = ToolDeclaration(
        name="files_erase",
        title="Erase a file",
        purpose="Erase a file for good.",
        tool_class=ToolClass.DESTROY,
        permission="files:write",
        arguments=Erase,
        sinks={"path": SinkType.PATH, "why": SinkType.BODY},
        verbs=frozenset({"erase"}),
        run=_erase,
    )
    registry = ToolRegistry()
    for each in (*desk.registry, tool):
        registry.declare(each)
    desk.registry = registry
    desk.rows(
        'UPDATE agents.agents SET tools = tools || \'{"files_erase": "allow"}\' WHERE company_id = %s',
        office.founder.company_id,
    )
    desk.model = calling(("files_erase", {"path": "a.md", "why": ""}))
    return tool


async def _erase(_: ToolWork, arguments: Erase) -> ToolResult:
    return ToolResult(f"Erased {arguments.path}.")


@pytest.mark.proves("5.3.3", "5.5.1")
@pytest.mark.usefixtures("with_a_sensitive_tool")
async def test_sensitive_calls_are_asked_about_each_time(desk: Desk, office: Office) -> None:
    first = await desk.say(office.founder, "Erase a.md", private=False)
    assert desk.status(first.run_id) == "waiting_for_approval"
    question = desk.question(first.run_id)["id"]
    async with desk.scope(office.founder) as scope:
        with pytest.raises(InvalidInput):
            await approvals.decide_approval(scope, question, "conversation")
    await desk.decide(office.founder, first.run_id, "once")
    assert desk.outcomes(first.run_id) == [("success", "Erased a.md.")]
    second = await desk.say(office.founder, "Erase a.md", conversation=first.conversation_id)
    assert desk.status(second.run_id) == "waiting_for_approval"


@pytest.mark.proves("5.5.1")
@pytest.mark.usefixtures("with_a_sensitive_tool")
async def test_not_even_sql_grants_a_sensitive_class_for_a_conversation(desk: Desk, office: Office) -> None:
    posted = await desk.say(office.founder, "Erase a.md")
    question = desk.question(posted.run_id)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with desk.scope(office.founder) as scope:
            await approval_store.decide(scope, {question["id"]: question["arguments_sha256"]}, "conversation")
    await desk.decide(office.founder, posted.run_id, "once")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with desk.scope(office.founder) as scope:
            await approval_store.give_grant(scope, question)


@pytest.mark.proves("5.5.1")
@pytest.mark.parametrize(
    "change",
    [
        {"tool": "memory_record"},
        {"tool_hash": "0" * 64},
        {"argument_shape": "0" * 64},
        {"requester_id": "colleague"},
        {"conversation_id": "other"},
    ],
)
async def test_not_even_sql_widens_a_grant(desk: Desk, office: Office, change: dict[str, Any]) -> None:
    await _granted(desk, office.founder)
    (question,) = desk.rows("SELECT * FROM agents.approvals WHERE company_id = %s", office.founder.company_id)
    if "requester_id" in change:
        change = {"requester_id": office.colleague.person_id}
    async with desk.scope(office.founder) as scope:
        if "conversation_id" in change:
            change = {"conversation_id": (await conversations.start_conversation(scope, "Other")).id}
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await approval_store.give_grant(scope, question | change)


# ── For whom, through whom, and how alike ──────────────────────────────────────────────────────────────


def _twin(desk: Desk, member: Member) -> UUID:
    """Another agent like the first one, with the same tools."""
    copied: LiteralString = (
        "INSERT INTO agents.agents (company_id, slug, name, purpose, instructions, tools)"
        " SELECT company_id, 'twin', name, purpose, instructions, tools FROM agents.agents"
        " WHERE company_id = %s AND slug = 'chief-of-staff' RETURNING id"
    )
    return desk.rows(copied, member.company_id)[0]["id"]


@pytest.mark.proves("5.5.1")
async def test_a_grant_is_for_the_agent_whose_call_it_was_given_for(desk: Desk, office: Office) -> None:
    conversation = await _granted(desk, office.founder)
    async with desk.scope(office.founder) as scope:
        posted = await service.post_message(
            scope, "write the file plan.md with x.", conversation_id=conversation, agent_id=_twin(desk, office.founder)
        )
    await desk.work(posted.run_id)
    assert desk.status(posted.run_id) == "waiting_for_approval"


@pytest.mark.proves("5.5.1")
@pytest.mark.parametrize(
    "path", ["pl\u00e4n.md", "pla\u0308n.md", "Plan.md", "pl\u0430n.md", "plan.md\u200b", "plan.md ", "./plan.md"]
)
async def test_a_grant_is_for_the_very_same_path(desk: Desk, office: Office, path: str) -> None:
    conversation = await _granted(desk, office.founder)
    desk.model = calling(("files_write", {"path": f"notes/{path}", "content": "We sell by the year."}))
    again = await desk.say(office.founder, "Put our plans in order.", conversation=conversation)
    assert "success" not in [outcome for outcome, _ in desk.outcomes(again.run_id)]
    assert len(desk.file_versions(office.founder)) == 1


@pytest.mark.proves("5.5.1")
async def test_what_was_revoked_is_not_given_once_more_by_sql(desk: Desk, office: Office) -> None:
    await _granted(desk, office.founder)
    (question,) = desk.rows("SELECT * FROM agents.approvals WHERE company_id = %s", office.founder.company_id)
    async with desk.scope(office.founder) as scope:
        (grant,) = await approvals.list_grants(scope)
        assert (grant["agent_name"], grant["arguments"]["path"]) == ("Chief of staff", "notes/plan.md")
        await approvals.revoke_grant(scope, grant["id"])
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with desk.scope(office.founder) as scope:
            await approval_store.give_grant(scope, question)


@pytest.mark.proves("5.5.1")
@pytest.mark.parametrize("column", ["conversation_id", "agent_id", "private_to"])
async def test_an_agent_cannot_ask_in_the_name_of_another_conversation_or_agent(
    desk: Desk, office: Office, column: str
) -> None:
    run = await desk.waiting(office.founder, private=False)
    other = await desk.waiting(office.founder)
    row, elsewhere = desk.question(run), desk.question(other)
    forged = {
        "id": new_id(),
        "run": run,
        "conversation": row["conversation_id"],
        "private_to": row["private_to"],
        "agent": row["agent_id"],
        "requester": row["requester_id"],
        "call": "another",
        "card": None,
        "tool": row["tool"],
        "tool_class": row["tool_class"],
        "tool_hash": row["tool_hash"],
        "arguments": Jsonb(row["arguments"]),
        "sha256": row["arguments_sha256"],
        "shape": row["argument_shape"],
        "reasons": Jsonb([]),
        "before": None,
        "after": None,
    }
    change: dict[str, Any] = {
        "conversation_id": {"conversation": elsewhere["conversation_id"]},
        "agent_id": {"agent": _twin(desk, office.founder)},
        "private_to": {"private_to": office.founder.person_id},
    }[column]
    async with desk.dispatcher.claimed(run) as claim:
        assert claim is not None
        async with open_run_scope(desk.pools.worker, run, claim.secret) as scope:
            assert await approval_store.ask(scope, forged)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with open_run_scope(desk.pools.worker, run, claim.secret) as scope:
                await approval_store.ask(scope, forged | change | {"id": new_id(), "call": "a third"})
