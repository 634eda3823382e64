"""A run survives the death of its worker at any step, has one worker at a time, and does nothing twice."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from uuid import UUID

import pytest

from operalta.agents import journal, runner
from operalta.agents.approvals import service as approvals
from operalta.agents.dispatch import Claim, Dispatcher
from operalta.db.errors import ClaimLost, DatabaseOutOfReach
from operalta.db.pools import Connection, Pool
from operalta.db.scope import Scope, open_run_scope
from operalta.settings import DatabaseRole
from tests.agents.conftest import Deaths, Desk, Office, Turn, WorkerDied, calling, scripted
from tests.conftest import Member, Servers, World
from tests.sandbox.staging import LoopbackServer


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
        assert kinds.count("model_answered") == 2, at
        assert len(desk.records(member)) == (effect == "decision"), at
        assert [row["version"] for row in desk.file_versions(member)] == [1] * (effect == "file"), at
        assert len(web_page.requests) <= (effect == "page"), at
        questions = desk.rows("SELECT consumed_at FROM agents.approvals WHERE run_id = %s", posted.run_id)
        assert [row["consumed_at"] is not None for row in questions] == [True] * (effect == "file"), at
        if not death.came:
            assert at > 8
            return
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
            await approvals.decide_approval(scope, desk.question(run)["id"], "once")


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
        # No heartbeat can prolong a claim without a digest.
        desk.rows(
            "UPDATE agents.runs SET claim_digest = NULL, claim_expires_at = now() - interval '2 seconds' WHERE id = %s",
            posted.run_id,
        )
        desk.model = scripted(other)
        others.append(asyncio.create_task(desk.work(posted.run_id)))
        await asyncio.shield(others[0])
        return await slow(number)

    others: list[asyncio.Task[None]] = []
    desk.model = scripted(overtaken)
    posted = await desk.write(office.founder, "/decide Late")
    await desk.work(posted.run_id)
    await others[0]
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


async def test_a_claim_that_is_let_go_is_not_kept_where_the_cancellation_was_lost(desk: Desk, office: Office) -> None:
    """A driver whose connection dies in that moment tells of the connection alone."""
    posted = await desk.write(office.founder, "/help")
    keeping = asyncio.Event()

    class Dying(Pool):
        @asynccontextmanager
        async def acquire(self) -> AsyncGenerator[Connection]:
            async with desk.pools.dispatch.acquire() as connection:
                yield connection
            keeping.set()
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                raise DatabaseOutOfReach from None

    dying = Dying(DatabaseRole.DISPATCH, "", 1)
    held = Dispatcher(desk.pools.dispatch)
    async with asyncio.timeout(30), held.claimed(posted.run_id) as claim:
        assert claim is not None
        object.__setattr__(held, "_pool", dying)
        await keeping.wait()
        object.__setattr__(held, "_pool", desk.pools.dispatch)
    assert claim.over


async def test_a_worker_that_lost_the_database_goes_on_by_itself(
    desk: Desk, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "OUTAGE_PAUSE_SECONDS", 0.0)
    real, seen = journal.run_scope, 0

    @asynccontextmanager
    async def shaky(pool: Pool, claim: Claim) -> AsyncGenerator[Scope]:
        nonlocal seen
        seen += 1
        if seen in {4, 6, 7}:
            raise DatabaseOutOfReach
        async with real(pool, claim) as scope:
            yield scope

    monkeypatch.setattr(journal, "run_scope", shaky)
    monkeypatch.setattr(runner, "run_scope", shaky)
    posted = await desk.say(office.founder, "/decide Yearly billing | Fewer invoices.")
    assert seen > 8
    assert desk.status(posted.run_id) == "finished"
    assert "run_recovered" in desk.kinds(posted.run_id)
    assert len(desk.records(office.founder)) == 1
    assert desk.rows("SELECT attempts FROM agents.runs WHERE id = %s", posted.run_id) == [{"attempts": 1}]


async def test_a_worker_that_lost_its_run_in_an_outage_leaves_it_alone(
    desk: Desk, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "OUTAGE_PAUSE_SECONDS", 0.0)

    async def overtaken(_: int) -> Turn:
        desk.rows("UPDATE agents.runs SET claim_digest = sha256('another worker') WHERE id = %s", posted.run_id)
        desk.model = calling()
        raise DatabaseOutOfReach

    desk.model = scripted(overtaken)
    posted = await desk.write(office.founder, "/decide Yearly billing | Fewer invoices.")
    await desk.work(posted.run_id)
    assert desk.status(posted.run_id) == "running"
    assert desk.kinds(posted.run_id) == ["run_started", "context_gathered"]
