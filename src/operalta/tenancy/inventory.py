"""What the tenancy room keeps about people."""

from operalta.kernel.inventory import Erasure, InventoryEntry, StoreKind

ENTRIES: tuple[InventoryEntry, ...] = (
    InventoryEntry(
        store="tenancy.companies",
        kind=StoreKind.TABLE,
        purpose="Know the companies and who founded them.",
        owner="id",
        categories=("company name", "who founded it"),
        retention="Until the company is erased.",
        erasure=Erasure.DELETE,
        exported=True,
    ),
    InventoryEntry(
        store="tenancy.memberships",
        kind=StoreKind.TABLE,
        purpose="Know who may do what in which company.",
        owner="person_id",
        categories=("role", "who invited", "times of joining and leaving"),
        retention="Until the company or the person is erased; an ended membership opens nothing.",
        erasure=Erasure.DELETE,
        exported=True,
    ),
    InventoryEntry(
        store="tenancy.invitations",
        kind=StoreKind.TABLE,
        purpose="Bind an invitation to one address, one role and one use.",
        owner="company_id",
        categories=("e-mail address", "role", "who invited", "times"),
        retention="Until the company is erased; an open invitation holds for 7 days.",
        erasure=Erasure.DELETE,
        exported=True,
    ),
    InventoryEntry(
        store="tenancy.staff_access",
        kind=StoreKind.TABLE,
        purpose="Show a company which of the operator's staff visited it, why, and until when.",
        owner="person_id",
        categories=("name of the staff member", "staff role", "reason", "times"),
        retention="Until the company is erased.",
        erasure=Erasure.DELETE,
        exported=True,
    ),
)
