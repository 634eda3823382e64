"""The sealer: puts events that have been committed into the tree, in order, in batches, and signs what came of it.

Writers never wait for it, and it never waits for them. One sealer works at a time, whatever the number of
processes; each batch is one transaction, so that leaves, numbers, nodes and the signed head stand or fall together.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from uuid import UUID

import psycopg

from operalta.audit import store
from operalta.audit.details import numbered
from operalta.audit.errors import TreeDiffers
from operalta.audit.heads import HeadConflict, HeadDirectory, SignedHead, UnreadableHead, sign_head
from operalta.audit.keys import HeadKey
from operalta.audit.rules import StoredLeaf, commitment, new_salt
from operalta.audit.tree import Frontier, Node, TreeError
from operalta.db.elevated import Purpose, open_elevated
from operalta.db.errors import DatabaseOutOfReach
from operalta.db.pools import Connection, Pool
from operalta.kernel import clock
from operalta.terms.registry import upholds

MOST_AT_ONCE = 500
PAUSE_SECONDS = 0.3
LONGEST_PAUSE_SECONDS = 10.0

_LOG = logging.getLogger(__name__)


class Sealer:
    """Seals the deployment's audit log.

    `pool` is the job role's; `key` gives the key that signs now; `heads` is where heads go, outside the database.
    A batch is sealed only once the head before it is outside, so that at most one head is ever inside alone; it goes
    out at the next start.
    """

    def __init__(self, pool: Pool, key: Callable[[], HeadKey], heads: HeadDirectory) -> None:
        self._pool = pool
        self._key = key
        self._heads = heads
        self._published: bytes | None = None

    @upholds("2.5.5")
    async def seal_once(self) -> int:
        """Seal up to `MOST_AT_ONCE` events and return how many; 0 where none wait or another sealer is at work.

        Raise TreeDiffers where the stored tree was tampered with, HeadConflict where another head of its size is
        outside, OSError where the place outside refuses, DatabaseOutOfReach. Nothing is half done then.
        """
        async with open_elevated(self._pool, Purpose.SEAL_AUDIT_LOG) as elevated:
            connection = elevated.connection
            if not await store.begin_sealing(connection):
                return 0
            last = await store.last_head(connection)
            if last is not None:
                await self._publish(last)
            waiting = await store.unsealed_events(connection, MOST_AT_ONCE)
            if not waiting:
                return 0
            head = await self._seal(connection, last, waiting)
        await self._publish(head)
        return len(waiting)

    async def run(self, stop: asyncio.Event) -> None:
        """Seal until `stop` is set, then once more. Errors are logged, and answered with longer and longer pauses."""
        pause = PAUSE_SECONDS
        while not stop.is_set():
            try:
                sealed = await self.seal_once()
            except (DatabaseOutOfReach, psycopg.Error, OSError) as error:
                _LOG.warning("the audit log waits to be sealed: %s", type(error).__name__)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            except (TreeDiffers, HeadConflict, UnreadableHead):
                _LOG.critical("the audit log has been tampered with and is not sealed any more", exc_info=True)
                pause = LONGEST_PAUSE_SECONDS
            except Exception:  # noqa: BLE001 - the process has other work, which goes on whatever this is
                _LOG.exception("the audit log is not sealed")
                pause = LONGEST_PAUSE_SECONDS
            else:
                pause = 0 if sealed == MOST_AT_ONCE else PAUSE_SECONDS
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
            pause = max(pause, PAUSE_SECONDS)
        with suppress(Exception):  # what is left is sealed at the next start
            await self.seal_once()

    async def _seal(
        self, connection: Connection, last: SignedHead | None, waiting: list[store.UnsealedEvent]
    ) -> SignedHead:
        edge = await store.tree_edge(connection)
        frontier = _continued(edge, last)
        companies = {item.event.company_id for item in waiting if item.event.company_id is not None}
        numbers = await store.company_numbers(connection, companies)
        leaves, completed = await asyncio.to_thread(_grow, frontier, numbers, waiting)
        head = await asyncio.to_thread(self._signed, frontier, last)
        await store.record_leaves(connection, leaves)
        await store.record_nodes(connection, completed)
        await store.record_head(connection, head, json.loads(head.to_json()))
        return head

    def _signed(self, frontier: Frontier, last: SignedHead | None) -> SignedHead:
        key = self._key()
        return sign_head(
            size=frontier.size,
            root=frontier.root(),
            sealed_at=clock.now(),
            previous=last,
            key_id=key.kid,
            sign=key.sign,
        )

    async def _publish(self, head: SignedHead) -> None:
        if self._published != head.digest:
            await self._heads.publish(head)
            self._published = head.digest


def _continued(edge: store.StoredEdge, last: SignedHead | None) -> Frontier:
    """Return the stored tree's frontier. It must be what the last head says, or its forger would be vouched for."""
    try:
        frontier = Frontier(edge.nodes)
    except TreeError as error:
        raise TreeDiffers("The edge of the stored tree is not that of a tree.") from error
    size, root = (last.size, last.root) if last else (0, Frontier().root())
    if (frontier.size, frontier.root()) != (size, root) or edge.size != size:
        raise TreeDiffers(f"The stored tree has {edge.size} leaves and does not lead to its last head, of {size}.")
    return frontier


def _grow(
    frontier: Frontier, numbers: dict[UUID, int], waiting: list[store.UnsealedEvent]
) -> tuple[list[StoredLeaf], list[Node]]:
    """Append the events to the frontier; return their leaves and the nodes that became complete."""
    leaves: list[StoredLeaf] = []
    completed: list[Node] = []
    for item in waiting:
        company = item.event.company_id
        number = None
        if company is not None:
            number = numbers[company] = numbers[company] + 1
        event = numbered(item.event, number)
        # An event that was erased before it was sealed is committed to with a salt that nobody keeps.
        leaf = StoredLeaf(frontier.size, commitment(event, item.salt or new_salt()), company, number, event.id)
        completed += frontier.append(leaf.hash)
        leaves.append(leaf)
    return leaves, completed
