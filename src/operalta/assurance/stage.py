"""What probes look at: the throw-away deployment, furnished with people and companies through its own front door."""

import asyncio
import itertools
import json
import secrets
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from operalta.assurance.carrier import fresh_number
from operalta.assurance.client import Browser
from operalta.assurance.deployment import ThrowAway
from operalta.assurance.registry import Answer, ProbeContext
from operalta.kernel.errors import Unavailable
from operalta.settings import DatabaseRole, Settings

API = "/api/v1"
RUN_SECONDS = 20.0
OVER = frozenset({"answer", "run_failed", "run_stopped", "run_finished"})
RESTS = OVER | {"approval_asked"}
_ACCEPTED, _CREATED, _DONE = 202, 201, 204
_AT_ONCE = 4
_COME_BACK = 0.3


class StageFault(Unavailable):
    """The stage could not be set; the message names the step and the status that it was answered with."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account, signed in in `browser`."""

    email: str
    name: str
    password: str
    browser: Browser


@dataclass(frozen=True, slots=True)
class Phone:
    """A phone that is somebody's second factor: its number, and what the product calls it."""

    number: str
    id: str


@dataclass(frozen=True, slots=True)
class Holder(Person):
    """Somebody with a phone as second factor, proved in `browser` a moment ago."""

    phone: Phone
    recovery_codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Company:
    """A company of the stage."""

    id: str
    slug: str


