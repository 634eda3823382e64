"""A question is answered by a person, for exactly one call, once; anything altered is refused."""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import psycopg
import pytest

from operalta.agents.approvals import service as approvals
from operalta.agents.approvals import store as approval_store
from operalta.agents.approvals.rules import ApprovalBinding, ProposedCall, mismatches, propose
from operalta.agents.canonical import JsonValue
from operalta.agents.errors import ApprovalNotValid
from operalta.agents.registry import ToolClass, ToolDeclaration, ToolRegistry
from operalta.db.scope import open_run_scope
from operalta.kernel import clock
from operalta.kernel.errors import InvalidInput, NotAllowed, NotFound
from operalta.kernel.ids import CompanyId, ConversationId, PersonId, RunId, SessionId, new_id
from tests.agents.conftest import Desk, Office

MUTATIONS = 600


@pytest.mark.proves("5.5.1")
async def test_what_others_will_read_is_asked_about_in_full(desk: Desk, office: Office) -> None:
    run = await desk.waiting(office.founder)
    question = desk.question(run)
    assert question["arguments"] == {"path": "notes/plan.md", "content": "We sell by the year."}
    assert (question["before"], question["after"]) == ("", "We sell by the year.")
    assert desk.file_versions(office.founder) == []
    async with desk.scope(office.founder) as scope:
        (shown,) = await approvals.list_approvals(scope, waiting=True)
        assert shown.arguments == question["arguments"]
        assert await approvals.count_waiting_approvals(scope) == 1
    assert desk.audited(office.founder, run) == ["run.started", "approval.asked"]


@pytest.mark.proves("5.5.1")
async def test_a_yes_is_used_once(desk: Desk, office: Office) -> None:
    run = await desk.waiting(office.founder)
    await desk.decide(office.founder, run, "once")
    assert desk.status(run) == "finished"
    assert len(desk.file_versions(office.founder)) == 1
    question = desk.question(run)
    assert question["decided_by"] == office.founder.person_id
    assert question["decided_session"] is not None
    assert question["consumed_at"] is not None
    assert "approval_decided" in desk.kinds(run)
    assert "run_recovered" not in desk.kinds(run)
    assert "approval.granted" in desk.audited(office.founder)


@pytest.mark.proves("5.5.1")
async def test_a_no_is_a_no(desk: Desk, office: Office) -> None:
    run = await desk.waiting(office.founder)
    question = await desk.decide(office.founder, run, "denied")
    assert desk.outcomes(run) == [("denied", "A person said no.")]
    assert desk.file_versions(office.founder) == []
    async with desk.scope(office.founder) as scope:
        with pytest.raises(ApprovalNotValid):
            await approvals.decide_approval(scope, question, "once")


@pytest.mark.proves("5.5.1")
async def test_a_question_that_nobody_answers_lapses(desk: Desk, office: Office) -> None:
    run = await desk.waiting(office.founder)
    desk.rows("UPDATE agents.approvals SET expires_at = now() WHERE run_id = %s", run)
    async with desk.scope(office.founder) as scope:
        with pytest.raises(ApprovalNotValid):
            await approvals.decide_approval(scope, desk.question(run)["id"], "once")
    desk.rows("DELETE FROM jobs.procrastinate_jobs WHERE args ->> 'subject' = %s", str(run))
    assert run in await desk.dispatcher.rescue()
    await desk.work(run)
    assert desk.outcomes(run) == [("denied", "Nobody answered in time.")]
    assert desk.file_versions(office.founder) == []
    assert "approval.expired" in desk.audited(office.founder, run)


@pytest.mark.proves("5.5.1")
async def test_a_yes_expires_too(desk: Desk, office: Office) -> None:
    run = await desk.waiting(office.founder)
    async with desk.scope(office.founder) as scope:
        await approvals.decide_approval(scope, desk.question(run)["id"], "once")
    desk.rows("UPDATE agents.approvals SET expires_at = now() WHERE run_id = %s", run)
    await desk.work(run)
    assert desk.outcomes(run)[0][0] == "denied"
    assert desk.file_versions(office.founder) == []


@pytest.mark.proves("5.5.1", "5.5.2")
@pytest.mark.parametrize(
    "change",
    [
        "arguments_sha256 = repeat('0', 64)",
        "tool_hash = repeat('0', 64)",
        "tool = 'memory_record'",
        "requester_id = (SELECT founded_by FROM tenancy.companies WHERE id = company_id)",
        "conversation_id = gen_random_uuid()",
        "decided_session = NULL",
        "consumed_at = now()",
        "before = 'something else stood there'",
    ],
)
async def test_an_approval_that_does_not_fit_any_more_lets_nothing_through(
    desk: Desk, office: Office, change: str
) -> None:
    run = await desk.waiting(office.founder)
    async with desk.scope(office.founder) as scope:
        await approvals.decide_approval(scope, desk.question(run)["id"], "once")
    with desk.servers.as_owner() as owner:
        owner.execute(b"UPDATE agents.approvals SET " + change.encode() + b" WHERE run_id = %s", (run,))
    await desk.work(run)
    assert [outcome for outcome, _ in desk.outcomes(run)] == ["denied"]
    assert desk.file_versions(office.founder) == []
    assert "tool.denied" in desk.audited(office.founder, run)


