"""The pages of files: the workspace as a tree, one file with its versions, what is done to it, the way in and out."""

from collections import Counter
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Path, Query
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from operalta.access.rules import Permission
from operalta.db.scope import Scope
from operalta.guard import rules
from operalta.kernel.errors import Conflict, InvalidInput, NotAllowed, Refusal, TooLarge
from operalta.kernel.ids import FileId
from operalta.sandbox.errors import NoSuchFile
from operalta.web.entry import CompanyEntry, InCompany
from operalta.web.presentation import form_errors, go_to, page
from operalta.web.transfers import attachment, read_again, read_brought, read_upload
from operalta.workspace.errors import FileDamaged, NotText
from operalta.workspace.files import deletion, documents, service
from operalta.workspace.files.file_store import FileStore
from operalta.workspace.files.rules import FileOrigin, FileVersion, StoredFile, is_text_kind
from operalta.workspace.rules import LARGEST_PAGE

router = APIRouter()

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.FILES_READ, rules.READ))]
Uploading = Annotated[CompanyEntry, Depends(InCompany(Permission.FILES_WRITE, rules.UPLOAD))]
Writing = Annotated[CompanyEntry, Depends(InCompany(Permission.FILES_WRITE, rules.WRITE))]
Folder = Annotated[str, Query(max_length=2_000)]
Search = Annotated[str, Query(max_length=400)]

Text = Annotated[str, Form(max_length=100_000)]

_PREVIEW_CHARACTERS = 50_000
_GONE = "somebody who is no longer here"
_SHOWN_IN_THE_FORM = (InvalidInput, Conflict, NotAllowed, TooLarge)


@router.get("/c/{company}/files")
async def files(entry: Reading, folder: Folder = "", q: Search = "") -> HTMLResponse:
    """Show a folder, or the files whose name holds what is searched for."""
    return await _files_page(entry, folder, q, None)


@router.post("/c/{company}/files")
async def upload(entry: Uploading) -> Response:
    """Bring a file, or a new version of it. The body is read only after the sender is known to be allowed."""
    async with entry.scope():
        pass
    try:
        sent = await read_upload(entry.request)
        async with entry.scope() as scope:
            stored = await service.upload(scope, entry.services.files, sent.path, sent.content)
        await read_brought(entry, stored, sent.content)
    except _SHOWN_IN_THE_FORM as refusal:
        return await _files_page(entry, "", "", refusal)
    return go_to(f"/c/{entry.company}/files/{stored.id}", "saved")


@router.get("/c/{company}/files/at")
async def at_path(entry: Reading, path: Folder = "") -> RedirectResponse:
    """Lead to the file of this path: what an answer quotes, it knows by its path."""
    async with entry.scope() as scope:
        try:
            found = await service.find_at(scope, entry.services.files, path)
        except InvalidInput:
            raise NoSuchFile from None
    return go_to(f"/c/{entry.company}/files/{found.id}")


@router.get("/c/{company}/files/{file_id}")
async def one(entry: Reading, file_id: UUID) -> HTMLResponse:
    """Show a file: what it says where it is text, and its versions."""
    return await file_page(entry, file_id, {}, None)


@router.get("/c/{company}/files/{file_id}/download")
async def download(
    entry: Reading, file_id: UUID, version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None
) -> Response:
    """Hand a file over, or one of its versions."""
    async with entry.scope() as scope:
        found = await service.download(scope, entry.services.files, FileId(file_id), version)
    return attachment(found.file.path, found.content, found.file.content_type)


@router.post("/c/{company}/files/{file_id}/append")
async def append(entry: Writing, file_id: UUID, text: Text = "") -> Response:
    """Add to the end of a text file."""
    store = entry.services.files
    try:
        async with entry.scope() as scope:
            found = await service.get(scope, store, FileId(file_id))
            if found.file.deleted_at is not None:
                raise NoSuchFile
            await service.append_text(scope, store, found.file.path, text)
    except _SHOWN_IN_THE_FORM as refusal:
        return await file_page(entry, file_id, {"text": text}, refusal)
    return go_to(f"/c/{entry.company}/files/{file_id}", "saved")


@router.post("/c/{company}/files/{file_id}/move")
async def move(entry: Writing, file_id: UUID, path: Text = "") -> Response:
    """Give a file another name."""
    try:
        async with entry.scope() as scope:
            await service.move(scope, entry.services.files, FileId(file_id), path)
    except _SHOWN_IN_THE_FORM as refusal:
        return await file_page(entry, file_id, {"path": path}, refusal)
    return go_to(f"/c/{entry.company}/files/{file_id}", "saved")


@router.post("/c/{company}/files/{file_id}/versions/{version}/restore")
async def restore_version(
    entry: Writing, file_id: UUID, version: Annotated[int, Path(ge=1, le=2**31 - 1)]
) -> RedirectResponse:
    """Make an old version of a file its newest one."""
    async with entry.scope() as scope:
        await service.restore_version(scope, entry.services.files, FileId(file_id), version)
    await read_again(entry, FileId(file_id))
    return go_to(f"/c/{entry.company}/files/{file_id}", "restored")


@router.post("/c/{company}/files/{file_id}/delete")
async def delete(entry: Writing, file_id: UUID) -> Response:
    """Put a file into the bin."""
    async with entry.scope() as scope:
        await deletion.delete(scope, entry.services.files, FileId(file_id))
    return go_to(f"/c/{entry.company}/files", "deleted")


