"""Two hundred secrets, planted through the services and used on every path, turn up nowhere in any form."""

import base64
import logging
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from operalta.kernel.errors import Refusal
from operalta.operations.root_keys import root_keys
from operalta.operations.rotation.deployment import COMPANY_KEYS
from operalta.sandbox.destinations import Exemptions
from operalta.sandbox.egress import OPEN, EgressDoor, Record
from operalta.sandbox.files import FileLimits
from operalta.sealing.company_keys import CompanyKeys
from operalta.sealing.envelope import Envelope
from operalta.vault.integrations.calls import Errand, IntegrationCalls
from operalta.vault.integrations.rules import INTEGRATIONS, Form, Kind, Lends, Wanted
from operalta.vault.integrations.service import Integrations
from operalta.vault.oauth.client import OAuthClient
from operalta.vault.oauth.registrations import Registrations
from operalta.vault.oauth.tokens import ConnectionTokens
from operalta.vault.opening import Opener
from operalta.vault.secrets import Secrets
from operalta.workspace.files.file_store import FileStore
from tests.agents.conftest import Desk
from tests.conftest import Member, Pools, Servers, World
from tests.vault.desk import Uncounted
from tests.vault.service_stand_in import Service, ToolServer, forms_of, serving_service, serving_tools
from tests.web.site import serving

SERVICE_KEYS, TOOL_TOKENS, CLIENT_SECRETS = 184, 12, 4
A_COMPANY_HOLDS = 46
MARK = "q7Zk2mW9q7Zk2mW9q7Zk2mW9"
"""Stands in every planted secret, so that one look finds any of them."""
PAGES = ("integrations", "audit", "api-keys", "chat")
RESOURCES = ("integrations", "oauth-clients", "connections", "audit", "approvals")
PATHS = ("/invoices", "/echo", "/denied", "/missing", "/broken", "/hang-up", "/away", "/round")


@dataclass
class Planted:
    """The secrets, and what they were planted with."""

    secrets: list[str]

    def next(self, what: str) -> str:
        secret = f"{what}.{len(self.secrets):03d}/+{MARK}=={len(self.secrets):03d}"
        self.secrets.append(secret)
        return secret


def forms_of_mark() -> list[str]:
    """The mark as it is, percent-encoded, in hexadecimal digits, and in base64 at each place in a group."""
    around = [base64.b64encode(b"x" * before + MARK.encode() + b"y" * 3).decode()[4:28] for before in range(3)]
    return [*forms_of(MARK), *around]


@pytest.fixture
def services() -> Generator[tuple[Service, Service, ToolServer]]:
    with serving_service() as one, serving_service() as other, serving_tools() as tools:
        one.elsewhere = other.port
        yield one, other, tools


