"""The web process, the database and the rate-limit store are killed at random moments of long runs, under `up`.

People write, follow and approve over HTTP all the while, as the page does. No event is lost or told twice, no approval
that was taken is lost, no effect is doubled, and everything comes back by itself.
"""

import asyncio
import http.client
import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, LiteralString, TypeVar
from uuid import UUID

import psycopg
import pytest

from operalta.app import build
from operalta.operations.servers import EmbeddedPostgres, EmbeddedValkey
from operalta.settings import Settings
from tests.browser.deployment import free_port
from tests.conftest import Servers, World
from tests.faults.forking_worker import STEPS, calls_of
from tests.faults.test_killed_runs import GAPS, UNANSWERED, UNUSED
from tests.sandbox.staging import LoopbackServer
from tests.web.site import LONGEST_WAIT_SECONDS, Answer, Client, Site

SEEDS, KILLS = range(5), 40
MEMBERS, AT_ONCE = 4, 2
START_SECONDS, BACK_SECONDS, END_SECONDS = 300, 180, 900
WEB_LIVES_SECONDS = 31
"""So long the web process has to have lived for its supervisor to start it again at once."""

CUT_OFF = (OSError, http.client.HTTPException)
FOR_NOW = {429, 503}
Given = TypeVar("Given")


@dataclass
class Watched:
    """A run as its page sees it: the numbers of its events in the order in which they came, and how it was told."""

    id: str
    tag: str
    heard: list[int] = field(default_factory=list[int])
    over: bool = False
    streams: int = 0


