"""Making artifacts, revising them, finding them again. The tools of agents are these same functions.

Whoever may read and write files may read and write artifacts, with the same scopes of a key: they are what a company
writes, as files are, and an observer, who sees the memory, sees neither.
"""

from uuid import UUID

from operalta.access.rules import Permission
from operalta.audit.rules import Action
from operalta.audit.service import record as record_event
from operalta.db.permission import require
from operalta.db.scope import Scope
from operalta.kernel.errors import Conflict, InvalidInput, NotAllowed, NotFound
from operalta.kernel.ids import ApprovalId, ArtifactId, ConversationId, new_id
from operalta.kernel.texts import checked_line, checked_text
from operalta.terms.registry import upholds
from operalta.workspace.artifacts import store
from operalta.workspace.artifacts.rules import (
    LONGEST_NOTE,
    LONGEST_TITLE,
    MOST_VERSIONS,
    Artifact,
    ArtifactFile,
    ArtifactVersion,
    VersionLine,
    WholeArtifact,
    as_file,
    checked_content,
    difference,
    kind_called,
)
from operalta.workspace.errors import ArtifactArchived, ArtifactChangedMeanwhile, NoSuchArtifact
from operalta.workspace.rules import (
    USUAL_PAGE,
    Page,
    Position,
    any_of,
    checked_limit,
    checked_query,
    decode_cursor,
    encode_cursor,
    page_of,
    position_cursor,
    position_in,
)


@upholds("2.4.2", "2.5.3", "5.1.3")
async def create(
    scope: Scope,
    title: str,
    kind: str,
    content: str,
    *,
    private: bool = True,
    conversation_id: ConversationId | None = None,
    approval_id: ApprovalId | None = None,
) -> Artifact:
    """Make an artifact and return it; private to the person of the scope unless said otherwise.

    `conversation_id` says where it was begun, `approval_id` what a person approved, for an agent's run alone. Raise
    NotAllowed, InvalidInput.
    """
    require(scope, Permission.FILES_WRITE)
    _require_run_for(scope, approval_id)
    if private and not scope.actor.sees_private:
        raise InvalidInput("A company's key makes nothing private, nor does an open conversation.", field="private")
    title = checked_line(title, "title", LONGEST_TITLE, 1)
    wanted = kind_called(kind)
    content = checked_content(wanted, content)
    made = ArtifactId(new_id())
    await store.insert_artifact(
        scope, made, title, wanted, content, private=private, conversation=conversation_id, approval=approval_id
    )
    await record_event(scope, Action.ARTIFACT_WRITTEN, "artifact", made, version=1, kind=wanted, private=private)
    return await _found(scope, made)


@upholds("2.4.2", "2.5.3", "5.1.3")
async def revise(
    scope: Scope,
    artifact_id: ArtifactId,
    content: str,
    version: int,
    note: str = "",
    *,
    approval_id: ApprovalId | None = None,
) -> Artifact:
    """Write a new version of an artifact, begun from `version`, and return the artifact; the same words make none.

    Raise NoSuchArtifact, ArtifactArchived, InvalidInput, or ArtifactChangedMeanwhile where `version` is not the
    latest: of two who revise at once, the second has to look at what the first wrote.
    """
    require(scope, Permission.FILES_WRITE)
    _require_run_for(scope, approval_id)
    before = await get(scope, artifact_id)
    content = checked_content(before.artifact.kind, content)
    note = checked_text(note, "note", LONGEST_NOTE)
    if before.artifact.archived_at is not None:
        raise ArtifactArchived
    if before.artifact.version != version:
        raise _newer(before.artifact)
    if before.shown.content == content:
        return before.artifact
    if version >= MOST_VERSIONS:
        raise Conflict(f"An artifact has at most {MOST_VERSIONS:,} versions. Go on in a new one.")
    if not await store.revise_artifact(scope, artifact_id, content, version, note, approval_id):
        raise _newer(await _found(scope, artifact_id))
    await record_event(scope, Action.ARTIFACT_WRITTEN, "artifact", artifact_id, version=version + 1)
    return await _found(scope, artifact_id)


@upholds("2.4.2", "2.5.3")
async def rename(scope: Scope, artifact_id: ArtifactId, title: str) -> Artifact:
    """Give an artifact another title and return it. Raise NoSuchArtifact, InvalidInput."""
    require(scope, Permission.FILES_WRITE)
    title = checked_line(title, "title", LONGEST_TITLE, 1)
    if not await store.rename_artifact(scope, artifact_id, title):
        raise NoSuchArtifact
    await record_event(scope, Action.ARTIFACT_CHANGED, "artifact", artifact_id, changed="title")
    return await _found(scope, artifact_id)


@upholds("2.4.2", "2.5.3")
async def open_to_company(scope: Scope, artifact_id: ArtifactId) -> Artifact:
    """Open a private artifact of one's own to the company, with all its versions and for good, and return it.

    Only its person does so, in a session of their own; one that is open stays so. Raise NotAllowed, NoSuchArtifact.
    """
    require(scope, Permission.FILES_WRITE)
    found = await _found(scope, artifact_id)
    if found.private_to is None:
        return found
    if not await store.open_artifact(scope, artifact_id):
        raise NotAllowed("Only a person opens what is private to them, in a session of their own.")
    await record_event(scope, Action.ARTIFACT_OPENED, "artifact", artifact_id)
    return await _found(scope, artifact_id)


async def archive(scope: Scope, artifact_id: ArtifactId) -> Artifact:
    """Put an artifact away, out of lists and searches, with all its versions. Raise NoSuchArtifact."""
    return await _put(scope, artifact_id, Action.ARTIFACT_ARCHIVED)


