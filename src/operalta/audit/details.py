"""What may stand in an event's detail, on its way into the database and back out of it.

An event must never be lost, nor hold up the ones behind it, because of what its detail says. So whatever has no
canonical form, or is too large, is named by its digest instead.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

from operalta.audit.canonical import NotCanonical, canonical_json
from operalta.audit.rules import AuditEvent, canonical, utc_text

MAXIMUM_DETAIL_BYTES = 12_000
"""The database takes 20,000 characters of `jsonb`, which is written with more blanks than canonical JSON."""


def recordable(detail: Mapping[str, object]) -> dict[str, object]:
    """Return `detail` in a form that the database keeps and the sealer can commit to.

    Identifiers, moments and fractions become text. A detail that is too large, or that holds what JSON in
    PostgreSQL cannot, becomes `{"sha256": …, "characters": …}`.
    """
    plain = {name: _plain(value) for name, value in detail.items()}
    try:
        if len(canonical_json(plain)) <= MAXIMUM_DETAIL_BYTES:
            return plain
    except NotCanonical:
        pass
    return _digest_of(json.dumps(plain, sort_keys=True, default=str))


def event_of(row: Mapping[str, Any]) -> AuditEvent:
    """Return the event of a stored row that carries its detail as `detail_text`, the text of the `jsonb`.

    A detail without a canonical form (no code of the product writes one, but arbitrary SQL might) is committed to
    by the digest of that text.
    """
    text: str = row["detail_text"]
    try:
        event = AuditEvent.from_stored({**row, "detail": json.loads(text)})
        canonical(event)
    except (NotCanonical, RecursionError):
        return AuditEvent.from_stored({**row, "detail": _digest_of(text)})
    return event


def numbered(event: AuditEvent, company_number: int | None) -> AuditEvent:
    """Return the event with its number within its company."""
    return replace(event, company_number=company_number)


def _plain(value: object) -> object:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, float | Decimal):
        return str(value)
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(member) for name, member in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in cast("list[object]", value)]
    return value


def _digest_of(text: str) -> dict[str, object]:
    return {
        "sha256": hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
        "characters": len(text),
    }
