import dataclasses
import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operalta.assurance.rules import (
    STRENGTH,
    Attestation,
    ClauseVerdict,
    Evidence,
    Observation,
    Observations,
    ProbeOutcome,
    ProofResult,
    Tier,
    Verdict,
    decide,
    weakest,
)
from operalta.terms.clauses import clause
from operalta.terms.registry import CodeReference

NOW = datetime(2026, 3, 16, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
TESTED, BOTH, ATTESTED = clause("2.2.2"), clause("4.1.1"), clause("1.2.1")
PASSED = ProbeOutcome(Verdict.PASS, (Observation("six digits", "123456", holds=True),))
RESULT = ProofResult(Tier.TEST, 3, 0, 0, "c0ffee", NOW - HOUR, signature_holds=True)
DOCUMENT = Attestation("ISO-7", "The provider", NOW - 100 * HOUR, NOW + 100 * HOUR)


def evidence(clause_id: str = "2.2.2", outcome: ProbeOutcome = PASSED, age: timedelta = HOUR) -> Evidence:
    return Evidence(clause_id, outcome, "c0ffee", NOW - age, 0.25)


def with_verdict(verdict: Verdict) -> Evidence:
    return evidence(outcome=ProbeOutcome(verdict, ()))


def test_every_verdict_has_one_place_in_the_order() -> None:
    assert sorted(STRENGTH) == sorted(Verdict)
    assert STRENGTH[0] is Verdict.FAIL
    assert STRENGTH[-1] is Verdict.PASS


@given(st.lists(st.sampled_from(Verdict), min_size=1))
def test_the_weakest_is_among_them_and_a_pass_needs_them_all(verdicts: list[Verdict]) -> None:
    result = weakest(verdicts)
    assert result in verdicts
    assert all(STRENGTH.index(result) <= STRENGTH.index(each) for each in verdicts)
    assert (result is Verdict.PASS) == (set(verdicts) == {Verdict.PASS})


def test_of_nothing_nothing_was_run() -> None:
    assert weakest([]) is Verdict.NOT_RUN


def test_what_was_expected_and_seen_passes() -> None:
    seen = Observations()
    assert seen.expect("the code has six digits", len("123456") == 6, "123456")
    assert seen.outcome() == ProbeOutcome(Verdict.PASS, (Observation("the code has six digits", "123456", holds=True),))


def test_one_claim_that_does_not_hold_fails_the_probe() -> None:
    seen = Observations()
    for number in range(4):
        seen.expect(f"claim {number}", number % 2 == 0, number)
    outcome = seen.outcome()
    assert outcome.verdict is Verdict.FAIL
    assert outcome.reason == "This does not hold: claim 1, and 1 more."
    assert len(outcome.observations) == 4


def test_a_probe_that_observed_nothing_has_shown_nothing() -> None:
    assert Observations().outcome().verdict is Verdict.ERROR


def test_not_applicable_needs_a_precondition_that_was_seen() -> None:
    seen = Observations()
    seen.not_applicable("no SMS provider is configured", absent=True, observed="providers: none")
    assert seen.outcome().verdict is Verdict.NOT_APPLICABLE
    assert seen.outcome().observations[0].observed == "providers: none"
    seen.expect("something else", holds=False)
    assert seen.outcome().verdict is Verdict.FAIL
    unproved = Observations()
    unproved.not_applicable("no SMS provider is configured", absent=False, observed="providers: bird")
    assert unproved.outcome().verdict is Verdict.FAIL


def test_evidence_is_json_with_all_that_an_auditor_needs() -> None:
    reference = CodeReference("operalta.identity.codes", "redeem", "operalta/identity/codes.py", 12)
    told = dataclasses.replace(evidence(), code=(reference,)).to_json()
    assert json.loads(json.dumps(told)) == told
    assert told == {
        "clause": "2.2.2",
        "verdict": "pass",
        "reason": "",
        "observations": [{"claim": "six digits", "observed": "123456", "holds": True}],
        "commit": "c0ffee",
        "observed_at": "2026-03-16T11:00:00.000+00:00",
        "duration_milliseconds": 250,
        "code": [
            {
                "file": "operalta/identity/codes.py",
                "line": 12,
                "module": "operalta.identity.codes",
                "name": "redeem",
            }
        ],
    }


def test_a_clause_passes_when_probe_and_tests_do() -> None:
    verdict = decide(TESTED, now=NOW, evidence=evidence(), tests=[RESULT])
    assert verdict.verdict is Verdict.PASS
    assert verdict.passes
    assert not verdict.stale
    assert verdict.reasons == ()
    assert [(part.name, part.verdict, part.commit) for part in verdict.parts] == [
        ("probe", Verdict.PASS, "c0ffee"),
        ("tests", Verdict.PASS, "c0ffee"),
    ]


def test_a_clause_without_a_probe_is_not_run_and_says_so() -> None:
    verdict = decide(TESTED, now=NOW, evidence=None, tests=[RESULT])
    assert verdict.verdict is Verdict.NOT_RUN
    assert not verdict.passes
    assert verdict.reasons == ("No probe watches this on the running system.",)


def test_a_clause_without_results_of_tests_is_not_run() -> None:
    verdict = decide(TESTED, now=NOW, evidence=evidence())
    assert verdict.verdict is Verdict.NOT_RUN
    assert verdict.reasons == ("There is no signed result of its tests yet.",)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"failed": 1}, Verdict.FAIL),
        ({"failed": 1, "not_run": 2}, Verdict.FAIL),
        ({"not_run": 1}, Verdict.NOT_RUN),
        ({"passed": 0}, Verdict.NOT_RUN),
        ({"signature_holds": False}, Verdict.ERROR),
        ({"signature_holds": False, "failed": 1}, Verdict.ERROR),
        ({}, Verdict.PASS),
    ],
)
def test_results_of_tests_count_as_what_they_are(changed: dict[str, int], expected: Verdict) -> None:
    result = dataclasses.replace(RESULT, **changed)
    assert decide(TESTED, now=NOW, evidence=evidence(), tests=[result]).verdict is expected


