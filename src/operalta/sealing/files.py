"""Key files: private to the account that runs the product, complete or absent, created by one process only."""

import fcntl
import os
import secrets
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from operalta.sealing.errors import KeyFileDamaged, KeyFileExposed

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700
_OTHERS = 0o077
_LARGEST_FILE_BYTES = 256 * 1024


def private_folder(path: Path) -> None:
    """Make sure that `path` is a folder that nobody else can enter."""
    # `parents=True` would make those above with the usual permissions.
    for missing in reversed([path, *path.parents]):
        missing.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
    if path.stat().st_mode & _OTHERS:
        raise KeyFileExposed(f"{path} is open to others: run `chmod 700` on it")


def read_private(path: Path) -> bytes:
    """Return a key file's bytes. Links, open permissions and oversize are refused; absence is `FileNotFoundError`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise KeyFileDamaged(f"{path} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_FILE_BYTES:
            raise KeyFileDamaged(f"{path} is not a key file")
        if status.st_mode & _OTHERS:
            raise KeyFileExposed(f"{path} is open to others: run `chmod 600` on it")
        return file.read()


def create_private(path: Path, content: bytes) -> bool:
    """Create a key file, complete at once. Return False, and change nothing, where it exists already.

    A link is made to a finished temporary file, which fails for all but one of several processes.
    """
    temporary = _write_temporary(path, content)
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    _sync_folder(path.parent)
    return True


def replace_private(path: Path, content: bytes) -> None:
    """Put a new version of a key file in the place of the old one; a crash leaves one of the two."""
    temporary = _write_temporary(path, content)
    temporary.replace(path)
    _sync_folder(path.parent)


def remove(path: Path) -> None:
    """Remove a key file, durably; nothing happens where there is none."""
    path.unlink(missing_ok=True)
    _sync_folder(path.parent)


@contextmanager
def locked(folder: Path) -> Generator[None]:
    """Keep other processes, and other threads, from changing the keys in `folder` meanwhile."""
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write_temporary(path: Path, content: bytes) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(temporary, flags, PRIVATE_FILE), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return temporary


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
