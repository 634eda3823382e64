"""What a stored file is, which kinds there are, and what is text. Pure."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Self

from operalta.kernel.ids import FileId, PersonId, RunId

LONGEST_PATH = 400
UNKNOWN_TYPE = "application/octet-stream"

# By extension, because what a browser or an agent claims decides nothing. Nothing here runs in a browser: markup
# and scripts are served as plain text or as bytes to download.
CONTENT_TYPES: Mapping[str, str] = MappingProxyType(
    {
        "md": "text/markdown",
        "markdown": "text/markdown",
        "txt": "text/plain",
        "text": "text/plain",
        "log": "text/plain",
        "rst": "text/plain",
        "csv": "text/csv",
        "tsv": "text/tab-separated-values",
        "json": "application/json",
        "jsonl": "text/plain",
        "yaml": "text/plain",
        "yml": "text/plain",
        "toml": "text/plain",
        "ini": "text/plain",
        "sql": "text/plain",
        "py": "text/plain",
        "js": "text/plain",
        "ts": "text/plain",
        "css": "text/plain",
        "sh": "text/plain",
        "tex": "text/plain",
        "pdf": "application/pdf",
        "png": "image/png",
        "jpg": "image/jpeg",
        "jpeg": "image/jpeg",
        "gif": "image/gif",
        "webp": "image/webp",
        "zip": "application/zip",
        "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    }
)


class FileOrigin(StrEnum):
    """Who brought the present version."""

    UPLOAD = "upload"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes as the rows know them: how many, and their SHA-256 in hexadecimal."""

    size: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> Self:
        """Return what `content` is."""
        return cls(len(content), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as it stands now. `deleted_at` is set once it lies in the bin; its versions stay.

    `changed_by` did the last thing to it: wrote, moved, deleted or restored it, in the run `run_id` where an agent
    did so for them. `written_by_name` brought the present version.
    """

    id: FileId
    path: str
    version: int
    size: int
    sha256: str
    content_type: str
    origin: FileOrigin
    changed_by: PersonId
    changed_by_name: str | None
    written_by_name: str | None
    run_id: RunId | None
    created_at: datetime
    changed_at: datetime
    deleted_at: datetime | None

    @property
    def content(self) -> Content:
        """What its present bytes must be."""
        return Content(self.size, self.sha256)


@dataclass(frozen=True, slots=True)
class FileVersion:
    """What a file was at one time, and who made it so (`run_id`: the agent's run that did so for them)."""

    version: int
    size: int
    sha256: str
    changed_by: PersonId
    changed_by_name: str | None
    run_id: RunId | None
    at: datetime


@dataclass(frozen=True, slots=True)
class FileWithVersions:
    """A file and its versions, the newest first."""

    file: StoredFile
    versions: tuple[FileVersion, ...]


@dataclass(frozen=True, slots=True)
class Download:
    """The verified bytes of one version, with the type to serve them as: always as an attachment."""

    file: StoredFile
    version: int
    content: bytes


@dataclass(frozen=True, slots=True)
class FileText:
    """The beginning of a text file; `is_whole` tells whether that is all of it."""

    file: StoredFile
    text: str
    is_whole: bool


@dataclass(frozen=True, slots=True)
class FoundPassage:
    """A passage of a file that matches, to be cited: where it stands, and its words."""

    file_id: FileId
    path: str
    version: int
    position: int
    heading: str
    body: str


def content_type_of(path: str) -> str:
    """Return the type of a file by its extension, from the closed list; bytes to download for all others."""
    return CONTENT_TYPES.get(_extension(path), UNKNOWN_TYPE)


def is_text_kind(path: str) -> bool:
    """Tell whether a file of this name is expected to be text: by its extension, or without one."""
    kind = content_type_of(path)
    return kind.startswith("text/") or kind == "application/json" or not _extension(path)


def text_in(path: str, content: bytes) -> str | None:
    """Return the text of a file of a text kind; None for other kinds, and for bytes that are no UTF-8 text."""
    if not is_text_kind(path) or b"\x00" in content:
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def folders_above(path: str) -> tuple[str, ...]:
    """Return the folders that a path lies in, from the outermost."""
    parts = path.split("/")
    return tuple("/".join(parts[:depth]) for depth in range(1, len(parts)))


def _extension(path: str) -> str:
    return PurePosixPath(path).suffix.removeprefix(".").lower()
