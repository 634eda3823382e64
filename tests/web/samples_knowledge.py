"""Memory, metrics and files, as they look in use."""

from datetime import date
from typing import Final

from operalta.kernel.ids import new_id
from operalta.web.charts import Series, line_chart, sparkline
from tests.web.samples_ground import HASH, Context, Sample, before, page
from tests.web.samples_work import approval

LONG_EXCERPT: Final = (
    "Teams that pay yearly stay twice as long. The discount costs less than the churn it avoids, "
    "if at least a third of the teams take it; 41 % did in the first month."
)
BODY: Final = (
    "Teams that pay yearly stay **twice as long**.\n\n- 41 % took it in the first month\n- support requests fell\n\n"
    "> Two months is the most we can give before a year is worth less than ten months."
)
APPENDED: Final = "Letter to investors, third quarter, with all appendices and the cap table.pdf"


def memory_pages() -> list[Sample]:
    records = [
        {
            "id": str(new_id()),
            "title": title,
            "status": state,
            "owner": owner,
            "updated_at": before(days=days),
            "excerpt": excerpt,
            "by_agent": agent,
        }
        for title, state, owner, days, excerpt, agent in [
            (
                "We bill yearly, with two months free",
                "accepted",
                "Ada Okafor",
                12,
                LONG_EXCERPT,
                None,
            ),
            (
                "The free plan ends after thirty days",
                "proposed",
                "Jonas Weber",
                3,
                "It draws people who never meant to pay.",
                "Scribe",
            ),
            ("We stay with one product until the next round", "accepted", "Ada Okafor", 80, "", None),
            ("Monthly billing only", "superseded", "Ada Okafor", 300, "Simple to explain.", None),
        ]
    ]
    statuses = ["proposed", "accepted", "rejected", "superseded"]
    memory: Context = {
        "kind": "decision",
        "counts": {"decision": 4, "hypothesis": 7, "experiment": 3, "blocker": 1},
        "search": "",
        "status_filter": "",
        "statuses": statuses,
        "initial_statuses": statuses[:2],
        "records": records,
        "previous_url": None,
        "next_url": "?after=x",
        "form": {},
        "people": [("p1", "Ada Okafor"), ("p2", "Jonas Weber")],
    }
    record = {
        "id": str(new_id()),
        "kind": "decision",
        "title": "We bill yearly, with two months free",
        "body": BODY,
        "status": "accepted",
        "owner": "Ada Okafor",
        "evidence": "[Churn](/c/lumen/metrics/churn), the [billing study](https://research.example/billing)",
        "created_at": before(days=12),
        "provenance": "written by Analyst, approved by Ada Okafor",
        "version": 3,
        "superseded_by": None,
        "supersedes": {"id": "old", "title": "Monthly billing only"},
    }
    history = [
        {"at": before(days=2), "title": "Evidence added", "detail": "Ada Okafor", "href": None},
        {"at": before(days=12), "title": "Accepted", "detail": "Ada Okafor", "href": None},
        {"at": before(days=14), "title": "Proposed", "detail": "Analyst, for Jonas Weber", "href": "#"},
    ]
    links = [
        {"relation": "supports", "id": "h", "title": "Teams stay longer", "is_from_here": True, "is_over": False},
        {"relation": "contradicts", "id": "m", "title": "Monthly it is", "is_from_here": False, "is_over": True},
    ]
    one: Context = {
        "record": record,
        "links": links,
        "relations": ["supports", "relates to"],
        "others": [("h", "Hypothesis: Teams stay longer")],
        "history": history,
        "initial_statuses": statuses[:2],
        "next_statuses": statuses[1:3],
        "form": {},
    }
    past = {
        **record,
        "status": "superseded",
        "superseded_by": {"id": "n", "title": "Quarterly billing"},
        "body": "",
    }
    return [
        Sample("memory", "memory.html", {"page": page("memory"), **memory}),
        Sample(
            "memory-empty",
            "memory.html",
            {"page": page("memory"), **memory, "records": [], "kind": "blocker", "next_url": None},
        ),
        Sample("memory-record", "memory_record.html", {"page": page("memory"), **one}),
        Sample(
            "memory-record-past",
            "memory_record.html",
            {"page": page("memory"), **one, "record": past, "history": [], "links": [], "others": []},
        ),
    ]