def test_a_failed_soak_is_not_hidden_by_tests_that_passed() -> None:
    soak = dataclasses.replace(RESULT, tier=Tier.SOAK, failed=1)
    verdict = decide(TESTED, now=NOW, evidence=evidence(), tests=[RESULT, soak])
    assert verdict.verdict is Verdict.FAIL
    assert verdict.reasons == ("In its soak, 1 of the proofs failed.",)


@pytest.mark.parametrize("verdict", Verdict)
def test_no_probe_is_lifted_by_its_tests(verdict: Verdict) -> None:
    assert decide(TESTED, now=NOW, evidence=with_verdict(verdict), tests=[RESULT]).verdict is verdict


def test_a_document_is_shown_as_one_and_never_as_a_pass() -> None:
    verdict = decide(ATTESTED, now=NOW, evidence=evidence("1.2.1"), attestations=[DOCUMENT])
    assert verdict.verdict is Verdict.ATTESTED
    assert not verdict.passes
    assert verdict.reasons == ("The provider vouches for it until 2026-03-20 (ISO-7).",)
    assert not verdict.stale


def test_a_clause_that_needs_a_document_has_none_by_default() -> None:
    verdict = decide(ATTESTED, now=NOW, evidence=evidence("1.2.1"))
    assert verdict.verdict is Verdict.NOT_RUN
    assert verdict.reasons == ("It needs a document, and there is none on file.",)


@pytest.mark.parametrize("changed", [{"expires_at": NOW}, {"expires_at": NOW - HOUR}, {"issued_at": NOW + HOUR}])
def test_a_document_out_of_its_time_fails_the_clause(changed: dict[str, datetime]) -> None:
    late = dataclasses.replace(DOCUMENT, **changed)
    verdict = decide(ATTESTED, now=NOW, evidence=evidence("1.2.1"), attestations=[DOCUMENT, late])
    assert verdict.verdict is Verdict.FAIL


def test_where_both_are_needed_the_weaker_counts() -> None:
    def verdict(outcome: ProbeOutcome, *documents: Attestation) -> ClauseVerdict:
        return decide(BOTH, now=NOW, evidence=evidence("4.1.1", outcome), tests=[RESULT], attestations=documents)

    assert verdict(PASSED, DOCUMENT).verdict is Verdict.ATTESTED
    assert verdict(PASSED).verdict is Verdict.NOT_RUN
    assert verdict(ProbeOutcome(Verdict.FAIL, ()), DOCUMENT).verdict is Verdict.FAIL


def test_a_document_does_not_help_a_clause_that_needs_none() -> None:
    verdict = decide(TESTED, now=NOW, evidence=None, tests=[RESULT], attestations=[DOCUMENT])
    assert verdict.verdict is Verdict.NOT_RUN
    assert all(part.name != "document" for part in verdict.parts)


def test_what_is_older_than_a_day_is_stale_and_keeps_its_verdict() -> None:
    day = timedelta(days=1)
    old_result = dataclasses.replace(RESULT, ran_at=NOW - day - HOUR)
    assert not decide(TESTED, now=NOW, evidence=evidence(age=day), tests=[RESULT]).stale
    for each, result in ((evidence(age=day + HOUR), RESULT), (evidence(), old_result)):
        verdict = decide(TESTED, now=NOW, evidence=each, tests=[result])
        assert verdict.stale
        assert verdict.verdict is Verdict.PASS


def test_evidence_decides_its_own_clause_only() -> None:
    with pytest.raises(ValueError, match=r"2\.2\.2"):
        decide(ATTESTED, now=NOW, evidence=evidence("2.2.2"))


def test_public_reasons_never_quote_what_a_probe_saw() -> None:
    for verdict, tests in itertools.product(Verdict, ([], [RESULT])):
        outcome = ProbeOutcome(verdict, (Observation("hunter2", "hunter2", holds=False),), "hunter2")
        decided = decide(TESTED, now=NOW, evidence=evidence(outcome=outcome), tests=tests)
        assert "hunter2" not in str(decided)
