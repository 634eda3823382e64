"""How queries are observed: text that is made to end a query and begin another one changes nothing that it asks."""

from urllib.parse import quote

from operalta.assurance.probes import store
from operalta.assurance.registry import ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Company, Stage, staged
from operalta.settings import DatabaseRole

_CANARY = "A title that no search word fits"
_CREATED = 201
_CORPUS = (
    "' OR '1'='1",
    "') OR ('1'='1' --",
    "x' UNION SELECT id, email, name FROM identity.people --",
    "'; DELETE FROM workspace.records; --",
    "' AND 1=(SELECT pg_sleep(0)) --",
    '" OR ""="',
    "$$ OR true --",
    "\\' OR 1=1 --",
    "%' OR title LIKE '%",
    "1; SET ROLE operalta_owner; --",
    "%(company)s",
    "{0} %s",
)
_HARMLESS = "xqzv OR xqzw"
_READS = (
    "memory?q={}",
    "memory?q={}&kind=decision",
    "files/search?q={}",
    "audit?action={}",
    "audit?query={}",
    "metrics/{}",
    "memory?cursor={}",
    "members?cursor={}",
)


@probe("3.4.3")
async def injected_text(context: ProbeContext) -> Observations:
    """Ask with a corpus of injections wherever text reaches a query, and compare with harmless text."""
    stage = staged(context)
    seen = Observations()
    company = await stage.found(stage.founder, "Queried Company", "startup")
    base = f"{API}/companies/{company.slug}"
    await stage.founder.browser.post(f"{base}/memory", {"kind": "decision", "title": _CANARY})
    async with stage.connect(DatabaseRole.OWNER) as connection:
        before = await store.count_records(connection, company.id, _CANARY)
    told = [each for path in _READS for each in await _differences(stage, company, path)]
    seen.expect("it finds what harmless text finds", not told, "; ".join(told[:5]) or len(_READS) * len(_CORPUS))
    changed: list[str] = []
    for text in _CORPUS:
        made = await stage.founder.browser.post(f"{base}/memory", {"kind": "decision", "title": text})
        if made.status != _CREATED or made.json()["title"] != text:
            changed.append(f"{text}: {made.status}")
    seen.expect("written down it stays the text that it is", not changed, "; ".join(changed) or len(_CORPUS))
    async with stage.connect(DatabaseRole.OWNER) as connection:
        after = await store.count_records(connection, company.id, _CANARY)
    seen.expect("nothing is gone", before == after == 1, after)
    return seen


async def _differences(stage: Stage, company: Company, path: str) -> list[str]:
    base = f"{API}/companies/{company.slug}"
    harmless = await stage.founder.browser.get(f"{base}/{path.format(quote(_HARMLESS, safe=''))}")
    told: list[str] = []
    for text in _CORPUS:
        answer = await stage.founder.browser.get(f"{base}/{path.format(quote(text, safe=''))}")
        found = _CANARY.encode() in answer.body
        if found or answer.status != harmless.status:
            told.append(f"{path} with {text}: {answer.status}, harmless {harmless.status}")
    return told
