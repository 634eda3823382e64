"""Making, listing, rotating and revoking API keys: by people, in a session of their own, never by a key.

A personal key works for its person alone and ends with their membership. A company key works for a program: it sees
nothing private, is managed by whoever manages the company's keys, and stops when whoever has seen its present secret
leaves, until somebody else rotates it. Both hold no more than their holder's role at the moment of use.
"""

from collections.abc import Collection, Sequence
from uuid import UUID

from operalta.access.rules import KEY_SCOPES, Permission, permissions_of
from operalta.audit.rules import Action
from operalta.audit.service import record
from operalta.db.permission import require
from operalta.db.scope import Row, Scope
from operalta.identity.errors import NotProved
from operalta.identity.step_up import SensitiveOperation, require_recent_proof
from operalta.kernel import clock
from operalta.kernel.actor import ActorKind
from operalta.kernel.errors import NotAllowed
from operalta.kernel.ids import ApiKeyId, PersonId, new_id
from operalta.kernel.texts import checked_line
from operalta.terms.registry import upholds
from operalta.vault.api_keys import store
from operalta.vault.api_keys.errors import KeyNotTyped, NoSuchKey, TooManyKeys
from operalta.vault.api_keys.rules import (
    LONGEST_NAME,
    USUAL_LIFE_DAYS,
    ApiKey,
    KeyKind,
    ShownOnce,
    checked_addresses,
    checked_life,
    checked_overlap,
    checked_scopes,
    digest_of,
    new_key_text,
    shown_part,
    state_of,
)

MOST_LISTED = 500
_MANAGING = {KeyKind.PERSONAL: Permission.KEYS_USE, KeyKind.COMPANY: Permission.KEYS_MANAGE}


def offered_scopes(scope: Scope) -> frozenset[Permission]:
    """Return the scopes that the person could give a key: what keys can hold, as far as their own role does."""
    return KEY_SCOPES & permissions_of(scope.actor.company_kind, scope.actor.role)


def may_manage_company_keys(scope: Scope) -> bool:
    """Tell whether the person may make and rotate keys of the company."""
    return Permission.KEYS_MANAGE in permissions_of(scope.actor.company_kind, scope.actor.role)


@upholds("1.3.2")
async def list_keys(scope: Scope) -> tuple[ApiKey, ...]:
    """Return one's own keys, and everybody's for those who manage the company's, the newest first; never a secret.

    Keys that ended are told for 90 days.
    """
    require(scope, Permission.KEYS_USE)
    _require_person(scope)
    return tuple(_key(scope, row) for row in await store.list_keys(scope, most=MOST_LISTED))


async def get_key(scope: Scope, key_id: UUID) -> ApiKey:
    """Return one key. Raise NoSuchKey."""
    for key in await list_keys(scope):
        if key.id == key_id:
            return key
    raise NoSuchKey


@upholds("1.3.1", "1.3.2", "7.2.2")
async def make_key(
    scope: Scope,
    kind: KeyKind,
    name: str,
    scopes: Collection[str],
    *,
    addresses: Sequence[str] = (),
    expires_in_days: int = USUAL_LIFE_DAYS,
) -> ShownOnce:
    """Make a key and return it with its secret, which is told at this one moment.

    Raise NotAllowed for a kind that one may not make, InvalidInput, NotProved or TooManyKeys (twenty live ones of
    one's own, a hundred of the company).
    """
    require(scope, _MANAGING[kind])
    _require_person(scope)
    name = checked_line(name, "name", LONGEST_NAME, 1)
    wanted = checked_scopes(scopes, offered_scopes(scope))
    networks = checked_addresses(addresses)
    until = clock.now() + checked_life(expires_in_days)
    await require_recent_proof(scope, SensitiveOperation.MAKE_API_KEY)
    key_id, text = ApiKeyId(new_id()), new_key_text()
    verdict = await store.make_key(
        scope,
        key_id,
        kind=kind.value,
        name=name,
        scopes=wanted,
        addresses=networks,
        until=until,
        digest=digest_of(text),
        shown=shown_part(text),
    )
    if verdict == "too_many":
        raise TooManyKeys
    _require(verdict, "made")
    await record(
        scope,
        Action.CREDENTIAL_CREATED,
        "api_key",
        key_id,
        kind=kind.value,
        name=name,
        scopes=wanted,
        addresses=networks,
        expires_at=until.isoformat(),
        shown=shown_part(text),
    )
    return ShownOnce(key_id, name, text)


