"""What the guard room keeps about people."""

from operalta.kernel.inventory import Erasure, InventoryEntry, StoreKind

ENTRIES: tuple[InventoryEntry, ...] = (
    InventoryEntry(
        store="operalta:limit:*",
        kind=StoreKind.CACHE,
        purpose="Count requests, so that nobody can guess credentials or exhaust the service.",
        owner="",
        categories=("keyed digests of e-mail addresses, phone numbers, ids and network addresses", "times"),
        retention="The window of the limit, at most one hour after the last request, or one day after the last that an "
        "agent's run sent outside; never in a backup.",
        erasure=Erasure.EXPIRE,
        exported=False,
    ),
)
