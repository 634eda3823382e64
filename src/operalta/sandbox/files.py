"""The files of one workspace on disk: read, written, moved, listed, deleted below one directory, and nowhere else.

All functions are synchronous and quick; callers on an event loop run them in a thread. One `Workspace` may
be used by several threads. Limits on count and total size hold between processes too, through a lock on the
directory.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from operalta.kernel.errors import Refusal
from operalta.sandbox import errors
from operalta.sandbox.openat2 import open_beneath, rename_within, require_openat2
from operalta.sandbox.rules import (
    TEMPORARY_PREFIX,
    WorkspacePath,
    check_declared,
    check_writable,
    is_usable_name,
    parse_path,
)
from operalta.sandbox.usage import measure
from operalta.terms.registry import upholds

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY  # so that a pipe or a terminal cannot hold us
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY_MODE = 0o700
_FILE_MODE = 0o600
_CHUNK_BYTES = 1024 * 1024
_MOST_EXCHANGES = 64
_ROOT = WorkspacePath(())

_REFUSALS: dict[int, type[Refusal]] = {
    errno.ENOENT: errors.NoSuchFile,
    errno.ENOTDIR: errors.NoSuchFile,
    errno.ELOOP: errors.LinkRefused,
    errno.EXDEV: errors.LinkRefused,
    errno.EISDIR: errors.NotARegularFile,
    errno.ENXIO: errors.NotARegularFile,
    errno.ENODEV: errors.NotARegularFile,
    errno.EEXIST: errors.NameTaken,
    errno.ENOTEMPTY: errors.DirectoryNotEmpty,
    errno.ENAMETOOLONG: errors.InvalidPath,
    errno.EINVAL: errors.InvalidPath,
    errno.EILSEQ: errors.InvalidPath,
    errno.ENOSPC: errors.WorkspaceFull,
    errno.EDQUOT: errors.WorkspaceFull,
    errno.EFBIG: errors.FileTooLarge,
}


class FileKind(StrEnum):
    """What a name in a workspace stands for."""

    FILE = "file"
    DIRECTORY = "directory"


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file or directory. `size` is in bytes (0 for a directory), `modified` is aware, in UTC."""

    path: WorkspacePath
    kind: FileKind
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Listing:
    """What a directory holds, by name. `hidden` counts what cannot be opened: links, devices, odd names."""

    entries: tuple[FileEntry, ...]
    hidden: int


@dataclass(frozen=True, slots=True)
class FileLimits:
    """How much a workspace may hold: bytes in one file, bytes in all, and entries (directories count)."""

    file_bytes: int = 25 * 1024 * 1024
    total_bytes: int = 1024 * 1024 * 1024
    entries: int = 10_000


