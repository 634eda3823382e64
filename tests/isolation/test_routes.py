"""Every route of a company, from the application's own table, as an outsider and as a member of each role.

What is expected follows from what the route declares: outsiders and foreign ids find nothing, members whose role does
not hold the permission are refused, the others get past it. Bodies are such that every route can read them, so none
hides behind "your body cannot be read".
"""

import json
import re
import secrets
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

import pytest

from operalta.access.rules import CompanyKind, permissions_of
from operalta.guard.limiter import Limiter
from operalta.guard.rules import Rule, Subjects
from operalta.web.entry import Audience
from tests.conftest import Servers, World
from tests.web.site import Answer, Client, Site
from tests.web.test_declarations import Route, routes

NOBODY = "00000000-0000-7000-8000-000000000000"
NO_COMPANY = "no-such-company"
ROLES = ("founder", "advisor", "investor", "observer")
READING = frozenset({"GET", "HEAD"})
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
A_FILE = b'--part\r\nContent-Disposition: form-data; name="file"; filename="matrix.txt"\r\n\r\nhello\r\n--part--\r\n'

# What is sent for a field of the API's bodies, whatever the route: its description says which fields there are.
VALUES: dict[str, object] = {
    "decision": "denied",
    "email": "somebody@people.example",
    "kind": "decision",
    "name": "Matrix",
    "on_date": "2026-01-31",
    "role": "observer",
    "slug": "matrix",
    "status": "accepted",
    "text": "/help",
    "title": "Matrix",
    "value": "1",
}
# What the forms of pages send, by the end of the path.
FORMS: dict[str, bytes] = {
    "/chat": b"text=/help",
    "/chat/{conversation_id}": b"text=/help",
    "/decision": b"decision=denied",
    "/invitations": b"email=somebody%40people.example&role=observer",
    "/role": b"role=observer",
    "/hand-over": b"role=observer",
    "/memory": b"kind=decision&title=Matrix",
    "/status": b"status=accepted",
    "/supersede": b"title=Matrix",
    "/metrics": b"slug=matrix&name=Matrix",
    "/points": b"on_date=2026-01-31&value=1",
    "/agents/{agent_id}": b"name=Matrix&purpose=Matrix&instructions=Matrix",
    "/tools": b"memory_search=allow",
}
QUERIES = {"/files/at": "?path=matrix.md", "/supersede": "?expected=0"}


@dataclass(frozen=True)
class Plot:
    """A company with one member of each role and a row of each kind, and another company's founder."""

    slug: str
    company_id: UUID
    clients: dict[str, Client]
    outsider: Client
    outsiders_slug: str
    ids: dict[str, str]
    canary: str