def revenue() -> list[tuple[date, float]]:
    course = [8200, 8900, 9650, 9400, 10800, 12100, 13050, 12900, 14600, 16200, 17100, 18450]
    return [(date(2025 + (8 + m) // 12, (8 + m) % 12 + 1, 1), float(value)) for m, value in enumerate(course)]


def metric_pages() -> list[Sample]:
    points = revenue()
    falling = [(day, -value) for day, value in points]
    metrics = [
        {
            "slug": slug,
            "name": name,
            "unit": unit,
            "latest": latest,
            "change": change,
            "source": source,
            "updated_at": updated,
            "sparkline": sparkline(line),
            "is_stale": stale,
        }
        for slug, name, unit, latest, change, source, updated, line, stale in [
            ("revenue", "Monthly revenue", "€", "18,450", "+7.9 %", "books", before(days=3), points, False),
            ("churn", "Churn", "%", "2.2", "-0.4 in a month", "billing", before(days=3), falling, False),
            ("cash", "Cash", "€", "412,000", "-31,000 in 30 days", "bank", before(days=61), points[::-3], True),
            ("teams", "Paying teams", "", None, None, "billing", None, [], False),
        ]
    ]  # fmt: skip
    table = [
        {
            "day": day,
            "value": f"{value:,.0f}",
            "note": "One large team left" if index == 4 else None,
            "entered_by": "Ada Okafor",
            "entered_at": before(days=3 + 30 * index),
        }
        for index, (day, value) in enumerate(reversed(points))
    ]
    chart = line_chart("Monthly revenue", [Series("Revenue", points)], unit="€")
    two = line_chart(
        "Revenue and costs",
        [Series("Revenue", points), Series("Costs", [(day, 21000 - value / 3) for day, value in points])],
        unit="€",
    )
    metric = {
        "slug": "revenue",
        "name": "Monthly revenue",
        "unit": "€",
        "definition": "What was invoiced for the month, without tax, credits taken off.",
        "source": "the books",
        "owner": "Ada Okafor",
        "latest": "18,450",
        "updated_at": before(days=3),
    }
    figures = [
        ("Latest", "18,450 €"),
        ("Growth in a month", "+7.9 %"),
        ("Growth in a year", "+125 %"),
        ("Runway", "13 months"),
    ]
    one: Context = {"metric": metric, "chart": chart, "figures": figures, "points": table, "form": {}}
    return [
        Sample(
            "metrics",
            "metrics.html",
            {"page": page("metrics"), "metrics": metrics, "highlights": figures[1:], "form": {}},
        ),
        Sample("metric", "metric.html", {"page": page("metrics"), **one}),
        Sample("metric-two", "metric.html", {"page": page("metrics"), **one, "chart": two, "figures": []}),
        Sample(
            "metric-empty",
            "metric.html",
            {
                "page": page("metrics"),
                **one,
                "chart": line_chart("Monthly revenue", []),
                "figures": [],
                "points": [],
            },
        ),
    ]


def file_pages() -> list[Sample]:
    files = [
        {
            "id": str(new_id()),
            "name": name,
            "size": size,
            "origin": origin,
            "updated_at": before(hours=hours),
            "versions_count": versions,
        }
        for name, size, origin, hours, versions in [
            ("price-list.md", 1843, "made by Analyst for Ada Okafor", 1, 4),
            ("churn-2026.csv", 91244, "made by Analyst for Ada Okafor", 2, 1),
            (APPENDED, 4821244, "uploaded by Jonas Weber", 300, 2),
        ]
    ]  # fmt: skip
    folder: Context = {
        "folder": "prices",
        "folders": [{"name": "archive", "path": "prices/archive", "files_count": 12}],
        "crumbs": [{"name": "prices", "path": "prices"}],
        "files": files,
        "usage": {"bytes": 48_221_904, "limit": 1_073_741_824},
        "upload_limit": 26_214_400,
        "search": "",
        "form": {},
    }
    one: Context = {
        "file": {
            "id": "f1",
            "name": "price-list.md",
            "path": "prices/price-list.md",
            "folder": "prices",
            "size": 1843,
            "media_type": "text/markdown",
            "origin": "made by Analyst for Ada Okafor",
            "updated_at": before(hours=1),
            "deleted_at": None,
            "deleted_by": "Ada Okafor",
            "sha256": HASH,
        },
        "form": {},
        "preview": {"kind": "markdown", "text": str(approval()["calls"][0]["after"]), "is_cut": True},
        "reading": {"facts": [], "notes": (), "refusal": None},
        "versions": [
            {
                "number": number,
                "size": 1700 + number,
                "by": "Analyst",
                "at": before(days=40 - 10 * number),
                "is_current": number == 4,
            }
            for number in (4, 3, 2, 1)
        ],
    }
    binned = {**one["file"], "deleted_at": before(days=2)}
    nothing = {"kind": "none", "text": "", "is_cut": False}
    in_bin = [
        {"id": str(new_id()), "path": path, "size": size, "deleted_by": by, "deleted_at": before(hours=hours)}
        for path, size, by, hours in [
            ("prices/price-list-old.md", 1843, "an agent for Ada Okafor", 3),
            (f"archive/2024/{APPENDED}", 4821244, "Jonas Weber", 300),
        ]
    ]
    document = {"kind": "document", "text": "page 1 · Prices\n\nWe sell by the year.", "is_cut": True}
    read: Context = {"facts": [("Pages", "12")], "notes": ("Files inside it were left out.",), "refusal": None}
    unread: Context = {"facts": [], "notes": (), "refusal": "This document is damaged. Save it once more."}
    text = {"kind": "text", "text": "month,churn\n2026-07,3.1\n2026-08,2.6\n", "is_cut": False}
    return [
        Sample("files", "files.html", {"page": page("files"), **folder}),
        Sample(
            "files-empty",
            "files.html",
            {"page": page("files"), **folder, "folder": "", "folders": [], "crumbs": [], "files": []},
        ),
        Sample("file", "file.html", {"page": page("files"), **one}),
        Sample("file-text", "file.html", {"page": page("files"), **one, "preview": text}),
        Sample("file-document", "file.html", {"page": page("files"), **one, "preview": document, "reading": read}),
        Sample("file-unread", "file.html", {"page": page("files"), **one, "preview": nothing, "reading": unread}),
        Sample("file-none", "file.html", {"page": page("files"), **one, "preview": nothing}),
        Sample("file-deleted", "file.html", {"page": page("files"), **one, "file": binned, "preview": nothing}),
        Sample(
            "bin", "bin.html", {"page": page("files"), "files": in_bin, "newer_url": None, "older_url": "/x?cursor=a"}
        ),
        Sample("bin-empty", "bin.html", {"page": page("files"), "files": [], "newer_url": None, "older_url": None}),
    ]


def artifact_pages() -> list[Sample]:
    listed = [
        {
            "id": str(new_id()),
            "title": title,
            "kind": kind,
            "is_private": private,
            "by": by,
            "updated_at": before(hours=hours),
            "versions_count": versions,
        }
        for title, kind, private, by, hours, versions in [
            ("Update for investors, third quarter", "document", False, "an agent for Ada Okafor", 2, 4),
            ("What a team pays, by plan and by the month in which it came to us", "table", True, "Ada Okafor", 30, 1),
        ]
    ]
    whole: Context = {
        "search": "",
        "archived": False,
        "artifacts": listed,
        "kinds": ["document", "table", "text"],
        "previous_url": None,
        "next_url": "?cursor=x",
        "form": {},
    }
    versions = [
        {
            "number": number,
            "by": "an agent for Ada Okafor, under an approval",
            "at": before(days=9 - number),
            "note": "Churn is in it." if number == 4 else "",
            "href": f"?version={number}",
        }
        for number in (4, 3, 2, 1)
    ]
    shown = {
        **versions[0],
        "content": BODY,
        "is_current": True,
        "before": BODY.replace("41 %", "40 %"),
        "table": None,
    }
    artifact = {
        **listed[0],
        "version": 4,
        "size": len(BODY),
        "made_by": "Ada Okafor",
        "created_at": before(days=9),
        "archived_at": None,
        "is_mine": False,
        "conversation_url": "/c/lumen/chat/c1",
    }
    one: Context = {
        "artifact": artifact,
        "shown": shown,
        "versions": versions,
        "newer_versions_url": None,
        "older_versions_url": None,
        "form": {},
    }
    table = {"header": ["plan", "teams"], "rows": [["yearly", "41"], ["monthly", "12"]], "more": 3}
    old_table = {**shown, "number": 1, "is_current": False, "before": "", "content": "plan,teams", "table": table}
    mine = {**artifact, **listed[1], "is_mine": True, "conversation_url": None}
    text = {**artifact, "kind": "text", "archived_at": before(days=1)}
    return [
        Sample("artifacts", "artifacts.html", {"page": page("files"), **whole}),
        Sample(
            "artifacts-empty",
            "artifacts.html",
            {"page": page("files"), **whole, "artifacts": [], "next_url": None},
        ),
        Sample("artifacts-archive", "artifacts.html", {"page": page("files"), **whole, "archived": True}),
        Sample("artifact", "artifact.html", {"page": page("files"), **one}),
        Sample("artifact-table", "artifact.html", {"page": page("files"), **one, "artifact": mine, "shown": old_table}),
        Sample("artifact-archived", "artifact.html", {"page": page("files"), **one, "artifact": text}),
        Sample(
            "artifact-conflict",
            "artifact.html",
            {"page": page("files"), **one, "form": {"content": "Mine", "note": "Shorter"}},
        ),
    ]
