"""What the sealing room keeps."""

from operalta.kernel.inventory import Erasure, InventoryEntry, StoreKind

ENTRIES: tuple[InventoryEntry, ...] = (
    InventoryEntry(
        store="var/company-keys",
        kind=StoreKind.FILES,
        purpose="One wrapped key for each company, under which its secrets are sealed.",
        owner="company_id",
        categories=("keys",),
        retention="Until the company is erased; then a mark that it was dropped stays, without content.",
        erasure=Erasure.DELETE,
        exported=False,
    ),
    InventoryEntry(
        store="var/signing-keys",
        kind=StoreKind.FILES,
        purpose="Wrapped keys that sign access tokens, audit heads and evidence.",
        owner="",
        categories=("keys",),
        retention="Keys of access tokens until their tokens have expired; public halves of the others for good.",
        erasure=Erasure.NOT_PERSONAL,
        exported=False,
    ),
)
