"""What the trust page shows: each clause's verdict now, from the evidence that was published last.

The newest document in the evidence table decides, alone: a clause that it does not hold counts as not run, and so
does every clause where there is no document, or one that cannot be read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import structlog
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from operalta.assurance import store
from operalta.assurance.rules import (
    STALE_AFTER,
    Attestation,
    ClauseVerdict,
    Evidence,
    Observation,
    ProbeOutcome,
    ProofResult,
    Tier,
    Verdict,
    decide,
)
from operalta.db.pools import Pool
from operalta.terms.clauses import clauses
from operalta.terms.registry import CodeReference, upheld

log = structlog.get_logger(__name__)

Text = Annotated[str, Field(max_length=20_000)]


class _Written(BaseModel):
    # A later release may write more than this one reads.
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Seen(_Written):
    claim: Text
    observed: Text = ""
    holds: bool


class _Code(_Written):
    file: Text
    line: Annotated[int, Field(ge=0)]
    module: Text
    name: Text


class _Evidence(_Written):
    clause: Text
    verdict: Verdict
    reason: Text = ""
    observations: tuple[_Seen, ...] = ()
    commit: Text = "unknown"
    observed_at: AwareDatetime
    duration_milliseconds: Annotated[float, Field(ge=0)] = 0
    code: tuple[_Code, ...] = ()

    def evidence(self) -> Evidence:
        outcome = ProbeOutcome(
            self.verdict, tuple(Observation(each.claim, each.observed, each.holds) for each in self.observations),
            self.reason,
        )  # fmt: skip
        code = tuple(CodeReference(each.module, each.name, each.file, each.line) for each in self.code)
        return Evidence(self.clause, outcome, self.commit, self.observed_at, self.duration_milliseconds / 1_000, code)


class _Tests(_Written):
    clause: Text
    tier: Tier = Tier.TEST
    passed: Annotated[int, Field(ge=0)]
    failed: Annotated[int, Field(ge=0)]
    not_run: Annotated[int, Field(ge=0)] = 0
    commit: Text = "unknown"
    ran_at: AwareDatetime
    signature_holds: bool

    def result(self) -> ProofResult:
        return ProofResult(
            self.tier, self.passed, self.failed, self.not_run, self.commit, self.ran_at, self.signature_holds
        )


class _Document(_Written):
    clause: Text
    reference: Text
    issuer: Text
    issued_at: AwareDatetime
    expires_at: AwareDatetime

    def attestation(self) -> Attestation:
        return Attestation(self.reference, self.issuer, self.issued_at, self.expires_at)


class _Published(_Written):
    commit: Text = "unknown"
    evidence: tuple[_Evidence, ...]
    tests: tuple[_Tests, ...] = ()
    attestations: tuple[_Document, ...] = ()


@dataclass(frozen=True, slots=True)
class PublishedEvidence:
    """The newest document: when it was published, of which commit, and what it holds by clause."""

    at: datetime
    commit: str
    evidence: Mapping[str, Evidence]
    tests: Mapping[str, tuple[ProofResult, ...]]
    attestations: Mapping[str, tuple[Attestation, ...]]

    def is_stale(self, now: datetime) -> bool:
        """Tell whether it is older than a day."""
        return now - self.at > STALE_AFTER


async def latest(pool: Pool) -> PublishedEvidence | None:
    """Return the newest published evidence, over the web or the verifier role's pool; None where there is none."""
    async with pool.acquire() as connection, connection.transaction():
        row = await store.newest_evidence(connection)
    if row is None:
        return None
    published = read_document(row["at"], row["document"])
    if published is None:
        log.error("the newest evidence cannot be read")
    return published


def read_document(at: datetime, document: object) -> PublishedEvidence | None:
    """Return what a stored document says; None where it is not one of ours."""
    try:
        read = _Published.model_validate(document)
    except ValidationError:
        return None
    return PublishedEvidence(
        at,
        read.commit,
        {each.clause: each.evidence() for each in read.evidence},
        {
            clause: tuple(each.result() for each in read.tests if each.clause == clause)
            for clause in {each.clause for each in read.tests}
        },
        {
            clause: tuple(each.attestation() for each in read.attestations if each.clause == clause)
            for clause in {each.clause for each in read.attestations}
        },
    )


def verdicts(published: PublishedEvidence | None, now: datetime) -> dict[str, ClauseVerdict]:
    """Return every clause's verdict at `now`, in the order of the terms; none is ever left out."""
    return {
        each.id: decide(
            each,
            now=now,
            evidence=published.evidence.get(each.id) if published else None,
            tests=published.tests.get(each.id, ()) if published else (),
            attestations=published.attestations.get(each.id, ()) if published else (),
        )
        for each in clauses()
    }


def code_of(clause_id: str, published: PublishedEvidence | None) -> tuple[CodeReference, ...]:
    """Return the code that a clause rests on: what this process has loaded, and what the evidence names besides."""
    evidence = published.evidence.get(clause_id) if published else None
    named = (*upheld().get(clause_id, ()), *(evidence.code if evidence else ()))
    found = {(each.module, each.name): each for each in reversed(named)}
    return tuple(sorted(found.values(), key=lambda each: (each.file, each.line)))
