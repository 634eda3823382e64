"""Puts a text into one parameter of a route, with everything else as the route wants it, and reads what came back."""

import json
import re
import secrets
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from hashlib import sha256
from itertools import count, pairwise
from typing import Any, LiteralString, cast
from urllib.parse import parse_qsl, quote, urlencode

from operalta.kernel.ids import PersonId
from operalta.web import cookies
from operalta.web.entry import Audience
from operalta.workspace.rules import encode_cursor
from tests.isolation.calling import FORM, FORMS, READING, Plot, json_body, path_of
from tests.isolation.estate import Owner
from tests.isolation.parameters import COOKIE, HEADER, PART, PATH, QUERY, Operation, Parameter
from tests.isolation.parameters import FORM as IN_FORM
from tests.isolation.parameters import JSON as IN_JSON
from tests.web.site import Answer, Client, Site

_SQL = re.compile(r"psycopg|syntax error|SQLSTATE|pg_catalog|relation \"|unterminated|LINE 1")
# Ids, and names that were made of what was sent.
_NAMED = re.compile(r"(?<=/)[^/]*[0-9][^/]*")
_OF_CREDENTIALS = re.compile(r"[!-~]")
_OF_ADDRESSES = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]")
_TAG = re.compile(r"<([a-z][a-z0-9]*)")


@dataclass
class Injector:
    """Calls routes of a company as its founder, those for everybody as a visitor."""

    site: Site
    owner: Owner
    plot: Plot
    _founder: Client = field(init=False)
    _numbers: Any = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.sign_in()

    def sign_in(self) -> None:
        """Take a new session for the founder: an access token lives ten minutes."""
        self._founder = self.site.visitor()
        self._founder.jar[cookies.ACCESS] = self.site.access_token(PersonId(self.plot.people["founder"]))

    def send(self, operation: Operation, parameter: Parameter, text: str) -> Answer:
        """Call a route with `text` as (part of) one of its parameters."""
        route, ids = (
            operation.route,
            self._fresh_ids() if operation.route.method not in READING else dict(self.plot.ids),
        )
        client = self._client(route.declarations[0].audience)
        headers: dict[str, str] = {"Origin": f"http://localhost:{client.port}"}
        query: dict[str, str] = {}
        known = {"company": self.plot.slug, **ids}
        if parameter.place == PATH:
            known[parameter.last] = quote(f"{known.get(parameter.last, 'k')}{text}", safe="")
        elif parameter.place == QUERY:
            query[parameter.last] = self._within(parameter.last, text)
        elif parameter.place == HEADER:
            headers[parameter.last] = _as_header(f"a-key-{next(self._numbers)}-{text}")
        elif parameter.place == COOKIE:
            client.jar |= dict.fromkeys((cookies.DEVICE, cookies.REFRESH, cookies.TICKET), _as_header(text))
            headers["User-Agent"] = _as_header(text)
        path = path_of(route, known.pop("company"), known)
        path, _, present = path.partition("?")
        query = dict(parse_qsl(present)) | query
        if query:
            path += f"?{urlencode(query)}"
        if route.method in READING:
            return client.request(route.method, path, headers=headers)
        kind, body = self._body(client, operation, parameter, text)
        return client.request(route.method, path, body, headers | ({"Content-Type": kind} if kind else {}))

    @cached_property
    def _key(self) -> str:
        """A key of the company with the scope that routes for programs need."""
        body = {"name": "Injector", "scopes": ["agents:run"]}
        made = self.plot.founder.api("POST", f"/companies/{self.plot.slug}/api-keys", body)
        return str(made.json["api_key"])

    def _client(self, audience: Audience) -> Client:
        if audience is Audience.VISITOR:
            return self.site.visitor()
        if audience is Audience.KEY:
            return self.site.program(self._key)
        return Client(self._founder.host, self._founder.port, dict(self._founder.jar))

    def _body(self, client: Client, operation: Operation, parameter: Parameter, text: str) -> tuple[str, bytes]:
        route, fresh = operation.route, self._fresh_values()
        if route.path.endswith("/files"):
            parts = {"filename": f"{fresh['slug']}.md", "folder": "", "path": ""}
            if parameter.place == PART:
                parts[parameter.last] = self._within(parameter.last, text)
            return "multipart/form-data; boundary=part", _multipart(parts)
        if route.path.startswith("/api/"):
            kind, content = json_body(client, route)
            body: Any = json.loads(content) if content else {}
            body |= {name: value for name, value in fresh.items() if name in body}
            if parameter.place == IN_JSON:
                _put(body, parameter.name, self._within(parameter.last, text))
            return kind, json.dumps(body).encode() if kind else b""
        present = next((form for end, form in FORMS.items() if route.path.endswith(end)), b"").decode()
        form = dict(parse_qsl(present))
        form |= {name: value for name, value in fresh.items() if name in form}
        if parameter.place == IN_FORM:
            form[parameter.last] = self._within(parameter.last, text)
        return FORM, urlencode(form).encode()

    def _fresh_values(self) -> dict[str, str]:
        """Return values for fields that are taken once they are used."""
        number, token = next(self._numbers), secrets.token_hex(6)
        day = (date(2000, 1, 1) + timedelta(days=number)).isoformat()
        named = {"slug": token, "name": token, "path": f"{token}.md"}
        return {"email": f"{token}@people.example", **named, "on_date": day, "day": day}

    def _within(self, name: str, text: str) -> str:
        """Return a value for a field of this name that would be fine but for the text in it."""
        if name == "email":
            # What no address may have would be refused before anything else.
            return f"k{''.join(_OF_ADDRESSES.findall(text))}{next(self._numbers)}@people.example"
        if name == "credential":
            return f"a-key-{''.join(_OF_CREDENTIALS.findall(text))}"
        if name == "cursor":
            # Behind everything that is there.
            return encode_cursor(f"zzzz{text}")
        if name in {"filename", "path"}:
            return f"{text}{next(self._numbers)}.md"
        # What is called the same has the same address.
        return f"{text} {next(self._numbers)}" if name == "name" else text

    def _fresh_ids(self) -> dict[str, str]:
        """Make a row of each kind that a change uses up, so that each call finds the same."""
        # A company is registered once at a provider, and has room for so many integrations.
        self.owner.execute(_MAKE_ROOM, {"company": self.plot.company_id})
        self.owner.execute(_UNREGISTER, {"company": self.plot.company_id})
        facts = {"company": self.plot.company_id, "founder": self.plot.people["founder"], "token": secrets.token_hex(6)}
        row = self.owner.execute(_FRESH, facts | {"agent": self.plot.ids["agent_id"]}).fetchone()
        assert row is not None
        self._keep(str(row["file_id"]))
        return self.plot.ids | {name: str(value) for name, value in row.items()}

    def _keep(self, file: str) -> None:
        """Keep the bytes of a file's first version where the product does."""
        folder = self.site.servers.settings.workspaces_path / str(self.plot.company_id) / "versions" / file
        folder.mkdir(parents=True)
        (folder / f"1-{sha256(_CONTENT).hexdigest()}").write_bytes(_CONTENT)


