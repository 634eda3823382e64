"""What the probes of agents share: a company whose agent asks a provider, and runs that nobody waits for."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from operalta.assurance.elsewhere import Reply, Visit
from operalta.assurance.model_routes import REGION, place_of
from operalta.assurance.probes.agents import store
from operalta.assurance.registry import Answer
from operalta.assurance.stage import API, Company, Person, Stage, StageFault
from operalta.settings import DatabaseRole

_OK, _ACCEPTED = 200, 202
_PAUSE = 0.05
_PATIENCE = 15.0


@dataclass(frozen=True, slots=True)
class Begun:
    """A run that was begun: its id, and where its events are followed."""

    run: str
    events_url: str


@dataclass(frozen=True, slots=True)
class Office:
    """A company of one probe, its founder, and its agent."""

    stage: Stage
    founder: Person
    company: Company
    agent: str

    @property
    def base(self) -> str:
        """Where the company is found on the API."""
        return f"{API}/companies/{self.company.slug}"

    async def allow(self, *slugs: str, person: Person | None = None) -> Answer:
        """Have somebody allow exactly these routes, in the region that probes look in."""
        browser = (person or self.founder).browser
        known = {each["slug"]: each for each in (await browser.get(f"{self.base}/model-routes")).json()["routes"]}
        routes = [
            {"slug": slug, "record_sha256": known[slug]["record_sha256"] if slug in known else "0" * 64}
            for slug in slugs
        ]
        body = {"routes": routes, "regions": [REGION]}
        return await browser.send("PUT", f"{self.base}/model-routes", json=body)

    async def take(self, slug: str) -> Answer:
        """Have the founder give the agent a route."""
        path = f"{self.base}/agents/{self.agent}/route"
        return await self.founder.browser.send("PUT", path, json={"route": slug})

    async def ask_over(self, slug: str) -> None:
        """Allow a route and take it. Raise StageFault where that is refused."""
        for answer in (await self.allow(slug), await self.take(slug)):
            if answer.status != _OK:
                raise StageFault(f"to take a model route was answered with {answer.status}")

    async def let_through(self, slug: str) -> None:
        """Write into the database that the company allows a route, as it is now, and that its agents take it."""
        listed = (await self.founder.browser.get(f"{self.base}/model-routes")).json()["routes"]
        record = next(each["record_sha256"] for each in listed if each["slug"] == slug)
        async with self.stage.connect(DatabaseRole.OWNER) as connection:
            await store.put_route(connection, self.company.id, slug, record, REGION)

    def tell(self, slug: str, reply: Reply) -> None:
        """Have the model of a route answer so from now on."""
        self.stage.deployment.elsewhere.tell(place_of(slug), reply)

    def asked(self, slug: str, word: str = "") -> tuple[Visit, ...]:
        """Return the requests that have come over a route, and hold a word."""
        came = self.stage.deployment.elsewhere.visits(place_of(slug))
        return tuple(visit for visit in came if word.encode() in visit.body)

    async def wait_until_asked(self, slug: str, word: str) -> bool:
        """Tell whether a request with a word comes over a route in time."""
        for _ in range(int(_PATIENCE / _PAUSE)):
            if self.asked(slug, word):
                return True
            await asyncio.sleep(_PAUSE)
        return False


async def make_office(stage: Stage, founder: Person, name: str) -> Office:
    """Found a company for one probe."""
    company = await stage.found(founder, name, "startup")
    listed = await founder.browser.get(f"{API}/companies/{company.slug}/agents")
    return Office(stage, founder, company, str(listed.json()["items"][0]["id"]))


async def begin(person: Person, company: Company, text: str, fields: Mapping[str, str] | None = None) -> Begun:
    """Write to the agent, and do not wait for what comes of it. Raise StageFault where that is refused."""
    answer = await person.browser.post_form(
        f"/c/{company.slug}/chat", {"text": text, **(fields or {})}, accept="application/json"
    )
    if answer.status != _ACCEPTED:
        raise StageFault(f"to write to the agent was answered with {answer.status}")
    posted: dict[str, Any] = answer.json()
    return Begun(posted["run_id"], posted["events_url"])


async def end_of(stage: Stage, run: str) -> str:
    """Return how a run ended, as the database has it; what it is at, where it does not end in time."""
    async with stage.connect(DatabaseRole.OWNER) as connection:
        status = ""
        for _ in range(int(_PATIENCE / _PAUSE)):
            status = await store.status_of_run(connection, run)
            if status in {"finished", "failed", "stopped"}:
                break
            await asyncio.sleep(_PAUSE)
    return status
