"""Agents' runs over HTTP: how soon the first event is there, what open pages cost, and how many runs two workers do.

    ./operalta bench agent_runs            (or: .venv/bin/python -m bench.agent_runs)

Starts its own PostgreSQL, Valkey, web process and workers in a temporary folder; prints figures and never judges.
"""

import asyncio
import http.client
import json
import os
import secrets
import shutil
import statistics
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from bench.sign_in_storm import wait_for
from operalta.app import build
from operalta.identity.tokens import AccessTokens, digest, new_secret
from operalta.kernel.ids import PersonId, SessionId, new_id
from operalta.operations.deployment import migrate_database, prepare_folder
from operalta.operations.secrets import make_missing_secrets
from operalta.operations.servers import EmbeddedPostgres, EmbeddedValkey
from operalta.operations.supervisor import Part
from operalta.settings import DatabaseRole, Settings
from operalta.web import cookies
from operalta.web.services import Services
from operalta.web.sse import QUIET_AFTER_SECONDS

PEOPLE, STREAMS_OF_ONE = 20, 5
POSTS = 40
LOOK_SECONDS = 10.0
EVENTS_A_SECOND = 10
BURST = 100
RUNS = 80
PATIENCE = 20
PORT = 18_473
INSERT = (
    "INSERT INTO agents.run_events (company_id, run_id, sequence, private_to, kind, body)"
    ' SELECT company_id, id, %(first)s + n, NULL, \'tool_output\', \'{"call_id": "c", "text": "a line"}\''
    " FROM agents.runs, generate_series(0, %(many)s - 1) AS n WHERE id = %(run)s"
)


@dataclass(frozen=True)
class Caller:
    """Somebody with a session, on one connection that stays open."""

    connection: http.client.HTTPConnection
    cookie: str
    root: str

    def call(self, method: str, path: str, content: object = None) -> Any:  # noqa: ANN401 - any JSON
        """Call the API for the company and return what it answers."""
        body = None if content is None else json.dumps(content)
        headers = {"Cookie": self.cookie, "Content-Type": "application/json"}
        for _ in range(PATIENCE):
            try:
                self.connection.request(method, self.root + path, body, headers)
                answer = self.connection.getresponse()
                said = answer.read()
            except (OSError, http.client.HTTPException):
                self.connection.close()  # it was not used for long, and is opened again
                continue
            if answer.status == http.HTTPStatus.SERVICE_UNAVAILABLE:
                continue  # a busy machine can be too slow for the limiter, which refuses then
            assert answer.status < http.HTTPStatus.BAD_REQUEST, said
            return json.loads(said)
        raise TimeoutError("nothing was taken")

    def converse(self) -> str:
        """Start an open conversation and return its path for messages."""
        made = self.call("POST", "/conversations", {"title": "Bench", "private": False})
        return f"/conversations/{made['id']}/messages"

    def post(self, path: str, text: str) -> str:
        """Write a message and return the id of its run."""
        return str(self.call("POST", path, {"text": text})["run"]["id"])


