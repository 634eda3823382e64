"""The bytes of companies' files: one folder for each company, each version under its own digest.

Below a company's folder, `versions/<file id>/<version>-<sha256>` holds the bytes that rows point to, and
`files/<path>` shows the present ones under their names, for people who look at the disk and for backups.

The order of a change is: the bytes of the new version, then the rows, then `files/<path>`. A version's name holds
its digest, so a transaction that fails leaves bytes that no row points to, and never a row that points to other
bytes. What is read is always a version, and its digest is checked; `files/` is a copy and decides nothing.
"""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from operalta.kernel.ids import CompanyId, FileId
from operalta.sandbox.errors import (
    DirectoryNotEmpty,
    FileTooLarge,
    InvalidPath,
    NameTaken,
    NoSuchFile,
    NotADirectory,
    NotARegularFile,
    NotDeclared,
)
from operalta.sandbox.files import FileKind, FileLimits, Workspace
from operalta.sandbox.rules import WorkspacePath, check_declared, check_writable, declared_in_both, parse_path
from operalta.terms.registry import upholds
from operalta.workspace.errors import FileDamaged
from operalta.workspace.files.rules import LONGEST_PATH, Content, folders_above

_FILES, _VERSIONS = "files", "versions"

Result = TypeVar("Result")


@upholds("5.2.1", "5.2.2")
class FileStore:
    """The bytes of all companies' files, below `workspaces`.

    `limits` cap one file, and all of a company's (old versions and the copies under their names count). With
    `directories`, only files below these folders exist for whoever holds the store: an agent's run gets one that
    is narrowed to what was declared for it.
    """

    def __init__(self, workspaces: Path, limits: FileLimits | None = None, directories: tuple[str, ...] = ()) -> None:
        self.limits = limits or FileLimits()
        self._workspaces = workspaces
        self._declared = tuple(parse_path(name) for name in directories) or (WorkspacePath(()),)

    def narrowed_to(self, *directories: str) -> "FileStore":
        """Return the same store with no more than `directories`, and of those no more than this one reaches.

        Raise NotDeclared where nothing would be left.
        """
        common = declared_in_both(self._declared, tuple(parse_path(name) for name in directories))
        if not common:
            raise NotDeclared
        narrowed = FileStore(self._workspaces, self.limits)
        narrowed._declared = common
        return narrowed

    def reaches(self, path: str) -> bool:
        """Tell whether a stored file of this name exists for whoever holds this store."""
        parts = tuple(path.split("/"))
        return any(parts[: len(directory.parts)] == directory.parts for directory in self._declared)

    def checked_path(self, path: str) -> str:
        """Return a name in its one form. Raise InvalidPath or NotDeclared before anything is touched."""
        if len(path) > LONGEST_PATH:
            raise InvalidPath(f"A file name has at most {LONGEST_PATH} characters.", field="path")
        parsed = parse_path(path)
        # It lies one level deeper on disk, and composing may have changed its length.
        parse_path(f"{_FILES}/{parsed}")
        if len(str(parsed)) > LONGEST_PATH:
            raise InvalidPath(f"A file name has at most {LONGEST_PATH} characters.", field="path")
        check_declared(parsed, self._declared)
        return str(parsed)

    def checked_for_writing(self, path: str, size: int) -> str:
        """Return a name as `checked_path` does. Raise NeverWritable or FileTooLarge as well."""
        checked = self.checked_path(path)
        check_writable(parse_path(checked))
        if size > self.limits.file_bytes:
            raise FileTooLarge(f"A file may have at most {self.limits.file_bytes} bytes.")
        return checked

    async def write_version(self, company: CompanyId, file: FileId, version: int, content: bytes) -> None:
        """Keep the bytes of a version, under a name that tells their digest."""

        def write(workspace: Workspace) -> None:
            workspace.write_bytes(_version_name(file, version, Content.of(content)), content)

        await self._in(company, write)

    async def discard_version(self, company: CompanyId, file: FileId, version: int, content: Content) -> None:
        """Drop the bytes of a version that no row came to point to."""

        def discard(workspace: Workspace) -> None:
            with contextlib.suppress(NoSuchFile, DirectoryNotEmpty):
                workspace.delete(_version_name(file, version, content))
                workspace.delete(f"{_VERSIONS}/{file}")

        await self._in(company, discard)

    async def read_version(self, company: CompanyId, file: FileId, version: int, content: Content) -> bytes:
        """Return the bytes of a version. Raise FileDamaged where they are not those that were stored."""

        def read(workspace: Workspace) -> bytes:
            try:
                found = workspace.read_bytes(_version_name(file, version, content))
            except NoSuchFile:
                raise FileDamaged from None
            if Content.of(found) != content:
                raise FileDamaged
            return found

        return await self._in(company, read)

    async def show(self, company: CompanyId, path: str, content: bytes) -> None:
        """Put a file's present bytes under its name. What a failed change left in the way is cleared."""
        await self._in(company, lambda workspace: _write_copy(workspace, path, content))

    async def hide(self, company: CompanyId, path: str) -> None:
        """Take a deleted file's name away, and folders that it leaves empty."""
        await self._in(company, lambda workspace: _take_away(workspace, path))

    async def rename(self, company: CompanyId, path: str, to: str, content: bytes) -> None:
        """Put a file under its new name. Where the copies on disk are not as the rows say, they are made so."""

        def move(workspace: Workspace) -> None:
            try:
                workspace.move(f"{_FILES}/{path}", f"{_FILES}/{to}")
            except (NameTaken, NoSuchFile, NotADirectory, NotARegularFile):
                _take_away(workspace, path)
                _write_copy(workspace, to, content)
            else:
                _drop_empty_folders(workspace, path)

        await self._in(company, move)

    async def drop_versions(self, company: CompanyId, file: FileId) -> None:
        """Drop the bytes of all versions of a file, for good."""
        await self._in(company, lambda workspace: _remove_folder(workspace, f"{_VERSIONS}/{file}"))

    async def _in(self, company: CompanyId, work: Callable[[Workspace], Result]) -> Result:
        def run() -> Result:
            with Workspace(self._workspaces / str(company), limits=self.limits) as workspace:
                return work(workspace)

        return await asyncio.to_thread(run)


