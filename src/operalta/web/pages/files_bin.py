"""The page of the bin: what was deleted and by whom, restoring, deleting for good."""

from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Query
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from operalta.access.rules import Permission
from operalta.guard import rules
from operalta.kernel.errors import Conflict, InvalidInput, NotAllowed
from operalta.kernel.ids import FileId
from operalta.web.entry import CompanyEntry, InCompany
from operalta.web.pages.files import changer_of, file_page
from operalta.web.presentation import go_to, page
from operalta.web.transfers import read_again
from operalta.workspace.files import deletion

router = APIRouter()

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.FILES_READ, rules.READ))]
Writing = Annotated[CompanyEntry, Depends(InCompany(Permission.FILES_WRITE, rules.WRITE))]
Cursor = Annotated[str | None, Query(max_length=4_000)]


@router.get("/c/{company}/files/bin")
async def deleted(entry: Reading, cursor: Cursor = None) -> HTMLResponse:
    """Show what lies in the bin, the last deleted first."""
    base = f"/c/{entry.company}/files/bin"
    async with entry.scope() as scope:
        found = await deletion.list_deleted(scope, entry.services.files, cursor)
        context: dict[str, object] = {
            "files": [
                {
                    "id": each.id,
                    "path": each.path,
                    "size": each.size,
                    "deleted_by": changer_of(each),
                    "deleted_at": each.deleted_at,
                }
                for each in found.items
            ],
            "newer_url": base if cursor else None,
            "older_url": f"{base}?{urlencode({'cursor': found.next_cursor})}" if found.next_cursor else None,
        }
        return await page(entry.request, scope, "pages/bin.html", context, nav="files")


@router.post("/c/{company}/files/{file_id}/restore")
async def restore(entry: Writing, file_id: UUID, path: Annotated[str, Form(max_length=2_000)] = "") -> Response:
    """Take a file out of the bin, under its own name or the one that was typed."""
    try:
        async with entry.scope() as scope:
            await deletion.restore(scope, entry.services.files, FileId(file_id), path or None)
        await read_again(entry, FileId(file_id))
    except (InvalidInput, Conflict, NotAllowed) as refusal:
        return await file_page(entry, file_id, {"path": path}, refusal)
    return go_to(f"/c/{entry.company}/files/{file_id}", "restored")


@router.post("/c/{company}/files/{file_id}/delete-for-good")
async def delete_for_good(entry: Writing, file_id: UUID) -> RedirectResponse:
    """Delete a file in the bin, and all its versions."""
    async with entry.scope() as scope:
        await deletion.delete_for_good(scope, entry.services.files, FileId(file_id))
    return go_to(f"/c/{entry.company}/files/bin", "deleted")