def dumped(servers: Servers) -> str:
    """Every row of every table as text, as the owner of all sees them."""
    with servers.as_owner() as owner:
        tables: list[Any] = owner.execute(
            "SELECT schemaname, tablename FROM pg_catalog.pg_tables"
            " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        texts: list[str] = []
        for table in tables:
            name = sql.Identifier(table["schemaname"], table["tablename"])
            try:
                with owner.transaction():
                    rows: list[Any] = owner.execute(
                        sql.SQL("SELECT one::text AS line FROM {} AS one").format(name)
                    ).fetchall()
            except psycopg.errors.InsufficientPrivilege:
                continue
            texts += [f"{table['tablename']} {row['line']}" for row in rows]
        assert len(tables) > 40
    return "\n".join(texts)


@dataclass
class Bench:
    """What the services of the room are tried with, and all that they have told so far."""

    desk: Desk
    integrations: Integrations
    calls: IntegrationCalls
    registrations: Registrations
    one: Service
    tools: ToolServer
    planted: Planted = field(default_factory=lambda: Planted([]))
    seen: list[str] = field(default_factory=list[str])

    def wanted(self, at: int, kind: Kind) -> Wanted:
        is_tool = kind is Kind.MCP_SERVER
        form = Form.BEARER if is_tool else list(Form)[at % 3]
        url, secret = (self.tools.url if is_tool else self.one.url), self.planted.next("tool" if is_tool else "key")
        header, user = "X-Api-Key" if form is Form.HEADER else None, "acme" if form is Form.BASIC else None
        return Wanted(
            f"service-{at}", f"Service {at}", kind, url, Lends.KEY, form, header, user, None, secret, allows_writes=True
        )

    async def use_service(self, member: Member, at: int) -> None:
        """Plant a key, switch it on, and use it on one of the paths: as a person checks, or as a run asks."""
        wanted = self.wanted(at, Kind.API_KEY_SERVICE)
        made = await self.made(member, wanted)
        path = "/slow" if at == 0 else PATHS[at % len(PATHS)]
        if at % 6 == 0:
            self.seen.append(await self.integrations.check(lambda: self.desk.scope(member), made))
            posted = await self.desk.say(member, f"/ask-service {wanted.slug} GET {path}")
            self.seen += [str(self.desk.events(posted.run_id)), *self.desk.answers(posted.run_id)]
            return
        errand = Errand(lambda: self.desk.scope(member), ignored)
        try:
            self.seen.append(str(await self.calls.request(errand, wanted.slug, "GET", path, None, None)))
        except Refusal as refusal:
            self.seen.append(f"{refusal!r} {refusal.__cause__!r} {refusal.__context__!r}")

    async def use_tools(self, member: Member, at: int) -> None:
        """Plant a token of an MCP server, and call its tool: one that works, fails, or answers with a status."""
        self.tools.status = None
        wanted = self.wanted(at, Kind.MCP_SERVER)
        await self.made(member, wanted)
        self.tools.status = (None, None, 401, 500)[at % 4]
        errand = Errand(lambda: self.desk.scope(member), ignored)
        try:
            what = {"what": "fail" if at % 2 else "it"}
            self.seen.append(str(await self.calls.call_tool(errand, wanted.slug, "lookup", what)))
        except Refusal as refusal:
            self.seen.append(f"{refusal!r} {refusal.__cause__!r} {refusal.__context__!r}")

    async def made(self, member: Member, wanted: Wanted) -> UUID:
        async with self.desk.scope(member) as scope:
            made = await self.integrations.make(scope, wanted)
        await self.integrations.switch(lambda: self.desk.scope(member), made, on=True)
        return made

    async def register(self, member: Member, provider: str) -> None:
        await self.registrations.register(
            lambda: self.desk.scope(member), provider, "an-id", self.planted.next("client")
        )


@pytest.fixture
def bench(
    servers: Servers, pools: Pools, tmp_path: Path, services: tuple[Service, Service, ToolServer]
) -> Bench:  # fmt: skip
    exempt = tuple(each.exemption for each in services)
    envelope = Envelope(CompanyKeys(servers.settings.var / COMPANY_KEYS, root_keys(servers.settings)))
    opener, secrets = Opener(envelope), Secrets(envelope)

    def make_door(keep: Record) -> EgressDoor:
        return EgressDoor(OPEN, exempt, keep, meter=Uncounted())

    oauth = OAuthClient(make_door)
    tokens = ConnectionTokens(pools.worker, opener, secrets, oauth)
    calls = IntegrationCalls(opener, tokens, make_door, replace(INTEGRATIONS, seconds=2.0))
    files = FileStore(tmp_path / "workspaces", FileLimits())
    return Bench(
        Desk(pools, servers, files, exempt, calls=lambda _: calls),
        Integrations(secrets, calls, Exemptions.of(exempt)),
        calls,
        Registrations(secrets, oauth),
        services[0],
        services[2],
    )


@pytest.mark.proves("1.3.2", "1.3.3", "7.2.2")
async def test_no_planted_secret_turns_up_anywhere(
    bench: Bench, servers: Servers, world: World, services: tuple[Service, Service, ToolServer],
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    # As `kernel.logging` sets them for a process: the HTTP library's own debug lines are never written.
    caplog.set_level(logging.INFO)
    for noisy in ("httpx2", "httpcore2"):
        caplog.set_level(logging.WARNING, noisy)
    members = [founder(servers, world) for _ in range(5)]
    for provider in ("github", "google", "slack", "notion")[:CLIENT_SECRETS]:
        await bench.register(members[0], provider)
    for at in range(SERVICE_KEYS):
        await bench.use_service(members[at // A_COMPANY_HOLDS], at)
    for at in range(TOOL_TOKENS):
        await bench.use_tools(members[-1], at)
    assert len(bench.planted.secrets) == 200
    with serving(servers) as site:
        for each in members:
            client, inside = site.member(each), f"/companies/{each.company_slug}"
            bench.seen += [client.get(f"/c/{each.company_slug}/{where}").text for where in PAGES]
            answers = [client.api("GET", f"{inside}/{where}") for where in RESOURCES]
            assert {answer.status for answer in answers} == {200}
            bench.seen += [answer.text + str(answer.headers) for answer in answers]
    captured = capfd.readouterr()
    told = {
        "answers, pages and events": "\n".join(bench.seen),
        "log lines": caplog.text + captured.out + captured.err,
        "tables": dumped(servers),
    }
    carried = str(bench.one.asked) + str(bench.tools.carried)
    assert sum(secret in carried for secret in bench.planted.secrets) > 120, "the secrets were not used"
    assert [(where, form) for where, text in told.items() for form in forms_of_mark() if form in text] == []
    assert services[1].asked == []


async def ignored(_line: object) -> None:
    """Keep no line."""


def founder(servers: Servers, world: World) -> Member:
    made = world.member(world.company())
    with servers.as_owner() as owner:
        owner.execute("UPDATE identity.sessions SET password_at = now() WHERE person_id = %s", (made.person_id,))
    return made
