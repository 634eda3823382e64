"""What the trust page shows: verdicts from the newest published evidence, and nothing where there is none."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from operalta.assurance import facts
from operalta.assurance.rules import Evidence, Observation, ProbeOutcome, Verdict
from operalta.terms.clauses import clauses
from tests.conftest import Pools, Servers

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CLAUSE = "2.5.3"


def evidence(verdict: Verdict = Verdict.PASS, at: datetime = NOW) -> dict[str, Any]:
    seen = (Observation("The roles agree", "4 roles", verdict is Verdict.PASS),)
    return Evidence(CLAUSE, ProbeOutcome(verdict, seen), "abc123", at, 0.25).to_json()


def proofs(failed: int = 0, *, holds: bool = True, at: datetime = NOW) -> dict[str, Any]:
    return {
        "clause": CLAUSE,
        "tier": "test",
        "passed": 12,
        "failed": failed,
        "not_run": 0,
        "commit": "abc123",
        "ran_at": at.isoformat(),
        "signature_holds": holds,
    }


def published(document: dict[str, Any], at: datetime = NOW) -> facts.PublishedEvidence:
    read = facts.read_document(at, json.loads(json.dumps({"commit": "abc123", **document})))
    assert read is not None
    return read


def verdict(document: dict[str, Any], now: datetime = NOW) -> tuple[Verdict, bool]:
    found = facts.verdicts(published(document), now)[CLAUSE]
    return found.verdict, found.stale


def test_without_evidence_every_clause_is_shown_and_none_was_run() -> None:
    found = facts.verdicts(None, NOW)
    assert list(found) == [each.id for each in clauses()]
    assert {each.verdict for each in found.values()} == {Verdict.NOT_RUN}
    assert all(each.reasons for each in found.values())


def test_a_clause_that_the_evidence_leaves_out_was_not_run() -> None:
    found = facts.verdicts(published({"evidence": [evidence()], "tests": [proofs()]}), NOW)
    assert [name for name, each in found.items() if each.verdict is not Verdict.NOT_RUN] == [CLAUSE]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"evidence": [evidence()], "tests": [proofs()]}, Verdict.PASS),
        ({"evidence": [evidence()]}, Verdict.NOT_RUN),
        ({"evidence": [], "tests": [proofs()]}, Verdict.NOT_RUN),
        ({"evidence": [evidence(Verdict.FAIL)], "tests": [proofs()]}, Verdict.FAIL),
        ({"evidence": [evidence()], "tests": [proofs(failed=1)]}, Verdict.FAIL),
        ({"evidence": [evidence()], "tests": [proofs(holds=False)]}, Verdict.ERROR),
        ({"evidence": [evidence(Verdict.ERROR)], "tests": [proofs()]}, Verdict.ERROR),
    ],
)
def test_a_verdict_is_the_weakest_part(document: dict[str, Any], expected: Verdict) -> None:
    assert verdict(document)[0] is expected


def test_what_is_older_than_a_day_is_stale() -> None:
    document = {"evidence": [evidence()], "tests": [proofs()]}
    assert verdict(document, NOW + timedelta(hours=24)) == (Verdict.PASS, False)
    assert verdict(document, NOW + timedelta(hours=24, seconds=1)) == (Verdict.PASS, True)
    assert published(document).is_stale(NOW + timedelta(days=2))
    assert not published(document).is_stale(NOW)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"evidence": "all"},
        {"evidence": [{**evidence(), "verdict": "fine"}]},
        {"evidence": [{**evidence(), "observed_at": "2026-11-23T12:00:00"}]},
        {"evidence": [evidence()], "tests": [{**proofs(), "failed": -1}]},
        {"evidence": [{**evidence(), "reason": "x" * 20_001}]},
    ],
)
def test_a_document_that_is_not_ours_proves_nothing(document: object) -> None:
    assert facts.read_document(NOW, document) is None


def test_the_code_is_what_is_registered_and_what_the_evidence_names() -> None:
    named = {"file": "operalta/x.py", "line": 3, "module": "operalta.x", "name": "guard"}
    found = facts.code_of(CLAUSE, published({"evidence": [{**evidence(), "code": [named]}]}))
    assert {"guard", "decide"} <= {each.name for each in found}


async def test_the_newest_document_counts_alone(servers: Servers, pools: Pools) -> None:
    with servers.as_owner() as owner:
        owner.execute("TRUNCATE assurance.evidence")
        assert await facts.latest(pools.web) is None
        for age, found in ((2, Verdict.PASS), (1, Verdict.FAIL)):
            owner.execute(
                "INSERT INTO assurance.evidence (at, document) VALUES (%s, %s)",
                (NOW - timedelta(hours=age), json.dumps({"commit": "abc123", "evidence": [evidence(found)]})),
            )
        newest = await facts.latest(pools.web)
        assert newest is not None
        assert newest.evidence[CLAUSE].outcome.verdict is Verdict.FAIL
        owner.execute("INSERT INTO assurance.evidence (at, document) VALUES (%s, %s)", (NOW, json.dumps({"odd": 1})))
        assert await facts.latest(pools.web) is None
        owner.execute("TRUNCATE assurance.evidence")