def fill(owner: psycopg.Connection[tuple[object, ...]], tokens: AccessTokens) -> list[Caller]:
    """Make a company of people with sessions, and an agent."""
    slug = f"bench-{secrets.token_hex(4)}"
    company: object = None
    made: list[Caller] = []
    for number in range(PEOPLE):
        email = f"{slug}-{number}@example.org"
        row = owner.execute(
            "INSERT INTO identity.people (email, email_key, name, verified_at) VALUES (%s, %s, 'B', now())"
            " RETURNING id",
            (email, email),
        ).fetchone()
        assert row is not None
        assert isinstance(row[0], UUID)
        if company is None:
            founded = owner.execute(
                "INSERT INTO tenancy.companies (slug, name, kind, founded_by) VALUES (%s, 'Bench', 'startup', %s)"
                " RETURNING id",
                (slug, row[0]),
            ).fetchone()
            assert founded is not None
            company = founded[0]
        owner.execute(
            "INSERT INTO tenancy.memberships (company_id, person_id, role) VALUES (%s, %s, 'founder')",
            (company, row[0]),
        )
        session, secret = SessionId(new_id()), new_secret()
        owner.execute(
            "INSERT INTO identity.sessions (id, person_id, refresh_digest, access_digest, device_digest, user_agent,"
            " address, idle_expires_at, absolute_expires_at) VALUES (%s, %s, %s, %s, sha256('d'), 'bench', '127.0.0.1',"
            " now() + interval '1 day', now() + interval '1 day')",
            (session, row[0], secrets.token_bytes(32), digest(secret)),
        )
        token = tokens.issue_access(person=PersonId(row[0]), session=session, session_secret=secret)
        connection = http.client.HTTPConnection("localhost", PORT, timeout=120)
        made.append(Caller(connection, f"{cookies.ACCESS}={token}", f"/api/v1/companies/{slug}"))
    owner.execute(
        "INSERT INTO agents.agents (company_id, slug, name, purpose, instructions, tools)"
        " VALUES (%s, 'bench', 'Bench', 'Answers.', 'Answer.', '{\"memory_record\": \"allow\"}')",
        (company,),
    )
    owner.execute("ANALYZE")
    return made


@dataclass
class Streams:
    """Open streams of one run: how many events all of them have brought."""

    heard: int = 0

    async def follow(self, caller: Caller, run: str) -> None:
        """Read one stream to its end."""
        reader, writer = await asyncio.open_connection("localhost", PORT)
        head = (f"GET {caller.root}/runs/{run}/events HTTP/1.1", f"Host: localhost:{PORT}", f"Cookie: {caller.cookie}")
        writer.write("\r\n".join((*head, "\r\n")).encode())
        try:
            while piece := await reader.readline():
                self.heard += piece.startswith(b"id: ")
        finally:
            writer.close()


