"""Workers are killed while schedules are due: each due time makes exactly one run, and every run comes to its end."""

import asyncio
import random
import signal
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, time
from pathlib import Path
from typing import LiteralString

import pytest

from operalta.agents.definitions import service as definitions
from operalta.agents.schedules import service
from operalta.agents.schedules.rules import Rhythm, Times, draft
from operalta.workspace.files.file_store import FileStore
from tests.agents.conftest import Desk
from tests.agents.test_dispatch import worker_process
from tests.conftest import Member, Pools, Servers, World

ROUNDS, SCHEDULES = 10, 20
BEGUN = """
    SELECT schedule_id, due_at, count(*) AS runs FROM agents.runs WHERE company_id = %s AND due_at IS NOT NULL
    GROUP BY schedule_id, due_at ORDER BY due_at, schedule_id
"""
DUE: LiteralString = "SELECT count(*) AS open FROM agents.schedules WHERE company_id = %s AND next_at <= now()"
OPEN: LiteralString = "SELECT count(*) AS open FROM agents.runs WHERE company_id = %s AND finished_at IS NULL"


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.proves("5.0.1")
async def test_each_due_time_makes_one_run_whatever_dies(
    pools: Pools, servers: Servers, world: World, tmp_path: Path
) -> None:
    member = world.member(world.company())
    desk = Desk(pools, servers, FileStore(tmp_path / "workspaces"), ())
    for _ in range(SCHEDULES):
        await _make(desk, member)
    due: list[datetime] = []
    chance = random.Random(7)  # noqa: S311 - it spreads deaths, and protects nothing
    for _ in range(ROUNDS):
        with ExitStack() as stack:
            workers = [stack.enter_context(worker_process(servers, 9)) for _ in range(3)]
            await asyncio.sleep(chance.uniform(1.5, 3.0))
            (row,) = desk.rows(
                "WITH moved AS (UPDATE agents.schedules SET next_at = now() WHERE company_id = %s RETURNING next_at)"
                " SELECT max(next_at) AS due FROM moved",
                member.company_id,
            )
            due.append(row["due"])
            for worker in workers[:2]:
                await asyncio.sleep(chance.uniform(0.0, 1.2))
                worker.send_signal(signal.SIGKILL)
            await _until(lambda: desk.rows(DUE, member.company_id) == [{"open": 0}])
            desk.rows(
                "UPDATE agents.runs SET claim_expires_at = now() - interval '2 seconds' WHERE company_id = %s"
                " AND status = 'running'",
                member.company_id,
            )
            await _until(lambda: desk.rows(OPEN, member.company_id) == [{"open": 0}])
    begun = desk.rows(BEGUN, member.company_id)
    assert [row["due_at"] for row in begun] == [each for each in due for _ in range(SCHEDULES)]
    assert {row["runs"] for row in begun} == {1}
    ends = desk.rows("SELECT DISTINCT status FROM agents.runs WHERE company_id = %s", member.company_id)
    assert ends == [{"status": "finished"}]


async def _make(desk: Desk, member: Member) -> None:
    times = Times(Rhythm.WEEKLY, (0,), None, time(8), "UTC")
    async with desk.scope(member) as scope:
        (agent, *_) = await definitions.list_agents(scope)
        await service.make_schedule(scope, agent.id, draft("Every Monday", "/help", times))


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not holds():  # noqa: ASYNC110 - it looks at a database
            await asyncio.sleep(0.1)
