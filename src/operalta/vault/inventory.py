"""What the vault keeps."""

from operalta.kernel.inventory import Erasure, InventoryEntry, StoreKind

ENTRIES: tuple[InventoryEntry, ...] = (
    InventoryEntry(
        store="credentials.secrets",
        kind=StoreKind.TABLE,
        purpose="Credentials for other services, sealed under the company's key, which lies outside the database.",
        owner="company_id",
        categories=("sealed credentials",),
        retention="Until it is removed, or the company is erased; what is too old for its kind is not used.",
        erasure=Erasure.DELETE,
        exported=False,
    ),
)
