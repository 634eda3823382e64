"""What an artifact is, which kinds there are, what each holds, and what changes between two versions. Pure."""

import csv
import difflib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from operalta.kernel.errors import InvalidInput
from operalta.kernel.ids import ApiKeyId, ApprovalId, ArtifactId, ConversationId, PersonId, RunId
from operalta.kernel.texts import checked_text
from operalta.workspace.csv_export import write_csv

LONGEST_TITLE = 200
LONGEST_CONTENT = 80_000
LONGEST_NOTE = 2_000
MOST_VERSIONS = 10_000
MOST_ROWS = 5_000
MOST_COLUMNS = 100
_MOST_LINES_COMPARED = 2_000


class ArtifactKind(StrEnum):
    """How what an artifact says is written: Markdown, CSV, or plain text."""

    DOCUMENT = "document"
    TABLE = "table"
    TEXT = "text"


FILE_KINDS: Mapping[ArtifactKind, tuple[str, str]] = MappingProxyType(
    {
        ArtifactKind.DOCUMENT: ("md", "text/markdown"),
        ArtifactKind.TABLE: ("csv", "text/csv"),
        ArtifactKind.TEXT: ("txt", "text/plain"),
    }
)
"""The ending and the type under which each kind is handed over as a file."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact as it stands, without all that it says: `size` counts its characters, `excerpt` is its beginning.

    `private_to` names the one person who can see it. `changed_by` did the last thing to it, in the run `run_id` where
    an agent did so for them. `by_people_alone` is whether people wrote every version in sessions of their own, no agent
    and no program with a key; `conversation_id` where it was begun, for those who can see that conversation.
    """

    id: ArtifactId
    title: str
    kind: ArtifactKind
    version: int
    size: int
    excerpt: str
    private_to: PersonId | None
    conversation_id: ConversationId | None
    created_by: PersonId
    created_by_name: str | None
    changed_by: PersonId
    changed_by_name: str | None
    run_id: RunId | None
    by_people_alone: bool
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None


@dataclass(frozen=True, slots=True)
class ArtifactVersion:
    """What an artifact said at one time; who wrote that, in which run, with which key, under which approval; why."""

    version: int
    content: str
    note: str
    changed_by: PersonId
    changed_by_name: str | None
    run_id: RunId | None
    api_key_id: ApiKeyId | None
    approval_id: ApprovalId | None
    at: datetime


@dataclass(frozen=True, slots=True)
class VersionLine:
    """A version in the list of them: `size` counts the characters of what it says."""

    version: int
    size: int
    note: str
    changed_by: PersonId
    changed_by_name: str | None
    run_id: RunId | None
    api_key_id: ApiKeyId | None
    approval_id: ApprovalId | None
    at: datetime


@dataclass(frozen=True, slots=True)
class WholeArtifact:
    """An artifact, and what it says in one of its versions."""

    artifact: Artifact
    shown: ArtifactVersion


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """A version of an artifact as a file."""

    name: str
    content: bytes
    content_type: str


def kind_called(name: str) -> ArtifactKind:
    """Return the kind called `name`. Raise InvalidInput where there is none."""
    try:
        return ArtifactKind(name)
    except ValueError:
        raise InvalidInput("The kind is document, table or text.", field="kind") from None


def checked_content(kind: ArtifactKind, content: str) -> str:
    """Return what an artifact is to say. Raise InvalidInput outside the bounds, and for a table that is none."""
    checked = checked_text(content, "content", LONGEST_CONTENT, 1)
    if kind is ArtifactKind.TABLE:
        table_rows(checked)
    return checked


def table_rows(content: str) -> list[list[str]]:
    """Return the rows of a table in CSV, the header first, without empty lines. Raise InvalidInput for what is none."""
    try:
        rows = [row for row in csv.reader(io.StringIO(content, newline=""), strict=True) if row]
    except csv.Error:
        raise InvalidInput("This is no table. Write it as CSV, with a comma between cells.", field="content") from None
    if not rows:
        raise InvalidInput("This table has no rows. Write the names of its columns first.", field="content")
    if len(rows) > MOST_ROWS or max(map(len, rows)) > MOST_COLUMNS:
        most = f"{MOST_ROWS:,} rows and {MOST_COLUMNS} columns"
        raise InvalidInput(f"A table has at most {most}. Keep a larger one as a file.", field="content")
    return rows


def as_file(title: str, kind: ArtifactKind, content: str) -> ArtifactFile:
    """Return what an artifact says as a file to keep; a table through the writer that makes no cell a formula."""
    ending, content_type = FILE_KINDS[kind]
    name = f"{title.replace('/', '-')}.{ending}"
    if kind is not ArtifactKind.TABLE:
        return ArtifactFile(name, content.encode(), content_type)
    header, *rows = table_rows(content)
    return ArtifactFile(name, write_csv(header, rows), content_type)


def difference(before: str, after: str) -> str:
    """Return what changes, as unified lines without file names; empty where nothing does.

    Very long texts are given whole, the old one removed and the new one added: to compare them would take too long.
    """
    old, new = before.split("\n"), after.split("\n")
    if old == new:
        return ""
    if max(len(old), len(new)) > _MOST_LINES_COMPARED:
        return "\n".join([*(f"-{line}" for line in old), *(f"+{line}" for line in new)])
    return "\n".join(list(difflib.unified_diff(old, new, lineterm=""))[2:])
