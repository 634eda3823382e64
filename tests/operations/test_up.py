"""`operalta up` as its user meets it: starting, stopping, refusing clearly, and surviving the death of any part."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from operalta.operations import supervisor
from operalta.operations.servers import ServerFailed
from operalta.operations.supervisor import Supervisor
from operalta.settings import Settings

pytestmark = pytest.mark.xdist_group("up")
PATIENCE_SECONDS = 120


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Up:
    """One `operalta up` in a folder of its own."""

    def __init__(self, var: Path, port: int, **environment: str) -> None:
        self.var, self.port = var, port
        self._log = (var.parent / f"up-{port}-{time.monotonic_ns()}.log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "operalta", "up"],
            stdout=self._log,
            stderr=self._log,
            env=os.environ | {"OPERALTA_VAR_DIR": str(var), "OPERALTA_PORT": str(port)} | environment,
        )

    def said(self) -> str:
        return Path(self._log.name).read_text()

    def wait_for(self, text: str) -> str:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while text not in self.said():
            assert time.monotonic() < deadline, self.said()
            assert self.process.poll() is None, self.said()
            time.sleep(0.1)
        return self.said()

    def wait_for_end(self) -> int:
        return self.process.wait(PATIENCE_SECONDS)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.wait_for_end()

    def pid_of(self, part: str) -> int:
        return int((self.var / "run" / f"{part}.pid").read_text())

    def answers(self) -> bool:
        return status_of(self.port, "/readyz") == 200


def status_of(port: int, path: str) -> int | None:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode())
        answered = connection.makefile("rb").readline()
        found = re.match(rb"HTTP/1.1 (\d+)", answered)
        return int(found[1]) if found else None
    return None


def wait_until(port: int, path: str, status: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while status_of(port, path) != status:
        assert time.monotonic() < deadline, f"{path} never answered {status}"
        time.sleep(0.2)


@contextmanager
def running(var: Path, **environment: str) -> Generator[Up]:
    up = Up(var, free_port(), **environment)
    try:
        up.wait_for("Operalta is ready")
        yield up
    finally:
        up.stop()


@pytest.fixture
def var() -> Generator[Path]:
    with tempfile.TemporaryDirectory(prefix="op-", dir="/tmp") as folder:
        yield Path(folder) / "var"


def test_it_starts_says_where_keeps_its_state_and_stops_cleanly(var: Path) -> None:
    with running(var) as up:
        link = re.search(r"/operator\?token=\S+", up.said())
        assert link is not None
        assert f"http://localhost:{up.port}" in up.said()
        wait_until(up.port, "/readyz", 200)
        assert oct(var.stat().st_mode & 0o777) == "0o700"
        assert all(path.stat().st_mode & 0o077 == 0 for path in (var / "secrets").iterdir())
        second = Up(var, free_port())
        assert second.wait_for_end() == 3
        assert "running already" in second.said()
        assert up.stop() == 0
    assert status_of(up.port, "/healthz") is None
    secrets = {path.name: path.read_bytes() for path in (var / "secrets").iterdir()}
    with running(var) as again:
        wait_until(again.port, "/readyz", 200)
        assert {path.name: path.read_bytes() for path in (var / "secrets").iterdir()} == secrets


@pytest.mark.soak
def test_it_survives_the_sudden_death_of_any_part(var: Path) -> None:
    with running(var) as up:
        wait_until(up.port, "/readyz", 200)
        for part in ("serve", "worker"):
            before = up.pid_of(part)
            os.kill(before, signal.SIGKILL)
            up.wait_for(f"{part} ended")
            wait_until(up.port, "/readyz", 200)
            assert up.pid_of(part) != before
        os.kill(int((var / "postgres" / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
        up.wait_for("postgresql ended")
        wait_until(up.port, "/readyz", 200)
        children = Path(f"/proc/{up.process.pid}/task/{up.process.pid}/children").read_text().split()
        valkey = [pid for pid in children if b"valkey" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(int(valkey[0]), signal.SIGKILL)
        up.wait_for("valkey ended")
        wait_until(up.port, "/readyz", 200)


@pytest.mark.soak
def test_after_its_own_sudden_death_the_next_one_takes_over(var: Path) -> None:
    up = Up(var, free_port())
    up.wait_for("Operalta is ready")
    up.process.kill()
    up.process.wait(10)
    with running(var) as again:
        wait_until(again.port, "/readyz", 200)


def test_a_port_in_use_is_named_with_the_way_out(var: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        up = Up(var, int(taken.getsockname()[1]))
        assert up.wait_for_end() == 1
    assert "cannot be used" in up.said()
    assert "OPERALTA_PORT=" in up.said()
    assert "Traceback" not in up.said()


def test_a_folder_that_cannot_be_written_is_named(var: Path) -> None:
    var.parent.chmod(0o500)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "operalta", "up"],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"OPERALTA_VAR_DIR": str(var), "OPERALTA_PORT": str(free_port())},
        )
    finally:
        var.parent.chmod(0o700)
    assert ended.returncode == 1
    assert "OPERALTA_VAR_DIR" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_data_of_another_version_is_left_alone(var: Path) -> None:
    var.mkdir(mode=0o700)
    (var / "layout").write_text("9 postgresql-99\n")
    up = Up(var, free_port())
    assert up.wait_for_end() == 1
    assert "another version" in up.said()
    assert "Nothing was changed" in up.said()
    assert not (var / "postgres").exists()


def test_a_database_that_is_down_is_said_in_one_sentence(var: Path) -> None:
    up = Up(var, free_port(), OPERALTA_DATABASE_URL=f"postgresql://owner:x@127.0.0.1:{free_port()}/operalta")
    assert up.wait_for_end() == 1
    assert "does not answer" in up.said()
    assert "Traceback" not in up.said()


def test_a_setting_that_cannot_be_used_is_named(var: Path) -> None:
    up = Up(var, free_port(), OPERALTA_SIGN_UP="perhaps")
    assert up.wait_for_end() == 1
    assert "OPERALTA_SIGN_UP" in up.said()
    assert "Traceback" not in up.said()


def test_a_server_that_does_not_start_at_once_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    watching = Supervisor(Settings(), said.append)

    class Reluctant:
        name, is_running, tries = "postgresql", False, 0

        def start(self) -> None:
            self.tries += 1
            if self.tries < 3:
                raise ServerFailed("PostgreSQL did not start")
            os.kill(os.getpid(), signal.SIGTERM)

    server = Reluctant()
    monkeypatch.setattr(watching, "_postgres", server)
    monkeypatch.setattr(watching, "_valkey", None)
    monkeypatch.setattr(supervisor, "FAILED_START_PAUSE_SECONDS", 0.0)
    before = signal.signal(signal.SIGTERM, watching._ask_to_stop)  # pyright: ignore[reportPrivateUsage]
    try:
        watching._watch()  # pyright: ignore[reportPrivateUsage]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert server.tries == 3
    assert said.count("PostgreSQL did not start") == 2
