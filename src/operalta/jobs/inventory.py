"""What the jobs room keeps about people: nothing but ids of runs and messages, for as long as they wait."""

from operalta.kernel.inventory import Erasure, InventoryEntry, StoreKind

ENTRIES: tuple[InventoryEntry, ...] = (
    InventoryEntry(
        store="jobs.procrastinate_jobs",
        kind=StoreKind.QUEUE,
        purpose="Hold what is to be done in the background: which run to continue, which message to deliver.",
        owner="",
        categories=("identifiers of runs and messages",),
        retention="Until the job is done or given up, then removed at once.",
        erasure=Erasure.EXPIRE,
        exported=False,
    ),
    InventoryEntry(
        store="jobs.procrastinate_events",
        kind=StoreKind.TABLE,
        purpose="Note when each waiting job was queued and started; removed with the job.",
        owner="",
        categories=("times",),
        retention="As long as its job.",
        erasure=Erasure.EXPIRE,
        exported=False,
    ),
    InventoryEntry(
        store="jobs.procrastinate_workers",
        kind=StoreKind.TABLE,
        purpose="Show which worker processes are alive.",
        owner="",
        categories=(),
        retention="A minute after the worker was last heard of.",
        erasure=Erasure.NOT_PERSONAL,
        exported=False,
    ),
    InventoryEntry(
        store="jobs.procrastinate_periodic_defers",
        kind=StoreKind.TABLE,
        purpose="Part of the queue's schema; the product has no periodic jobs, so it stays empty.",
        owner="",
        categories=(),
        retention="Nothing is kept.",
        erasure=Erasure.NOT_PERSONAL,
        exported=False,
    ),
)
