"""Making, switching, rotating and removing hooks, by people, and reading what came, as data alone."""

from uuid import UUID

from operalta.access.rules import Permission
from operalta.db.permission import require
from operalta.db.scope import Row, Scope
from operalta.identity.errors import NotProved
from operalta.identity.step_up import SensitiveOperation, require_recent_proof
from operalta.kernel.errors import InvalidInput, NotAllowed
from operalta.kernel.ids import new_id
from operalta.kernel.texts import checked_line
from operalta.terms.registry import upholds
from operalta.vault.kinds import SecretKind
from operalta.vault.secrets import Secrets
from operalta.vault.webhooks.errors import NoSuchWebhook, RotateFirst, SecretMissing, TooManyWebhooks
from operalta.vault.webhooks.inbound import store
from operalta.vault.webhooks.inbound.rules import Hook, HookOnce, Message, new_token, secret_of
from operalta.vault.webhooks.rules import LONGEST_NAME, OffBecause, checked_overlap
from operalta.vault.webhooks.signatures import Scheme


class Hooks:
    """The addresses at which companies take messages. Off when made."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    @upholds("1.3.1", "1.3.2", "5.5.3", "7.2.2")
    async def make(self, scope: Scope, name: str, scheme: Scheme, given_secret: str = "") -> HookOnce:
        """Make a hook, switched off, and return its address and, where we have made it, its secret: told this once.

        Raise InvalidInput, NotProved, TooManyWebhooks.
        """
        name = checked_line(name, "name", LONGEST_NAME, 1)
        secret, is_ours = secret_of(scheme, given_secret)
        _require_person(scope)
        await require_recent_proof(scope, SensitiveOperation.MAKE_WEBHOOK)
        hook, token = new_id(), new_token()
        kept = None if secret is None else await self._keep(scope, hook, secret)
        _require(await store.make(scope, hook, name, scheme.value, token, kept), "made")
        return HookOnce(hook, name, scheme, token, secret if is_ours else None)

    @upholds("1.3.1", "1.3.4")
    async def rotate(self, scope: Scope, hook: UUID, overlap_hours: int, given_secret: str = "") -> HookOnce:
        """Give a hook another secret: the sender's, or one of ours, which is returned. For a while the old one counts.

        It does not where whoever has seen it may no longer manage integrations here.

        Raise InvalidInput, NotProved, NoSuchWebhook.
        """
        hours = checked_overlap(overlap_hours)
        _require_person(scope)
        await require_recent_proof(scope, SensitiveOperation.ROTATE_WEBHOOK)
        found = await get_hook(scope, hook)
        secret, is_ours = secret_of(found.scheme, given_secret)
        if secret is None:
            raise InvalidInput("Bring the secret that the sender shows.", field="secret")
        kept = await self._keep(scope, hook, secret)
        _require(await store.rotate(scope, hook, kept, hours), "rotated")
        return HookOnce(hook, found.name, found.scheme, None, secret if is_ours else None)

    async def _keep(self, scope: Scope, hook: UUID, secret: str) -> UUID:
        return await self._secrets.keep(scope, SecretKind.INBOUND_WEBHOOK_SECRET, hook, secret.encode())


@upholds("5.5.3")
async def switch(scope: Scope, hook: UUID, *, on: bool) -> None:
    """Switch a hook on or off, from the next message on. Raise NoSuchWebhook, SecretMissing, RotateFirst."""
    _require_person(scope)
    _require(await store.switch(scope, hook, on=on), "switched")


@upholds("1.3.4")
async def remove(scope: Scope, hook: UUID) -> None:
    """Remove a hook with its secrets and everything that came. Raise NoSuchWebhook."""
    _require_person(scope)
    _require(await store.remove(scope, hook), "removed")


async def list_hooks(scope: Scope) -> tuple[Hook, ...]:
    """Return the company's hooks, the oldest first, without address and secret."""
    require(scope, Permission.INTEGRATIONS_READ)
    return tuple(_hook(row) for row in await store.hooks(scope))


async def get_hook(scope: Scope, hook: UUID) -> Hook:
    """Return one hook. Raise NoSuchWebhook."""
    require(scope, Permission.INTEGRATIONS_READ)
    rows = await store.hooks(scope, only=hook)
    if not rows:
        raise NoSuchWebhook
    return _hook(rows[0])


async def list_messages(scope: Scope, hook: UUID, start: int, most: int) -> tuple[Message, ...]:
    """Return what came, the newest first, after the first `start`. Raise NoSuchWebhook."""
    await get_hook(scope, hook)
    return tuple(
        Message(row["id"], Scheme(row["source"]), row["received_at"], row["size"], row["body"], row["is_trusted"])
        for row in await store.messages(scope, hook, start, most)
    )


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
        case "no secret":
            raise SecretMissing
        case "rotate first":
            raise RotateFirst
        case _:
            raise NotAllowed


def _hook(row: Row) -> Hook:
    return Hook(
        id=row["id"],
        name=row["name"],
        scheme=Scheme(row["scheme"]),
        shown=row["shown"],
        has_secret=row["has_secret"],
        needs_secret=row["needs_secret"],
        is_on=row["is_on"],
        off_because=None if row["off_because"] is None else OffBecause(row["off_because"]),
        holder_id=row["holder_id"],
        holder_name=row["holder_name"],
        created_at=row["created_at"],
        rotated_at=row["rotated_at"],
        previous_until=row["previous_until"],
        switched_at=row["switched_at"],
        received_at=row["received_at"],
        refused_at=row["refused_at"],
        messages=row["messages"],
    )
