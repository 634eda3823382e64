"""A run goes from a message to its answer, step by step in rows, and survives the death of its worker anywhere."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from uuid import UUID

import pytest

from operalta.agents import service
from operalta.agents.canonical import JsonValue
from operalta.agents.rules import RunLimits
from operalta.db.errors import ClaimLost
from operalta.db.scope import open_run_scope
from operalta.kernel.errors import NotFound
from operalta.workspace.conversations import service as conversations
from tests.agents.conftest import Deaths, Desk, Office, Turn, WorkerDied, calling, scripted
from tests.conftest import Member, Servers, World
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
    assert desk.outcomes(posted.run_id) == [
        ("denied", "Commands cannot be run: their sandbox has not been built into this release.")
    ]
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


# ── Death ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.proves("5.5.1")
@pytest.mark.parametrize("committed", [True, False], ids=["after-the-commit", "before-the-commit"])
@pytest.mark.parametrize("effect", ["decision", "file", "page"])
async def test_a_worker_may_die_at_any_step(
    desk: Desk, world: World, web_page: LoopbackServer, monkeypatch: pytest.MonkeyPatch, *, effect: str, committed: bool
) -> None:
    text = {
        "decision": "/decide Yearly billing | Fewer invoices.",
        "file": "write the file plan.md with We sell by the year.",
        "page": f"/fetch http://127.0.0.1:{web_page.port}/",
    }[effect]
    for at in range(1, 60):
        death = Deaths(at, committed)
        web_page.requests.clear()
        member = world.member(world.company())
        posted = await desk.write(member, text)
        with death.planned(monkeypatch):
            await _to_the_end(desk, member, posted.run_id)
        assert desk.status(posted.run_id) == "finished", at
        assert len(desk.answers(posted.run_id)) == 1, at
        kinds = desk.kinds(posted.run_id)
        for once in ("run_started", "tool_asked", "tool_decided", "tool_result", "answer", "run_finished"):
            assert kinds.count(once) == 1, (at, once)
        assert len(desk.records(member)) == (effect == "decision"), at
        assert [row["version"] for row in desk.file_versions(member)] == [1] * (effect == "file"), at
        assert len(web_page.requests) <= (effect == "page"), at
        questions = desk.rows("SELECT consumed_at FROM agents.approvals WHERE run_id = %s", posted.run_id)
        assert [row["consumed_at"] is not None for row in questions] == [True] * (effect == "file"), at
        if not death.came:
            assert at > 8
            return
        assert "run_recovered" in kinds or at == 1 or effect == "file", at
    pytest.fail("the run has no end")


async def _to_the_end(desk: Desk, member: Member, run: UUID) -> None:
    """Work on a run with as many workers as it takes, and say yes where it asks."""
    for _ in range(6):
        try:
            await desk.work(run)
        except WorkerDied:
            desk.lapse(run)
            assert (run in await desk.dispatcher.rescue()) is (desk.status(run) == "running")
            continue
        if desk.status(run) != "waiting_for_approval":
            return
        async with desk.scope(member) as scope:
            await service.decide_approval(scope, desk.question(run)["id"], "once")


@pytest.mark.proves("5.5.1")
async def test_a_real_worker_is_killed_and_another_goes_on(
    desk: Desk, office: Office, web_page: LoopbackServer, servers: Servers
) -> None:
    desk.rows("DELETE FROM jobs.procrastinate_jobs")
    posted = await desk.write(office.founder, f"/fetch http://127.0.0.1:{web_page.port}/silent")
    with worker_process(servers, web_page.port) as first:
        await _until(lambda: bool(web_page.requests))
        first.send_signal(signal.SIGKILL)
        await asyncio.to_thread(first.wait)
    assert desk.status(posted.run_id) == "running"
    with worker_process(servers, web_page.port):
        desk.lapse(posted.run_id)
        await _until(lambda: desk.status(posted.run_id) == "finished")
    assert len(web_page.requests) == 1
    assert desk.kinds(posted.run_id).count("run_recovered") == 1
    assert desk.outcomes(posted.run_id) == [
        ("failed", "This was interrupted and may have happened. It is not repeated by itself.")
    ]
    assert len(desk.answers(posted.run_id)) == 1


@contextmanager
def worker_process(servers: Servers, port: int) -> Generator[subprocess.Popen[bytes]]:
    """The real worker, as `operalta worker` starts it, in a process of its own."""
    settings = f"Settings(var_dir={str(servers.settings.var)!r}, egress_exemptions=('127.0.0.1:{port}',))"
    program = f"from operalta.settings import Settings; from operalta.worker import work; work({settings})"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if await asyncio.to_thread(condition):
            return
        await asyncio.sleep(0.1)
    pytest.fail("it did not come about in a minute")


# ── Two workers, vanished workers, and late ones ────────────────────────────────────────────────────────


async def test_of_two_workers_one_gets_the_run(desk: Desk, office: Office) -> None:
    posted = await desk.write(office.founder, "/decide Yearly")
    await asyncio.gather(*(desk.work(posted.run_id) for _ in range(5)))
    assert desk.status(posted.run_id) == "finished"
    assert desk.rows("SELECT attempts FROM agents.runs WHERE id = %s", posted.run_id) == [{"attempts": 1}]
    assert len(desk.records(office.founder)) == 1


async def test_a_run_that_is_over_is_not_taken_up_again(desk: Desk, office: Office) -> None:
    posted = await desk.say(office.founder, "/help")
    before = desk.events(posted.run_id)
    await desk.work(posted.run_id)
    assert desk.events(posted.run_id) == before


async def test_a_worker_that_comes_back_late_writes_nothing_more(desk: Desk, office: Office) -> None:
    """The claim lapses while the model answers, and another worker finishes the run meanwhile."""

    async def slow(_: int) -> Turn:
        desk.lapse(posted.run_id)
        desk.model = calling()
        return [("memory_record", {"kind": "decision", "title": "Late", "body": ""})]

    async def other(_: int) -> Turn:
        return "Finished by another."

    async def overtaken(number: int) -> Turn:
        desk.lapse(posted.run_id)
        desk.model = scripted(other)
        await desk.work(posted.run_id)
        return await slow(number)

    desk.model = scripted(overtaken)
    posted = await desk.write(office.founder, "/decide Late")
    await desk.work(posted.run_id)
    assert desk.answers(posted.run_id) == ["Finished by another."]
    assert desk.records(office.founder) == []


async def test_a_claim_that_was_kept_too_late_is_taken_up_again(desk: Desk, office: Office) -> None:
    async def late(number: int) -> Turn:
        if number == 0 and "run_recovered" not in desk.kinds(posted.run_id):
            desk.lapse(posted.run_id)
        return "Here after all."

    desk.model = scripted(late)
    posted = await desk.write(office.founder, "Hello?")
    await desk.work(posted.run_id)
    assert desk.status(posted.run_id) == "finished"
    assert desk.answers(posted.run_id) == ["Here after all."]


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
            service.get_approval(scope, question),
            service.decide_approval(scope, question, "once"),
            conversations.get(scope, posted.conversation_id),
            conversations.messages(scope, posted.conversation_id),
            service.post_message(scope, "Hello", conversation_id=posted.conversation_id),
        ):
            with pytest.raises(NotFound):
                await look
        assert await service.events_after(scope, posted.run_id, 0) == ()
        assert await service.runs_of_conversation(scope, posted.conversation_id) == []
        assert await service.steps_of_conversation(scope, posted.conversation_id) == {}
        assert await service.list_approvals(scope, waiting=True) == ()
        assert await service.count_waiting_approvals(scope) == 0
    assert desk.question(posted.run_id)["decision"] is None


@pytest.mark.proves("5.0.1")
async def test_a_runs_scope_opens_with_its_own_secret_alone(desk: Desk, office: Office) -> None:
    mine = await desk.write(office.founder, "/help")
    other = await desk.write(office.stranger, "/help")
    async with desk.dispatcher.claimed(mine.run_id) as claim:
        assert claim is not None
        for run, secret in ((other.run_id, claim.secret), (mine.run_id, claim.secret[:-1] + "x"), (mine.run_id, "")):
            with pytest.raises(ClaimLost):
                async with open_run_scope(desk.pools.worker, run, secret):
                    pass
        async with open_run_scope(desk.pools.worker, mine.run_id, claim.secret) as scope:
            assert scope.actor.person_id == office.founder.person_id
