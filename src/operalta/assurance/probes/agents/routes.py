"""How model routes are observed: with a provider elsewhere that keeps what it is sent, and says what it is told to."""

import asyncio
import re
import secrets
import threading
from http import HTTPStatus

from operalta.assurance.deployment import WEB, WORKER
from operalta.assurance.elsewhere import Reply
from operalta.assurance.model_routes import WITH_A_GAP, WITHOUT_RECORD, answers
from operalta.assurance.probes import store
from operalta.assurance.probes.agents import store as agents_store
from operalta.assurance.probes.agents.ground import Begun, Office, begin, end_of, make_office
from operalta.assurance.probes.identity import search_files
from operalta.assurance.probes.infrastructure import network_listeners
from operalta.assurance.registry import ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import staged
from operalta.settings import DatabaseRole

_ALLOWED, _QUIET, _NO_ROUTE = "allowed", "quiet", "no-such-route"
_QUESTION = "What do you say?"
_HOLDS_WHAT_IS_SAID = ("workspace.", "agents.run_events")


@probe("5.6.1")
async def models_are_approved_and_allowed(context: ProbeContext) -> Observations:
    """Ask over routes that the operator has not approved, or the company not allowed, and see what arrives there."""
    stage = staged(context)
    seen = Observations()
    office = await make_office(stage, await stage.new_person("Rae Routing"), "Routing Company")
    for slug in (_ALLOWED, WITHOUT_RECORD, WITH_A_GAP):
        office.tell(slug, answers("It arrived."))
    for slug in (WITHOUT_RECORD, WITH_A_GAP, _NO_ROUTE):
        answer = await office.allow(slug)
        refused = answer.status in {HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND}
        seen.expect(f"a company cannot allow the route {slug}", refused, answer.status)
    taken = await office.take(_ALLOWED)
    seen.expect("an agent takes no route before it is allowed", taken.status == HTTPStatus.FORBIDDEN, taken.status)
    for slug in (WITHOUT_RECORD, WITH_A_GAP):
        await office.let_through(slug)
        await _arrives(office, seen, slug, 0, "the operator has not approved it, even where a company would allow it")
    async with stage.connect(DatabaseRole.OWNER) as connection:
        await agents_store.take_route(connection, office.company.id, _ALLOWED)
    await _arrives(office, seen, _ALLOWED, 0, "the company has not allowed it")
    await office.ask_over(_ALLOWED)
    await _arrives(office, seen, _ALLOWED, 1, "it is approved and allowed")
    withdrawn = await office.allow()
    seen.expect("a company takes back what it allowed", withdrawn.status == HTTPStatus.OK, withdrawn.status)
    await _arrives(office, seen, _ALLOWED, 0, "the company has taken it back")
    return seen


async def _arrives(office: Office, seen: Observations, slug: str, expected: int, why: str) -> None:
    before = len(office.asked(slug))
    run = await office.stage.say(office.founder, office.company, _QUESTION)
    came, answered = len(office.asked(slug)) - before, bool(run.bodies("answer"))
    claim = f"over the route {slug} {expected or 'no'} request arrives: {why}"
    seen.expect(
        claim, came == expected and answered == bool(expected), f"{came}, {'an answer' if answered else 'none'}"
    )


@probe("5.6.4")
async def what_is_said_is_not_logged(context: ProbeContext) -> Observations:
    """Have marked words go to a provider and come back, fail there and fail here, and look for them everywhere else."""
    stage = staged(context)
    seen = Observations()
    office = await make_office(stage, await stage.new_person("Quinn Quiet"), "Quiet Company")
    words = asked, said = f"vermilion{secrets.token_hex(6)}", f"heliotrope{secrets.token_hex(6)}"
    held = threading.Event()
    try:
        office.tell(_QUIET, answers(f"It is {said}.", held))
        await office.ask_over(_QUIET)
        begun = await begin(office.founder, office.company, f"What of {asked}?")
        await _while_it_is_asked(office, seen, begun, words)
    finally:
        held.set()
    ended = await end_of(stage, begun.run)
    seen.expect("the provider's answer is taken", ended == "finished", ended)
    for reply in (
        Reply(f"{said} is not for you".encode(), status=HTTPStatus.UNAUTHORIZED),
        Reply(f"data: {{{said}\n\n".encode(), "text/event-stream"),
    ):
        office.tell(_QUIET, reply)
        await stage.say(office.founder, office.company, f"And what of {asked}?")
    came = len(office.asked(_QUIET, asked))
    seen.expect("the words went to the provider each time", came == 3, came)  # noqa: PLR2004 - as often as said
    await _look_everywhere(office, seen, words)
    return seen


async def _while_it_is_asked(office: Office, seen: Observations, begun: Begun, words: tuple[str, str]) -> None:
    """Look at the queue while the provider thinks: the run's job is there until the run is over."""
    seen.expect("the provider is asked", await office.wait_until_asked(_QUIET, words[0]))
    async with office.stage.connect(DatabaseRole.OWNER) as connection:
        jobs = await agents_store.jobs_of_run(connection, begun.run)
    seen.expect("the run is in the queue meanwhile", len(jobs) == 1, len(jobs))
    hits = [job for job in jobs if any(word in job for word in words)]
    seen.expect("and nothing of what was said is with it", not hits, len(hits))


async def _look_everywhere(office: Office, seen: Observations, words: tuple[str, str]) -> None:
    stage = office.stage
    logs, hits = await asyncio.to_thread(search_files, stage.deployment.var / "log", [word.encode() for word in words])
    seen.expect(
        "the words are in no log of web, worker and servers", logs > 0 and not hits, f"{logs} logs, {hits} hits"
    )
    async with stage.connect(DatabaseRole.OWNER) as connection:
        rows, found = await store.search_each_table(connection, [re.escape(word) for word in words])
    kept = [table for table in found if table.startswith(_HOLDS_WHAT_IS_SAID)]
    seen.expect("they are in the conversation and the run's steps", len(kept) > 1, ", ".join(sorted(kept)))
    others = sorted(found.keys() - set(kept))
    seen.expect("and in no queue, ledger or other table", not others, ", ".join(others) or f"{rows} rows")
    answered, hits = await _metrics(office, words)
    seen.expect("they are in no metric of any port that is listened on", not hits, f"{answered} answers, {hits} hits")


async def _metrics(office: Office, words: tuple[str, str]) -> tuple[int, int]:
    """Ask every port of web and worker for metrics; return how many answered, and how many answers hold a word."""
    stage, answers_there = office.stage, list[bytes]()
    pids = [pid for part in (WEB, WORKER) if (pid := stage.deployment.pid(part)) is not None]
    for pid in pids:
        for listener in await asyncio.to_thread(network_listeners, pid):
            browser = stage.browser(int(listener.rpartition(":")[2], 16))
            answers_there.append((await browser.get("/metrics")).body)
    return len(answers_there), sum(word.encode() in body for body in answers_there for word in words)
