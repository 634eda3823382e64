"""Bringing files, moving them, reading them, finding passages in them. The tools of agents are these same functions.

Each takes the `FileStore` beside the scope; one that is narrowed to some folders narrows all of them.
"""

import asyncio

from operalta.access.rules import Permission
from operalta.audit.rules import Action
from operalta.audit.service import record as record_event
from operalta.db.permission import require
from operalta.db.scope import Scope
from operalta.kernel.errors import InvalidInput
from operalta.kernel.ids import FileId, new_id
from operalta.kernel.texts import checked_text
from operalta.sandbox.errors import NoSuchFile
from operalta.sandbox.files import Workspace
from operalta.sandbox.reading.rules import text_of
from operalta.terms.registry import upholds
from operalta.workspace.errors import FileChangedMeanwhile, NameInTheWay, NotText
from operalta.workspace.files import store as rows
from operalta.workspace.files.file_store import FileStore
from operalta.workspace.files.keeping import (
    found_file,
    present_file,
    reached_files,
    require_free,
    write_passages,
    write_rows,
)
from operalta.workspace.files.rules import (
    Content,
    Download,
    FileText,
    FileWithVersions,
    FoundPassage,
    StoredFile,
    content_type_of,
    folders_above,
    text_in,
)
from operalta.workspace.rules import (
    LARGEST_PAGE,
    USUAL_PAGE,
    Page,
    any_of,
    checked_limit,
    checked_query,
    decode_cursor,
    encode_cursor,
    page_of,
)

LONGEST_READING = 1_000_000
MOST_PASSAGES_FOUND = 50


@upholds("2.5.3", "5.1.3", "5.2.1", "5.2.2")
async def upload(scope: Scope, store: FileStore, path: str, content: bytes) -> StoredFile:
    """Bring a file, or a new version of the one that has this name, and return it.

    Its type follows from its extension alone. The same bytes again make no new version. Raise InvalidPath,
    NotDeclared, NeverWritable, FileTooLarge before any byte is touched; NameInTheWay, WorkspaceFull, TooManyFiles.
    """
    require(scope, Permission.FILES_WRITE)
    name = store.checked_for_writing(path, len(content))
    await rows.lock_files(scope)
    if await rows.is_in_the_way(scope, name, folders_above(name)):
        raise NameInTheWay
    current = await rows.find_file(scope, path=name)
    kept = await asyncio.to_thread(Content.of, content)
    if current is not None and current.content == kept:
        # Written once more, because that mends a version whose bytes were damaged.
        await store.write_version(scope.company, current.id, current.version, content)
        return current
    file_id = FileId(new_id()) if current is None else current.id
    version = 1 if current is None else current.version + 1
    await store.write_version(scope.company, file_id, version, content)
    try:
        await write_rows(scope, current, file_id, version, path=name, content=content, kept=kept)
        await store.show(scope.company, name, content)
    except BaseException:
        await store.discard_version(scope.company, file_id, version, kept)
        raise
    return await found_file(scope, store, file_id)


async def replace(scope: Scope, store: FileStore, path: str, content: bytes, version: int) -> StoredFile:
    """Bring a file as `upload` does, over exactly the `version` that was worked on; 0 where there was no file.

    Raise FileChangedMeanwhile where another one is there by now, and what `upload` raises.
    """
    require(scope, Permission.FILES_WRITE)
    name = store.checked_for_writing(path, len(content))
    await rows.lock_files(scope)
    current = await rows.find_file(scope, path=name)
    if (0 if current is None else current.version) != version:
        raise FileChangedMeanwhile
    return await upload(scope, store, name, content)


async def write_text(scope: Scope, store: FileStore, path: str, text: str) -> StoredFile:
    """Write a text as `upload` does, in UTF-8. Raise InvalidInput for what is no text."""
    return await upload(scope, store, path, checked_text(text, "content", store.limits.file_bytes).encode())


@upholds("2.5.3", "5.1.3", "5.2.1", "5.2.2")
async def append_text(scope: Scope, store: FileStore, path: str, text: str) -> StoredFile:
    """Put a text behind what a text file holds, on a line of its own, as a new version; or into a new file.

    Raise what `upload` raises; InvalidInput for what is no text, NotText for a file of another kind, FileDamaged.
    """
    require(scope, Permission.FILES_WRITE)
    added = checked_text(text, "content", store.limits.file_bytes).encode()
    name = store.checked_for_writing(path, len(added))
    await rows.lock_files(scope)
    current = await rows.find_file(scope, path=name)
    if current is None:
        return await upload(scope, store, name, added)
    content = await store.read_version(scope.company, current.id, current.version, current.content)
    if text_in(name, content) is None:
        raise NotText
    return await upload(scope, store, name, joined(content, added))


def joined(content: bytes, added: bytes) -> bytes:
    """Return a text with another behind it, on a line of its own."""
    return content + (b"\n" if content and added and not content.endswith(b"\n") else b"") + added


@upholds("2.5.3", "5.1.3", "5.2.1", "5.2.2")
async def move(scope: Scope, store: FileStore, file_id: FileId, path: str) -> StoredFile:
    """Give a file another name, and return it. Its versions stay with it; nothing is replaced.

    Raise InvalidPath, NotDeclared, NeverWritable before anything is touched; NoSuchFile, FileDamaged, NameTaken,
    NameInTheWay.
    """
    require(scope, Permission.FILES_WRITE)
    name = store.checked_for_writing(path, 0)
    await rows.lock_files(scope)
    file = await present_file(scope, store, file_id)
    if name == file.path:
        return file
    await require_free(scope, name, file.id)
    content = await store.read_version(scope.company, file.id, file.version, file.content)
    await rows.place(scope, file.id, name, content_type_of(name))
    if text_in(file.path, content) is not None or text_in(name, content) is not None:
        await write_passages(scope, file.id, name, content)
    await record_event(scope, Action.FILE_MOVED, "file", file.id, path=name, was=file.path, version=file.version)
    await store.rename(scope.company, file.path, name, content)
    return await present_file(scope, store, file.id)


