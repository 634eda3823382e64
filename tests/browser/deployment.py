"""A deployment as its user starts it, and a page on this machine that it may fetch."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

ROOT = Path(__file__).resolve().parents[2]
PAGE_TEXT = "Lighthouse figures: 41 ships passed in May"
_START_SECONDS = 120
_STOP_SECONDS = 60


@dataclass(frozen=True)
class Deployment:
    """What `up` runs: its address, the operator's link as printed, its folder and its processes."""

    base_url: str
    port: int
    operator_link: str
    var: Path
    process: subprocess.Popen[str]

    def worker(self) -> int:
        """The worker's process id, as noted for people who look."""
        return int((self.var / "run" / "worker.pid").read_text())

    def kill_worker(self) -> int:
        """End the worker as a fault would, without a word, and return which it was."""
        pid = self.worker()
        os.kill(pid, signal.SIGKILL)
        return pid

    def log(self, part: str) -> str:
        """What `serve` or `worker` has logged so far."""
        return (self.var / "log" / f"{part}.log").read_text(errors="replace")

    def policy_reports(self) -> list[str]:
        """What browsers said they refused under the content policy."""
        return [line for line in self.log("serve").splitlines() if "content policy report" in line]


@contextmanager
def running(var: Path, exempted: tuple[str, ...] = ()) -> Generator[Deployment]:
    """Run `operalta up` below `var` (a short path: it holds sockets); afterwards end it as Ctrl-C does."""
    port = free_port()
    told = var.with_suffix(".out")
    environment = dict(os.environ) | {
        "OPERALTA_VAR_DIR": str(var),
        "OPERALTA_PORT": str(port),
        "OPERALTA_BCRYPT_COST": "4",
        "OPERALTA_EGRESS_EXEMPTIONS": "[" + ", ".join(f'"{each}"' for each in exempted) + "]",
        "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}",
        "PYTHONUNBUFFERED": "1",
    }
    with told.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "operalta", "up"], cwd=ROOT, env=environment, stdout=output, stderr=output, text=True
        )
    try:
        yield Deployment(f"http://localhost:{port}", port, _operator_link(process, told), var, process)
        assert process.poll() is None, f"`up` ended by itself:\n{told.read_text()}"
    finally:
        ended = _end(process)
    assert ended == 0, f"`up` ended with {ended} after Ctrl-C:\n{told.read_text()}"
    assert not _answers(port), "the web process outlived `up`"


def _operator_link(process: subprocess.Popen[str], told: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        said = told.read_text()
        links = [line.strip() for line in said.splitlines() if "/operator?token=" in line]
        if links and "Ctrl-C stops it" in said:
            return links[0]
        assert process.poll() is None, f"`up` ended:\n{said}"
        time.sleep(0.1)
    raise AssertionError(f"`up` printed no operator link:\n{told.read_text()}")


def _end(process: subprocess.Popen[str]) -> int:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class LocalPage:
    """A server of one page on loopback. `/slow` says that it was reached (`arrived`) and waits for `release`."""

    port: int = 0
    arrived: Event = field(default_factory=Event)
    release: Event = field(default_factory=Event)
    asked_for: list[str] = field(default_factory=list[str])


@contextmanager
def page_server() -> Generator[LocalPage]:
    """Serve one page on loopback."""
    page = LocalPage()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page.asked_for.append(self.path)
            if self.path == "/slow":
                page.arrived.set()
                page.release.wait(120)
            body = f"<!doctype html><title>Lighthouse</title><p>{PAGE_TEXT}</p>".encode()
            with suppress(OSError):  # whoever asked may be gone
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's signature
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    page.port = server.server_address[1]
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield page
    finally:
        page.release.set()
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Place:
    """A running deployment, the one local server that its agents may fetch, and whether somebody operates it yet."""

    deployment: Deployment
    page: LocalPage
    has_operator: bool = False


@contextmanager
def standing() -> Generator[Place]:
    """Run a deployment in a folder of its own, which goes with it."""
    folder = Path(tempfile.mkdtemp(prefix="ob-", dir="/tmp"))  # short, because it holds sockets
    folder.chmod(0o755)
    try:
        with page_server() as page, running(folder / "v", (f"127.0.0.1:{page.port}",)) as deployment:
            yield Place(deployment, page)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
