"""Files: listed by name, brought as a form, handed over as attachments."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from operalta.access.rules import Permission
from operalta.guard import rules
from operalta.kernel.ids import FileId
from operalta.web.api.models import REFUSALS, USUAL_PAGE_SIZE, Cursor, Listing, PageSize, Shown
from operalta.web.entry import CompanyEntry, InCompany
from operalta.web.transfers import attachment, read_upload
from operalta.workspace.files import deletion, service
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


class StoredFile(Shown):
    """A file as it stands. `run_id` names the agent's run that wrote it for `changed_by`."""

    id: UUID
    path: str
    version: int
    size: int
    sha256: str
    content_type: str
    origin: FileOrigin
    changed_by: UUID
    changed_by_name: str | None
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


class WholeFile(StoredFile):
    """A file with its versions, the newest first."""

    versions: tuple[FileVersion, ...]

    @classmethod
    def of(cls, found: FileWithVersions) -> Self:
        """Return a file as it is shown alone."""
        return cls(
            **StoredFile.model_validate(found.file).model_dump(),
            versions=tuple(FileVersion.model_validate(each) for each in found.versions),
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
        return StoredFile.model_validate(stored)


@router.get("/{file_id}")
async def get_file(entry: Reading, file_id: UUID) -> WholeFile:
    """Return a file, deleted or not, with its versions."""
    async with entry.scope() as scope:
        return WholeFile.of(await service.get(scope, entry.services.files, FileId(file_id)))


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
    """Delete a file. Its versions stay."""
    async with entry.scope() as scope:
        await deletion.delete(scope, entry.services.files, FileId(file_id))
