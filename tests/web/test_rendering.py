import dataclasses
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from jinja2 import StrictUndefined, UndefinedError

from operalta.web import rendering
from operalta.web.charts import Chart, Series, line_chart
from operalta.web.rendering import (
    STATIC_FOLDER,
    TEMPLATE_FOLDER,
    DiffLine,
    asset_url,
    byte_size,
    diff_lines,
    environment,
    plural,
    render,
    reveal,
    short_id,
)
from tests.web import samples
from tests.web.hostile import CORPUS, Page, hostile

RICH = samples.rich()
ERRORS = samples.with_errors()
NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)


def ids(sample: samples.Sample) -> str:
    return sample.name


def page_of(sample: samples.Sample) -> str:
    return render(f"pages/{sample.template}", sample.context)


@pytest.mark.parametrize("sample", RICH, ids=ids)
def test_each_page_renders_whole(sample: samples.Sample) -> None:
    page = Page(page_of(sample))
    assert page.count("h1") == 1
    assert page.count("main") == 1
    assert page.title.endswith("· Operalta")
    assert not page.title.startswith("Error:")
    assert page.doubled_ids() == []
    assert page.labels_without_target() == []


@pytest.mark.parametrize("sample", RICH, ids=ids)
def test_each_page_renders_with_as_little_as_there_can_be(sample: samples.Sample) -> None:
    little = samples.Sample(sample.name, sample.template, samples.minimal(sample.context))
    assert Page(page_of(little)).count("h1") == 1


@pytest.mark.parametrize("sample", ERRORS, ids=ids)
def test_errors_are_summed_up_in_focus_and_named_in_the_title(sample: samples.Sample) -> None:
    page = Page(page_of(sample))
    assert page.title.startswith("Error: ")
    (summary,) = page.having("class", "error-summary")
    assert "autofocus" in summary.attributes
    assert summary.attributes["tabindex"] == "-1"
    for error in sample.context["page"]["errors"]:
        if error["field"]:
            (field,) = page.having("id", f"field-{error['field']}")
            assert field.attributes["aria-invalid"] == "true"
            assert f"field-{error['field']}-error" in (field.attributes["aria-describedby"] or "")


def test_what_was_typed_is_kept_but_never_a_password() -> None:
    page = Page(page_of(ERRORS[0]))
    assert page.having("id", "field-email")[0].attributes["value"] == "ada.lumen.example"
    assert "value" not in page.having("id", "field-password")[0].attributes


@pytest.mark.parametrize("sample", [*RICH, *ERRORS], ids=ids)
def test_no_page_breaks_the_content_policy(sample: samples.Sample) -> None:
    Page(page_of(sample)).assert_under_policy()


@pytest.mark.proves("3.4.2")
@pytest.mark.parametrize("text", CORPUS)
def test_hostile_text_in_every_field_of_every_page_is_only_text(text: str) -> None:
    for sample in [*RICH, *ERRORS]:
        page = Page(render(f"pages/{sample.template}", hostile(sample.context, text)))
        page.assert_under_policy()
        page.assert_knows_no("marker-of-attack")


@pytest.mark.proves("3.4.2")
def test_everything_is_escaped_and_nothing_switches_that_off() -> None:
    assert environment().autoescape is True
    assert environment().from_string("{{ x }}").render(x="<b>") == "&lt;b&gt;"
    for template in TEMPLATE_FOLDER.rglob("*.html"):
        text = template.read_text()
        assert not re.search(r"\|\s*safe\b|autoescape|Markup|\bstyle=|\son\w+=", text), template


def test_a_missing_name_is_an_error() -> None:
    assert environment().undefined is StrictUndefined
    with pytest.raises(UndefinedError):
        environment().from_string("{{ missing }}").render()


def test_every_page_template_tells_its_context_and_is_in_the_gallery() -> None:
    shown = {sample.template for sample in RICH}
    for template in (TEMPLATE_FOLDER / "pages").glob("*.html"):
        assert template.read_text().startswith("{#"), template.name
        assert template.name in shown


def test_every_static_file_that_is_used_exists_and_its_address_follows_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = set(re.findall(r'"/static/([\w.]+)\?v=([0-9a-f]{16})"', "".join(map(page_of, RICH))))
    assert {name for name, _ in used} == {path.name for path in STATIC_FOLDER.iterdir()}
    (tmp_path / "a.css").write_text("a")
    monkeypatch.setattr(rendering, "STATIC_FOLDER", tmp_path)
    first = asset_url("a.css")
    asset_url.cache_clear()
    (tmp_path / "a.css").write_text("b")
    assert asset_url("a.css") != first
    asset_url.cache_clear()


