"""One throw-away deployment for all tests of a process that look at a running system."""

import asyncio
import contextlib
import sys
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from operalta.assurance.deployment import START_SECONDS, WEB, WORKER, ThrowAway
from operalta.assurance.stage import Stage

ROOT = Path(__file__).resolve().parents[2]
_READY = b"the worker is ready"
_stages: list[Stage] = []


def shared_stage(config: pytest.Config) -> Stage:
    """Return the process's furnished stage, started at the first call and gone when the test run ends."""
    if not _stages:
        deployment = ThrowAway()
        config.add_cleanup(deployment.stop)
        deployment.start()
        stage = Stage(deployment, "tested", ROOT)
        asyncio.run(stage.furnish())
        _stages.append(stage)
    return _stages[0]


@contextlib.contextmanager
def patched(stage: Stage, part: str, patch: str) -> Generator[None]:
    """Run the web process or the worker with `patch` executed before anything of it is wired."""
    command = f"import sys\nsys.argv = ['operalta', '{part}']\n{patch}\nfrom operalta.cli import main\nmain()\n"
    _exchange(stage, part, [sys.executable, "-c", command])
    try:
        yield
    finally:
        _exchange(stage, part, None)


def _exchange(stage: Stage, part: str, command: list[str] | None) -> None:
    deployment = stage.deployment
    deployment.stop_part(part)
    written = deployment.log_path(part).stat().st_size
    deployment.start_part(part, command)
    deployment.wait_until_ready()
    deadline = time.monotonic() + START_SECONDS
    while part == WORKER and _READY not in deployment.log_path(part).read_bytes()[written:]:
        # A worker answers nobody; before it says this, runs wait.
        assert time.monotonic() < deadline, "the worker does not start"
        time.sleep(0.1)


__all__ = ["WEB", "WORKER", "patched", "shared_stage"]
