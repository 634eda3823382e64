"""A run goes from a message to its answer, step by step in rows, and survives the death of its worker anywhere."""

import pytest

from operalta.agents import service
from operalta.agents.approvals import service as approvals
from operalta.agents.canonical import JsonValue
from operalta.agents.rules import RunLimits
from operalta.kernel.errors import NotFound
from operalta.workspace.conversations import service as conversations
from tests.agents.conftest import Desk, Office, Turn, calling, scripted
from tests.conftest import Member
from tests.sandbox.staging import LoopbackServer


@pytest.mark.proves("5.0.1", "5.1.3")
async def test_a_typed_decision_is_recorded_and_every_step_is_a_row(desk: Desk, office: Office) -> None:
    posted = await desk.say(office.founder, "/decide Yearly billing | Fewer invoices.")
    assert desk.status(posted.run_id) == "finished"
    assert desk.kinds(posted.run_id) == [
        "run_started",
        "context_gathered",
        "model_answered",
        "tool_asked",
        "tool_decided",
        "tool_result",
        "model_text",
        "model_answered",
        "answer",
        "run_finished",
    ]
    assert [event["sequence"] for event in desk.events(posted.run_id)] == list(range(1, 11))
    (record,) = desk.records(office.founder)
    assert (record["title"], record["status"], record["run_id"]) == ("Yearly billing", "decided", posted.run_id)
    assert record["recorded_by"] == office.founder.person_id
    assert len(desk.answers(posted.run_id)) == 1
    assert desk.audited(office.founder, posted.run_id) == [
        "run.started",
        "memory.recorded",
        "tool.called",
        "message.written",
        "run.finished",
    ]


async def test_the_same_message_sent_twice_makes_one_run(desk: Desk, office: Office) -> None:
    async with desk.scope(office.founder) as scope:
        first = await service.post_message(scope, "/help", idempotency_key="key-12345678")
        again = await service.post_message(
            scope, "/help", conversation_id=first.conversation_id, idempotency_key="key-12345678"
        )
    assert (first.created, again.created) == (True, False)
    assert again.run_id == first.run_id


async def test_an_answer_quotes_what_is_recorded(desk: Desk, office: Office) -> None:
    await desk.say(office.founder, "/decide Yearly billing | Because invoices are a burden.")
    posted = await desk.say(office.founder, "Why did we choose yearly billing?")
    (answer,) = desk.answers(posted.run_id)
    assert "Because invoices are a burden." in answer


@pytest.mark.proves("5.5.2")
@pytest.mark.parametrize("name", ["memory_erase", "Memory_Record", "memory_record ", "m\u0435mory_record", "shell"])
async def test_an_unknown_tool_is_denied_and_recorded(desk: Desk, office: Office, name: str) -> None:
    desk.model = calling((name, {"kind": "decision", "title": "x"}))
    posted = await desk.say(office.founder, "Do it.")
    assert desk.status(posted.run_id) == "finished"
    assert desk.outcomes(posted.run_id) == [("denied", "There is no such tool.")]
    assert "tool.unknown" in desk.audited(office.founder, posted.run_id)
    assert desk.records(office.founder) == []


@pytest.mark.proves("5.5.2")
async def test_a_tool_that_the_agent_is_not_granted_is_denied(desk: Desk, office: Office) -> None:
    desk.rows(
        "UPDATE agents.agents SET tools = tools - 'memory_record' WHERE company_id = %s", office.founder.company_id
    )
    desk.model = calling(("memory_record", {"kind": "decision", "title": "x"}))
    posted = await desk.say(office.founder, "/decide x")
    assert desk.outcomes(posted.run_id)[0][0] == "denied"
    assert "tool.denied" in desk.audited(office.founder, posted.run_id)
    assert desk.records(office.founder) == []


@pytest.mark.proves("5.3.3")
async def test_without_a_proven_sandbox_there_is_no_shell(desk: Desk, office: Office) -> None:
    posted = await desk.say(office.founder, "/run id")
    assert desk.outcomes(posted.run_id) == [("denied", "Commands cannot be run: none is needed here.")]
    assert desk.rows("SELECT FROM agents.approvals WHERE run_id = %s", posted.run_id) == []
    assert "tool.denied" in desk.audited(office.founder, posted.run_id)


