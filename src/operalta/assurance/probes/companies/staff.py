"""How least privilege is observed: what database roles were granted, and visits of the operator's staff."""

import asyncio

import psycopg

from operalta.assurance.probes.companies import store
from operalta.assurance.registry import ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Company, Person, Stage, staged
from operalta.db import policy_grants, policy_surroundings
from operalta.db.catalogue import Gap, reading
from operalta.db.policy_exceptions import EXCEPTIONS
from operalta.settings import DatabaseRole
from operalta.tenancy.staff import LONGEST_VISIT_MINUTES

_OK, _CREATED, _DONE, _FORBIDDEN, _NOT_FOUND, _INVALID = 200, 201, 204, 403, 404, 422
_REASON = "Asked by telephone to look at who may do what"


@probe("7.2.3")
async def little_is_granted(context: ProbeContext) -> Observations:
    """Compare the database's grants with the declared list, and visit a company as staff."""
    stage = staged(context)
    seen = Observations()
    gaps = await asyncio.to_thread(_gaps_of_roles, stage)
    seen.expect("the database's roles hold what is declared, no more and no less", not gaps, "; ".join(gaps) or "none")
    founder = stage.founder
    company = await stage.found(founder, "Visited Company", "startup")
    visitor = await stage.new_person("Nia Visitor")
    before = await _visit(visitor, company)
    seen.expect("whoever is no staff cannot visit", before == _NOT_FOUND, before)
    async with stage.connect(DatabaseRole.OWNER) as connection:
        await store.appoint(connection, visitor.email, "support")
    closed = await _looks(visitor, company)
    seen.expect("staff without a visit find no company", closed == _NOT_FOUND, closed)
    for claim, changes in (
        ("without a reason there is no visit", {"reason": "why"}),
        ("nor without an end", {"minutes": LONGEST_VISIT_MINUTES + 1}),
    ):
        refused = await _visit(visitor, company, **changes)
        if not seen.expect(claim, refused == _INVALID, refused):
            return seen
    elevated = await _visit(visitor, company, role="auditor")
    seen.expect("nor in a role that they do not hold", elevated == _NOT_FOUND, elevated)
    opened = await _visit(visitor, company)
    seen.expect("with a reason and an end there is", opened == _CREATED, opened)
    await _inside(stage, seen, visitor, company)
    await _ending(stage, seen, visitor, company)
    return seen


async def _inside(stage: Stage, seen: Observations, visitor: Person, company: Company) -> None:
    base = f"{API}/companies/{company.slug}"
    members = await _looks(visitor, company)
    memory = (await visitor.browser.get(f"{base}/memory")).status
    written = (await visitor.browser.post(f"{base}/memory", {"kind": "decision", "title": "By staff"})).status
    told = (members, memory, written)
    seen.expect("staff see the set-up, no content, and change nothing", told == (_OK, _FORBIDDEN, _FORBIDDEN), told)
    visits = (await stage.founder.browser.get(f"{base}/staff-visits")).json()["items"]
    shown = [(each["reason"], each["is_open"]) for each in visits]
    seen.expect("the company sees the visit with its reason", shown == [(_REASON, True)], len(visits))
    listed = (await stage.founder.browser.get(f"{base}/audit")).json()["items"]
    actions = {each["action"] for each in listed if each["actor_kind"] == "staff"}
    wanted = {"staff_access.opened", "staff_access.used"}
    seen.expect("the visit and what was opened stand in its log", wanted <= actions, ", ".join(sorted(actions)))


async def _ending(stage: Stage, seen: Observations, visitor: Person, company: Company) -> None:
    base = f"{API}/companies/{company.slug}"
    (visit,) = (await stage.founder.browser.get(f"{base}/staff-visits")).json()["items"]
    ended = await stage.founder.browser.send("DELETE", f"{base}/staff-visits/{visit['id']}")
    after = await _looks(visitor, company)
    seen.expect("the company ends it at once", (ended.status, after) == (_DONE, _NOT_FOUND), (ended.status, after))
    await _visit(visitor, company)
    again = await _looks(visitor, company)
    async with stage.connect(DatabaseRole.OWNER) as connection:
        await store.let_visits_pass(connection, company.id, LONGEST_VISIT_MINUTES)
    late = await _looks(visitor, company)
    seen.expect("it ends by itself when its time is over", (again, late) == (_OK, _NOT_FOUND), (again, late))


async def _visit(visitor: Person, company: Company, **changes: object) -> int:
    body = {"company": company.slug, "role": "support", "reason": _REASON, "minutes": 30, **changes}
    return (await visitor.browser.post(f"{API}/staff/visits", body)).status


async def _looks(visitor: Person, company: Company) -> int:
    return (await visitor.browser.get(f"{API}/companies/{company.slug}/members")).status


def _gaps_of_roles(stage: Stage) -> list[str]:
    """Return what the policy check says of rights and roles, reviewed exceptions apart."""
    reviewed = {(exception.place, exception.fault) for exception in EXCEPTIONS}
    found: list[Gap] = []
    address = stage.settings.database_dsn(DatabaseRole.VERIFIER)
    with psycopg.connect(address, connect_timeout=10) as connection, reading(connection) as catalogue:
        for check in (*policy_grants.CHECKS, policy_surroundings.roles):
            found += check(catalogue)
    return [f"{gap.place}: {gap.fault}" for gap in found if (gap.place, gap.fault) not in reviewed]
