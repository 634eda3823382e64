"""A company allows model routes by page and by API, agents are given them, and the ledger is read."""

import asyncio
import re
from datetime import date
from typing import Any

import pytest

from operalta.agents.route_rules import BUILTIN, ApprovalRecord, ListedRoute
from tests.agents.conftest import Desk
from tests.web.conftest import House
from tests.web.site import Answer, Site

RECORD = ApprovalRecord(
    terms_reference="DPA 2030-1",
    region="EU",
    retention="30 days",
    training_opt_out=True,
    logging="off",
    approved_by="Nia of Operations",
    approved_on=date(2030, 1, 1),
)
FAR = ListedRoute(
    slug="far", title="Far away", provider="openai", host="far.example", model="far-1", approval=RECORD, fall_back="new"
)
NEW = ListedRoute(slug="new", title="Not looked at", provider="openai", host="new.example", model="n", approval=None)
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(autouse=True)
def _routes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    know(site, monkeypatch, FAR, NEW)


def know(site: Site, monkeypatch: pytest.MonkeyPatch, *routes: ListedRoute) -> None:
    """Let the operator have these routes."""
    monkeypatch.setattr(type(site.services), "model_routes", (BUILTIN, *routes), raising=False)


def api(house: House, method: str, what: str = "", body: object = None) -> Answer:
    return house.founder.api(method, f"/companies/{house.slug}/model-routes{what}", body)


def put(house: House, *routes: ListedRoute, regions: tuple[str, ...] = ("EU",)) -> Answer:
    seen = [{"slug": each.slug, "record_sha256": each.record_sha256} for each in routes]
    return api(house, "PUT", body={"routes": seen, "regions": list(regions)})


def of(answer: Answer, slug: str) -> dict[str, Any]:
    return next(each for each in answer.json["routes"] if each["slug"] == slug)


def an_agent(house: House) -> str:
    return house.founder.api("GET", f"/companies/{house.slug}/agents").json["items"][0]["id"]


@pytest.mark.proves("5.6.1", "5.6.3")
def test_a_new_company_has_the_built_in_route_alone_until_it_allows_another(house: House) -> None:
    before = api(house, "GET")
    usable = {each["slug"]: each["usable"] for each in before.json["routes"]}
    assert usable == {"built-in": True, "far": False, "new": False}
    assert "does not allow this model route" in of(before, "far")["why_not"]
    assert of(before, "far")["approval"]["retention"] == "30 days"
    assert before.json["regions"] == [{"region": "EU", "allowed": False}]
    after = put(house, FAR)
    assert (after.status, of(after, "far")["usable"], of(after, "far")["allowed"]) == (200, True, True)
    assert of(put(house, FAR, regions=()), "far")["why_not"].startswith("The company does not allow the region")
    assert of(put(house), "far")["allowed"] is False