@pytest.fixture(autouse=True)
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count nothing: the matrix asks more in a minute than any person, and limits are proved elsewhere."""

    async def admit(_self: Limiter, _rule: Rule, _subjects: Subjects) -> None:
        return None

    monkeypatch.setattr(Limiter, "admit", admit)


@pytest.fixture(scope="module")
def plot(servers: Servers, site: Site) -> Plot:
    with servers.as_owner() as owner:
        world = World(owner)
        company, other = world.company(), world.company()
        members = {role: world.member(company, role) for role in ROLES}
        clients = {role: site.member(member) for role, member in members.items()}
        outsider = site.member(world.member(other))
        canary = f"canary{secrets.token_hex(8)}"
        founder, inside = clients["founder"], f"/companies/{company[1]}"
        record = _made(founder.api("POST", f"{inside}/memory", {"kind": "decision", "title": canary}))["id"]
        _made(founder.api("POST", f"{inside}/metrics", {"slug": canary, "name": canary}))
        email = f"{canary}@people.example"
        invitation = _made(founder.api("POST", f"{inside}/invitations", {"email": email, "role": "observer"}))["id"]
        file = _made(founder.upload(f"/api/v1{inside}/files", b"canary.md", canary.encode()))["id"]
        posted = founder.request(
            "POST",
            f"/c/{company[1]}/chat",
            f"text=/find+{canary}".encode(),
            {"Content-Type": FORM, "Accept": JSON},
        )
        run = _made(posted)
        agent = owner.execute("SELECT id FROM agents.agents WHERE company_id = %s", (company[0],)).fetchone()
        assert agent is not None
        ids = {
            "record_id": record,
            "slug": canary,
            "invitation_id": invitation,
            "file_id": file,
            "conversation_id": run["conversation_url"].rpartition("/")[2],
            "run_id": run["run_id"],
            "agent_id": str(agent["id"]),
            "person_id": str(members["advisor"].person_id),
            "approval_id": _approval(owner, company[0], run["run_id"], agent["id"]),
            "grant_id": NOBODY,
            "visit_id": _visit(owner, company[0]),
        }
        return Plot(company[1], company[0], clients, outsider, other[1], ids, canary)


def _made(answer: Answer) -> dict[str, Any]:
    assert answer.status in {201, 202}, answer.text
    return answer.json


def _approval(owner: Any, company: UUID, run: str, agent: UUID) -> str:  # noqa: ANN401 - the owner's connection
    row = owner.execute(
        """
        INSERT INTO agents.approvals (company_id, id, run_id, conversation_id, agent_id, requester_id, call_id, tool,
            tool_class, tool_hash, arguments, arguments_sha256, argument_shape, expires_at)
        SELECT run.company_id, gen_random_uuid(), run.id, run.conversation_id, %(agent)s, run.person_id, 'call',
            'web_fetch', 'egress', repeat('0', 64), '{}', repeat('0', 64), '{}', now() + interval '1 day'
        FROM agents.runs AS run WHERE run.company_id = %(company)s AND run.id = %(run)s RETURNING id
        """,
        {"agent": agent, "company": company, "run": run},
    ).fetchone()
    assert row is not None
    return str(row["id"])


def _visit(owner: Any, company: UUID) -> str:  # noqa: ANN401 - the owner's connection
    row = owner.execute(
        """
        WITH visitor AS (INSERT INTO identity.people (email, email_key, name) SELECT address, address, 'Visitor'
            FROM concat(gen_random_uuid(), '@staff.example') AS address RETURNING id)
        INSERT INTO tenancy.staff_access (company_id, person_id, person_name, role, reason, expires_at)
        SELECT %s, id, 'Visitor', 'support', 'Asked for by telephone', now() + interval '1 hour' FROM visitor
        RETURNING id
        """,
        (company,),
    ).fetchone()
    assert row is not None
    return str(row["id"])


def company_routes(site: Site) -> list[Route]:
    found = [each for each in routes(site) if each.declarations[0].audience is Audience.COMPANY]
    assert len(found) > 50
    return found


def call(client: Client, route: Route, company: str, ids: dict[str, str]) -> Answer:
    """Call a route with a body that it can read."""
    path = re.sub(r"\{(\w+)\}", lambda found: {**ids, "company": company}[found[1]], route.path)
    path += next((query for end, query in QUERIES.items() if route.path.endswith(end)), "")
    if route.method in READING:
        return client.request(route.method, path)
    if route.path.endswith("/files"):
        kind, body = "multipart/form-data; boundary=part", A_FILE
    elif route.path.startswith("/api/"):
        kind, body = json_body(client, route)
    else:
        kind, body = FORM, next((form for end, form in FORMS.items() if route.path.endswith(end)), b"")
    headers = {"Origin": f"http://localhost:{client.port}", **({"Content-Type": kind} if kind else {})}
    return client.request(route.method, path, body, headers)


def json_body(client: Client, route: Route) -> tuple[str, bytes]:
    """Make a body of what the API's own description says of the route; it takes none where that says none."""
    description = description_of_api(client.host, client.port)
    operation = description["paths"][route.path][route.method.lower()]
    if "requestBody" not in operation:
        return "", b""
    name = operation["requestBody"]["content"][JSON]["schema"]["$ref"].rpartition("/")[2]
    schema = description["components"]["schemas"][name]
    required = schema.get("required", ())
    body = {field: VALUES[field] for field in required or schema["properties"] if field in VALUES}
    missing = set(required) - set(body)
    assert not missing, f"{route.method} {route.path}: say in VALUES what is sent as {missing}"
    return JSON, json.dumps(body).encode()


@cache
def description_of_api(host: str, port: int) -> Any:  # noqa: ANN401 - a JSON document
    return Client(host, port).get("/api/openapi.json").json


