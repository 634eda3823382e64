"""The pages of artifacts: the list, and one artifact with its versions, what changed in each, and a form to go on."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Query
from fastapi.responses import HTMLResponse, Response

from operalta.access.rules import Permission
from operalta.db.scope import Scope
from operalta.guard import rules
from operalta.kernel.errors import Conflict, InvalidInput, NotAllowed, Refusal
from operalta.kernel.ids import ArtifactId
from operalta.web.entry import CompanyEntry, InCompany
from operalta.web.pages.links import address_of
from operalta.web.presentation import go_to, page, typed_lines
from operalta.web.transfers import attachment
from operalta.workspace.artifacts import service
from operalta.workspace.artifacts.rules import (
    MOST_VERSIONS,
    Artifact,
    ArtifactKind,
    ArtifactVersion,
    VersionLine,
    table_rows,
)

router = APIRouter()

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.FILES_READ, rules.READ))]
Writing = Annotated[CompanyEntry, Depends(InCompany(Permission.FILES_WRITE, rules.WRITE))]
# Bounded generously here; the services refuse with a text that helps.
Text = Annotated[str, Form(max_length=100_000)]
Search = Annotated[str, Query(max_length=2_000)]
Cursor = Annotated[str | None, Query(max_length=4_000)]
Number = Annotated[int | None, Query(ge=1, le=MOST_VERSIONS)]

_ROWS_SHOWN = 500
_VERSIONS_SHOWN = 20
_GONE = "somebody who is no longer here"
_SHOWN_IN_THE_FORM = (InvalidInput, Conflict, NotAllowed)


@router.get("/c/{company}/artifacts")
async def artifacts(
    entry: Reading, q: Search = "", cursor: Cursor = None, archived: Annotated[str, Query(max_length=3)] = ""
) -> HTMLResponse:
    """Show the artifacts, or those in the archive."""
    return await _list_page(entry, q, cursor, {}, None, archived=archived == "yes")


@router.post("/c/{company}/artifacts")
async def create(entry: Writing, title: Text = "", kind: Text = "", content: Text = "", private: Text = "") -> Response:
    """Make an artifact."""
    try:
        async with entry.scope() as scope:
            made = await service.create(scope, title, kind, typed_lines(content), private=private == "yes")
    except _SHOWN_IN_THE_FORM as refusal:
        form = {"title": title, "kind": kind, "content": content, "private": private}
        return await _list_page(entry, "", None, form, refusal, archived=False)
    return go_to(f"/c/{entry.company}/artifacts/{made.id}", "saved")


@router.get("/c/{company}/artifacts/{artifact_id}")
async def one(entry: Reading, artifact_id: UUID, version: Number = None, cursor: Cursor = None) -> HTMLResponse:
    """Show an artifact, or one of its versions with what changed in it."""
    return await _artifact_page(entry, artifact_id, version, cursor, {}, None)


@router.get("/c/{company}/artifacts/{artifact_id}/download")
async def download(entry: Reading, artifact_id: UUID, version: Number = None) -> Response:
    """Hand an artifact over as a file, or one of its versions."""
    async with entry.scope() as scope:
        file = await service.download(scope, ArtifactId(artifact_id), version)
    return attachment(file.name, file.content, file.content_type)


@router.post("/c/{company}/artifacts/{artifact_id}/revise")
async def revise(
    entry: Writing,
    artifact_id: UUID,
    content: Text = "",
    note: Text = "",
    version: Annotated[int, Form(ge=0, le=MOST_VERSIONS)] = 0,
) -> Response:
    """Write a new version, begun from the version that the form showed."""
    try:
        async with entry.scope() as scope:
            await service.revise(scope, ArtifactId(artifact_id), typed_lines(content), version, typed_lines(note))
    except _SHOWN_IN_THE_FORM as refusal:
        form = {"content": content, "note": note}
        return await _artifact_page(entry, artifact_id, None, None, form, refusal)
    return go_to(f"/c/{entry.company}/artifacts/{artifact_id}", "saved")


@router.post("/c/{company}/artifacts/{artifact_id}/title")
async def rename(entry: Writing, artifact_id: UUID, title: Text = "") -> Response:
    """Give an artifact another title."""
    try:
        async with entry.scope() as scope:
            await service.rename(scope, ArtifactId(artifact_id), title)
    except _SHOWN_IN_THE_FORM as refusal:
        return await _artifact_page(entry, artifact_id, None, None, {"title": title}, refusal)
    return go_to(f"/c/{entry.company}/artifacts/{artifact_id}", "saved")


@router.post("/c/{company}/artifacts/{artifact_id}/open")
async def open_to_company(entry: Writing, artifact_id: UUID) -> Response:
    """Open a private artifact of one's own to the company."""
    async with entry.scope() as scope:
        await service.open_to_company(scope, ArtifactId(artifact_id))
    return go_to(f"/c/{entry.company}/artifacts/{artifact_id}", "saved")


