"""Stop ends a run whose provider says nothing, or nothing more: the request, the run, and its line of the ledger."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest

from operalta.agents import service
from operalta.agents.runner import Runner
from tests.agents.conftest import Desk, Office, allow
from tests.agents.test_model_routes import KEY, chunk, routes_in, sse, written

BEGINNING = sse(chunk({"content": "Once upon a time " * 40}), done=False).replace(b"Content-Length", b"X-Nothing")
LONGER_THAN_ANY_TEST = "seconds = 120"
BEGINNINGS = pytest.mark.parametrize("beginning", [b"", BEGINNING], ids=["before a byte", "in the middle"])


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setenv("OPERALTA_MODEL_KEY_TEST", KEY)


class Silent:
    """Takes a request, says how it begins, and then nothing more until the other side leaves."""

    def __init__(self, beginning: bytes) -> None:
        self.beginning = beginning
        self.asked = asyncio.Event()
        self.left = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self.beginning)
        await writer.drain()
        self.asked.set()
        while await reader.read(65536):
            pass
        self.left.set()
        writer.close()


@asynccontextmanager
async def asking(desk: Desk, office: Office, folder: Path, beginning: bytes) -> AsyncGenerator[UUID]:
    """Let a colleague's run ask, give it as soon as the provider has begun, and see it and the request end after."""
    silent = Silent(beginning)
    server = await asyncio.start_server(silent.serve, "127.0.0.1", 0)
    text = written("far", "compatible", server.sockets[0].getsockname()[1])
    routes = routes_in(folder, text.replace("seconds = 20", LONGER_THAN_ANY_TEST))
    allow(desk, office.founder, routes, "far")
    posted = await desk.write(office.colleague, "What is new?")
    desk.rows("UPDATE agents.runs SET route = 'far' WHERE id = %s", posted.run_id)
    runner = Runner(desk.pools.worker, desk.dispatcher, desk.registry, routes, desk.files)
    work = asyncio.create_task(runner.run(posted.run_id))
    await silent.asked.wait()
    yield posted.run_id
    await work
    await silent.left.wait()
    server.close()


@BEGINNINGS
async def test_stop_ends_a_run_whose_provider_is_silent(
    desk: Desk, office: Office, tmp_path: Path, beginning: bytes
) -> None:
    async with asking(desk, office, tmp_path, beginning) as run, desk.scope(office.colleague) as scope:
        await service.stop_run(scope, run)
    # Had the route's own time ended it, it would have failed.
    assert desk.status(run) == "stopped"
    lines = desk.rows("SELECT outcome FROM agents.model_requests WHERE run_id = %s", run)
    assert [each["outcome"] for each in lines] == ["stopped"]
    left = desk.rows("SELECT purpose FROM sandbox.egress_log WHERE run_id = %s", run)
    assert [each["purpose"] for each in left] == ["model far"]


@pytest.mark.timeout(90)  # less than the route's own time, so that it is not that which ends the request
@BEGINNINGS
async def test_so_does_leaving_the_company(desk: Desk, office: Office, tmp_path: Path, beginning: bytes) -> None:
    async with asking(desk, office, tmp_path, beginning):
        desk.remove(office.colleague)
