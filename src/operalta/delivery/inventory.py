"""What the delivery room keeps about people."""

from operalta.kernel.inventory import Erasure, InventoryEntry, StoreKind

ENTRIES: tuple[InventoryEntry, ...] = (
    InventoryEntry(
        store="delivery.messages",
        kind=StoreKind.TABLE,
        purpose="Hold the mail and SMS that are to be sent, and whether they were.",
        owner="person_id",
        categories=(
            "e-mail addresses",
            "phone numbers",
            "names",
            "network address and device of a new sign-in",
            "what was changed about second factors",
            "times",
        ),
        retention="As long as the account, sign-up, invitation or code that the message is about; 30 days at most.",
        erasure=Erasure.DELETE,
        exported=True,
    ),
    InventoryEntry(
        store="delivery.outbox",
        kind=StoreKind.TABLE,
        purpose="Show the operator of a local deployment the mail and SMS that do not leave it.",
        owner="message_id",
        categories=("e-mail addresses", "phone numbers", "names", "texts with links and codes of one use"),
        retention="As long as the message; empty in production, where relay and provider take its place.",
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
    InventoryEntry(
        store="sms provider",
        kind=StoreKind.PROVIDER,
        purpose="Carry codes to phones, where the operator has named a provider.",
        owner="",
        categories=("phone numbers", "texts with codes of one use"),
        retention="As the operator has agreed with the provider.",
        erasure=Erasure.EXPIRE,
        exported=False,
    ),
)
