"""Files on their way in and out: an upload read only once its sender may send it, a download never opened in place."""

import contextlib
import re
from dataclasses import dataclass
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import Response
from starlette.datastructures import UploadFile

from operalta.kernel.errors import InvalidInput
from operalta.kernel.ids import FileId
from operalta.sandbox.errors import NoSuchFile
from operalta.terms.registry import upholds
from operalta.web.entry import CompanyEntry
from operalta.workspace.errors import FileDamaged
from operalta.workspace.files import documents
from operalta.workspace.files.rules import StoredFile

_LONGEST_FIELD_BYTES = 16 * 1024
_MOST_FIELDS = 8
_UNSAFE = re.compile(r"[^A-Za-z0-9 !#$&+.^_`{}~()\[\],=@-]")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file as it was sent: the path that it is to have, not checked yet, and its bytes."""

    path: str
    content: bytes


async def read_upload(request: Request) -> Upload:
    """Read a multipart form with the file as `file`, and `folder` or `path` beside it.

    A route calls this itself, after it has decided that the sender may write: a framework that parses the form
    first would take in 25 MB from anybody. How much may come at all is bounded by `web.security`.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise InvalidInput("Send the file as a form of the type multipart/form-data.", field="file")
    form = request.form(max_files=1, max_fields=_MOST_FIELDS, max_part_size=_LONGEST_FIELD_BYTES)
    async with form as parts:
        file = parts.get("file")
        if not isinstance(file, UploadFile) or not file.filename:
            raise InvalidInput("Choose a file.", field="file")
        folder, path = parts.get("folder"), parts.get("path")
        name = path if isinstance(path, str) and path else file.filename
        if isinstance(folder, str) and folder:
            name = f"{folder.rstrip('/')}/{name}"
        return Upload(name, await file.read())


async def read_brought(entry: CompanyEntry, file: StoredFile, content: bytes) -> None:
    """Have what was just brought read in the sandbox, where it is a document."""
    await documents.read_brought(entry.scope, entry.services.files, entry.services.documents, file, content)


async def read_again(entry: CompanyEntry, file_id: FileId) -> None:
    """Have what came back read in the sandbox, where it is a document; the file is there whatever comes of it."""
    with contextlib.suppress(NoSuchFile, FileDamaged):
        await documents.read_again(entry.scope, entry.services.files, entry.services.documents, file_id)


@upholds("3.4.4")
def attachment(name: str, content: bytes, media_type: str) -> Response:
    """Return bytes as a file to keep, never to be shown in place, under the last part of `name` (RFC 6266)."""
    last = name.rpartition("/")[2]
    plain = _UNSAFE.sub("_", last)
    return Response(
        content,
        media_type=media_type,
        headers={
            "content-disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(last, safe='')}",
            "x-content-type-options": "nosniff",
        },
    )
