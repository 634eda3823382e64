"""Something breaks in each layer: the answer is a general sentence with the request's number, and nothing else.

Markers lie in what is sent, in rows, in settings, and in the exceptions themselves. None may come out in a body, in a
header, or in the log, where the number leads to what happened.
"""

import json
import secrets
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql
from redis import Redis

from tests.conftest import Servers, World
from tests.faults import breaking
from tests.web.crowd import make_crowd
from tests.web.processes import PATIENT, WebProcess, web_processes, worker_process
from tests.web.site import Answer, Client

pytestmark = pytest.mark.xdist_group("injected faults")

FAULT_TEXT = "The fault has been noted with the request's number."
IN_STORES = ("limiter", "driver", "statement", "disk")
IN_THE_PROCESS = ("service", "shape", "hashing", "tokens", "template", "encoding", "headers")
TELLING = ("Traceback", 'File "', ".py", "psycopg", "jinja2", "redis", "RuntimeError", "OperationalError", "operalta_")
# Each as it could come out of a function of ours, or of a constraint: a fault, a refusal, or the server going away.
STATES = ("P0001", "XX000", "23505", "23514", "22P02", "42501", "42P01", "57014", "40P01", "53300", "57P01", "OP001")
LONGEST_WAIT_SECONDS = 60


@dataclass
class Stand:
    """A web process that can be broken, a member with rows in a company, and the marker that is in everything."""

    servers: Servers
    web: WebProcess
    member: Client
    visitor: Client
    slug: str
    file: str
    marker: str
    choice: Path
    environment: dict[str, str]
    read: int = field(default=0)

    @contextmanager
    def broken(self, point: str) -> Generator[None]:
        """Break a point; whatever was counted before is forgotten, so that no limit stands in front of it."""
        store: Any = Redis.from_url(self.servers.settings.redis_address)  # pyright: ignore[reportUnknownMemberType] - the package leaves its arguments untyped
        store.flushall()
        store.close()
        self.read = len(self.web.log.read_bytes())
        self.choice.write_text(point)
        try:
            yield
        finally:
            self.choice.write_text("")

    def logged(self, number: str) -> list[dict[str, Any]]:
        """The lines of a request, the last of which is written after it was answered."""
        deadline = time.monotonic() + LONGEST_WAIT_SECONDS
        while True:
            said = self.web.log.read_bytes()[self.read :].decode().rpartition("\n")[0]
            lines = [json.loads(line) for line in said.splitlines() if number in line]
            if any(line["event"] == "request" for line in lines):
                return lines
            assert time.monotonic() < deadline, f"the log knows nothing of {number}"
            time.sleep(0.02)

    def calls(self) -> list[Answer]:
        """Requests of pages and of the API through every layer, with the marker wherever they can carry it.

        The visitor comes for the first time, each time.
        """
        marker, inside = self.marker, f"/companies/{self.slug}"
        carried = {"User-Agent": marker, "X-Marker": marker, "Referer": f"{self.web.base_url}/?{marker}"}
        self.visitor.jar.clear()
        for client in (self.member, self.visitor):
            client.jar["marker"] = marker
        credentials = {"email": f"{marker}@people.example", "password": f"{marker} in a password"}
        return [
            self.member.get(f"/api/v1/me?q={marker}", carried),
            self.member.get(f"/companies?q={marker}", carried),
            self.member.get(f"/api/v1{inside}/memory?q={marker}", carried),
            self.member.get(f"/c/{self.slug}/memory?q={marker}", carried),
            self.member.api("POST", f"{inside}/memory", {"kind": "decision", "title": marker, "body": marker}),
            self.member.post(f"/c/{self.slug}/memory", kind="decision", title=marker, body=marker),
            self.member.get(f"/api/v1{inside}/files/{self.file}/content", carried),
            self.member.get(f"/c/{self.slug}/files/{self.file}/download", carried),
            self.member.get(f"/c/{self.slug}/{marker}/{marker}", carried),
            self.visitor.api("POST", "/auth/sign-in", credentials),
            self.visitor.post("/sign-in", **credentials),
            self.visitor.api("POST", "/auth/verify-email", {"token": f"{marker}{secrets.token_urlsafe(20)}"}),
        ]

    def secret_values(self) -> list[str]:
        return [path.read_text().strip() for path in self.servers.settings.secrets_path.iterdir()]


