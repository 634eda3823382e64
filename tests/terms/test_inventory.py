"""Every store of data is declared: a table without an inventory entry, or an entry without a table, fails here."""

from operalta.app import inventory
from operalta.kernel.inventory import Erasure, StoreKind
from tests.conftest import Servers

NOT_DATA = {"public.alembic_version"}


def test_every_table_is_declared_and_every_declared_table_exists(servers: Servers) -> None:
    with servers.as_owner() as owner:
        rows = owner.execute(
            "SELECT table_schema || '.' || table_name AS store FROM information_schema.tables"
            " WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
    tables = {row["store"] for row in rows} - NOT_DATA
    declared = {entry.store for entry in inventory() if entry.kind in {StoreKind.TABLE, StoreKind.QUEUE}}
    assert tables - declared == set(), "undeclared"
    assert {store for store in declared if not store.startswith("jobs")} - tables == set(), "declared, but not there"


def test_a_store_is_declared_once() -> None:
    stores = [entry.store for entry in inventory()]
    assert sorted(stores) == sorted(set(stores))


def test_what_is_personal_names_its_owner() -> None:
    for entry in inventory():
        assert entry.purpose.endswith("."), entry.store
        assert entry.retention.endswith("."), entry.store
        if entry.kind is StoreKind.TABLE and entry.erasure not in {Erasure.NOT_PERSONAL, Erasure.EXPIRE}:
            assert entry.owner, entry.store