@upholds("1.3.1", "1.3.4")
async def rotate_key(scope: Scope, key_id: UUID, overlap_hours: int = 0) -> ShownOnce:
    """Give a key another secret and return it, told at this one moment; one's own, or one of the company.

    The secret before it opens for `overlap_hours` more, at most 168, and ends at once for 0. A company key that is
    rotated is held by the person who did it. Raise NoSuchKey, InvalidInput or NotProved.
    """
    require(scope, Permission.KEYS_USE)
    _require_person(scope)
    overlap = checked_overlap(overlap_hours)
    key = await get_key(scope, key_id)
    await require_recent_proof(scope, SensitiveOperation.ROTATE_API_KEY)
    text = new_key_text()
    verdict = await store.rotate_key(scope, key_id, digest=digest_of(text), shown=shown_part(text), overlap=overlap)
    _require(verdict, "rotated")
    await record(
        scope,
        Action.CREDENTIAL_ROTATED,
        "api_key",
        key_id,
        previous=key.shown,
        shown=shown_part(text),
        overlap_hours=overlap_hours,
    )
    return ShownOnce(ApiKeyId(key_id), key.name, text)


@upholds("1.3.1", "1.3.4")
async def revoke_key(scope: Scope, key_id: UUID, typed: str | None = None) -> None:
    """End a key at once: the next request with it is refused, and what it began loses every right.

    One's own, one of the company, and for those who manage the company's keys anybody's. Where `typed` is given, it
    must be the key as it is shown. Raise NoSuchKey or KeyNotTyped.
    """
    require(scope, Permission.KEYS_USE)
    _require_person(scope)
    key = await get_key(scope, key_id)
    if typed is not None and typed.strip() != key.shown:
        raise KeyNotTyped
    if not await store.revoke_key(scope, key_id):
        raise NoSuchKey
    await record(scope, Action.CREDENTIAL_REVOKED, "api_key", key_id, kind=key.kind.value, shown=key.shown)


def _require(verdict: str, wanted: str) -> None:
    if verdict == "unproved":
        raise NotProved
    if verdict != wanted:
        raise NoSuchKey


def _require_person(scope: Scope) -> None:
    if scope.actor.kind is not ActorKind.PERSON:
        raise NotAllowed


def _key(scope: Scope, row: Row) -> ApiKey:
    role: str | None = row["holder_role"]
    scopes = tuple(Permission(name) for name in row["scopes"])
    held = permissions_of(scope.actor.company_kind, role)
    state = state_of(
        revoked_at=row["revoked_at"],
        expires_at=row["expires_at"],
        has_holder=role is not None and row["is_held"],
        now=clock.now(),
    )
    return ApiKey(
        id=ApiKeyId(row["id"]),
        kind=KeyKind(row["kind"]),
        name=row["name"],
        scopes=scopes,
        addresses=tuple(row["addresses"]),
        holder_id=PersonId(row["holder_id"]),
        holder_name=row["holder_name"],
        shown=row["shown"],
        state=state,
        role_lacks=tuple(each for each in scopes if each not in held),
        created_at=row["created_at"],
        rotated_at=row["rotated_at"],
        expires_at=row["expires_at"],
        previous_shown=row["previous_shown"],
        previous_expires_at=row["previous_expires_at"],
        last_used_at=row["last_used_at"],
        last_used_from=row["last_used_from"],
        refused_at=row["refused_at"],
        revoked_at=row["revoked_at"],
        is_own=row["holder_id"] == scope.actor.person_id,
    )
