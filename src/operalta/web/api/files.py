"""Files: listed by name, brought as a form, handed over as attachments, moved, restored from the bin."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import Field

from operalta.access.rules import Permission
from operalta.guard import rules
from operalta.kernel.errors import InvalidInput
from operalta.kernel.ids import FileId
from operalta.web.api.models import REFUSALS, USUAL_PAGE_SIZE, Body, Cursor, Listing, PageSize, Shown
from operalta.web.entry import CompanyEntry, InCompany
from operalta.web.transfers import attachment, read_again, read_brought, read_upload
from operalta.workspace.files import deletion, service
from operalta.workspace.files.documents import Reading as FileReading
from operalta.workspace.files.documents import reading_of
from operalta.workspace.files.rules import LONGEST_PATH, FileOrigin, FileWithVersions

router = APIRouter(prefix="/companies/{company}/files", tags=["files"], responses=REFUSALS)

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.FILES_READ, rules.READ))]
Uploading = Annotated[CompanyEntry, Depends(InCompany(Permission.FILES_WRITE, rules.UPLOAD))]
Writing = Annotated[CompanyEntry, Depends(InCompany(Permission.FILES_WRITE, rules.WRITE))]

# The form is read by the route itself, after the sender is known to be allowed (see `web.transfers`).
_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "maxLength": 25 * 1024 * 1024,
                            "description": "The file; how large it may be is set by the operator (25 MB unless so)",
                        },
                        "folder": {"type": "string", "maxLength": LONGEST_PATH, "description": "Where it is to lie"},
                        "path": {
                            "type": "string",
                            "maxLength": LONGEST_PATH,
                            "description": "Its name, where it is not the file's own",
                        },
                    },
                }
            }
        },
    }
}


Path = Annotated[str, Field(min_length=1, max_length=LONGEST_PATH)]


class Addition(Body):
    """What comes behind what a text file holds, on a line of its own."""

    path: Path
    text: Annotated[str, Field(min_length=1, max_length=1_000_000)]


class NewPath(Body):
    """The name that a file is to have, as a whole path."""

    path: Path


class Restoring(Body):
    """What is to be restored: with `version`, that version of a present file; else the file from the bin.

    With `path`, it leaves the bin under that name.
    """

    path: Path | None = None
    version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None


class StoredFile(Shown):
    """A file as it stands, or as it lies in the bin (`deleted_at`).

    `changed_by` did the last thing to it: wrote, moved, deleted or restored it; `run_id` names the agent's run that did
    so for them. `written_by_name` brought the present version.
    """

    id: UUID
    path: str
    version: int
    size: int
    sha256: str
    content_type: str
    origin: FileOrigin
    changed_by: UUID
    changed_by_name: str | None
    written_by_name: str | None
    run_id: UUID | None
    created_at: datetime
    changed_at: datetime
    deleted_at: datetime | None


class FileVersion(Shown):
    """What a file was at one time."""

    version: int
    size: int
    sha256: str
    changed_by: UUID
    changed_by_name: str | None
    run_id: UUID | None
    at: datetime


class DocumentReading(Shown):
    """What came of reading a document: counts such as `pages`, notes, whether it holds more, or why it was not read."""

    facts: dict[str, int]
    notes: tuple[str, ...]
    cut: bool
    refusal: str | None


class WholeFile(StoredFile):
    """A file with its versions, the newest first, and what came of reading it; null where there is nothing to read."""

    versions: tuple[FileVersion, ...]
    reading: DocumentReading | None

    @classmethod
    def of(cls, found: FileWithVersions, reading: FileReading | None) -> Self:
        """Return a file as it is shown alone."""
        return cls(
            **StoredFile.model_validate(found.file).model_dump(),
            versions=tuple(FileVersion.model_validate(each) for each in found.versions),
            reading=None if reading is None else DocumentReading.model_validate(reading),
        )


@router.get("")
async def list_files(
    entry: Reading,
    folder: Annotated[str, Query(max_length=LONGEST_PATH, description="Only files below it")] = "",
    cursor: Cursor = None,
    limit: PageSize = USUAL_PAGE_SIZE,
) -> Listing[StoredFile]:
    """List present files by name."""
    async with entry.scope() as scope:
        found = await service.list_files(scope, entry.services.files, folder, cursor, limit)
    return Listing[StoredFile](
        items=tuple(StoredFile.model_validate(each) for each in found.items), next_cursor=found.next_cursor
    )


@router.post("", status_code=HTTPStatus.CREATED, openapi_extra=_FORM)
async def upload(entry: Uploading) -> StoredFile:
    """Bring a file, or a new version of the one that has its name."""
    async with entry.scope():
        pass
    sent = await read_upload(entry.request)
    async with entry.scope() as scope:
        stored = await service.upload(scope, entry.services.files, sent.path, sent.content)
    await read_brought(entry, stored, sent.content)
    return StoredFile.model_validate(stored)


@router.post("/append")
async def append(entry: Writing, body: Addition) -> StoredFile:
    """Add to the end of a text file, as a new version; a file that is not there is made."""
    async with entry.scope() as scope:
        return StoredFile.model_validate(await service.append_text(scope, entry.services.files, body.path, body.text))


@router.get("/bin")
async def list_deleted(entry: Reading, cursor: Cursor = None, limit: PageSize = USUAL_PAGE_SIZE) -> Listing[StoredFile]:
    """List the files in the bin, the last deleted first."""
    async with entry.scope() as scope:
        found = await deletion.list_deleted(scope, entry.services.files, cursor, limit)
    return Listing[StoredFile](
        items=tuple(StoredFile.model_validate(each) for each in found.items), next_cursor=found.next_cursor
    )


@router.delete("/bin/{file_id}", status_code=HTTPStatus.NO_CONTENT)
async def delete_for_good(entry: Writing, file_id: UUID) -> None:
    """Delete a file in the bin and all its versions. Nothing brings it back."""
    async with entry.scope() as scope:
        await deletion.delete_for_good(scope, entry.services.files, FileId(file_id))


@router.get("/{file_id}")
async def get_file(entry: Reading, file_id: UUID) -> WholeFile:
    """Return a file, deleted or not, with its versions."""
    async with entry.scope() as scope:
        found = await service.get(scope, entry.services.files, FileId(file_id))
        return WholeFile.of(found, await reading_of(scope, found.file))


@router.get(
    "/{file_id}/download",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}, "description": "The bytes, as an attachment"}},
)
async def download(
    entry: Reading, file_id: UUID, version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None
) -> Response:
    """Hand over the verified bytes of a file, or of one of its versions."""
    async with entry.scope() as scope:
        found = await service.download(scope, entry.services.files, FileId(file_id), version)
    return attachment(found.file.path, found.content, found.file.content_type)


@router.delete("/{file_id}", status_code=HTTPStatus.NO_CONTENT)
async def delete(entry: Writing, file_id: UUID) -> None:
    """Put a file into the bin, with all its versions."""
    async with entry.scope() as scope:
        await deletion.delete(scope, entry.services.files, FileId(file_id))


@router.post("/{file_id}/move")
async def move(entry: Writing, file_id: UUID, body: NewPath) -> StoredFile:
    """Give a file another name. Nothing is replaced: a name that is taken answers 409."""
    async with entry.scope() as scope:
        return StoredFile.model_validate(await service.move(scope, entry.services.files, FileId(file_id), body.path))


@router.post("/{file_id}/restore")
async def restore(entry: Writing, file_id: UUID, body: Restoring) -> StoredFile:
    """Take a file out of the bin, or make an old version of a present file its newest one."""
    store, file = entry.services.files, FileId(file_id)
    async with entry.scope() as scope:
        if body.version is None:
            restored = await deletion.restore(scope, store, file, body.path)
        elif body.path is not None:
            raise InvalidInput("Give either a version or a name.", field="path")
        else:
            restored = await service.restore_version(scope, store, file, body.version)
    await read_again(entry, restored.id)
    return StoredFile.model_validate(restored)