@router.post("/c/{company}/artifacts/{artifact_id}/archive")
async def archive(entry: Writing, artifact_id: UUID) -> Response:
    """Put an artifact into the archive."""
    async with entry.scope() as scope:
        await service.archive(scope, ArtifactId(artifact_id))
    return go_to(f"/c/{entry.company}/artifacts", "saved")


@router.post("/c/{company}/artifacts/{artifact_id}/restore")
async def restore(entry: Writing, artifact_id: UUID) -> Response:
    """Bring an artifact back from the archive."""
    async with entry.scope() as scope:
        await service.restore(scope, ArtifactId(artifact_id))
    return go_to(f"/c/{entry.company}/artifacts/{artifact_id}", "restored")


async def _list_page(
    entry: CompanyEntry,
    search: str,
    cursor: str | None,
    form: dict[str, str],
    refusal: Refusal | None,
    *,
    archived: bool,
) -> HTMLResponse:
    base = f"/c/{entry.company}/artifacts"
    asked: dict[str, str | None] = {"q": search, "archived": "yes" if archived else ""}
    async with entry.scope() as scope:
        found = await service.list_artifacts(scope, search, cursor or None, archived=archived)
        context: dict[str, object] = {
            "search": search,
            "archived": archived,
            "artifacts": [_listed(each) for each in found.items],
            "kinds": [each.value for each in ArtifactKind],
            "previous_url": address_of(base, asked) if cursor else None,
            "next_url": address_of(base, {**asked, "cursor": found.next_cursor}) if found.next_cursor else None,
            "form": form,
        }
        return await _shown(entry, scope, "pages/artifacts.html", context, refusal)


def _listed(each: Artifact) -> dict[str, object]:
    return {
        "id": each.id,
        "title": each.title,
        "kind": each.kind.value,
        "is_private": each.private_to is not None,
        "by": _name(each.changed_by_name, each.run_id),
        "updated_at": each.updated_at,
        "versions_count": each.version,
    }


async def _artifact_page(
    entry: CompanyEntry,
    artifact_id: UUID,
    version: int | None,
    cursor: str | None,
    form: dict[str, str],
    refusal: Refusal | None,
) -> HTMLResponse:
    base = f"/c/{entry.company}/artifacts/{artifact_id}"
    async with entry.scope() as scope:
        found = await service.get(scope, ArtifactId(artifact_id), version)
        kept, shown = found.artifact, found.shown
        before = await service.get(scope, kept.id, shown.version - 1) if shown.version > 1 else None
        versions = await service.list_versions(scope, kept.id, cursor or None, _VERSIONS_SHOWN)
        context: dict[str, object] = {
            "artifact": {
                **_listed(kept),
                "version": kept.version,
                "size": kept.size,
                "made_by": kept.created_by_name or _GONE,
                "created_at": kept.created_at,
                "archived_at": kept.archived_at,
                "is_mine": kept.private_to == scope.actor.person_id,
                "conversation_url": f"/c/{entry.company}/chat/{kept.conversation_id}" if kept.conversation_id else None,
            },
            "shown": {
                **_version(shown),
                "content": shown.content,
                "is_current": shown.version == kept.version,
                "before": before.shown.content if before else "",
                "table": _table(kept.kind, shown),
            },
            "versions": [{**_version(each), "href": f"{base}?version={each.version}"} for each in versions.items],
            "newer_versions_url": base if cursor else None,
            "older_versions_url": address_of(base, {"cursor": versions.next_cursor}) if versions.next_cursor else None,
            "form": form,
        }
        return await _shown(entry, scope, "pages/artifact.html", context, refusal)


def _version(line: VersionLine | ArtifactVersion) -> dict[str, object]:
    by = _name(line.changed_by_name, line.run_id)
    with_key = ", with an API key" if line.api_key_id else ""
    approved = ", under an approval" if line.approval_id else ""
    return {"number": line.version, "by": f"{by}{with_key}{approved}", "at": line.at, "note": line.note}


def _table(kind: ArtifactKind, shown: ArtifactVersion) -> dict[str, object] | None:
    """Return the beginning of a table, each row as wide as its header."""
    if kind is not ArtifactKind.TABLE:
        return None
    header, *rows = table_rows(shown.content)
    width = max(len(header), *(len(row) for row in rows[:_ROWS_SHOWN])) if rows else len(header)
    wide = [[*row, *[""] * (width - len(row))] for row in (header, *rows[:_ROWS_SHOWN])]
    return {"header": wide[0], "rows": wide[1:], "more": max(0, len(rows) - _ROWS_SHOWN)}


def _name(name: str | None, run_id: UUID | None) -> str:
    who = name or _GONE
    return f"an agent for {who}" if run_id else who


async def _shown(
    entry: CompanyEntry, scope: Scope, template: str, context: dict[str, object], refusal: Refusal | None
) -> HTMLResponse:
    return await page(entry.request, scope, template, context, nav="files", refusal=refusal)
