"""Every seeded weakening of the database is found, each at its place and in its words; nothing else would notice it."""

from collections.abc import Callable, Generator
from functools import cache
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from operalta.db.catalogue import Gap
from operalta.db.policy_check import CHECKS, check_policies
from operalta.settings import DatabaseRole
from tests.conftest import Servers
from tests.db import mutants_of_policies, mutants_of_rights, mutants_of_surroundings
from tests.db.mutants import AS_SUPERUSER, BATCHES, Mutant, catching, findings

# What the first test finds, the second one counts: in one process, so that nothing is looked for twice.
pytestmark = pytest.mark.xdist_group("mutants")
# They register their batches.
PARTS = (mutants_of_policies, mutants_of_rights, mutants_of_surroundings)
FEWEST = 1000
Look = Callable[[str], tuple[list[Mutant], dict[str, list[Gap]]]]


@pytest.fixture(scope="session")
def owner(servers: Servers) -> Generator[psycopg.Connection[Any]]:
    with psycopg.connect(servers.settings.database_dsn(DatabaseRole.OWNER)) as connection:
        yield connection


@pytest.fixture(scope="session")
def superuser(servers: Servers) -> Generator[psycopg.Connection[Any]]:
    settings = servers.settings
    password = settings.secret("database-postgres").decode()
    address = make_conninfo(host=str(settings.socket_path), user="postgres", password=password, dbname="operalta")
    with psycopg.connect(address) as connection:
        yield connection


@pytest.fixture(scope="session")
def look(owner: psycopg.Connection[Any], superuser: psycopg.Connection[Any]) -> Look:
    """Bring a batch in and look for it, once."""

    @cache
    def once(name: str) -> tuple[list[Mutant], dict[str, list[Gap]]]:
        return findings(superuser if name in AS_SUPERUSER else owner, name)

    return once


@pytest.mark.proves("2.4.1", "2.4.5", "2.5.2", "7.2.3")
@pytest.mark.parametrize("name", BATCHES)
def test_every_mutant_is_found(owner: psycopg.Connection[Any], look: Look, name: str) -> None:
    mutants, found = look(name)
    assert mutants
    assert [mutant for mutant in mutants if not catching(mutant, found)] == []
    assert check_policies(owner) == []


@pytest.mark.proves("2.4.5")
def test_there_are_mutants_for_every_check_and_each_check_is_needed(look: Look) -> None:
    number = 0
    needed: set[str] = set()
    for name in BATCHES:
        mutants, found = look(name)
        number += len(mutants)
        for caught in (catching(mutant, found) for mutant in mutants):
            needed |= caught if len(caught) == 1 else set()
    assert needed == {check.__name__ for check in CHECKS}
    assert number >= FEWEST
