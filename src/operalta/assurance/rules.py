"""Verdicts: what one probe observed, and what that makes of a clause together with tests and documents.

A clause is as good as the weakest part of its proof, and only what is there and passes counts as passed:
silence, a part that did not run, or a document's word never turns a clause green.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from operalta.terms.clauses import Clause
from operalta.terms.registry import CodeReference

STALE_AFTER = timedelta(days=1)
"""How old the evidence of a verdict may be before it is shown as stale."""


class Verdict(StrEnum):
    """What can be said of a clause, or of one part of its proof."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    ERROR = "error"
    NOT_RUN = "not run"
    ATTESTED = "attested"
    NOT_APPLICABLE = "not applicable"


STRENGTH = (
    Verdict.FAIL,
    Verdict.ERROR,
    Verdict.NOT_RUN,
    Verdict.ATTESTED,
    Verdict.NOT_APPLICABLE,
    Verdict.PASS,
)
"""All verdicts, the weakest first. What was seen to be broken outweighs what could not be seen."""


def weakest(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the weakest of the verdicts; of none at all, that nothing was run."""
    return min(verdicts, key=STRENGTH.index, default=Verdict.NOT_RUN)


@dataclass(frozen=True, slots=True)
class Observation:
    """One thing a probe looked at: the claim, what was seen, and whether the claim holds."""

    claim: str
    observed: str
    holds: bool


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """What a probe found. `reason` is one sentence for people; empty where the verdict is a plain pass."""

    verdict: Verdict
    observations: tuple[Observation, ...]
    reason: str = ""


class Observations:
    """What a probe collects while it looks; it returns this.

    The probe passes when everything it expected holds. One that expected nothing has shown nothing, which is
    an error of the probe.
    """

    def __init__(self) -> None:
        self._seen: list[Observation] = []
        self._not_applicable: str | None = None

    def expect(self, claim: str, holds: bool, observed: object = "") -> bool:  # noqa: FBT001 - reads as a sentence
        """Record whether `claim` holds, with what was seen, and return `holds`. Never pass a secret."""
        self._seen.append(Observation(claim, str(observed), holds))
        return holds

    def not_applicable(self, precondition: str, absent: bool, observed: object) -> None:  # noqa: FBT001 - as above
        """Record that the clause has nothing to act on, where `absent` was really observed.

        An absence that was not observed is a claim that does not hold, and fails the clause.
        """
        if self.expect(f"There is nothing to protect here: {precondition}", absent, observed):
            self._not_applicable = precondition

    def outcome(self) -> ProbeOutcome:
        """Return the verdict over everything recorded."""
        seen = tuple(self._seen)
        broken = [each for each in seen if not each.holds]
        if not seen:
            return ProbeOutcome(Verdict.ERROR, seen, "The probe ran and observed nothing.")
        if broken:
            more = f", and {len(broken) - 1} more" if len(broken) > 1 else ""
            return ProbeOutcome(Verdict.FAIL, seen, f"This does not hold: {broken[0].claim}{more}.")
        if self._not_applicable:
            return ProbeOutcome(Verdict.NOT_APPLICABLE, seen, f"Not applicable: {self._not_applicable}.")
        return ProbeOutcome(Verdict.PASS, seen)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A probe's outcome with where and when it was obtained: which clause, commit, code, and how long."""

    clause: str
    outcome: ProbeOutcome
    commit: str
    observed_at: datetime
    duration_seconds: float
    code: tuple[CodeReference, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the evidence as values that JSON carries unchanged."""
        return {
            "clause": self.clause,
            "verdict": self.outcome.verdict.value,
            "reason": self.outcome.reason,
            "observations": [
                {"claim": each.claim, "observed": each.observed, "holds": each.holds}
                for each in self.outcome.observations
            ],
            "commit": self.commit,
            "observed_at": _utc_text(self.observed_at),
            "duration_milliseconds": round(self.duration_seconds * 1_000),
            "code": [
                {"file": each.file, "line": each.line, "module": each.module, "name": each.name} for each in self.code
            ],
        }


class Tier(StrEnum):
    """Which run a test result comes from."""

    TEST = "test"
    SOAK = "soak"


@dataclass(frozen=True, slots=True)
class ProofResult:
    """The last signed result of a clause's tests in one tier: how many passed, failed and were not run."""

    tier: Tier
    passed: int
    failed: int
    not_run: int
    commit: str
    ran_at: datetime
    signature_holds: bool


@dataclass(frozen=True, slots=True)
class Attestation:
    """A document on file: its reference, who vouches, and from when until when (aware times)."""

    reference: str
    issuer: str
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a clause's proof: which, its verdict, why, when it was obtained, and at which commit."""

    name: str
    verdict: Verdict
    reason: str
    obtained_at: datetime | None = None
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class ClauseVerdict:
    """What can be said of a clause now, and why.

    `stale` tells that some part is older than a day. `reasons` are sentences that anybody may read: they name
    the part, never what a probe saw.
    """

    clause: str
    verdict: Verdict
    stale: bool
    parts: tuple[Part, ...]
    reasons: tuple[str, ...] = field(default=())

    @property
    def passes(self) -> bool:
        """Whether the clause counts as proved. Nothing but a pass does."""
        return self.verdict is Verdict.PASS


def decide(
    clause: Clause,
    *,
    now: datetime,
    evidence: Evidence | None,
    tests: Sequence[ProofResult] = (),
    attestations: Sequence[Attestation] = (),
) -> ClauseVerdict:
    """Return the clause's verdict: the weakest of its probe, its tests and, where needed, its documents.

    `tests` are the last results of each tier that the clause has tests in; `attestations` all documents on
    file for it, one for each provider, for instance. A part that is needed and missing counts as not run.
    """
    parts = [_probe_part(clause, evidence)]
    if clause.needs_tests or tests:
        parts.extend(_test_parts(tests))
    if clause.needs_attestation:
        parts.extend(_attestation_parts(attestations, now))
    times = [part.obtained_at for part in parts if part.obtained_at]
    return ClauseVerdict(
        clause=clause.id,
        verdict=weakest(part.verdict for part in parts),
        stale=any(now - obtained > STALE_AFTER for obtained in times),
        parts=tuple(parts),
        reasons=tuple(part.reason for part in parts if part.verdict is not Verdict.PASS),
    )


_PROBE_SENTENCES = {
    Verdict.PASS: "The probe saw what the clause promises.",
    Verdict.FAIL: "The probe saw something that the clause rules out.",
    Verdict.ERROR: "The probe could not finish, so nothing is known of the running system.",
    Verdict.NOT_RUN: "The probe was not run here.",
    Verdict.ATTESTED: "The probe found a document and nothing to observe.",
    Verdict.NOT_APPLICABLE: "The probe saw that there is nothing here for the clause to act on.",
}


def _probe_part(clause: Clause, evidence: Evidence | None) -> Part:
    if evidence is None:
        return Part("probe", Verdict.NOT_RUN, "No probe watches this on the running system.")
    if evidence.clause != clause.id:
        raise ValueError(f"Evidence for {evidence.clause} cannot decide {clause.id}.")
    verdict = evidence.outcome.verdict
    return Part("probe", verdict, _PROBE_SENTENCES[verdict], evidence.observed_at, evidence.commit)


def _test_parts(tests: Sequence[ProofResult]) -> list[Part]:
    if not tests:
        return [Part("tests", Verdict.NOT_RUN, "There is no signed result of its tests yet.")]
    return [_test_part(result) for result in tests]


def _test_part(result: ProofResult) -> Part:
    name = "tests" if result.tier is Tier.TEST else "soak"
    if not result.signature_holds:
        text = f"The signature on the last result of its {name} does not hold."
        return Part(name, Verdict.ERROR, text)
    if result.failed:
        verdict, text = Verdict.FAIL, f"In its {name}, {result.failed} of the proofs failed."
    elif result.not_run or not result.passed:
        verdict, text = Verdict.NOT_RUN, f"In its {name}, {result.not_run or 'all'} of the proofs were not run."
    else:
        verdict, text = Verdict.PASS, f"In its {name}, {result.passed} of {result.passed} proofs passed."
    return Part(name, verdict, text, result.ran_at, result.commit)


def _attestation_parts(attestations: Sequence[Attestation], now: datetime) -> list[Part]:
    if not attestations:
        return [Part("document", Verdict.NOT_RUN, "It needs a document, and there is none on file.")]
    return [_attestation_part(each, now) for each in attestations]


def _attestation_part(attestation: Attestation, now: datetime) -> Part:
    """Judge a document. Its age is told by its expiry, so it never makes a verdict stale."""
    until = f"{attestation.expires_at.astimezone(UTC):%Y-%m-%d}"
    if now >= attestation.expires_at:
        text = f"The document {attestation.reference} expired on {until}."
        return Part("document", Verdict.FAIL, text)
    if now < attestation.issued_at:
        text = f"The document {attestation.reference} is dated in the future."
        return Part("document", Verdict.FAIL, text)
    text = f"{attestation.issuer} vouches for it until {until} ({attestation.reference})."
    return Part("document", Verdict.ATTESTED, text)


def _utc_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
