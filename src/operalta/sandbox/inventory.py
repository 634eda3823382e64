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
    InventoryEntry(
        store="fetched pages",
        kind=StoreKind.PROVIDER,
        purpose="Give an agent a page that a person asked for.",
        owner="",
        categories=("addresses that a person typed",),
        retention="As the site does; nothing but the address is sent.",
        erasure=Erasure.EXPIRE,
        exported=False,
    ),
    InventoryEntry(
        store="hosts of commands",
        kind=StoreKind.PROVIDER,
        purpose="Give an approved command what it needs from hosts on the list.",
        owner="",
        categories=("what an approved command sends",),
        retention="As the host does.",
        erasure=Erasure.EXPIRE,
        exported=False,
    ),
)
