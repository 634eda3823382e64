"""The whole of `verify`, over a deployment that really runs."""

import json
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from operalta.assurance import facts
from operalta.assurance.registry import ProbeContext, ProbeRegistry
from operalta.assurance.rules import Observations, Verdict
from operalta.assurance.stage import Stage
from operalta.assurance.verify import (
    Report,
    all_probes,
    commit_of,
    evidence_ring,
    publish,
    run_probes,
    signature_holds,
    signed,
)
from operalta.settings import DatabaseRole
from operalta.terms.registry import CodeReference

pytestmark = [pytest.mark.xdist_group("deployment"), pytest.mark.timeout(1200)]
CODE = {"2.5.2": (CodeReference("operalta.example", "example", "operalta/example.py", 7),)}


async def looks_wrong(_context: ProbeContext) -> Observations:
    raise RuntimeError("secret text")


async def sees_a_fault(_context: ProbeContext) -> Observations:
    seen = Observations()
    seen.expect("what never holds", False, "seen")
    return seen


async def sees_nothing(_context: ProbeContext) -> Observations:
    return Observations()


async def test_the_product_keeps_its_promises(stage: Stage) -> None:
    report = await run_probes(stage, code=CODE)
    observed = {each.clause for each in report.evidence}
    assert observed == all_probes().all().keys()
    broken = {
        each.clause: [seen.claim for seen in each.outcome.observations if not seen.holds] or each.outcome.reason
        for each in report.evidence
        if each.outcome.verdict is not Verdict.PASS
    }
    assert len(report.with_verdict(Verdict.PASS)) >= 20, broken
    assert broken == {}


async def test_the_evidence_is_signed_published_and_read_as_it_was_written(stage: Stage) -> None:
    report = await run_probes(stage, clauses={"2.5.2", "4.2.2"}, code=CODE)
    document = signed(report.document(), evidence_ring(stage.settings))
    key = evidence_ring(stage.settings).current()
    assert signature_holds(json.loads(json.dumps(document)), key)
    altered = json.loads(json.dumps(document).replace('"pass"', '"fail"', 1))
    assert not signature_holds(altered, key)
    assert not signature_holds({**document, "signature": {"value": ""}}, key)
    assert not signature_holds(report.document(), key)

    published = await publish(report.document(), stage.settings)
    with psycopg.connect(stage.settings.database_dsn(DatabaseRole.WEB)) as connection:
        row = connection.execute("SELECT at, document FROM assurance.evidence ORDER BY at DESC LIMIT 1").fetchone()
    assert row is not None
    at, kept = row
    assert kept == published
    assert signature_holds(kept, key)
    read = facts.read_document(at, kept)
    assert read is not None
    assert read.commit == "tested"
    assert {clause: each.outcome for clause, each in read.evidence.items()} == {
        each.clause: each.outcome for each in report.evidence
    }
    assert read.evidence["2.5.2"].code == CODE["2.5.2"]
    shown = await stage.request("GET", "/trust")
    assert shown.status == 200


async def test_only_what_passes_counts(stage: Stage) -> None:
    registry = ProbeRegistry()
    registry.probe("2.1.1")(looks_wrong)
    registry.probe("2.1.2")(sees_a_fault)
    registry.probe("2.1.3", alone=True)(sees_nothing)
    report = await run_probes(stage, registry=registry, code={})
    assert [each.outcome.verdict for each in report.evidence] == [Verdict.ERROR, Verdict.FAIL, Verdict.ERROR]
    assert "secret text" not in json.dumps(report.document())
    assert report.with_verdict(Verdict.PASS) == ()
    few = await run_probes(stage, registry=registry, clauses={"2.1.2"}, code={})
    assert [each.clause for each in few.evidence] == ["2.1.2"]


def test_a_commit_is_told_only_where_there_is_one(tmp_path: Path) -> None:
    assert commit_of(tmp_path) == "unknown"


def test_times_are_told_in_utc(stage: Stage) -> None:
    at = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert Report(at, stage.commit, ()).document()["at"] == "2026-01-31T12:00:00+00:00"
