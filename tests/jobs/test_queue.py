"""The queue with a real database: what is deferred is done, whatever else happens to it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from procrastinate import PsycopgConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.sql import queries
from psycopg.rows import dict_row

from operalta.db.pools import Pool
from operalta.jobs import maintenance, queue
from operalta.jobs.queue import GuardedConnector, make_queue, work
from operalta.settings import DatabaseRole
from tests.conftest import Pools, Servers


@dataclass
class Handled:
    """What the handlers were given, and how often the next ones shall fail."""

    subjects: list[UUID] = field(default_factory=list[UUID])
    failures: int = 0
    hold: asyncio.Event | None = None

    async def take(self, subject: UUID) -> None:
        self.subjects.append(subject)
        if self.hold is not None:
            await self.hold.wait()
        if self.failures:
            self.failures -= 1
            raise RuntimeError("not now")


@pytest.fixture(autouse=True)
def _only_notices_wake(monkeypatch: pytest.MonkeyPatch, servers: Servers) -> None:  # pyright: ignore[reportUnusedFunction] - pytest calls it
    """With polling out of the way, what is picked up was heard of."""
    monkeypatch.setattr(queue, "POLLING_SECONDS", 120.0)
    with servers.as_owner() as owner:
        owner.execute("DELETE FROM jobs.procrastinate_jobs")


@asynccontextmanager
async def working(servers: Servers, handled: Handled) -> AsyncGenerator[None]:
    dsn = servers.settings.database_dsn(DatabaseRole.DISPATCH)
    app = make_queue(dsn, run_agent=handled.take, deliver_message=handled.take)
    stop = asyncio.Event()
    async with app.open_async():
        task = asyncio.create_task(work(app, stop))
        await until(lambda: listeners(servers))
        try:
            yield
        finally:
            stop.set()
            await asyncio.wait_for(task, 40)


def defer(servers: Servers, task: str = "run_agent", subject: UUID | None = None) -> UUID:
    """Put a job into the queue as the definer's functions do; no serving role may."""
    subject = subject or uuid4()
    with servers.as_owner() as owner, owner.transaction():
        owner.execute("SET LOCAL ROLE operalta_definer")
        owner.execute("SELECT jobs.defer_task(%s, %s)", (task, subject))
    return subject


async def until(holds: Callable[[], Awaitable[object]]) -> None:
    for _ in range(240):
        if await holds():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it never came to that")


def as_dispatch(servers: Servers) -> psycopg.Connection[dict[str, Any]]:
    """A connection of the queue's own role, which sees what its other connections do, and may end them."""
    return psycopg.Connection[dict[str, Any]].connect(
        servers.settings.database_dsn(DatabaseRole.DISPATCH), row_factory=dict_row, autocommit=True
    )


async def listeners(servers: Servers) -> list[int]:
    with as_dispatch(servers) as dispatch:
        rows = dispatch.execute(
            "SELECT pid FROM pg_stat_activity WHERE usename = current_user AND query ILIKE '%LISTEN %delivery%'"
            " AND pid <> pg_backend_pid()"
        ).fetchall()
    return [row["pid"] for row in rows]


def jobs_left(servers: Servers) -> list[dict[str, Any]]:
    with servers.as_owner() as owner:
        return owner.execute("SELECT * FROM jobs.procrastinate_jobs ORDER BY id").fetchall()


async def test_a_deferred_job_reaches_its_handler_and_leaves_no_row(servers: Servers) -> None:
    handled = Handled()
    async with working(servers, handled):
        expected = {defer(servers), defer(servers, "deliver_message")}

        async def done() -> bool:
            return set(handled.subjects) == expected and not jobs_left(servers)

        await until(done)


async def test_a_failing_handler_is_tried_again_and_given_up_at_last(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "RETRY_AFTER_SECONDS", (0, 0))
    monkeypatch.setattr(queue, "POLLING_SECONDS", 0.1)
    handled = Handled(failures=1)
    async with working(servers, handled):
        defer(servers)

        async def done() -> bool:
            return len(handled.subjects) == 2 and not jobs_left(servers)

        await until(done)
        handled.failures = 100

        defer(servers)

        async def given_up() -> bool:
            return len(handled.subjects) == 5 and not jobs_left(servers)

        await until(given_up)


@pytest.mark.parametrize(
    "payload", ["", "{", "[]", "null", '{"type": 1}', '{"type": "abort_job_requested"}', "\x7f😀", "x" * 7999]
)
async def test_no_notice_from_the_web_role_stops_the_listener(servers: Servers, pools: Pools, payload: str) -> None:
    handled = Handled()
    async with working(servers, handled):
        await notify(pools, payload)
        await asyncio.sleep(0.2)
        expected = defer(servers)

        async def done() -> bool:
            return handled.subjects == [expected]

        await until(done)


async def test_a_notice_from_the_web_role_does_not_abort_a_job(servers: Servers, pools: Pools) -> None:
    handled = Handled(hold=asyncio.Event())
    assert handled.hold is not None
    async with working(servers, handled):
        expected = defer(servers)

        async def begun() -> bool:
            return handled.subjects == [expected]

        await until(begun)
        await notify(pools, f'{{"type": "abort_job_requested", "job_id": {jobs_left(servers)[0]["id"]}}}')
        await asyncio.sleep(0.3)
        assert [row["status"] for row in jobs_left(servers)] == ["doing"]
        handled.hold.set()

        async def done() -> bool:
            return not jobs_left(servers)

        await until(done)
    assert handled.subjects == [expected]


async def notify(pools: Pools, payload: str) -> None:
    async with pools.web.acquire() as connection:
        for channel in ("procrastinate_queue_v1#runs", "procrastinate_queue_v1#delivery", "procrastinate_any_queue_v1"):
            await connection.execute("SELECT pg_notify(%s, %s)", (channel, payload))
        await connection.commit()


