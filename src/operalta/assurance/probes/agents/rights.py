"""How it is observed what agents may do: what their person may, and only then, and nothing that is elevated."""

import asyncio
import secrets
import threading
from http import HTTPStatus

from operalta.assurance.model_routes import answers, calls
from operalta.assurance.probes.agents import store
from operalta.assurance.probes.agents.ground import Office, begin, end_of, make_office
from operalta.assurance.probes.agents.reach import ELEVATED, imported_from, modules_in, stores_imported, tool_modules
from operalta.assurance.registry import ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Company, Person, Stage, staged
from operalta.settings import DatabaseRole

_LEAVING = "leaving"
_DAY = "2026-01-31"
_WRITTEN_BY_MODELS = frozenset({"model_answered", "tool_asked", "tool_result", "answer"})


@probe("5.0.1")
async def runs_have_their_persons_rights(context: ProbeContext) -> Observations:
    """Look for a colleague's private words through a run, do what a role forbids, and leave while a model thinks."""
    stage = staged(context)
    seen = Observations()
    founder, member = stage.founder, stage.regulars[0]
    office = await make_office(stage, founder, "Leaving Company")
    await stage.invite(founder, office.company, member, "advisor")
    word = f"okapi{secrets.token_hex(4)}"
    for text, fields in ((f"{word} in private", {"private": "yes"}), (f"{word} for all", {})):
        begun = await begin(founder, office.company, text, fields)
        await stage.follow(founder, begun.events_url)
    found = await stage.say(member, office.company, f"/said {word}")
    told = str([event["body"] for event in found.events])
    seen.expect("a run finds what its person may read", f"{word} for all" in told, found.outcome)
    seen.expect("and nothing of a colleague's private conversation", f"{word} in private" not in told)
    await founder.browser.post(f"{office.base}/metrics", {"slug": word, "name": "Rights"})
    for person, expected in ((member, "denied"), (founder, "success")):
        run = await stage.say(person, office.company, f"/measure {word} 7 {_DAY}")
        claim = f"what {'a' if person is founder else 'no'} role of its person permits is {expected}"
        seen.expect(claim, run.outcome == expected, run.outcome)
    await _leave_in_the_middle(office, seen, member, word)
    return seen


async def _leave_in_the_middle(office: Office, seen: Observations, member: Person, word: str) -> None:
    """End a membership while the provider of its run thinks, and let it ask for a tool then."""
    held = threading.Event()
    try:
        office.tell(_LEAVING, calls("files_list", {}, held))
        await office.let_through(_LEAVING)
        begun = await begin(member, office.company, f"List the files, {word}.")
        seen.expect("a run is at work", await office.wait_until_asked(_LEAVING, word))
        me = (await member.browser.get(f"{API}/me")).json()["id"]
        gone = await member.browser.send("DELETE", f"{office.base}/members/{me}")
        seen.expect("its person leaves meanwhile", gone.status == HTTPStatus.NO_CONTENT, gone.status)
        office.tell(_LEAVING, answers("Done."))
    finally:
        held.set()
    ended = await end_of(office.stage, begun.run)
    async with office.stage.connect(DatabaseRole.OWNER) as connection:
        steps = await store.steps_of_run(connection, begun.run)
    seen.expect("the run ends with the membership", ended == "failed", ended)
    later = sorted(_WRITTEN_BY_MODELS & set(steps))
    seen.expect("and does nothing that the model wanted after that", bool(steps) and not later, ", ".join(later))


