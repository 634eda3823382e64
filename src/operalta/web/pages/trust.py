"""The trust page, for everybody: every clause of the terms with its verdict, and each with its evidence."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from fastapi.responses import HTMLResponse

from operalta import __version__
from operalta.assurance import facts
from operalta.assurance.facts import PublishedEvidence
from operalta.assurance.rules import STRENGTH, ClauseVerdict, Evidence, ProofResult, Verdict
from operalta.db.scope import open_person_scope
from operalta.guard import rules
from operalta.kernel import clock
from operalta.kernel.errors import NotFound, NotSignedIn
from operalta.sandbox.shell.state import ShellState
from operalta.settings import Settings
from operalta.terms.clauses import Clause, UnknownClause, clause, clauses, sections
from operalta.web.entry import ForVisitors, VisitorEntry
from operalta.web.presentation import bare_frame, frame
from operalta.web.rendering import render

router = APIRouter()

Looking = Annotated[VisitorEntry, Depends(ForVisitors(rules.PAGE))]
ClauseName = Annotated[str, Path(pattern=r"^[0-9]\.[0-9]\.[0-9]{1,2}$", max_length=6)]

_TALLY = (
    Verdict.PASS,
    Verdict.ATTESTED,
    Verdict.NOT_RUN,
    Verdict.ERROR,
    Verdict.FAIL,
    Verdict.NOT_APPLICABLE,
)


@dataclass(frozen=True, slots=True)
class _Now:
    """What is known at this moment."""

    published: PublishedEvidence | None
    verdicts: Mapping[str, ClauseVerdict]

    @classmethod
    async def read(cls, entry: VisitorEntry) -> "_Now":
        published = await facts.latest(entry.services.web)
        return cls(published, facts.verdicts(published, clock.now()))


@router.get("/trust")
async def trust(entry: Looking) -> HTMLResponse:
    """Show all clauses; none can be hidden."""
    now = await _Now.read(entry)
    held = [each.verdict for each in now.verdicts.values()]
    published = now.published
    context: dict[str, object] = {
        "summary": {
            "total": len(held),
            "holding": held.count(Verdict.PASS),
            "verified_at": published.at if published else None,
            "version": __version__,
            "commit": published.commit if published else None,
            "is_stale": published is not None and published.is_stale(clock.now()),
        },
        "tally": [(each.value, held.count(each)) for each in _TALLY if each in held],
        "sections": [
            {
                "number": section.id,
                "title": section.title,
                "clauses": [_shown(each, now) for each in clauses() if each.section_id == section.id],
            }
            for section in sections()
        ],
        "statements": _statements(entry.services.settings, entry.services.shell_state()),
    }
    return await _page(entry, "pages/trust.html", context)


@router.get("/trust/{clause_id}")
async def one(entry: Looking, clause_id: ClauseName) -> HTMLResponse:
    """Show one clause with its evidence."""
    try:
        wanted = clause(clause_id)
    except UnknownClause:
        raise NotFound from None
    now = await _Now.read(entry)
    verdict = now.verdicts[wanted.id]
    ids = [each.id for each in clauses()]
    place = ids.index(wanted.id)
    published = now.published
    evidence = published.evidence.get(wanted.id) if published else None
    tests = published.tests.get(wanted.id, ()) if published else ()
    attestations = published.attestations.get(wanted.id, ()) if published else ()
    title = next(section.title for section in sections() if section.id == wanted.section_id)
    context: dict[str, object] = {
        "clause": {**_shown(wanted, now), "section": title, "kind": wanted.kind.value},
        "explanation": " ".join(verdict.reasons) or None,
        "code": [
            {"file": each.file, "line": each.line, "name": each.name} for each in facts.code_of(wanted.id, published)
        ],
        "tests": [_tested(each) for each in tests],
        "probe": _probed(evidence) if evidence else None,
        "attestation": {
            "document": attestations[0].reference,
            "issued_by": attestations[0].issuer,
            "expires_on": attestations[0].expires_at.date(),
        }
        if attestations
        else None,
        "previous": {"id": ids[place - 1]} if place else None,
        "next": {"id": ids[place + 1]} if place + 1 < len(ids) else None,
    }
    return await _page(entry, "pages/trust_clause.html", context)


def _shown(wanted: Clause, now: _Now) -> dict[str, object]:
    verdict = now.verdicts[wanted.id]
    return {
        "id": wanted.id,
        "says": wanted.says,
        "verdict": verdict.verdict.value,
        "is_stale": verdict.stale,
        "verified_at": max((part.obtained_at for part in verdict.parts if part.obtained_at), default=None),
    }


def _probed(evidence: Evidence) -> dict[str, object]:
    """Return what a probe saw where it passed; how a clause fails is not for strangers."""
    outcome = evidence.outcome
    if outcome.verdict is Verdict.PASS:
        seen = [f"{each.claim}: {each.observed}" if each.observed else each.claim for each in outcome.observations]
        observed = " · ".join(seen) or "Everything it looked for."
    else:
        observed = f"The verdict was: {outcome.verdict.value}. Staff and auditors can see more."
    return {
        "name": f"probe of {evidence.clause}",
        "observed": observed,
        "at": evidence.observed_at,
        "duration": f"{evidence.duration_seconds:.2g} s" if evidence.duration_seconds else None,
    }


def _tested(result: ProofResult) -> dict[str, object]:
    found = (
        (Verdict.FAIL, bool(result.failed)),
        (Verdict.ERROR, not result.signature_holds),
        (Verdict.NOT_RUN, bool(result.not_run) or not result.passed),
    )
    outcome = min((verdict for verdict, so in found if so), key=STRENGTH.index, default=Verdict.PASS)
    total = result.passed + result.failed + result.not_run
    return {
        "name": f"{result.tier.value} tier: {result.passed} of {total} proofs passed",
        "outcome": outcome.value,
        "at": result.ran_at,
    }


def _statements(settings: Settings, shell: ShellState) -> list[dict[str, str]]:
    return [
        {
            "title": "Where data stays",
            "text": "On the servers of whoever operates this installation. Nothing is sent elsewhere unless a company "
            "has its agents fetch a page, or the operator sets up a mail relay.",
        },
        {
            "title": "How agents handle data",
            "text": "An agent works inside one company, with the rights of the person who asked it, and asks people "
            "before it does what its company wants to be asked about. The built-in model runs here and sends nothing "
            "to anybody.",
        },
        {"title": "Commands and documents", "text": _shell_told(shell)},
        {
            "title": "Telling us of a weakness",
            "text": f"Write to {settings.security_contact}; the file `/.well-known/security.txt` says how.",
        },
        {
            "title": "Still in progress",
            "text": "Clauses that are shown as “not run” have no proof on this installation yet, whatever the reason. "
            "They do not count as holding.",
        },
    ]


def _shell_told(shell: ShellState) -> str:
    if not shell.available:
        return f"{shell.reason} Documents that are brought are kept, and not read."
    return (
        "Commands of agents and readers of documents run in a sandbox without network, on copies. At its last start "
        f"this installation tried to break out of it in {shell.attempts} ways, and none succeeded."
    )


async def _page(entry: VisitorEntry, template: str, context: dict[str, object]) -> HTMLResponse:
    """Render for a visitor, or for somebody signed in; a session that has ended makes a visitor."""
    built = await _frame(entry)
    return HTMLResponse(render(template, {**context, "page": built}))


async def _frame(entry: VisitorEntry) -> dict[str, Any]:
    if entry.claims is not None:
        try:
            async with open_person_scope(entry.services.web, entry.claims.session_secret, entry.origin) as scope:
                return await frame(entry.request, scope, nav="trust")
        except NotSignedIn:
            pass
    return {**bare_frame(entry.request), "nav": "trust"}