@pytest.mark.parametrize(
    "address", ["http://169.254.169.254/latest/meta-data/", "http://127.0.0.1:1/", "http://[::1]/"]
)
async def test_a_fetch_of_a_local_address_is_refused_and_logged(desk: Desk, office: Office, address: str) -> None:
    posted = await desk.say(office.founder, f"/fetch {address}")
    assert desk.outcomes(posted.run_id)[0][0] == "failed"
    (line,) = desk.rows("SELECT * FROM sandbox.egress_log WHERE run_id = %s", posted.run_id)
    assert line["address"] is None
    assert "egress.refused" in desk.audited(office.founder, posted.run_id)
    assert desk.status(posted.run_id) == "finished"


async def test_a_page_is_fetched_and_logged(desk: Desk, office: Office, web_page: LoopbackServer) -> None:
    posted = await desk.say(office.founder, f"/fetch http://127.0.0.1:{web_page.port}/")
    assert "hello" in desk.answers(posted.run_id)[0]
    (line,) = desk.rows("SELECT * FROM sandbox.egress_log WHERE run_id = %s", posted.run_id)
    assert (line["outcome"], line["person_id"]) == ("200", office.founder.person_id)
    assert len(web_page.requests) == 1


async def test_what_a_model_repeats_of_a_typed_command_is_asked_about(desk: Desk, office: Office) -> None:
    decision: dict[str, JsonValue] = {"kind": "decision", "title": "Yearly", "body": ""}
    desk.model = calling(("memory_record", decision), ("memory_record", decision))
    posted = await desk.say(office.founder, "/decide Yearly")
    assert desk.status(posted.run_id) == "waiting_for_approval"
    assert len(desk.records(office.founder)) == 1
    await desk.decide(office.founder, posted.run_id, "denied")
    assert desk.status(posted.run_id) == "finished"
    assert [outcome for outcome, _ in desk.outcomes(posted.run_id)] == ["success", "denied"]
    assert len(desk.records(office.founder)) == 1


async def test_limits_end_a_run_with_a_sentence(desk: Desk, office: Office) -> None:
    async def endless(number: int) -> Turn:
        return [("memory_search", {"query": f"word {number}"})]

    desk.model, desk.limits = scripted(endless), RunLimits(steps=3)
    posted = await desk.say(office.founder, "Search.")
    assert desk.status(posted.run_id) == "failed"
    assert desk.kinds(posted.run_id).count("model_answered") == 3
    assert "limit of steps" in desk.events(posted.run_id)[-1]["body"]["text"]


async def test_a_run_that_was_taken_up_too_often_is_given_up(desk: Desk, office: Office) -> None:
    posted = await desk.write(office.founder, "/help")
    desk.rows("UPDATE agents.runs SET attempts = 100 WHERE id = %s", posted.run_id)
    await desk.work(posted.run_id)
    assert desk.status(posted.run_id) == "failed"


async def test_a_model_that_breaks_ends_the_run_and_says_so(desk: Desk, office: Office) -> None:
    async def broken(_: int) -> Turn:
        raise ZeroDivisionError

    desk.model = scripted(broken)
    posted = await desk.say(office.founder, "Hello?")
    assert desk.status(posted.run_id) == "failed"
    assert desk.kinds(posted.run_id)[-1] == "run_failed"
    assert "run.failed" in desk.audited(office.founder, posted.run_id)


# ── Rights that end in mid-run ──────────────────────────────────────────────────────────────────────────


@pytest.mark.proves("5.0.1")
@pytest.mark.parametrize("role", [None, "observer"])
async def test_when_the_person_may_no_longer_the_run_ends_and_writes_nothing(
    desk: Desk, office: Office, role: str | None
) -> None:
    async def script(number: int) -> Turn:
        assert number == 0
        desk.remove(office.founder) if role is None else desk.change_role(office.founder, role)
        return [("memory_record", {"kind": "decision", "title": "Too late", "body": ""})]

    desk.model = scripted(script)
    posted = await desk.write(office.founder, "/decide Too late")
    await desk.work(posted.run_id)
    (run,) = desk.rows("SELECT status, failure FROM agents.runs WHERE id = %s", posted.run_id)
    assert run == {"status": "failed", "failure": "The person it worked for may no longer work here."}
    assert desk.kinds(posted.run_id) == ["run_started", "context_gathered"]
    assert desk.records(office.founder) == []
    assert desk.answers(posted.run_id) == []
    assert "run.failed" in desk.audited(office.founder, posted.run_id)


