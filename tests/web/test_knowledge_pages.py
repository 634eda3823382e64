"""Memory, metrics, files and the audit log as pages."""

import json
import re
from html import unescape
from urllib.parse import quote

import pytest

from operalta.settings import Settings
from tests.conftest import Servers, World
from tests.web.conftest import House
from tests.web.site import Site, serving

PAGES = ("memory", "metrics", "files", "audit")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_there_for_founders_and_looks_absent_to_outsiders(house: House, site: Site, name: str) -> None:
    path = f"/c/{house.slug}/{name}"
    shown = house.founder.get(path)
    assert (shown.status, 'aria-current="page"' in shown.text) == (200, True)
    outside, nowhere = house.outsider.get(path), house.outsider.get(f"/c/no-such-company/{name}")
    assert outside.status == nowhere.status == 404
    assert house.slug not in outside.text
    visitor = site.visitor().get(path)
    assert (visitor.status, visitor.location) == (303, f"/sign-in?next=/c/{house.slug}/{name}")


@pytest.mark.parametrize(
    ("role", "name", "status"),
    [
        ("observer", "memory", 200),
        ("observer", "metrics", 200),
        ("observer", "files", 403),
        ("observer", "audit", 403),
        ("investor", "files", 200),
        ("investor", "audit", 403),
        ("advisor", "audit", 403),
    ],
)
def test_a_role_sees_what_its_template_says(house: House, role: str, name: str, status: int) -> None:
    assert house.clients[role].get(f"/c/{house.slug}/{name}").status == status


@pytest.mark.parametrize(
    ("role", "path", "fields"),
    [
        ("observer", "memory", {"kind": "decision", "title": "No"}),
        ("advisor", "metrics", {"name": "No"}),
        ("investor", "files/00000000-0000-7000-8000-000000000000/delete", {}),
        ("advisor", "audit/verify", {}),
    ],
)
def test_a_role_does_not_do_what_its_template_lacks(
    house: House, role: str, path: str, fields: dict[str, object]
) -> None:
    assert house.clients[role].post(f"/c/{house.slug}/{path}", **fields).status == 403


# ── Memory ──────────────────────────────────────────────────────────────────────────────────────────────


def record(house: House, title: str, **fields: str) -> str:
    made = house.founder.post(f"/c/{house.slug}/memory", kind="decision", title=title, **fields)
    assert made.status == 303, unescape(made.text)
    return made.location.partition("?")[0]


def test_an_entry_is_written_moved_and_superseded(house: House) -> None:
    path = record(house, "We bill yearly", body="Two months\r\nfree.", evidence="[Study](https://example.com)")
    shown = house.founder.get(path).text
    assert "We bill yearly" in shown
    assert f"written by {house.members['founder'].email.partition('@')[0]}" in shown
    assert house.founder.post(f"{path}/status", status="decided", version=1).location == f"{path}?notice=saved"
    replaced = house.founder.post(f"{path}/supersede", title="We bill monthly", reason="They asked", version=2)
    assert replaced.status == 303
    assert "This no longer holds" in house.founder.get(path).text
    listed = house.founder.get(f"/c/{house.slug}/memory?kind=decision&status=superseded").text
    assert "We bill yearly" in listed
    assert "We bill monthly" not in listed


def test_a_change_by_somebody_who_saw_an_older_state_is_refused_and_kept(house: House) -> None:
    path = record(house, "We bill yearly")
    assert house.founder.post(f"{path}/status", status="decided", version=1).status == 303
    refused = house.founder.post(f"{path}/supersede", title="A newer one", body="My reasons", reason="So", version=1)
    assert refused.status == 409
    assert "My reasons" in refused.text
    assert house.founder.post(f"{path}/status", status="proposed", version=2).status == 409


def test_a_refused_form_comes_back_with_what_was_typed(house: House) -> None:
    title = "T" * 201
    refused = house.founder.post(f"/c/{house.slug}/memory", kind="blocker", title=title, body="My <b>body</b>")
    assert refused.status == 422
    assert "<title>Error:" in refused.text
    assert 'href="#field-title"' in refused.text
    assert title in refused.text
    assert "My &lt;b&gt;body&lt;/b&gt;" in refused.text


