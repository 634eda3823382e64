"""Schedules, runs that wait, and runs that go on, as browsers and programs meet them."""

import asyncio
import re
from collections.abc import Mapping

import pytest

from operalta.agents.rules import RunLimits
from tests.agents.conftest import Desk
from tests.web.conftest import House
from tests.web.site import Answer, Client
from tests.web.test_agents_api import FORM, base, call, say, steps

UPDATE = {
    "title": "Investor update",
    "prompt": "/help",
    "rhythm": "weekly",
    "weekdays": ["monday"],
    "at": "08:00",
    "zone": "Europe/Zurich",
}


def agent_of(house: House) -> str:
    return house.founder.api("GET", f"{base(house)}/agents").json["items"][0]["id"]


def fields(house: House, **changes: object) -> dict[str, object]:
    return UPDATE | {"agent_id": agent_of(house), "weekdays": "monday", "private": "yes", **changes}


@pytest.mark.proves("5.0.1")
def test_a_schedule_is_made_looked_at_paused_resumed_run_and_removed_by_forms(house: House) -> None:
    pages = f"/c/{house.slug}/schedules"
    assert "Nothing is scheduled yet" in house.founder.get(pages).text
    made = house.founder.post(pages, **fields(house))
    assert made.status == 303, made.text
    here = made.location.partition("?")[0]
    shown = house.founder.get(here).text
    assert "Every Monday at 08:00 (Europe/Zurich)." in shown
    assert len(re.findall(r"Monday, \d{1,2} \w+ \d{4}, 08:00", shown)) == 3
    assert 'value="monday" id="field-weekdays" checked' in shown
    listed = house.founder.get(pages).text
    assert (here in listed, "next Monday" in listed) == (True, True)
    changed = house.founder.post(here, **fields(house, rhythm="monthly", month_day="31", title="Board pack"))
    assert changed.status == 303, changed.text
    assert "Every month on day 31 at 08:00 (Europe/Zurich)." in house.founder.get(here).text
    assert house.founder.post(f"{here}/pause").status == 303
    assert "Confirm and resume" in house.founder.get(here).text
    assert house.founder.post(f"{here}/resume").status == 303
    begun = house.founder.post(f"{here}/run")
    assert begun.status == 303
    assert "by a schedule" in house.founder.get(begun.location).text
    refused = house.founder.post(f"{here}/run")
    assert (refused.status, "the run before is not over" in refused.text) == (409, True)
    assert house.founder.post(f"{here}/remove").status == 303
    assert house.founder.get(here).status == 404


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"weekdays": "someday"}, "weekdays"),
        ({"at": "8 o'clock"}, "at"),
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"rhythm": "monthly", "month_day": ""}, "month_day"),
        ({"title": " "}, "title"),
        ({"agent_id": "nobody"}, "agent_id"),
    ],
    ids=lambda each: each if isinstance(each, str) else None,
)
def test_a_form_that_cannot_be_kept_comes_back_with_what_was_typed(
    house: House, changes: Mapping[str, object], field: str
) -> None:
    answer = house.founder.post(f"/c/{house.slug}/schedules", **fields(house, **changes))
    assert answer.status == 422
    assert f'href="#field-{field}"' in answer.text
    assert "/help" in answer.text


@pytest.mark.proves("2.5.3")
def test_the_api_has_the_same_and_shows_what_is_private_to_its_owner_alone(house: House) -> None:
    body = UPDATE | {"agent_id": agent_of(house)}
    path = f"{base(house)}/schedules"
    made = house.founder.api("POST", path, body)
    assert made.status == 201, made.text
    here = f"{path}/{made.json['id']}"
    assert (made.json["state"], made.json["weekdays"], len(made.json["next_times"])) == ("on", ["monday"], 3)
    assert made.json["next_times"][0][10:19] == "T08:00:00"
    assert house.founder.api("PUT", here, body | {"rhythm": "daily", "weekdays": []}).json["rhythm"] == "daily"
    assert house.founder.api("POST", f"{here}/pause").status == 204
    assert house.founder.api("POST", f"{here}/resume").status == 204
    assert house.founder.api("POST", f"{here}/run").json["origin"] == "schedule"
    assert house.founder.api("POST", f"{here}/run").status == 409
    assert [each["id"] for each in house.founder.api("GET", path).json["items"]] == [made.json["id"]]
    assert house.founder.api("DELETE", here).status == 204
    assert house.founder.api("GET", here).status == 404


