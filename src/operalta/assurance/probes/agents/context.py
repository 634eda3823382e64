"""How it is observed what agents are told: canaries elsewhere, and every prompt that leaves."""

import secrets

from operalta.assurance.model_routes import answers
from operalta.assurance.probes import store
from operalta.assurance.probes.agents.ground import make_office
from operalta.assurance.registry import ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, staged
from operalta.settings import DatabaseRole

_ROUTE = "asked"


@probe("5.1.1")
async def context_stays_inside(context: ProbeContext) -> Observations:
    """Plant canaries elsewhere, ask for them, and search everything that went into the run."""
    stage = staged(context)
    seen = Observations()
    word = f"zebrafish{secrets.token_hex(4)}"
    person, colleague = stage.founder, stage.regulars[0]
    office = await make_office(stage, person, "Asking Company")
    company = office.company
    await stage.invite(person, company, colleague, "advisor")
    base = f"{API}/companies/{stage.other.slug}"
    planted = await stage.outsider.browser.post(
        f"{base}/memory", {"kind": "decision", "title": f"{word} foreign", "body": f"{word} is worth 5 million"}
    )
    seen.expect("a canary is in another company's memory", planted.status < 400, planted.status)  # noqa: PLR2004
    await stage.say(stage.outsider, stage.other, f"/write notes/canary.md | {word} foreign file")
    path = f"/c/{company.slug}/chat"
    private = await colleague.browser.post_form(
        path, {"text": f"{word} private thought", "private": "yes"}, accept="application/json"
    )
    await stage.follow(colleague, private.json()["events_url"])
    await person.browser.post(
        f"{API}/companies/{company.slug}/memory", {"kind": "decision", "title": f"{word} our own", "body": "ours"}
    )
    runs = [
        await stage.say(person, company, text)
        for text in (f"What is {word} worth?", f"/find {word}", f"/search {word}", f"What did we say about {word}?")
    ]
    office.tell(_ROUTE, answers("Noted."))
    await office.let_through(_ROUTE)
    for text in (f"What is {word} worth?", f"What did we say about {word}, in private or not?"):
        await stage.say(person, company, text)
    prompts = [visit.body.decode() for visit in office.asked(_ROUTE, word)]
    known = sum(f"{word} our own" in prompt for prompt in prompts)
    seen.expect("a provider is told what is the company's own", known == len(prompts) > 0, f"{len(prompts)} prompts")
    odd = [prompt for prompt in prompts if any(text in prompt for text in (f"{word} foreign", "5 million", "thought"))]
    seen.expect("and nothing of another company, or of a colleague's private conversation", not odd, len(odd))
    told = [str(event["body"]) for run in runs for event in run.events]
    seen.expect("what is the company's own is found", any(f"{word} our own" in text for text in told), len(told))
    foreign = [text for text in told if f"{word} foreign" in text or "5 million" in text]
    seen.expect("nothing of another company is in any step", not foreign, len(foreign))
    secret = [text for text in told if "private thought" in text]
    seen.expect("nothing of a colleague's private conversation is", not secret, len(secret))
    async with stage.connect(DatabaseRole.OWNER) as connection:
        steps, hits = await store.run_events_holding(connection, company.id, f"{word} foreign")
    seen.expect("nor in what the database keeps of the runs", steps > 0 and hits == 0, f"{steps} steps")
    return seen
