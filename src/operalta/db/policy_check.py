"""`operalta policy-check`: reads the catalogue and finds every gap in row security, with how to mend it.

It runs inside every migration, which is undone where it finds something, in the tests and in `verify`. Its parts are
modules by subject, each a few queries and what is said of their rows. What is an exception on purpose stands in
`policy_exceptions.py`, with its reason.
"""

from collections.abc import Iterator
from typing import Any

import psycopg

from operalta.db import (
    policy_functions,
    policy_grants,
    policy_keys,
    policy_rules,
    policy_surroundings,
    policy_tables,
)
from operalta.db.catalogue import Catalogue, Check, Gap, reading
from operalta.db.policy_exceptions import EXCEPTIONS
from operalta.db.policy_functions import PINNED
from operalta.terms.registry import upholds

__all__ = ["CHECKS", "PINNED", "Gap", "check_policies"]

CHECKS: tuple[Check, ...] = (
    *policy_tables.CHECKS,
    *policy_rules.CHECKS,
    *policy_keys.CHECKS,
    *policy_functions.CHECKS,
    *policy_grants.CHECKS,
    *policy_surroundings.CHECKS,
)


@upholds("2.4.1", "2.4.5", "2.5.2", "7.2.3")
def check_policies(connection: psycopg.Connection[Any]) -> list[Gap]:
    """Return every gap that no reviewed exception covers, sorted. Reads the catalogue and changes nothing.

    An exception that covers nothing is a gap itself. Raise NotMigrated where the database holds nothing of ours.
    """
    with reading(connection) as catalogue:
        found = set(_every_gap(catalogue))
    reviewed = {(exception.place, exception.fault) for exception in EXCEPTIONS}
    gaps = {gap for gap in found if (gap.place, gap.fault) not in reviewed}
    gaps |= {
        Gap(place, f"an exception covers nothing any more: {fault}", "take it out of db/policy_exceptions.py")
        for place, fault in reviewed - {(gap.place, gap.fault) for gap in found}
    }
    return sorted(gaps, key=lambda gap: (gap.place, gap.fault))


def _every_gap(catalogue: Catalogue) -> Iterator[Gap]:
    for check in CHECKS:
        yield from check(catalogue)
