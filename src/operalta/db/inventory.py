"""What the db room keeps: nothing about people."""

from operalta.kernel.inventory import Erasure, InventoryEntry, StoreKind

ENTRIES: tuple[InventoryEntry, ...] = (
    InventoryEntry(
        store="scope.key",
        kind=StoreKind.TABLE,
        purpose="Sign scopes, so that nobody can open another's by writing a setting.",
        owner="",
        categories=("a random key",),
        retention="Until the database server starts again; in no backup.",
        erasure=Erasure.NOT_PERSONAL,
        exported=False,
    ),
    InventoryEntry(
        store="access.role_permissions",
        kind=StoreKind.TABLE,
        purpose="Let the database decide by the same role templates as the application.",
        owner="",
        categories=("names of roles and permissions",),
        retention="As long as the release is in use.",
        erasure=Erasure.NOT_PERSONAL,
        exported=False,
    ),
)
