"""Agents over the JSON API: a message makes a run, a run is followed, a question is answered."""

import asyncio
import json
from typing import Any

import pytest

from operalta.guard import rules
from operalta.sandbox.shell.state import ShellState, write_state
from tests.agents.conftest import Desk
from tests.web.conftest import House
from tests.web.site import Answer, Client, Site

FORM = {"Content-Type": "application/json"}


def base(house: House) -> str:
    return f"/companies/{house.slug}"


def conversation(house: House, *, private: bool = True) -> str:
    made = house.founder.api("POST", f"{base(house)}/conversations", {"title": "Plans", "private": private})
    assert made.status == 201, made.text
    return made.json["id"]


def say(house: House, text: str, *, private: bool = True) -> dict[str, Any]:
    path = f"{base(house)}/conversations/{conversation(house, private=private)}/messages"
    taken = house.founder.api("POST", path, {"text": text})
    assert taken.status == 202, taken.text
    return taken.json


async def worked(desk: Desk, house: House, text: str, *, private: bool = True) -> dict[str, Any]:
    taken = await asyncio.to_thread(say, house, text, private=private)
    await desk.work(taken["run"]["id"])
    return taken


async def call(client: Client, method: str, path: str, content: object = None) -> Answer:
    return await asyncio.to_thread(client.api, method, path, content)


def steps(stream: Answer) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    for block in stream.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


@pytest.mark.proves("5.0.1", "5.1.3")
async def test_a_message_becomes_a_run_that_can_be_followed(desk: Desk, house: House) -> None:
    taken = await worked(desk, house, "/decide Yearly billing | Fewer invoices.")
    run = taken["run"]
    assert (run["status"], taken["created"]) == ("queued", True)
    after = await call(house.founder, "GET", f"{base(house)}/runs/{run['id']}")
    assert (after.json["status"], after.json["failure"]) == ("finished", None)
    stream = await asyncio.to_thread(house.founder.get, taken["events_url"])
    assert stream.header("content-type").startswith("text/event-stream")
    told = steps(stream)
    assert [kind for kind, _ in told][-1] == "run_finished"
    answer = next(event for kind, event in told if kind == "answer")
    (cited,) = answer["body"]["citations"]
    assert cited["label"] == "Yearly billing"
    assert (await asyncio.to_thread(house.founder.get, cited["href"])).status == 200
    again = await asyncio.to_thread(house.founder.get, taken["events_url"], {"Last-Event-ID": str(answer["sequence"])})
    assert [kind for kind, _ in steps(again)] == ["run_finished"]
    said = await call(house.founder, "GET", f"{base(house)}/conversations/{run['conversation_id']}/messages")
    assert [each["author"] for each in said.json["items"]] == ["person", "agent"]


async def test_an_answer_names_its_sources_on_the_page(desk: Desk, house: House) -> None:
    await worked(desk, house, "/decide Yearly billing | Because invoices are a burden.")
    taken = await worked(desk, house, "Why did we choose yearly billing?")
    page = await asyncio.to_thread(house.founder.get, f"/c/{house.slug}/chat/{taken['run']['conversation_id']}")
    assert '<ul class="citations"' in page.text
    assert f'href="/c/{house.slug}/memory/' in page.text


def test_a_message_sent_twice_makes_one_run(house: House) -> None:
    path = f"/api/v1{base(house)}/conversations/{conversation(house)}/messages"
    sent = json.dumps({"text": "/help"}).encode()
    first, again = (
        house.founder.request("POST", path, sent, {**FORM, "Idempotency-Key": "key-12345678"}).json for _ in range(2)
    )
    assert (first["created"], again["created"]) == (True, False)
    assert first["run"]["id"] == again["run"]["id"]
    other = json.dumps({"text": "/list"}).encode()
    assert house.founder.request("POST", path, other, {**FORM, "Idempotency-Key": "key-12345678"}).status == 409
    assert house.founder.request("POST", path, sent, {**FORM, "Idempotency-Key": "short"}).status == 422


