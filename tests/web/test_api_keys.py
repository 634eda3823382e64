"""API keys, as programs and people meet them: made, used, narrowed, rotated, revoked, and ended with a membership."""

import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest

from operalta.vault.api_keys.rules import new_key_text
from tests.conftest import Servers, World
from tests.web.conftest import House
from tests.web.site import Answer, Client, Site

EVERYTHING = ["company:read", "members:read", "memory:read", "memory:write", "metrics:read", "files:read", "agents:run"]


@dataclass
class Office:
    """The house with what it takes to hand out keys."""

    site: Site
    house: House
    owner: psycopg.Connection[dict[str, Any]]

    @property
    def inside(self) -> str:
        return f"/companies/{self.house.slug}"

    def make(self, role: str = "founder", **body: object) -> tuple[UUID, Client]:
        client = self.house.clients[role]
        answer = client.api("POST", f"{self.inside}/api-keys", {"name": "Import", "scopes": EVERYTHING, **body})
        assert answer.status == 201, answer.text
        return UUID(answer.json["id"]), self.site.program(answer.json["api_key"])

    def only(self, key: UUID, client: Client | None = None) -> dict[str, Any]:
        listed = (client or self.house.founder).api("GET", f"{self.inside}/api-keys").json["items"]
        return next(each for each in listed if each["id"] == str(key))

    def end_membership(self, role: str) -> None:
        member = self.house.members[role]
        self.owner.execute(
            "UPDATE tenancy.memberships SET ended_at = now() WHERE company_id = %s AND person_id = %s",
            (member.company_id, member.person_id),
        )

    def give_role(self, role: str, now: str) -> None:
        member = self.house.members[role]
        self.owner.execute(
            "UPDATE tenancy.memberships SET role = %s WHERE company_id = %s AND person_id = %s",
            (now, member.company_id, member.person_id),
        )


@pytest.fixture
def office(site: Site, house: House, servers: Servers) -> Generator[Office]:
    with servers.as_owner() as owner:
        yield Office(site, house, owner)


@pytest.mark.proves("1.3.1", "1.3.2", "7.2.2")
def test_a_key_is_shown_once_and_opens_what_its_scopes_say(office: Office) -> None:
    key, program = office.make(scopes=["memory:read", "company:read"])
    assert program.api("GET", office.inside).status == 200
    assert program.api("GET", f"{office.inside}/memory").status == 200
    for closed in ("members", "files", "metrics", "approvals", "audit", "conversations"):
        refused = program.api("GET", f"{office.inside}/{closed}")
        assert refused.status == 403, closed
        assert "scope" in refused.json["detail"]
    assert program.api("POST", f"{office.inside}/memory", {"kind": "decision", "title": "Mine"}).status == 403
    found = office.only(key)
    assert found["shown"] == program.api_key[:15]
    assert program.api_key not in office.house.founder.api("GET", f"{office.inside}/api-keys").text
    assert program.api_key not in office.house.founder.get(f"/c/{office.house.slug}/api-keys").text
    stored = office.owner.execute("SELECT * FROM credentials.api_keys WHERE id = %s", (key,)).fetchone()
    assert program.api_key not in str(stored)
    assert program.api_key[15:] not in str(stored)


@pytest.mark.proves("1.3.1")
def test_keys_are_made_and_managed_by_people_alone(office: Office) -> None:
    key, program = office.make()
    assert program.api("POST", f"{office.inside}/api-keys", {"name": "x", "scopes": ["memory:read"]}).status == 403
    assert program.api("GET", f"{office.inside}/api-keys").status == 403
    assert program.api("POST", f"{office.inside}/api-keys/{key}/rotate", {}).status == 403
    assert program.api("DELETE", f"{office.inside}/api-keys/{key}").status == 403
    assert program.api("DELETE", f"{office.inside}/members/{office.house.members['founder'].person_id}").status == 403
    for outside in ("/me", "/companies", "/auth/sessions", "/auth/factors"):
        assert program.api("GET", outside).status == 401, outside
    assert office.site.visitor().api("POST", f"{office.inside}/api-keys", {"name": "x", "scopes": []}).status == 401
    assert program.api("GET", office.inside).status == 200


