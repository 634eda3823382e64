from operalta.kernel.inventory import StoreKind
from operalta.sandbox.inventory import ENTRIES


def test_both_stores_are_declared() -> None:
    assert {(entry.store, entry.kind) for entry in ENTRIES} == {
        ("var/workspaces", StoreKind.FILES),
        ("sandbox.egress_log", StoreKind.TABLE),
    }