@dataclass(frozen=True, slots=True)
class Furniture:
    """Who and what is on the stage from the beginning."""

    founder: Person
    outsider: Person
    observer: Person
    regulars: tuple[Person, Person]
    holder: Holder
    company: Company
    other: Company


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a message: the run, its conversation, and its events as the stream showed them."""

    id: str
    conversation: str
    events: tuple[dict[str, Any], ...]

    def bodies(self, kind: str) -> tuple[dict[str, Any], ...]:
        """Return the bodies of the events of one kind."""
        return tuple(event["body"] for event in self.events if event.get("kind") == kind)

    @property
    def outcome(self) -> str:
        """The outcome of its last tool call; `asked` where it waits, `none` where there was no call."""
        results = self.bodies("tool_result")
        if self.bodies("approval_asked") and not results:
            return "asked"
        return str(results[-1].get("outcome", "none")) if results else "none"

    @property
    def told(self) -> str:
        """What its last tool call said in a sentence; nothing where there was none."""
        results = self.bodies("tool_result")
        return str(results[-1].get("output", "")) if results else ""


class Stage:
    """A `ProbeContext` over a throw-away deployment, with more: people, companies, mail, processes."""

    def __init__(self, deployment: ThrowAway, commit: str, root: Path) -> None:
        self.deployment = deployment
        self._commit = commit
        self._root = root
        self._addresses = itertools.count(2)
        self._tls = deployment.tls()
        self._description: dict[str, Any] | None = None
        self._furnished: Furniture | None = None
        self._invited: dict[tuple[asyncio.AbstractEventLoop, str], asyncio.Lock] = {}

    @property
    def commit(self) -> str:
        """The commit that is running."""
        return self._commit

    @property
    def live(self) -> bool:
        """Nobody uses a throw-away deployment."""
        return False

    @property
    def base_url(self) -> str:
        """Where it answers."""
        return self.settings.base_url

    @property
    def root(self) -> Path:
        """Where its code stands."""
        return self._root

    @property
    def settings(self) -> Settings:
        """Its configuration."""
        return self.deployment.settings

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        json: object = None,
        content: bytes | None = None,
    ) -> Answer:
        """Send one request as a stranger at an address of their own."""
        return await self.browser().send(
            method, path, headers=headers, cookies=cookies or {}, json=json, content=content
        )

    @asynccontextmanager
    async def connect(self, role: DatabaseRole) -> AsyncGenerator[AsyncConnection[Any]]:
        """Open a connection to the database as the role; each statement is committed at once."""
        connection = await AsyncConnection[Any].connect(
            self.settings.database_dsn(role), row_factory=dict_row, autocommit=True, connect_timeout=10
        )
        async with connection:
            yield connection

    async def described(self) -> dict[str, Any]:
        """Return the API's own description (OpenAPI)."""
        described = self._description
        if described is None:
            answer = await self.browser().get("/api/openapi.json")
            _require(answer, 200, "describe the API")
            described = self._description = dict[str, Any](answer.json())
        return described

    # ── People and companies ──────────────────────────────────────────────────────────────────────────

    async def furnish(self) -> None:
        """Make the people and companies that most probes look at. Raise StageFault where that is refused."""
        names = ("Ada Founder", "Bo Outsider", "Cy Observer", "Di Regular", "Ed Regular")
        (founder, outsider, observer, *regulars), holder = await asyncio.gather(
            asyncio.gather(*(self.new_person(name) for name in names)), self.new_holder("Flo Holder")
        )
        company = await self.found(founder, "Analytical Engines", "startup")
        other = await self.found(outsider, "Northern Seed", "investor")
        await self.invite(founder, company, observer, "observer")
        self._furnished = Furniture(founder, outsider, observer, (regulars[0], regulars[1]), holder, company, other)

    async def renew(self) -> None:
        """Renew everybody's session, as browsers do: access tokens last ten minutes. Raise StageFault otherwise."""
        whole = self._whole
        for person in (whole.founder, whole.outsider, whole.observer, *whole.regulars, whole.holder):
            _require(await person.browser.post(f"{API}/auth/refresh", None), 200, f"renew the session of {person.name}")

    @property
    def founder(self) -> Person:
        """The founder of `company`."""
        return self._whole.founder

    @property
    def outsider(self) -> Person:
        """The founder of `other`, who has nothing to do with `company`."""
        return self._whole.outsider

    @property
    def observer(self) -> Person:
        """An observer of `company`."""
        return self._whole.observer

    @property
    def regulars(self) -> tuple[Person, Person]:
        """Two people without a company, for probes that leave their accounts as they are."""
        return self._whole.regulars

    @property
    def holder(self) -> Holder:
        """Somebody with a second factor, for probes that leave account and factor as they are."""
        return self._whole.holder

    @property
    def company(self) -> Company:
        """A startup."""
        return self._whole.company

    @property
    def other(self) -> Company:
        """An investor."""
        return self._whole.other

    def browser(self, port: int | None = None) -> Browser:
        """Return a browser nobody is signed in in, at an address that nobody has called from.

        It looks at the web process, or at what listens on another `port` of the deployment.
        """
        number = next(self._addresses)
        own = port is None or port == self.settings.port
        place = self.base_url if own else f"http://{self.settings.host}:{port}"
        return Browser(place, self._tls, f"127.{number // 62_500 + 1}.{number // 250 % 250}.{number % 250 + 2}")

    async def new_person(self, name: str, password: str | None = None) -> Person:
        """Open an account by its mailed link and sign in."""
        person = Person(fresh_address(), name, password or fresh_password(), self.browser())
        await self.sign_up(person)
        await self.sign_in(person)
        return person

    async def sign_up(self, person: Person) -> None:
        """Open an account and confirm its address."""
        body = {"email": person.email, "name": person.name, "password": person.password}
        _require(await person.browser.post(f"{API}/auth/sign-up", body), _ACCEPTED, "sign up")
        token = await self.deployment.mailbox.wait_for_link(person.email, "/verify-email")
        _require(await person.browser.post(f"{API}/auth/verify-email", {"token": token}), 204, "verify the address")

    async def sign_in(self, person: Person, browser: Browser | None = None) -> Browser:
        """Sign somebody in who has no second factor, in their own browser or another."""
        used = browser or person.browser
        body = {"email": person.email, "password": person.password}
        _require(await used.post(f"{API}/auth/sign-in", body), 200, "sign in")
        return used

    async def found(self, person: Person, name: str, kind: str) -> Company:
        """Found a company."""
        answer = await person.browser.post(f"{API}/companies", {"name": name, "kind": kind})
        _require(answer, _CREATED, "found a company")
        made = answer.json()
        return Company(made["id"], made["slug"])

    async def invite(self, inviter: Person, company: Company, guest: Person, role: str) -> None:
        """Bring somebody into a company by its mailed invitation."""
        body = {"email": guest.email, "role": role}
        path = f"{API}/companies/{company.slug}/invitations"
        # Two at a time could not be told apart by their mail.
        async with self._invited.setdefault((asyncio.get_running_loop(), guest.email), asyncio.Lock()):
            before = len(self.deployment.mailbox.to(guest.email))
            _require(await inviter.browser.post(path, body), _CREATED, "invite")
            token = await self.deployment.mailbox.wait_for_link(guest.email, "/invitations/accept", after=before)
        _require(await guest.browser.post(f"{API}/invitations/accept", {"token": token}), 200, "accept an invitation")

    # ── Second factors ────────────────────────────────────────────────────────────────────────────────

    async def new_holder(self, name: str) -> Holder:
        """Open an account and make a phone its second factor."""
        person = await self.new_person(name)
        phone, codes = await self.add_phone(person.browser)
        return Holder(person.email, person.name, person.password, person.browser, phone, codes)

    async def add_phone(self, browser: Browser) -> tuple[Phone, tuple[str, ...]]:
        """Make a phone the second factor of whoever is signed in; return it, and the recovery codes of a first one."""
        number, path = fresh_number(), f"{API}/auth/factors"
        _require(await browser.post(f"{path}/phone", {"phone": number}), _ACCEPTED, "have a code sent to a new phone")
        sms = await self.deployment.carrier.wait_for(number)
        confirmed = await browser.post(f"{path}/phone/confirm", {"code": sms.code})
        _require(confirmed, _CREATED, "confirm a phone")
        listed = await browser.get(path)
        _require(listed, 200, "list second factors")
        own = [each["id"] for each in listed.json()["factors"] if each["label"] == number]
        if len(own) != 1:
            raise StageFault("the phone that was confirmed is not listed")
        return Phone(number, own[0]), tuple(confirmed.json()["recovery_codes"])

    async def knock(self, holder: Holder, browser: Browser) -> Answer:
        """Give the right password of somebody who has a second factor, which then has to be proved."""
        body = {"email": holder.email, "password": holder.password}
        answer = await browser.post(f"{API}/auth/sign-in", body)
        _require(answer, _ACCEPTED, "sign in as far as the second factor")
        return answer

    async def fresh_code(self, browser: Browser, phone: Phone, purpose: str) -> str:
        """Have a code sent to a phone and return it once it has arrived."""
        before = len(self.deployment.carrier.to(phone.number))
        body = {"phone": phone.id, "purpose": purpose}
        _require(await browser.post(f"{API}/auth/otp/send", body), _ACCEPTED, "have a code sent")
        return (await self.deployment.carrier.wait_for(phone.number, after=before)).code

    async def step_up(self, holder: Holder) -> None:
        """Prove the second factor in the holder's own session."""
        body = {"code": await self.fresh_code(holder.browser, holder.phone, "step_up"), "purpose": "step_up"}
        _require(await holder.browser.post(f"{API}/auth/otp/verify", body), _DONE, "prove the second factor")

    # ── Agents ────────────────────────────────────────────────────────────────────────────────────────

    async def say(self, person: Person, company: Company, text: str, conversation: str | None = None) -> Run:
        """Write to the agent and follow the run until it rests: over, or waiting for a person."""
        path = f"/c/{company.slug}/chat" + (f"/{conversation}" if conversation else "")
        answer = await person.browser.post_form(path, {"text": text}, accept="application/json")
        _require(answer, _ACCEPTED, "write to the agent")
        posted = answer.json()
        events = await self.follow(person, posted["events_url"])
        return Run(posted["run_id"], posted["conversation_url"].rpartition("/")[2], events)

    async def say_all(self, person: Person, company: Company, texts: Iterable[str]) -> list[Run]:
        """Write many messages, each in a conversation of its own, a few at a time."""
        places = asyncio.Semaphore(_AT_ONCE)

        async def say(text: str) -> Run:
            async with places:
                return await self.say(person, company, text)

        return list(await asyncio.gather(*(say(text) for text in texts)))

    async def follow(
        self, person: Person, events_url: str, rests: frozenset[str] = RESTS
    ) -> tuple[dict[str, Any], ...]:
        """Collect a run's events until one of the kinds in `rests` comes: unless given, those on which it rests."""
        events: list[dict[str, Any]] = []
        async with asyncio.timeout(RUN_SECONDS):
            while not events:
                async with person.browser.stream(events_url) as (status, lines):
                    if status != 200:  # noqa: PLR2004 - OK
                        raise StageFault(f"to follow a run was answered with {status}")
                    async for line in lines:
                        if line.startswith("data: "):
                            events.append(json.loads(line.removeprefix("data: ")))
                            if events[-1].get("kind") in rests:
                                break
                if not events:  # somebody who follows many runs at once is told to come back, as browsers do
                    await asyncio.sleep(_COME_BACK)
        return tuple(events)

    @property
    def _whole(self) -> Furniture:
        if self._furnished is None:
            raise StageFault("the stage is not furnished yet")
        return self._furnished


def staged(context: ProbeContext) -> Stage:
    """Return the stage behind a probe's context. Raise StageFault where the probe needs one and there is none."""
    if not isinstance(context, Stage):
        raise StageFault("this probe needs a throw-away deployment")
    return context


def fresh_address() -> str:
    """Return a mail address that nobody has."""
    return f"{secrets.token_hex(6)}@people.example"


def fresh_password() -> str:
    """Return a password that is strong and found nowhere else."""
    return f"canary {secrets.token_urlsafe(18)}"


def _require(answer: Answer, status: int, step: str) -> None:
    if answer.status != status:
        raise StageFault(f"to {step} was answered with {answer.status}, not {status}")
