"""Where the root key comes from: a file, the environment, or a key service. One small interface for all three.

A source holds the key in use and earlier ones, which open what has not been wrapped anew. Files can change while the
product runs: `mark` tells, cheaply, whether they did, so that every process finds a fresh root key without a restart.
"""

import base64
import binascii
import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from operalta.kernel.secret_texts import marked, split_mark
from operalta.sealing.errors import CannotRotateHere, KeyFileExposed, RootKeyUnusable
from operalta.sealing.files import create_private, locked, remove, replace_private
from operalta.sealing.key_service import DataKey, KeyService
from operalta.sealing.keys import KnownRoots, RootKey, new_root_key_text

FILE_NAME = "root-key"
SERVICE_FILE_NAME = "root-key.kms"
_EARLIER = "-previous-"
_OTHERS = 0o077
_LARGEST_BYTES = 16 * 1024


class FileRoots:
    """The root key in `folder/root-key`; earlier ones beside it, as `root-key-previous-…`."""

    can_rotate = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / FILE_NAME

    def load(self) -> KnownRoots:
        """Return the keys. Raise RootKeyUnusable where one is missing, open to others or malformed."""
        current = RootKey.from_text(_read(self._path))
        return KnownRoots(current, tuple(RootKey.from_text(_read(path)) for path in _earlier(self._path)))

    def mark(self) -> object:
        """Return what differs once the key in use was replaced."""
        return _mark(self._path)

    def rotate(self) -> RootKey:
        """Put a fresh key in use and keep the one before; return it. A crash leaves a whole state, before or after."""
        with locked(self._folder):
            text = _read(self._path)
            create_private(_earlier_path(self._path, RootKey.from_text(text).id), text)
            profile = split_mark(text)[0]
            fresh = new_root_key_text() if profile is None else marked(profile, new_root_key_text())
            replace_private(self._path, fresh)
        return RootKey.from_text(fresh)

    def retire(self, root_id: str) -> None:
        """Forget an earlier key for good."""
        remove(_earlier_path(self._path, root_id))

    def since(self, root_id: str) -> datetime | None:
        """Return when an earlier key was superseded; None where it is not kept."""
        return _since(_earlier_path(self._path, root_id))


class EnvironmentRoots:
    """The root key in a variable of the environment, and at most one earlier in another. It changes with a restart."""

    can_rotate = False

    def __init__(self, text: bytes, previous: bytes | None) -> None:
        self._known = KnownRoots(RootKey.from_text(text), () if previous is None else (RootKey.from_text(previous),))

    def load(self) -> KnownRoots:
        """Return the keys."""
        return self._known

    def mark(self) -> object:
        """Return the same each time."""
        return None

    def rotate(self) -> RootKey:
        """Raise CannotRotateHere, which says how it is done."""
        raise CannotRotateHere

    def retire(self, root_id: str) -> None:
        """Do nothing: an earlier key goes when its variable does."""

    def since(self, root_id: str) -> datetime | None:
        """Return None: when a variable was set is not known."""
        del root_id


class ServiceRoots:
    """A root key that a key service made. Its ciphertext lies in `folder`; each process has it opened at its start."""

    can_rotate = True

    def __init__(self, folder: Path, service: KeyService) -> None:
        self._folder = folder
        self._path = folder / SERVICE_FILE_NAME
        self._service = service
        self._opened: dict[bytes, RootKey] = {}

    def make_missing(self) -> None:
        """Have the first key made where there is none. Raise KeyServiceRefused or KeyServiceSilent."""
        if not self._path.exists():
            create_private(self._path, _ciphertext_file(self._service.make_data_key()))

    def load(self) -> KnownRoots:
        """Return the keys. Raise as the service does, and RootKeyUnusable for a file that is missing or damaged."""
        current = self._open(self._path)
        return KnownRoots(current, tuple(self._open(path) for path in _earlier(self._path)))

    def mark(self) -> object:
        """Return what differs once the key in use was replaced."""
        return _mark(self._path)

    def rotate(self) -> RootKey:
        """Put a fresh key of the service in use and keep the one before; return it."""
        with locked(self._folder):
            content = _read(self._path)
            create_private(_earlier_path(self._path, self._open(self._path).id), content)
            replace_private(self._path, _ciphertext_file(self._service.make_data_key()))
        return self._open(self._path)

    def retire(self, root_id: str) -> None:
        """Forget an earlier key's ciphertext for good."""
        remove(_earlier_path(self._path, root_id))

    def since(self, root_id: str) -> datetime | None:
        """Return when an earlier key was superseded; None where it is not kept."""
        return _since(_earlier_path(self._path, root_id))

    def _open(self, path: Path) -> RootKey:
        content = _read(path)
        if content not in self._opened:
            secret = self._service.open_data_key(_ciphertext(content, path))
            self._opened[content] = RootKey.from_text(base64.b64encode(secret))
        return self._opened[content]


RotatingSource = FileRoots | EnvironmentRoots | ServiceRoots


def _read(path: Path) -> bytes:
    """Return a file's bytes. Links are followed: a secret store may mount its files as such."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise RootKeyUnusable(f"{path} is missing: start once with `./operalta up`, or provide it") from None
    except OSError as error:
        raise RootKeyUnusable(f"{path} cannot be read: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_BYTES:
            raise RootKeyUnusable(f"{path} is not a root key: provide 32 random bytes as base64")
        if status.st_mode & _OTHERS:
            raise KeyFileExposed(f"{path} can be read by others: run `chmod 600` on it")
        return file.read().strip()


def _mark(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_size, status.st_mtime_ns)


def _earlier(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}{_EARLIER}*"))


def _earlier_path(path: Path, root_id: str) -> Path:
    return path.with_name(f"{path.name}{_EARLIER}{root_id}")


def _since(path: Path) -> datetime | None:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return None


def _ciphertext_file(key: DataKey) -> bytes:
    return json.dumps({"ciphertext": base64.b64encode(key.ciphertext).decode()}, indent=1).encode()


def _ciphertext(content: bytes, path: Path) -> bytes:
    try:
        parsed = cast("dict[str, str]", json.loads(content))
        return base64.b64decode(parsed["ciphertext"], validate=True)
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise RootKeyUnusable(f"{path} is damaged: restore it from a backup") from None
