"""What the assurance room keeps: verdicts with their evidence, public on purpose, about nobody."""

from operalta.kernel.inventory import Erasure, InventoryEntry, StoreKind

ENTRIES: tuple[InventoryEntry, ...] = (
    InventoryEntry(
        store="assurance.evidence",
        kind=StoreKind.TABLE,
        purpose="Show on the trust page what was observed of each clause, and when.",
        owner="",
        categories=("verdicts and observations on synthetic companies",),
        retention="As long as the deployment exists: the history of verdicts is part of the assurance.",
        erasure=Erasure.NOT_PERSONAL,
        exported=False,
    ),
)
