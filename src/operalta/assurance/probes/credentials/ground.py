"""What the probes of credentials share: keys of the staged company, and a registration at another service."""

import json
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID

from operalta.assurance.client import Browser
from operalta.assurance.elsewhere import GOOD, Reply
from operalta.assurance.registry import Answer
from operalta.assurance.stage import API, Company, Person, Stage, StageFault

KEYS, CLIENTS = "api-keys", "oauth-clients"
_CREATED, _SEE_OTHER = 201, 303


@dataclass(frozen=True, slots=True)
class Program:
    """A program that has a key of a company, and nothing else."""

    id: UUID
    key: str = field(repr=False)
    browser: Browser

    async def ask(self, path: str, method: str = "GET", json: object = None) -> Answer:
        """Send one request to the API with the key alone."""
        return await self.browser.send(
            method, f"{API}{path}", headers={"authorization": f"Bearer {self.key}"}, cookies={}, json=json
        )


@dataclass(frozen=True, slots=True)
class House:
    """A company for one probe alone, and its founder, so that nobody else's limits are used up."""

    stage: Stage
    founder: Person
    company: Company


async def make_house(stage: Stage) -> House:
    """Found a company for one probe."""
    founder = await stage.new_person("Key Keeper")
    return House(stage, founder, await stage.found(founder, "Keys and Locks", "startup"))


def inside(company: Company, what: str = "") -> str:
    """Return where something of a company is found on the API, without the API's own beginning."""
    return f"/companies/{company.slug}" + (f"/{what}" if what else "")


async def make_key(stage: Stage, person: Person, company: Company, **wanted: object) -> Program:
    """Make a key as a person. Raise StageFault where that is refused."""
    body = {"name": "Observed by verify", "scopes": ["company:read", "memory:read"], **wanted}
    made = required(await person.browser.post(f"{API}{inside(company, KEYS)}", body), _CREATED, "make an API key")
    return Program(UUID(made["id"]), str(made["api_key"]), stage.browser())


async def register_client(stage: Stage, person: Person, company: Company, secret: str) -> dict[str, Any]:
    """Register the company at a service elsewhere, which tells its addresses itself. Raise StageFault otherwise."""
    issuer = stage.deployment.elsewhere.url(GOOD, "/issuer")
    announced = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "revocation_endpoint": f"{issuer}/revoke",
        "code_challenge_methods_supported": ["S256"],
        "response_types_supported": ["code"],
        "scopes_supported": ["read"],
    }
    told = Reply(json.dumps(announced).encode(), "application/json")
    stage.deployment.elsewhere.tell("/.well-known/oauth-authorization-server/issuer", told)
    body = {"provider": "generic", "issuer": issuer, "client_id": "verify", "client_secret": secret}
    answer = await person.browser.post(f"{API}{inside(company, CLIENTS)}", body)
    return required(answer, _CREATED, "register at a service")


async def connect_account(stage: Stage, person: Person, company: Company, client: str) -> str:
    """Connect an account at the service elsewhere, as its owner who agrees there; return the connection's id.

    Raise StageFault where it cannot be connected.
    """
    number = secrets.token_hex(8)
    tokens = {"access_token": f"access-{number}", "refresh_token": f"refresh-{number}", "token_type": "Bearer"}
    told = Reply(json.dumps({**tokens, "expires_in": 3600, "scope": "read"}).encode(), "application/json")
    stage.deployment.elsewhere.tell("/issuer/token", told)
    stage.deployment.elsewhere.tell("/issuer/revoke", Reply(b""))
    body = {"oauth_client": client, "scopes": ["read"]}
    begun = await person.browser.post(f"{API}{inside(company, 'connections')}", body)
    where = str(required(begun, _CREATED, "begin to connect an account")["authorization_url"])
    state = parse_qs(urlsplit(where).query)["state"][0]
    back = await person.browser.get(f"/connections/callback?{urlencode({'state': state, 'code': number})}")
    if back.status != _SEE_OTHER:
        raise StageFault(f"could not connect an account: {back.status}")
    listed = await person.browser.get(f"{API}{inside(company, 'connections')}")
    return str(required(listed, 200, "list connections")["items"][0]["id"])


def required(answer: Answer, status: int, step: str) -> dict[str, Any]:
    """Return what was answered. Raise StageFault where it has another status."""
    if answer.status != status:
        raise StageFault(f"could not {step}: {answer.status} {answer.body[:200]!r}")
    return dict(answer.json())
