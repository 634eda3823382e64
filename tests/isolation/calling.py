"""Two companies as their people have filled them through the application, and how to call any route on them.

Bodies are such that every route can read them, so none hides behind "your body cannot be read".
"""

import json
import re
import secrets
from dataclasses import dataclass
from functools import cache
from typing import Any, LiteralString
from uuid import UUID

from operalta.access.rules import CompanyKind, Role, StaffRole
from operalta.web.entry import Audience
from tests.conftest import Member, World
from tests.isolation.estate import Owner
from tests.web.site import Answer, Client, Site
from tests.web.test_declarations import Route, routes

NOBODY = "00000000-0000-7000-8000-000000000000"
NO_COMPANY = "c-nothing-here"  # as long as the slugs of the plots
READING = frozenset({"GET", "HEAD"})
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
PART = "multipart/form-data; boundary=part"
A_FILE = b'--part\r\nContent-Disposition: form-data; name="file"; filename="matrix.txt"\r\n\r\nhello\r\n--part--\r\n'

# What is sent for a field of the API's bodies, whatever the route: its description says which fields there are.
VALUES: dict[str, object] = {
    "agent_id": NOBODY,
    "arguments_sha256": "0" * 64,
    "at": "08:00",
    "calls": [{"id": NOBODY, "arguments_sha256": "0" * 64}],
    "rules": [{"tool_class": "egress", "roles": ["advisor"]}],
    "wanted": "own",
    "base_url": "https://api.example.com/v1",
    "begun_from": 1,
    "client_id": "matrix",
    "client_secret": "matrix",
    "code": "123456",
    "company": "c-nothing-here",
    "content": "Matrix",
    "current_password": "correct horse battery staple",
    "decision": "denied",
    "email": "somebody@people.example",
    "events": ["file.written"],
    "kind": "decision",
    "linked_id": "01900000-0000-7000-8000-00000000000b",
    "messages": [{"role": "user", "content": [{"type": "text", "text": "/help"}]}],
    "model": "nobody",
    "name": "Matrix",
    "oauth_client": NOBODY,
    "on": False,
    "on_date": "2026-01-31",
    "password": "correct horse battery staple",
    "path": "matrix.md",
    "phone": NOBODY,
    "prompt": "/help",
    "provider": "github",
    "purpose": "Matrix",
    "reason": "Asked for by telephone",
    "regions": ["EU"],
    "relation": "supports",
    "rhythm": "daily",
    "role": "observer",
    "route": "built-in",
    "routes": [],
    "slug": "matrix",
    "status": "decided",
    "text": "/help",
    "scopes": ["company:read"],
    "title": "Matrix",
    "token": "nothing",
    "url": "https://1.1.1.1/",
    "value": "1",
    "zone": "UTC",
}
# The same for fields that are described by a schema of their own.
_KEY = {"id": "eA", "rawId": "eA", "type": "public-key"}
OBJECTS: dict[str, object] = {
    "Scheme": "github",
    "StaffRole": "support",
    "CreatedCredential": {**_KEY, "response": {"clientDataJSON": "eA", "attestationObject": "eA"}},
    "SignedCredential": {
        **_KEY,
        "response": {"clientDataJSON": "eA", "authenticatorData": "eA", "signature": "eA"},
    },
}
# What is sent besides what a schema requires, by its name, so that the route does what it is for.
BESIDES: dict[str, dict[str, object]] = {"NewIntegrationBody": {"credential": "a-key-of-a-service"}}
# What the forms of pages send, by the end of the path.
FORMS: dict[str, bytes] = {
    "/sign-up": b"email=somebody%40people.example&name=Matrix&password=correct+horse+battery",
    "/sign-in": b"email=somebody%40people.example&password=correct+horse+battery",
    "/reset": b"email=somebody%40people.example",
    "/chat": b"text=/help",
    "/chat/{conversation_id}": b"text=/help",
    "/approvals/decision": b"decision=denied&shown=" + NOBODY.encode() + b"+0",
    "/decision": b"decision=denied",
    "/c/{company}/invitations": b"email=somebody%40people.example&role=observer",
    "/role": b"role=observer",
    "/settings/rules": b"roles:read=founder",
    "/settings/mail": b"wanted=own",
    "/hand-over": b"role=observer",
    "/staff/visits": b"company=c-nothing-here&role=support&reason=Asked+for+by+telephone&minutes=60",
    "/memory": b"kind=decision&title=Matrix",
    "/status": b"status=decided",
    "/supersede": b"title=Matrix",
    "/links": f"relation=supports&linked_id={NOBODY}".encode(),
    "/links/remove": f"relation=supports&linked_id={NOBODY}".encode(),
    "/c/{company}/artifacts": b"title=Matrix&kind=document&content=Matrix",
    "/revise": b"content=Matrix&version=1",
    "/title": b"title=Matrix",
    "/metrics": b"name=Matrix",
    "/points": b"day=2026-01-31&value=1",
    "/agents": b"name=Matrix&purpose=Matrix",
    "/limits": b"limits.steps=5",
    "/versions": b"version=1",
    "/agents/{agent_id}": b"name=Matrix&purpose=Matrix&instructions=Matrix",
    "/tools": b"memory_search=allow",
    "/folders": b"directories=matrix",
    "/route": b"route=built-in",
    "/model-routes": b"region=EU",
    "/api-keys": b"name=Matrix&scopes=company:read",
    "/rotate": b"overlap=0",
    "/api-keys/{key_id}/revoke": b"typed=nothing",
    "/append": b"text=Matrix",
    "/move": b"path=matrix.md",
    "/integrations/clients": b"provider=github&client_id=matrix&client_secret=matrix",
    "/integrations/services": (
        b"slug=matrix-service&service_name=Matrix&kind=api_key_service&base_url=https%3A%2F%2F1.1.1.1%2F"
        b"&credential=a-key-of-a-service"
    ),
    "/change": b"client_id=matrix&client_secret=matrix",
    "/connect": b"scope=repo",
    "/c/{company}/webhooks": b"name=Matrix&url=https%3A%2F%2F1.1.1.1%2F&events=file.written",
    "/c/{company}/inbound-hooks": b"name=Matrix&scheme=github",
    "/webhooks/{webhook_id}/change": b"name=Matrix&events=file.written",
    "/switch": b"on=no",
    "/schedules": b"title=Matrix&prompt=/help&rhythm=daily&at=08:00&agent_id=" + NOBODY.encode(),
    "/schedules/{schedule_id}": b"title=Matrix&prompt=/help&rhythm=daily&at=08:00&agent_id=" + NOBODY.encode(),
}
QUERIES = {"/files/at": "?path=canary.md", "/diff": "?before=1&after=1", "/supersede": "?expected=0"}


