"""The JSON API from outside: what it does, what it refuses, and how."""

import secrets
from collections.abc import Generator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from operalta.audit.heads import HeadDirectory
from operalta.audit.sealer import Sealer
from operalta.web import cookies
from tests.conftest import Pools, Servers
from tests.web.conftest import House
from tests.web.site import Answer, Site

PASSWORD = "a long sentence nobody would guess"


@pytest.fixture
def owner(servers: Servers) -> Generator[psycopg.Connection[dict[str, Any]]]:
    with servers.as_owner() as connection:
        yield connection


def problem(answer: Answer, status: int) -> dict[str, Any]:
    """What a refusal says, once it has the shape of RFC 9457."""
    assert answer.status == status, answer.body
    assert answer.header("content-type") == "application/problem+json"
    said: dict[str, Any] = answer.json
    assert said["status"] == status
    assert said["request_id"] == answer.header("x-request-id")
    return said


# ── Accounts and sessions ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.proves("7.3.2")
def test_known_and_unknown_addresses_get_the_same_answers(site: Site, house: House) -> None:
    known, unknown = house.members["founder"].email, f"{secrets.token_hex(6)}@people.example"
    for method, path, fields in (
        ("POST", "/auth/sign-up", {"name": "Ada", "password": PASSWORD}),
        ("POST", "/auth/password-reset", {}),
        ("POST", "/auth/sign-in", {"password": PASSWORD}),
    ):
        answers = [site.visitor().api(method, path, {"email": email, **fields}) for email in (known, unknown)]
        bodies = [_without_request_id(answer) for answer in answers]
        assert bodies[0] == bodies[1], path
        headers = [{name for name, _ in answer.headers} for answer in answers]
        assert headers[0] == headers[1], path


def _without_request_id(answer: Answer) -> tuple[int, dict[str, Any]]:
    return answer.status, {name: value for name, value in answer.json.items() if name != "request_id"}


@pytest.mark.proves("2.3.2", "3.3.1")
def test_a_person_signs_up_in_refreshes_and_out(site: Site, owner: psycopg.Connection[dict[str, Any]]) -> None:
    email = f"{secrets.token_hex(6)}@people.example"
    client = site.visitor()
    account = {"email": email, "name": "Ada", "password": PASSWORD}
    assert client.api("POST", "/auth/sign-up", account).status == 202
    problem(client.api("POST", "/auth/sign-in", {"email": email, "password": PASSWORD}), 401)
    assert client.api("POST", "/auth/verify-email", {"token": _sign_up_link(owner, email)}).status == 204
    signed_in = client.api("POST", "/auth/sign-in", {"email": email, "password": PASSWORD})
    assert signed_in.status == 200
    assert signed_in.json.keys() == {"person_id", "session_id", "access_expires_at", "refresh_expires_at"}
    for name, secret in client.jar.items():
        assert name.startswith("__Host-")
        assert secret not in signed_in.text
    set_cookies = [value for name, value in signed_in.headers if name == "set-cookie"]
    assert len(set_cookies) == 3
    for value in set_cookies:
        assert {"Path=/", "Secure", "HttpOnly", "SameSite=Lax"} <= set(value.split("; ")[1:])
    assert client.api("GET", "/me").json["email"] == email
    before = dict(client.jar)
    assert client.api("POST", "/auth/refresh").status == 200
    assert client.jar[cookies.REFRESH] != before[cookies.REFRESH]
    del client.jar[cookies.ACCESS]
    kept = dict(client.jar)
    assert client.api("POST", "/auth/sign-out").status == 204
    assert cookies.REFRESH not in client.jar
    client.jar = kept
    problem(client.api("POST", "/auth/refresh"), 401)


def _sign_up_link(owner: psycopg.Connection[dict[str, Any]], email: str) -> str:
    token = secrets.token_urlsafe(32)
    touched = owner.execute(
        """
        INSERT INTO identity.links (purpose, digest, pending_sign_up_id, expires_at)
        SELECT 'confirm_sign_up', sha256(convert_to(%s, 'UTF8')), id, now() + interval '1 hour'
        FROM identity.pending_sign_ups WHERE email = %s
        """,
        (token, email),
    ).rowcount
    assert touched == 1
    return token


@pytest.mark.parametrize("path", ["/auth/verify-email", "/auth/password-reset/confirm"])
def test_a_link_that_is_not_ours_opens_nothing(site: Site, path: str) -> None:
    body = {"token": secrets.token_urlsafe(32)}
    if path.endswith("confirm"):
        body["password"] = PASSWORD
    problem(site.visitor().api("POST", path, body), 404)


