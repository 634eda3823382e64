"""How the three layers of protection are observed: each is taken away in turn, and a stranger tries to read."""

from operalta.assurance.forgery import session_secret
from operalta.assurance.probes.access import crawl
from operalta.assurance.probes.companies import store
from operalta.assurance.probes.store import open_scope
from operalta.assurance.registry import ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Company, Stage, staged
from operalta.settings import DatabaseRole

_CANARY = "Three layers stand before this"
_A_WORD = "Three"
_READS = ("memory", f"memory?q={_A_WORD}", "metrics", "files", "members", "conversations", "audit", "agents")
_REFUSED = {403, 404}


@probe("2.4.0", alone=True)
async def each_layer_stands_alone(context: ProbeContext) -> Observations:
    """Read another company's data without row security, with a scope that asks for no membership, past every route."""
    stage = staged(context)
    seen = Observations()
    company = await stage.found(stage.founder, "Layered Company", "startup")
    written = await stage.founder.browser.post(
        f"{API}/companies/{company.slug}/memory", {"kind": "decision", "title": _CANARY}
    )
    record = written.json()["id"]
    pages = [page for page in await crawl(stage.founder, company.slug) if page.startswith("/c/")]
    paths = [f"{API}/companies/{company.slug}/{read}" for read in _READS] + pages
    own = await stage.founder.browser.get(paths[0])
    seen.expect("its own founder reads it", _CANARY.encode() in own.body, own.status)
    async with stage.connect(DatabaseRole.OWNER) as connection:
        async with store.without_row_security(connection) as tables:
            told = await _tell(stage, company, record, paths)
            seen.expect("without row security nothing is read", not told, "; ".join(told) or f"{tables} tables")
        async with store.without_membership_check(connection):
            told = await _tell(stage, company, record, paths)
            seen.expect("with a scope that asks for no membership neither", not told, "; ".join(told) or len(paths))
    async with stage.connect(DatabaseRole.WEB) as connection, connection.transaction():
        await open_scope(connection, session_secret(stage.outsider.browser), stage.other.slug)
        found = await store.read_record(connection, company.id, record)
    seen.expect("nor past every route, by SQL", found == 0, found)
    again = await stage.outsider.browser.get(paths[0])
    seen.expect("all three stand again", again.status in _REFUSED, again.status)
    return seen


async def _tell(stage: Stage, company: Company, record: str, paths: list[str]) -> list[str]:
    """Return what an outsider was told: on the company's own addresses, and by its ids within another company."""
    told: list[str] = []
    within = f"{API}/companies/{stage.other.slug}"
    for path in [*paths, f"{within}/memory/{record}", f"{within}/memory?q={_A_WORD}"]:
        answer = await stage.outsider.browser.get(path)
        leaks = _CANARY.encode() in answer.body or company.id.encode() in answer.body
        if leaks or (answer.status not in _REFUSED and not path.startswith(within)):
            told.append(f"{path}: {answer.status}")
    return told