@dataclass(frozen=True)
class Plot:
    """A company with a member and a visitor of each role, somebody who was removed from it, and a row of each kind."""

    kind: CompanyKind
    slug: str
    company_id: UUID
    clients: dict[str, Client]
    people: dict[str, UUID]
    ids: dict[str, str]
    canary: str

    @property
    def founder(self) -> Client:
        """Return a founder's client."""
        return self.clients[Role.FOUNDER]


@dataclass(frozen=True)
class Plots:
    """A startup and an investor, neither of which knows of the other, and somebody who is in no company."""

    startup: Plot
    investor: Plot
    newcomer: Client

    def both(self) -> tuple[tuple[Plot, Plot], tuple[Plot, Plot]]:
        """Return each company with the other."""
        return (self.startup, self.investor), (self.investor, self.startup)


def make_plots(site: Site, owner: Owner) -> Plots:
    """Found both companies."""
    world = World(owner)
    nowhere = world.member(world.company())
    owner.execute("DELETE FROM tenancy.memberships WHERE person_id = %s", (nowhere.person_id,))
    startup, investor = (_make_plot(site, owner, kind) for kind in (CompanyKind.STARTUP, CompanyKind.INVESTOR))
    return Plots(startup, investor, site.member(nowhere))


def _make_plot(site: Site, owner: Owner, kind: CompanyKind) -> Plot:
    world = World(owner)
    company = world.company(kind)
    members = {role.value: world.member(company, role) for role in Role}
    members["removed"] = world.member(company, Role.FOUNDER)
    clients = {name: site.member(member) for name, member in members.items()}
    canary = f"canary{secrets.token_hex(8)}"
    owner.execute("UPDATE tenancy.companies SET name = %s WHERE id = %s", (canary, company[0]))
    ids = _fill(clients[Role.FOUNDER], owner, company, canary)
    ids["person_id"] = str(members[Role.ADVISOR].person_id)
    for role in StaffRole:
        members[role] = _visitor(owner, company, role)
        clients[role] = site.member(members[role])
    visit = "SELECT id AS id FROM tenancy.staff_access WHERE company_id = %s ORDER BY id LIMIT 1"
    ids["visit_id"] = _only(owner, visit, company[0])
    owner.execute(
        "UPDATE tenancy.memberships SET ended_at = now() WHERE company_id = %s AND person_id = %s",
        (company[0], members["removed"].person_id),
    )
    people = {name: member.person_id for name, member in members.items()}
    return Plot(kind, company[1], company[0], clients, people, ids, canary)