def _version_name(file: FileId, version: int, content: Content) -> str:
    return f"{_VERSIONS}/{file}/{version}-{content.sha256}"


def _write_copy(workspace: Workspace, path: str, content: bytes) -> None:
    name = f"{_FILES}/{path}"
    try:
        workspace.write_bytes(name, content)
    except (NotADirectory, NotARegularFile, NoSuchFile):
        _clear_the_way(workspace, path)
        workspace.write_bytes(name, content)


def _take_away(workspace: Workspace, path: str) -> None:
    # A folder that stands there instead is not this file's copy.
    with contextlib.suppress(NoSuchFile, DirectoryNotEmpty):
        workspace.delete(f"{_FILES}/{path}")
    _drop_empty_folders(workspace, path)


def _drop_empty_folders(workspace: Workspace, path: str) -> None:
    for folder in reversed(folders_above(path)):
        with contextlib.suppress(NoSuchFile):
            if not workspace.list(f"{_FILES}/{folder}").entries:
                workspace.delete(f"{_FILES}/{folder}")


def _clear_the_way(workspace: Workspace, path: str) -> None:
    for folder in folders_above(path):
        with contextlib.suppress(NoSuchFile):
            if workspace.stat(f"{_FILES}/{folder}").kind is FileKind.FILE:
                workspace.delete(f"{_FILES}/{folder}")
                return
    _remove_folder(workspace, f"{_FILES}/{path}")


def _remove_folder(workspace: Workspace, folder: str) -> None:
    with contextlib.suppress(NoSuchFile):
        for entry in workspace.list(folder).entries:
            if entry.kind is FileKind.DIRECTORY:
                _remove_folder(workspace, str(entry.path))
            else:
                workspace.delete(str(entry.path))
        workspace.delete(folder)
