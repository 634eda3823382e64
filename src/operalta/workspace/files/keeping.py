"""What the use-cases of files share: files that the caller reaches, a free name, the rows of a version."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import PurePosixPath

from operalta.audit.rules import Action
from operalta.audit.service import record as record_event
from operalta.db.scope import Scope
from operalta.kernel.ids import FileId
from operalta.sandbox.errors import NameTaken, NoSuchFile
from operalta.workspace.errors import NameInTheWay
from operalta.workspace.files import store as rows
from operalta.workspace.files.file_store import FileStore
from operalta.workspace.files.passages import Passage, passages_of
from operalta.workspace.files.rules import Content, StoredFile, content_type_of, folders_above, text_in
from operalta.workspace.rules import LARGEST_PAGE


async def found_file(scope: Scope, store: FileStore, file_id: FileId) -> StoredFile:
    """Return a file, deleted or not. Raise NoSuchFile where there is none that `store` reaches."""
    file = await rows.find_file(scope, file=file_id)
    if file is None or not store.reaches(file.path):
        raise NoSuchFile
    return file


async def present_file(scope: Scope, store: FileStore, file_id: FileId) -> StoredFile:
    """Return a file that is not deleted. Raise NoSuchFile."""
    file = await found_file(scope, store, file_id)
    if file.deleted_at is not None:
        raise NoSuchFile
    return file


async def require_free(scope: Scope, path: str, file_id: FileId) -> None:
    """Raise NameTaken or NameInTheWay where this file cannot lie under `path`. The caller holds the files' lock."""
    present = await rows.find_file(scope, path=path)
    if present is not None and present.id != file_id:
        raise NameTaken
    if await rows.is_in_the_way(scope, path, folders_above(path), file_id):
        raise NameInTheWay


async def reached_files(
    store: FileStore, most: int, following: Callable[[StoredFile | None], Awaitable[list[StoredFile]]]
) -> list[StoredFile]:
    """Return files that `store` reaches, in their order: all that there are, or some more than `most`.

    `following` returns those after a file, or the first ones after None: `LARGEST_PAGE` + 1, or all that are left.
    """
    found: list[StoredFile] = []
    last: StoredFile | None = None
    while len(found) <= most:
        batch = await following(last)
        found += [file for file in batch if store.reaches(file.path)]
        if len(batch) <= LARGEST_PAGE:
            break
        last = batch[-1]
    return found


async def write_rows(
    scope: Scope,
    current: StoredFile | None,
    file_id: FileId,
    version: int,
    *,
    path: str,
    content: bytes,
    kept: Content,
) -> None:
    """Write a new version of a file, or a new file where there is no `current` one, with its event.

    `kept` is what the bytes of `content` are.
    """
    kind = content_type_of(path)
    if current is None:
        await rows.insert_file(scope, file_id, path, kept, kind)
    else:
        await rows.update_file(scope, file_id, version, kept, kind)
    await rows.insert_version(scope, file_id, version, kept)
    await write_passages(scope, file_id, path, content)
    await record_event(
        scope, Action.FILE_WRITTEN, "file", file_id, path=path, version=version, size=kept.size, sha256=kept.sha256
    )


async def write_passages(scope: Scope, file_id: FileId, path: str, content: bytes) -> None:
    """Write the passages of a present file's text, which depend on its name too."""
    await rows.replace_passages(scope, file_id, await asyncio.to_thread(_passages, path, content))


def _passages(path: str, content: bytes) -> list[Passage]:
    text = text_in(path, content)
    is_markdown = PurePosixPath(path).suffix.lower() in {".md", ".markdown"}
    return [] if text is None else passages_of(text, markdown=is_markdown)
