"""The product's own processes, as `operalta serve` and `operalta worker` start them, on the servers of a test."""

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from operalta.operations.servers import tied_to_parent
from tests.browser.deployment import free_port
from tests.conftest import Servers

ROOT = Path(__file__).resolve().parents[2]
PATIENT = """
from operalta.guard.limiter import Limiter
Limiter.__init__.__kwdefaults__.update(socket_timeout_seconds=60.0, deadline_seconds=60.0)
"""
"""A machine that is busy with a thousand calls must not look like a store that is down."""

UNLIMITED = """
from operalta.guard.limiter import Limiter
async def admit(self, rule, subjects):
    return None
Limiter.admit = admit
"""
_START_SECONDS = 90
_STOP_SECONDS = 20


@dataclass(frozen=True)
class WebProcess:
    """One of them: where it listens, the origin that all of them share, and where it logs."""

    port: int
    base_url: str
    log: Path

    @property
    def host(self) -> str:
        """What clients name as the host."""
        return self.base_url.partition("://")[2]


@contextmanager
def web_processes(
    servers: Servers, count: int, patch: str = "", environment: dict[str, str] | None = None
) -> Generator[list[WebProcess]]:
    """Run web processes on `servers`, with `patch` executed in each before anything of it is wired."""
    ports = [free_port() for _ in range(count)]
    base_url = f"http://localhost:{ports[0]}"
    with ExitStack() as stack:
        yield [stack.enter_context(_web(servers, port, base_url, patch, environment or {})) for port in ports]


@contextmanager
def worker_process(servers: Servers, patch: str, environment: dict[str, str]) -> Generator[Path]:
    """Run a worker on `servers` and return its log."""
    log = servers.settings.var / "log" / "tested-worker.log"
    with _running(servers, "worker", patch, environment, log) as process:
        _wait(process, log, lambda: "the worker is ready" in log.read_text())
        yield log


@contextmanager
def _web(servers: Servers, port: int, base_url: str, patch: str, more: dict[str, str]) -> Generator[WebProcess]:
    log = servers.settings.var / "log" / f"web-{port}.log"
    environment = {"OPERALTA_PORT": str(port), "OPERALTA_PUBLIC_URL": base_url, **more}
    with _running(servers, "serve", patch, environment, log) as process:
        _wait(process, log, lambda: _answers(port))
        yield WebProcess(port, base_url, log)


@contextmanager
def _running(
    servers: Servers, part: str, patch: str, more: dict[str, str], log: Path
) -> Generator[subprocess.Popen[bytes]]:
    log.parent.mkdir(exist_ok=True)
    environment = dict(os.environ) | {
        "OPERALTA_VAR_DIR": str(servers.settings.var),
        "OPERALTA_BCRYPT_COST": "4",
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
        **more,
    }
    program = f"import sys\nsys.argv = ['operalta', '{part}']\n{patch}\nfrom operalta.cli import main\nmain()\n"
    with log.open("wb") as output:
        process = subprocess.Popen(
            tied_to_parent("TERM", [sys.executable, "-c", program]),
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
        assert process.poll() is None, f"`{part}` ended by itself:\n{log.read_text()[-4000:]}"
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], log: Path, is_ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not is_ready():
        assert process.poll() is None, f"it ended:\n{log.read_text()[-4000:]}"
        assert time.monotonic() < deadline, f"it is not ready in time:\n{log.read_text()[-4000:]}"
        time.sleep(0.1)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz", headers={"Host": f"localhost:{port}"})
        return connection.getresponse().status == http.HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()
