from operalta.kernel.inventory import StoreKind
from operalta.sandbox.inventory import ENTRIES
from operalta.sandbox.shell import shell_state


def test_the_shell_says_that_it_is_absent() -> None:
    state = shell_state()
    assert not state.available
    assert "not been built" in state.reason


def test_both_stores_are_declared() -> None:
    assert {(entry.store, entry.kind) for entry in ENTRIES} == {
        ("var/workspaces", StoreKind.FILES),
        ("sandbox.egress_log", StoreKind.TABLE),
    }