_CONTENT = b"x"
_MAKE_ROOM: LiteralString = """
DELETE FROM credentials.integrations WHERE company_id = %(company)s AND slug ~ '^[0-9a-f]{12}$'
"""
_UNREGISTER: LiteralString = """
DELETE FROM credentials.oauth_clients WHERE company_id = %(company)s AND provider IN ('github', 'generic')
"""
# A statement sees the tables as they were before it: what refers to another row takes its id from where it was made.
_FRESH: LiteralString = """
WITH person AS (INSERT INTO identity.people (email, email_key, name, verified_at)
        VALUES (%(token)s || '@fresh.example', %(token)s || '@fresh.example', %(token)s, now()) RETURNING id),
    member AS (INSERT INTO tenancy.memberships (company_id, person_id, role)
        SELECT %(company)s, id, 'observer' FROM person RETURNING person_id),
    record AS (INSERT INTO workspace.records (company_id, id, kind, title, status, owner_id, recorded_by)
        VALUES (%(company)s, gen_random_uuid(), 'decision', %(token)s, 'proposed', %(founder)s, %(founder)s)
        RETURNING id),
    file AS (INSERT INTO workspace.files (company_id, id, path, size, sha256, content_type, origin, changed_by)
        VALUES (%(company)s, gen_random_uuid(), %(token)s || '.md', 1, encode(sha256('x'), 'hex'), 'text/markdown',
            'upload', %(founder)s) RETURNING id),
    kept AS (INSERT INTO workspace.file_versions (company_id, file_id, version, size, sha256, changed_by)
        SELECT %(company)s, id, 1, 1, encode(sha256('x'), 'hex'), %(founder)s FROM file),
    artifact AS (INSERT INTO workspace.artifacts (company_id, id, title, kind, content, private_to, created_by,
            changed_by)
        VALUES (%(company)s, gen_random_uuid(), %(token)s, 'document', %(token)s, %(founder)s, %(founder)s,
            %(founder)s) RETURNING id),
    invitation AS (INSERT INTO tenancy.invitations (company_id, email, email_key, role, invited_by)
        VALUES (%(company)s, %(token)s || '@asked.example', %(token)s || '@asked.example', 'observer', %(founder)s)
        RETURNING id),
    conversation AS (INSERT INTO workspace.conversations (company_id, id, title, created_by)
        VALUES (%(company)s, gen_random_uuid(), %(token)s, %(founder)s) RETURNING id),
    message AS (INSERT INTO workspace.messages (company_id, id, conversation_id, author_kind, person_id, body)
        SELECT %(company)s, gen_random_uuid(), id, 'person', %(founder)s, '/help' FROM conversation
        RETURNING id, conversation_id),
    run AS (INSERT INTO agents.runs (company_id, id, conversation_id, message_id, agent_id, person_id, session_id,
            route, status, failure, finished_at)
        SELECT %(company)s, gen_random_uuid(), conversation_id, id, %(agent)s, %(founder)s, gen_random_uuid(),
            'built-in', 'failed', 'a reason', now() FROM message RETURNING id, conversation_id),
    approval AS (INSERT INTO agents.approvals (company_id, id, run_id, conversation_id, agent_id, requester_id, call_id,
            tool, tool_class, tool_hash, arguments, arguments_sha256, argument_shape, expires_at)
        SELECT %(company)s, gen_random_uuid(), id, conversation_id, %(agent)s, %(founder)s, 'call', 'web_fetch',
            'egress', repeat('0', 64), '{}', repeat('0', 64), '{}', now() + interval '1 day' FROM run
        RETURNING id, conversation_id),
    given AS (INSERT INTO agents.grants (company_id, approval_id, conversation_id, requester_id, tool, tool_hash,
            argument_shape, given_by)
        SELECT %(company)s, id, conversation_id, %(founder)s, 'web_fetch', repeat('0', 64), '{}', %(founder)s
        FROM approval RETURNING id),
    visit AS (INSERT INTO tenancy.staff_access (company_id, person_id, person_name, role, reason, expires_at)
        SELECT %(company)s, id, 'Visitor', 'support', 'Asked for by telephone', now() + interval '1 hour' FROM person
        RETURNING id),
    client AS (INSERT INTO credentials.oauth_clients (company_id, id, provider, issuer, title, client_id, kept_id,
            registered_by)
        VALUES (%(company)s, gen_random_uuid(), 'notion', %(token)s, %(token)s, %(token)s, gen_random_uuid(),
            %(founder)s) RETURNING id),
    connection AS (INSERT INTO credentials.connections (company_id, id, oauth_client_id, person_id)
        SELECT %(company)s, gen_random_uuid(), id, %(founder)s FROM client RETURNING id),
    integration AS (INSERT INTO credentials.integrations (company_id, id, slug, name, kind, base_url, lends, made_by)
        VALUES (%(company)s, gen_random_uuid(), 'x' || left(md5(%(token)s), 30), left(%(token)s, 80), 'mcp_server',
            'https://127.0.0.1:1/x', 'none', %(founder)s) RETURNING id)
SELECT member.person_id, record.id AS record_id, file.id AS file_id,
    artifact.id AS artifact_id, invitation.id AS invitation_id,
    conversation.id AS conversation_id, run.id AS run_id, approval.id AS approval_id, given.id AS grant_id,
    visit.id AS visit_id, client.id AS oauth_client_id, connection.id AS connection_id,
    integration.id AS integration_id
FROM member, record, file, artifact, invitation, conversation, run, approval, given, visit, client, connection,
    integration
"""