def test_sessions_are_listed_and_ended(house: House) -> None:
    founder = house.founder
    here = founder.api("GET", "/auth/sessions").json["items"]
    present = [each for each in here if each["present"]]
    assert len(present) == 1
    other = next(each for each in here if not each["present"])
    assert founder.api("DELETE", f"/auth/sessions/{other['id']}").status == 204
    problem(founder.api("DELETE", f"/auth/sessions/{other['id']}"), 404)
    problem(house.observer.api("DELETE", f"/auth/sessions/{present[0]['id']}"), 404)
    assert founder.api("DELETE", f"/auth/sessions/{present[0]['id']}").status == 204
    assert cookies.ACCESS not in founder.jar


# ── Companies ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_company_is_founded_and_listed(house: House) -> None:
    made = house.founder.api("POST", "/companies", {"name": "Second venture", "kind": "investor"})
    assert made.status == 201, made.body
    listed = house.founder.api("GET", "/companies").json["items"]
    assert {each["slug"]: each["role"] for each in listed} == {made.json["slug"]: "founder", house.slug: "founder"}
    assert house.founder.api("GET", f"/companies/{made.json['id']}").json["kind"] == "investor"
    problem(house.outsider.api("GET", f"/companies/{made.json['slug']}"), 404)


def test_members_are_listed_in_pages_and_managed(house: House) -> None:
    base = f"/companies/{house.slug}/members"
    seen: list[str] = []
    cursor = ""
    while True:
        read = house.founder.api("GET", f"{base}?limit=2{cursor}").json
        seen += [each["person_id"] for each in read["items"]]
        if read["next_cursor"] is None:
            break
        cursor = f"&cursor={read['next_cursor']}"
    assert len(seen) == len(set(seen)) == 5
    observer = house.members["observer"].person_id
    assert house.founder.api("PUT", f"{base}/{observer}/role", {"role": "advisor"}).status == 204
    problem(house.clients["advisor"].api("DELETE", f"{base}/{observer}"), 403)
    problem(house.observer.api("PUT", f"{base}/{house.members['founder'].person_id}/role", {"role": "observer"}), 403)
    assert house.founder.api("DELETE", f"{base}/{observer}").status == 204
    problem(house.observer.api("GET", f"/companies/{house.slug}"), 404)
    problem(house.founder.api("GET", f"{base}?cursor=nonsense"), 422)


def test_an_invitation_is_sent_revoked_and_accepted_by_its_addressee_alone(
    house: House, site: Site, owner: psycopg.Connection[dict[str, Any]]
) -> None:
    base = f"/companies/{house.slug}/invitations"
    email = f"{secrets.token_hex(6)}@people.example"
    sent = house.founder.api("POST", base, {"email": email, "role": "advisor"})
    assert (sent.status, sent.json["state"]) == (201, "open")
    assert "token" not in sent.text
    problem(house.founder.api("POST", base, {"email": email, "role": "advisor"}), 409)
    assert house.founder.api("POST", f"{base}/{sent.json['id']}/resend").status == 200
    assert house.founder.api("DELETE", f"{base}/{sent.json['id']}").status == 204
    problem(house.founder.api("POST", f"{base}/{sent.json['id']}/resend"), 404)
    assert house.founder.api("GET", base).json["items"][0]["state"] == "revoked"

    again = house.founder.api("POST", base, {"email": email, "role": "observer"}).json
    token = _invitation_link(owner, again["id"])
    problem(house.outsider.api("POST", "/invitations/accept", {"token": token}), 404)
    guest = site.visitor()
    problem(guest.api("POST", "/invitations/accept", {"token": token}), 401)
    joined = guest.api("POST", "/invitations/accept", {"token": token, "name": "Grace", "password": PASSWORD})
    assert (joined.status, joined.json["slug"]) == (200, house.slug)
    assert guest.api("GET", "/me").json["companies"][0]["role"] == "observer"


def _invitation_link(owner: psycopg.Connection[dict[str, Any]], invitation: str) -> str:
    token = secrets.token_urlsafe(32)
    touched = owner.execute(
        """
        INSERT INTO identity.links (purpose, digest, company_id, invitation_id, expires_at)
        SELECT kind, sha256(convert_to(%s, 'UTF8')), company_id, invitation_id, now() + interval '7 days'
        FROM delivery.messages WHERE kind = 'invitation' AND invitation_id = %s LIMIT 1
        """,
        (token, invitation),
    ).rowcount
    assert touched == 1
    return token


# ── Memory, metrics, files ──────────────────────────────────────────────────────────────────────────────