@pytest.mark.proves("3.1.1")
def test_chat_is_limited_to_forty_messages_a_minute(house: House) -> None:
    path = f"{base(house)}/conversations/{conversation(house)}/messages"
    answer = house.founder.api("POST", path, {"text": "/help"})
    found = [answer.status]
    while answer.status != 429:
        answer = house.founder.api("POST", path, {"text": "/help"})
        found.append(answer.status)
        assert len(found) <= 2 * rules.CHAT_REQUESTS_PER_PERSON
        assert answer.status in {202, 429, 503}  # 503: the store was too busy to count, so nothing was let through
    assert found.count(202) <= rules.CHAT_REQUESTS_PER_PERSON <= found.count(202) + found.count(503)
    assert int(answer.header("retry-after")) > 0


@pytest.mark.proves("5.5.1")
async def test_a_question_is_seen_in_full_and_answered_once(desk: Desk, house: House) -> None:
    taken = await worked(desk, house, "write the file plan.md with We sell by the year.")
    listed = (await call(house.founder, "GET", f"{base(house)}/approvals")).json["items"]
    (question,) = listed
    assert question["arguments"] == {"path": "notes/plan.md", "content": "We sell by the year."}
    assert (question["before"], question["after"], question["decision"]) == ("", "We sell by the year.", None)
    assert question["may_be_granted_for_conversation"] is True
    path = f"{base(house)}/approvals/{question['id']}"
    assert (await call(house.founder, "GET", path)).json == question
    assert (await call(house.founder, "POST", f"{path}/decision", {"decision": "always"})).status == 422
    assert (await call(house.founder, "POST", f"{path}/decision", {"decision": "conversation"})).status == 200
    assert (await call(house.founder, "POST", f"{path}/decision", {"decision": "once"})).status == 409
    await desk.work(taken["run"]["id"])
    assert desk.status(taken["run"]["id"]) == "finished"
    assert (await call(house.founder, "GET", f"{base(house)}/approvals")).json["items"] == []
    decided = (await call(house.founder, "GET", f"{base(house)}/approvals?state=decided")).json["items"]
    assert [each["decision"] for each in decided] == ["conversation"]
    (grant,) = (await call(house.founder, "GET", f"{base(house)}/approvals/grants")).json["items"]
    grant_path = f"{base(house)}/approvals/grants/{grant['id']}"
    assert (await call(house.founder, "DELETE", grant_path)).status == 204
    assert (await call(house.founder, "DELETE", grant_path)).status == 404


async def test_a_run_is_stopped(desk: Desk, house: House) -> None:
    taken = await worked(desk, house, "write the file plan.md with hello")
    stopped = await call(house.founder, "POST", f"{base(house)}/runs/{taken['run']['id']}/stop")
    assert stopped.status == 202
    await desk.work(taken["run"]["id"])
    told = steps(await asyncio.to_thread(house.founder.get, taken["events_url"]))
    assert told[-1][0] == "run_stopped"
    assert desk.rows("SELECT FROM workspace.files WHERE run_id = %s", taken["run"]["id"]) == []


async def test_the_stream_of_a_run_that_was_given_up_tells_its_end(desk: Desk, house: House) -> None:
    taken = await asyncio.to_thread(say, house, "/help")
    desk.rows("UPDATE agents.runs SET status = 'failed', failure = 'Given up.' WHERE id = %s", taken["run"]["id"])
    stream = await asyncio.to_thread(house.founder.get, taken["events_url"])
    assert [(kind, event["body"]) for kind, event in steps(stream)] == [("run_failed", {"text": "Given up."})]


