"""How rights are observed: doors without a key, the founder of another company, roles, and raising oneself."""

import asyncio
import re

from operalta.access.rules import TEMPLATES, CompanyKind, Permission, Role, table
from operalta.assurance.forgery import session_secret
from operalta.assurance.probes import store
from operalta.assurance.registry import Answer, ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Company, Person, Stage, staged
from operalta.assurance.windows import let_window_pass
from operalta.guard import rules
from operalta.settings import DatabaseRole

_NOWHERE = "no-such-company-at-all"
_UNKNOWN_ID = "00000000-0000-7000-8000-000000000000"
_OK, _SEE_OTHER, _NOT_SIGNED_IN, _NOT_ALLOWED, _NOT_FOUND = 200, 303, 401, 403, 404
_MOST_PAGES = 60
_OPEN_TO_ALL = ("/trust", "/auth/", "/invitations/accept")

_AT_ONCE = 12


@probe("1.2.3")
async def nothing_without_a_session(context: ProbeContext) -> Observations:
    """Call every route of the API and every page that a founder reaches, without a session and from outside."""
    stage = staged(context)
    seen = Observations()
    company = stage.company.slug
    described = await operations(stage, company)
    closed = [(method, path) for method, path in described if not any(part in path for part in _OPEN_TO_ALL)]
    stranger = stage.browser()
    answers = await asyncio.gather(*(stranger.send(method, path, json={}) for method, path in closed))
    opened = [f"{m} {p}: {a.status}" for (m, p), a in zip(closed, answers, strict=True) if a.status != _NOT_SIGNED_IN]
    seen.expect("every route of the API asks for a session first", not opened, "; ".join(opened) or len(closed))
    pages = await crawl(stage.founder, company)
    inside = [page for page in pages if page.startswith("/c/")]
    seen.expect("a founder reaches the company's pages", len(inside) >= 8, len(inside))  # noqa: PLR2004 - the rooms
    answers = await asyncio.gather(*(stranger.get(page) for page in inside))
    opened = [f"{p}: {a.status}" for p, a in zip(inside, answers, strict=True) if not _leads_to_sign_in(a)]
    seen.expect("without a session each page leads to signing in", not opened, "; ".join(opened) or len(inside))
    outsider = stage.outsider.browser
    answers = await asyncio.gather(*(outsider.get(page) for page in inside))
    opened = [f"{p}: {a.status}" for p, a in zip(inside, answers, strict=True) if a.status != _NOT_FOUND]
    seen.expect("for members of another company no page is there", not opened, "; ".join(opened) or len(inside))
    for path in ("/static/../workspaces", "/workspaces/", f"/files/{stage.company.id}", "/var/secrets/root-key"):
        answer = await stranger.get(path)
        seen.expect(f"files have no path of their own: {path}", answer.status in {400, _NOT_FOUND}, answer.status)
    return seen


@probe("2.5.0")
async def founder_elsewhere(context: ProbeContext) -> Observations:
    """Let the founder of one company call every route of another, and compare with a company that is not there."""
    stage = staged(context)
    seen = Observations()
    person = await stage.new_person("Founder Elsewhere")
    outsider, other = person.browser, await stage.found(person, "Founded Elsewhere", "investor")
    own = await outsider.get(f"{API}/companies/{other.slug}")
    seen.expect("in their own company the founder is at home", own.status == _OK, own.status)
    foreign = [each for each in await operations(stage, stage.company.slug) if f"/{stage.company.slug}" in each[1]]
    nowhere = [(m, path.replace(f"/{stage.company.slug}", f"/{_NOWHERE}")) for m, path in foreign]
    answers: list[Answer] = []
    others: list[Answer] = []
    for start in range(0, len(foreign), _AT_ONCE):
        # There are more of these than the limit of sensitive writes lets anybody call in a minute.
        await let_window_pass(stage, rules.SENSITIVE_WRITE, outsider)
        part = slice(start, start + _AT_ONCE)
        answers += await asyncio.gather(*(outsider.send(m, p, json=_body(m, p)) for m, p in foreign[part]))
        others += await asyncio.gather(*(outsider.send(m, p, json=_body(m, p)) for m, p in nowhere[part]))
    told = [
        f"{m} {p}: {here.status} and {there.status}"
        for (m, p), here, there in zip(foreign, answers, others, strict=True)
        if here.status != there.status
    ]
    seen.expect("it cannot be told from a company that is not there", not told, "; ".join(told) or len(foreign))
    reached = [f"{m} {p}" for (m, p), a in zip(foreign, answers, strict=True) if a.status < 400]  # noqa: PLR2004
    seen.expect("no route of another company does anything for them", not reached, "; ".join(reached) or len(foreign))
    read = [a.status for (m, _), a in zip(foreign, answers, strict=True) if m == "GET"]
    seen.expect("reading is answered as not found", set(read) == {_NOT_FOUND}, sorted(set(read)))
    leaks = sum(stage.company.id.encode() in answer.body for answer in answers)
    seen.expect("no answer names the company's id", leaks == 0, leaks)
    return seen


