"""Servers of their own, to be stopped, frozen and killed, with the application served on them."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from pathlib import Path

import pytest

from operalta.db.migrate import migrate
from operalta.operations.secrets import database_passwords, make_missing_secrets
from operalta.operations.servers import EmbeddedPostgres, EmbeddedValkey
from operalta.settings import DatabaseRole, Settings
from tests.conftest import Servers
from tests.sandbox.staging import LoopbackServer, answer
from tests.web.site import Site, serving


@pytest.fixture(scope="session")
def breakable() -> Generator[Servers]:
    """A PostgreSQL and a Valkey that no other test uses. A test starts again what it has stopped."""
    var = Path(tempfile.mkdtemp(prefix="opf-", dir="/tmp"))
    settings = Settings(var_dir=var)
    settings.run_path.mkdir(mode=0o700)
    make_missing_secrets(settings)
    started = Servers(settings, EmbeddedPostgres(settings), EmbeddedValkey(settings))
    try:
        started.postgres.start()
        started.valkey.start()
        started.postgres.make_database()
        migrate(settings.database_dsn(DatabaseRole.OWNER), database_passwords(settings))
        yield started
    finally:
        started.valkey.stop()
        started.postgres.stop()
        shutil.rmtree(var, ignore_errors=True)


@pytest.fixture(scope="session")
def site(breakable: Servers) -> Generator[Site]:
    with serving(breakable) as started:
        yield started


class SlowPage(LoopbackServer):
    """Keeps each request, and answers after a moment in which whoever asks may be killed."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            await asyncio.sleep(0.4)
            writer.write(answer(200, b"Here."))
            await writer.drain()
        writer.close()


@pytest.fixture
async def web_page() -> AsyncGenerator[LoopbackServer]:
    staged = SlowPage()
    server = await asyncio.start_server(staged.serve, "127.0.0.1", 0)
    staged.port = server.sockets[0].getsockname()[1]
    yield staged
    server.close()
