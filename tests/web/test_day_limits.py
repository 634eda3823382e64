"""The limits of a company's day, over the API and on their page."""

from tests.web.conftest import House


def test_limits_of_a_day_are_read_and_changed(house: House) -> None:
    path = f"/companies/{house.slug}/day-limits"
    usual = house.clients["advisor"].api("GET", path)
    assert (usual.json["limits"], usual.json["used"]["steps"], usual.json["reached"]) == ({}, 0, None)
    assert house.clients["advisor"].api("PUT", path, {"steps": 5}).status == 403
    changed = house.founder.api("PUT", path, {"steps": 5})
    assert (changed.status, changed.json["held"]["steps"]) == (200, 5)
    assert changed.json["held"]["tool_calls"] == usual.json["held"]["tool_calls"]
    assert house.founder.api("PUT", path, {"steps": 0}).status == 422
    assert house.outsider.api("GET", path).status == 404


def test_the_page_shows_todays_use_and_says_what_is_wrong_with_a_number(house: House) -> None:
    path = f"/c/{house.slug}/day-limits"
    assert house.founder.post(path, **{"limits.steps": "7", "limits.tokens": ""}).status == 303
    page = house.founder.get(path)
    assert 'value="7"' in page.text
    wrong = house.founder.post(path, **{"limits.steps": "many", "limits.tokens": "12"})
    assert wrong.status == 422
    assert "Steps: write a whole number." in wrong.text
    assert 'value="12"' in wrong.text
    assert 'name="limits.' not in house.clients["advisor"].get(path).text