@pytest.mark.proves("1.3.1")
def test_making_and_rotating_ask_for_a_recent_proof(office: Office) -> None:
    key, _ = office.make()
    office.owner.execute(
        "UPDATE identity.sessions SET password_at = now() - interval '1 hour', second_factor_at = NULL,"
        " created_at = now() - interval '1 hour' WHERE person_id = %s",
        (office.house.members["founder"].person_id,),
    )
    asked = office.house.founder.api("POST", f"{office.inside}/api-keys", {"name": "x", "scopes": ["memory:read"]})
    assert (asked.status, asked.json["code"]) == (403, "not_proved")
    rotated = office.house.founder.api("POST", f"{office.inside}/api-keys/{key}/rotate", {"overlap_hours": 1})
    assert (rotated.status, rotated.json["code"]) == (403, "not_proved")
    assert office.house.founder.api("DELETE", f"{office.inside}/api-keys/{key}").status == 204


@pytest.mark.proves("1.3.4", "2.5.0")
def test_a_key_holds_no_more_than_its_holders_role_at_the_moment(office: Office) -> None:
    key, program = office.make("advisor")
    entry = {"kind": "decision", "title": "Ship on Friday"}
    assert program.api("POST", f"{office.inside}/memory", entry).status == 201
    office.give_role("advisor", "observer")
    assert program.api("POST", f"{office.inside}/memory", entry).status == 403
    assert program.api("GET", f"{office.inside}/memory").status == 200
    assert set(office.only(key)["role_lacks"]) == {
        "memory:write",
        "members:read",
        "files:read",
        "agents:read",
        "agents:run",
        "approvals:read",
    }
    assert (
        '<code class="struck">memory:write</code>' in office.house.founder.get(f"/c/{office.house.slug}/api-keys").text
    )
    office.give_role("advisor", "advisor")
    assert program.api("POST", f"{office.inside}/memory", entry).status == 201


@pytest.mark.proves("1.3.1")
def test_nobody_makes_a_key_above_themselves(office: Office) -> None:
    body = {"name": "x", "scopes": ["metrics:write"]}
    assert office.house.clients["advisor"].api("POST", f"{office.inside}/api-keys", body).status == 422
    company = {"name": "x", "scopes": ["memory:read"], "kind": "company"}
    assert office.house.clients["advisor"].api("POST", f"{office.inside}/api-keys", company).status == 403
    assert office.house.observer.api("POST", f"{office.inside}/api-keys", company).status == 403
    assert office.house.outsider.api("POST", f"{office.inside}/api-keys", body).status == 404


@pytest.mark.proves("1.3.4")
def test_a_rotated_key_overlaps_for_as_long_as_was_said(office: Office) -> None:
    key, old = office.make()
    turned = office.house.founder.api("POST", f"{office.inside}/api-keys/{key}/rotate", {"overlap_hours": 2})
    new = office.site.program(turned.json["api_key"])
    assert old.api("GET", office.inside).status == new.api("GET", office.inside).status == 200
    office.owner.execute("UPDATE credentials.api_keys SET previous_expires_at = now() WHERE id = %s", (key,))
    assert (old.api("GET", office.inside).status, new.api("GET", office.inside).status) == (401, 200)
    last = office.house.founder.api("POST", f"{office.inside}/api-keys/{key}/rotate", {})
    assert new.api("GET", office.inside).status == 401
    assert office.site.program(last.json["api_key"]).api("GET", office.inside).status == 200


@pytest.mark.proves("1.3.4")
def test_a_revoked_key_is_refused_at_the_next_request(office: Office) -> None:
    key, program = office.make()
    assert program.api("GET", office.inside).status == 200
    assert office.house.founder.api("DELETE", f"{office.inside}/api-keys/{key}").status == 204
    refused = program.api("GET", office.inside)
    assert (refused.status, refused.json["code"]) == (401, "key_refused")
    assert office.house.founder.api("DELETE", f"{office.inside}/api-keys/{key}").status == 404
    assert office.only(key)["state"] == "revoked"


@pytest.mark.proves("1.3.4")
def test_an_expired_key_and_one_from_elsewhere_are_refused(office: Office) -> None:
    key, program = office.make(addresses=["198.51.100.0/24"])
    assert program.api("GET", office.inside).status == 401
    office.owner.execute("UPDATE credentials.api_keys SET addresses = '{127.0.0.0/8}' WHERE id = %s", (key,))
    assert program.api("GET", office.inside).status == 200
    office.owner.execute("UPDATE credentials.api_keys SET expires_at = now() WHERE id = %s", (key,))
    assert program.api("GET", office.inside).status == 401