@probe("2.5.1")
async def templates_by_kind(context: ProbeContext) -> Observations:
    """Compare the database's copy of the templates with the code's, and one role in two kinds of company."""
    stage = staged(context)
    seen = Observations()
    async with stage.connect(DatabaseRole.VERIFIER) as connection:
        copied = await store.role_permissions(connection)
    seen.expect("the database holds the code's own table", copied == table(), f"{len(copied)} rows")
    kinds = {kind for kind, _, _ in copied}
    seen.expect("there are two kinds of company or more", len(kinds) >= len(CompanyKind), sorted(kinds))
    roles = {kind: {role for each, role, _ in copied if each == kind} for kind in kinds}
    whole = all({role.value for role in Role} <= given for given in roles.values())
    seen.expect("each kind has founder, advisor, investor and observer", whole, len(roles))
    founder, person = stage.founder, stage.regulars[0]
    for kind in CompanyKind:
        company = await stage.found(founder, f"Of kind {kind.value}", kind.value)
        await stage.invite(founder, company, person, Role.INVESTOR.value)
        held = Permission.METRICS_WRITE in TEMPLATES[kind][Role.INVESTOR]
        answer = await person.browser.post(f"{API}/companies/{company.slug}/metrics", _METRIC)
        allowed = answer.status != _NOT_ALLOWED
        text = f"an investor in a company of kind {kind.value} {'may' if held else 'may not'} write metrics"
        seen.expect(text, allowed is held, answer.status)
    return seen


@probe("2.5.3")
async def both_layers_agree(context: ProbeContext) -> Observations:
    """Ask the database alone what roles may do, and let an observer write both ways."""
    stage = staged(context)
    seen = Observations()
    company = stage.company
    names = [permission.value for permission in Permission]
    for person, role in ((stage.founder, Role.FOUNDER), (stage.observer, Role.OBSERVER)):
        async with stage.connect(DatabaseRole.WEB) as connection, connection.transaction():
            await store.open_scope(connection, session_secret(person.browser), company.slug)
            held = set(await store.permissions_by_database(connection, names))
        wanted = {permission.value for permission in TEMPLATES[CompanyKind.STARTUP][role]}
        seen.expect(f"code and database give the {role.value} the same", held == wanted, f"{len(held)} of {len(names)}")
    observer = await _id(stage.observer)
    answer = await stage.observer.browser.post(f"{API}/companies/{company.slug}/memory", _RECORD)
    seen.expect("the API refuses an observer's entry", answer.status == _NOT_ALLOWED, answer.status)
    async with stage.connect(DatabaseRole.WEB) as connection, connection.transaction():
        await store.open_scope(connection, session_secret(stage.observer.browser), company.slug)
        said = await store.try_record(connection, company.id, observer)
    seen.expect("so does the database alone", said.startswith("refused"), said)
    founder = await _id(stage.founder)
    async with stage.connect(DatabaseRole.WEB) as connection, connection.transaction():
        await store.open_scope(connection, session_secret(stage.founder.browser), company.slug)
        said = await store.try_record(connection, company.id, founder)
    seen.expect("which takes the founder's", said == "1 rows", said)
    return seen


