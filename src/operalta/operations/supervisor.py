"""`up`: starts every part in order, starts again what dies, and stops everything cleanly."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from urllib.parse import urlsplit, urlunsplit

from operalta.operations.deployment import (
    check_port,
    lock_folder,
    migrate_database,
    operator_link,
    prepare_folder,
    write_process_file,
)
from operalta.operations.secrets import make_missing_secrets
from operalta.operations.servers import (
    EmbeddedPostgres,
    EmbeddedValkey,
    ServerFailed,
    check_socket_length,
    tied_to_parent,
)
from operalta.settings import Settings

GRACE_SECONDS = 10
FAILED_START_PAUSE_SECONDS = 2.0
_LONGEST_PAUSE = 30.0


class Part:
    """A process of the product itself (`serve` or `worker`), started again with growing pauses when it dies."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.name = name
        self._settings = settings
        self._pause = 0.5
        self._started = 0.0
        self._not_before = 0.0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; its output goes to `var/log`."""
        log = self._settings.var / "log" / f"{self.name}.log"
        environment = dict(os.environ) | {
            "OPERALTA_VAR_DIR": str(self._settings.var),
            "OPERALTA_PORT": str(self._settings.port),
            "OPERALTA_HOST": self._settings.host,
        }
        if self._settings.database_url is not None:
            # The owner's name and password are for migrating alone; the parts have roles of their own.
            parts = urlsplit(self._settings.database_url.get_secret_value())
            bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
            environment["OPERALTA_DATABASE_URL"] = urlunsplit(bare)
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                tied_to_parent("TERM", [sys.executable, "-m", "operalta", self.name]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                process_group=0,
            )
        self._started = time.monotonic()
        write_process_file(self._settings, self.name, self.process.pid)

    def revive(self) -> bool:
        """Start the process again where it has died and its pause is over. Tell whether it did."""
        if self.process is None or self.process.poll() is None:
            return False
        now = time.monotonic()
        if self._not_before == 0.0:
            lived_long = now - self._started > _LONGEST_PAUSE
            self._pause = 0.5 if lived_long else min(self._pause * 2, _LONGEST_PAUSE)
            self._not_before = now + self._pause
        if now < self._not_before:
            return False
        self._not_before = 0.0
        self.start()
        return True

    def stop(self) -> None:
        """Ask the process to finish, then end it."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)


class Supervisor:
    """Everything that one `up` runs."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        self._stopping = False
        self._postgres = EmbeddedPostgres(settings) if settings.database_url is None else None
        self._valkey = EmbeddedValkey(settings) if settings.redis_url is None else None
        self._parts = [Part(settings, "serve"), Part(settings, "worker")]

    def run(self, ready: Callable[[str | None], None]) -> None:
        """Start all, call `ready` with the operator link, and watch until Ctrl-C or SIGTERM.

        Raise CannotStart, AlreadyRunning, ServerFailed, SettingsError or a database refusal where it cannot.
        """
        prepare_folder(self._settings)
        lock = lock_folder(self._settings)
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, self._ask_to_stop)
        try:
            check_port(self._settings)
            self._start_servers()
            self._say("migrating the database")
            migrate_database(self._settings)
            link = operator_link(self._settings)
            for part in self._parts:
                part.start()
            self._wait_for_web()
            if not self._stopping:
                ready(link)
            self._watch()
        finally:
            self._stop()
            os.close(lock)

    def _start_servers(self) -> None:
        make_missing_secrets(self._settings)
        if self._postgres is not None:
            check_socket_length(self._settings)
            self._say("starting PostgreSQL")
            self._postgres.start()
            self._postgres.make_database()
        if self._valkey is not None:
            self._say("starting Valkey")
            self._valkey.start()

    def _wait_for_web(self) -> None:
        import socket

        deadline = time.monotonic() + 60
        while not self._stopping and time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection((self._settings.host, self._settings.port), timeout=1):
                return
            self._parts[0].revive()
            time.sleep(0.1)
        if not self._stopping:
            raise ServerFailed(f"The web process does not answer: see {self._settings.var / 'log' / 'serve.log'}")

    def _watch(self) -> None:
        while not self._stopping:
            time.sleep(0.25)
            for server in (self._postgres, self._valkey):
                # One that could not be started the last time has no process, and is tried again as well.
                if server is not None and not self._stopping and not server.is_running:
                    self._say(f"{server.name} ended; starting it again")
                    try:
                        server.start()
                    except ServerFailed as failure:
                        self._say(str(failure))
                        time.sleep(FAILED_START_PAUSE_SECONDS)
            for part in self._parts:
                if not self._stopping and part.revive():
                    self._say(
                        f"{part.name} ended; started again (see {self._settings.var / 'log' / f'{part.name}.log'})"
                    )

    def _ask_to_stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _stop(self) -> None:
        for part in self._parts:
            part.stop()
        for server in (self._valkey, self._postgres):
            if server is not None:
                server.stop()