def spent(pid: int) -> float:
    """Return the seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def transactions(owner: psycopg.Connection[tuple[object, ...]]) -> int:
    """Return how many transactions the database has committed."""
    row = owner.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()").fetchone()
    assert row is not None
    assert isinstance(row[0], int)
    return row[0]


async def first_event(caller: Caller) -> tuple[float, float, float]:
    """Write a message; return the milliseconds of an empty call, until it is taken, and until its first event."""
    path = caller.converse()
    started = time.perf_counter()
    caller.call("GET", "/conversations?limit=1")
    called = time.perf_counter()
    run = caller.post(path, "/help")
    posted = time.perf_counter()
    streams = Streams()
    following = asyncio.create_task(streams.follow(caller, run))
    while not streams.heard:  # noqa: ASYNC110 - what it waits for has no event
        await asyncio.sleep(0.001)
    heard = time.perf_counter()
    following.cancel()
    return (called - started) * 1000, (posted - called) * 1000, (heard - called) * 1000


async def open_pages(callers: list[Caller], owner: psycopg.Connection[tuple[object, ...]], web: int) -> None:
    """Print what a hundred open streams of one run cost, silent, with steps coming, and with many at once."""
    run = callers[0].post(callers[0].converse(), "/help")
    streams, count = Streams(), PEOPLE * STREAMS_OF_ONE
    following = [asyncio.create_task(streams.follow(caller, run)) for caller in callers for _ in range(STREAMS_OF_ONE)]
    await asyncio.sleep(3)
    await asyncio.sleep(QUIET_AFTER_SECONDS)
    before, looks, started = spent(web), transactions(owner), time.perf_counter()
    await asyncio.sleep(LOOK_SECONDS)
    taken = time.perf_counter() - started
    silent, looks = (spent(web) - before) / taken, (transactions(owner) - looks) / taken
    print(f"{count} open streams, nothing happens: {looks:4.0f} looks a second, web process {silent:5.0%} of a core")

    before, heard, started = spent(web), streams.heard, time.perf_counter()
    for number in range(int(LOOK_SECONDS * EVENTS_A_SECOND)):
        owner.execute(INSERT, {"run": run, "first": number + 1, "many": 1})
        await asyncio.sleep(max(0.0, started + (number + 1) / EVENTS_A_SECOND - time.perf_counter()))
    taken = time.perf_counter() - started
    busy, rate = (spent(web) - before) / taken, (streams.heard - heard) / taken
    print(f"{EVENTS_A_SECOND} steps a second: {rate:6.0f} events delivered a second, web process {busy:5.0%} of a core")

    await asyncio.sleep(2)
    heard, started = streams.heard, time.perf_counter()
    owner.execute(INSERT, {"run": run, "first": int(LOOK_SECONDS * EVENTS_A_SECOND) + 1, "many": BURST})
    while streams.heard < heard + BURST * count:  # noqa: ASYNC110 - what it waits for has no event
        await asyncio.sleep(0.005)
    taken = time.perf_counter() - started
    print(
        f"{BURST} steps at once: {BURST * count / taken:6.0f} events delivered a second, the last after {taken:.2f} s"
    )
    for task in following:
        task.cancel()


def runs_a_minute(callers: list[Caller], owner: psycopg.Connection[tuple[object, ...]]) -> float:
    """Write messages of which each makes a run with a record; return how many runs end in a minute."""
    paths = [(caller, caller.converse()) for caller in callers for _ in range(RUNS // PEOPLE)]
    started = time.perf_counter()
    runs = [caller.post(path, "/decide Yearly billing | Fewer invoices.") for caller, path in paths]
    query = "SELECT count(*) FROM agents.runs WHERE id = ANY(%s::uuid[]) AND status = 'finished'"
    while owner.execute(query, (runs,)).fetchone() != (RUNS,):
        time.sleep(0.05)
    return RUNS / (time.perf_counter() - started) * 60


@contextmanager
def deployment() -> Generator[tuple[Settings, Part]]:
    """Run a deployment without workers."""
    var = Path(tempfile.mkdtemp(prefix="op-bench-", dir="/tmp"))
    settings = Settings(var_dir=var, port=PORT)
    prepare_folder(settings)
    make_missing_secrets(settings)
    postgres, valkey, web = EmbeddedPostgres(settings), EmbeddedValkey(settings), Part(settings, "serve")
    try:
        postgres.start()
        postgres.make_database()
        valkey.start()
        migrate_database(settings)
        web.start()
        wait_for(PORT)
        yield settings, web
    finally:
        web.stop()
        valkey.stop()
        postgres.stop()
        shutil.rmtree(var, ignore_errors=True)


def main() -> None:
    """Start a deployment, measure it, take it away."""
    with deployment() as (settings, web):
        services: Services = build(settings).state.services
        workers = [Part(settings, "worker") for _ in range(2)]
        with psycopg.connect(settings.database_dsn(DatabaseRole.OWNER), autocommit=True) as owner:
            callers = fill(owner, services.tokens)
            assert web.process is not None
            asyncio.run(open_pages(callers, owner, web.process.pid))
            try:
                rates: list[float] = []
                for worker in workers:
                    worker.start()
                    callers = fill(owner, services.tokens)
                    callers[0].post(callers[0].converse(), "/help")
                    runs_a_minute(callers, owner)
                    callers = fill(owner, services.tokens)
                    rates.append(runs_a_minute(callers, owner))
                taken = [asyncio.run(first_event(callers[each % PEOPLE])) for each in range(POSTS)]
            finally:
                for worker in workers:
                    worker.stop()
    call, post, event = (statistics.median(times) for times in zip(*taken, strict=True))
    print(f"an API read {call:.1f} ms, a message taken {post:.1f} ms (ratio {post / call:.2f}),")
    print(f"its first event on a stream {event:.1f} ms after it was sent (ratio to its being taken {event / post:.2f})")
    print(f"runs a minute: one worker {rates[0]:.0f}, two {rates[1]:.0f} (ratio {rates[1] / rates[0]:.2f})")


if __name__ == "__main__":
    from operalta.operations.privileges import leave_root

    leave_root(Path(__file__).resolve().parent.parent, (), module="bench.agent_runs")
    main()
