"""The SQL of files."""

from typing import Any

from psycopg.types.json import Jsonb

from operalta.db.scope import Row, Scope
from operalta.kernel.ids import FileId
from operalta.workspace.files.passages import Passage
from operalta.workspace.files.rules import Content, FileOrigin, FileVersion, FoundPassage, StoredFile
from operalta.workspace.rules import Position


async def lock_files(scope: Scope) -> None:
    """Hold the company's files until the transaction ends, so that changes to them come one after the other."""
    await scope.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended(%(name)s, 0))", {"name": f"workspace.files {scope.company}"}
    )


async def is_in_the_way(scope: Scope, path: str, folders: tuple[str, ...], moving: FileId | None = None) -> bool:
    """Tell whether one of `folders` is a file, or `path` is a folder; the file that is `moving` is in no way."""
    row = await scope.one(
        """
        SELECT file.id FROM workspace.files AS file WHERE file.company_id = %(company)s AND file.deleted_at IS NULL
          AND file.id IS DISTINCT FROM %(moving)s::uuid
          AND (file.path = ANY (%(folders)s::text[]) OR starts_with(file.path, %(path)s::text || '/')) LIMIT 1
        """,
        {"company": scope.company, "path": path, "folders": list(folders), "moving": moving},
    )
    return row is not None


async def insert_file(scope: Scope, file: FileId, path: str, content: Content, content_type: str) -> None:
    """Add a file at its first version; who brings it, and in which run, are the scope's own."""
    await scope.execute(
        """
        INSERT INTO workspace.files (company_id, id, path, size, sha256, content_type, origin, changed_by, run_id)
        VALUES (%(company)s, %(id)s, %(path)s, %(size)s, %(sha256)s, %(content_type)s, %(origin)s, %(person)s, %(run)s)
        """,
        {
            "company": scope.company,
            "id": file,
            "path": path,
            "size": content.size,
            "sha256": content.sha256,
            "content_type": content_type,
            "origin": _origin(scope).value,
            "person": scope.actor.person_id,
            "run": scope.actor.run_id,
        },
    )


async def update_file(scope: Scope, file: FileId, version: int, content: Content, content_type: str) -> None:
    """Write a file's present version; who brings it, and in which run, are the scope's own."""
    await scope.execute(
        """
        UPDATE workspace.files SET version = %(version)s, size = %(size)s, sha256 = %(sha256)s,
            content_type = %(content_type)s, origin = %(origin)s, changed_by = %(person)s, run_id = %(run)s,
            changed_at = now(), reading = NULL
        WHERE company_id = %(company)s AND id = %(id)s
        """,
        {
            "company": scope.company,
            "id": file,
            "version": version,
            "size": content.size,
            "sha256": content.sha256,
            "content_type": content_type,
            "origin": _origin(scope).value,
            "person": scope.actor.person_id,
            "run": scope.actor.run_id,
        },
    )


async def mark_deleted(scope: Scope, file: FileId) -> None:
    """Write that a file is deleted, and by whom."""
    await scope.execute(
        """
        UPDATE workspace.files SET deleted_at = now(), changed_at = now(), changed_by = %(person)s, run_id = %(run)s
        WHERE company_id = %(company)s AND id = %(id)s
        """,
        {"company": scope.company, "id": file, "person": scope.actor.person_id, "run": scope.actor.run_id},
    )


async def place(scope: Scope, file: FileId, path: str, content_type: str) -> None:
    """Write that a file is present under a name: moved there, or restored from the bin; and by whom."""
    await scope.execute(
        """
        UPDATE workspace.files SET path = %(path)s, content_type = %(content_type)s, deleted_at = NULL,
            changed_at = now(), changed_by = %(person)s, run_id = %(run)s
        WHERE company_id = %(company)s AND id = %(id)s
        """,
        {
            "company": scope.company,
            "id": file,
            "path": path,
            "content_type": content_type,
            "person": scope.actor.person_id,
            "run": scope.actor.run_id,
        },
    )


async def delete_for_good(scope: Scope, file: FileId) -> int:
    """Delete a file that lies in the bin, its versions with it; return how many there were."""
    return await scope.execute(
        "DELETE FROM workspace.files WHERE company_id = %(company)s AND id = %(id)s AND deleted_at IS NOT NULL",
        {"company": scope.company, "id": file},
    )


