"""The clauses of the terms with their verdicts, for everybody."""

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Path
from pydantic import Field

from operalta.assurance import facts
from operalta.assurance.facts import PublishedEvidence
from operalta.assurance.rules import ClauseVerdict, Verdict
from operalta.guard import rules
from operalta.kernel import clock
from operalta.kernel.errors import NotFound
from operalta.terms.clauses import Clause, ClauseKind, UnknownClause, clause, clauses
from operalta.web.api.models import REFUSALS, Shown
from operalta.web.entry import ForVisitors, VisitorEntry

router = APIRouter(prefix="/trust", tags=["trust"], responses=REFUSALS)

Looking = Annotated[VisitorEntry, Depends(ForVisitors(rules.PAGE))]
ClauseName = Annotated[str, Path(pattern=r"^[0-9]\.[0-9]\.[0-9]{1,2}$", max_length=6)]


class ClauseShown(Shown):
    """A clause with its verdict. Only "pass" counts as pass; `stale` is older than a day."""

    id: str
    says: str
    kind: ClauseKind
    verdict: Verdict
    stale: bool
    reasons: tuple[str, ...]

    @classmethod
    def of(cls, wanted: Clause, verdict: ClauseVerdict) -> Self:
        """Return a clause as it is shown."""
        return cls(
            id=wanted.id,
            says=wanted.says,
            kind=wanted.kind,
            verdict=verdict.verdict,
            stale=verdict.stale,
            reasons=verdict.reasons,
        )


class Trust(Shown):
    """Every clause, with when and at which commit the evidence was published (null: never)."""

    published_at: datetime | None
    commit: str | None
    stale: bool
    total: int
    holding: int
    clauses: Annotated[tuple[ClauseShown, ...], Field(max_length=1_000)]


class Part(Shown):
    """One part of a clause's proof."""

    name: str
    verdict: Verdict
    reason: str
    obtained_at: datetime | None
    commit: str | None


class Code(Shown):
    """Where the code that upholds a clause stands."""

    module: str
    name: str
    file: str
    line: int


class ClauseWithEvidence(Shown):
    """A clause with what its verdict rests on."""

    clause: ClauseShown
    proof: str
    parts: tuple[Part, ...]
    code: tuple[Code, ...]


@router.get("")
async def trust(entry: Looking) -> Trust:
    """Return all clauses; none is ever left out."""
    published = await facts.latest(entry.services.web)
    now = clock.now()
    verdicts = facts.verdicts(published, now)
    shown = tuple(ClauseShown.of(each, verdicts[each.id]) for each in clauses())
    return Trust(
        published_at=published.at if published else None,
        commit=published.commit if published else None,
        stale=published is not None and published.is_stale(now),
        total=len(shown),
        holding=sum(each.verdict is Verdict.PASS for each in shown),
        clauses=shown,
    )


@router.get("/{clause_id}")
async def one(entry: Looking, clause_id: ClauseName) -> ClauseWithEvidence:
    """Return one clause with its evidence."""
    try:
        wanted = clause(clause_id)
    except UnknownClause:
        raise NotFound from None
    published: PublishedEvidence | None = await facts.latest(entry.services.web)
    verdict = facts.verdicts(published, clock.now())[wanted.id]
    return ClauseWithEvidence(
        clause=ClauseShown.of(wanted, verdict),
        proof=wanted.proof,
        parts=tuple(Part.model_validate(each) for each in verdict.parts),
        code=tuple(Code.model_validate(each) for each in facts.code_of(wanted.id, published)),
    )