def test_the_ledger_is_read_page_by_page_and_searched(house: House) -> None:
    for number in range(52):
        record(house, f"Decision number {number}")
    first = house.founder.get(f"/c/{house.slug}/memory").text
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following is not None
    second = house.founder.get(unescape(following[1])).text
    assert [first.count("Decision number"), second.count("Decision number")] == [50, 2]
    filtered = house.founder.get(f"/c/{house.slug}/memory?status=proposed").text
    assert filtered.count("Decision number") == 50
    found = house.founder.get(f"/c/{house.slug}/memory?q=51").text
    assert found.count("Decision number") == 1


@pytest.mark.parametrize(
    "query", ["cursor=nonsense", "cursor=W10", "kind=idea", f"q={'x' * 3000}", "q=%00", f"cursor={'A' * 5000}"]
)
def test_what_cannot_be_asked_of_the_ledger_is_refused_calmly(house: House, query: str) -> None:
    assert house.founder.get(f"/c/{house.slug}/memory?{query}").status == 422


def test_another_companys_entry_is_not_found_through_ones_own(house: House) -> None:
    path = record(house, "Ours")
    number = path.rpartition("/")[2]
    theirs = house.outsider.get("/companies")
    slug = re.search(r'href="/c/([^"/]+)', theirs.text)
    assert slug is not None
    assert house.outsider.get(f"/c/{slug[1]}/memory/{number}").status == 404
    assert house.founder.get(f"/c/{house.slug}/memory/not-an-id").status == 422


# ── Metrics ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_metric_is_defined_entered_drawn_and_downloaded(house: House) -> None:
    base = f"/c/{house.slug}/metrics"
    made = house.founder.post(base, name="Cash", unit="EUR", definition="In the bank", source="bank")
    assert made.location == f"{base}/cash?notice=saved"
    assert house.founder.post(base, name="Burn", unit="EUR", definition="A month", source="books").status == 303
    for day, value in (("2026-08-01", "410000"), ("2026-09-01", "400000.50")):
        assert house.founder.post(f"{base}/cash/points", day=day, value=value, note="=1+1").status == 303
    assert house.founder.post(f"{base}/burn/points", day="2026-09-01", value="20000").status == 303
    shown = house.founder.get(f"{base}/cash").text
    assert '<svg class="chart-drawing"' in shown
    assert "400,000.5" in shown
    assert "20.0 months" in house.founder.get(base).text
    table = house.founder.get(f"{base}/cash.csv")
    assert table.header("content-disposition").startswith('attachment; filename="cash.csv"')
    assert '"2026-09-01",400000.5,"EUR","\'=1+1"' in table.text


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"day": "soon", "value": "1"}, "day"),
        ({"day": "2999-01-01", "value": "1"}, "day"),
        ({"day": "2026-01-01", "value": "a lot"}, "value"),
        ({"day": "2026-01-01", "value": "1e9"}, "value"),
        ({"day": "2026-01-01", "value": "1", "note": "n" * 401}, "note"),
    ],
)
def test_a_refused_point_comes_back_with_what_was_typed(house: House, fields: dict[str, str], field: str) -> None:
    base = f"/c/{house.slug}/metrics"
    assert house.founder.post(base, name="Teams", definition="Paying ones").status == 303
    refused = house.founder.post(f"{base}/teams/points", **fields)
    assert refused.status == 422
    assert f'href="#field-{field}"' in refused.text
    assert fields[field] in refused.text


def test_a_metric_is_kept_once(house: House) -> None:
    base = f"/c/{house.slug}/metrics"
    assert house.founder.post(base, name="Été & more", definition="d").location == f"{base}/ete-more?notice=saved"
    again = house.founder.post(base, name="Été & more", definition="typed before")
    assert again.status == 409
    assert "typed before" in again.text
    assert house.founder.get(f"{base}/no-such-metric").status == 404
    assert house.founder.get(f"{base}/No.Such").status == 422