async def insert_version(scope: Scope, file: FileId, version: int, content: Content) -> None:
    """Add a version of a file."""
    await scope.execute(
        """
        INSERT INTO workspace.file_versions (company_id, file_id, version, size, sha256, changed_by, run_id)
        VALUES (%(company)s, %(file)s, %(version)s, %(size)s, %(sha256)s, %(person)s, %(run)s)
        """,
        {
            "company": scope.company,
            "file": file,
            "version": version,
            "size": content.size,
            "sha256": content.sha256,
            "person": scope.actor.person_id,
            "run": scope.actor.run_id,
        },
    )


async def replace_passages(scope: Scope, file: FileId, passages: list[Passage]) -> None:
    """Write a file's passages in place of those that were there."""
    await scope.execute(
        "DELETE FROM workspace.passages WHERE company_id = %(company)s AND file_id = %(file)s",
        {"company": scope.company, "file": file},
    )
    await scope.execute(
        """
        INSERT INTO workspace.passages (company_id, file_id, position, heading, body)
        SELECT %(company)s::uuid, %(file)s::uuid, made.position - 1, made.heading, made.body
        FROM unnest(%(headings)s::text[], %(bodies)s::text[]) WITH ORDINALITY AS made (heading, body, position)
        """,
        {
            "company": scope.company,
            "file": file,
            "headings": [passage.heading for passage in passages],
            "bodies": [passage.body for passage in passages],
        },
    )


async def note_reading(scope: Scope, file: FileId, reading: dict[str, Any]) -> None:
    """Write what came of reading a file's present version."""
    await scope.execute(
        "UPDATE workspace.files SET reading = %(reading)s WHERE company_id = %(company)s AND id = %(id)s",
        {"company": scope.company, "id": file, "reading": Jsonb(reading)},
    )


async def reading_of(scope: Scope, file: FileId) -> dict[str, Any] | None:
    """Return what came of reading a file's present version; None where it was not read."""
    row = await scope.one(
        "SELECT file.reading FROM workspace.files AS file WHERE file.company_id = %(company)s AND file.id = %(id)s",
        {"company": scope.company, "id": file},
    )
    return None if row is None else row["reading"]


async def passages_of(scope: Scope, file: FileId) -> list[Passage]:
    """Return a file's passages, in order."""
    rows = await scope.all(
        """
        SELECT passage.heading, passage.body FROM workspace.passages AS passage
        WHERE passage.company_id = %(company)s AND passage.file_id = %(file)s ORDER BY passage.position
        """,
        {"company": scope.company, "file": file},
    )
    return [Passage(row["heading"], row["body"]) for row in rows]


async def find_file(scope: Scope, *, file: FileId | None = None, path: str | None = None) -> StoredFile | None:
    """Return a file by its id, deleted or not, or the present one by its name."""
    row = await scope.one(
        """
        SELECT file.id, file.path, file.version, file.size, file.sha256, file.content_type, file.origin,
            file.changed_by, person.name AS changed_by_name, writer.name AS written_by_name, file.run_id,
            file.created_at, file.changed_at, file.deleted_at
        FROM workspace.files AS file LEFT JOIN identity.people AS person ON person.id = file.changed_by
        LEFT JOIN workspace.file_versions AS kept
            ON kept.company_id = file.company_id AND kept.file_id = file.id AND kept.version = file.version
        LEFT JOIN identity.people AS writer ON writer.id = kept.changed_by
        WHERE file.company_id = %(company)s
          AND (file.id = %(id)s::uuid OR (file.path = %(path)s::text AND file.deleted_at IS NULL))
        """,
        {"company": scope.company, "id": file, "path": path},
    )
    return None if row is None else _file(row)


