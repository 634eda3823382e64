"""What the sample pages share: the people, the company, and what every page is given."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from operalta.access.rules import Permission
from operalta.kernel import clock

Context = dict[str, Any]

NOW: Final = clock.now()
ADA: Final = {"name": "Ada Okafor", "email": "ada@lumen.example", "is_operator": True, "is_staff": True}
LUMEN: Final = {"slug": "lumen", "name": "Lumen Labs", "kind": "startup", "role": "founder", "visit_until": None}
COMPANIES: Final = [
    LUMEN,
    {"slug": "northwind-seed", "name": "Northwind Seed Partners", "kind": "investor", "role": "advisor"},
]
HASH: Final = "9f2c4e8a7b1d3056e4c8a19b7f60d2538ac4419e0b7d6f13c2589a04e7b1d6f3"


@dataclass(frozen=True)
class Sample:
    """One page to render: `name` is unique, `template` below `pages/`."""

    name: str
    template: str
    context: Context


def before(**ago: float) -> datetime:
    return NOW - timedelta(**ago)


def page(nav: str = "", **changes: object) -> Context:
    """Return the `page` context of a founder at work."""
    return {
        "appearance": "auto",
        "person": ADA,
        "companies": COMPANIES,
        "company": LUMEN,
        "permissions": {str(permission) for permission in Permission},
        "approvals_waiting": 2,
        "notice": None,
        "errors": [],
        "nav": nav,
        "request_id": "req-0192f3",
        **changes,
    }


def visitor(**changes: object) -> Context:
    """Return the `page` context of somebody who is not signed in."""
    nobody: Context = {
        "person": None,
        "companies": [],
        "company": None,
        "permissions": set(),
        "approvals_waiting": 0,
    }
    return {**page(), **nobody, **changes}