def _as_header(text: str) -> str:
    """Return a text as the client's own library takes it for UTF-8 on the wire."""
    return text.encode().decode("latin-1")


_LISTED = {
    "tools": {"tool": "memory_search", "decision": "allow"},
    "routes": {"slug": "matrix", "record_sha256": "0" * 64},
}
"""The rest of what comes in lists, by their names."""


def _put(body: Any, path: tuple[str | int, ...], text: str) -> None:  # noqa: ANN401 - JSON
    """Put a text into a document, making what is missing on the way."""
    for name, following in pairwise(path):
        if isinstance(name, str):
            body[name] = body.get(name) or ([dict(_LISTED[name])] if isinstance(following, int) else {})
        body = body[name]
    body[path[-1]] = text


def _multipart(parts: dict[str, str]) -> bytes:
    # As browsers write file names: quotes in them are escaped, the rest goes out as it is.
    name = parts["filename"].replace("\\", "\\\\").replace('"', "%22")
    lines = [
        f'--part\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{parts[field]}\r\n'
        for field in ("folder", "path")
        if parts[field]
    ]
    file = f'--part\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\nhello\r\n--part--\r\n'
    return ("".join(lines) + file).encode()


def outcome(answer: Answer, method: str) -> object:
    """Return what somebody learns by an answer, without the texts in it: its kind, and how much of what is there."""
    told = _NAMED.sub("…", answer.location.partition("?")[0])
    kind = answer.header("content-type").partition(";")[0]
    if kind.endswith("json") and answer.body:
        return answer.status, told, _skeleton(answer.json)
    if method not in READING:
        # A page that shows what is there shows one more after each change.
        return answer.status, told, kind
    if kind == "text/html":
        return answer.status, told, Counter(_TAG.findall(answer.text))
    return answer.status, told, kind, answer.body.count(b"\n")


def _skeleton(value: Any) -> object:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        # `code` and `status` say what is refused; all other texts and numbers are content.
        entries = cast("dict[str, Any]", value)
        return {name: each if name in {"code", "status"} else _skeleton(each) for name, each in entries.items()}
    if isinstance(value, list):
        return [_skeleton(each) for each in cast("list[Any]", value)]
    return type(value).__name__


def faults(answer: Answer) -> str:
    """Return what of the database shows in an answer that must not; "" for nothing."""
    if answer.status >= 500:
        return f"status {answer.status}"
    found = _SQL.search(answer.text) if "/octet" not in answer.header("content-type") else None
    return found[0] if found else ""
