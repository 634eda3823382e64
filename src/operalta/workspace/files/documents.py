"""Reading documents that were brought: in the sandbox, between two transactions, so that none waits for a parser.

A file is there the moment it is brought; what it says can be found once it was read. A document that cannot be read
stays as it is, with a sentence that tells why.
"""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from operalta.access.rules import Permission
from operalta.db.permission import require
from operalta.db.scope import Scope
from operalta.kernel.errors import Refusal
from operalta.kernel.ids import FileId
from operalta.sandbox.errors import KindNotRead, NoSuchFile
from operalta.sandbox.reading import rules
from operalta.sandbox.reading.rules import DocumentText
from operalta.terms.registry import upholds
from operalta.workspace.files import store as rows
from operalta.workspace.files.file_store import FileStore
from operalta.workspace.files.keeping import present_file
from operalta.workspace.files.passages import LONGEST_HEADING, Passage
from operalta.workspace.files.rules import StoredFile, text_in

ReadDocument = Callable[[str, bytes], Awaitable[DocumentText]]
OpenScope = Callable[[], AbstractAsyncContextManager[Scope]]

_MOST_NOTES = 12
_LONGEST_NOTE = 400


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of reading a document: counts by their names, notes for people, or why it was not read."""

    facts: dict[str, int]
    notes: tuple[str, ...]
    cut: bool
    refusal: str | None


@upholds("5.4.3")
async def read_again(open_scope: OpenScope, store: FileStore, read: ReadDocument, file_id: FileId) -> None:
    """Read the present version of a file as `read_brought` does.

    Raise NoSuchFile, FileDamaged before anything is read.
    """
    async with open_scope() as scope:
        require(scope, Permission.FILES_WRITE)
        file = await present_file(scope, store, file_id)
        content = await store.read_version(scope.company, file.id, file.version, file.content)
    await read_brought(open_scope, store, read, file, content)


@upholds("5.4.3")
async def read_brought(
    open_scope: OpenScope, store: FileStore, read: ReadDocument, file: StoredFile, content: bytes
) -> None:
    """Read a file whose present bytes are at hand and write down what it says, or why it was not read.

    Texts, whose words are known already, and kinds that are not read stay as they are. Where the file has changed or
    gone meanwhile, nothing is written.
    """
    if text_in(file.path, content) is not None:
        return
    passages: list[Passage] = []
    try:
        document = await read(file.path, content)
    except KindNotRead:
        return
    except Refusal as refusal:
        reading = Reading({}, (), cut=False, refusal=refusal.public_text)
    else:
        passages = [_kept_passage(found) for found in document.passages]
        reading = Reading(dict(document.facts), document.notes, cut=document.cut, refusal=None)
    async with open_scope() as scope:
        await _keep(scope, store, file, passages, reading)


async def reading_of(scope: Scope, file: StoredFile) -> Reading | None:
    """Return what came of reading a file's present version; None where there was nothing to read."""
    require(scope, Permission.FILES_READ)
    kept = await rows.reading_of(scope, file.id)
    if kept is None:
        return None
    return Reading(kept["facts"], tuple(kept["notes"]), cut=kept["cut"], refusal=kept["refusal"])


async def _keep(scope: Scope, store: FileStore, read: StoredFile, passages: list[Passage], reading: Reading) -> None:
    require(scope, Permission.FILES_WRITE)
    await rows.lock_files(scope)
    try:
        file = await present_file(scope, store, read.id)
    except NoSuchFile:
        return
    if (file.version, file.content) != (read.version, read.content):
        return
    await rows.replace_passages(scope, file.id, passages)
    kept = {
        "facts": reading.facts,
        "notes": [note[:_LONGEST_NOTE] for note in reading.notes[:_MOST_NOTES]],
        "cut": reading.cut,
        "refusal": reading.refusal,
    }
    await rows.note_reading(scope, file.id, kept)


def _kept_passage(found: rules.Passage) -> Passage:
    heading = " · ".join(part for part in (found.place, found.heading) if part)
    return Passage(heading[:LONGEST_HEADING], found.body)