@pytest.mark.proves("5.0.1")
async def test_a_second_message_says_what_it_waits_for_and_the_first_can_be_stopped(desk: Desk, house: House) -> None:
    first = await asyncio.to_thread(say, house, "write the file plan.md with We sell by the year.")
    run, place = first["run"]["id"], first["run"]["conversation_id"]
    await desk.work(run)
    chat = f"/c/{house.slug}/chat/{place}"
    form = FORM | {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
    second = await asyncio.to_thread(house.founder.request, "POST", chat, b"text=/help", form)
    assert (second.status, second.json["status"]) == (202, "Waits for the run before it")
    page = await asyncio.to_thread(house.founder.get, chat)
    assert "Waits for the run before it, which waits for an approval." in page.text
    shown = await call(house.founder, "GET", f"{base(house)}/runs/{second.json['run_id']}")
    assert (shown.json["status"], shown.json["waits_for"]) == ("queued", run)
    assert (await asyncio.to_thread(house.founder.post, f"/c/{house.slug}/runs/{run}/stop")).status == 303
    await desk.work(run)
    await desk.work(second.json["run_id"])
    after = await call(house.founder, "GET", f"{base(house)}/runs/{second.json['run_id']}")
    assert after.json["status"] == "finished"


@pytest.mark.proves("5.0.1")
async def test_a_run_that_a_limit_ended_goes_on_and_its_stream_with_it(desk: Desk, house: House) -> None:
    desk.limits = RunLimits(steps=0)
    taken = await asyncio.to_thread(say, house, "/help")
    run = taken["run"]["id"]
    await desk.work(run)
    chat = f"/c/{house.slug}/chat/{taken['run']['conversation_id']}"
    page = await asyncio.to_thread(house.founder.get, chat)
    assert (f"/runs/{run}/continue" in page.text, f"/runs/{run}/retry" in page.text) == (True, True)
    desk.limits = RunLimits()
    gone_on = await call(house.founder, "POST", f"{base(house)}/runs/{run}/continue")
    assert (gone_on.status, gone_on.json["status"], gone_on.json["continued"]) == (202, "queued", 1)
    assert (await _refused(house.founder, f"{base(house)}/runs/{run}/continue")).status == 409
    following = asyncio.create_task(asyncio.to_thread(house.founder.get, taken["events_url"]))
    await asyncio.sleep(0.5)  # so that it looks at least once while the run is queued
    await desk.work(run)
    told = [kind for kind, _ in steps(await following)]
    assert ("run_failed" in told, "run_continued" in told, told[-1]) == (False, True, "run_finished")


@pytest.mark.proves("5.0.1")
async def test_a_run_that_failed_is_tried_again_once(desk: Desk, house: House) -> None:
    desk.limits = RunLimits(steps=0)
    taken = await asyncio.to_thread(say, house, "/help")
    run = taken["run"]["id"]
    await desk.work(run)
    again = await call(house.founder, "POST", f"{base(house)}/runs/{run}/retry")
    assert (again.status, again.json["retry_of"], again.json["message_id"]) == (202, run, taken["run"]["message_id"])
    assert (await _refused(house.founder, f"{base(house)}/runs/{run}/retry")).status == 409
    desk.limits = RunLimits()
    await desk.work(again.json["id"])
    page = await asyncio.to_thread(house.founder.get, f"/c/{house.slug}/chat/{taken['run']['conversation_id']}")
    assert "/retry" not in page.text


async def _refused(client: Client, path: str) -> Answer:
    return await call(client, "POST", path)