@probe("2.5.4")
async def nobody_raises_themselves(context: ProbeContext) -> Observations:
    """Try every way to a higher role: the API, direct SQL as the web role, and other people's invitations."""
    stage = staged(context)
    seen = Observations()
    founder = stage.founder
    company = await stage.found(founder, "Ladder Company", "startup")
    climber = stage.observer
    await stage.invite(founder, company, climber, Role.OBSERVER.value)
    own = await _id(climber)
    base = f"{API}/companies/{company.slug}"
    change = await climber.browser.send("PUT", f"{base}/members/{own}/role", json={"role": "founder"})
    seen.expect("an observer cannot give themselves a role", change.status == _NOT_ALLOWED, change.status)
    inviting = await climber.browser.post(f"{base}/invitations", {"email": "a@b.example", "role": "founder"})
    seen.expect("nor invite", inviting.status == _NOT_ALLOWED, inviting.status)
    async with stage.connect(DatabaseRole.WEB) as connection, connection.transaction():
        await store.open_scope(connection, session_secret(climber.browser), company.slug)
        said = await store.try_promotion(connection, company.id, own)
    seen.expect("nor with SQL as the web process's role", said == "0 rows" or said.startswith("refused"), said)
    async with stage.connect(DatabaseRole.OWNER) as connection:
        role = await store.membership_role(connection, company.id, climber.email)
    seen.expect("they are still an observer", role == Role.OBSERVER.value, role)
    await _invitation(stage, seen, founder, company, climber)
    return seen


async def _invitation(stage: Stage, seen: Observations, founder: Person, company: Company, climber: Person) -> None:
    guest = stage.regulars[1]
    before = len(stage.deployment.mailbox.to(guest.email))
    body = {"email": guest.email, "role": Role.ADVISOR.value}
    await founder.browser.post(f"{API}/companies/{company.slug}/invitations", body)
    token = await stage.deployment.mailbox.wait_for_link(guest.email, "/invitations/accept", after=before)
    path = f"{API}/invitations/accept"
    stolen = await climber.browser.post(path, {"token": token})
    seen.expect("an invitation to somebody else does not work", stolen.status >= 400, stolen.status)  # noqa: PLR2004
    used = await guest.browser.post(path, {"token": token})
    seen.expect("it works for whom it is for", used.status == _OK, used.status)
    again = await guest.browser.post(path, {"token": token})
    seen.expect("and once", again.status >= 400, again.status)  # noqa: PLR2004
    async with stage.connect(DatabaseRole.OWNER) as connection:
        roles = [await store.membership_role(connection, company.id, each.email) for each in (guest, climber)]
    seen.expect("roles are those of the invitations", roles == [Role.ADVISOR.value, Role.OBSERVER.value], roles)


_RECORD = {"kind": "decision", "title": "Tried from outside"}
_METRIC = {"slug": "tried", "name": "Tried metric"}
_BODIES = {
    "/memory": _RECORD,
    "/metrics": _METRIC,
    "/invitations": {"email": "tried@people.example", "role": "observer"},
    "/role": {"role": "observer"},
    "/status": {"status": "made"},
    "/supersede": {"title": "Tried"},
    "/points": {"on_date": "2026-01-01", "value": "1"},
    "/verify": {},
}


def _body(method: str, path: str) -> object:
    if method in {"GET", "DELETE"}:
        return None
    return _BODIES.get("/" + path.rpartition("/")[2], {})


async def operations(stage: Stage, company: str) -> list[tuple[str, str]]:
    """Return every method and path that the API describes, for a company, ids filled with one that nobody has."""
    described = await stage.described()
    known = {"{company}": company, "{version}": "1"}
    return [
        (method.upper(), re.sub(r"\{[^}]+\}", lambda found: known.get(found[0], _UNKNOWN_ID), path))
        for path, methods in described["paths"].items()
        for method in methods
        if method in {"get", "post", "put", "patch", "delete"}
    ]


async def crawl(person: Person, company: str) -> dict[str, Answer]:
    """Follow the links of the company's pages as a person would, and return each page that was shown."""
    waiting = ["/companies", "/security", f"/c/{company}"]
    found: dict[str, Answer] = {}
    asked: set[str] = set()
    while waiting and len(found) < _MOST_PAGES:
        path = waiting.pop(0)
        if path in asked:
            continue
        asked.add(path)
        answer = await person.browser.get(path)
        if answer.status == _SEE_OTHER:
            waiting.append(answer.header("location").partition("#")[0])
        if answer.status != _OK or "text/html" not in answer.header("content-type"):
            continue
        found[path] = answer
        links = re.findall(r'href="(/[^"#]*)', answer.body.decode())
        waiting += [link.replace("&amp;", "&") for link in links if link.startswith((f"/c/{company}", "/security"))]

    return found


def _leads_to_sign_in(answer: Answer) -> bool:
    return answer.status == _SEE_OTHER and answer.header("location").startswith("/sign-in")


async def _id(person: Person) -> str:
    return str((await person.browser.get(f"{API}/me")).json()["id"])
