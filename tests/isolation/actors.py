"""Everybody who comes to the database, and how they open their scope."""

from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

from operalta.access.rules import KEY_SCOPES, CompanyKind, Permission, Role, StaffRole, permissions_of
from operalta.settings import DatabaseRole
from tests.isolation.estate import Company, Estate, Person

IN_COMPANY: LiteralString = "SELECT * FROM scope.open_scope(%(session)s, %(slug)s)"
AS_STAFF: LiteralString = "SELECT * FROM scope.open_staff_scope(%(session)s, %(slug)s)"
AS_PERSON: LiteralString = "SELECT * FROM scope.open_person_scope(%(session)s)"
AS_KEY: LiteralString = "SELECT * FROM scope.open_key_scope(%(api_key)s, %(slug)s, '203.0.113.7')"
AS_RUN: LiteralString = "SELECT * FROM scope.open_run_scope(%(run)s, %(claim)s)"


@dataclass(frozen=True)
class Actor:
    """Somebody's way into the database: a connection of `database_role`, on which `opens` is called.

    `person` is whose session or run it is; `company` is the kind of company that is asked for; `role` is what they
    then are in it, None where the scope must stay closed.
    """

    name: str
    database_role: DatabaseRole
    opens: LiteralString = ""
    person: str = ""
    company: str = ""
    role: str | None = None
    home: str = ""
    """Whose mark the person bears: a company's kind, or "" for people of no company."""
    key: str = ""
    """Which key of the home company this is, or a run of; its `scopes` narrow the role."""
    scopes: frozenset[Permission] | None = None

    def person_in(self, estate: Estate) -> Person:
        """Return the person behind this actor."""
        return (estate.company(self.home) if self.home else estate.nobodys).people[self.person]

    def company_in(self, estate: Estate) -> Company | None:
        """Return the company that the scope is bound to."""
        return estate.company(self.company) if self.role else None

    def foreign(self, estate: Estate) -> list[Company]:
        """Return the companies of which this actor must never see a row: all but their own."""
        own = {self.company} if self.role else {self.home} if self.opens == AS_PERSON else set[str]()
        return [company for company in (estate.startup, estate.investor) if company.kind not in own]

    def holds(self, permission: Permission | None) -> bool:
        """Tell whether the role holds a permission; None asks for none."""
        if permission is None:
            return True
        capped = self.scopes is None or permission in self.scopes
        return capped and permission in permissions_of(self.company, self.role)

    def facts(self, estate: Estate) -> dict[str, Any]:
        """Return what opening the scope, and the laws, are told about this actor."""
        company, person = self.company_in(estate), self.person_in(estate) if self.person else None
        asked = estate.company(self.company) if self.company else None
        run = asked.runs.get(f"{self.person} by {self.key}" if self.key else self.person) if asked else None
        run = run if self.opens == AS_RUN else None
        bound = bool(self.opens and (self.opens == AS_PERSON or company))
        key = estate.company(self.home).keys.get(self.key) if self.key else None
        in_session = bound and self.opens in {IN_COMPANY, AS_PERSON}
        return {
            "api_key": key.text if key and self.opens == AS_KEY else None,
            "key": key.id if key and bound else None,
            "reader": person.id if person and bound and not (key and key.is_companys) else None,
            "account": person.id if person and in_session else None,
            "sees_colleagues": key is None or self.holds(Permission.MEMBERS_READ),
            "manages_keys": bound and self.holds(Permission.KEYS_MANAGE),
            "session": person.session_secret if person else None,
            "session_id": person.session_id if person and bound else None,
            "slug": asked.slug if asked else None,
            "run": run.id if run else None,
            "claim": run.claim if run else None,
            "company": company.id if company else None,
            "person": person.id if person and bound else None,
            "self": person.id if person else None,
            "self_run": run.id if run else None,
            "operator": self.person == "operator" and bool(bound),
        }


def member(kind: CompanyKind, role: Role) -> Actor:
    """Return a member in their company."""
    return Actor(f"{role} of the {kind}", DatabaseRole.WEB, IN_COMPANY, role, kind, role, kind)


def run(kind: CompanyKind, role: Role) -> Actor:
    """Return an agent at work for a member."""
    return Actor(f"agent of the {kind}'s {role}", DatabaseRole.WORKER, AS_RUN, role, kind, role, kind)


def staff(kind: CompanyKind, role: StaffRole) -> Actor:
    """Return somebody of the operator's staff, on a visit to a company."""
    return Actor(f"{role} on a visit to the {kind}", DatabaseRole.WEB, AS_STAFF, role, kind, role)


