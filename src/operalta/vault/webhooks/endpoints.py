"""Making, switching, rotating, removing and replaying webhooks that go out: by people, in a session of their own."""

from collections.abc import Collection
from typing import Protocol
from urllib.parse import urlsplit
from uuid import UUID

from operalta.access.rules import Permission
from operalta.db.permission import require
from operalta.db.scope import Row, Scope
from operalta.identity.errors import NotProved
from operalta.identity.step_up import SensitiveOperation, require_recent_proof
from operalta.kernel.errors import InvalidInput, NotAllowed
from operalta.kernel.ids import new_id
from operalta.kernel.texts import checked_line
from operalta.sandbox.errors import DestinationRefused
from operalta.terms.registry import upholds
from operalta.vault.kinds import SecretKind
from operalta.vault.oauth.rules import OpenScope
from operalta.vault.secrets import Secrets
from operalta.vault.webhooks import store
from operalta.vault.webhooks.errors import NoSuchDelivery, NoSuchWebhook, RotateFirst, TooManyWebhooks, WebhookIsOff
from operalta.vault.webhooks.rules import (
    LONGEST_NAME,
    LONGEST_URL,
    MOST_LISTED,
    Delivery,
    DeliveryStatus,
    Endpoint,
    EventKind,
    OffBecause,
    SecretOnce,
    checked_events,
    checked_overlap,
    new_secret,
)


class ChecksDestinations(Protocol):
    """The part of the door that looks where an address leads, before anything is sent there."""

    async def check(self, url: str) -> str:
        """Return the address as it is kept. Raise DestinationRefused."""
        ...


class Endpoints:
    """The endpoints of companies. Off when made; each switch takes effect at the next delivery."""

    def __init__(self, secrets: Secrets, destinations: ChecksDestinations) -> None:
        self._secrets = secrets
        self._destinations = destinations

    @upholds("1.3.1", "1.3.2", "5.5.3", "7.2.2")
    async def make(self, open_scope: OpenScope, name: str, url: str, events: Collection[str]) -> SecretOnce:
        """Make an endpoint, switched off, and return its signing secret, which is told at this one moment.

        Raise InvalidInput (also for an address that the egress rules refuse), NotProved or TooManyWebhooks.
        """
        name, kinds = checked_line(name, "name", LONGEST_NAME, 1), checked_events(events)
        async with open_scope() as scope:
            await _require_manager(scope, SensitiveOperation.MAKE_WEBHOOK)
        # No transaction is open while a name is resolved.
        checked = await self._checked(url)
        async with open_scope() as scope:
            endpoint, secret = new_id(), new_secret()
            kept = await self._secrets.keep(scope, SecretKind.WEBHOOK_SIGNING_SECRET, endpoint, secret.encode())
            fields = {
                "name": name,
                "url": checked,
                "destination": _shown(checked),
                "events": [*kinds],
                "secret": kept,
            }
            # A refusal undoes what was kept: it is raised inside the transaction.
            _require(await store.make(scope, endpoint, fields), "made")
        return SecretOnce(endpoint, name, secret)

    @upholds("1.3.1")
    async def change(
        self, open_scope: OpenScope, endpoint: UUID, name: str, events: Collection[str], url: str = ""
    ) -> None:
        """Change name and kinds and, where `url` is not empty, the address. Another address switches it off.

        Raise as `make` does, or NoSuchWebhook.
        """
        name, kinds = checked_line(name, "name", LONGEST_NAME, 1), checked_events(events)
        async with open_scope() as scope:
            await _require_manager(scope, SensitiveOperation.MAKE_WEBHOOK)
        checked = await self._checked(url) if url.strip() else None
        async with open_scope() as scope:
            shown = None if checked is None else _shown(checked)
            fields = {"name": name, "url": checked, "destination": shown, "events": [*kinds]}
            _require(await store.change(scope, endpoint, fields), "changed")

    @upholds("1.3.1", "1.3.4")
    async def rotate(self, scope: Scope, endpoint: UUID, overlap_hours: int) -> SecretOnce:
        """Give an endpoint another signing secret and return it; for `overlap_hours` both sign.

        They do not where whoever has seen the one before may no longer manage integrations here: it ends at once.

        Raise InvalidInput, NotProved, NoSuchWebhook.
        """
        hours = checked_overlap(overlap_hours)
        await _require_manager(scope, SensitiveOperation.ROTATE_WEBHOOK)
        found = await get_endpoint(scope, endpoint)
        secret = new_secret()
        kept = await self._secrets.keep(scope, SecretKind.WEBHOOK_SIGNING_SECRET, endpoint, secret.encode())
        _require(await store.rotate(scope, endpoint, kept, hours), "rotated")
        return SecretOnce(endpoint, found.name, secret)

    async def _checked(self, url: str) -> str:
        given = checked_line(url, "url", LONGEST_URL, 1)
        try:
            found = await self._destinations.check(given)
        except DestinationRefused as refusal:
            raise InvalidInput(refusal.public_text, field="url") from refusal
        if len(found) > LONGEST_URL:
            raise InvalidInput(f"The address has at most {LONGEST_URL} characters.", field="url")
        return found


