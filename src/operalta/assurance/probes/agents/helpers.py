"""How it is observed whom agents hand tasks to: to agents of their own company, called by name, with no more rights."""

import secrets
from typing import Any

from operalta.assurance.probes.agents import store
from operalta.assurance.registry import ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Company, Person, Stage, StageFault, staged
from operalta.settings import DatabaseRole

_CREATED, _OK = 201, 200
_NOT_FOUND = "There is no such agent in this company."


@probe("5.1.2")
async def helpers_are_of_the_same_company(context: ProbeContext) -> Observations:
    """Hand tasks to another company's agent by all its names, to look-alikes of one's own, and to one that has more."""
    stage = staged(context)
    seen = Observations()
    person = stage.regulars[1]
    company = await stage.found(person, "Delegating Company", "startup")
    mark = secrets.token_hex(4)
    foreign = await _make_agent(stage.outsider, stage.other, f"Foreign {mark}", {"files_search": "allow"})
    own = await _make_agent(person, company, f"Scribe {mark}", {"memory_search": "allow", "files_search": "allow"})
    slug = str(own["slug"])
    names = {
        "another company's agent by its slug": foreign["slug"],
        "another company's agent by its id": foreign["id"],
        "an own agent in capitals": slug.upper(),
        "an own agent with a foreign letter": slug.replace("c", "\u0441", 1),
        "an own agent with another hyphen": slug.replace("-", "_"),
        "an own agent's name for people": own["name"],
    }
    texts = [f"/delegate {name} | /find anything" for name in names.values()]
    for what, run in zip(names, await stage.say_all(person, company, texts), strict=True):
        below = await _below(stage, run.id)
        refused = run.outcome == "failed" and run.told.startswith(_NOT_FOUND) and not below
        seen.expect(f"{what} is not found", refused, f"{run.outcome}: {run.told}")
    await _hold_back(person, company)
    for command, expected in (("/find anything", True), ("/search anything", False)):
        run = await stage.say(person, company, f"/delegate {slug} | {command}")
        steps = await _below(stage, run.id)
        used = any(step["kind"] == "tool_result" and step["body"]["outcome"] == "success" for step in steps)
        what = "uses a tool that the agent above has too" if expected else "uses no tool that the agent above lacks"
        seen.expect(f"a helper {what}", bool(steps) and used is expected, f"{len(steps)} steps")
    return seen


async def _make_agent(person: Person, company: Company, name: str, tools: dict[str, str]) -> dict[str, Any]:
    """Make an agent. Raise StageFault where that is refused."""
    body = {"name": name, "purpose": "Helps", "tools": [{"tool": tool, "decision": tools[tool]} for tool in tools]}
    answer = await person.browser.post(f"{API}/companies/{company.slug}/agents", body)
    if answer.status != _CREATED:
        raise StageFault(f"to make an agent was answered with {answer.status}")
    return dict[str, Any](answer.json())


async def _hold_back(person: Person, company: Company) -> None:
    """Deny the searching of files to the company's first agent. Raise StageFault where that is refused."""
    base = f"{API}/companies/{company.slug}/agents"
    first = (await person.browser.get(base)).json()["items"][0]
    kept = {**first["tools"], "files_search": "deny"}
    body = {"tools": [{"tool": tool, "decision": decision} for tool, decision in kept.items()]}
    answer = await person.browser.send("PATCH", f"{base}/{first['id']}", json=body)
    if answer.status != _OK:
        raise StageFault(f"to change an agent was answered with {answer.status}")


async def _below(stage: Stage, run: str) -> list[dict[str, Any]]:
    async with stage.connect(DatabaseRole.OWNER) as connection:
        return await store.steps_below(connection, run)
