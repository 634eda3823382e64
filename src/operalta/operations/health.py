"""Which parts of the deployment answer right now, asked from outside of each."""

import asyncio
from contextlib import suppress
from pathlib import Path

import psycopg

from operalta.guard.limiter import Limiter
from operalta.kernel.errors import Unavailable
from operalta.sandbox.shell.state import read_state
from operalta.settings import DatabaseRole, Settings, SettingsError

RUNNING = "running"
SILENT = "does not answer"
OPTIONAL = frozenset({"commands"})
"""Parts without which the deployment still runs."""


async def parts(settings: Settings) -> dict[str, str]:
    """Return the state of each part by its name."""
    return {
        "database": await _database(settings),
        "rate-limit store": await _store(settings),
        "web": await _web(settings),
        "worker": _process(settings, "worker"),
        "commands": _commands(settings),
    }


async def _database(settings: Settings) -> str:
    try:
        dsn = settings.database_dsn(DatabaseRole.VERIFIER)
        async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=3):
            return RUNNING
    except (psycopg.Error, SettingsError):
        return SILENT


async def _store(settings: Settings) -> str:
    try:
        async with Limiter(settings.redis_address, digest_key=settings.secret("limit-key")) as limiter:
            await limiter.ping()
    except (Unavailable, SettingsError):
        return SILENT
    return RUNNING


async def _web(settings: Settings) -> str:
    with suppress(OSError, TimeoutError):
        _, writer = await asyncio.wait_for(asyncio.open_connection(settings.host, settings.port), 3)
        writer.close()
        return RUNNING
    return SILENT


def _commands(settings: Settings) -> str:
    shell = read_state(settings.shell_state_file)
    return f"on, after {shell.attempts} attempts to break out" if shell.available else f"off: {shell.reason}"


def _process(settings: Settings, name: str) -> str:
    try:
        pid = int((settings.run_path / f"{name}.pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return SILENT
    return RUNNING if name.encode() in command else SILENT