@upholds("5.5.3")
async def switch(scope: Scope, endpoint: UUID, *, on: bool) -> None:
    """Switch an endpoint on or off; whoever switches it on holds it from then on.

    Switched off, nothing is sent from the next delivery on, and what waited becomes a dead letter. Raise NoSuchWebhook,
    or RotateFirst where whoever has seen its secret may no longer manage integrations here.
    """
    _require_person(scope)
    _require(await store.switch(scope, endpoint, on=on), "switched")


@upholds("1.3.4")
async def remove(scope: Scope, endpoint: UUID) -> None:
    """Remove an endpoint with its secrets and deliveries. Raise NoSuchWebhook."""
    _require_person(scope)
    _require(await store.remove(scope, endpoint), "removed")


async def replay(scope: Scope, endpoint: UUID, delivery: UUID | None = None) -> int:
    """Have one dead letter, or the newest thousand, sent again under their own ids; return how many.

    Raise NoSuchWebhook, WebhookIsOff, or NoSuchDelivery where there is none.
    """
    _require_person(scope)
    await get_endpoint(scope, endpoint)
    verdict, number = await store.replay(scope, endpoint, delivery)
    if verdict == "none":
        raise NoSuchDelivery
    _require(verdict, "replayed")
    return number


async def list_endpoints(scope: Scope) -> tuple[Endpoint, ...]:
    """Return the company's endpoints, the oldest first, without any secret."""
    require(scope, Permission.INTEGRATIONS_READ)
    return tuple(_endpoint(row) for row in await store.endpoints(scope))


async def get_endpoint(scope: Scope, endpoint: UUID) -> Endpoint:
    """Return one endpoint. Raise NoSuchWebhook."""
    require(scope, Permission.INTEGRATIONS_READ)
    rows = await store.endpoints(scope, only=endpoint)
    if not rows:
        raise NoSuchWebhook
    return _endpoint(rows[0])


async def list_deliveries(
    scope: Scope, endpoint: UUID, status: DeliveryStatus | None = None, most: int = MOST_LISTED
) -> tuple[Delivery, ...]:
    """Return an endpoint's deliveries of the last thirty days, the newest first. Raise NoSuchWebhook."""
    await get_endpoint(scope, endpoint)
    rows = await store.deliveries(scope, endpoint, None if status is None else status.value, most)
    return tuple(_delivery(row) for row in rows)


async def _require_manager(scope: Scope, operation: SensitiveOperation) -> None:
    _require_person(scope)
    await require_recent_proof(scope, operation)


def _require_person(scope: Scope) -> None:
    require(scope, Permission.INTEGRATIONS_MANAGE)
    if scope.actor.session_id is None:
        raise NotAllowed("This is for people in a session of their own. No API key does it.")


def _require(verdict: str, wanted: str) -> None:
    if verdict == wanted:
        return
    match verdict:
        case "unproved":
            raise NotProved
        case "full":
            raise TooManyWebhooks
        case "none":
            raise NoSuchWebhook
        case "off":
            raise WebhookIsOff
        case "rotate first":
            raise RotateFirst
        case _:
            raise NotAllowed


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _endpoint(row: Row) -> Endpoint:
    return Endpoint(
        id=row["id"],
        name=row["name"],
        destination=row["destination"],
        events=tuple(EventKind(each) for each in row["events"]),
        is_on=row["is_on"],
        off_because=None if row["off_because"] is None else OffBecause(row["off_because"]),
        holder_id=row["holder_id"],
        holder_name=row["holder_name"],
        created_at=row["created_at"],
        changed_at=row["changed_at"],
        rotated_at=row["rotated_at"],
        previous_until=row["previous_until"],
        needs_secret=row["needs_secret"],
        switched_at=row["switched_at"],
        failing_since=row["failing_since"],
        last_attempt_at=row["last_attempt_at"],
        last_success_at=row["last_success_at"],
        last_status=row["last_status"],
        last_failure=row["last_failure"],
        waiting=row["waiting"],
        dead=row["dead"],
        dropped=row["dropped"],
        dropped_at=row["dropped_at"],
    )


def _delivery(row: Row) -> Delivery:
    status = DeliveryStatus(row["status"])
    return Delivery(
        id=row["id"],
        event=row["event"],
        subject_kind=row["subject_kind"],
        subject_id=row["subject_id"],
        occurred_at=row["occurred_at"],
        status=status,
        attempts=row["attempts"],
        next_at=row["next_at"] if status is DeliveryStatus.WAITING else None,
        attempted_at=row["attempted_at"],
        last_status=row["last_status"],
        failure=row["failure"],
        finished_at=row["finished_at"],
        replayed_at=row["replayed_at"],
    )