# ── Files ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.proves("3.4.4")
def test_a_file_is_brought_shown_and_handed_over_as_an_attachment(house: House) -> None:
    base = f"/c/{house.slug}/files"
    sent = house.founder.upload(base, "Zürich, übersicht.md".encode(), b"# Plan\n\n<script>x</script>", folder="notes")
    assert sent.status == 303, sent.text
    path = sent.location.partition("?")[0]
    shown = house.founder.get(path).text
    assert "<h2>Plan</h2>" in shown
    assert "<script>x" not in shown
    assert "Zürich" in house.founder.get(f"{base}?folder=notes").text
    assert "notes/" in house.founder.get(base).text
    assert "Zürich" in house.founder.get(f"{base}?q=z%C3%BCrich").text
    taken = house.founder.get(f"{path}/download")
    assert taken.body == b"# Plan\n\n<script>x</script>"
    name = quote("Zürich, übersicht.md", safe="")
    assert taken.header("content-disposition") == (
        f"attachment; filename=\"Z_rich, _bersicht.md\"; filename*=UTF-8''{name}"
    )
    assert taken.header("x-content-type-options") == "nosniff"
    assert taken.header("content-type").startswith("text/markdown")


def test_a_second_upload_is_a_version_and_deleting_leaves_the_list(house: House) -> None:
    base = f"/c/{house.slug}/files"
    house.founder.upload(base, b"plan.txt", b"one")
    path = house.founder.upload(base, b"plan.txt", b"two").location.partition("?")[0]
    assert house.founder.get(f"{path}/download?version=1").body == b"one"
    assert house.founder.get(f"{path}/download").body == b"two"
    assert house.founder.get(f"{path}/download?version=9").status == 404
    assert house.founder.post(f"{path}/delete").location == f"{base}?notice=deleted"
    assert "plan.txt" not in house.founder.get(base).text
    assert house.founder.get(f"{path}/download").status == 404


