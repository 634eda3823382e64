"""Artifacts: listed, found, made, revised against the version that one began from, archived and brought back."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field

from operalta.access.rules import Permission
from operalta.guard import rules
from operalta.kernel.ids import ArtifactId
from operalta.web.api.models import REFUSALS, USUAL_PAGE_SIZE, Body, Cursor, Listing, PageSize, Shown
from operalta.web.entry import CompanyEntry, InCompany
from operalta.workspace.artifacts import service
from operalta.workspace.artifacts.rules import (
    LONGEST_CONTENT,
    LONGEST_NOTE,
    LONGEST_TITLE,
    MOST_VERSIONS,
    ArtifactKind,
    WholeArtifact,
)
from operalta.workspace.rules import LONGEST_QUERY

router = APIRouter(prefix="/companies/{company}/artifacts", tags=["artifacts"], responses=REFUSALS)

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.FILES_READ, rules.READ))]
Writing = Annotated[CompanyEntry, Depends(InCompany(Permission.FILES_WRITE, rules.WRITE))]

Title = Annotated[str, Field(min_length=1, max_length=LONGEST_TITLE)]
Content = Annotated[
    str, Field(min_length=1, max_length=LONGEST_CONTENT, description="Markdown, CSV or plain text, as the kind says")
]
Number = Annotated[int, Field(ge=1, le=MOST_VERSIONS)]
NumberInPath = Annotated[int, Path(ge=1, le=MOST_VERSIONS)]


class ArtifactBody(Body):
    """A new artifact, private to its person unless said otherwise."""

    title: Title
    content: Content
    kind: ArtifactKind = ArtifactKind.DOCUMENT
    private: bool = True


class VersionBody(Body):
    """All of an artifact's new content, the version that the change began from, and why."""

    content: Content
    begun_from: Number
    note: Annotated[str, Field(max_length=LONGEST_NOTE)] = ""


class TitleBody(Body):
    """The title that an artifact is to have."""

    title: Title


class Artifact(Shown):
    """An artifact without all that it says: `size` counts its characters, `excerpt` is its beginning.

    `changed_by` did the last thing to it; `run_id` names the agent's run that did so for them. `by_people_alone` is
    whether no agent and no key wrote any of its versions. `conversation_id` is where it was begun, if that is yours to
    see.
    """

    id: UUID
    title: str
    kind: ArtifactKind
    version: int
    size: int
    excerpt: str
    private_to: UUID | None
    conversation_id: UUID | None
    created_by: UUID
    created_by_name: str | None
    changed_by: UUID
    changed_by_name: str | None
    run_id: UUID | None
    by_people_alone: bool
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None


class VersionLine(Shown):
    """A version in the list of them: `size` counts the characters of what it says."""

    version: int
    size: int
    note: str
    changed_by: UUID
    changed_by_name: str | None
    run_id: UUID | None
    api_key_id: UUID | None
    approval_id: UUID | None
    at: datetime


class ArtifactVersion(Shown):
    """What an artifact said at one time, with who wrote that and why."""

    version: int
    content: str
    note: str
    changed_by: UUID
    changed_by_name: str | None
    run_id: UUID | None
    api_key_id: UUID | None
    approval_id: UUID | None
    at: datetime


class WholeArtifactShown(Artifact):
    """An artifact with what it says."""

    content: str
    note: str

    @classmethod
    def of(cls, found: WholeArtifact) -> Self:
        """Return an artifact as it is shown alone."""
        kept = Artifact.model_validate(found.artifact).model_dump()
        return cls(**kept, content=found.shown.content, note=found.shown.note)


class Difference(Shown):
    """What changes between two versions, as the lines of a unified diff without file names; empty for nothing."""

    before: int
    after: int
    diff: str


@router.get("")
async def list_artifacts(
    entry: Reading,
    q: Annotated[str, Query(max_length=LONGEST_QUERY, description="Words to search for")] = "",
    archived: Annotated[bool, Query(description="Those in the archive; `q` finds none of them")] = False,  # noqa: FBT002 - read from the address by its name
    cursor: Cursor = None,
    limit: PageSize = USUAL_PAGE_SIZE,
) -> Listing[Artifact]:
    """List artifacts, the last changed first; with `q`, of the 200 best matches."""
    async with entry.scope() as scope:
        found = await service.list_artifacts(scope, q, cursor, limit, archived=archived)
    return Listing[Artifact](
        items=tuple(Artifact.model_validate(each) for each in found.items), next_cursor=found.next_cursor
    )