async def test_it_goes_on_when_all_its_connections_are_cut(servers: Servers) -> None:
    handled = Handled(hold=asyncio.Event())
    assert handled.hold is not None
    with as_dispatch(servers) as dispatch:
        found = dispatch.execute("SELECT pid FROM pg_stat_activity WHERE usename = current_user").fetchall()
    shared = [row["pid"] for row in found]  # those that other tests go on with
    async with working(servers, handled):
        first = defer(servers)

        async def begun() -> bool:
            return handled.subjects == [first]

        await until(begun)
        with as_dispatch(servers) as dispatch:
            dispatch.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user"
                " AND pid <> pg_backend_pid() AND pid <> ALL (%s)",
                (shared,),
            )
        handled.hold.set()

        async def done() -> bool:
            return not jobs_left(servers) and bool(await listeners(servers))

        await until(done)
        second = defer(servers)

        async def heard() -> bool:
            return handled.subjects == [first, second]

        await until(heard)


async def test_malformed_rows_hold_nothing_up_and_are_removed(servers: Servers, pools: Pools) -> None:
    handled = Handled()
    with servers.as_owner() as owner:
        owner.cursor().executemany(
            "INSERT INTO jobs.procrastinate_jobs (queue_name, task_name, args) VALUES ('runs', %s, %s::jsonb)",
            [
                ("run_agent", "[1]"),
                ("run_agent", '"text"'),
                ("run_agent", '{"subject": 5}'),
                ("run_agent", '{"subject": "no id"}'),
                ("run_agent", "{}"),
                ("run_agent", '{"subject": "00000000-0000-0000-0000-000000000000", "more": 1}'),
                ("os_system", '{"subject": "00000000-0000-0000-0000-000000000000"}'),
            ],
        )
    async with working(servers, handled):
        expected = defer(servers)

        async def done() -> bool:
            await maintenance.maintain(pools.dispatch)
            return handled.subjects == [expected] and not jobs_left(servers)

        await until(done)


async def test_a_delivery_whose_worker_died_is_queued_again_and_given_up(servers: Servers, pools: Pools) -> None:
    subject = defer(servers, "deliver_message")
    run = defer(servers)
    with servers.as_owner() as owner:
        alive = a_worker(owner, "0")
        owner.execute("UPDATE jobs.procrastinate_jobs SET status = 'doing', worker_id = %s", (alive,))
        assert await maintenance.maintain(pools.dispatch) == 0
        owner.execute("UPDATE jobs.procrastinate_jobs SET worker_id = %s", (a_worker(owner, "1 hour"),))
        assert await maintenance.maintain(pools.dispatch) == 1
        left = {UUID(row["args"]["subject"]): row for row in jobs_left(servers)}
        assert (left[subject]["status"], left[subject]["attempts"], left[run]["status"]) == ("todo", 1, "doing")
        owner.execute(
            "UPDATE jobs.procrastinate_jobs SET status = 'doing', attempts = 4 WHERE task_name = 'deliver_message'"
        )
        await maintenance.maintain(pools.dispatch)
        assert [row["task_name"] for row in jobs_left(servers)] == ["run_agent"]


def a_worker(owner: psycopg.Connection[dict[str, Any]], silent: str) -> int:
    row = owner.execute(
        "INSERT INTO jobs.procrastinate_workers (last_heartbeat) VALUES (now() - %s::interval) RETURNING id", (silent,)
    ).fetchone()
    assert row is not None
    return row["id"]


async def test_maintenance_rescues_runs_whatever_else_fails(pools: Pools, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = asyncio.Event()
    rescued = 0

    async def rescue() -> None:
        nonlocal rescued
        rescued += 1
        if rescued == 2:
            stop.set()
        raise RuntimeError("not now")

    async def broken(_pool: Pool) -> int:
        raise RuntimeError("not now either")

    monkeypatch.setattr(maintenance, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(maintenance, "maintain", broken)
    await asyncio.wait_for(maintenance.run(pools.dispatch, stop, rescue), 30)
    assert rescued == 2


@pytest.mark.parametrize(
    ("statement", "outages", "survives"),
    [("finish_job", 5, True), ("update_heartbeat", 60, True), ("finish_job", 60, False)],
)
async def test_an_outage_is_waited_for_and_by_the_heartbeat_for_ever(
    monkeypatch: pytest.MonkeyPatch, statement: str, outages: int, *, survives: bool
) -> None:
    left = outages

    async def away(_connector: PsycopgConnector, _query: str, **_arguments: object) -> None:
        nonlocal left
        if left:
            left -= 1
            raise ConnectorException from psycopg.OperationalError("the server closed the connection")

    monkeypatch.setattr(PsycopgConnector, "execute_query_async", away)
    monkeypatch.setattr(queue, "_LONGEST_PAUSE_SECONDS", 0.0)
    if survives:
        await GuardedConnector().execute_query_async(queries[statement])
        assert left == 0
    else:
        with pytest.raises(ConnectorException):
            await GuardedConnector().execute_query_async(queries[statement])


async def test_a_fault_that_is_no_outage_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = 0

    async def wrong(_connector: PsycopgConnector, _query: str, **_arguments: object) -> dict[str, object]:
        nonlocal tried
        tried += 1
        raise ConnectorException from psycopg.errors.UndefinedFunction("no such function")

    monkeypatch.setattr(PsycopgConnector, "execute_query_one_async", wrong)
    with pytest.raises(ConnectorException):
        await GuardedConnector().execute_query_one_async(queries["fetch_job"])
    assert tried == 1