@upholds("5.2.1", "5.2.3")
class Workspace:
    """The files below `root`, made (0700) where it is missing. Close it, or use it in a `with` block.

    With `directories`, nothing outside those (and nothing beside them in `root`) can be reached.
    `writable=False` refuses every change. Raise FilesUnavailable where the kernel cannot resolve names:
    there is no other way.
    """

    def __init__(
        self,
        root: Path,
        *,
        directories: tuple[str, ...] = (),
        writable: bool = True,
        limits: FileLimits | None = None,
    ) -> None:
        self.limits = limits or FileLimits()
        self._writable = writable
        self._declared = tuple(parse_path(name) for name in directories) or (_ROOT,)
        root.mkdir(mode=_DIRECTORY_MODE, parents=True, exist_ok=True)
        try:
            self._root = os.open(root, _DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise errors.FilesUnavailable("The workspace's directory cannot be opened.") from error
        try:
            require_openat2(self._root)
        except BaseException:
            os.close(self._root)
            raise

    def __enter__(self) -> Self:
        """Return the workspace itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Give the directory's descriptor back; the workspace cannot be used afterwards."""
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def read_bytes(self, path: str, limit: int | None = None) -> bytes:
        """Return the content of a file of at most `limit` bytes, and never more than the workspace's cap."""
        most = self.limits.file_bytes if limit is None else min(limit, self.limits.file_bytes)
        content = self._read_ordinary(self._reachable(path), most + 1)
        if len(content) > most:
            raise errors.FileTooLarge(f"This file is larger than {most} bytes.")
        return content

    def write_bytes(self, path: str, content: bytes, *, make_parents: bool = True) -> FileEntry:
        """Write a file whole: readers see the old content or the new; a failure leaves the old in place."""
        target = self._changeable(path)
        self._require_size(len(content))
        with self._locked():
            return self._put(target, content, make_parents=make_parents)

    def append_bytes(self, path: str, content: bytes, *, make_parents: bool = True) -> FileEntry:
        """Put `content` behind what a file holds, or into a new file: whole or not at all, as `write_bytes` does."""
        target = self._changeable(path)
        self._require_size(len(content))
        with self._locked():
            try:
                before = self.read_bytes(path)
            except errors.NoSuchFile:
                before = b""
            self._require_size(len(before) + len(content))
            return self._put(target, before + content, make_parents=make_parents)

    def move(self, path: str, to: str, *, make_parents: bool = True) -> FileEntry:
        """Give a file another name. What has that name already is not replaced: raise NameTaken."""
        source, target = self._changeable(path), self._changeable(to)
        with self._locked():
            with self._opened(source.parent, _DIRECTORY) as parent:
                if _ordinary_at(parent, source.name) is None:
                    raise errors.NoSuchFile
            if make_parents:
                self._make_directories(target.parent)
            with (
                self._opened(source.parent, _DIRECTORY) as parent,
                self._opened(target.parent, _DIRECTORY) as new_parent,
                _mapped(),
            ):
                rename_within(parent, source.name, new_parent, target.name)
                return _entry(target, os.stat(target.name, dir_fd=new_parent, follow_symlinks=False))

    def make_directories(self, path: str) -> None:
        """Make the directory `path` and those above it, where they are missing."""
        target = self._changeable(path)
        with self._locked():
            self._make_directories(target)

    def list(self, path: str = "") -> Listing:
        """Return what the directory `path` holds; without a path, what can be reached at the top."""
        directory = self._reachable(path) if path else _ROOT
        entries: list[FileEntry] = []
        hidden = 0
        with self._opened(directory, _DIRECTORY) as descriptor, os.scandir(descriptor) as found:
            for item in found:
                inner = WorkspacePath((*directory.parts, item.name))
                if item.name.startswith(TEMPORARY_PREFIX) or not self._leads_to_declared(inner):
                    continue
                try:
                    entries.append(_entry(inner, item.stat(follow_symlinks=False)))
                except FileNotFoundError:
                    continue
                except Refusal:
                    hidden += 1
        entries.sort(key=lambda entry: (entry.kind is FileKind.FILE, entry.path.name))
        return Listing(tuple(entries), hidden)

    def stat(self, path: str) -> FileEntry:
        """Return what `path` is. Raise NoSuchFile, LinkRefused or NotARegularFile."""
        target = self._reachable(path)
        with self._opened(target, os.O_PATH) as descriptor:
            return _entry(target, os.fstat(descriptor))

    def delete(self, path: str) -> None:
        """Delete a file, or an empty directory."""
        target = self._changeable(path)
        if target in self._declared:
            raise errors.NotDeclared("A directory that was opened for this work stays. Delete what is in it.")
        with self._opened(target.parent, _DIRECTORY) as parent, _mapped():
            found = os.stat(target.name, dir_fd=parent, follow_symlinks=False)
            if _entry(target, found).kind is FileKind.DIRECTORY:
                os.rmdir(target.name, dir_fd=parent)
            else:
                os.unlink(target.name, dir_fd=parent)

    def _read_ordinary(self, path: WorkspacePath, most: int) -> bytes:
        """Return up to `most` bytes of a file that its name leads to, and no other name does.

        A second name that was taken away since the file was opened leaves one, and that may lie elsewhere. So name and
        count are asked for once more, in one call, when the file is open; where the name leads to another one by now,
        or to none, it is opened anew.
        """
        for _ in range(_MOST_EXCHANGES):
            with self._opened(path, _READ) as descriptor:
                opened = os.fstat(descriptor)
                _require_ordinary(opened)
                with self._opened(path.parent, _DIRECTORY) as parent:
                    found = _ordinary_at(parent, path.name)
                if found is not None and os.path.samestat(found, opened):
                    return _read_up_to(descriptor, most)
        raise errors.LinkRefused("This file was exchanged while it was being opened. Try it again.")

    def _reachable(self, path: str) -> WorkspacePath:
        target = parse_path(path)
        check_declared(target, self._declared)
        return target

    def _changeable(self, path: str) -> WorkspacePath:
        target = self._reachable(path)
        if not self._writable:
            raise errors.ReadOnlyWorkspace
        check_writable(target)
        return target

    def _leads_to_declared(self, path: WorkspacePath) -> bool:
        shorter = len(path.parts)
        return any(path.parts[: len(directory.parts)] == directory.parts[:shorter] for directory in self._declared)

    @contextlib.contextmanager
    def _opened(self, path: WorkspacePath, flags: int) -> Generator[int]:
        with _mapped():
            descriptor = open_beneath(self._root, str(path) or ".", flags)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _locked(self) -> Generator[None]:
        with self._opened(_ROOT, _DIRECTORY) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield

    def _put(self, target: WorkspacePath, content: bytes, *, make_parents: bool) -> FileEntry:
        if make_parents:
            self._make_directories(target.parent)
        with self._opened(target.parent, _DIRECTORY) as parent:
            replaced = _ordinary_at(parent, target.name)
            self._require_room(len(content), replaced)
            with _mapped():
                _replace(parent, target.name, content)
                return _entry(target, os.stat(target.name, dir_fd=parent, follow_symlinks=False))

    def _require_size(self, size: int) -> None:
        if size > self.limits.file_bytes:
            raise errors.FileTooLarge(f"A file may have at most {self.limits.file_bytes} bytes.")

    def _make_directories(self, path: WorkspacePath) -> None:
        for depth in range(1, len(path.parts) + 1):
            directory = WorkspacePath(path.parts[:depth])
            try:
                with self._opened(directory, os.O_PATH | os.O_DIRECTORY):
                    continue
            except errors.NoSuchFile:
                pass
            self._require_room(0, None)
            with self._opened(directory.parent, _DIRECTORY) as parent:
                try:
                    os.mkdir(directory.name, _DIRECTORY_MODE, dir_fd=parent)
                except FileExistsError:
                    raise errors.NotADirectory from None
                except OSError as error:
                    _refuse(error)

    def _require_room(self, added_bytes: int, replaced: os.stat_result | None) -> None:
        with self._opened(_ROOT, _DIRECTORY) as descriptor, _mapped():
            used = measure(descriptor)
        if replaced is None and used.entries >= self.limits.entries:
            raise errors.TooManyFiles
        if used.size - (replaced.st_size if replaced else 0) + added_bytes > self.limits.total_bytes:
            raise errors.WorkspaceFull


def _replace(parent: int, name: str, content: bytes) -> None:
    temporary = f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    descriptor = os.open(temporary, _CREATE, _FILE_MODE, dir_fd=parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=parent)
        raise
    os.fsync(parent)


def _ordinary_at(parent: int, name: str) -> os.stat_result | None:
    with _mapped():
        try:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return None
    _require_ordinary(found)
    return found


@upholds("5.2.3")
def _require_ordinary(found: os.stat_result) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise errors.LinkRefused
    if not stat.S_ISREG(found.st_mode):
        raise errors.NotARegularFile
    if found.st_nlink > 1:
        raise errors.LinkRefused("This file has a second name, which may lie elsewhere. Copy it instead.")


def _entry(path: WorkspacePath, found: os.stat_result) -> FileEntry:
    modified = datetime.fromtimestamp(found.st_mtime, UTC)
    if not is_usable_name(path.name):
        raise errors.InvalidPath(field="path")
    if stat.S_ISDIR(found.st_mode):
        return FileEntry(path, FileKind.DIRECTORY, 0, modified)
    _require_ordinary(found)
    return FileEntry(path, FileKind.FILE, found.st_size, modified)


def _read_up_to(descriptor: int, most: int) -> bytes:
    parts: list[bytes] = []
    left = most
    while left and (part := os.read(descriptor, min(left, _CHUNK_BYTES))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


@contextlib.contextmanager
def _mapped() -> Generator[None]:
    try:
        yield
    except OSError as error:
        _refuse(error)


def _refuse(error: OSError) -> NoReturn:
    refusal = _REFUSALS.get(error.errno or 0, errors.FilesUnavailable)
    raise refusal from error
