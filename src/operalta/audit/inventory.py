"""What the audit room keeps about people."""

from operalta.kernel.inventory import Erasure, InventoryEntry, StoreKind

ENTRIES: tuple[InventoryEntry, ...] = (
    InventoryEntry(
        store="audit.events",
        kind=StoreKind.TABLE,
        purpose="Show who did what, when and with what outcome, for security and compliance.",
        owner="actor_person_id",
        categories=("identifiers of people", "network addresses", "times", "what was done, and to what"),
        retention="As long as the company exists; a person's content is erased with its salt, the commitment stays.",
        erasure=Erasure.FORGET_SALT,
        exported=True,
    ),
    InventoryEntry(
        store="audit.leaves",
        kind=StoreKind.TABLE,
        purpose="Hold the salted commitment of each event, which makes a change of the log evident.",
        owner="",
        categories=("salted digests", "identifiers of events and companies"),
        retention="For good. Without the salt a commitment tells nothing about anybody.",
        erasure=Erasure.NOT_PERSONAL,
        exported=False,
    ),
    InventoryEntry(
        store="audit.nodes",
        kind=StoreKind.TABLE,
        purpose="Hold the inner hashes of the log's tree, from which an event's place in it is proved.",
        owner="",
        categories=("digests",),
        retention="For good.",
        erasure=Erasure.NOT_PERSONAL,
        exported=False,
    ),
    InventoryEntry(
        store="audit.heads",
        kind=StoreKind.TABLE,
        purpose="Hold the signed roots of the log's tree.",
        owner="",
        categories=("digests", "signatures"),
        retention="For good.",
        erasure=Erasure.NOT_PERSONAL,
        exported=False,
    ),
    InventoryEntry(
        store="var/audit-heads",
        kind=StoreKind.FILES,
        purpose="Keep the signed roots outside the database, so that a rewritten or cut log is found.",
        owner="",
        categories=("digests", "signatures"),
        retention="For good.",
        erasure=Erasure.NOT_PERSONAL,
        exported=False,
    ),
)
