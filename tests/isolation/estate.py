"""Two companies with a row in every table, so that there is something to leak.

All ids of a company, and of its people, begin with its `mark`; all of its texts carry its `canary`. Whoever knows an
id knows the mark, so what must not be told are rows with a foreign mark and texts with a foreign canary.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import UUID

import psycopg

from operalta.access.rules import KEY_SCOPES, CompanyKind, Role, StaffRole
from operalta.vault.api_keys.rules import new_key_text, shown_part
from tests.isolation.filling import A_KEY, A_VISIT, OF_COMPANY, OF_CONVERSATION, OF_NOBODY, OF_PERSON, THE_COMPANY

Owner = psycopg.Connection[dict[str, Any]]
Row = dict[str, Any]


@dataclass(frozen=True)
class Person:
    """Somebody with a live session and every second factor there is."""

    name: str
    id: UUID
    session_id: UUID
    session_secret: str
    email: str


@dataclass(frozen=True)
class Run:
    """A run that a worker has claimed."""

    id: UUID
    claim: str


@dataclass(frozen=True)
class Key:
    """An API key."""

    id: UUID
    text: str
    is_companys: bool


@dataclass
class Company:
    """A company: a member of each role, somebody who was removed, and a conversation with a run of each of them."""

    kind: CompanyKind
    mark: str = field(default_factory=lambda: secrets.token_hex(4))
    canary: str = field(default_factory=lambda: f"canary{secrets.token_hex(8)}")
    people: dict[str, Person] = field(default_factory=dict[str, Person])
    runs: dict[str, Run] = field(default_factory=dict[str, Run])
    keys: dict[str, Key] = field(default_factory=dict[str, Key])
    ids: dict[str, UUID] = field(default_factory=dict[str, UUID])
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def __post_init__(self) -> None:
        self.id = self.new_id()
        self.slug = f"{self.mark}-company"

    def new_id(self) -> UUID:
        """Return an id that shows whose it is."""
        return UUID(f"{self.mark}-0000-4000-8000-{next(self._numbers):012x}")

    def new_person(self, name: str) -> Person:
        """Return somebody who is not in the database yet."""
        email = f"{name}-{self.mark}@people.example"
        return Person(name, self.new_id(), self.new_id(), secrets.token_urlsafe(24), email)


@dataclass(frozen=True)
class Estate:
    """A startup and an investor, foreign to each other, and people who belong to neither or to both."""

    startup: Company
    investor: Company
    nobodys: Company
    """No company at all, only people: a guest with a role in each, a newcomer with none, the operator, staff."""

    def company(self, kind: str) -> Company:
        """Return the company of one kind."""
        return self.startup if kind == CompanyKind.STARTUP else self.investor

    def other(self, company: Company) -> Company:
        """Return the other company."""
        return self.investor if company is self.startup else self.startup


def build(owner: Owner) -> Estate:
    """Fill the database, as its owner."""
    estate = Estate(Company(CompanyKind.STARTUP), Company(CompanyKind.INVESTOR), Company(CompanyKind.STARTUP))
    clear(owner)
    with owner.transaction():
        for statement in OF_NOBODY:
            owner.execute(statement)
        for name in ("guest", "newcomer", "operator", *StaffRole, "former visitor"):
            _add_person(owner, estate.nobodys, name)
        owner.execute(
            "UPDATE identity.people SET is_operator = true WHERE id = %s", (estate.nobodys.people["operator"].id,)
        )
        for company, role in ((estate.startup, Role.OBSERVER), (estate.investor, Role.FOUNDER)):
            _add_company(owner, company)
            _add_membership(owner, company, estate.nobodys.people["guest"], role)
        _let_staff_in(owner, estate)
    return estate


def clear(owner: Owner, estate: Estate | None = None) -> None:
    """Take away what other tests on the same server would stumble over: rows, queued work, a log that nobody sealed."""
    owner.execute("TRUNCATE audit.events, audit.leaves, audit.nodes, audit.heads")
    owner.execute("TRUNCATE jobs.procrastinate_jobs, jobs.procrastinate_workers RESTART IDENTITY CASCADE")
    owner.execute("DELETE FROM delivery.outbox")
    if estate is not None:
        companies = (estate.startup, estate.investor, estate.nobodys)
        people = [each.id for company in companies for each in company.people.values()]
        forget(owner, [company.id for company in companies], people)
        owner.execute("DELETE FROM identity.people WHERE id = ANY (%s)", (people,))


def forget(owner: Owner, companies: list[UUID], founders: list[UUID]) -> None:
    """Delete these companies and all that these people have founded, with everything in them."""
    facts = {"companies": companies, "founders": founders}
    with owner.transaction():
        owner.execute(
            "DELETE FROM workspace.conversations WHERE company_id IN (SELECT id FROM tenancy.companies"
            " WHERE id = ANY (%(companies)s) OR founded_by = ANY (%(founders)s))",
            facts,
        )
        owner.execute(
            "DELETE FROM tenancy.companies WHERE id = ANY (%(companies)s) OR founded_by = ANY (%(founders)s)", facts
        )


def _add_company(owner: Owner, company: Company) -> None:
    for name in (*Role, "removed"):
        _add_person(owner, company, name)
    founder = company.people[Role.FOUNDER]
    names = (
        "agent",
        "record",
        "second_record",
        "metric",
        "file",
        "invitation",
        "revoked_invitation",
        "event",
        "unsealed_event",
        "oauth_client",
        "connection",
        "webhook",
        "delivery",
        "hook",
        "integration",
    )
    company.ids |= {name: company.new_id() for name in names}
    facts = company.ids | {
        "company": company.id,
        "slug": company.slug,
        "kind": company.kind.value,
        "canary": company.canary,
        "mark": company.mark,
        "founder": founder.id,
    }
    owner.execute(THE_COMPANY, facts)
    for name, person in company.people.items():
        _add_membership(owner, company, person, Role.OBSERVER if name == "removed" else Role(name))
    for statement in OF_COMPANY:
        owner.execute(statement, facts)
    for person in company.people.values():
        _add_conversation(owner, company, person, person.id)
    _add_keys(owner, company)
    # Last, so that the removed one leaves work behind.
    owner.execute(
        "UPDATE tenancy.memberships SET ended_at = now() WHERE company_id = %s AND person_id = %s",
        (company.id, company.people["removed"].id),
    )
    _add_conversation(owner, company, founder, None)


def _add_keys(owner: Owner, company: Company) -> None:
    founder, removed = company.people[Role.FOUNDER], company.people["removed"]
    everything, narrow = [*KEY_SCOPES], ["agents:run", "metrics:read"]
    for name, holder, kind, scopes, life, addresses in (
        *((f"{role}'s key", company.people[role], "personal", everything, "1 day", []) for role in Role),
        ("company key", founder, "company", everything, "1 day", ["203.0.113.0/24", "2001:db8::/32"]),
        ("narrow key", founder, "personal", narrow, "1 day", []),
        ("revoked key", founder, "personal", everything, "1 day", []),
        ("expired key", founder, "personal", everything, "-1 second", []),
        ("key for elsewhere", founder, "personal", everything, "1 day", ["198.51.100.0/24"]),
        ("key of somebody removed", removed, "personal", everything, "1 day", []),
        ("company key that somebody removed has seen", removed, "company", everything, "1 day", []),
    ):
        key = company.keys[name] = Key(company.new_id(), new_key_text(), kind == "company")
        facts = {"company": company.id, "key": key.id, "kind": kind, "name": f"{company.canary} {name}"[:80]}
        facts |= {"scopes": scopes, "addresses": addresses, "holder": holder.id, "text": key.text}
        owner.execute(A_KEY, facts | {"shown": shown_part(key.text), "life": life})
    for name in ("company key", "narrow key", "revoked key"):
        private_to = None if company.keys[name].is_companys else founder.id
        _add_conversation(owner, company, founder, private_to, name)
    owner.execute("UPDATE credentials.api_keys SET revoked_at = now() WHERE id = %s", (company.keys["revoked key"].id,))


def _let_staff_in(owner: Owner, estate: Estate) -> None:
    """Open a visit of each staff role to each company, and one that is over."""
    people = estate.nobodys.people
    roles: dict[str, StaffRole] = {role: role for role in StaffRole} | {"former visitor": StaffRole.SUPPORT}
    for name, role in roles.items():
        owner.execute("INSERT INTO identity.staff (person_id, role) VALUES (%s, %s)", (people[name].id, role))
        for company in (estate.startup, estate.investor):
            facts = {"company": company.id, "person": people[name].id, "role": role, "canary": company.canary}
            owner.execute(A_VISIT, facts | {"over": name == "former visitor"})


def _add_person(owner: Owner, company: Company, name: str) -> None:
    person = company.new_person(name)
    company.people[name] = person
    facts = {
        "person": person.id,
        "session": person.session_id,
        "secret": person.session_secret,
        "email": person.email,
        "canary": company.canary,
        "mark": company.mark,
        "number": f"+1{secrets.randbelow(10**10):010d}",
        **{name: company.new_id() for name in ("link", "ticket", "code", "message", "authenticator", "pending")},
    }
    for statement in OF_PERSON:
        owner.execute(statement, facts)


def _add_membership(owner: Owner, company: Company, person: Person, role: Role) -> None:
    owner.execute(
        "INSERT INTO tenancy.memberships (company_id, person_id, role) VALUES (%s, %s, %s)",
        (company.id, person.id, role),
    )


def _add_conversation(
    owner: Owner, company: Company, person: Person, private_to: UUID | None, key: str | None = None
) -> None:
    run = Run(company.new_id(), secrets.token_hex(32))
    names = ("conversation", "message", "artifact", "undecided", "decided", "request", "ended_request", "schedule")
    ids = {name: company.new_id() for name in names}
    for statement in OF_CONVERSATION:
        owner.execute(
            statement,
            {
                "company": company.id,
                "agent": company.ids["agent"],
                "canary": company.canary,
                "person": person.id,
                "session": None if key else person.session_id,
                "decided_session": person.session_id,
                "api_key": company.keys[key].id if key else None,
                "private_to": private_to,
                "run": run.id,
                "claim": run.claim,
            }
            | ids,
        )
    name = f"{person.name} by {key}" if key else person.name if private_to else "shared"
    company.runs[name] = run
    company.ids |= {f"{name} {what}": which for what, which in ids.items()}