@pytest.mark.proves("5.2.2")
@pytest.mark.parametrize(
    "name",
    [
        b"../escape.md",
        b"a/../../b.md",
        b"..",
        b"/etc/passwd",
        b"a\x00b.md",
        b".git/hooks/post-commit",
        b"a//b",
        b"c\\d\n",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused_and_explained(house: House, name: bytes) -> None:
    refused = house.founder.upload(f"/c/{house.slug}/files", name, b"x")
    assert refused.status in {400, 403, 422}, refused.status
    assert "<h1>" in refused.text
    assert "No file is kept here yet" in house.founder.get(f"/c/{house.slug}/files").text


@pytest.mark.parametrize("folder", ["../..", "a/../..", "\x00", "x" * 3000])
def test_a_folder_that_leads_elsewhere_is_refused(house: House, folder: str) -> None:
    assert house.founder.get(f"/c/{house.slug}/files?folder={quote(folder)}").status == 422


def test_a_hundred_megabytes_are_refused_before_they_are_sent(house: House) -> None:
    headers = {"Content-Length": str(100 * 1024 * 1024), "Content-Type": "multipart/form-data; boundary=x"}
    refused = house.founder.request("POST", f"/c/{house.slug}/files", b"--x\r\n", headers)
    assert refused.status == 413
    assert "This is larger than the" in refused.text


def test_a_stream_without_a_length_is_cut_at_the_cap(servers: Servers, world: World) -> None:
    with serving(servers, upload_limit_bytes=64 * 1024) as small:
        company = world.company()
        client = small.member(world.member(company))
        begun = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
        chunks = b"".join(b"1000\r\n" + b"x" * 4096 + b"\r\n" for _ in range(64))
        body = f"{len(begun):x}".encode() + b"\r\n" + begun + b"\r\n" + chunks
        headers = {"Transfer-Encoding": "chunked", "Content-Type": "multipart/form-data; boundary=x"}
        assert client.request("POST", f"/c/{company[1]}/files", body, headers).status == 413
        # Within what the request may have, beyond what a file may have: the form comes back and says so.
        refused = client.upload(f"/c/{company[1]}/files", b"big.bin", b"x" * (65 * 1024))
        assert refused.status == 413
        assert "A file may have at most 65536 bytes" in refused.text
        assert 'href="#field-file"' in refused.text


def test_somebody_who_may_not_write_is_refused_before_the_file_is_read(house: House) -> None:
    # The form never ends, so reading it to the end would never answer.
    headers = {"Content-Length": "5000", "Content-Type": "multipart/form-data; boundary=x"}
    assert house.observer.request("POST", f"/c/{house.slug}/files", b"--x\r\n", headers).status == 403


@pytest.mark.parametrize("body", [b"", b"--x--\r\n", b"nonsense", b"--x\r\nfile\r\n"])
def test_a_form_without_a_file_is_refused_with_the_way_to_do_it(house: House, body: bytes) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert house.founder.request("POST", f"/c/{house.slug}/files", body, headers).status in {400, 422}
    assert house.founder.post(f"/c/{house.slug}/files", file="text").status == 422


@pytest.mark.proves("3.4.1")
@pytest.mark.parametrize("title", [b"%00", b"a%00b", b"%ED%A0%80", b"%FF%FE", b"\xff\xfe", b"\x00"])
def test_bytes_that_are_no_text_never_become_a_fault(house: House, title: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    body = b"kind=decision&title=" + title
    answer = house.founder.request("POST", f"/c/{house.slug}/memory", body, headers)
    assert answer.status in {303, 422}


# ── The audit log ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.proves("2.5.5")
def test_the_log_shows_filters_and_exports_what_was_done(house: House) -> None:
    record(house, "We bill yearly")
    house.founder.upload(f"/c/{house.slug}/files", b"plan.md", b"# Plan")
    base = f"/c/{house.slug}/audit"
    assert "<code>memory.recorded</code>" in house.founder.get(base).text
    narrowed = house.founder.get(f"{base}?action=file.written").text
    assert "<code>file.written</code>" in narrowed
    assert "<code>memory.recorded</code>" not in narrowed
    assert "No event matches" in house.founder.get(f"{base}?actor=nobody-of-this-name").text
    assert "No event matches" in house.founder.get(f"{base}?until=2020-01-01").text
    taken = house.founder.get(f"{base}/export?format=json&action=memory.recorded")
    assert [each["action"] for each in json.loads(taken.body)] == ["memory.recorded"]
    table = house.founder.get(f"{base}/export?action=file.").text
    assert table.count("file.written") == 1
    assert "<code>audit.exported</code>" in house.founder.get(base).text


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("q=shape:round", 422),
        ("q=%22open", 422),
        ("since=soon", 422),
        ("cursor=nonsense", 422),
        ("cursor=%00", 422),
        ("actor=%00", 200),
        ("action=%00", 200),
        (f"q={'x' * 500}", 422),
    ],
)
def test_what_cannot_be_asked_of_the_log_is_refused_calmly(house: House, query: str, status: int) -> None:
    assert house.founder.get(f"/c/{house.slug}/audit?{query}").status == status


def test_a_check_of_the_log_that_cannot_be_done_says_so_and_is_recorded(house: House) -> None:
    record(house, "We bill yearly")
    base = f"/c/{house.slug}/audit"
    checked = house.founder.post(f"{base}/verify")
    assert checked.status in {200, 303}
    assert "<code>audit.verified</code>" in house.founder.get(base).text


# ── Trust ───────────────────────────────────────────────────────────────────────────────────────────────


def test_everybody_sees_every_clause(house: House, site: Site) -> None:
    for client in (site.visitor(), house.founder):
        shown = client.get("/trust")
        assert shown.status == 200
        assert len(set(re.findall(r'href="/trust/([0-9.]+)"', shown.text))) == 119
    one = site.visitor().get("/trust/2.5.3")
    assert one.status == 200
    assert "operalta/web/entry.py" in one.text
    assert [site.visitor().get(f"/trust/{name}").status for name in ("9.9.9", "x", "2.5.3.1")] == [404, 422, 422]


def test_settings_are_a_copy(site: Site, servers: Servers) -> None:
    settings: Settings = site.services.settings
    assert settings.port == site.port != servers.settings.port
