"""What is done to files on their pages and over the API, and the folders that an agent is held to."""

import pytest

from tests.conftest import Servers
from tests.web.conftest import House
from tests.web.site import Answer

TRAVERSALS = (
    "../x.md",
    "/etc/passwd",
    "a/%2e%2e/x.md",
    "..\\x.md",
    "..;/x.md",
    "\uff0e\uff0e/x.md",
    "C:x.md",
    "a/",
    "x.",
)


def brought(house: House, name: str, content: bytes) -> str:
    """Bring a file and return the address of its page."""
    sent = house.founder.upload(f"/c/{house.slug}/files", name.encode(), content)
    return sent.location.partition("?")[0]


def refusal(answer: Answer, status: int, text: str) -> None:
    assert answer.status == status, answer.text
    assert text in answer.text
    assert 'class="error-summary"' in answer.text or "error-summary" in answer.text


def test_a_file_is_moved_on_its_page_and_a_taken_name_is_explained(house: House) -> None:
    path = brought(house, "plan.md", b"# Plan")
    brought(house, "taken.md", b"x")
    answer = house.founder.post(f"{path}/move", path="plans/2026.md")
    assert answer.location == f"{path}?notice=saved"
    assert "plans/" in house.founder.get(f"/c/{house.slug}/files").text
    refused = house.founder.post(f"{path}/move", path="taken.md")
    refusal(refused, 409, "There is something of this name already")
    assert 'value="taken.md"' in refused.text
    for name in TRAVERSALS:
        refusal(house.founder.post(f"{path}/move", path=name), 422, 'href="#field-path"')
    refusal(house.founder.post(f"{path}/move", path=".git/hooks/x"), 403, "never written here")
    assert house.clients["investor"].post(f"{path}/move", path="x.md").status == 403


def test_text_is_added_on_the_page(house: House) -> None:
    path = brought(house, "log.txt", b"one")
    assert house.founder.post(f"{path}/append", text="two").location == f"{path}?notice=saved"
    assert house.founder.get(f"{path}/download").body == b"one\ntwo"
    refusal(
        house.founder.post(f"{path}/append", text="x\ud800".encode("utf-8", "replace").decode() + "\x00"),
        422,
        "log.txt",
    )
    house.founder.post(f"{path}/delete")
    assert house.founder.post(f"{path}/append", text="three").status == 404


def test_what_is_deleted_lies_in_the_bin_and_comes_back(house: House) -> None:
    base = f"/c/{house.slug}/files"
    assert "The bin is empty" in house.founder.get(f"{base}/bin").text
    path = brought(house, "plan.md", b"# Plan\n\nzebra")
    house.founder.post(f"{path}/delete")
    listed = house.clients["investor"].get(f"{base}/bin").text
    assert "plan.md" in listed
    assert "/restore" not in listed
    page = house.founder.get(path).text
    assert "This file is in the" in page
    assert "/append" not in page
    brought(house, "plan.md", b"another")
    refused = house.founder.post(f"{path}/restore")
    refusal(refused, 409, "There is something of this name already")
    assert house.founder.post(f"{path}/restore", path="old/plan.md").location == f"{path}?notice=restored"
    assert "zebra" in house.founder.get(path).text
    refusal(house.founder.post(f"{path}/restore"), 409, "not in the bin")
    assert house.observer.get(f"{base}/bin").status == 403


def test_an_old_version_comes_back_on_the_page(house: House) -> None:
    path = brought(house, "plan.txt", b"one")
    brought(house, "plan.txt", b"two")
    shown = house.founder.get(path).text
    assert "Restore version 1" in shown
    assert "Restore version 2" not in shown
    assert house.founder.post(f"{path}/versions/1/restore").location == f"{path}?notice=restored"
    assert house.founder.get(f"{path}/download").body == b"one"
    assert house.founder.post(f"{path}/versions/9/restore").status == 404


def test_only_what_is_in_the_bin_is_deleted_for_good(house: House) -> None:
    path = brought(house, "plan.md", b"x")
    assert house.founder.post(f"{path}/delete-for-good").status == 409
    house.founder.post(f"{path}/delete")
    assert house.founder.post(f"{path}/delete-for-good").location == f"/c/{house.slug}/files/bin?notice=deleted"
    assert house.founder.get(path).status == 404


def test_a_page_of_the_bin_leads_to_the_next(house: House, servers: Servers) -> None:
    with servers.as_owner() as owner:
        owner.execute(
            "INSERT INTO workspace.files (company_id, id, path, size, sha256, content_type, origin, changed_by,"
            " deleted_at) SELECT company.id, gen_random_uuid(), number || '.md', 1, repeat('0', 64), 'text/markdown',"
            " 'upload', company.founded_by, now() FROM tenancy.companies AS company,"
            " generate_series(1, 52) AS number"
            " WHERE company.slug = %s",
            (house.slug,),
        )
    first = house.founder.get(f"/c/{house.slug}/files/bin").text
    assert (first.count("/restore"), "Older" in first) == (50, True)
    following = first.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
    second = house.founder.get(following).text
    assert (second.count("/restore"), "Older" in second, "Newer" in second) == (2, False, True)


