from operalta.kernel.inventory import StoreKind
from operalta.sandbox.inventory import ENTRIES


def test_stores_and_recipients_are_declared() -> None:
    assert {(entry.store, entry.kind) for entry in ENTRIES} == {
        ("var/workspaces", StoreKind.FILES),
        ("sandbox.egress_log", StoreKind.TABLE),
        ("fetched pages", StoreKind.PROVIDER),
        ("hosts of commands", StoreKind.PROVIDER),
    }