def _visitor(owner: Owner, company: tuple[UUID, str], role: StaffRole) -> Member:
    """Return somebody of the operator's staff whose visit to the company is open."""
    visitor = World(owner).member(company)
    owner.execute("DELETE FROM tenancy.memberships WHERE person_id = %s", (visitor.person_id,))
    owner.execute("INSERT INTO identity.staff (person_id, role) VALUES (%s, %s)", (visitor.person_id, role))
    owner.execute(
        "INSERT INTO tenancy.staff_access (company_id, person_id, person_name, role, reason, expires_at)"
        " VALUES (%s, %s, 'Visitor', %s, 'Asked for by telephone', now() + interval '1 hour')",
        (company[0], visitor.person_id, role),
    )
    return visitor


def _fill(founder: Client, owner: Owner, company: tuple[UUID, str], canary: str) -> dict[str, str]:
    inside = f"/companies/{company[1]}"
    record = _made(founder.api("POST", f"{inside}/memory", {"kind": "decision", "title": canary}))["id"]
    _made(founder.api("POST", f"{inside}/metrics", {"slug": canary, "name": canary}))
    point = {"on_date": "2026-01-31", "value": "1", "note": canary}
    assert founder.api("POST", f"{inside}/metrics/{canary}/points", point).status in {200, 201}
    email = f"{canary}@people.example"
    invitation = _made(founder.api("POST", f"{inside}/invitations", {"email": email, "role": "observer"}))["id"]
    file = _made(founder.upload(f"/api/v1{inside}/files", b"canary.md", canary.encode()))["id"]
    artifact_body = {"title": canary, "content": canary, "private": False}
    artifact = _made(founder.api("POST", f"{inside}/artifacts", artifact_body))["id"]
    said = f"text=/find+{canary}".encode()
    key = _made(founder.api("POST", f"{inside}/api-keys", {"name": canary, "scopes": ["company:read"]}))["id"]
    run = _made(founder.request("POST", f"/c/{company[1]}/chat", said, {"Content-Type": FORM, "Accept": JSON}))
    agent = _only(
        owner,
        "UPDATE agents.agents SET name = %s, purpose = %s WHERE company_id = %s RETURNING id AS id",
        canary,
        canary,
        company[0],
    )
    # Over, so that its stream of events ends by itself.
    _only(
        owner,
        "UPDATE agents.runs SET status = 'failed', failure = %s, finished_at = now() WHERE id = %s RETURNING id AS id",
        canary,
        run["run_id"],
    )
    client = _only(owner, _A_CLIENT, canary, canary, company[0])
    connection = _only(owner, _A_CONNECTION, canary, client)
    webhook = _only(owner, _A_WEBHOOK, *[canary] * 3, company[0])
    hook = _only(owner, _A_HOOK, canary, canary, company[0])
    _only(owner, _AN_INBOUND_MESSAGE, canary, hook)
    integration = _only(owner, _AN_INTEGRATION, canary, canary, company[0])
    approval = _only(owner, _AN_APPROVAL, canary, canary, run["run_id"])
    grant = _only(owner, _A_GRANT, approval)
    return {
        "record_id": record,
        "slug": canary,
        "invitation_id": invitation,
        "file_id": file,
        "artifact_id": artifact,
        "conversation_id": run["conversation_url"].rpartition("/")[2],
        "run_id": run["run_id"],
        "agent_id": agent,
        "approval_id": approval,
        "grant_id": grant,
        "key_id": key,
        "oauth_client_id": client,
        "webhook_id": webhook,
        "delivery_id": _only(owner, _A_DELIVERY, canary, webhook),
        "hook_id": hook,
        "connection_id": connection,
        "integration_id": integration,
        "schedule_id": _only(owner, _A_SCHEDULE, canary, canary, run["run_id"]),
    }


