"""The SQL of artifacts. Row security shows a private one to its person alone; a trigger keeps the versions."""

from typing import Any

from operalta.db.scope import Row, Scope
from operalta.kernel.ids import ApprovalId, ArtifactId, ConversationId
from operalta.workspace.artifacts.rules import Artifact, ArtifactKind, ArtifactVersion, VersionLine
from operalta.workspace.rules import Position


async def insert_artifact(
    scope: Scope,
    artifact: ArtifactId,
    title: str,
    kind: ArtifactKind,
    content: str,
    *,
    private: bool,
    conversation: ConversationId | None,
    approval: ApprovalId | None,
) -> None:
    """Add an artifact; who makes it, in which run and with which key, are the scope's own."""
    await scope.execute(
        """
        INSERT INTO workspace.artifacts (company_id, id, title, kind, content, private_to, conversation_id, created_by,
            changed_by, run_id, api_key_id, approval_id)
        VALUES (%(company)s, %(id)s, %(title)s, %(kind)s, %(content)s, %(private_to)s, %(conversation)s, %(person)s,
            %(person)s, %(run)s, %(api_key)s, %(approval)s)
        """,
        {
            "company": scope.company,
            "id": artifact,
            "title": title,
            "kind": kind.value,
            "content": content,
            "private_to": scope.actor.person_id if private else None,
            "conversation": conversation,
            "person": scope.actor.person_id,
            "run": scope.actor.run_id,
            "api_key": scope.actor.key_id,
            "approval": approval,
        },
    )


async def revise_artifact(
    scope: Scope, artifact: ArtifactId, content: str, version: int, note: str, approval: ApprovalId | None
) -> bool:
    """Write what an artifact says; false where `version` is not the one that it says now, or it is archived."""
    touched = await scope.execute(
        """
        UPDATE workspace.artifacts SET content = %(content)s, note = %(note)s, approval_id = %(approval)s,
            changed_by = %(person)s, run_id = %(run)s, api_key_id = %(api_key)s, updated_at = now()
        WHERE company_id = %(company)s AND id = %(id)s AND version = %(version)s AND archived_at IS NULL
        """,
        {
            "company": scope.company,
            "id": artifact,
            "content": content,
            "version": version,
            "note": note,
            "approval": approval,
            "person": scope.actor.person_id,
            "run": scope.actor.run_id,
            "api_key": scope.actor.key_id,
        },
    )
    return touched == 1


async def rename_artifact(scope: Scope, artifact: ArtifactId, title: str) -> bool:
    """Write an artifact's title; false where there is none to write."""
    touched = await scope.execute(
        """
        UPDATE workspace.artifacts SET title = %(title)s, changed_by = %(person)s, run_id = %(run)s,
            api_key_id = %(api_key)s, updated_at = now()
        WHERE company_id = %(company)s AND id = %(id)s
        """,
        {
            "company": scope.company,
            "id": artifact,
            "title": title,
            "person": scope.actor.person_id,
            "run": scope.actor.run_id,
            "api_key": scope.actor.key_id,
        },
    )
    return touched == 1


async def set_archived(scope: Scope, artifact: ArtifactId, *, away: bool) -> bool:
    """Archive an artifact or bring it back; false where it is there already, or there is none."""
    touched = await scope.execute(
        """
        UPDATE workspace.artifacts SET archived_at = CASE WHEN %(away)s THEN now() END, changed_by = %(person)s,
            run_id = %(run)s, api_key_id = %(api_key)s
        WHERE company_id = %(company)s AND id = %(id)s AND (archived_at IS NOT NULL) <> %(away)s
        """,
        {
            "company": scope.company,
            "id": artifact,
            "away": away,
            "person": scope.actor.person_id,
            "run": scope.actor.run_id,
            "api_key": scope.actor.key_id,
        },
    )
    return touched == 1


async def open_artifact(scope: Scope, artifact: ArtifactId) -> bool:
    """Open a private artifact to the company; false where the person has no such one."""
    row = await scope.one("SELECT workspace.open_artifact(%(id)s) AS opened", {"id": artifact})
    return bool(row and row["opened"])


async def find_artifact(scope: Scope, artifact: ArtifactId) -> Artifact | None:
    """Return one artifact."""
    row = await scope.one(
        """
        SELECT kept.id, kept.title, kept.kind, kept.version, length(kept.content) AS size,
            left(kept.content, 400) AS excerpt, kept.private_to, talk.id AS conversation_id, kept.created_by,
            maker.name AS created_by_name, kept.changed_by, changer.name AS changed_by_name, kept.run_id,
            NOT EXISTS (SELECT FROM workspace.artifact_versions AS old WHERE old.company_id = kept.company_id
                AND old.artifact_id = kept.id AND coalesce(old.run_id, old.api_key_id) IS NOT NULL) AS by_people_alone,
            kept.created_at, kept.updated_at, kept.archived_at
        FROM workspace.artifacts AS kept
        LEFT JOIN identity.people AS maker ON maker.id = kept.created_by
        LEFT JOIN identity.people AS changer ON changer.id = kept.changed_by
        LEFT JOIN workspace.conversations AS talk
            ON talk.company_id = kept.company_id AND talk.id = kept.conversation_id
        WHERE kept.company_id = %(company)s AND kept.id = %(id)s
        """,
        {"company": scope.company, "id": artifact},
    )
    return None if row is None else _artifact(row)


