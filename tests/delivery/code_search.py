"""Where the database holds a code: the search on which the proofs rest that it does so nowhere."""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import psycopg

from tests.conftest import Servers

IDS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32,}")
"""Six digits stand in many an id; they are no code."""


def places_with(servers: Servers, code: str) -> list[str]:
    """Return where the database holds a code: as text, as bytes, or as the bare SHA-256 that anybody could search."""
    forms = (code.encode(), hashlib.sha256(code.encode()).digest())
    with servers.as_owner() as owner:
        return [place for place, held in _everything(owner) if any(form in held for form in forms)]


def _everything(owner: psycopg.Connection[dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    """Yield every text, document and byte string that the rooms of people keep; ids and their digits left out."""
    columns = owner.execute(
        "SELECT table_schema || '.' || table_name AS place, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema IN ('identity', 'delivery', 'jobs', 'audit')"
        " AND (data_type IN ('text', 'character varying', 'json', 'jsonb', 'bytea', 'ARRAY') OR data_type LIKE 'char%')"
    ).fetchall()
    assert len(columns) > 60
    for column in columns:
        place, name = column["place"], column["column_name"]
        query: Any = f'SELECT "{name}" AS held FROM {place} WHERE "{name}" IS NOT NULL'  # noqa: S608 - names of the catalogue
        for row in owner.execute(query).fetchall():
            held = row["held"]
            as_it_is = isinstance(held, bytes)
            yield f"{place}.{name}", held if as_it_is else IDS.sub("", str(held)).encode()
