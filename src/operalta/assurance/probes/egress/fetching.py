"""Somebody who has an agent fetch pages, and what the egress log says of each: nothing here touches the network itself.

Whoever watches a fetch needs a company of their own, so that its log and its counts are.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

from operalta.assurance.probes import store
from operalta.assurance.registry import ProbeContext
from operalta.assurance.stage import Company, Person, Run, Stage
from operalta.kernel.errors import Refusal
from operalta.kernel.ids import CompanyId
from operalta.sandbox.egress import EgressDoor, EgressLine
from operalta.sandbox.metering import Meter
from operalta.sandbox.naming import resolver_at
from operalta.sandbox.policies import OPEN, EgressPolicy
from operalta.settings import DatabaseRole

NOT_COUNTED = "fetch_not_counted"
_TRIALS = 3


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the egress log: where to, at which address (None: nothing was dialled), what came of it, and bytes."""

    destination: str
    address: str | None
    outcome: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """A page that was asked for: the run that did, and its lines in the log, one for each hop."""

    url: str
    run: Run
    lines: tuple[Line, ...]

    @property
    def ended(self) -> str:
        """What the log says of the last hop: a status, or the rule or failure that ended it."""
        return self.lines[-1].outcome if self.lines else "no line"

    @property
    def dialled(self) -> tuple[str, ...]:
        """The addresses that were dialled, in order."""
        return tuple(line.address for line in self.lines if line.address is not None)

    @property
    def arrived(self) -> bool:
        """Whether the agent got the page."""
        return self.run.outcome == "success"


class Fetcher:
    """A person with a company, whose agent fetches. 40 pages a minute: more the chat does not take."""

    def __init__(self, stage: Stage, person: Person, company: Company) -> None:
        self._stage = stage
        self._person = person
        self.company = company

    @classmethod
    async def new(cls, stage: Stage, name: str) -> "Fetcher":
        """Open an account and found a company. Raise StageFault where that is refused."""
        person = await stage.new_person(name)
        return cls(stage, person, await stage.found(person, f"{name} Company", "startup"))

    async def elsewhere(self) -> "Fetcher":
        """Return the same person in another company of theirs, with counts of its own."""
        company = await self._stage.found(self._person, f"{self._person.name} Other Company", "startup")
        return Fetcher(self._stage, self._person, company)

    async def fetch(self, url: str) -> Fetched:
        """Have one page fetched. Raise StageFault where the chat does not take the message."""
        return (await self.fetch_all([url]))[0]

    async def fetch_all(self, urls: Iterable[str]) -> list[Fetched]:
        """Have many pages fetched, a few at a time; again where the limiter's store was late, as it is when busy."""
        found = await self._ask(urls)
        for _ in range(_TRIALS - 1):
            late = [place for place, each in enumerate(found) if each.ended == NOT_COUNTED]
            for place, each in zip(late, await self._ask([found[place].url for place in late]), strict=True):
                found[place] = each
        return found

    async def audited(self) -> list[str]:
        """Return the rules by which the company's audit log says that fetches were refused; the last hundred events."""
        path = f"/api/v1/companies/{self.company.slug}/audit?limit=100&action=egress.refused"
        events = (await self._person.browser.get(path)).json()["items"]
        return [str(event["detail"].get("rule")) for event in events]

    async def _ask(self, urls: Iterable[str]) -> list[Fetched]:
        wanted = list(urls)
        if not wanted:
            return []
        runs = await self._stage.say_all(self._person, self.company, [f"/fetch {url}" for url in wanted])
        async with self._stage.connect(DatabaseRole.OWNER) as connection:
            rows = await store.egress_lines(connection, self.company.id)
        return [
            Fetched(
                url,
                run,
                tuple(
                    Line(row["destination"], row["address"], row["outcome"], row["bytes"])
                    for row in rows
                    if row["run"] == run.id
                ),
            )
            for url, run in zip(wanted, runs, strict=True)
        ]


async def fetchers(stage: Stage, *names: str) -> list[Fetcher]:
    """Return one for each name, made at the same time."""
    return list(await asyncio.gather(*(Fetcher.new(stage, name) for name in names)))


class OwnDoor:
    """The product's door as the worker makes it, in this process: for what no agent can be told to ask for."""

    def __init__(self, context: ProbeContext, policy: EgressPolicy = OPEN, meter: Meter | None = None) -> None:
        self.lines: list[EgressLine] = []
        settings = context.settings
        self._door = EgressDoor(
            policy, settings.egress_exemptions, self._keep, meter=meter, resolve=resolver_at(settings.dns_server)
        )

    async def ask(
        self,
        url: str,
        surface: EgressPolicy,
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        company: CompanyId | None = None,
    ) -> str:
        """Ask for a page and return its status, or the code of what refused it."""
        with contextlib.suppress(Refusal):
            await self._door.fetch(
                url, surface=surface, purpose="probe", method=method, headers=headers, body=body, company_id=company
            )
        return self.ended

    @property
    def ended(self) -> str:
        """What its log says of the last hop."""
        if not self.lines:
            return "no line"
        last = self.lines[-1]
        return last.refusal or str(last.status)

    async def _keep(self, line: EgressLine) -> None:
        self.lines.append(line)