@pytest.mark.proves("5.0.1", "5.1.3")
async def test_a_role_that_is_lowered_holds_at_the_next_call(desk: Desk, office: Office) -> None:
    async def script(number: int) -> Turn:
        if number:
            return "Done."
        desk.change_role(office.founder, "investor")
        return [("memory_record", {"kind": "decision", "title": "Too late", "body": ""})]

    desk.model = scripted(script)
    posted = await desk.say(office.founder, "/decide Too late")
    assert desk.outcomes(posted.run_id) == [("denied", "Your role does not permit this.")]
    assert desk.records(office.founder) == []


@pytest.mark.proves("5.0.1", "5.1.3")
@pytest.mark.parametrize(("role", "may"), [("founder", True), ("advisor", True), ("investor", False)])
async def test_an_agent_may_what_its_person_may(desk: Desk, office: Office, role: str, may: bool) -> None:  # noqa: FBT001 - from the table
    member: Member = getattr(office, role)
    posted = await desk.say(member, "/decide Yearly")
    assert [outcome for outcome, _ in desk.outcomes(posted.run_id)] == ["success" if may else "denied"]
    assert len(desk.records(member)) == may


# ── Stopping ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_run_is_stopped_while_the_model_answers(desk: Desk, office: Office) -> None:
    async def script(number: int) -> Turn:
        assert number == 0
        async with desk.scope(office.founder) as scope:
            await service.stop_run(scope, posted.run_id)
        return [("memory_record", {"kind": "decision", "title": "Too late", "body": ""})]

    desk.model = scripted(script)
    posted = await desk.write(office.founder, "/decide Too late")
    await desk.work(posted.run_id)
    assert desk.status(posted.run_id) == "stopped"
    assert desk.kinds(posted.run_id)[-1] == "run_stopped"
    assert desk.records(office.founder) == []
    assert "run.stopped" in desk.audited(office.founder, posted.run_id)


async def test_a_run_is_stopped_while_it_waits(desk: Desk, office: Office) -> None:
    posted = await desk.say(office.founder, "write the file plan.md with hello")
    assert desk.status(posted.run_id) == "waiting_for_approval"
    async with desk.scope(office.founder) as scope:
        await service.stop_run(scope, posted.run_id)
    await desk.decide(office.founder, posted.run_id, "once")
    assert desk.status(posted.run_id) == "stopped"
    assert desk.file_versions(office.founder) == []


async def test_only_ones_own_run_can_be_stopped(desk: Desk, office: Office) -> None:
    posted = await desk.write(office.founder, "/help", private=False)
    async with desk.scope(office.colleague) as scope:
        await service.stop_run(scope, posted.run_id)
    await desk.work(posted.run_id)
    assert desk.status(posted.run_id) == "finished"


# ── Others ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.proves("5.0.1", "5.1.1")
@pytest.mark.parametrize("who", ["stranger", "colleague"])
async def test_private_work_and_other_companies_work_do_not_exist(desk: Desk, office: Office, who: str) -> None:
    posted = await desk.say(office.founder, "write the file plan.md with hello")
    question = desk.question(posted.run_id)["id"]
    async with desk.scope(getattr(office, who)) as scope:
        for look in (
            service.get_run(scope, posted.run_id),
            service.stop_run(scope, posted.run_id),
            approvals.get_approval(scope, question),
            approvals.decide_approval(scope, question, "once"),
            conversations.get(scope, posted.conversation_id),
            conversations.messages(scope, posted.conversation_id),
            service.post_message(scope, "Hello", conversation_id=posted.conversation_id),
        ):
            with pytest.raises(NotFound):
                await look
        assert await service.events_after(scope, posted.run_id, 0) == ()
        assert await service.runs_of_conversation(scope, posted.conversation_id) == []
        assert await service.steps_of_conversation(scope, posted.conversation_id) == {}
        assert await approvals.list_approvals(scope, waiting=True) == ()
        assert await approvals.count_waiting_approvals(scope) == 0
    assert desk.question(posted.run_id)["decision"] is None