def test_the_api_moves_adds_deletes_and_restores(house: House) -> None:
    base = f"/companies/{house.slug}/files"
    made = house.founder.api("POST", f"{base}/append", {"path": "log.md", "text": "one"})
    assert (made.status, made.json["version"]) == (200, 1)
    file = f"{base}/{made.json['id']}"
    assert house.founder.api("POST", f"{base}/append", {"path": "log.md", "text": "two"}).json["version"] == 2
    moved = house.founder.api("POST", f"{file}/move", {"path": "logs/2026.md"})
    assert (moved.json["path"], moved.json["version"]) == ("logs/2026.md", 2)
    assert house.founder.api("POST", f"{file}/restore", {"version": 1}).json["version"] == 3
    assert house.founder.api("GET", f"{file}/download").body == b"one"
    assert house.founder.api("DELETE", file).status == 204
    listed = house.founder.api("GET", f"{base}/bin").json["items"]
    assert [(each["path"], each["deleted_at"] is not None) for each in listed] == [("logs/2026.md", True)]
    assert house.founder.api("POST", f"{file}/restore", {"path": "back.md"}).json["path"] == "back.md"
    assert house.founder.api("GET", f"{base}/bin").json["items"] == []
    house.founder.api("DELETE", file)
    assert house.founder.api("DELETE", f"{base}/bin/{made.json['id']}").status == 204
    assert house.founder.api("GET", file).status == 404


@pytest.mark.parametrize(
    ("call", "body", "code", "status"),
    [
        ("{file}/move", {"path": "taken.md"}, "name_taken", 409),
        ("{file}/move", {"path": "taken.md/x"}, "name_in_the_way", 409),
        ("{file}/move", {"path": ".bashrc"}, "never_writable", 403),
        ("append", {"path": ".bashrc", "text": "x"}, "never_writable", 403),
        ("append", {"path": "photo.png", "text": "x"}, "not_text", 422),
        ("{file}/restore", {}, "not_in_the_bin", 409),
        ("{file}/restore", {"version": 9}, "no_such_file", 404),
        ("{file}/restore", {"version": 1, "path": "x.md"}, "invalid_input", 422),
        *(("{file}/move", {"path": path}, "invalid_path", 422) for path in TRAVERSALS),
        *(("append", {"path": path, "text": "x"}, "invalid_path", 422) for path in TRAVERSALS),
    ],
)
def test_a_refusal_of_the_api_has_a_code_of_its_own(
    house: House, call: str, body: dict[str, object], code: str, status: int
) -> None:
    base = f"/companies/{house.slug}/files"
    for name in (b"taken.md", b"photo.png"):
        house.founder.upload(f"/api/v1{base}", name, b"x")
    file = house.founder.upload(f"/api/v1{base}", b"plan.md", b"x").json["id"]
    refused = house.founder.api("POST", f"{base}/{call.format(file=file)}", body)
    assert (refused.status, refused.json["code"]) == (status, code), refused.text
    present = [each["path"] for each in house.founder.api("GET", base).json["items"]]
    assert sorted(present) == ["photo.png", "plan.md", "taken.md"]


@pytest.mark.proves("5.2.1")
def test_an_agents_folders_are_set_on_its_page_and_over_the_api(house: House) -> None:
    agent = house.founder.api("GET", f"/companies/{house.slug}/agents").json["items"][0]
    path, page = f"/companies/{house.slug}/agents/{agent['id']}", f"/c/{house.slug}/agents/{agent['id']}"
    assert agent["directories"] == []
    assert "It reaches all files of the company." in house.founder.get(page).text
    set_ = house.founder.post(f"{page}/folders", directories="reports/2026/\r\n\r\n notes \r\nnotes")
    assert set_.location == f"{page}?notice=saved"
    assert house.founder.api("GET", path).json["directories"] == ["reports/2026", "notes"]
    assert "<code>reports/2026/</code>" in house.founder.get(page).text
    for folder in ("../x", "/", "a//b", "%2e%2e"):
        refused = house.founder.post(f"{page}/folders", directories=folder)
        refusal(refused, 422, "Name folders as")
        assert house.founder.api("PATCH", path, {"directories": [folder]}).status == 422
    assert house.founder.api("PATCH", path, {"directories": ["x"] * 21}).status == 422
    assert house.founder.api("PATCH", path, {"directories": ["x" * 401]}).status == 422
    assert house.founder.api("PATCH", path, {"name": "Other"}).json["directories"] == ["reports/2026", "notes"]
    assert house.founder.api("PATCH", path, {"directories": []}).json["directories"] == []
    assert house.clients["advisor"].post(f"{page}/folders", directories="x").status == 403