@upholds("2.5.3", "5.1.3")
async def restore_version(scope: Scope, store: FileStore, file_id: FileId, version: int) -> StoredFile:
    """Make an old version of a file its newest one; those in between stay. Raise NoSuchFile, FileDamaged."""
    require(scope, Permission.FILES_WRITE)
    await rows.lock_files(scope)
    file = await present_file(scope, store, file_id)
    old = await download(scope, store, file.id, version)
    made = await upload(scope, store, file.path, old.content)
    if made.version != file.version:
        await record_event(
            scope, Action.FILE_RESTORED, "file", file.id, path=file.path, version=made.version, restored=version
        )
    return made


async def find_at(scope: Scope, store: FileStore, path: str) -> StoredFile:
    """Return the present file of this name. Raise NoSuchFile, and InvalidPath or NotDeclared before that."""
    require(scope, Permission.FILES_READ)
    file = await rows.find_file(scope, path=store.checked_path(path))
    if file is None:
        raise NoSuchFile
    return file


async def get(scope: Scope, store: FileStore, file_id: FileId) -> FileWithVersions:
    """Return a file, deleted or not, with its versions. Raise NoSuchFile."""
    require(scope, Permission.FILES_READ)
    file = await found_file(scope, store, file_id)
    return FileWithVersions(file, tuple(await rows.versions_of(scope, file.id)))


async def list_files(
    scope: Scope, store: FileStore, folder: str = "", cursor: str | None = None, limit: int = USUAL_PAGE
) -> Page[StoredFile]:
    """Return the present files by name, those below `folder` where one is given. Raise InvalidPath, InvalidInput."""
    require(scope, Permission.FILES_READ)
    most = checked_limit(limit)
    trimmed = folder.removesuffix("/")
    below = f"{store.checked_path(trimmed)}/" if trimmed else ""
    after = None if cursor is None else decode_cursor(cursor, 1)[0]

    async def following(last: StoredFile | None) -> list[StoredFile]:
        return await rows.page_of_files(scope, below, last.path if last else after, LARGEST_PAGE + 1)

    found = await reached_files(store, most, following)
    return page_of(found, most, lambda last: encode_cursor(last.path))


@upholds("5.2.1", "5.2.2")
async def read_text(scope: Scope, store: FileStore, path: str, limit: int = LONGEST_READING) -> FileText:
    """Return the beginning of a text file, or of what a document says, at most `limit` characters.

    Raise NoSuchFile, NotText, FileDamaged, and InvalidPath or NotDeclared before anything is touched.
    """
    require(scope, Permission.FILES_READ)
    if not 1 <= limit <= LONGEST_READING:
        raise InvalidInput(f"The limit is between 1 and {LONGEST_READING} characters.", field="limit")
    file = await find_at(scope, store, path)
    content = await store.read_version(scope.company, file.id, file.version, file.content)
    text = text_in(file.path, content)
    if text is not None:
        return FileText(file, text[:limit], len(text) <= limit)
    passages = await rows.passages_of(scope, file.id)
    if not passages:
        raise NotText
    reading = await rows.reading_of(scope, file.id)
    text = text_of((passage.heading, passage.body) for passage in passages)
    return FileText(file, text[:limit], len(text) <= limit and not (reading and reading["cut"]))


async def download(scope: Scope, store: FileStore, file_id: FileId, version: int | None = None) -> Download:
    """Return the verified bytes of a file, or of one of its versions (of a deleted file too).

    Raise NoSuchFile, FileDamaged.
    """
    require(scope, Permission.FILES_READ)
    if version is None:
        file = await present_file(scope, store, file_id)
        wanted, content = file.version, file.content
    else:
        file = await found_file(scope, store, file_id)
        kept = await rows.content_of(scope, file_id, version) if 0 < version < 2**31 else None
        if kept is None:
            raise NoSuchFile
        wanted, content = version, kept
    return Download(file, wanted, await store.read_version(scope.company, file_id, wanted, content))


@upholds("5.1.1")
async def search_passages(scope: Scope, store: FileStore, query: str, limit: int = 20) -> tuple[FoundPassage, ...]:
    """Return the passages of this company's files whose words match best, at most 50, each to be cited.

    Quotes, `or` and a minus work as in a web search. Where no passage holds all the words, those with any of them.
    """
    require(scope, Permission.FILES_READ)
    most = min(checked_limit(limit), MOST_PASSAGES_FOUND)
    asked = checked_query(query)
    if asked is None:
        return ()
    for words in (asked, any_of(asked)):
        if words is not None:
            found = await rows.matching_passages(scope, words, MOST_PASSAGES_FOUND)
            reached = tuple(passage for passage in found if store.reaches(passage.path))
            if reached:
                return reached[:most]
    return ()


@upholds("5.2.1")
async def make_working_copy(scope: Scope, store: FileStore, target: Workspace) -> int:
    """Copy all present files that `store` reaches into `target`, under their names; return how many.

    The bytes are those that rows point to, verified. `target` has limits of its own.
    """
    require(scope, Permission.FILES_READ)
    cursor: str | None = None
    copied = 0
    while True:
        page = await list_files(scope, store, cursor=cursor, limit=LARGEST_PAGE)
        for file in page.items:
            content = await store.read_version(scope.company, file.id, file.version, file.content)
            await asyncio.to_thread(target.write_bytes, file.path, content)
            copied += 1
        cursor = page.next_cursor
        if cursor is None:
            return copied
