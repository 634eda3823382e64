"""The SQL of the audit room: appending and reading within a scope, sealing as the job role, checking as the owner."""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg.types.json import Jsonb

from operalta.audit.canonical import canonical_json
from operalta.audit.details import event_of
from operalta.audit.heads import SignedHead, UnreadableHead
from operalta.audit.queries import EventCursor, EventFilters
from operalta.audit.rules import AuditEvent, StoredLeaf
from operalta.audit.tree import Node
from operalta.audit.verification import StoredContent
from operalta.db.pools import Connection
from operalta.db.scope import Row, Scope

CHUNK_ROWS = 1000


async def append(
    scope: Scope, action: str, target_kind: str, target_id: str | None, *, outcome: str, detail: Mapping[str, object]
) -> UUID:
    """Add one event in the scope's transaction and return its id; actor and company are the scope's own."""
    row = await scope.one(
        """
        SELECT audit.append(%(action)s, %(target_kind)s, %(target_id)s, %(outcome)s, %(request)s, %(origin)s,
            %(detail)s) AS id
        """,
        {
            "action": action,
            "target_kind": target_kind,
            "target_id": target_id,
            "outcome": outcome,
            "request": scope.origin.request_id,
            "origin": scope.origin.address,
            "detail": Jsonb(dict(detail)),
        },
    )
    return _sure(row)["id"]


async def events(scope: Scope, filters: EventFilters, cursor: EventCursor | None, limit: int) -> list[Row]:
    """Return the company's events, newest first, with the name of the person behind each where it is known."""
    return await scope.all(
        """
        SELECT event.id, event.company_number, event.leaf_index, event.occurred_at, event.actor_kind,
            event.actor_person_id, person.name AS actor_name, event.actor_run_id, event.action, event.target_kind,
            event.target_id, event.outcome, event.request_id, event.origin, event.detail
        FROM audit.events AS event LEFT JOIN identity.people AS person ON person.id = event.actor_person_id
        WHERE event.company_id = %(company)s
          AND (%(before)s::timestamptz IS NULL OR (event.occurred_at, event.id) < (%(before)s, %(before_id)s::uuid))
          AND starts_with(event.action, %(action)s)
          AND (%(actor)s = '' OR event.actor_person_id::text = lower(%(actor)s)
              OR strpos(lower(person.name), lower(%(actor)s)) > 0 OR strpos(lower(person.email), lower(%(actor)s)) > 0)
          AND (%(words)s = ''
              OR strpos(lower(concat_ws(' ', event.target_kind, event.target_id)), lower(%(words)s)) > 0)
          AND (%(outcome)s::text IS NULL OR event.outcome = %(outcome)s)
          AND (%(since)s::timestamptz IS NULL OR event.occurred_at >= %(since)s)
          AND (%(until)s::timestamptz IS NULL OR event.occurred_at < %(until)s)
        ORDER BY event.occurred_at DESC, event.id DESC LIMIT %(limit)s
        """,
        {
            "company": scope.company,
            "before": cursor.occurred_at if cursor else None,
            "before_id": cursor.event_id if cursor else None,
            "action": filters.action,
            "actor": filters.actor,
            "words": filters.words,
            "outcome": filters.outcome,
            "since": filters.since,
            "until": filters.until,
            "limit": limit,
        },
    )


async def chain_state(scope: Scope) -> Row:
    """Return how many events are sealed and how many wait, over the whole deployment, and the last head."""
    return _sure(await scope.one("SELECT sealed, unsealed, head FROM audit.chain_state()"))


async def company_log(scope: Scope, most: int) -> list[tuple[StoredLeaf, StoredContent | None]]:
    """Return up to `most` of the company's leaves by their numbers, each with what is left of its event."""
    rows = await scope.all(
        """
        SELECT leaf.leaf_index AS leaf_place, leaf.commitment, leaf.company_id AS leaf_company,
            leaf.company_number AS leaf_number, leaf.event_id, event.id, event.company_id, event.company_number,
            event.occurred_at, event.actor_kind, event.actor_person_id, event.actor_run_id, event.action,
            event.target_kind, event.target_id, event.outcome, event.request_id, event.origin,
            event.detail::text AS detail_text, event.salt, event.leaf_index
        FROM audit.leaves AS leaf
        LEFT JOIN audit.events AS event ON event.id = leaf.event_id AND event.company_id = leaf.company_id
        WHERE leaf.company_id = %(company)s ORDER BY leaf.company_number LIMIT %(most)s
        """,
        {"company": scope.company, "most": most},
    )
    return [(_leaf(row), _content(row)) for row in rows]


