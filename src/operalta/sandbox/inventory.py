"""What personal data the sandbox keeps: the files of companies, and the log of outgoing requests."""

from operalta.kernel.inventory import Erasure, InventoryEntry, StoreKind

ENTRIES: tuple[InventoryEntry, ...] = (
    InventoryEntry(
        store="var/workspaces",
        kind=StoreKind.FILES,
        purpose="Files that a company's people and agents work on.",
        owner="company_id",
        categories=("files",),
        retention="Until a person deletes the file for good, or the company is erased.",
        erasure=Erasure.DELETE,
        exported=True,
    ),
    InventoryEntry(
        store="sandbox.egress_log",
        kind=StoreKind.TABLE,
        purpose="Shows which destinations were reached or refused for a company; never what was sent.",
        owner="company_id",
        categories=("destinations",),
        retention="90 days.",
        erasure=Erasure.EXPIRE,
        exported=True,
    ),
)
