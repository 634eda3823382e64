"""The folder `var`: its layout version, its lock, and what `up` prepares in it before anything is started."""

import fcntl
import hashlib
import os
import secrets
import socket
from pathlib import Path

import psycopg

from operalta.db.migrate import migrate
from operalta.operations import store
from operalta.operations.secrets import database_passwords
from operalta.settings import DatabaseRole, Settings

LAYOUT = "1 postgresql-18"


class CannotStart(Exception):  # noqa: N818 - read by the operator as a sentence
    """The deployment cannot start; the message says what to do."""


class AlreadyRunning(CannotStart):
    """Another `up` has this folder."""


def prepare_folder(settings: Settings) -> None:
    """Make `var` and check that this release can use what is in it. Raise CannotStart otherwise."""
    try:
        for folder in (settings.var, settings.run_path, settings.var / "log", settings.workspaces_path):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings.var.chmod(0o700)
        stamp = settings.var / "layout"
        if not stamp.exists():
            if (settings.var / "postgres").exists():
                raise CannotStart(
                    f"{settings.var} holds data of an unknown version: move it away, or set OPERALTA_VAR_DIR."
                )
            stamp.write_text(LAYOUT + "\n")
        found = stamp.read_text().strip()
    except OSError as error:
        raise CannotStart(
            f"{error.filename or settings.var} cannot be used: {error.strerror}. "
            "Start in a folder that you can write, or set OPERALTA_VAR_DIR to one."
        ) from error
    if found != LAYOUT:
        raise CannotStart(
            f"{settings.var} was made by another version (it says “{found}”, this release needs “{LAYOUT}”). "
            "Run the release that made it, or set OPERALTA_VAR_DIR to a fresh folder. Nothing was changed."
        )


def lock_folder(settings: Settings) -> int:
    """Take the lock of `var` and return its descriptor, to be kept open. Raise AlreadyRunning where it is taken."""
    path = settings.run_path / "up.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        told = os.read(descriptor, 400).decode(errors="replace").strip()
        os.close(descriptor)
        raise AlreadyRunning(f"Operalta is running already{': ' + told if told else ''}.") from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{settings.base_url} (process {os.getpid()})".encode())
    return descriptor


def check_port(settings: Settings) -> None:
    """Raise CannotStart where the port is taken or may not be used."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            raise CannotStart(
                f"Port {settings.port} cannot be used: {error.strerror}. "
                f"Choose another one, such as: OPERALTA_PORT={settings.port % 65000 + 1} ./operalta up"
            ) from error


def migrate_database(settings: Settings) -> str:
    """Migrate as the owner and return the revision."""
    return migrate(settings.database_dsn(DatabaseRole.OWNER), database_passwords(settings))


def operator_link(settings: Settings) -> str | None:
    """Return a fresh link that makes whoever opens it the operator, or None where there is an operator."""
    with psycopg.connect(settings.database_dsn(DatabaseRole.OWNER)) as connection:
        if store.has_operator(connection):
            return None
        token = secrets.token_urlsafe(32)
        store.keep_operator_link(connection, hashlib.sha256(token.encode()).digest())
    return f"{settings.base_url}/operator?token={token}"


def write_process_file(settings: Settings, name: str, pid: int) -> None:
    """Note a part's process id below `var/run`, for `status` and for people who look."""
    Path(settings.run_path / f"{name}.pid").write_text(f"{pid}\n")
