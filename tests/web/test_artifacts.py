"""Artifacts as pages and by the API: made, revised from a version, compared, handed over, shown to the right people."""

import re
from html import unescape
from typing import Any

import pytest

from tests.web.conftest import House
from tests.web.site import Answer


def made(answer: Answer) -> dict[str, Any]:
    assert answer.status == 201, answer.text
    return answer.json


def test_an_artifact_is_written_revised_and_put_away_on_pages(house: House) -> None:
    base = f"/c/{house.slug}/artifacts"
    written = house.founder.post(base, title="Plan", kind="document", content="# We sell\r\nby the <b>year</b>.")
    assert written.status == 303, unescape(written.text)
    path = written.location.partition("?")[0]
    shown = house.clients["investor"].get(path).text
    assert "<h2>We sell</h2>" in shown
    assert "by the &lt;b&gt;year&lt;/b&gt;." in shown
    assert "Write on" not in shown
    revised = house.founder.post(f"{path}/revise", content="# We lend", note="Why not?", version=1)
    assert revised.location == f"{path}?notice=saved"
    late = house.clients["advisor"].post(f"{path}/revise", content="# We give", version=1)
    assert late.status == 409
    assert "Version 2 of this artifact is newer" in unescape(late.text)
    assert "<del># We lend</del>" in late.text
    assert "<ins># We give</ins>" in late.text
    latest = house.founder.get(path).text
    assert "<del># We sell</del>" in latest
    assert "Why not?" in latest
    old = house.founder.get(f"{path}?version=1").text
    assert "This is version 1" in old
    assert "<h2>We sell</h2>" in old
    assert house.founder.get(f"{path}?version=3").status == 404
    assert house.founder.post(f"{path}/title", title="Better plan").status == 303
    assert "Better plan" in house.founder.get(f"{base}?q=lend").text
    assert house.founder.post(f"{path}/archive").location == f"{base}?notice=saved"
    assert "Better plan" not in house.founder.get(base).text
    assert "Better plan" in house.founder.get(f"{base}?archived=yes").text
    assert house.founder.post(f"{path}/revise", content="x", version=2).status == 409
    assert house.founder.post(f"{path}/restore").status == 303
    assert "Better plan" in house.founder.get(base).text


def test_a_refused_artifact_comes_back_with_what_was_typed(house: House) -> None:
    refused = house.founder.post(f"/c/{house.slug}/artifacts", title="Teams", kind="table", content='a,"<b>')
    assert refused.status == 422
    assert 'href="#field-content"' in refused.text
    assert "a,&#34;&lt;b&gt;" in refused.text
    assert 'value="Teams"' in refused.text


@pytest.mark.proves("3.4.4")
@pytest.mark.parametrize(
    ("kind", "content", "name", "content_type", "body"),
    [
        ("document", "<script>x</script>", "A-B.md", "text/markdown", "<script>x</script>"),
        ("text", "plain", "A-B.txt", "text/plain", "plain"),
        ("table", "a,b\n=1+1,2", "A-B.csv", "text/csv", '"a","b"\r\n"\'=1+1","2"\r\n'),
    ],
    ids=["document", "text", "table"],
)
def test_it_is_handed_over_as_a_file_that_nothing_opens_in_place(
    house: House, kind: str, content: str, name: str, content_type: str, body: str
) -> None:
    at = f"/companies/{house.slug}/artifacts"
    kept = made(house.founder.api("POST", at, {"title": "A/B", "kind": kind, "content": content, "private": False}))
    answer = house.founder.get(f"/c/{house.slug}/artifacts/{kept['id']}/download")
    assert answer.text == body
    assert answer.header("content-type").partition(";")[0] == content_type
    assert answer.header("content-disposition").startswith(f'attachment; filename="{name}"')
    assert answer.header("x-content-type-options") == "nosniff"
    page = house.founder.get(f"/c/{house.slug}/artifacts/{kept['id']}").text
    assert "<script>x" not in page
    assert ("<td>=1+1</td>" in page) is (kind == "table")


@pytest.mark.proves("2.4.2")
def test_a_private_one_is_its_persons_alone_until_they_open_it(house: House) -> None:
    at = f"/companies/{house.slug}/artifacts"
    kept = made(house.founder.api("POST", at, {"title": "Zebra", "content": "A zebra."}))
    one, page = f"{at}/{kept['id']}", f"/c/{house.slug}/artifacts/{kept['id']}"
    advisor = house.clients["advisor"]
    for path in (one, f"{one}/versions", f"{one}/versions/1", f"{one}/diff?before=1&after=1"):
        assert house.founder.api("GET", path).status == 200
        assert advisor.api("GET", path).status == 404
    for path in (page, f"{page}?version=1", f"{page}/download"):
        assert advisor.get(path).status == 404
        assert house.outsider.get(path).status == 404
    assert advisor.api("GET", f"{at}?q=zebra").json["items"] == []
    assert "Zebra" not in advisor.get(f"/c/{house.slug}/artifacts?q=zebra").text
    assert advisor.api("POST", f"{one}/open").status == 404
    assert "Open it to the company" in house.founder.get(page).text
    assert house.founder.post(f"{page}/open").status == 303
    assert advisor.api("GET", one).json["content"] == "A zebra."
    assert advisor.api("GET", f"{at}?q=zebra").json["items"][0]["id"] == kept["id"]


def test_the_api_revises_from_a_version_compares_and_archives(house: House) -> None:
    at = f"/companies/{house.slug}/artifacts"
    kept = made(house.founder.api("POST", at, {"title": "Plan", "content": "We sell.", "private": False}))
    one = f"{at}/{kept['id']}"
    second = made(house.founder.api("POST", f"{one}/versions", {"content": "We lend.", "begun_from": 1, "note": "So."}))
    assert (second["version"], second["by_people_alone"]) == (2, True)
    late = house.founder.api("POST", f"{one}/versions", {"content": "We give.", "begun_from": 1})
    assert (late.status, late.json["code"]) == (409, "artifact_changed_meanwhile")
    difference = house.founder.api("GET", f"{one}/diff?before=1&after=2").json
    assert difference["diff"] == "@@ -1 +1 @@\n-We sell.\n+We lend."
    first = house.founder.api("GET", f"{one}/versions?limit=1").json
    rest = house.founder.api("GET", f"{one}/versions?cursor={first['next_cursor']}").json
    assert [each["version"] for each in (*first["items"], *rest["items"])] == [2, 1]
    assert house.founder.api("PATCH", one, {"title": "Better"}).json["title"] == "Better"
    assert house.founder.api("DELETE", one).json["archived_at"]
    assert house.founder.api("GET", f"{at}?archived=true").json["items"][0]["title"] == "Better"
    assert house.founder.api("POST", f"{one}/restore").json["archived_at"] is None
    for role, status in (("investor", 200), ("observer", 403)):
        assert house.clients[role].api("GET", one).status == status
        assert house.clients[role].api("POST", f"{one}/versions", {"content": "x", "begun_from": 2}).status == 403


def test_the_list_of_files_leads_to_artifacts_and_back(house: House) -> None:
    for name, other in (("files", "artifacts"), ("artifacts", "files")):
        shown = house.founder.get(f"/c/{house.slug}/{name}").text
        assert re.search(rf'class="tabs".*href="/c/{house.slug}/{other}"', shown, re.DOTALL)
