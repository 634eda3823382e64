"""Entries of the data inventory: what a room keeps, about whom, why, for how long, and how it ends.

Every table, file store, queue, cache and log has one entry in its room's `inventory.py`; a store without one
fails the build. `privacy` reads them all (handed down by `app.py`).
"""

from dataclasses import dataclass
from enum import StrEnum


class StoreKind(StrEnum):
    """What sort of place the data is in."""

    TABLE = "table"
    FILES = "files"
    QUEUE = "queue"
    CACHE = "cache"
    LOG = "log"
    PROVIDER = "provider"


class Erasure(StrEnum):
    """What happens to the data when its subject, or its company, is erased."""

    DELETE = "delete"
    ANONYMISE = "anonymise"
    FORGET_SALT = "forget-salt"
    EXPIRE = "expire"
    NOT_PERSONAL = "not-personal"


@dataclass(frozen=True, slots=True)
class InventoryEntry:
    """One store of data.

    `store` is `schema.table` for a table. `owner` is the path from a row to its subject, such as
    `person_id` or `company_id`; empty where nobody's data is kept. `retention` is a sentence for people.
    `exported` tells whether an export of the subject's data holds it.
    """

    store: str
    kind: StoreKind
    purpose: str
    owner: str
    categories: tuple[str, ...]
    retention: str
    erasure: Erasure
    exported: bool
