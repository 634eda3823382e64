"""The check of the whole log against the heads outside the database: what `operalta audit verify` does.

It reads as the owner, who alone sees every company, in chunks, at one moment of the database. What it trusts is
outside: the published heads and the public keys.
"""

import asyncio
from collections.abc import Collection
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from operalta.audit import store
from operalta.audit.findings import FINDINGS_KEPT, Finding, FindingKind, LogReport
from operalta.audit.heads import HeadDirectory, SignedHead, UnreadableHead, VerifySignature, verify_head
from operalta.audit.reports import with_findings
from operalta.audit.rules import StoredLeaf
from operalta.audit.verification import LogCheck, StoredContent
from operalta.db.errors import DatabaseOutOfReach
from operalta.db.pools import Connection
from operalta.terms.registry import upholds


@upholds("2.5.5")
async def verify_deployment(
    owner_dsn: str,
    heads: HeadDirectory,
    verify: VerifySignature,
    *,
    erasures: Collection[UUID] | None = None,
) -> LogReport:
    """Check every leaf, event, number and head of the deployment.

    The report keeps "tampered" and "could not check" apart. `verify` looks public keys up by their id. `erasures` are
    the events that may have lost their salt; None where there is no ledger to ask. Raise DatabaseOutOfReach where the
    database does not answer, which is no finding.
    """
    # Before the database: a head that is published while we read must not look like a tail that was cut.
    outside = await heads.read()
    try:
        connection: Connection = await AsyncConnection[DictRow].connect(
            owner_dsn, row_factory=dict_row, connect_timeout=10
        )
        async with connection:
            await store.begin_check(connection)
            check = LogCheck(outside.heads, erasures=erasures)
            found = list(outside.findings)
            async for chunk in store.whole_log(connection):
                found += await asyncio.to_thread(_add, check, chunk)
            for lost in await store.events_without_leaf(connection, FINDINGS_KEPT):
                text = "It was sealed, but no leaf stands for it any more."
                found.append(Finding(FindingKind.MISSING_LEAF, f"event {lost['id']}", text))
            found += await _compare_stored_heads(connection, outside.heads, verify)
            unsealed = await store.count_unsealed(connection)
    except psycopg.OperationalError as error:
        raise DatabaseOutOfReach(f"The database does not answer: {error}") from error
    return with_findings(await asyncio.to_thread(check.finish, verify, unsealed=unsealed), found)


def _add(check: LogCheck, chunk: list[tuple[StoredLeaf, StoredContent | None, bool]]) -> list[Finding]:
    found: list[Finding] = []
    for leaf, content, own in chunk:
        check.add(leaf, content)
        if not own:
            text = "Its event says that it stands elsewhere in the tree."
            found.append(Finding(FindingKind.MISLABELLED_EVENT, f"leaf {leaf.index}", text))
    return found


async def _compare_stored_heads(
    connection: Connection, outside: Collection[SignedHead], verify: VerifySignature
) -> list[Finding]:
    """Return where the heads inside the database are not heads, are not signed, or differ from those outside."""
    by_size = {head.size: head.digest for head in outside}
    newest = max(by_size, default=0)
    found: list[Finding] = []
    async for chunk in store.stored_heads(connection):
        for row in chunk:
            place = f"stored head {row['size']}"
            try:
                head = store.head_of(row["document"])
            except UnreadableHead as error:
                found.append(Finding(FindingKind.UNREADABLE_HEAD, place, str(error)))
                continue
            wrong = verify_head(head, verify)
            if wrong is not None:
                found.append(wrong)
            elif head.size != row["size"]:
                found.append(Finding(FindingKind.UNREADABLE_HEAD, place, "It stands in another head's place."))
            elif head.size in by_size and by_size[head.size] != head.digest:
                found.append(Finding(FindingKind.FORKED_HEAD, place, "The head of this size outside says otherwise."))
            elif head.size not in by_size and head.size < newest:
                found.append(Finding(FindingKind.MISSING_HEAD, place, "It is gone from the place outside."))
    return found