@pytest.mark.proves("1.3.1")
def test_a_key_is_of_one_company_and_knows_of_no_other(office: Office, world: World) -> None:
    _, program = office.make()
    other = world.company()
    person = office.house.members["founder"].person_id
    office.owner.execute(
        "INSERT INTO tenancy.memberships (company_id, person_id, role) VALUES (%s, %s, 'founder')", (other[0], person)
    )
    absent = program.api("GET", "/companies/there-is-none")
    foreign = program.api("GET", f"/companies/{other[1]}")
    assert absent.status == foreign.status == 404
    assert absent.json["detail"] == foreign.json["detail"]


@pytest.mark.proves("1.3.1")
@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic {}",
        "bearer {}x",
        "{}",
        "Bearer op_",
        "Bearer {} {}",
        "Bearer\t{}",
        "Bearer {}\u00a0",
    ],
)
def test_a_header_that_is_no_key_is_refused_though_a_cookie_would_do(office: Office, header: str) -> None:
    _, program = office.make()
    headers = {"Authorization": header.format(program.api_key, program.api_key)}
    assert office.house.founder.get(f"/api/v1{office.inside}", headers).status == 401


@pytest.mark.proves("1.3.1")
def test_a_key_never_adds_to_a_session_nor_the_other_way_round(office: Office) -> None:
    _, program = office.make(scopes=["company:read"])
    both = {"Authorization": f"Bearer {program.api_key}"}
    assert office.house.founder.get(f"/api/v1{office.inside}/memory", both).status == 403
    unknown = {"Authorization": f"Bearer {new_key_text()}"}
    assert office.house.founder.get(f"/api/v1{office.inside}", unknown).status == 401
    assert office.site.visitor().get(f"/c/{office.house.slug}/memory", both).status == 303


@pytest.mark.proves("1.3.4")
def test_with_a_membership_its_keys_end_and_stay_ended(office: Office) -> None:
    personal, mine = office.make("advisor")
    office.give_role("advisor", "founder")
    company, programs = office.make("advisor", kind="company")
    assert mine.api("GET", office.inside).status == programs.api("GET", office.inside).status == 200
    office.end_membership("advisor")
    assert mine.api("GET", office.inside).status == programs.api("GET", office.inside).status == 401
    assert (office.only(personal)["state"], office.only(company)["state"]) == ("revoked", "without_holder")
    office.owner.execute(
        "UPDATE tenancy.memberships SET ended_at = NULL WHERE person_id = %s",
        (office.house.members["advisor"].person_id,),
    )
    assert mine.api("GET", office.inside).status == programs.api("GET", office.inside).status == 401
    turned = office.house.founder.api("POST", f"{office.inside}/api-keys/{company}/rotate", {"overlap_hours": 24})
    assert programs.api("GET", office.inside).status == 401
    assert office.site.program(turned.json["api_key"]).api("GET", office.inside).status == 200
    assert office.only(company)["holder_id"] == str(office.house.members["founder"].person_id)


@pytest.mark.proves("1.3.4")
def test_a_secret_that_overlaps_ends_with_whoever_saw_it(office: Office) -> None:
    office.give_role("advisor", "founder")
    company, old = office.make("advisor", kind="company")
    turned = office.house.founder.api("POST", f"{office.inside}/api-keys/{company}/rotate", {"overlap_hours": 24})
    new = office.site.program(turned.json["api_key"])
    assert old.api("GET", office.inside).status == new.api("GET", office.inside).status == 200
    office.end_membership("advisor")
    assert (old.api("GET", office.inside).status, new.api("GET", office.inside).status) == (401, 200)


@pytest.mark.proves("1.3.1", "5.1.1")
def test_a_company_key_sees_nothing_private_and_says_so(office: Office) -> None:
    private = office.house.founder.api("POST", f"{office.inside}/conversations", {"title": "Salaries"}).json["id"]
    _, program = office.make(kind="company")
    _, own = office.make()
    assert program.api("GET", f"{office.inside}/conversations/{private}").status == 404
    assert own.api("GET", f"{office.inside}/conversations/{private}").status == 200
    refused = program.api("POST", f"{office.inside}/conversations", {"title": "Mine"})
    assert (refused.status, refused.json["errors"][0]["field"]) == (422, "private")
    made = program.api("POST", f"{office.inside}/conversations", {"title": "Ours", "private": False})
    assert made.status == 201