@pytest.mark.proves("5.5.1", "5.5.2")
async def test_a_tool_that_was_redefined_after_the_yes_is_not_run(desk: Desk, office: Office) -> None:
    run = await desk.waiting(office.founder)
    async with desk.scope(office.founder) as scope:
        await approvals.decide_approval(scope, desk.question(run)["id"], "once")
    changed = ToolRegistry()
    for tool in desk.registry:
        changed.declare(replace(tool, purpose="Write a file, and send it to somebody.") if tool.verbs else tool)
    desk.registry = changed
    await desk.work(run)
    assert [outcome for outcome, _ in desk.outcomes(run)] == ["denied"]
    assert desk.file_versions(office.founder) == []


@pytest.mark.proves("5.5.1")
async def test_what_changed_behind_the_question_is_not_overwritten(desk: Desk, office: Office) -> None:
    first = await desk.waiting(office.founder)
    second = await desk.waiting(office.founder)
    await desk.decide(office.founder, first, "once")
    await desk.decide(office.founder, second, "once")
    assert desk.outcomes(second) == [
        ("denied", "What this would replace has changed since you were asked. Ask for it again.")
    ]
    assert len(desk.file_versions(office.founder)) == 1


# ── Replays ─────────────────────────────────────────────────────────────────────────────────────────────


def _other_text(chance: random.Random, text: str) -> str:
    at = chance.randrange(len(text) + 1)
    added = chance.choice(["\u200b", " ", "\u202e", "x", "\n", "\u0430", "\\", "é", "e\u0301", "\u00a0"])
    match chance.randrange(5):
        case 0 if at < len(text):
            return text[:at] + text[at + 1 :]
        case 1 if text.swapcase() != text:
            return text.swapcase()
        case 2:
            return text * 2
        case _:
            return text[:at] + added + text[at:]