def test_own_script_stays_small_and_uses_no_dangerous_sink() -> None:
    scripts = "".join(path.read_text() for path in STATIC_FOLDER.glob("*.js"))
    assert scripts.count("\n") <= 450
    sinks = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(|\.style\b|setHTMLUnsafe"
    assert not re.search(sinks, scripts)


@pytest.mark.parametrize(
    ("distance", "text"),
    [
        (timedelta(seconds=5), "just now"),
        (timedelta(minutes=1), "1 minute ago"),
        (timedelta(hours=3, minutes=50), "3 hours ago"),
        (timedelta(days=800), "2 years ago"),
        (timedelta(seconds=-5), "in a moment"),
        (timedelta(days=-2, seconds=-1), "in 2 days"),
    ],
)
def test_how_long_ago(distance: timedelta, text: str) -> None:
    html = rendering.ago(NOON - distance, now=NOON)
    assert html.endswith(f">{text}</time>")
    assert 'data-time="ago"' in html


def test_times_are_machine_readable_and_none_is_said() -> None:
    assert 'datetime="2026-09-01T12:00:00Z"' in rendering.date_and_time(NOON)
    assert "01 Sep 2026, 12:00 UTC" in rendering.date_and_time(NOON)
    assert rendering.day(NOON.date()) == '<time datetime="2026-09-01">1 Sep 2026</time>'
    for unknown in (rendering.ago(None), rendering.date_and_time(None), rendering.day(None)):
        assert "muted" in unknown


def test_sizes_and_counts_read_well() -> None:
    assert [byte_size(n) for n in (0, 1, 1023, 1024, 1843, 25 * 1024**2, 3 * 1024**5)] == [
        "0 bytes",
        "1 byte",
        "1023 bytes",
        "1 kB",
        "1.8 kB",
        "25 MB",
        "3.0 PB",
    ]
    assert [plural(1, "reply", "replies"), plural(1204, "event")] == ["1 reply", "1,204 events"]


def test_an_identifier_is_told_by_its_end() -> None:
    identifier = UUID("0192f3aa-0000-7000-8000-0123456789ab")
    assert ">456789ab</code>" in short_id(identifier)
    assert f'title="{identifier}"' in short_id(identifier)


@pytest.mark.proves("3.4.4")
@pytest.mark.parametrize("character", ["\u202e", "\u200b", "\u2066", "\x07", "\ufeff", "\u3164", "\u2028"])
def test_characters_that_cannot_be_seen_are_shown(character: str) -> None:
    shown = reveal(f"a{character}b<")
    assert character not in shown
    assert f"U+{ord(character):04X}" in shown
    assert shown.endswith("b&lt;")


def test_ordinary_text_is_left_alone() -> None:
    assert reveal("Zürich, 東京\n\t1 € done") == "Zürich, 東京\n\t1 € done"


def test_an_approval_shows_every_argument_whole() -> None:
    long = "x" * 5000
    approval = samples.approval(arguments={"body": long, "to": ["a@x.example", "b@x.example"], "hidden": "\u202e"})
    text = Page(render_approval(approval)).text
    assert text.count(long) == 2
    assert "b@x.example" in text
    assert "U+202E" in text


def render_approval(approval: samples.Context, **changes: object) -> str:
    page = samples.page("approvals", **changes)
    return render("pages/approval.html", {"page": page, "approval": approval, "return_to": ""})


def test_who_may_decide_gets_three_buttons_and_others_none() -> None:
    def choices(html: str) -> list[str | None]:
        return [element.attributes["value"] for element in Page(html).having("name", "decision")]

    assert choices(render_approval(samples.approval())) == ["denied", "once", "conversation"]
    assert choices(render_approval(samples.approval(sensitive=True))) == ["denied", "once"]
    assert choices(render_approval(samples.approval(), permissions={"approvals:read"})) == []
    assert choices(render_approval(samples.approval(state="expired"))) == []
    assert choices(render_approval(samples.approval(may_decide=False))) == []


def test_a_card_of_several_calls_sends_those_that_it_shows_and_no_others() -> None:
    card = samples.joint_approval()
    html = Page(render_approval(card))
    shown = [element.attributes["value"] for element in html.having("name", "shown")]
    assert shown == [call["seen"] for call in card["calls"] if call["state"] == "waiting"]
    addresses = {e.attributes["formaction"] for e in html.having("name", "decision") if "formaction" in e.attributes}
    assert addresses == {f"/c/lumen/approvals/{value[:36]}/decision" for value in map(str, shown)}
    card["calls"][0]["may_decide"] = False
    shown = [element.attributes["value"] for element in Page(render_approval(card)).having("name", "shown")]
    assert card["calls"][0]["seen"] not in shown
    assert len(shown) == 2


def test_the_focus_of_an_approval_starts_on_its_heading() -> None:
    (focused,) = [e for e in Page(render_approval(samples.approval())).elements if "autofocus" in e.attributes]
    assert focused.tag == "h2"


def test_the_rail_offers_what_the_role_may_see() -> None:
    observer = samples.page(permissions={"memory:read", "metrics:read"})
    context = {"page": observer, "status": 404, "title": "x", "text": "x", "retry_after": None}
    html = render("pages/error.html", context)
    assert "/c/lumen/memory" in html
    assert "/c/lumen/chat" not in html
    assert "/c/lumen/audit" not in html


def test_the_outbox_is_offered_to_the_operator_alone() -> None:
    context = {"status": 404, "title": "x", "text": "x", "retry_after": None}
    member = {**samples.ADA, "is_operator": False}
    assert "/outbox" in render("pages/error.html", {"page": samples.page(), **context})
    assert "/outbox" not in render("pages/error.html", {"page": samples.page(person=member), **context})


def test_a_comparison_folds_only_what_stays() -> None:
    old = "\n".join(f"line {number}" for number in range(40))
    lines = diff_lines(old, old.replace("line 20", "line twenty"))
    assert [line for line in lines if line.kind in {"removed", "added"}] == [
        DiffLine("removed", "line 20"),
        DiffLine("added", "line twenty"),
    ]
    assert lines[0] == DiffLine("skipped", "17 unchanged lines")
    assert lines[-1] == DiffLine("skipped", "16 unchanged lines")
    assert diff_lines(old, old) == []
    assert diff_lines("", "new") == [DiffLine("added", "new")]


def test_a_comparison_of_very_long_texts_shows_both_whole() -> None:
    old = "\n" * 3000
    assert len(diff_lines(old, "x")) == 3002  # a text that ends with a line feed has an empty last line


def test_a_hostile_chart_title_is_only_text() -> None:
    chart: Chart = line_chart("<script>", [Series('"><script>', samples.revenue())])
    context = next(sample for sample in RICH if sample.name == "metric").context
    Page(render("pages/metric.html", {**context, "chart": dataclasses.replace(chart)})).assert_under_policy()