def test_an_entry_is_recorded_found_moved_and_superseded(house: House) -> None:
    base = f"/companies/{house.slug}/memory"
    made = house.founder.api("POST", base, {"kind": "hypothesis", "title": "Teams invite in week one"})
    assert (made.status, made.json["status"]) == (201, "open")
    path = f"{base}/{made.json['id']}"
    assert house.founder.api("POST", f"{path}/status", {"status": "supported", "note": "41 %"}).status == 200
    problem(house.founder.api("POST", f"{path}/status", {"status": "open"}), 409)
    newer = house.founder.api("POST", f"{path}/supersede", {"title": "Teams invite on day two"})
    assert newer.json["supersedes_id"] == made.json["id"]
    whole = house.observer.api("GET", path).json
    assert [line["change"] for line in whole["history"]] == ["recorded", "status changed", "superseded"]
    assert len(house.founder.api("GET", f"{base}?kind=hypothesis&q=invite").json["items"]) == 2
    assert house.founder.api("GET", f"{base}?kind=blocker").json == {"items": [], "next_cursor": None}
    problem(house.observer.api("POST", base, {"kind": "decision", "title": "No"}), 403)
    problem(house.outsider.api("GET", path), 404)


def test_lists_are_read_to_their_end_with_cursors(house: House) -> None:
    base = f"/companies/{house.slug}/memory"
    made = [house.founder.api("POST", base, {"kind": "blocker", "title": f"B {n}"}).json["id"] for n in range(5)]
    first = house.founder.api("GET", f"{base}?limit=3").json
    rest = house.founder.api("GET", f"{base}?limit=3&cursor={first['next_cursor']}").json
    assert [each["id"] for each in (*first["items"], *rest["items"])] == made[::-1]
    assert rest["next_cursor"] is None
    for query in ("limit=0", "limit=101", "cursor=W10", "cursor=%00", "kind=idea"):
        problem(house.founder.api("GET", f"{base}?{query}"), 422)


def test_values_keep_every_digit(house: House) -> None:
    base = f"/companies/{house.slug}/metrics"
    made = house.founder.api("POST", base, {"slug": "cash", "name": "Cash", "unit": "EUR"})
    assert (made.status, made.json["latest_value"]) == (201, None)
    problem(house.founder.api("POST", base, {"slug": "cash", "name": "Cash"}), 409)
    exact = "123456789012345678.654321"
    point = house.founder.api("POST", f"{base}/cash/points", {"on_date": "2026-10-01", "value": exact})
    assert point.json["value"] == exact
    assert house.observer.api("GET", f"{base}/cash").json["latest_value"] == exact
    assert house.founder.api("PATCH", f"{base}/cash", {"source": "bank"}).json["source"] == "bank"
    assert house.founder.api("GET", f"{base}/cash/points").json["items"][0]["on_date"] == "2026-10-01"
    for value in (1.5, "1e5", "1.1234567", "NaN", ""):
        problem(house.founder.api("POST", f"{base}/cash/points", {"on_date": "2026-10-02", "value": value}), 422)
    problem(house.founder.api("GET", f"{base}/none"), 404)


@pytest.mark.proves("3.4.4")
def test_a_file_goes_in_and_comes_out_as_an_attachment(house: House) -> None:
    base = f"/companies/{house.slug}/files"
    sent = house.founder.upload(f"/api/v1{base}", b"page.html", b"<script>1</script>", path="web/page.html")
    assert (sent.status, sent.json["path"]) == (201, "web/page.html"), sent.body
    path = f"{base}/{sent.json['id']}"
    taken = house.founder.api("GET", f"{path}/download")
    assert (taken.body, taken.header("content-type")) == (b"<script>1</script>", "application/octet-stream")
    assert taken.header("content-disposition").startswith("attachment;")
    assert [each["path"] for each in house.founder.api("GET", f"{base}?folder=web").json["items"]] == ["web/page.html"]
    assert len(house.founder.api("GET", path).json["versions"]) == 1
    problem(house.founder.upload(f"/api/v1{base}", b"../x", b"1"), 422)
    problem(house.observer.upload(f"/api/v1{base}", b"x", b"1"), 403)
    problem(house.founder.api("POST", base, {"file": "x"}), 422)
    headers = {"Content-Length": str(100 * 1024 * 1024), "Content-Type": "multipart/form-data; boundary=x"}
    problem(house.founder.request("POST", f"/api/v1{base}", b"--x\r\n", headers), 413)
    assert house.founder.api("DELETE", path).status == 204
    problem(house.founder.api("GET", f"{path}/download"), 404)