def without_request_id(answer: Answer) -> str:
    return answer.text.replace(answer.header("x-request-id"), "-")


@pytest.mark.proves("2.4.1", "2.4.2")
def test_an_outsider_meets_the_same_answer_as_for_a_company_that_does_not_exist(site: Site, plot: Plot) -> None:
    for route in company_routes(site):
        theirs = call(plot.outsider, route, plot.slug, plot.ids)
        nobodys = call(plot.outsider, route, NO_COMPANY, plot.ids)
        assert theirs.status == nobodys.status == 404, (route.method, route.path, theirs.status, theirs.text[:300])
        assert plot.canary not in theirs.text
        assert without_request_id(theirs) == without_request_id(nobodys).replace(NO_COMPANY, plot.slug), route


@pytest.mark.proves("2.4.1", "2.4.2")
def test_rows_of_another_company_are_not_found_from_ones_own(site: Site, plot: Plot) -> None:
    """With every right in one's own company, an id of another company's row is as unknown as one of no row at all."""
    nothing = dict.fromkeys(plot.ids, NOBODY) | {"slug": "nothing"}
    walked = 0
    for route in company_routes(site):
        if "{" not in route.path.replace("{company}", ""):
            continue
        walked += 1
        theirs = call(plot.outsider, route, plot.outsiders_slug, plot.ids)
        nobodys = call(plot.outsider, route, plot.outsiders_slug, nothing)
        assert theirs.status == nobodys.status == 404, (route.method, route.path, theirs.status, nobodys.status)
        assert plot.canary not in theirs.text, route
        assert without_request_id(theirs) == without_request_id(nobodys), route
    assert walked > 30


@pytest.mark.proves("2.4.1")
def test_nothing_of_the_company_was_changed_by_the_outsider(servers: Servers, plot: Plot) -> None:
    with servers.as_owner() as owner:
        row = owner.execute(
            """
            SELECT record.title, record.superseded_by_id AS next, file.deleted_at AS deleted, approval.decision,
                (SELECT count(*) FROM tenancy.memberships AS held
                    WHERE held.company_id = %(company)s AND held.ended_at IS NULL) AS members
            FROM workspace.records AS record, workspace.files AS file, agents.approvals AS approval
            WHERE record.company_id = %(company)s AND record.id = %(record)s AND file.company_id = %(company)s
                AND file.id = %(file)s AND approval.company_id = %(company)s AND approval.id = %(approval)s
            """,
            {
                "company": plot.company_id,
                "record": plot.ids["record_id"],
                "file": plot.ids["file_id"],
                "approval": plot.ids["approval_id"],
            },
        ).fetchone()
    assert row == {"title": plot.canary, "next": None, "deleted": None, "decision": None, "members": len(ROLES) + 1}


@pytest.mark.proves("2.5.0", "2.5.3")
@pytest.mark.parametrize("role", ["observer", "investor", "advisor", "founder"])
def test_a_member_gets_past_a_route_exactly_if_the_role_holds_its_permission(site: Site, plot: Plot, role: str) -> None:
    held = permissions_of(CompanyKind.STARTUP, role)
    nothing = dict.fromkeys(plot.ids, NOBODY) | {"slug": "nothing"}
    for route in company_routes(site):
        permission = route.declarations[0].permission
        if permission not in held:
            answer = call(plot.clients[role], route, plot.slug, plot.ids)
            assert answer.status == 403, (role, route.method, route.path, answer.status)
            assert plot.canary not in answer.text, route
        elif route.method in READING and "/runs/" not in route.path:
            answer = call(plot.clients[role], route, plot.slug, plot.ids)
            assert answer.status in {200, 303} or route.path.endswith("/files/at"), (role, route.path, answer.status)
        else:
            # Changes are tried on rows that are not there, so that the plot stays as it is for the next role.
            answer = call(plot.clients[role], route, plot.slug, nothing)
            # Removing others needs more than the route declares, since it is the way to leave as well.
            removes = route.path.endswith(("/members/{person_id}", "/end"))
            fine = {200, 201, 202, 204, 303, 404, 409, *((403,) if removes else ())}
            assert answer.status in fine, (role, route.method, route.path, answer.status, answer.text[:300])
