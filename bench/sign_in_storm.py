"""Signing in while many do: how near it comes to what bcrypt alone allows, and what other requests feel of it.

    ./operalta bench sign_in_storm            (or: .venv/bin/python -m bench.sign_in_storm)

Starts its own PostgreSQL, Valkey and web process in a temporary folder; prints figures of paired rounds and never
judges.
"""

import asyncio
import http.client
import json
import multiprocessing
import os
import shutil
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count, cycle
from pathlib import Path

import bcrypt
import psycopg

from operalta.identity.passwords import COST, PasswordHash, PasswordHasher
from operalta.operations.deployment import migrate_database, prepare_folder
from operalta.operations.secrets import make_missing_secrets
from operalta.operations.servers import EmbeddedPostgres, EmbeddedValkey
from operalta.operations.supervisor import Part
from operalta.settings import DatabaseRole, Settings

ROUNDS = 5
SIGN_INS = 96
IN_FLIGHT = 8
ADDRESSES = 16
"""The limits on signing in count 20 of an account and 60 of an address in a quarter of an hour: neither binds here."""

READERS = 4
READS_WHILE_IDLE = 120
READ_EVERY_SECONDS = 0.1
HASHES_OF_A_CORE = 24
PASSWORD = "four wooden ladders lean"  # noqa: S105 - of people who live for a minute
START_SECONDS = 60


def hashes_per_second(hashes: int) -> float:
    """Return how many hashes of the product's cost this process makes in a second."""
    salt = bcrypt.gensalt(COST)
    started = time.perf_counter()
    for _ in range(hashes):
        bcrypt.hashpw(b"x" * 44, salt)
    return hashes / (time.perf_counter() - started)