@pytest.mark.proves("1.3.1", "2.5.5")
def test_what_a_key_does_is_in_the_log_with_the_key(office: Office) -> None:
    key, program = office.make()
    assert program.api("POST", f"{office.inside}/memory", {"kind": "decision", "title": "By key"}).status == 201
    events = office.house.founder.api("GET", f"{office.inside}/audit?limit=100").json["items"]
    (written,) = [each for each in events if each["action"] == "memory.recorded"]
    assert (written["actor_kind"], written["detail"]["api_key"]) == ("key", str(key))
    (made,) = [each for each in events if each["action"] == "credential.created"]
    assert program.api_key not in str(made)
    assert made["detail"]["shown"] == program.api_key[:15]


def test_when_and_from_where_a_key_was_used_or_refused_is_shown(office: Office) -> None:
    key, program = office.make()
    assert office.only(key)["last_used_at"] is None
    assert program.api("GET", f"{office.inside}/audit").status == 403
    found = office.only(key)
    assert found["last_used_at"] is not None
    assert found["last_used_from"] == "127.0.0.1"
    refused, elsewhere = office.make(addresses=["198.51.100.7"])
    assert elsewhere.api("GET", office.inside).status == 401
    assert office.only(refused)["refused_at"] is not None


def test_keys_are_counted_apart_from_people_and_from_each_other(office: Office) -> None:
    _, one = office.make()
    _, other = office.make()
    first = one.api("GET", office.inside)
    assert first.header("ratelimit") != ""
    for _ in range(5):
        one.api("GET", office.inside)
    assert other.api("GET", office.inside).header("ratelimit") == first.header("ratelimit")


def test_there_are_no_more_keys_than_can_be_looked_after(office: Office) -> None:
    founder = office.house.members["founder"]
    for _ in range(19):
        office.owner.execute(
            "INSERT INTO credentials.api_keys (company_id, kind, name, scopes, holder_id, shown, created_by,"
            " expires_at) VALUES (%s, 'personal', 'x', '{memory:read}', %s, 'op_' || repeat('x', 12), %s,"
            " now() + interval '1 day')",
            (founder.company_id, founder.person_id, founder.person_id),
        )
    body = {"name": "x", "scopes": ["memory:read"]}
    answers: list[int] = []

    def ask() -> None:
        answers.append(office.house.founder.api("POST", f"{office.inside}/api-keys", body).status)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [201, 409, 409, 409]


@pytest.mark.proves("1.3.4")
def test_a_stream_that_a_key_follows_ends_with_the_key(office: Office) -> None:
    key, program = office.make()
    talk = program.api("POST", f"{office.inside}/conversations", {"title": "By key"}).json["id"]
    taken = program.api("POST", f"{office.inside}/conversations/{talk}/messages", {"text": "/help"})
    assert taken.status == 202, taken.text
    came: list[Answer] = []
    path = taken.json["events_url"].removeprefix("/api/v1")
    following = threading.Thread(target=lambda: came.append(program.api("GET", path)))
    following.start()
    time.sleep(0.5)
    assert following.is_alive()
    assert office.house.founder.api("DELETE", f"{office.inside}/api-keys/{key}").status == 204
    following.join(10)
    assert "run_failed" in came[0].text


def test_the_pages_make_rotate_and_revoke(office: Office) -> None:
    base = f"/c/{office.house.slug}/api-keys"
    founder = office.house.founder
    shown = founder.post(base, name="Import", kind="company", days="30", scopes="memory:read", addresses="127.0.0.1")
    assert shown.status == 200
    text = shown.text.partition('<code id="api-key">')[2].partition("</code>")[0]
    program = office.site.program(text)
    assert program.api("GET", f"{office.inside}/memory").status == 200
    key = founder.api("GET", f"{office.inside}/api-keys").json["items"][0]
    assert key["addresses"] == ["127.0.0.1/32"]
    listed = founder.get(base).text
    assert text[:15] in listed
    assert text not in listed
    turned = founder.post(f"{base}/{key['id']}/rotate", overlap="0")
    assert text not in turned.text
    assert founder.post(f"{base}/{key['id']}/revoke", typed="op_wrong").status == 409
    now_shown = founder.api("GET", f"{office.inside}/api-keys").json["items"][0]["shown"]
    assert founder.post(f"{base}/{key['id']}/revoke", typed=now_shown).status == 303
    assert founder.post(base, name="", kind="personal", days="30", scopes="memory:read").status == 422
    assert founder.post(base, name="x", kind="personal", days="4000", scopes="memory:read").status == 422
    assert founder.post(base, name="x", kind="personal", days="30").status == 422
    assert office.house.observer.get(base).status == 403
