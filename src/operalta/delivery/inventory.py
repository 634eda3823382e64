"""What the delivery room keeps about people."""

from operalta.kernel.inventory import Erasure, InventoryEntry, StoreKind

ENTRIES: tuple[InventoryEntry, ...] = (
    InventoryEntry(
        store="delivery.messages",
        kind=StoreKind.TABLE,
        purpose="Hold the mail that is to be sent, and whether it was.",
        owner="person_id",
        categories=("e-mail addresses", "names", "network address and device of a new sign-in", "times"),
        retention="As long as the account, sign-up or invitation that the message is about.",
        erasure=Erasure.DELETE,
        exported=True,
    ),
    InventoryEntry(
        store="delivery.outbox",
        kind=StoreKind.TABLE,
        purpose="Show the operator of a local deployment the mail that does not leave it.",
        owner="message_id",
        categories=("e-mail addresses", "names", "texts with links of one use"),
        retention="As long as the message; empty wherever a mail relay is set.",
        erasure=Erasure.DELETE,
        exported=False,
    ),
    InventoryEntry(
        store="smtp relay",
        kind=StoreKind.PROVIDER,
        purpose="Carry mail to its recipients, where the operator has named a relay.",
        owner="",
        categories=("e-mail addresses", "names", "texts with links of one use"),
        retention="As the operator has agreed with the provider.",
        erasure=Erasure.EXPIRE,
        exported=False,
    ),
)