async def company_counts(scope: Scope) -> Row:
    """Return how many of the company's events are `unsealed`, and how many are `lost`: sealed, but without a leaf."""
    row = await scope.one(
        """
        SELECT count(*) FILTER (WHERE event.leaf_index IS NULL) AS unsealed,
            count(*) FILTER (WHERE event.leaf_index IS NOT NULL AND NOT EXISTS (
                SELECT FROM audit.leaves AS leaf WHERE leaf.company_id = %(company)s AND leaf.event_id = event.id)
            ) AS lost
        FROM audit.events AS event WHERE event.company_id = %(company)s
        """,
        {"company": scope.company},
    )
    return _sure(row)


async def nodes(scope: Scope, places: Collection[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
    """Return the hashes of the complete nodes at these (level, index) places; those that are gone are left out."""
    ordered = sorted(places)
    rows = await scope.all(
        """
        SELECT node.level, node.node_index, node.hash
        FROM unnest(%(levels)s::integer[], %(indexes)s::bigint[]) AS wanted (level, node_index)
        JOIN audit.nodes AS node ON node.level = wanted.level AND node.node_index = wanted.node_index
        """,
        {"levels": [level for level, _ in ordered], "indexes": [index for _, index in ordered]},
    )
    return {(row["level"], row["node_index"]): row["hash"] for row in rows}


# ── Sealing: a connection of the job role ──────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class UnsealedEvent:
    """An event that waits for its place in the tree."""

    event: AuditEvent
    salt: bytes | None


@dataclass(frozen=True, slots=True)
class StoredEdge:
    """The size of the stored tree and its complete subtrees, widest first, as (level, hash)."""

    size: int
    nodes: tuple[tuple[int, bytes], ...]


async def begin_sealing(connection: Connection) -> bool:
    """Take the sealer's lock until the transaction ends; False where another sealer holds it."""
    cursor = await connection.execute("SELECT elevated.begin_sealing() AS held")
    return _sure(await cursor.fetchone())["held"]


async def last_head(connection: Connection) -> SignedHead | None:
    """Return the newest head. Raise UnreadableHead where it is not one."""
    cursor = await connection.execute("SELECT elevated.last_head() AS document")
    document = _sure(await cursor.fetchone())["document"]
    return None if document is None else head_of(document)


async def unsealed_events(connection: Connection, most: int) -> list[UnsealedEvent]:
    """Return up to `most` events that wait, oldest first."""
    cursor = await connection.execute(
        """
        SELECT id, company_id, company_number, occurred_at, actor_kind, actor_person_id, actor_run_id, action,
            target_kind, target_id, outcome, request_id, origin, detail::text AS detail_text, salt
        FROM elevated.unsealed_events(%(most)s)
        """,
        {"most": most},
    )
    return [UnsealedEvent(event_of(row), row["salt"]) for row in await cursor.fetchall()]


async def company_numbers(connection: Connection, companies: Collection[UUID]) -> dict[UUID, int]:
    """Return the last number given in each company, 0 where there is none."""
    cursor = await connection.execute(
        "SELECT company_id, last_number FROM elevated.company_numbers(%(companies)s::uuid[])",
        {"companies": sorted(companies)},
    )
    return {row["company_id"]: row["last_number"] for row in await cursor.fetchall()}


async def tree_edge(connection: Connection) -> StoredEdge:
    """Return the right edge of the stored tree."""
    cursor = await connection.execute("SELECT size, level, hash FROM elevated.tree_edge() ORDER BY level DESC")
    rows = await cursor.fetchall()
    return StoredEdge(rows[0]["size"] if rows else 0, tuple((row["level"], row["hash"]) for row in rows))


async def record_leaves(connection: Connection, leaves: Sequence[StoredLeaf]) -> None:
    """Give each event its place and number, and store its commitment, in one round trip."""
    await connection.execute(
        """
        SELECT elevated.record_leaf(event, place, number, commitment) FROM unnest(
            %(events)s::uuid[], %(places)s::bigint[], %(numbers)s::bigint[], %(commitments)s::bytea[]
        ) AS leaf (event, place, number, commitment)
        """,
        {
            "events": [leaf.event_id for leaf in leaves],
            "places": [leaf.index for leaf in leaves],
            "numbers": [leaf.company_number for leaf in leaves],
            "commitments": [leaf.commitment for leaf in leaves],
        },
    )


async def record_nodes(connection: Connection, completed: Sequence[Node]) -> None:
    """Store the nodes that became complete, in one round trip."""
    await connection.execute(
        """
        SELECT elevated.record_node(level, place, hash)
        FROM unnest(%(levels)s::integer[], %(places)s::bigint[], %(hashes)s::bytea[]) AS node (level, place, hash)
        """,
        {
            "levels": [node.level for node in completed],
            "places": [node.index for node in completed],
            "hashes": [node.hash for node in completed],
        },
    )


async def record_head(connection: Connection, head: SignedHead, document: Mapping[str, object]) -> None:
    """Store the head, whose JSON is `document`."""
    await connection.execute(
        "SELECT elevated.record_head(%(size)s, %(document)s)",
        {"size": head.size, "document": Jsonb(dict(document))},
    )


# ── Checking the whole log: a connection of the owner, which alone sees every company ──────────────────
async def whole_log(
    connection: Connection,
) -> AsyncGenerator[list[tuple[StoredLeaf, StoredContent | None, bool]]]:
    """Yield the log in the order of its leaves, in chunks: leaf, event, whether the event names this leaf as its own.

    The caller has opened a transaction; the rows are fetched through a cursor of the server.
    """
    async with connection.cursor(name="whole_log") as cursor:
        await cursor.execute(
            """
            SELECT leaf.leaf_index AS leaf_place, leaf.commitment, leaf.company_id AS leaf_company,
                leaf.company_number AS leaf_number, leaf.event_id, event.id, event.company_id, event.company_number,
                event.occurred_at, event.actor_kind, event.actor_person_id, event.actor_run_id, event.action,
                event.target_kind, event.target_id, event.outcome, event.request_id, event.origin,
                event.detail::text AS detail_text, event.salt, event.leaf_index
            FROM audit.leaves AS leaf LEFT JOIN audit.events AS event ON event.id = leaf.event_id
            ORDER BY leaf.leaf_index
            """
        )
        while rows := await cursor.fetchmany(CHUNK_ROWS):
            yield [(_leaf(row), _content(row), row["leaf_index"] in (None, row["leaf_place"])) for row in rows]


async def begin_check(connection: Connection) -> None:
    """Make the open transaction see one moment of the database, and write nothing."""
    await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")


async def count_unsealed(connection: Connection) -> int:
    """Return how many events wait."""
    cursor = await connection.execute("SELECT count(*) AS waiting FROM audit.events WHERE leaf_index IS NULL")
    return _sure(await cursor.fetchone())["waiting"]


async def events_without_leaf(connection: Connection, most: int) -> list[Row]:
    """Return up to `most` events that say where they are in the tree while no leaf stands for them."""
    cursor = await connection.execute(
        """
        SELECT event.id, event.leaf_index FROM audit.events AS event
        WHERE event.leaf_index IS NOT NULL
          AND NOT EXISTS (SELECT FROM audit.leaves AS leaf WHERE leaf.event_id = event.id)
        ORDER BY event.leaf_index LIMIT %(most)s
        """,
        {"most": most},
    )
    return await cursor.fetchall()


async def stored_heads(connection: Connection) -> AsyncGenerator[list[Row]]:
    """Yield the heads that the database keeps as (size, document) rows, in chunks, smallest first."""
    async with connection.cursor(name="stored_heads") as cursor:
        await cursor.execute("SELECT size, document FROM audit.heads ORDER BY size")
        while rows := await cursor.fetchmany(CHUNK_ROWS):
            yield rows


def head_of(document: object) -> SignedHead:
    """Return the head that a stored document holds. Raise UnreadableHead where it holds none."""
    try:
        return SignedHead.from_json(canonical_json(document))
    except ValueError as error:
        raise UnreadableHead("The database keeps something else in place of a head.") from error


def _leaf(row: Row) -> StoredLeaf:
    return StoredLeaf(row["leaf_place"], row["commitment"], row["leaf_company"], row["leaf_number"], row["event_id"])


def _content(row: Row) -> StoredContent | None:
    return None if row["id"] is None else StoredContent(row["id"], event_of(row), row["salt"])


def _sure(row: Row | None) -> Row:
    if row is None:
        raise LookupError("a query that always gives a row gave none")
    return row
