"""What tests of webhooks share: the services of the room as they are wired, one company and one receiver."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from operalta.db.scope import Scope
from operalta.sandbox.egress import OPEN, EgressDoor, Record
from operalta.vault.oauth.ports import MakeDoor
from operalta.vault.webhooks.endpoints import Endpoints, switch
from operalta.vault.webhooks.inbound.hooks import Hooks
from operalta.vault.webhooks.inbound.receiving import Receiver
from operalta.vault.webhooks.rules import EventKind
from operalta.vault.webhooks.sending import Destinations, WebhookSender
from operalta.workspace.memory.service import record
from tests.conftest import Member, Pools, Servers
from tests.vault.desk import Uncounted
from tests.vault.receiver import WebhookReceiver
from tests.vault.strongbox import Strongbox, make_strongbox


@dataclass(frozen=True)
class Post:
    """The room of one deployment, as one member uses it."""

    box: Strongbox
    pools: Pools
    receiver: WebhookReceiver
    endpoints: Endpoints
    sender: WebhookSender
    hooks: Hooks
    inbound: Receiver
    member: Member

    def as_member(self, member: Member) -> "Post":
        return replace(self, member=member)

    def open(self) -> AbstractAsyncContextManager[Scope]:
        return self.box.scope(self.member)

    def prove(self, minutes_ago: int = 0) -> None:
        self.box.change(
            "UPDATE identity.sessions SET password_at = now() - make_interval(mins => %s) WHERE person_id = %s",
            minutes_ago,
            self.member.person_id,
        )

    async def make(self, *events: str, on: bool = True) -> tuple[UUID, bytes]:
        """Make an endpoint at the receiver; return its id and its secret."""
        made = await self.endpoints.make(self.open, "Ledger", self.receiver.url, events or (EventKind.MEMORY_RECORDED,))
        if on:
            await self.switch(made.id, on=True)
        return made.id, made.secret.encode()

    async def switch(self, endpoint: UUID, *, on: bool) -> None:
        async with self.open() as scope:
            await switch(scope, endpoint, on=on)

    async def decide(self, title: str = "We move to another bank") -> UUID:
        """Do what an event tells of."""
        async with self.open() as scope:
            return (await record(scope, "decision", title)).id

    def deliveries(self, endpoint: UUID) -> list[dict[str, Any]]:
        return self.box.rows(
            "SELECT * FROM credentials.webhook_deliveries WHERE endpoint_id = %s ORDER BY created_at, id", endpoint
        )

    def row(self, endpoint: UUID) -> dict[str, Any]:
        return self.box.rows("SELECT * FROM credentials.webhook_endpoints WHERE id = %s", endpoint)[0]

    def let_pass(self, endpoint: UUID) -> None:
        """Let the pause pass, and the claim of a worker that is gone."""
        self.box.change(
            "UPDATE credentials.webhook_deliveries SET next_at = now(), claimed_until = NULL WHERE endpoint_id = %s",
            endpoint,
        )


def door_to(*exemptions: str) -> MakeDoor:
    def make(keep: Record) -> EgressDoor:
        return EgressDoor(OPEN, exemptions, keep, meter=Uncounted())

    return make


def make_post(servers: Servers, pools: Pools, folder: Path, receiver: WebhookReceiver, member: Member) -> Post:
    box = make_strongbox(servers, pools, folder)
    make_door = door_to(receiver.exemption)
    post = Post(
        box,
        pools,
        receiver,
        Endpoints(box.secrets, Destinations(make_door)),
        WebhookSender(pools.job, box.opener, make_door),
        Hooks(box.secrets),
        Receiver(pools.web, box.opener),
        member,
    )
    post.prove()
    # What other tests on this server left behind is not ours to send.
    box.change("DELETE FROM credentials.webhook_endpoints")
    return post