# ── Audit and trust ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.proves("2.5.5")
async def test_a_sealed_log_is_whole_until_somebody_changes_it(
    house: House, site: Site, pools: Pools, owner: psycopg.Connection[dict[str, Any]], tmp_path: Path
) -> None:
    owner.execute("TRUNCATE audit.events, audit.leaves, audit.nodes, audit.heads")
    base = f"/companies/{house.slug}"
    for number in range(3):
        house.founder.api("POST", f"{base}/memory", {"kind": "decision", "title": f"Decision {number}"})
    sealer = Sealer(pools.job, site.services.audit_keys.current, HeadDirectory(tmp_path / "heads"))
    while await sealer.seal_once():
        pass
    assert house.founder.api("POST", f"{base}/audit/verify", {}).json["verdict"] == "whole"
    assert house.founder.post(f"/c/{house.slug}/audit/verify").location.endswith("notice=log-whole")
    assert "Intact" in house.founder.get(f"/c/{house.slug}/audit").text
    owner.execute("UPDATE audit.events SET target_id = 'another' WHERE company_number = 2")
    report = house.founder.api("POST", f"{base}/audit/verify", {}).json
    assert report["verdict"] == "tampered"
    assert report["findings"][0]["kind"] == "edited event"
    assert "Tampered" in house.founder.post(f"/c/{house.slug}/audit/verify").text
    owner.execute("TRUNCATE audit.events, audit.leaves, audit.nodes, audit.heads")


def test_the_log_is_read_in_pages_and_filtered(house: House) -> None:
    base = f"/companies/{house.slug}"
    for number in range(3):
        house.founder.api("POST", f"{base}/memory", {"kind": "decision", "title": f"Decision {number}"})
    first = house.founder.api("GET", f"{base}/audit?limit=2&action=memory.").json
    rest = house.founder.api("GET", f"{base}/audit?limit=2&action=memory.&cursor={first['next_cursor']}").json
    assert [len(first["items"]), len(rest["items"]), rest["next_cursor"]] == [2, 1, None]
    assert house.founder.api("GET", f"{base}/audit?since=2999-01-01T00:00:00Z").json["items"] == []
    for query in ("q=shape:round", "cursor=x", "since=soon", "outcome=odd", "since=2026-01-01T00:00:00"):
        problem(house.founder.api("GET", f"{base}/audit?{query}"), 422)
    problem(house.observer.api("GET", f"{base}/audit"), 403)


def test_everybody_may_read_every_verdict(site: Site) -> None:
    said = site.visitor().api("GET", "/trust").json
    assert said["total"] == len(said["clauses"]) == 119
    one = site.visitor().api("GET", "/trust/2.5.3").json
    assert "operalta/web/entry.py" in {each["file"] for each in one["code"]}
    assert one["parts"]
    problem(site.visitor().api("GET", "/trust/9.9.9"), 404)


# ── What all of it has in common ────────────────────────────────────────────────────────────────────────


@pytest.mark.proves("3.4.1")
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/auth/sign-in", {"email": "a@b.example", "password": "x", "remember": True}),
        ("POST", "/auth/sign-up", {"email": "a@b.example", "name": "A", "password": PASSWORD, "is_operator": True}),
        ("POST", "/companies", {"name": "A", "kind": "startup", "founded_by": "me"}),
        ("POST", "/companies/{slug}/memory", {"kind": "decision", "title": "T", "recorded_by": "me"}),
        ("POST", "/companies/{slug}/metrics", {"slug": "a", "name": "A", "id": "1"}),
        ("POST", "/companies/{slug}/invitations", {"email": "a@b.example", "role": "observer", "company": "x"}),
        ("POST", "/companies/{slug}/audit/verify", {"skip": True}),
    ],
)
def test_unknown_fields_are_refused(house: House, method: str, path: str, body: dict[str, object]) -> None:
    said = problem(house.founder.api(method, path.replace("{slug}", house.slug), body), 422)
    assert any("Extra inputs" in fault["text"] for fault in said["errors"])


@pytest.mark.proves("3.4.1")
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"{" * 5_000, b'{"title": "\\ud800", "kind": "decision"}',
     b'{"title": "a\\u0000b", "kind": "decision"}', b'{"title": 1e999, "kind": "decision"}'],
)  # fmt: skip
def test_bodies_that_are_none_are_refused_calmly(house: House, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = house.founder.request("POST", f"/api/v1/companies/{house.slug}/memory", body, headers)
    assert answer.status in {400, 422}, answer.body
    assert answer.header("content-type") == "application/problem+json"


def test_another_sites_request_is_refused(house: House) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        sent = {"Content-Type": "application/json", **headers}
        problem(house.founder.request("POST", "/api/v1/companies", b'{"name": "A"}', sent), 403)
    plain = {"Content-Type": "text/plain"}
    problem(house.founder.request("POST", "/api/v1/companies", b'{"name": "A"}', plain), 422)


def test_answers_carry_their_headers(house: House) -> None:
    answer = house.founder.api("GET", "/me")
    assert answer.header("cache-control") == "no-store"
    assert answer.header("x-content-type-options") == "nosniff"
    assert answer.header("ratelimit-policy")
    assert answer.header("x-request-id")
