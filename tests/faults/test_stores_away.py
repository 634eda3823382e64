"""The database or the rate-limit store is away: refused with 503 and a time to come back, never let through, no fault.

Nothing that needs no store stops working, and everything works again, without a restart, once the store is back.
"""

import signal
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import psycopg
import pytest

from operalta.operations.servers import EmbeddedPostgres, EmbeddedValkey
from operalta.settings import DatabaseRole, Settings
from tests.conftest import Servers, World
from tests.web.site import Answer, Client, Site

LONGEST_WAIT_SECONDS = 60
CREDENTIALS = {"email": "nobody@people.example", "password": "not the password 1"}


@dataclass(frozen=True)
class Stand:
    """A founder with a session, and the company."""

    founder: Client
    slug: str

    @property
    def ledger(self) -> str:
        return f"/c/{self.slug}/memory"

    def read(self) -> Answer:
        return self.founder.api("GET", f"/companies/{self.slug}/memory")

    def write(self) -> Answer:
        return self.founder.api("POST", f"/companies/{self.slug}/memory", {"kind": "decision", "title": "Written"})


@pytest.fixture(scope="module")
def stand(breakable: Servers, site: Site) -> Stand:
    with breakable.as_owner() as owner:
        world = World(owner)
        company = world.company()
        return Stand(site.member(world.member(company)), company[1])


@contextmanager
def stopped(server: EmbeddedPostgres | EmbeddedValkey) -> Generator[None]:
    """Stop a server, and start it again in the end."""
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextmanager
def frozen(server: EmbeddedValkey) -> Generator[None]:
    """Leave a server its sockets and let it answer nothing."""
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.process.send_signal(signal.SIGCONT)


def end_connections(settings: Settings) -> int:
    """End every connection of the web role, as that role itself may; return how many there were."""
    with psycopg.connect(settings.database_dsn(DatabaseRole.WEB)) as connection:
        return len(
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = current_user AND pid <> pg_backend_pid()"
            ).fetchall()
        )


def wait_until_it_works(stand: Stand) -> None:
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while (stand.read().status, stand.write().status) != (200, 201):
        assert time.monotonic() < deadline, "the application did not come back by itself"
        time.sleep(0.1)


def assert_refused_for_now(answer: Answer, code: str) -> None:
    assert answer.status == 503, answer.text[:400]
    assert int(answer.header("retry-after")) > 0
    assert answer.header("content-security-policy")
    if answer.header("content-type").startswith("application/problem+json"):
        assert answer.json["code"] == code
    for trace in ("Traceback", "psycopg", "redis", "/run/"):
        assert trace not in answer.text


def assert_alive(site: Site) -> None:
    assert site.visitor().get("/healthz").status == 200
    assert site.visitor().get("/sign-in").status == 200
    assert site.visitor().get("/readyz").status == 503


def test_without_the_database_everything_that_needs_it_answers_503_and_comes_back(
    breakable: Servers, site: Site, stand: Stand
) -> None:
    wait_until_it_works(stand)
    with stopped(breakable.postgres):
        visitor = site.visitor()
        for answer in (
            stand.read(),
            stand.founder.get(stand.ledger),
            visitor.api("POST", "/auth/sign-in", CREDENTIALS),
        ):
            assert_refused_for_now(answer, "database_out_of_reach")
        assert_alive(site)
    wait_until_it_works(stand)
    # Each role's pool finds its way back by itself; that of signing in may be the last.
    answers = {site.visitor().api("POST", "/auth/sign-in", CREDENTIALS).status for _ in range(5)}
    assert answers <= {401, 503}
    assert site.visitor().api("POST", "/auth/sign-in", CREDENTIALS).status == 401
    assert site.visitor().get("/readyz").status == 200


def test_connections_that_end_under_a_request_are_no_fault(breakable: Servers, stand: Stand) -> None:
    wait_until_it_works(stand)
    seen: set[int] = set()
    for _ in range(5):
        assert end_connections(breakable.settings) > 0
        seen |= {stand.read().status, stand.founder.get(stand.ledger).status}
    assert seen <= {200, 503}
    wait_until_it_works(stand)


@pytest.mark.proves("3.5.1")
@pytest.mark.parametrize("away", [stopped, frozen])
def test_without_the_rate_limit_store_security_routes_refuse_and_reading_goes_on(
    breakable: Servers, site: Site, stand: Stand, away: Callable[[EmbeddedValkey], AbstractContextManager[None]]
) -> None:
    wait_until_it_works(stand)
    with away(breakable.valkey):
        visitor = site.visitor()
        for answer in (
            visitor.api("POST", "/auth/sign-in", CREDENTIALS),
            visitor.api("POST", "/auth/sign-up", {**CREDENTIALS, "name": "Nobody"}),
            visitor.api("POST", "/auth/password-reset", {"email": CREDENTIALS["email"]}),
            visitor.api("POST", "/auth/password-reset/confirm", {"token": "x" * 43, "password": "a long password 1"}),
            visitor.api("POST", "/auth/verify-email", {"token": "x" * 43}),
            visitor.api("POST", "/invitations/accept", {"token": "x" * 43}),
            visitor.post("/sign-in", **CREDENTIALS),
            visitor.post("/reset", email=CREDENTIALS["email"]),
            visitor.post("/operator", token="x" * 43),
            stand.write(),
            stand.founder.post(f"/c/{stand.slug}/chat", text="/help"),
        ):
            assert_refused_for_now(answer, "limiter_unavailable")
        assert stand.read().status == 200
        assert stand.founder.get(stand.ledger).status == 200
        assert_alive(site)
    wait_until_it_works(stand)
    assert site.visitor().get("/readyz").status == 200
