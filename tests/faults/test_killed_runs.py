"""Workers are killed at random moments of long runs: no event, no approval and no effect is lost or doubled."""

import asyncio
import os
import random
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import LiteralString
from uuid import UUID

import pytest

from operalta.agents.approvals import service as approvals
from operalta.agents.errors import ApprovalNotValid
from operalta.workspace.files.file_store import FileStore
from tests.agents.conftest import Desk
from tests.conftest import Member, Pools, Servers, World
from tests.faults.forking_worker import STEPS, calls_of
from tests.sandbox.staging import LoopbackServer

KILLS, AT_ONCE, WORKERS = 200, 8, 2
OPEN: LiteralString = "SELECT id FROM agents.runs WHERE company_id = %s AND finished_at IS NULL"
WAITING: LiteralString = """
    SELECT id FROM agents.approvals WHERE company_id = %s AND decision IS NULL AND expires_at > now() ORDER BY asked_at
"""
GAPS: LiteralString = """
    SELECT run_id FROM agents.run_events WHERE company_id = %s GROUP BY run_id HAVING max(sequence) <> count(*)
"""
UNANSWERED: LiteralString = """
    SELECT body ->> 'call_id' AS call, run_id FROM agents.run_events
    WHERE company_id = %s AND kind IN ('tool_asked', 'tool_result') GROUP BY 1, 2
    HAVING array_agg(kind ORDER BY kind) <> '{tool_asked,tool_result}'
"""
UNUSED: LiteralString = """
    SELECT tool, decision FROM agents.approvals WHERE company_id = %s AND (decision <> 'once' OR consumed_at IS NULL)
"""


@contextmanager
def forking_worker(servers: Servers, port: int) -> Generator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.faults.forking_worker", str(servers.settings.var), str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.proves("5.5.1", "5.0.1")
async def test_two_hundred_killed_workers_lose_and_double_nothing(
    pools: Pools, servers: Servers, world: World, tmp_path: Path, web_page: LoopbackServer
) -> None:
    member = world.member(world.company())
    desk = Desk(pools, servers, FileStore(tmp_path / "workspaces"), ())
    chance = random.Random(7)  # noqa: S311 - it spreads deaths, and protects nothing
    tags: list[str] = []
    with ExitStack() as stack:
        workers = [stack.enter_context(forking_worker(servers, web_page.port)) for _ in range(WORKERS)]
        deciding = asyncio.create_task(_decide(desk, member))
        for number in range(KILLS):
            while len(desk.rows(OPEN, member.company_id)) < AT_ONCE:
                tags.append(f"tag-{secrets.token_hex(4)}")
                await desk.write(member, f"Work on {tags[-1]}, please.")
            await asyncio.sleep(chance.uniform(0.1, 1.2))
            await _kill(workers[number % WORKERS])
            # As after the seconds for which a claim outlives its worker; one that lives loses its own, too.
            desk.rows(
                "UPDATE agents.runs SET claim_expires_at = now() - interval '2 seconds' WHERE company_id = %s"
                " AND status = 'running'",
                member.company_id,
            )
        async with asyncio.timeout(300):
            while desk.rows(OPEN, member.company_id):  # noqa: ASYNC110 - it looks at a database
                await asyncio.sleep(0.2)
        deciding.cancel()
    _look(desk, member, tags, web_page)


def _look(desk: Desk, member: Member, tags: list[str], web_page: LoopbackServer) -> None:
    company = member.company_id
    ends = desk.rows("SELECT status, count(*) AS runs FROM agents.runs WHERE company_id = %s GROUP BY 1", company)
    assert ends == [{"status": "finished", "runs": len(tags)}]
    assert desk.rows(GAPS, company) == []
    assert desk.rows(UNANSWERED, company) == []
    assert desk.rows(UNUSED, company) == []
    titles = Counter(row["title"] for row in desk.records(member))
    assert titles == Counter(f"{tag} step {step}" for tag in tags for step in range(STEPS))
    asked = Counter(request.split(b" ")[1].decode() for request in web_page.requests)
    assert max(asked.values()) == 1
    expected = {
        call[1]["url"].partition(str(web_page.port))[2]
        for tag in tags
        for step in range(STEPS)
        for call in calls_of(tag, step, web_page.port)
        if call[0] == "web_fetch"
    }
    assert set(asked) <= expected
    told = desk.rows(
        "SELECT count(*) AS ok FROM agents.run_events WHERE company_id = %s AND kind = 'tool_result'"
        " AND body ->> 'tool' = 'web_fetch' AND (body ->> 'outcome') = 'success'",
        company,
    )[0]["ok"]
    # What was asked for and whose answer nobody heard is told as interrupted, and not asked for again.
    assert len(expected) // 4 < told <= len(asked)


async def _decide(desk: Desk, member: Member) -> None:
    """Say yes to whatever is asked, as somebody does who sits at the page."""
    while True:
        for row in desk.rows(WAITING, member.company_id):
            await _approve(desk, member, row["id"])
        await asyncio.sleep(0.05)


async def _approve(desk: Desk, member: Member, approval: UUID) -> None:
    try:
        async with desk.scope(member) as scope:
            await approvals.decide_approval(scope, approval, "once")
    except ApprovalNotValid:
        return


async def _kill(worker: subprocess.Popen[str]) -> None:
    """Kill the process that works; the one that forks brings another."""
    assert worker.stdout is not None
    child = int(await asyncio.to_thread(worker.stdout.readline))
    os.kill(child, signal.SIGKILL)
