"""Where deleted files lie: listed, restored with all their versions, or deleted for good.

Whoever deletes a file puts it here, so that no mistake of a person or an agent loses anything. What lies in the bin
still takes room; only a person deletes for good, in a session of their own.
"""

from operalta.access.rules import Permission
from operalta.audit.rules import Action
from operalta.audit.service import record as record_event
from operalta.db.permission import require
from operalta.db.scope import Scope
from operalta.kernel.errors import NotAllowed
from operalta.kernel.ids import FileId
from operalta.terms.registry import upholds
from operalta.workspace.errors import FileChangedMeanwhile, NotInTheBin
from operalta.workspace.files import store as rows
from operalta.workspace.files.file_store import FileStore
from operalta.workspace.files.keeping import (
    found_file,
    present_file,
    reached_files,
    require_free,
    write_passages,
)
from operalta.workspace.files.rules import StoredFile, content_type_of
from operalta.workspace.rules import (
    LARGEST_PAGE,
    USUAL_PAGE,
    Page,
    Position,
    checked_limit,
    page_of,
    position_cursor,
    position_in,
)


@upholds("2.5.3", "5.1.3", "5.2.1")
async def delete(scope: Scope, store: FileStore, file_id: FileId, version: int | None = None) -> None:
    """Put a file into the bin, with all its versions. Raise NoSuchFile.

    With `version`, only where that is still the present one; raise FileChangedMeanwhile otherwise.
    """
    require(scope, Permission.FILES_WRITE)
    await rows.lock_files(scope)
    file = await present_file(scope, store, file_id)
    if version is not None and file.version != version:
        raise FileChangedMeanwhile
    await rows.mark_deleted(scope, file.id)
    await rows.replace_passages(scope, file.id, [])
    await record_event(scope, Action.FILE_DELETED, "file", file.id, path=file.path, version=file.version)
    await store.hide(scope.company, file.path)


async def list_deleted(
    scope: Scope, store: FileStore, cursor: str | None = None, limit: int = USUAL_PAGE
) -> Page[StoredFile]:
    """Return the files in the bin, the last deleted first. Raise InvalidInput for a cursor that is none."""
    require(scope, Permission.FILES_READ)
    most = checked_limit(limit)
    after = position_in(cursor)

    async def following(last: StoredFile | None) -> list[StoredFile]:
        return await rows.page_of_bin(scope, _place(last) if last else after, LARGEST_PAGE + 1)

    found = await reached_files(store, most, following)
    return page_of(found, most, lambda last: position_cursor(_place(last)))


@upholds("2.5.3", "5.1.3", "5.2.1", "5.2.2")
async def restore(scope: Scope, store: FileStore, file_id: FileId, path: str | None = None) -> StoredFile:
    """Take a file out of the bin, under its own name or another, and return it.

    Raise InvalidPath, NotDeclared, NeverWritable before anything is touched; NoSuchFile, NotInTheBin, FileDamaged;
    NameTaken or NameInTheWay where something else has come to lie there: give another name then.
    """
    require(scope, Permission.FILES_WRITE)
    wanted = None if path is None else store.checked_for_writing(path, 0)
    await rows.lock_files(scope)
    file = await found_file(scope, store, file_id)
    if file.deleted_at is None:
        raise NotInTheBin
    name = wanted or store.checked_for_writing(file.path, 0)
    await require_free(scope, name, file.id)
    content = await store.read_version(scope.company, file.id, file.version, file.content)
    await rows.place(scope, file.id, name, content_type_of(name))
    await write_passages(scope, file.id, name, content)
    await record_event(scope, Action.FILE_RESTORED, "file", file.id, path=name, version=file.version)
    await store.show(scope.company, name, content)
    return await present_file(scope, store, file.id)


@upholds("2.5.3", "5.2.1")
async def delete_for_good(scope: Scope, store: FileStore, file_id: FileId) -> None:
    """Delete a file in the bin and all its versions, which nothing brings back. Raise NoSuchFile, NotInTheBin.

    No run of an agent may: what nobody can undo is for people, in their own session.
    """
    require(scope, Permission.FILES_WRITE)
    if scope.actor.run_id is not None:
        raise NotAllowed
    await rows.lock_files(scope)
    file = await found_file(scope, store, file_id)
    if not await rows.delete_for_good(scope, file.id):
        raise NotInTheBin
    await record_event(scope, Action.FILE_DELETED_FOR_GOOD, "file", file.id, path=file.path, version=file.version)
    await store.drop_versions(scope.company, file.id)


def _place(file: StoredFile) -> Position:
    if file.deleted_at is None:
        raise RuntimeError("a file in the bin says when it was deleted")
    return Position(file.deleted_at, file.id)