async def ids_of_title(scope: Scope, title: str, most: int) -> list[ArtifactId]:
    """Return up to `most` artifacts of this title that are not archived; letters are compared without their case."""
    rows = await scope.all(
        """
        SELECT kept.id FROM workspace.artifacts AS kept
        WHERE kept.company_id = %(company)s AND lower(kept.title) = lower(%(title)s) AND kept.archived_at IS NULL
        ORDER BY kept.updated_at DESC, kept.id DESC LIMIT %(most)s
        """,
        {"company": scope.company, "title": title, "most": most},
    )
    return [ArtifactId(row["id"]) for row in rows]


async def page_of_artifacts(
    scope: Scope, query: str | None, after: Position | None, most: int, *, archived: bool
) -> list[Artifact]:
    """Return up to `most` artifacts, the last changed first; with `query`, of the 200 best matches."""
    rows = await scope.all(
        """
        SELECT kept.id, kept.title, kept.kind, kept.version, length(kept.content) AS size,
            left(kept.content, 400) AS excerpt, kept.private_to, talk.id AS conversation_id, kept.created_by,
            maker.name AS created_by_name, kept.changed_by, changer.name AS changed_by_name, kept.run_id,
            NOT EXISTS (SELECT FROM workspace.artifact_versions AS old WHERE old.company_id = kept.company_id
                AND old.artifact_id = kept.id AND coalesce(old.run_id, old.api_key_id) IS NOT NULL) AS by_people_alone,
            kept.created_at, kept.updated_at, kept.archived_at
        FROM workspace.artifacts AS kept
        LEFT JOIN identity.people AS maker ON maker.id = kept.created_by
        LEFT JOIN identity.people AS changer ON changer.id = kept.changed_by
        LEFT JOIN workspace.conversations AS talk
            ON talk.company_id = kept.company_id AND talk.id = kept.conversation_id
        WHERE kept.company_id = %(company)s AND (kept.archived_at IS NOT NULL) = %(archived)s
          AND (%(query)s::text IS NULL OR kept.id IN (SELECT found.artifact_id
              FROM workspace.search_artifacts(%(query)s::text, 200) AS found))
          AND (%(at)s::timestamptz IS NULL OR (kept.updated_at, kept.id) < (%(at)s::timestamptz, %(id)s::uuid))
        ORDER BY kept.updated_at DESC, kept.id DESC LIMIT %(most)s
        """,
        {
            "company": scope.company,
            "query": query,
            "archived": archived,
            "at": after and after.at,
            "id": after and after.id,
            "most": most,
        },
    )
    return [_artifact(row) for row in rows]


async def matching_artifacts(scope: Scope, query: str, most: int) -> list[Artifact]:
    """Return up to `most` artifacts whose words match, best first; those in the archive are not among them."""
    rows = await scope.all(
        """
        SELECT kept.id, kept.title, kept.kind, kept.version, length(kept.content) AS size,
            left(kept.content, 400) AS excerpt, kept.private_to, talk.id AS conversation_id, kept.created_by,
            maker.name AS created_by_name, kept.changed_by, changer.name AS changed_by_name, kept.run_id,
            NOT EXISTS (SELECT FROM workspace.artifact_versions AS old WHERE old.company_id = kept.company_id
                AND old.artifact_id = kept.id AND coalesce(old.run_id, old.api_key_id) IS NOT NULL) AS by_people_alone,
            kept.created_at, kept.updated_at, kept.archived_at
        FROM workspace.search_artifacts(%(query)s::text, %(most)s) AS found
        JOIN workspace.artifacts AS kept ON kept.company_id = %(company)s AND kept.id = found.artifact_id
        LEFT JOIN identity.people AS maker ON maker.id = kept.created_by
        LEFT JOIN identity.people AS changer ON changer.id = kept.changed_by
        LEFT JOIN workspace.conversations AS talk
            ON talk.company_id = kept.company_id AND talk.id = kept.conversation_id
        ORDER BY found.rank DESC, kept.updated_at DESC, kept.id DESC LIMIT %(most)s
        """,
        {"company": scope.company, "query": query, "most": most},
    )
    return [_artifact(row) for row in rows]


async def find_version(scope: Scope, artifact: ArtifactId, version: int) -> ArtifactVersion | None:
    """Return one version of an artifact."""
    row = await scope.one(
        """
        SELECT old.version, old.content, old.note, old.changed_by, person.name AS changed_by_name, old.run_id,
            old.api_key_id, old.approval_id, old.at
        FROM workspace.artifact_versions AS old LEFT JOIN identity.people AS person ON person.id = old.changed_by
        WHERE old.company_id = %(company)s AND old.artifact_id = %(artifact)s AND old.version = %(version)s
        """,
        {"company": scope.company, "artifact": artifact, "version": version},
    )
    return None if row is None else ArtifactVersion(**row)


async def page_of_versions(scope: Scope, artifact: ArtifactId, before: int, most: int) -> list[VersionLine]:
    """Return up to `most` versions of an artifact below the number `before`, the latest first."""
    rows = await scope.all(
        """
        SELECT old.version, length(old.content) AS size, old.note, old.changed_by, person.name AS changed_by_name,
            old.run_id, old.api_key_id, old.approval_id, old.at
        FROM workspace.artifact_versions AS old LEFT JOIN identity.people AS person ON person.id = old.changed_by
        WHERE old.company_id = %(company)s AND old.artifact_id = %(artifact)s AND old.version < %(before)s
        ORDER BY old.version DESC LIMIT %(most)s
        """,
        {"company": scope.company, "artifact": artifact, "before": before, "most": most},
    )
    return [VersionLine(**row) for row in rows]


def _artifact(row: Row) -> Artifact:
    values: dict[str, Any] = {**row, "kind": ArtifactKind(row["kind"])}
    return Artifact(**values)