@dataclass
class House:
    """What `up` runs, the site as the owner arranges it, and what its members have seen of it."""

    settings: Settings
    site: Site
    process: subprocess.Popen[bytes]
    statuses: Counter[int] = field(default_factory=Counter[int])
    runs: list[Watched] = field(default_factory=list[Watched])
    taken: set[str] = field(default_factory=set[str])

    @property
    def var(self) -> Path:
        return self.settings.var

    def rows(self, query: LiteralString, *values: object) -> list[dict[str, Any]]:
        """Look at rows as the owner, who waits until the database is there."""
        return self.patiently(lambda owner: owner.execute(query, values).fetchall())

    def patiently(self, do: Callable[[psycopg.Connection[dict[str, Any]]], Given]) -> Given:
        deadline = time.monotonic() + BACK_SECONDS
        while True:
            try:
                with self.site.servers.as_owner() as owner:
                    return do(owner)
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, "the database did not come back"
                time.sleep(0.1)

    def pid(self, part: str) -> int:
        return int((self.var / "run" / f"{part}.pid").read_text())

    def victims(self) -> dict[str, list[int]]:
        """The processes that may be killed, by what they are."""
        postmaster = int((self.var / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        return {
            "web": [self.pid("serve")],
            "postmaster": [postmaster],
            "backend": [each for each in _children(postmaster) if b"operalta_" in _command(each)],
            "store": [each for each in _children(self.process.pid) if b"valkey" in _command(each)],
        }

    def kill(self, part: str, chance: random.Random) -> bool:
        """Kill one process of a part. False where there is none at this moment."""
        with suppress(OSError, IndexError, ValueError):
            os.kill(chance.choice(self.victims()[part]), signal.SIGKILL)
            return True
        return False

    def is_ready(self) -> bool:
        try:
            return self.site.visitor().get("/readyz").status == 200
        except CUT_OFF:
            return False

    def ask(self, client: Client, method: str, path: str, content: object = None) -> Answer | None:
        """Call the API once; None where the answer never came, or was that it is not possible for now."""
        try:
            answer = client.api(method, path, content)
        except CUT_OFF:
            return None
        self.statuses[answer.status] += 1
        return None if answer.status in FOR_NOW else answer


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@contextmanager
def _house(page_port: int) -> Generator[House]:
    var = Path(tempfile.mkdtemp(prefix="opk-", dir="/tmp"))
    settings = Settings(var_dir=var, port=free_port())
    environment = os.environ | {"OPERALTA_VAR_DIR": str(var), "OPERALTA_PORT": str(settings.port)}
    command = [sys.executable, "-m", "tests.faults.long_working", str(page_port)]
    log = var / "up.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + START_SECONDS
        while "\nready\n" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        servers = Servers(settings, EmbeddedPostgres(settings), EmbeddedValkey(settings))
        yield House(settings, Site(build(settings), servers, settings.port), process)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        shutil.rmtree(var, ignore_errors=True)


@dataclass
class Resident:
    """A member with a conversation of their own, in which they write whenever fewer than two runs are at work."""

    house: House
    client: Client
    slug: str
    threads: ThreadPoolExecutor
    more: asyncio.Event
    following: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])

    @property
    def root(self) -> str:
        return f"/companies/{self.slug}"

    async def _off(self, work: Callable[..., Given], *arguments: object) -> Given:
        return await asyncio.get_running_loop().run_in_executor(self.threads, work, *arguments)

    async def _patiently(self, ask: Callable[..., Answer | None], *arguments: object) -> Answer:
        """Ask until there is an answer."""
        while True:
            answer = await self._off(ask, *arguments)
            if answer is not None:
                return answer
            await asyncio.sleep(0.2)

    async def _ask(self, method: str, path: str, content: object = None) -> Answer | None:
        return await self._off(self.house.ask, self.client, method, self.root + path, content)

    async def live(self) -> None:
        """Write until nothing more is wanted, and follow every run to its end."""
        deciding = asyncio.create_task(self._decide())
        while not self.more.is_set():
            if sum(not task.done() for task in self.following) < AT_ONCE:
                run = await self._write()
                self.following.append(asyncio.create_task(self._follow(run)))
            await asyncio.sleep(0.05)
        await asyncio.gather(*self.following)
        deciding.cancel()

    async def _write(self) -> Watched:
        """Write a message until it is taken; the key keeps what was taken, and never told, from being taken twice."""
        tag = f"tag-{secrets.token_hex(4)}"
        here = await self._patiently(self.house.ask, self.client, "POST", f"{self.root}/conversations", {"title": tag})
        path = f"{self.root}/conversations/{here.json['id']}/messages"
        answer = await self._patiently(self._post, path, f"Work on {tag}, please.", tag)
        assert answer.status == 202, answer.text
        watched = Watched(answer.json["run"]["id"], tag)
        self.house.runs.append(watched)
        return watched

    def _post(self, path: str, text: str, key: str) -> Answer | None:
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        body = f'{{"text": "{text}"}}'.encode()
        try:
            answer = self.client.request("POST", f"/api/v1{path}", body, headers)
        except CUT_OFF:
            return None
        self.house.statuses[answer.status] += 1
        return None if answer.status in FOR_NOW else answer

    async def _follow(self, run: Watched) -> None:
        while not run.over:
            with suppress(*CUT_OFF):
                await self._off(self._read, run)
            await asyncio.sleep(0.1)

    def _read(self, run: Watched) -> None:
        """Read a run's stream from where the last one was cut off, until it is over or is cut off as well."""
        connection = http.client.HTTPConnection("127.0.0.1", self.client.port, timeout=LONGEST_WAIT_SECONDS)
        cookies = "; ".join(f"{name}={value}" for name, value in self.client.jar.items())
        headers = {"Host": f"localhost:{self.client.port}", "Cookie": cookies}
        if run.heard:
            headers["Last-Event-ID"] = str(run.heard[-1])
        try:
            connection.request("GET", f"/api/v1{self.root}/runs/{run.id}/events", headers=headers)
            response = connection.getresponse()
            self.house.statuses[response.status] += 1
            if response.status in FOR_NOW:
                return
            assert response.status == 200, response.read()
            run.streams += 1
            event: dict[str, str] = {}
            while line := response.readline().decode():
                name, _, value = line.strip().partition(": ")
                if name:
                    event[name] = value
                    continue
                if "id" in event:
                    run.heard.append(int(event["id"]))
                run.over = run.over or event.get("event") in {"run_finished", "run_failed", "run_stopped"}
                event = {}
        finally:
            connection.close()

    async def _decide(self) -> None:
        """Say yes to whatever is asked, and keep what the server has acknowledged."""
        while True:
            waiting = await self._ask("GET", "/approvals")
            for approval in waiting.json["items"] if waiting is not None else ():
                answer = await self._ask("POST", f"/approvals/{approval['id']}/decision", {"decision": "once"})
                if answer is not None and answer.status == 200:
                    self.house.taken.add(approval["id"])
            await asyncio.sleep(0.3)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.proves("5.0.1", "5.5.1", "3.5.1")
