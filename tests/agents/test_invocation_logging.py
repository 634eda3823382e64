"""What is said to a model and what it says is in no log, trace, metric or queue, whatever instruments the process."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import prometheus_client
import pytest
from opentelemetry.trace import INVALID_SPAN, Span, Tracer, TracerProvider
from pydantic_ai import Agent
from pydantic_ai.models.instrumented import InstrumentationSettings

from operalta.agents.runner import Runner
from operalta.settings import SettingsError
from tests.agents.conftest import Desk, Office, allow
from tests.agents.test_model_routes import CHAT_ANSWER, CHAT_CALL, KEY, WORDS, Provider, chunk, routes_in, sse, written
from tests.sandbox.staging import answer

pytestmark = pytest.mark.proves("5.6.4")
ASKED = "Vermilion"
LIBRARIES = ("", "asyncio", "httpcore2", "httpx2", "mcp", "opentelemetry", "procrastinate", "psycopg", "pydantic_ai")
QUEUES: tuple[LiteralString, ...] = (
    "SELECT looked::text AS text FROM jobs.procrastinate_jobs AS looked",
    "SELECT looked::text AS text FROM jobs.procrastinate_events AS looked",
    "SELECT looked::text AS text FROM delivery.messages AS looked",
    "SELECT looked::text AS text FROM audit.events AS looked",
    "SELECT looked::text AS text FROM sandbox.egress_log AS looked",
    "SELECT looked::text AS text FROM agents.model_requests AS looked",
)


class Spans(TracerProvider, Tracer):
    """A tracer that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def get_tracer(self, *_given: Any, **_named: Any) -> Tracer:  # noqa: ANN401 - the library's signature
        return self

    def start_span(self, name: str, *given: Any, **named: Any) -> Span:  # noqa: ANN401 - as above
        self.told.append(f"{name} {given} {named}")
        return INVALID_SPAN

    @contextmanager
    def start_as_current_span(self, name: str, *given: Any, **named: Any) -> Generator[Span]:  # noqa: ANN401 # pyright: ignore[reportIncompatibleMethodOverride]
        yield self.start_span(name, *given, **named)


@pytest.fixture
def spans() -> Generator[Spans]:
    kept = Spans()
    Agent.instrument_all(InstrumentationSettings(tracer_provider=kept, include_content=True))
    yield kept
    Agent.instrument_all(instrument=False)


@pytest.fixture
async def provider(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Provider]:
    monkeypatch.setenv("OPERALTA_MODEL_KEY_TEST", KEY)
    staged = Provider()
    server = await asyncio.start_server(staged.serve, "127.0.0.1", 0)
    staged.port = server.sockets[0].getsockname()[1]
    yield staged
    server.close()


TURNS: Mapping[str, list[bytes]] = {
    "answered": [CHAT_CALL, CHAT_ANSWER],
    "refused": [answer(401, f"{WORDS} is not for you".encode())],
    "unusable": [sse(f'{{"{WORDS}": broken')],
    "an error": [sse({"error": {"message": WORDS}})],
    "cut off": [sse(chunk({"content": WORDS}, "length"))],
}


@pytest.mark.parametrize("turns", TURNS)
async def test_nothing_that_is_said_is_anywhere_but_in_the_run(
    desk: Desk, office: Office, tmp_path: Path, provider: Provider, spans: Spans, turns: str,
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for library in LIBRARIES:
        caplog.set_level(logging.DEBUG, library)
    provider.turns = TURNS[turns]
    routes = routes_in(tmp_path, written("far", "openai", provider.port))
    allow(desk, office.founder, routes, "far")
    posted = await desk.write(office.founder, f"What of {ASKED}?")
    desk.rows("UPDATE agents.runs SET route = 'far' WHERE id = %s", posted.run_id)
    waiting = [row["text"] for query in QUEUES for row in desk.rows(query)]
    desk.rows("DELETE FROM jobs.procrastinate_jobs WHERE args ->> 'subject' = %s", str(posted.run_id))
    await Runner(desk.pools.worker, desk.dispatcher, desk.registry, routes, desk.files).run(posted.run_id)
    assert desk.status(posted.run_id) == ("finished" if turns == "answered" else "failed")
    assert ASKED.encode() in provider.requests[0], "it was sent"
    assert any(str(posted.run_id) in text for text in waiting), "it was queued"
    told = {
        "queues": "".join([*waiting, *(row["text"] for query in QUEUES for row in desk.rows(query))]),
        "logs": caplog.text,
        "output": "".join(capfd.readouterr()),
        "traces": "".join(spans.told),
        "metrics": prometheus_client.generate_latest().decode(),
    }
    assert caplog.records, "the libraries do log"
    assert {where for where, text in told.items() if ASKED in text or WORDS in text} == set()
    assert not spans.told


def test_a_file_may_state_that_it_is_off_and_not_that_it_is_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPERALTA_MODEL_KEY_TEST", KEY)
    assert routes_in(tmp_path, written("far", "openai", 9, "invocation_logging = false")).known("far")
    with pytest.raises(SettingsError, match="no log here"):
        routes_in(tmp_path, written("far", "openai", 9, "invocation_logging = true"))
