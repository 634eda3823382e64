"""What tests of connections share: the services of the room as they are wired, and a person who walks the whole way."""

import http.client
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

from operalta.db.pools import Pool
from operalta.db.scope import Origin, Scope, open_person_scope
from operalta.sandbox.egress import OPEN, EgressDoor, Record
from operalta.sandbox.metering import Errand
from operalta.vault.oauth.client import OAuthClient
from operalta.vault.oauth.connecting import Callback, Connecting
from operalta.vault.oauth.registrations import Registrations
from operalta.vault.oauth.revoking import Revoker
from operalta.vault.oauth.tokens import ConnectionTokens
from tests.conftest import Member, Pools, Servers
from tests.vault.authorization_server import CLIENT_ID, CLIENT_SECRET, AuthorizationServer
from tests.vault.strongbox import Strongbox, make_strongbox

BASE_URL = "https://operalta.example"


class Uncounted:
    """A meter that lets everything pass."""

    async def admit_request(self, errand: Errand) -> None:
        pass

    async def admit_volume(self, errand: Errand) -> None:
        pass


@dataclass(frozen=True)
class Desk:
    """The room of one deployment, one provider, and somebody who has an account there."""

    box: Strongbox
    pools: Pools
    server: AuthorizationServer
    registrations: Registrations
    connecting: Connecting
    tokens: ConnectionTokens
    revoker: Revoker
    member: Member

    def as_member(self, member: Member) -> "Desk":
        return replace(self, member=member)

    def open(self) -> AbstractAsyncContextManager[Scope]:
        return self.box.scope(self.member)

    def prove(self, member: Member | None = None, minutes_ago: int = 0) -> None:
        self.box.change(
            "UPDATE identity.sessions SET password_at = now() - make_interval(mins => %s) WHERE person_id = %s",
            minutes_ago,
            (member or self.member).person_id,
        )

    async def register(self, provider: str = "generic") -> UUID:
        issuer = self.server.issuer if provider == "generic" else ""
        return await self.registrations.register(self.open, provider, CLIENT_ID, CLIENT_SECRET, issuer)

    async def begin(self, client: UUID, *scopes: str, again: UUID | None = None) -> str:
        async with self.open() as scope:
            return await self.connecting.begin(scope, client, scopes, again=again)

    def consent(self, url: str) -> Callback:
        """Follow the address as a browser does, agree, and return what it brings back."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=30)
        connection.request("GET", f"{parts.path}?{parts.query}")
        answer = connection.getresponse()
        where = answer.getheader("location") or ""
        connection.close()
        assert answer.status == 302, answer.status
        assert where.startswith(f"{self.connecting.redirect_uri}?"), where
        found = {name: values[0] for name, values in parse_qs(urlsplit(where).query).items()}
        return Callback(found.get("state"), found.get("code"), found.get("error"), found.get("iss"))

    async def come_back(self, callback: Callback, member: Member | None = None) -> UUID:
        secret = (member or self.member).session_secret
        async with open_person_scope(self.pools.web, secret, Origin(address="test")) as scope:
            begun = await self.connecting.take(scope, callback)
        return await self.connecting.finish(self.open, begun, callback)

    async def connect(self, client: UUID | None = None, *scopes: str) -> UUID:
        known = client or await self.register()
        return await self.come_back(self.consent(await self.begin(known, *(scopes or ("read", "write")))))

    async def token(self, connection: UUID) -> str:
        return await self.tokens.token_for(self.open, connection, "send a report")

    def let_expire(self, connection: UUID, seconds_left: int = 30) -> None:
        self.box.change(
            "UPDATE credentials.connections SET expires_at = now() + make_interval(secs => %s) WHERE id = %s",
            seconds_left,
            connection,
        )

    def row(self, connection: UUID) -> dict[str, object]:
        return self.box.rows("SELECT * FROM credentials.connections WHERE id = %s", connection)[0]


def door_maker(server: AuthorizationServer) -> Callable[[Record], EgressDoor]:
    def make(keep: Record) -> EgressDoor:
        return EgressDoor(OPEN, (server.exemption,), keep, meter=Uncounted())

    return make


def make_desk(servers: Servers, pools: Pools, folder: Path, server: AuthorizationServer, member: Member) -> Desk:
    box = make_strongbox(servers, pools, folder)
    client = OAuthClient(door_maker(server))
    server.redirect_uris.add(f"{BASE_URL}/connections/callback")
    desk = Desk(
        box,
        pools,
        server,
        Registrations(box.secrets, client),
        Connecting(box.opener, box.secrets, client, base_url=BASE_URL, verifier_key=b"k" * 32),
        make_tokens(box, pools.web, server),
        Revoker(pools.job, box.opener, client),
        member,
    )
    desk.prove()
    return desk


def make_tokens(box: Strongbox, pool: Pool, server: AuthorizationServer) -> ConnectionTokens:
    """Tokens as another process has them: with nothing in common but the database and the keys."""
    return ConnectionTokens(pool, box.opener, box.secrets, OAuthClient(door_maker(server)))