@pytest.fixture(scope="module")
def stand(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Generator[Stand]:
    marker, choice = f"marker{secrets.token_hex(8)}", tmp_path_factory.mktemp("break") / "point"
    choice.write_text("")
    environment = {
        breaking.CHOICE: str(choice),
        breaking.MARKER: marker,
        "OPERALTA_SMTP_URL": f"smtp://{marker}:{marker}@127.0.0.1:1",
        "OPERALTA_SECURITY_CONTACT": f"{marker}@localhost",
    }
    with web_processes(servers, 1, PATIENT + breaking.PATCH, environment) as (web,), servers.as_owner() as owner:
        company = World(owner).company()
        (person,) = make_crowd(servers, web.base_url, 1)
        owner.execute("UPDATE identity.people SET name = %s WHERE id = %s", (marker, person.person))
        owner.execute(
            "INSERT INTO tenancy.memberships (company_id, person_id, role) VALUES (%s, %s, 'founder')",
            (company[0], person.person),
        )
        signed_in = Client("127.0.0.1", web.port, dict(person.cookies))
        made = signed_in.upload(f"/api/v1/companies/{company[1]}/files", b"notes.md", marker.encode())
        assert made.status == 201, made.text
        visitor = Client("127.0.0.1", web.port)
        yield Stand(servers, web, signed_in, visitor, company[1], made.json["id"], marker, choice, environment)


# ── What is looked for ────────────────────────────────────────────────────────────────────────────────


def assert_tells_nothing(stand: Stand, answer: Answer) -> None:
    """Fail where the answer to a fault holds more than a general sentence and the request's number."""
    number = answer.header("x-request-id")
    assert number
    assert number in answer.text
    if answer.header("content-type") == "application/problem+json":
        said = answer.json
        assert said.keys() == {"type", "title", "status", "detail", "code", "request_id"}
        assert (said["status"], said["request_id"]) == (answer.status, number)
    else:
        assert answer.header("content-type").startswith("text/html")
    assert answer.status != 500 or FAULT_TEXT in answer.text.replace("&#39;", "'")
    whole = "\n".join(f"{name}: {value}" for name, value in answer.headers) + answer.text
    for telling in (*TELLING, stand.marker, *stand.secret_values()):
        assert telling not in whole, telling
    assert answer.header("content-security-policy")
    assert answer.header("x-content-type-options") == "nosniff"
    assert "set-cookie" not in dict(answer.headers)


def assert_log_is_clean(stand: Stand, log: str) -> None:
    for secret in (stand.marker, *stand.secret_values()):
        assert secret not in log
    assert "Traceback" not in log


def assert_number_leads_to_the_fault(stand: Stand, answers: Sequence[Answer]) -> None:
    for answer in answers:
        lines = stand.logged(answer.header("x-request-id"))
        assert [line["status"] for line in lines if line["event"] == "request"] == [answer.status]
        if answer.status == 500:
            (fault,) = [line for line in lines if line["level"] == "error"]
            assert fault["error"]
            assert fault["at"]


def faults_of(answers: Sequence[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.status >= 500]


# ── The web process ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.proves("7.3.1", "7.3.3")
@pytest.mark.parametrize("point", [*IN_STORES, *IN_THE_PROCESS])
def test_whatever_breaks_is_answered_with_a_general_sentence_and_a_number(stand: Stand, point: str) -> None:
    with stand.broken(point):
        faults = faults_of(stand.calls())
        assert faults, "nothing was broken"
        for answer in faults:
            assert_tells_nothing(stand, answer)
        assert_number_leads_to_the_fault(stand, faults)
    assert_log_is_clean(stand, stand.web.log.read_text())
    assert not faults_of(stand.calls()), "it does not recover"


@pytest.mark.proves("7.3.1")
@pytest.mark.parametrize("point", ["every template", "every encoding"])
def test_when_not_even_the_answer_to_a_fault_can_be_made_it_has_a_number_and_our_headers(
    stand: Stand, point: str
) -> None:
    with stand.broken(point):
        faults = faults_of(stand.calls())
        assert faults, "nothing was broken"
        for answer in faults:
            assert answer.header("x-request-id")
            assert answer.header("x-request-id") in answer.text
            assert answer.header("content-security-policy")
            assert stand.marker not in answer.text
    assert_log_is_clean(stand, stand.web.log.read_text())


@pytest.mark.proves("7.3.1")
def test_a_stream_that_breaks_ends_without_a_word(stand: Stand) -> None:
    posted = stand.member.request(
        "POST",
        f"/c/{stand.slug}/chat",
        f"text=/find+{stand.marker}".encode(),
        {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
    )
    assert posted.status == 202, posted.text
    with stand.broken("stream"), pytest.raises(IncompleteRead) as cut_off:
        stand.member.get(posted.json["events_url"])
    assert b"".join(cut_off.value.args[:1]) in {b"", b"retry: 1000\n\n"}
    assert_log_is_clean(stand, stand.web.log.read_text())


# ── The database ──────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def raising(servers: Servers, function: str, state: str, marker: str) -> Generator[None]:
    """Have a function of the database raise, with the marker in every field that an error has."""
    fields = ("message", "detail", "hint", "column", "constraint", "datatype", "table", "schema")
    carried = sql.SQL(", ").join(sql.SQL("{} = {}").format(sql.SQL(each), marker) for each in fields)
    raised = sql.SQL("BEGIN RAISE EXCEPTION USING errcode = {}, {};").format(state, carried)
    with servers.as_owner() as owner:
        owner.execute("SET ROLE operalta_definer")
        row = owner.execute("SELECT pg_get_functiondef(%s::regproc) AS text", (function,)).fetchone()
        assert row is not None
        before: str = row["text"]
        owner.execute(before.replace("BEGIN", raised.as_string(owner), 1).encode())
        try:
            yield
        finally:
            owner.execute(before.encode())


@pytest.mark.proves("7.3.1")
@pytest.mark.parametrize("state", STATES)
def test_an_error_of_the_database_keeps_what_it_says_to_itself(stand: Stand, state: str) -> None:
    with (
        raising(stand.servers, "scope.open_scope", state, stand.marker),
        raising(stand.servers, "signin.record_refusal", state, stand.marker),
        stand.broken("nothing"),
    ):
        answers = stand.calls()
        refused = [answer for answer in answers if answer.status >= 400 and answer.status != 404]
        assert len(refused) >= 6
        for answer in refused:
            assert_tells_nothing(stand, answer)
        assert_number_leads_to_the_fault(stand, faults_of(answers))
    assert_log_is_clean(stand, stand.web.log.read_text())


@pytest.fixture
def strict_table(stand: Stand) -> Generator[None]:
    """A constraint that no new row of the memory meets; the server's own message holds the whole row."""
    with stand.servers.as_owner() as owner:
        owner.execute("ALTER TABLE workspace.records ADD CONSTRAINT never CHECK (false) NOT VALID")
        try:
            yield
        finally:
            owner.execute("ALTER TABLE workspace.records DROP CONSTRAINT never")


@pytest.mark.proves("7.3.1")
@pytest.mark.usefixtures("strict_table")
def test_a_row_that_a_constraint_refuses_is_not_shown(stand: Stand) -> None:
    with stand.broken("nothing"):
        faults = faults_of(stand.calls())
        assert len(faults) == 2
        for answer in faults:
            assert_tells_nothing(stand, answer)
        assert_number_leads_to_the_fault(stand, faults)
    assert_log_is_clean(stand, stand.web.log.read_text())


@pytest.mark.proves("7.3.1")
@pytest.mark.usefixtures("strict_table")
def test_the_log_of_the_database_holds_no_rows(stand: Stand) -> None:
    before = len(stand.servers.postgres.log.read_bytes())
    assert faults_of(stand.calls())
    assert stand.marker not in stand.servers.postgres.log.read_bytes()[before:].decode()


# ── The worker ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def worker_log(stand: Stand) -> Generator[Path]:
    environment = {**stand.environment, "OPERALTA_PUBLIC_URL": stand.web.base_url}
    with worker_process(stand.servers, breaking.PATCH, environment) as log:
        yield log


@pytest.mark.proves("7.3.1")
def test_a_fault_on_the_way_out_of_a_run_is_told_as_a_general_sentence(stand: Stand, worker_log: Path) -> None:
    with stand.broken("egress"):
        posted = stand.member.request(
            "POST",
            f"/c/{stand.slug}/chat",
            f"text=/fetch+https://example.org/{stand.marker}".encode(),
            {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
        )
        assert posted.status == 202, posted.text
        run = wait_for_end(stand, posted.json["run_id"])
    assert (run["status"], run["failure"]) == ("failed", "Something went wrong on our side. Send the message again.")
    told = stand.member.get(posted.json["events_url"]).text
    # What the person typed is shown to them again; what broke is not.
    assert f"{stand.marker} broke" not in told
    assert "RuntimeError" not in told
    log = worker_log.read_text()
    assert_log_is_clean(stand, log)
    assert posted.json["run_id"] in log


def wait_for_end(stand: Stand, run: str) -> dict[str, Any]:
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while True:
        found: dict[str, Any] = stand.member.api("GET", f"/companies/{stand.slug}/runs/{run}").json
        if found["status"] in {"finished", "failed", "stopped"}:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


@pytest.mark.proves("7.3.1", "7.3.3")
def test_a_mail_that_cannot_be_written_leaves_its_fault_in_the_log_and_nothing_else(
    stand: Stand, worker_log: Path
) -> None:
    email = f"{stand.marker}@people.example"
    with stand.broken("mail"):
        account = {"email": email, "name": stand.marker, "password": "four wooden ladders lean"}
        assert stand.visitor.api("POST", "/auth/sign-up", account).status == 202
        deadline = time.monotonic() + LONGEST_WAIT_SECONDS
        while "RuntimeError" not in (log := worker_log.read_text()).rpartition("the run failed")[2]:
            assert time.monotonic() < deadline, "the worker gave up without a word"
            let_the_last_attempt_be_next(stand.servers, email)
            time.sleep(0.1)
    assert_log_is_clean(stand, log)


def let_the_last_attempt_be_next(servers: Servers, email: str) -> None:
    """Have the queue think that it has tried what waits for an address very often, a while ago."""
    with servers.as_owner() as owner:
        owner.execute(
            "UPDATE jobs.procrastinate_jobs AS job SET attempts = 1000, scheduled_at = now()"
            " FROM delivery.messages AS message WHERE job.args ->> 'subject' = message.id::text"
            " AND message.recipient = %s AND job.status = 'todo'",
            (email,),
        )
