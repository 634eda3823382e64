"""How it is observed that agents ask: through the chat, as people meet them."""

from operalta.agents.company_tools import company_registry
from operalta.agents.decision_context import DecisionContext, Outcome, ToolSettings
from operalta.agents.policy import decide
from operalta.agents.provenance import Origin, person_words
from operalta.agents.registry import UnknownTool
from operalta.assurance.probes import store
from operalta.assurance.registry import ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, OVER, Company, Person, Run, Stage, staged
from operalta.settings import DatabaseRole


@probe("5.5.1")
async def approval_before_the_deed(context: ProbeContext) -> Observations:
    """Let an agent want to write what it composed: nothing before a person says yes, once, and only they."""
    stage = staged(context)
    seen = Observations()
    person = stage.founder
    company = await stage.found(person, "Approving Company", "startup")
    title = "We approve things"
    text = f"Please record a decision that {title.lower()}"
    run = await stage.say(person, company, text)
    asked = run.bodies("approval_asked")
    if not seen.expect("what an agent composed for others is asked about", len(asked) == 1, len(asked)):
        return seen
    inbox = await person.browser.get(f"/c/{company.slug}/approvals")
    approval = approval_id(inbox.body.decode())
    seen.expect("the question shows all arguments", title.encode() in inbox.body)
    async with stage.connect(DatabaseRole.OWNER) as connection:
        before = await store.count_records(connection, company.id, title)
        seen.expect("nothing is written before", before == 0, before)
        path = f"/c/{company.slug}/approvals/{approval}/decision"
        foreign = await stage.outsider.browser.post_form(path, {"decision": "once"})
        seen.expect("somebody else cannot decide", foreign.status == 404, foreign.status)  # noqa: PLR2004 - not found
        decided = await person.browser.post_form(path, {"decision": "once"})
        seen.expect("the person decides", decided.status == 303, decided.status)  # noqa: PLR2004 - see other
        await until_over(stage, person, company, run)
        after = await store.count_records(connection, company.id, title)
        seen.expect("then it is written, once", after == 1, after)
        again = await person.browser.post_form(path, {"decision": "once"})
        seen.expect("a decision counts once", again.status >= 400, again.status)  # noqa: PLR2004 - refused
        denied = await stage.say(person, company, "Please record a decision that we deny things")
        inbox = await person.browser.get(f"/c/{company.slug}/approvals")
        path = f"/c/{company.slug}/approvals/{approval_id(inbox.body.decode())}/decision"
        await person.browser.post_form(path, {"decision": "denied"})
        await until_over(stage, person, company, denied)
        written = await store.count_records(connection, company.id, "We deny things")
        seen.expect("what is denied is not done", written == 0, written)
    return seen


@probe("5.5.2")
async def unknown_tools_are_denied(context: ProbeContext) -> Observations:
    """Take a tool out of an agent's settings, switch it off, ask for one beyond a role, and for odd names."""
    stage = staged(context)
    seen = Observations()
    person = stage.regulars[1]
    company = await stage.found(person, "Tooling Company", "startup")
    allowed = await stage.say(person, company, "/find anything")
    seen.expect("a tool that the agent has is used", allowed.outcome == "success", allowed.outcome)
    async with stage.connect(DatabaseRole.OWNER) as connection:
        await store.take_tool_setting(connection, company.id, "memory_search")
        unmentioned = await stage.say(person, company, "/find anything")
        seen.expect("a tool that no setting mentions is not used", not _used(unmentioned), unmentioned.outcome)
        await store.put_tool_setting(connection, company.id, "memory_search", "deny")
        off = await stage.say(person, company, "/find anything")
        seen.expect("a tool that is switched off is not used", not _used(off), off.outcome)
        await store.put_tool_setting(connection, company.id, "memory_search", "allow")
        await store.put_tool_setting(connection, company.id, "shell_run", "allow")
    colleague = await stage.new_person("Cai Colleague")
    await stage.invite(person, company, colleague, "advisor")
    beyond = await stage.say(colleague, company, "/run ls")
    seen.expect("a tool beyond a person's own role is denied", beyond.outcome == "denied", beyond.outcome)
    registry = company_registry()
    for name in ("sudo", "memory_Search", "memory_search ", "memory-search", "mem\u043ery_search", ""):
        tool = registry.resolve(name)
        everything = ToolSettings(enabled=frozenset({name}), granted=frozenset({name}))
        words = person_words(f"/{name} x", Origin.SESSION)
        outcome = decide(tool, {"query": "x"}, DecisionContext(words, everything)).outcome
        denied = isinstance(tool, UnknownTool) and outcome is Outcome.DENY
        seen.expect(f"the tool {name!r} is unknown, and denied", denied, outcome.value)
    events = (await person.browser.get(f"{API}/companies/{company.slug}/audit?limit=100")).json()["items"]
    refused = [event for event in events if event["action"] in {"tool.denied", "tool.unknown"}]
    seen.expect("what was denied is in the audit log", bool(refused), len(refused))
    return seen


def _used(run: Run) -> list[str]:
    """Return the tools that really did something in a run."""
    return [body["tool"] for body in run.bodies("tool_result") if body.get("outcome") == "success"]


async def until_over(stage: Stage, person: Person, company: Company, run: Run) -> None:
    """Follow a run that was resumed until it is over."""
    await stage.follow(person, f"/c/{company.slug}/runs/{run.id}/events", OVER)


def approval_id(page: str) -> str:
    """Return the id of the first card that an inbox shows, which is its first question's."""
    return page.partition('data-approval="')[2][:36]
