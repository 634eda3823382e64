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
    InventoryEntry(
        store="credentials.oauth_clients",
        kind=StoreKind.TABLE,
        purpose="Know what the company is registered as at providers of accounts.",
        owner="company_id",
        categories=("client id", "who registered it", "times"),
        retention="Until the company is erased.",
        erasure=Erasure.DELETE,
        exported=True,
    ),
    InventoryEntry(
        store="credentials.connections",
        kind=StoreKind.TABLE,
        purpose="Use people's accounts at other services for their own work, and show them how each is doing.",
        owner="person_id",
        categories=("name of the account", "permissions", "times of use, refresh and failure"),
        retention="Until the company or the person is erased; what is revoked is shown for thirty days.",
        erasure=Erasure.DELETE,
        exported=True,
    ),
    InventoryEntry(
        store="credentials.oauth_states",
        kind=StoreKind.TABLE,
        purpose="Bind a consent that was begun to one person, session and company.",
        owner="person_id",
        categories=("digest of a random value", "permissions", "times"),
        retention="A day at most; it holds for ten minutes.",
        erasure=Erasure.DELETE,
        exported=False,
    ),
    InventoryEntry(
        store="credentials.oauth_revocations",
        kind=StoreKind.TABLE,
        purpose="Tell providers of connections that have ended, until they have heard it.",
        owner="company_id",
        categories=("ids of sealed tokens", "times"),
        retention="Until the provider has heard it, about five days at most.",
        erasure=Erasure.DELETE,
        exported=False,
    ),
)