def _other_arguments(chance: random.Random, arguments: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    changed = dict(arguments)
    name = chance.choice(sorted(arguments))
    match chance.randrange(4):
        case 0:
            changed[_other_text(chance, name)] = changed.pop(name)
        case 1:
            changed["more"] = chance.choice([None, True, 1, "", []])
        case _:
            changed[name] = _other_text(chance, str(arguments[name]))
    return changed


def _other_tool(chance: random.Random, tool: ToolDeclaration) -> ToolDeclaration:
    match chance.randrange(4):
        case 0:
            return replace(tool, purpose=_other_text(chance, tool.purpose))
        case 1:
            return replace(tool, verbs=tool.verbs | {f"word{chance.randrange(1000)}"})
        case 2:
            return replace(tool, tool_class=ToolClass.WRITE_SHARED)
        case _:
            return replace(tool, name=f"{tool.name}_{chance.randrange(1000)}")


@dataclass(frozen=True)
class Replay:
    """An approval presented for another call than its own, or by another run."""

    call: ProposedCall
    approval: UUID
    run: UUID


def _replays(
    call: ProposedCall, tool: ToolDeclaration, arguments: Mapping[str, JsonValue], own: Replay, other: UUID
) -> Iterator[Replay]:
    chance = random.Random(20_26)  # noqa: S311 - the same mutations each time
    ids: dict[str, Any] = {
        "company_id": call.company_id,
        "run_id": call.run_id,
        "conversation_id": call.conversation_id,
        "requester_id": call.requester_id,
    }
    for _ in range(MUTATIONS):
        match chance.randrange(8):
            case 0 | 1 | 2:
                yield replace(own, call=propose(tool, _other_arguments(chance, arguments), **ids))
            case 3 | 4:
                yield replace(own, call=propose(_other_tool(chance, tool), arguments, **ids))
            case 5:
                yield replace(own, approval=new_id())
            case 6:
                yield replace(own, run=chance.choice([other, new_id()]), call=replace(call, run_id=RunId(other)))
            case _:
                name = chance.choice(sorted(ids))
                yield replace(own, call=replace(call, **{name: UUID(int=chance.getrandbits(128))}))


@pytest.mark.proves("5.5.1")
async def test_no_altered_replay_is_accepted_and_the_right_one_once(desk: Desk, office: Office) -> None:
    """Each of 600 altered replays is refused by its binding or by the statement that uses it up, most by both."""
    run = await desk.waiting(office.founder)
    other = await desk.waiting(office.founder)
    for each in (run, other):
        async with desk.scope(office.founder) as scope:
            await approvals.decide_approval(scope, desk.question(each)["id"], "once")
    row = desk.question(run)
    tool = desk.registry.resolve("files_write")
    assert isinstance(tool, ToolDeclaration)
    right = propose(
        tool,
        row["arguments"],
        company_id=CompanyId(row["company_id"]),
        run_id=RunId(run),
        conversation_id=ConversationId(row["conversation_id"]),
        requester_id=PersonId(row["requester_id"]),
    )
    binding = ApprovalBinding(
        arguments_sha256=row["arguments_sha256"],
        tool_name=row["tool"],
        tool_hash=row["tool_hash"],
        company_id=row["company_id"],
        run_id=row["run_id"],
        conversation_id=row["conversation_id"],
        requester_id=row["requester_id"],
        expires_at=row["expires_at"],
        approver_session_id=SessionId(row["decided_session"]),
    )
    assert mismatches(binding, right, clock.now()) == ()
    own = Replay(right, row["id"], run)
    genuine = (right.arguments_sha256, right.tool_hash, own.approval, own.run)
    refused = 0
    async with desk.dispatcher.claimed(run) as claim:
        assert claim is not None
        async with open_run_scope(desk.pools.worker, run, claim.secret) as scope:
            for replay in _replays(right, tool, row["arguments"], own, other):
                digest, definition = replay.call.arguments_sha256, replay.call.tool_hash
                misfit = mismatches(binding, replay.call, clock.now())
                assert misfit or replay.approval != row["id"] or replay.run != run, replay
                if (digest, definition, replay.approval, replay.run) != genuine:
                    # The statement alone refuses too; whose call it is, the binding has to know.
                    assert not await approval_store.consume(scope, replay.approval, replay.run, digest, definition)
                refused += 1
            digest, definition, approval, of_run = genuine
            assert await approval_store.consume(scope, approval, of_run, digest, definition)
            assert not await approval_store.consume(scope, approval, of_run, digest, definition)
    assert refused == MUTATIONS


async def test_another_run_cannot_use_an_approval(desk: Desk, office: Office) -> None:
    run, other = await desk.waiting(office.founder), await desk.waiting(office.founder)
    async with desk.scope(office.founder) as scope:
        await approvals.decide_approval(scope, desk.question(run)["id"], "once")
    row = desk.question(run)
    async with desk.dispatcher.claimed(other) as claim:
        assert claim is not None
        async with open_run_scope(desk.pools.worker, other, claim.secret) as scope:
            assert not await approval_store.consume(scope, row["id"], run, row["arguments_sha256"], row["tool_hash"])
    assert desk.question(run)["consumed_at"] is None


# ── Who decides ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.proves("5.5.1")
async def test_only_who_may_decide_decides(desk: Desk, office: Office) -> None:
    run = await desk.waiting(office.founder, private=False)
    question = desk.question(run)["id"]
    async with desk.scope(office.investor) as scope:
        with pytest.raises(NotAllowed):
            await approvals.decide_approval(scope, question, "once")
    async with desk.scope(office.stranger) as scope:
        with pytest.raises(NotFound):
            await approvals.decide_approval(scope, question, "once")
    await desk.decide(office.advisor, run, "once")
    assert desk.question(run)["decided_by"] == office.advisor.person_id
    assert len(desk.file_versions(office.founder)) == 1


@pytest.mark.proves("5.5.1")
async def test_an_agent_cannot_decide_for_itself(desk: Desk, office: Office) -> None:
    run = await desk.waiting(office.founder)
    question = desk.question(run)["id"]
    async with desk.dispatcher.claimed(run) as claim:
        assert claim is not None
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with open_run_scope(desk.pools.worker, run, claim.secret) as scope:
                await approvals.decide_approval(scope, question, "once")
    assert desk.question(run)["decision"] is None


@pytest.mark.proves("5.5.1")
@pytest.mark.parametrize(
    "columns",
    [
        "decided_by = %(other)s, decided_session = %(session)s",
        "decided_by = %(person)s, decided_session = gen_random_uuid()",
        "decided_by = %(person)s, decided_session = NULL",
    ],
)
async def test_a_decision_names_who_takes_it(desk: Desk, office: Office, columns: str) -> None:
    run = await desk.waiting(office.founder)
    query = f"UPDATE agents.approvals SET decision = 'once', {columns} WHERE id = %(id)s"  # noqa: S608 - of the list above
    async with desk.scope(office.founder) as scope:
        values = {
            "id": desk.question(run)["id"],
            "person": scope.actor.person_id,
            "session": scope.actor.session_id,
            "other": office.colleague.person_id,
        }
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await scope.connection.execute(query.encode(), values)
    assert desk.question(run)["decision"] is None


async def test_a_decision_is_one_of_three(desk: Desk, office: Office) -> None:
    run = await desk.waiting(office.founder)
    async with desk.scope(office.founder) as scope:
        with pytest.raises(InvalidInput):
            await approvals.decide_approval(scope, desk.question(run)["id"], "always")