@router.post("", status_code=HTTPStatus.CREATED)
async def create(entry: Writing, body: ArtifactBody) -> Artifact:
    """Make an artifact."""
    async with entry.scope() as scope:
        made = await service.create(scope, body.title, body.kind, body.content, private=body.private)
        return Artifact.model_validate(made)


@router.get("/{artifact_id}")
async def get_artifact(entry: Reading, artifact_id: UUID) -> WholeArtifactShown:
    """Return one artifact with what it says now."""
    async with entry.scope() as scope:
        return WholeArtifactShown.of(await service.get(scope, ArtifactId(artifact_id)))


@router.patch("/{artifact_id}")
async def rename(entry: Writing, artifact_id: UUID, body: TitleBody) -> Artifact:
    """Give an artifact another title."""
    async with entry.scope() as scope:
        return Artifact.model_validate(await service.rename(scope, ArtifactId(artifact_id), body.title))


@router.delete("/{artifact_id}")
async def archive(entry: Writing, artifact_id: UUID) -> Artifact:
    """Put an artifact into the archive, out of lists and searches. All its versions stay, and it can be restored."""
    async with entry.scope() as scope:
        return Artifact.model_validate(await service.archive(scope, ArtifactId(artifact_id)))


@router.post("/{artifact_id}/restore")
async def restore(entry: Writing, artifact_id: UUID) -> Artifact:
    """Bring an artifact back from the archive."""
    async with entry.scope() as scope:
        return Artifact.model_validate(await service.restore(scope, ArtifactId(artifact_id)))


@router.post("/{artifact_id}/open")
async def open_to_company(entry: Writing, artifact_id: UUID) -> Artifact:
    """Open a private artifact of one's own to the company, with all its versions and for good. No key does so."""
    async with entry.scope() as scope:
        return Artifact.model_validate(await service.open_to_company(scope, ArtifactId(artifact_id)))


@router.get("/{artifact_id}/versions")
async def list_versions(
    entry: Reading, artifact_id: UUID, cursor: Cursor = None, limit: PageSize = USUAL_PAGE_SIZE
) -> Listing[VersionLine]:
    """List the versions of an artifact, the latest first."""
    async with entry.scope() as scope:
        found = await service.list_versions(scope, ArtifactId(artifact_id), cursor, limit)
    return Listing[VersionLine](
        items=tuple(VersionLine.model_validate(each) for each in found.items), next_cursor=found.next_cursor
    )


@router.post("/{artifact_id}/versions", status_code=HTTPStatus.CREATED)
async def revise(entry: Writing, artifact_id: UUID, body: VersionBody) -> Artifact:
    """Write a new version. 409 where `begun_from` is not the latest one: somebody else has written one meanwhile."""
    async with entry.scope() as scope:
        made = await service.revise(scope, ArtifactId(artifact_id), body.content, body.begun_from, body.note)
        return Artifact.model_validate(made)


@router.get("/{artifact_id}/versions/{version}")
async def get_version(entry: Reading, artifact_id: UUID, version: NumberInPath) -> ArtifactVersion:
    """Return what an artifact said in one version."""
    async with entry.scope() as scope:
        found = await service.get(scope, ArtifactId(artifact_id), version)
        return ArtifactVersion.model_validate(found.shown)


@router.get("/{artifact_id}/diff")
async def compare(
    entry: Reading,
    artifact_id: UUID,
    before: Annotated[int | None, Query(ge=1, le=MOST_VERSIONS)] = None,
    after: Annotated[int | None, Query(ge=1, le=MOST_VERSIONS)] = None,
) -> Difference:
    """Compare two versions of an artifact: the latest with the one before it, unless others are named."""
    async with entry.scope() as scope:
        earlier, later, diff = await service.compare(scope, ArtifactId(artifact_id), before, after)
    return Difference(before=earlier, after=later, diff=diff)