@pytest.mark.proves("5.0.1", "2.4.1")
async def test_private_work_does_not_exist_for_others(desk: Desk, house: House) -> None:
    taken = await worked(desk, house, "write the file plan.md with hello")
    run, talk = taken["run"]["id"], taken["run"]["conversation_id"]
    question = desk.question(run)["id"]
    for who in (house.clients["advisor"], house.clients["investor"], house.outsider):
        for method, path, content in (
            ("GET", f"runs/{run}", None),
            ("GET", f"runs/{run}/events", None),
            ("POST", f"runs/{run}/stop", None),
            ("GET", f"conversations/{talk}", None),
            ("GET", f"conversations/{talk}/messages", None),
            ("POST", f"conversations/{talk}/messages", {"text": "Hello"}),
            ("GET", f"approvals/{question}", None),
        ):
            assert (await call(who, method, f"{base(house)}/{path}", content)).status == 404, (method, path)
    refused = await call(
        house.clients["advisor"], "POST", f"{base(house)}/approvals/{question}/decision", {"decision": "once"}
    )
    assert refused.status == 404
    assert desk.question(run)["decision"] is None


async def test_the_role_decides_who_answers(desk: Desk, house: House) -> None:
    taken = await worked(desk, house, "write the file plan.md with hello", private=False)
    path = f"{base(house)}/approvals/{desk.question(taken['run']['id'])['id']}"
    assert (await call(house.clients["investor"], "GET", path)).status == 200
    refused = await call(house.clients["investor"], "POST", f"{path}/decision", {"decision": "once"})
    assert refused.status == 403
    assert (await call(house.observer, "GET", path)).status == 403
    assert (await call(house.clients["advisor"], "POST", f"{path}/decision", {"decision": "denied"})).status == 200


def test_agents_and_tools_are_listed_and_changed(house: House, site: Site) -> None:
    (agent,) = house.founder.api("GET", f"{base(house)}/agents").json["items"]
    path = f"{base(house)}/agents/{agent['id']}"
    assert house.founder.api("GET", path).json == agent
    setting = [{"tool": "memory_search", "decision": "allow"}, {"tool": "web_fetch", "decision": "ask"}]
    changed = house.founder.api("PATCH", path, {"name": "Aide", "tools": setting})
    assert changed.json["name"] == "Aide"
    assert changed.json["purpose"] == agent["purpose"]
    assert changed.json["tools"] == {"memory_search": "allow", "web_fetch": "ask"}
    unknown = house.founder.api("PATCH", path, {"tools": [{"tool": "sudo", "decision": "allow"}]})
    assert (unknown.status, unknown.json["errors"][0]["field"]) == (422, "tools")
    assert house.clients["advisor"].api("PATCH", path, {"name": "Mine"}).status == 403
    assert house.observer.api("GET", path).status == 403
    state_file = site.services.settings.shell_state_file
    write_state(state_file, ShellState(available=False, reason="Commands cannot be run: it did not hold."))
    tools = {tool["name"]: tool for tool in house.founder.api("GET", f"{base(house)}/tools").json["items"]}
    assert tools["shell_run"]["always_asks"] is True
    assert tools["shell_run"]["absent_because"] == "Commands cannot be run: it did not hold."
    write_state(state_file, ShellState(available=True, reason=""))
    tools = {tool["name"]: tool for tool in house.founder.api("GET", f"{base(house)}/tools").json["items"]}
    assert tools["shell_run"]["absent_because"] is None
    assert tools["memory_record"]["absent_because"] is None
    assert tools["memory_record"]["arguments"]["additionalProperties"] is False


def test_conversations_are_listed_searched_and_private(house: House) -> None:
    mine = conversation(house)
    shared = conversation(house, private=False)
    listed = house.founder.api("GET", f"{base(house)}/conversations?limit=1").json
    rest = house.founder.api("GET", f"{base(house)}/conversations?cursor={listed['next_cursor']}").json
    assert {each["id"] for each in (*listed["items"], *rest["items"])} == {mine, shared}
    assert house.founder.api("GET", f"{base(house)}/conversations?q=nothing").json["items"] == []
    seen = house.clients["advisor"].api("GET", f"{base(house)}/conversations").json["items"]
    assert [each["id"] for each in seen] == [shared]
    assert house.observer.api("GET", f"{base(house)}/conversations").status == 403