@probe("5.1.3")
async def tools_are_under_the_same_checks(context: ProbeContext) -> Observations:
    """Do the same through the API and through an agent, in each role, and read what the tools' code reaches."""
    stage = staged(context)
    seen = Observations()
    company = await stage.found(stage.founder, "Matrix Company", "startup")
    word = f"tapir-{secrets.token_hex(4)}"
    await stage.founder.browser.post(f"{API}/companies/{company.slug}/metrics", {"slug": word, "name": "Matrix"})
    people = (("founder", stage.founder), ("advisor", stage.regulars[0]), ("investor", stage.regulars[1]))
    verdicts: set[bool] = set()
    for role, person in people:
        if role != "founder":
            await stage.invite(stage.founder, company, person, role)
        by_api = await _through_the_api(person, company, f"{word}-{role}", word)
        outcomes = await _through_an_agent(stage, person, company, f"{word}-{role}", word)
        by_tool = {what: outcome == "success" for what, outcome in outcomes.items()}
        verdicts |= set(by_api.values())
        told = ", ".join(f"{what}: {outcome}" for what, outcome in outcomes.items())
        seen.expect(f"{role}: the same verdict by tool as by API", by_tool == by_api, told)
    seen.expect("both verdicts were seen", verdicts == {True, False})
    modules = modules_in(context.root / "src" / "operalta")
    tools = tool_modules(modules)
    stores = sorted(f"{name}: {each}" for name in tools for each in stores_imported(modules[name]))
    claim = "what tools do to the company's data goes through its services"
    seen.expect(claim, bool(tools) and not stores, ", ".join(stores) or f"{len(tools)} modules")
    return seen


async def _through_the_api(person: Person, company: Company, name: str, metric: str) -> dict[str, bool]:
    base = f"{API}/companies/{company.slug}"
    point = {"on_date": _DAY, "value": "7"}
    answers_by = {
        "search the memory": await person.browser.get(f"{base}/memory?q={name}"),
        "record a decision": await person.browser.post(f"{base}/memory", {"kind": "decision", "title": name}),
        "write a file": await person.browser.post(f"{base}/files/append", {"path": f"notes/{name}.md", "text": "x"}),
        "record a value": await person.browser.post(f"{base}/metrics/{metric}/points", point),
    }
    return {what: answer.status < HTTPStatus.BAD_REQUEST for what, answer in answers_by.items()}


async def _through_an_agent(stage: Stage, person: Person, company: Company, name: str, metric: str) -> dict[str, str]:
    texts = {
        "search the memory": f"/find {name}",
        "record a decision": f"/decide {name} by the agent",
        "write a file": f"/write notes/{name}-too.md | x",
        "record a value": f"/measure {metric} 8 {_DAY}",
    }
    runs = await stage.say_all(person, company, texts.values())
    return {what: run.outcome for what, run in zip(texts, runs, strict=True)}


@probe("5.1.4")
async def nothing_elevated_is_reached(context: ProbeContext) -> Observations:
    """Try the elevated functions as the role that runs work with, read what tools import, and who used them so far."""
    stage = staged(context)
    seen = Observations()
    async with stage.connect(DatabaseRole.WORKER) as connection:
        functions, may = await store.elevated_functions(connection)
        seen.expect("there are elevated functions", functions > 0, functions)
        seen.expect("the role that runs work with may execute none", not may, ", ".join(may))
        tried = await store.try_elevated(connection)
        seen.expect("to call one is refused", tried == "InsufficientPrivilege", tried)
        roles = [role for role in DatabaseRole if role is not DatabaseRole.WORKER]
        taken = [role.value for role in roles if await store.try_role(connection, role.value)]
        seen.expect("it can take no other role", not taken, ", ".join(taken) or len(roles))
    modules = modules_in(context.root / "src" / "operalta")
    tools = tool_modules(modules)
    reached = await asyncio.to_thread(imported_from, tools, modules)  # to read so much takes a second
    seen.expect(
        "no tool imports what opens an elevated connection, however far off", ELEVATED not in reached, len(reached)
    )
    seen.expect("which is there to be found", ELEVATED in modules and bool(tools), f"{len(tools)} modules of tools")
    company = await stage.found(stage.founder, "Elevated Company", "startup")
    await stage.say_all(stage.founder, company, ("/find anything", "/decide We stay below", "/write notes/x.md | x"))
    async with stage.connect(DatabaseRole.OWNER) as connection:
        runs, elevated = await store.elevated_uses(connection)
    seen.expect(
        "of all that was elevated so far nothing was in a run", runs > 0 and not elevated, f"{runs} events of runs"
    )
    return seen