async def page_of_files(scope: Scope, folder: str, after: str | None, most: int) -> list[StoredFile]:
    """Return up to `most` present files by name, below `folder` (ending in a slash, or empty), after a name."""
    rows = await scope.all(
        """
        SELECT file.id, file.path, file.version, file.size, file.sha256, file.content_type, file.origin,
            file.changed_by, person.name AS changed_by_name, writer.name AS written_by_name, file.run_id,
            file.created_at, file.changed_at, file.deleted_at
        FROM workspace.files AS file LEFT JOIN identity.people AS person ON person.id = file.changed_by
        LEFT JOIN workspace.file_versions AS kept
            ON kept.company_id = file.company_id AND kept.file_id = file.id AND kept.version = file.version
        LEFT JOIN identity.people AS writer ON writer.id = kept.changed_by
        WHERE file.company_id = %(company)s AND file.deleted_at IS NULL AND starts_with(file.path, %(folder)s::text)
          AND (%(after)s::text IS NULL OR file.path COLLATE "C" > %(after)s::text COLLATE "C")
        ORDER BY file.path COLLATE "C" LIMIT %(most)s
        """,
        {"company": scope.company, "folder": folder, "after": after, "most": most},
    )
    return [_file(row) for row in rows]


async def page_of_bin(scope: Scope, after: Position | None, most: int) -> list[StoredFile]:
    """Return up to `most` deleted files, the last deleted first, after a place in that order."""
    rows = await scope.all(
        """
        SELECT file.id, file.path, file.version, file.size, file.sha256, file.content_type, file.origin,
            file.changed_by, person.name AS changed_by_name, writer.name AS written_by_name, file.run_id,
            file.created_at, file.changed_at, file.deleted_at
        FROM workspace.files AS file LEFT JOIN identity.people AS person ON person.id = file.changed_by
        LEFT JOIN workspace.file_versions AS kept
            ON kept.company_id = file.company_id AND kept.file_id = file.id AND kept.version = file.version
        LEFT JOIN identity.people AS writer ON writer.id = kept.changed_by
        WHERE file.company_id = %(company)s AND file.deleted_at IS NOT NULL
          AND (%(at)s::timestamptz IS NULL OR (file.deleted_at, file.id) < (%(at)s::timestamptz, %(id)s::uuid))
        ORDER BY file.deleted_at DESC, file.id DESC LIMIT %(most)s
        """,
        {
            "company": scope.company,
            "at": after.at if after else None,
            "id": after.id if after else None,
            "most": most,
        },
    )
    return [_file(row) for row in rows]


async def versions_of(scope: Scope, file: FileId) -> list[FileVersion]:
    """Return a file's versions, the newest first, at most 1,000."""
    rows = await scope.all(
        """
        SELECT kept.version, kept.size, kept.sha256, kept.changed_by, person.name AS changed_by_name, kept.run_id,
            kept.at
        FROM workspace.file_versions AS kept LEFT JOIN identity.people AS person ON person.id = kept.changed_by
        WHERE kept.company_id = %(company)s AND kept.file_id = %(file)s
        ORDER BY kept.version DESC LIMIT 1000
        """,
        {"company": scope.company, "file": file},
    )
    return [FileVersion(**row) for row in rows]


async def content_of(scope: Scope, file: FileId, version: int) -> Content | None:
    """Return what the bytes of a version must be."""
    row = await scope.one(
        """
        SELECT kept.size, kept.sha256 FROM workspace.file_versions AS kept
        WHERE kept.company_id = %(company)s AND kept.file_id = %(file)s AND kept.version = %(version)s
        """,
        {"company": scope.company, "file": file, "version": version},
    )
    return None if row is None else Content(row["size"], row["sha256"])


async def matching_passages(scope: Scope, query: str, most: int) -> list[FoundPassage]:
    """Return up to `most` passages of present files whose words match, best first."""
    rows = await scope.all(
        """
        SELECT passage.file_id, file.path, file.version, passage.position, passage.heading, passage.body
        FROM workspace.search_passages(%(query)s::text, %(most)s) AS found
        JOIN workspace.passages AS passage ON passage.company_id = %(company)s AND passage.file_id = found.file_id
            AND passage.position = found.passage_position
        JOIN workspace.files AS file ON file.company_id = %(company)s AND file.id = found.file_id
        ORDER BY found.rank DESC, file.path, passage.position
        """,
        {"company": scope.company, "query": query, "most": most},
    )
    return [FoundPassage(**row) for row in rows]


def _origin(scope: Scope) -> FileOrigin:
    return FileOrigin.UPLOAD if scope.actor.run_id is None else FileOrigin.AGENT


def _file(row: Row) -> StoredFile:
    values: dict[str, Any] = {**row, "origin": FileOrigin(row["origin"])}
    return StoredFile(**values)