class Visitor:
    """Calls the web process, from any loopback address."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._turn = count()

    def connect(self, address: str = "127.0.0.1") -> http.client.HTTPConnection:
        """Return a connection from this address, not yet open."""
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=60, source_address=(address, 0))

    def sign_in(self) -> str:
        """Sign the next person in, from the next address, and return the session's cookies."""
        turn = next(self._turn)
        body = json.dumps({"email": email(turn % SIGN_INS), "password": PASSWORD})
        connection = self.connect(f"127.0.1.{turn % ADDRESSES + 1}")
        try:
            connection.request("POST", "/api/v1/auth/sign-in", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
            assert answer.status == http.HTTPStatus.OK, said
        finally:
            connection.close()
        return "; ".join(value.partition(";")[0] for value in answer.msg.get_all("set-cookie", []))

    def read_until(self, over: threading.Event, sessions: list[str], most: int | None = None) -> list[float]:
        """Read one's own account at a steady pace; return the milliseconds that each read took."""
        taken: list[float] = []
        connection = self.connect()
        for cookies in cycle(sessions):
            if over.is_set() or len(taken) == most:
                break
            started = time.perf_counter()
            connection.request("GET", "/api/v1/me", headers={"Cookie": cookies})
            answer = connection.getresponse()
            said = answer.read()
            taken.append((time.perf_counter() - started) * 1000)
            assert answer.status == http.HTTPStatus.OK, said
            time.sleep(max(0.0, READ_EVERY_SECONDS - taken[-1] / 1000))
        connection.close()
        return taken


def email(number: int) -> str:
    """Return the address of a person by number."""
    return f"b{number}@example.org"


def fill(owner: psycopg.Connection[tuple[object, ...]], stored: PasswordHash) -> None:
    """Make people who all have one password."""
    for number in range(SIGN_INS):
        owner.execute(
            "WITH made AS (INSERT INTO identity.people (email, email_key, name, verified_at)"
            " VALUES (%(email)s, %(email)s, 'B', now()) RETURNING id)"
            " INSERT INTO identity.passwords (person_id, scheme, pepper_version, hash)"
            " SELECT id, %(scheme)s, %(version)s, %(hash)s FROM made",
            {"email": email(number), "scheme": stored.scheme, "version": stored.pepper_version, "hash": stored.value},
        )
    owner.execute("ANALYZE")


async def hashed(settings: Settings) -> PasswordHash:
    """Return the password as the deployment stores it."""
    hasher = PasswordHasher({1: settings.secret("pepper-1")}, workers=1)
    try:
        return await hasher.hash(PASSWORD)
    finally:
        await hasher.close()


@contextmanager
def web_process() -> Generator[Visitor]:
    """Run a deployment, without its worker: nothing else is to want the cores."""
    var = Path(tempfile.mkdtemp(prefix="op-bench-", dir="/tmp"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    settings = Settings(var_dir=var, port=port)
    prepare_folder(settings)
    make_missing_secrets(settings)
    postgres, valkey, web = EmbeddedPostgres(settings), EmbeddedValkey(settings), Part(settings, "serve")
    try:
        postgres.start()
        postgres.make_database()
        valkey.start()
        migrate_database(settings)
        with psycopg.connect(settings.database_dsn(DatabaseRole.OWNER)) as owner:
            fill(owner, asyncio.run(hashed(settings)))
        web.start()
        wait_for(port)
        yield Visitor(port)
    finally:
        web.stop()
        valkey.stop()
        postgres.stop()
        shutil.rmtree(var, ignore_errors=True)


def wait_for(port: int) -> None:
    """Return when something listens on the port."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("the web process does not answer")


def storm(visitor: Visitor, sessions: list[str]) -> tuple[float, list[float]]:
    """Sign everybody in, some at a time; return how many that is in a second, and what the reads beside it took."""
    over = threading.Event()
    with ThreadPoolExecutor(IN_FLIGHT + 1) as threads:
        reading = threads.submit(visitor.read_until, over, sessions)
        started = time.perf_counter()
        signing_in = [threads.submit(visitor.sign_in) for _ in range(SIGN_INS)]
        try:
            for each in signing_in:
                each.result()
            rate = SIGN_INS / (time.perf_counter() - started)
        finally:
            over.set()
        return rate, reading.result()


def percentile(values: list[float], share: float) -> float:
    """Return the value that this share of `values` does not exceed."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def measure(visitor: Visitor) -> None:
    """Measure in rounds, each with all parts, and print."""
    cores = len(os.sched_getaffinity(0))
    ceilings: list[float] = []
    rates: list[float] = []
    idle: list[float] = []
    beside: list[float] = []
    sessions = [visitor.sign_in() for _ in range(READERS)]
    with ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(hashes_per_second, [1] * cores))
        for _ in range(ROUNDS):
            ceilings.append(sum(pool.map(hashes_per_second, [HASHES_OF_A_CORE] * cores)))
            idle += visitor.read_until(threading.Event(), sessions, READS_WHILE_IDLE)
            rate, reads = storm(visitor, sessions)
            rates.append(rate)
            beside += reads
    ratio = statistics.median(rate / ceiling for rate, ceiling in zip(rates, ceilings, strict=True))
    print(f"bcrypt alone, cost {COST}, {cores} processes: {statistics.median(ceilings):6.2f} hashes a second")
    print(f"sign-ins, {IN_FLIGHT} at a time:              {statistics.median(rates):6.2f} a second   ratio {ratio:.2f}")
    print(f"\n{'a read of GET /api/v1/me, ms':34} {'idle':>8} {'beside':>8} {'ratio':>7}")
    for name, share in (("median", 0.5), ("99 of 100", 0.99)):
        before, during = percentile(idle, share), percentile(beside, share)
        print(f"{name:34} {before:8.2f} {during:8.2f} {during / before:7.2f}")
    print(f"{'reads':34} {len(idle):8} {len(beside):8}")


def main() -> None:
    """Start a deployment, measure it, take it away."""
    with web_process() as visitor:
        measure(visitor)


if __name__ == "__main__":
    from operalta.operations.privileges import leave_root

    leave_root(Path(__file__).resolve().parent.parent, (), module="bench.sign_in_storm")
    main()
