"""What the vault keeps about people."""

from operalta.kernel.inventory import Erasure, InventoryEntry, StoreKind

ENTRIES: tuple[InventoryEntry, ...] = (
    InventoryEntry(
        store="credentials.api_keys",
        kind=StoreKind.TABLE,
        purpose="Let programs in with the rights that a person gave them.",
        owner="holder_id",
        categories=("name of the key", "digest of its secret", "scopes", "addresses", "times of use", "address of use"),
        retention="Until the company is erased; an ended key opens nothing and is shown for 90 days.",
        erasure=Erasure.DELETE,
        exported=True,
    ),
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