@pytest.mark.proves("5.6.1")
def test_only_an_approved_route_as_it_was_seen_can_be_allowed(
    house: House, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for routes, status, code in (
        ([NEW], 403, "route_not_approved"),
        ([ListedRoute(slug="else", title="", provider=None, host=None, model="", approval=None)], 404, "route_unknown"),
        ([BUILTIN], 404, "route_unknown"),
    ):
        refused = put(house, *routes)
        assert (refused.status, refused.json["code"]) == (status, code)
    sent = {"routes": [{"slug": "far", "record_sha256": "0" * 64}], "regions": ["EU"]}
    assert api(house, "PUT", body=sent).json["code"] == "route_changed"
    assert api(house, "PUT", body={"routes": [], "regions": ["x" * 401]}).status == 422
    assert put(house, FAR).status == 200
    moved = ListedRoute(
        slug="far", title="Far", provider="openai", host="elsewhere.example", model="m", approval=RECORD
    )
    know(site, monkeypatch, moved)
    assert "has changed this model route" in of(api(house, "GET"), "far")["why_not"]
    know(site, monkeypatch)
    assert api(house, "GET").json["gone"] == ["far"]


@pytest.mark.proves("2.5.0", "5.6.1")
def test_members_who_do_not_manage_the_company_look_and_change_nothing(house: House) -> None:
    advisor, path = house.clients["advisor"], f"/companies/{house.slug}/model-routes"
    assert advisor.api("GET", path).status == 200
    assert advisor.api("PUT", path, {"routes": [], "regions": []}).status == 403
    assert advisor.api("GET", f"{path}/requests").status == 403
    assert (
        advisor.api("PUT", f"/companies/{house.slug}/agents/{an_agent(house)}/route", {"route": "built-in"}).status
        == 403
    )
    page = advisor.get(f"/c/{house.slug}/model-routes").text
    assert "Nia of Operations" in page
    assert 'name="route"' not in page


@pytest.mark.proves("5.6.1")
def test_an_agent_is_given_a_route_that_the_company_allows(house: House) -> None:
    agent = an_agent(house)
    path = f"/companies/{house.slug}/agents/{agent}/route"
    refused = house.founder.api("PUT", path, {"route": "far"})
    assert (refused.status, refused.json["code"]) == (403, "route_not_allowed")
    put(house, FAR)
    assert house.founder.api("PUT", path, {"route": "far"}).json["route"] == "far"
    assert house.founder.api("PUT", path, {"route": "new"}).json["code"] == "route_not_approved"
    assert house.founder.api("PUT", path, {"route": "nothing"}).json["code"] == "route_unknown"
    page = f"/c/{house.slug}/agents/{agent}"
    assert '<option value="far" selected>' in house.founder.get(page).text
    chosen = house.founder.request("POST", f"{page}/route", b"route=built-in", FORM)
    assert chosen.status == 303
    assert '<option value="built-in" selected>' in house.founder.get(page).text


@pytest.mark.proves("5.6.1", "5.6.3")
def test_the_page_shows_each_record_and_saves_what_is_ticked(house: House) -> None:
    path = f"/c/{house.slug}/model-routes"
    before = house.founder.get(path).text
    for shown in ("DPA 2030-1", "30 days", "Ruled out", "Nia of Operations", "far.example", "Not approved"):
        assert shown in before
    seen = re.findall(r'name="route" value="(far [0-9a-f]{64})"', before)
    assert seen, "the one route that the operator has approved can be ticked, and no other"
    assert len(re.findall(r'name="route"', before)) == 1
    saved = house.founder.request("POST", path, f"route={seen[0].replace(' ', '+')}&region=EU".encode(), FORM)
    assert (saved.status, saved.header("location")) == (303, f"{path}?notice=saved")
    after = house.founder.get(path).text
    assert re.findall(r'name="(region|route)" value="[^"]*" checked>', after) == ["region", "route"]
    wrong = house.founder.request("POST", path, b"route=far+" + b"0" * 64, FORM)
    assert wrong.status == 403
    assert "has changed this model route" in wrong.text
    assert house.founder.request("POST", path, b"", FORM).status == 303
    assert of(api(house, "GET"), "far")["allowed"] is False


@pytest.mark.proves("5.6.3")
async def test_the_ledger_is_read_page_by_page(desk: Desk, house: House) -> None:
    def say(text: str) -> str:
        sent = house.founder.request(
            "POST", f"/c/{house.slug}/chat", f"text={text}".encode(), FORM | {"Accept": "application/json"}
        )
        return sent.json["run_id"]

    for text in ("/help", "/list", "/find+prices"):
        await desk.work(await asyncio.to_thread(say, text))  # pyright: ignore[reportArgumentType] - an id as text
    whole = await asyncio.to_thread(api, house, "GET", "/requests?limit=100")
    items = whole.json["items"]
    assert len(items) >= 3
    assert {(each["route"], each["outcome"], each["host"]) for each in items} == {("built-in", "answered", None)}
    assert [each["asked_at"] for each in items] == sorted((each["asked_at"] for each in items), reverse=True)
    walked: list[str] = []
    cursor = ""
    while True:
        part = (await asyncio.to_thread(api, house, "GET", f"/requests?limit=1{cursor}")).json
        walked += [each["id"] for each in part["items"]]
        if part["next_cursor"] is None:
            break
        cursor = f"&cursor={part['next_cursor']}"
    assert walked == [each["id"] for each in items]
    assert (await asyncio.to_thread(api, house, "GET", "/requests?cursor=x")).status == 422
    page = await asyncio.to_thread(house.founder.get, f"/c/{house.slug}/model-use")
    assert (page.status, "Nothing left" in page.text, "Answered" in page.text) == (200, True, True)
