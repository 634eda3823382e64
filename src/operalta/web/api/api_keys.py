"""API keys: a program's way in. Managed by people in a session of their own; the secret is answered once."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import Field

from operalta.access.rules import Permission
from operalta.guard import rules
from operalta.vault.api_keys import service
from operalta.vault.api_keys.rules import (
    LONGEST_LIFE_DAYS,
    LONGEST_NAME,
    LONGEST_OVERLAP_HOURS,
    MOST_ADDRESSES,
    USUAL_LIFE_DAYS,
    KeyKind,
    KeyState,
)
from operalta.web.api.models import REFUSALS, USUAL_PAGE_SIZE, Body, Cursor, Listing, PageSize, Shown, whole
from operalta.web.entry import CompanyEntry, InCompany

router = APIRouter(prefix="/companies/{company}/api-keys", tags=["api keys"], responses=REFUSALS)

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.KEYS_USE, rules.READ))]
Managing = Annotated[CompanyEntry, Depends(InCompany(Permission.KEYS_USE, rules.SENSITIVE_WRITE))]

ScopeName = Annotated[str, Field(min_length=1, max_length=40)]
Network = Annotated[str, Field(min_length=1, max_length=64)]


class KeyBody(Body):
    """A new key. Its scopes are what it may do at most; its holder's role narrows them at each use."""

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
    kind: KeyKind = KeyKind.PERSONAL
    scopes: Annotated[tuple[ScopeName, ...], Field(min_length=1, max_length=20)]
    addresses: Annotated[
        tuple[Network, ...], Field(max_length=MOST_ADDRESSES, description="Where it may be used from; empty: anywhere")
    ] = ()
    expires_in_days: Annotated[int, Field(ge=1, le=LONGEST_LIFE_DAYS)] = USUAL_LIFE_DAYS


class RotationBody(Body):
    """How long the secret before still opens; 0 ends it at once."""

    overlap_hours: Annotated[int, Field(ge=0, le=LONGEST_OVERLAP_HOURS)] = 0


class ApiKey(Shown):
    """A key without its secret. `role_lacks`: scopes that its holder's role does not hold; they open nothing."""

    id: UUID
    kind: KeyKind
    name: str
    scopes: tuple[Permission, ...]
    role_lacks: tuple[Permission, ...]
    addresses: tuple[str, ...]
    holder_id: UUID
    holder_name: str | None
    shown: str
    state: KeyState
    created_at: datetime
    rotated_at: datetime | None
    expires_at: datetime
    previous_shown: str | None
    previous_expires_at: datetime | None
    last_used_at: datetime | None
    last_used_from: str | None
    refused_at: datetime | None
    revoked_at: datetime | None


class MadeKey(Shown):
    """A key with its secret. It is in this answer and nowhere else: keep it now."""

    id: UUID
    name: str
    api_key: str


@router.get("")
async def list_keys(entry: Reading, cursor: Cursor = None, limit: PageSize = USUAL_PAGE_SIZE) -> Listing[ApiKey]:
    """List one's own keys, and everybody's for those who manage the company's; ended ones for 90 days."""
    async with entry.scope() as scope:
        found = await service.list_keys(scope)
    shown, following = whole(found, limit, cursor)
    return Listing[ApiKey](items=tuple(ApiKey.model_validate(each) for each in shown), next_cursor=following)


@router.post("", status_code=HTTPStatus.CREATED)
async def make_key(entry: Managing, body: KeyBody) -> MadeKey:
    """Make a key. A company's key works for a program, sees nothing private, and outlives its maker once rotated."""
    async with entry.scope() as scope:
        made = await service.make_key(
            scope,
            body.kind,
            body.name,
            body.scopes,
            addresses=body.addresses,
            expires_in_days=body.expires_in_days,
        )
    return MadeKey(id=made.id, name=made.name, api_key=made.text)


@router.post("/{key_id}/rotate")
async def rotate_key(entry: Managing, key_id: UUID, body: RotationBody) -> MadeKey:
    """Give a key another secret. Whoever rotates a company's key holds it from then on."""
    async with entry.scope() as scope:
        made = await service.rotate_key(scope, key_id, body.overlap_hours)
    return MadeKey(id=made.id, name=made.name, api_key=made.text)


@router.delete("/{key_id}", status_code=HTTPStatus.NO_CONTENT)
async def revoke_key(entry: Managing, key_id: UUID) -> None:
    """End a key at once."""
    async with entry.scope() as scope:
        await service.revoke_key(scope, key_id)