async def file_page(entry: CompanyEntry, file_id: UUID, form: dict[str, str], refusal: Refusal | None) -> HTMLResponse:
    """Return the page of one file, present or in the bin; with `refusal`, what was typed and why it was not done."""
    async with entry.scope() as scope:
        found = await service.get(scope, entry.services.files, FileId(file_id))
        file = found.file
        folder, _, name = file.path.rpartition("/")
        context: dict[str, object] = {
            "file": {
                "id": file.id,
                "name": name,
                "path": file.path,
                "folder": folder,
                "size": file.size,
                "media_type": file.content_type,
                "origin": origin_of(file),
                "updated_at": file.changed_at,
                "deleted_at": file.deleted_at,
                "deleted_by": changer_of(file),
                "sha256": file.sha256,
            },
            "preview": await _preview(scope, entry.services.files, file),
            "reading": await _reading(scope, file),
            "versions": [_version(each, file) for each in found.versions],
            "form": form,
        }
        errors = _at_field(refusal, next(iter(form))) if refusal else []
        return await page(entry.request, scope, "pages/file.html", context, nav="files", refusal=refusal, errors=errors)


def _at_field(refusal: Refusal, field: str) -> list[dict[str, str]]:
    errors = form_errors(refusal)
    errors[0]["field"] = field
    return errors


async def _files_page(entry: CompanyEntry, folder: str, search: str, refusal: Refusal | None) -> HTMLResponse:
    store = entry.services.files
    folder = store.checked_path(folder.strip("/")) if folder.strip("/") else ""
    async with entry.scope() as scope:
        kept = await _all_files(scope, store)
        if search:
            wanted = search.casefold()
            shown = [each for each in kept if wanted in each.path.casefold()]
            folders: list[dict[str, object]] = []
        else:
            shown, folders = _folder(kept, folder)
        context: dict[str, object] = {
            "folder": folder,
            "folders": folders,
            "crumbs": [] if search else _crumbs(folder),
            "files": [_listed(each, folder) for each in shown],
            "usage": {"bytes": sum(each.size for each in kept), "limit": store.limits.total_bytes},
            "upload_limit": store.limits.file_bytes,
            "search": search,
        }
        errors = _at_field(refusal, "file") if refusal else []
        return await page(
            entry.request, scope, "pages/files.html", context, nav="files", refusal=refusal, errors=errors
        )


async def _all_files(scope: Scope, store: FileStore) -> list[StoredFile]:
    """Return every present file: a workspace has at most some thousands (the store caps them)."""
    found: list[StoredFile] = []
    cursor: str | None = None
    while True:
        read = await service.list_files(scope, store, "", cursor, LARGEST_PAGE)
        found += read.items
        cursor = read.next_cursor
        if cursor is None:
            return found


def _folder(kept: list[StoredFile], folder: str) -> tuple[list[StoredFile], list[dict[str, object]]]:
    """Return what lies in a folder itself: its files, and its folders with how many files each holds."""
    start = f"{folder}/" if folder else ""
    below = [each for each in kept if each.path.startswith(start)]
    here = [each for each in below if "/" not in each.path[len(start) :]]
    counts = Counter(each.path[len(start) :].partition("/")[0] for each in below if "/" in each.path[len(start) :])
    return here, [
        {"name": name, "path": f"{start}{name}", "files_count": count} for name, count in sorted(counts.items())
    ]


def _crumbs(folder: str) -> list[dict[str, object]]:
    parts = folder.split("/") if folder else []
    return [{"name": name, "path": "/".join(parts[: depth + 1])} for depth, name in enumerate(parts)]


def _listed(file: StoredFile, folder: str) -> dict[str, object]:
    return {
        "id": file.id,
        "name": file.path.removeprefix(f"{folder}/") if folder else file.path,
        "size": file.size,
        "origin": origin_of(file),
        "updated_at": file.changed_at,
        "versions_count": file.version,
    }


def _version(version: FileVersion, file: StoredFile) -> dict[str, object]:
    return {
        "number": version.version,
        "size": version.size,
        "by": _author(version),
        "at": version.at,
        "is_current": version.version == file.version and file.deleted_at is None,
    }


def changer_of(file: StoredFile) -> str:
    """Tell who did the last thing to a file."""
    who = file.changed_by_name or _GONE
    return f"an agent for {who}" if file.run_id else who


def origin_of(file: StoredFile) -> str:
    """Tell who brought a file's present version, and how."""
    who = file.written_by_name or _GONE
    return f"uploaded by {who}" if file.origin is FileOrigin.UPLOAD else f"made by an agent for {who}"


def _author(version: FileVersion) -> str:
    who = version.changed_by_name or _GONE
    return f"an agent for {who}" if version.run_id else who


async def _preview(scope: Scope, store: FileStore, file: StoredFile) -> dict[str, object]:
    nothing: dict[str, object] = {"kind": "none", "text": "", "is_cut": False}
    if file.deleted_at is not None:
        return nothing
    try:
        read = await service.read_text(scope, store, file.path, _PREVIEW_CHARACTERS)
    except (NotText, FileDamaged):
        return nothing
    kind = "markdown" if file.content_type == "text/markdown" else "text"
    kind = kind if is_text_kind(file.path) else "document"
    return {"kind": kind, "text": read.text, "is_cut": not read.is_whole}


async def _reading(scope: Scope, file: StoredFile) -> dict[str, object]:
    """Return what a document holds in numbers, what was left out of it, or why it was not read."""
    reading = await documents.reading_of(scope, file)
    if reading is None:
        return {"facts": [], "notes": (), "refusal": None}
    facts = [(name.replace("_", " ").capitalize(), f"{value:,}") for name, value in reading.facts.items()]
    return {"facts": facts, "notes": reading.notes, "refusal": reading.refusal}
