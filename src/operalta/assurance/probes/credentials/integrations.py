"""How the use of other services is observed: off until people switch them on, and nothing leaves that nobody asked."""

import secrets
from typing import Any

from operalta.assurance.elsewhere import GOOD, Reply, Visit
from operalta.assurance.probes import store
from operalta.assurance.probes.agents.asking import approval_id, until_over
from operalta.assurance.probes.credentials.ground import House, inside, make_house, required
from operalta.assurance.probes.egress.surfaces import surfaces
from operalta.assurance.registry import ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, staged
from operalta.privacy.recipients import NOBODY, recipient_of
from operalta.settings import DatabaseRole

_OK, _CREATED, _NOT_ALLOWED = 200, 201, 403
_ASK = "/ask-service acme-billing GET /invoices"
_WRITE = "/ask-service acme-billing POST /invoices | {}"


@probe("5.5.3")
async def people_switch_integrations(context: ProbeContext) -> Observations:
    """Have an agent use a service before it is switched on, then on, off again, and off while a question is open."""
    stage = staged(context)
    seen = Observations()
    house = await make_house(stage)
    observer = await stage.new_person("Switch Observer")
    await stage.invite(house.founder, house.company, observer, "observer")
    stage.deployment.elsewhere.tell("/service/invoices", Reply(b'{"invoices": 3}', "application/json"))
    key = f"verify-{secrets.token_hex(12)}"
    body = {
        "slug": "acme-billing",
        "name": "Acme billing",
        "base_url": stage.deployment.elsewhere.url(GOOD, "/service"),
        "credential": key,
        "allows_writes": True,
    }
    base = f"{API}{inside(house.company, 'integrations')}"
    made = required(await house.founder.browser.post(base, body), _CREATED, "make an integration")
    seen.expect("what is made is off", made["is_on"] is False, made["is_on"])
    seen.expect("before it is on no agent reaches it", await _asks(house, _ASK) == 0)
    path = f"{base}/{made['id']}/switch"
    refused = await observer.browser.send("PUT", path, json={"on": True})
    seen.expect("an observer does not switch it on", refused.status == _NOT_ALLOWED, refused.status)
    seen.expect("and it stays off", await _asks(house, _ASK) == 0)
    required(await house.founder.browser.send("PUT", path, json={"on": True}), _OK, "switch an integration on")
    arrived = await _asks(house, _ASK)
    seen.expect("once a person has switched it on, an agent reaches it", arrived == 1, arrived)
    with_key = [visit for visit in _visits(house) if visit.fields.get("authorization") == f"Bearer {key}"]
    seen.expect("with the credential, which the door puts in", len(with_key) == 1, len(with_key))
    await _off_while_it_waits(house, seen, path)
    seen.expect("off again, no agent reaches it", await _asks(house, _ASK) == 0)
    return seen


async def _off_while_it_waits(house: House, seen: Observations, path: str) -> None:
    """Switch off between an agent's question and the answer: the run goes on, and its call does not leave."""
    stage, before = house.stage, len(_visits(house))
    run = await stage.say(house.founder, house.company, _WRITE)
    if not seen.expect("to write there is asked about", bool(run.bodies("approval_asked")), run.outcome):
        return
    required(await house.founder.browser.send("PUT", path, json={"on": False}), _OK, "switch an integration off")
    inbox = await house.founder.browser.get(f"/c/{house.company.slug}/approvals")
    decided = f"/c/{house.company.slug}/approvals/{approval_id(inbox.body.decode())}/decision"
    await house.founder.browser.post_form(decided, {"decision": "once"})
    await until_over(stage, house.founder, house.company, run)
    left = len(_visits(house)) - before
    seen.expect("switched off in the middle of a run, its next call does not leave", left == 0, left)


async def _asks(house: House, text: str) -> int:
    """Return how many requests reach the service by one message to an agent."""
    before = len(_visits(house))
    await house.stage.say(house.founder, house.company, text)
    return len(_visits(house)) - before


def _visits(house: House) -> tuple[Visit, ...]:
    return house.stage.deployment.elsewhere.visits("/service/")


@probe("6.5.1")
async def nothing_leaves_that_nobody_asked(context: ProbeContext) -> Observations:
    """Hold the ways out against the declared recipients, let a company work, and look at what went out meanwhile."""
    stage = staged(context)
    seen = Observations()
    ways = {policy.name for surface in surfaces(context.root / "src" / "operalta") for policy in surface.policies} - {
        NOBODY
    }
    undeclared = sorted(way for way in ways if not _is_declared(way))
    seen.expect(
        "every way out has a declared recipient", bool(ways) and not undeclared, ", ".join(undeclared) or len(ways)
    )
    house = await make_house(stage)
    mark = f"kingfisher{secrets.token_hex(6)}"
    elsewhere = stage.deployment.elsewhere
    elsewhere.tell(f"/page-{mark}", Reply(b"a page"))
    body: dict[str, Any] = {"kind": "decision", "title": f"{mark} is the plan", "body": mark}
    required(await house.founder.browser.post(f"{API}{inside(house.company, 'memory')}", body), _CREATED, "record")
    for text in (f"What is {mark}?", f"/write notes/plan.md | {mark}", f"/search {mark}", f"/find {mark}"):
        await stage.say(house.founder, house.company, text)
    async with stage.connect(DatabaseRole.OWNER) as connection:
        lines = await store.egress_lines(connection, house.company.id)
    seen.expect("a company that asks for nothing outside sends nothing", not lines, len(lines))
    url = elsewhere.url(GOOD, f"/page-{mark}")
    fetched = await stage.say(house.founder, house.company, f"/fetch {url}")
    seen.expect("what a person asks for is fetched", fetched.outcome == "success", fetched.outcome)
    visits = elsewhere.visits(f"/page-{mark}")
    told = [name for visit in visits for name, value in visit.fields.items() if mark in value or _tells_who(name)]
    bare = len(visits) == 1 and visits[0].method == "GET" and visits[0].path == f"/page-{mark}"
    seen.expect("with the address that they typed, and nothing besides", bare and not told, ", ".join(told) or "GET")
    async with stage.connect(DatabaseRole.OWNER) as connection:
        lines = await store.egress_lines(connection, house.company.id)
    seen.expect("it stands in the company's log of requests", len(lines) == 1, len(lines))
    return seen


def _is_declared(surface: str) -> bool:
    try:
        recipient_of(surface)
    except LookupError:
        return False
    return True


def _tells_who(field: str) -> bool:
    """Whether a field of a request says who asks."""
    return field in {"authorization", "cookie", "from", "referer", "x-forwarded-for", "forwarded"}