def key(kind: CompanyKind, name: str, scopes: frozenset[Permission], role: Role = Role.FOUNDER) -> Actor:
    """Return a program with a key of a company, which a member holds."""
    return Actor(f"{name} of the {kind}", DatabaseRole.WEB, AS_KEY, role, kind, role, kind, name, scopes)


def key_run(kind: CompanyKind, name: str, scopes: frozenset[Permission], role: Role = Role.FOUNDER) -> Actor:
    """Return an agent at work that a key of a company began."""
    return Actor(f"agent of {name} of the {kind}", DatabaseRole.WORKER, AS_RUN, role, kind, role, kind, name, scopes)


def bare(role: DatabaseRole) -> Actor:
    """Return a database role whose connection is used as it is."""
    return Actor(f"bare {role}", role)


NARROW = frozenset({Permission.METRICS_READ, Permission.AGENTS_RUN})
DEAD_KEYS = {
    "revoked key": Role.FOUNDER,
    "expired key": Role.FOUNDER,
    "key for elsewhere": Role.FOUNDER,
    "key of somebody removed": "removed",
    "company key that somebody removed has seen": "removed",
}
"""Keys that open nothing, with their holders."""
STARTUP, INVESTOR = CompanyKind.STARTUP, CompanyKind.INVESTOR
ACTORS: tuple[Actor, ...] = (
    *(member(kind, role) for kind in CompanyKind for role in Role),
    *(run(kind, role) for kind in CompanyKind for role in Role),
    *(staff(kind, role) for kind in CompanyKind for role in StaffRole),
    *(key(kind, f"{role}'s key", KEY_SCOPES, role) for kind in CompanyKind for role in Role),
    *(make(kind, "company key", KEY_SCOPES) for kind in CompanyKind for make in (key, key_run)),
    *(make(kind, "narrow key", NARROW) for kind in CompanyKind for make in (key, key_run)),
    *(
        Actor(f"{name} of the startup", DatabaseRole.WEB, AS_KEY, person, STARTUP, None, STARTUP, name, KEY_SCOPES)
        for name, person in DEAD_KEYS.items()
    ),
    Actor("agent of a revoked key", DatabaseRole.WORKER, AS_RUN, Role.FOUNDER, STARTUP, None, STARTUP, "revoked key"),
    Actor("key of another company", DatabaseRole.WEB, AS_KEY, Role.FOUNDER, STARTUP, None, INVESTOR, "company key"),
    Actor("staff whose visit is over", DatabaseRole.WEB, AS_STAFF, "former visitor", STARTUP),
    Actor("staff outside any company", DatabaseRole.WEB, AS_PERSON, StaffRole.SUPPORT),
    Actor("staff who passes for a member", DatabaseRole.WEB, IN_COMPANY, StaffRole.SUPPORT, STARTUP),
    Actor("a member who passes for staff", DatabaseRole.WEB, AS_STAFF, Role.FOUNDER, STARTUP, None, STARTUP),
    Actor("operator without a visit", DatabaseRole.WEB, AS_STAFF, "operator", STARTUP),
    Actor("observer here, founder there", DatabaseRole.WEB, IN_COMPANY, "guest", STARTUP, Role.OBSERVER),
    Actor("founder here, observer there", DatabaseRole.WEB, IN_COMPANY, "guest", INVESTOR, Role.FOUNDER),
    Actor("outsider at the startup", DatabaseRole.WEB, IN_COMPANY, Role.FOUNDER, STARTUP, None, INVESTOR),
    Actor("outsider at the investor", DatabaseRole.WEB, IN_COMPANY, Role.FOUNDER, INVESTOR, None, STARTUP),
    Actor("removed member", DatabaseRole.WEB, IN_COMPANY, "removed", STARTUP, None, STARTUP),
    Actor("agent of a removed member", DatabaseRole.WORKER, AS_RUN, "removed", STARTUP, None, STARTUP),
    Actor("founder outside any company", DatabaseRole.WEB, AS_PERSON, Role.FOUNDER, home=STARTUP),
    Actor("removed member outside any company", DatabaseRole.WEB, AS_PERSON, "removed", home=STARTUP),
    Actor("newcomer without a company", DatabaseRole.WEB, AS_PERSON, "newcomer"),
    Actor("operator outside any company", DatabaseRole.WEB, AS_PERSON, "operator"),
    Actor("operator at a company", DatabaseRole.WEB, IN_COMPANY, "operator", STARTUP),
    *(bare(role) for role in DatabaseRole if role is not DatabaseRole.OWNER),
)


def somebody_else(actor: Actor, company: Company) -> dict[str, UUID]:
    """Return somebody else of the company: whom an actor must not be able to pass for."""
    name = Role.ADVISOR if actor.person != Role.ADVISOR else Role.FOUNDER
    return {"self": company.people[name].id, "self_run": company.runs[name].id}