@pytest.mark.parametrize("seed", SEEDS)
async def test_forty_killed_parts_lose_and_double_nothing(web_page: LoopbackServer, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - it spreads deaths, and protects nothing
    with _house(web_page.port) as house, ThreadPoolExecutor(64) as threads:
        residents, company = _moved_in(house, threads)
        worker = house.pid("worker")
        living = [asyncio.create_task(resident.live()) for resident in residents]
        killed = await _kill_forty(house, living, chance)
        for resident in residents:
            resident.more.set()
        async with asyncio.timeout(END_SECONDS):
            await asyncio.gather(*living)
        assert house.pid("worker") == worker, "the worker was started again"
        _look(house, company, web_page)
        _tell(house, company, seed, killed)
        await asyncio.to_thread(_verify_the_log, house)


def _verify_the_log(house: House) -> None:
    command = [sys.executable, "-m", "operalta", "audit", "verify"]
    environment = os.environ | {"OPERALTA_VAR_DIR": str(house.var)}
    said = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr


def _moved_in(house: House, threads: ThreadPoolExecutor) -> tuple[list[Resident], UUID]:
    def arrange(owner: psycopg.Connection[dict[str, Any]]) -> tuple[list[Resident], UUID]:
        world = World(owner)
        company, slug = world.company()
        clients = [house.site.member(world.member((company, slug))) for _ in range(MEMBERS)]
        return [Resident(house, client, slug, threads, asyncio.Event()) for client in clients], company

    return house.patiently(arrange)


async def _kill_forty(
    house: House, living: list[asyncio.Task[None]], chance: random.Random
) -> list[tuple[str, float, float]]:
    """Kill parts at random moments, now and then two at once; return which, when, and how long it took to be ready."""
    killed: list[tuple[str, float, float]] = []
    web_since = time.monotonic()
    while len(killed) < KILLS:
        await asyncio.sleep(chance.uniform(0.2, 2.0))
        for task in living:
            assert not task.done() or task.exception() is None, task.exception()
        parts = chance.sample(["web", "postmaster", "backend", "store"], chance.choice([1, 1, 2]))
        now, gone = time.time(), time.monotonic()
        dead: list[str] = []
        for part in parts:
            if part == "web" and gone - web_since < WEB_LIVES_SECONDS:
                continue
            if house.kill(part, chance):
                dead.append(part)
        if not dead:
            continue
        await asyncio.sleep(0.1)
        while not await asyncio.to_thread(house.is_ready):
            assert time.monotonic() < gone + BACK_SECONDS, (dead, (house.var / "up.log").read_text()[-2000:])
            await asyncio.sleep(0.05)
        if "web" in dead:
            web_since = time.monotonic()
        killed += [(part, now, time.monotonic() - gone) for part in dead]
    return killed


def _look(house: House, company: UUID, web_page: LoopbackServer) -> None:
    """Compare what people were told, what the database holds and what was done outside."""
    tags = [run.tag for run in house.runs]
    ends = house.rows("SELECT status, count(*) AS runs FROM agents.runs WHERE company_id = %s GROUP BY 1", company)
    assert ends == [{"status": "finished", "runs": len(tags)}]
    for query in (GAPS, UNANSWERED, UNUSED):
        assert house.rows(query, company) == []
    counts = {
        str(row["run_id"]): row["events"]
        for row in house.rows(
            "SELECT run_id, count(*) AS events FROM agents.run_events WHERE company_id = %s GROUP BY 1", company
        )
    }
    assert {run.id: run.heard for run in house.runs} == {run: [*range(1, n + 1)] for run, n in counts.items()}
    used = house.rows("SELECT id FROM agents.approvals WHERE company_id = %s AND decision = 'once'", company)
    assert house.taken <= {str(row["id"]) for row in used}
    records = house.rows("SELECT title FROM workspace.records WHERE company_id = %s", company)
    assert Counter(row["title"] for row in records) == Counter(f"{tag} step {n}" for tag in tags for n in range(STEPS))
    asked = Counter(request.split(b" ")[1].decode() for request in web_page.requests)
    assert max(asked.values()) == 1
    assert set(asked) <= {
        call[1]["url"].partition(str(web_page.port))[2]
        for tag in tags
        for step in range(STEPS)
        for call in calls_of(tag, step, web_page.port)
        if call[0] == "web_fetch"
    }
    assert set(house.statuses) <= {200, 201, 202, 409, *FOR_NOW}


def _tell(house: House, company: UUID, seed: int, killed: list[tuple[str, float, float]]) -> None:
    """Print what was survived, and how soon things went on."""
    events = [
        row["at"].timestamp()
        for row in house.rows("SELECT at FROM agents.run_events WHERE company_id = %s ORDER BY at", company)
    ]
    database = [when for part, when, _ in killed if part in {"postmaster", "backend"}]
    on = [next(at for at in events if at > when) - when for when in database]
    back = [seconds for _, _, seconds in killed]
    parts = ", ".join(f"{part} {n}" for part, n in sorted(Counter(part for part, _, _ in killed).items()))
    answers = ", ".join(f"{status}: {n}" for status, n in sorted(house.statuses.items()))
    print(  # noqa: T201 - shown with -s
        f"\nseed {seed}: killed {parts}; {len(house.runs)} runs, {len(events)} events heard in"
        f" {sum(run.streams for run in house.runs)} streams, {len(house.taken)} approvals acknowledged;"
        f" answers {answers}; ready after {median(back):.1f} s (longest {max(back):.1f}), the next step of some run"
        f" {median(on):.1f} s after the database's death (longest {max(on):.1f})"
    )