async def restore(scope: Scope, artifact_id: ArtifactId) -> Artifact:
    """Bring an artifact back from the archive. Raise NoSuchArtifact."""
    return await _put(scope, artifact_id, Action.ARTIFACT_RESTORED)


async def get(scope: Scope, artifact_id: ArtifactId, version: int | None = None) -> WholeArtifact:
    """Return an artifact and what it says, now or in one of its versions. Raise NoSuchArtifact, NotFound."""
    require(scope, Permission.FILES_READ)
    found = await _found(scope, artifact_id)
    return WholeArtifact(found, await _version(scope, found, found.version if version is None else version))


async def find_named(scope: Scope, name: str) -> Artifact:
    """Return the artifact that `name` is the id of, or the title. Raise NoSuchArtifact, or InvalidInput for several."""
    require(scope, Permission.FILES_READ)
    name = checked_line(name, "artifact", LONGEST_TITLE, 1)
    try:
        return await _found(scope, ArtifactId(UUID(name)))
    except ValueError:
        called_so = await store.ids_of_title(scope, name, 2)
    if len(called_so) > 1:
        raise InvalidInput("More than one artifact has this title. Name the one that you mean by its id.")
    if not called_so:
        raise NoSuchArtifact
    return await _found(scope, called_so[0])


async def list_artifacts(
    scope: Scope,
    query: str | None = None,
    cursor: str | None = None,
    limit: int = USUAL_PAGE,
    *,
    archived: bool = False,
) -> Page[Artifact]:
    """Return artifacts, the last changed first, or those in the archive; with `query`, of the 200 best matches."""
    require(scope, Permission.FILES_READ)
    after = position_in(cursor)
    most = checked_limit(limit)
    found = await store.page_of_artifacts(scope, checked_query(query), after, most + 1, archived=archived)
    return page_of(found, most, lambda last: position_cursor(Position(last.updated_at, last.id)))


@upholds("5.1.1")
async def search(scope: Scope, query: str, limit: int = 20) -> tuple[Artifact, ...]:
    """Return the artifacts whose words match best; where none holds all the words, those with any of them.

    None that is private to a colleague, and in the run of a conversation that is open to the company none that is
    private to anybody.
    """
    require(scope, Permission.FILES_READ)
    most = checked_limit(limit)
    asked = checked_query(query)
    if asked is None:
        return ()
    found = await store.matching_artifacts(scope, asked, most)
    if not found and (looser := any_of(asked)) is not None:
        found = await store.matching_artifacts(scope, looser, most)
    return tuple(found)


async def list_versions(
    scope: Scope, artifact_id: ArtifactId, cursor: str | None = None, limit: int = USUAL_PAGE
) -> Page[VersionLine]:
    """Return an artifact's versions, the latest first. Raise NoSuchArtifact."""
    require(scope, Permission.FILES_READ)
    before = _number_in(cursor)
    most = checked_limit(limit)
    await _found(scope, artifact_id)
    found = await store.page_of_versions(scope, artifact_id, before, most + 1)
    return page_of(found, most, lambda last: encode_cursor(str(last.version)))


async def compare(
    scope: Scope, artifact_id: ArtifactId, before: int | None = None, after: int | None = None
) -> tuple[int, int, str]:
    """Return two versions' numbers and what changes between them, as unified lines. Raise NoSuchArtifact, NotFound.

    Unless given, `after` is the latest, and `before` the one before `after`.
    """
    require(scope, Permission.FILES_READ)
    found = await _found(scope, artifact_id)
    later = found.version if after is None else after
    earlier = max(later - 1, 1) if before is None else before
    old, new = await _version(scope, found, earlier), await _version(scope, found, later)
    return earlier, later, difference(old.content, new.content)


async def download(scope: Scope, artifact_id: ArtifactId, version: int | None = None) -> ArtifactFile:
    """Return an artifact as a file, or one of its versions. Raise NoSuchArtifact, NotFound."""
    found = await get(scope, artifact_id, version)
    return as_file(found.artifact.title, found.artifact.kind, found.shown.content)


def _require_run_for(scope: Scope, approval_id: ApprovalId | None) -> None:
    if approval_id is not None and scope.actor.run_id is None:
        raise InvalidInput("Only an agent's run acts under an approval. Leave it out.", field="approval_id")


def _newer(found: Artifact) -> Conflict:
    if found.archived_at is not None:
        return ArtifactArchived()
    return ArtifactChangedMeanwhile(
        f"Version {found.version} of this artifact is newer than the one that you began from. Load it and make your "
        "change to that one."
    )


async def _put(scope: Scope, artifact_id: ArtifactId, action: Action) -> Artifact:
    require(scope, Permission.FILES_WRITE)
    await _found(scope, artifact_id)
    if await store.set_archived(scope, artifact_id, away=action is Action.ARTIFACT_ARCHIVED):
        await record_event(scope, action, "artifact", artifact_id)
    return await _found(scope, artifact_id)


async def _version(scope: Scope, found: Artifact, version: int) -> ArtifactVersion:
    shown = await store.find_version(scope, found.id, version) if 0 < version <= found.version else None
    if shown is None:
        raise NotFound("There is no such version of this artifact.")
    return shown


def _number_in(cursor: str | None) -> int:
    """Return the number below which a page of versions begins. Raise InvalidInput for a cursor that is none of ours."""
    if cursor is None:
        return MOST_VERSIONS + 1
    (number,) = decode_cursor(cursor, 1)
    if not (number.isascii() and number.isdecimal() and len(number) <= len(str(MOST_VERSIONS))):
        raise InvalidInput("This cursor is not one of ours. Start again from the first page.", field="cursor")
    return int(number)


async def _found(scope: Scope, artifact_id: ArtifactId) -> Artifact:
    found = await store.find_artifact(scope, artifact_id)
    if found is None:
        raise NoSuchArtifact
    return found