_AN_APPROVAL: LiteralString = """
INSERT INTO agents.approvals (company_id, id, run_id, conversation_id, agent_id, requester_id, call_id, tool,
    tool_class, tool_hash, arguments, arguments_sha256, argument_shape, expires_at)
SELECT run.company_id, gen_random_uuid(), run.id, run.conversation_id, run.agent_id, run.person_id, 'call', 'web_fetch',
    'egress', repeat('0', 64), jsonb_build_object('url', %s::text), repeat('0', 64), %s, now() + interval '1 day'
FROM agents.runs AS run WHERE run.id = %s RETURNING id AS id
"""
_A_SCHEDULE: LiteralString = """
INSERT INTO agents.schedules (company_id, id, owner_id, agent_id, conversation_id, title, prompt, rhythm, weekdays,
    at_time, zone, next_at, session_id)
SELECT run.company_id, gen_random_uuid(), run.person_id, run.agent_id, run.conversation_id, %s, %s, 'weekly', '{0}',
    '08:00', 'UTC', now() + interval '1 day', run.session_id
FROM agents.runs AS run WHERE run.id = %s RETURNING id AS id
"""
_A_CLIENT: LiteralString = """
INSERT INTO credentials.oauth_clients (company_id, id, provider, title, client_id, kept_id, registered_by)
SELECT company_id, gen_random_uuid(), 'slack', %s, %s, gen_random_uuid(), person_id
FROM tenancy.memberships WHERE company_id = %s AND role = 'founder' LIMIT 1 RETURNING id AS id
"""
_A_CONNECTION: LiteralString = """
INSERT INTO credentials.connections (company_id, id, oauth_client_id, person_id, account)
SELECT company_id, gen_random_uuid(), id, registered_by, %s FROM credentials.oauth_clients WHERE id = %s
RETURNING id AS id
"""
_A_WEBHOOK: LiteralString = """
INSERT INTO credentials.webhook_endpoints (company_id, id, name, url, destination, events, kept_id, made_by, holder_id,
    seen_by)
SELECT company_id, gen_random_uuid(), %s, 'https://' || %s || '.example/hook', 'https://' || %s || '.example',
    ARRAY['company.ownership_transferred'], gen_random_uuid(), person_id, person_id, person_id
FROM tenancy.memberships WHERE company_id = %s AND role = 'founder' LIMIT 1 RETURNING id AS id
"""
_A_DELIVERY: LiteralString = """
INSERT INTO credentials.webhook_deliveries (company_id, endpoint_id, event, subject_kind, occurred_at, status, failure)
SELECT company_id, id, 'file.written', 'file', now(), 'dead', %s FROM credentials.webhook_endpoints WHERE id = %s
RETURNING id AS id
"""
_A_HOOK: LiteralString = """
INSERT INTO credentials.inbound_hooks (company_id, id, name, scheme, digest, shown, made_by, holder_id)
SELECT company_id, gen_random_uuid(), %s, 'github', sha256(convert_to(%s, 'UTF8')), 'shown', person_id, person_id
FROM tenancy.memberships WHERE company_id = %s AND role = 'founder' LIMIT 1 RETURNING id AS id
"""
_AN_INBOUND_MESSAGE: LiteralString = """
INSERT INTO credentials.inbound_messages (company_id, hook_id, source, body, size)
SELECT company_id, id, 'github', to_jsonb(%s::text), 1 FROM credentials.inbound_hooks WHERE id = %s RETURNING id AS id
"""
_AN_INTEGRATION: LiteralString = """
INSERT INTO credentials.integrations (company_id, id, slug, name, kind, base_url, lends, made_by)
SELECT company_id, gen_random_uuid(), 'matrix-there', %s, 'mcp_server', 'https://mcp.example.com/' || %s, 'none',
    person_id
FROM tenancy.memberships WHERE company_id = %s AND role = 'founder' LIMIT 1 RETURNING id AS id
"""
_A_GRANT: LiteralString = """
INSERT INTO agents.grants (company_id, approval_id, conversation_id, requester_id, tool, tool_hash, argument_shape,
    given_by)
SELECT company_id, id, conversation_id, requester_id, tool, tool_hash, argument_shape, requester_id
FROM agents.approvals WHERE id = %s RETURNING id AS id
"""


def _made(answer: Answer) -> dict[str, Any]:
    assert answer.status in {201, 202}, answer.text
    return answer.json


def _only(owner: Owner, query: LiteralString, *values: object) -> str:
    row = owner.execute(query, values).fetchone()
    assert row is not None
    return str(row["id"])


def routes_for(site: Site, *audiences: Audience) -> list[Route]:
    """Return the routes that are declared for these audiences."""
    return [each for each in routes(site) if each.declarations[0].audience in audiences]


def nothing(plot: Plot) -> dict[str, str]:
    """Return, for each kind of row, an id that no row has."""
    return dict.fromkeys(plot.ids, NOBODY) | {"slug": "nothing"}


def path_of(route: Route, company: str, ids: dict[str, str]) -> str:
    """Return a route's address in a company, for rows with these ids."""
    known = {
        "session_id": NOBODY,
        "factor_id": NOBODY,
        "provider": "bird",
        "token": "nothing",
        "clause_id": "2.4.0",
        "version": "1",
        "relation": "supports",
        "linked_id": NOBODY,
        **ids,
        "company": company,
    }
    path = re.sub(r"\{(\w+)\}", lambda found: known[found[1]], route.path)
    return path + next((query for end, query in QUERIES.items() if route.path.endswith(end)), "")


def call(client: Client, route: Route, company: str, ids: dict[str, str]) -> Answer:
    """Call a route with a body that it can read."""
    path = path_of(route, company, ids)
    if route.method in READING:
        return client.request(route.method, path)
    kind, body = body_of(client, route)
    headers = {"Origin": f"http://localhost:{client.port}", **({"Content-Type": kind} if kind else {})}
    return client.request(route.method, path, body, headers)


def body_of(client: Client, route: Route) -> tuple[str, bytes]:
    """Return the type and the bytes of a body that a writing route can read."""
    if route.path.endswith("/files"):
        return PART, A_FILE
    if route.path.startswith("/api/"):
        return json_body(client, route)
    return FORM, next((form for end, form in FORMS.items() if route.path.endswith(end)), b"")


def json_body(client: Client, route: Route) -> tuple[str, bytes]:
    """Make a body of what the API's own description says of the route; it takes none where that says none."""
    schema = schema_of(client, route)
    if schema is None:
        return "", b""
    required = schema.get("required", ())
    named = {field: described.get("$ref", "").rpartition("/")[2] for field, described in schema["properties"].items()}
    known = VALUES | {field: OBJECTS[name] for field, name in named.items() if name in OBJECTS}
    body = {field: known[field] for field in required or schema["properties"] if field in known}
    missing = set(required) - set(body)
    assert not missing, f"{route.method} {route.path}: say in VALUES what is sent as {missing}"
    return JSON, json.dumps(BESIDES.get(schema["title"], {}) | body).encode()


def schema_of(client: Client, route: Route) -> dict[str, Any] | None:
    """Return the schema of the JSON that a route takes; None where it takes none."""
    description = description_of_api(client.host, client.port)
    operation = description["paths"][route.path][route.method.lower()]
    if "requestBody" not in operation:
        return None
    name = operation["requestBody"]["content"][JSON]["schema"]["$ref"].rpartition("/")[2]
    return description["components"]["schemas"][name]


@cache
def description_of_api(host: str, port: int) -> Any:  # noqa: ANN401 - a JSON document
    """Return the API's description of itself."""
    return Client(host, port).get("/api/openapi.json").json


def without_request_id(answer: Answer) -> str:
    """Return a body without the one thing in it that is new each time."""
    return answer.text.replace(answer.header("x-request-id"), "-")


def headers_of(answer: Answer) -> list[tuple[str, str]]:
    """Return the headers that could tell one case from another."""
    return [(name, value) for name, value in answer.headers if name not in {"x-request-id", "date"}]
