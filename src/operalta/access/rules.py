"""Permissions as one enum that reads like law, the roles of members and staff by kind of company, and `decide`."""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from operalta.terms.registry import upholds


class Permission(StrEnum):
    """What a member may do in a company, as `resource:action`."""

    COMPANY_READ = "company:read"
    COMPANY_MANAGE = "company:manage"
    MEMBERS_READ = "members:read"
    MEMBERS_INVITE = "members:invite"
    MEMBERS_MANAGE = "members:manage"
    MEMORY_READ = "memory:read"
    MEMORY_WRITE = "memory:write"
    METRICS_READ = "metrics:read"
    METRICS_WRITE = "metrics:write"
    FILES_READ = "files:read"
    FILES_WRITE = "files:write"
    AGENTS_READ = "agents:read"
    AGENTS_RUN = "agents:run"
    AGENTS_MANAGE = "agents:manage"
    WEB_FETCH = "web:fetch"
    SHELL_RUN = "shell:run"
    APPROVALS_READ = "approvals:read"
    APPROVALS_DECIDE = "approvals:decide"
    AUDIT_READ = "audit:read"
    KEYS_USE = "keys:use"
    KEYS_MANAGE = "keys:manage"
    INTEGRATIONS_READ = "integrations:read"
    INTEGRATIONS_CONNECT = "integrations:connect"
    INTEGRATIONS_MANAGE = "integrations:manage"


class CompanyKind(StrEnum):
    """What sort of company it is; the role templates differ by it."""

    STARTUP = "startup"
    INVESTOR = "investor"


class Role(StrEnum):
    """A member's role in one company."""

    FOUNDER = "founder"
    ADVISOR = "advisor"
    INVESTOR = "investor"
    OBSERVER = "observer"


class StaffRole(StrEnum):
    """What somebody of the operator's staff is in a company that they visit: never a member, and only for a while."""

    SUPPORT = "support"
    AUDITOR = "auditor"


KEY_SCOPES = frozenset(
    {
        Permission.COMPANY_READ,
        Permission.MEMBERS_READ,
        Permission.MEMORY_READ,
        Permission.MEMORY_WRITE,
        Permission.METRICS_READ,
        Permission.METRICS_WRITE,
        Permission.FILES_READ,
        Permission.FILES_WRITE,
        Permission.AGENTS_READ,
        Permission.AGENTS_RUN,
        Permission.WEB_FETCH,
        Permission.APPROVALS_READ,
        Permission.AUDIT_READ,
        Permission.INTEGRATIONS_READ,
    }
)
"""What an API key can be given. People decide about members, roles, approvals, agents, keys and integrations, in a
session of their own; no key does."""

SCOPES_INCLUDE = MappingProxyType(
    {
        Permission.MEMORY_WRITE: frozenset({Permission.MEMORY_READ}),
        Permission.METRICS_WRITE: frozenset({Permission.METRICS_READ}),
        Permission.FILES_WRITE: frozenset({Permission.FILES_READ}),
        # A run looks its own questions up.
        Permission.AGENTS_RUN: frozenset({Permission.AGENTS_READ, Permission.APPROVALS_READ}),
        Permission.APPROVALS_READ: frozenset({Permission.AGENTS_READ}),
    }
)
"""What a scope cannot do without, and brings with it: as in every role template, who writes also reads."""

ALL = frozenset(Permission)
OBSERVING = frozenset({Permission.COMPANY_READ, Permission.MEMORY_READ, Permission.METRICS_READ})
READING = OBSERVING | {
    Permission.MEMBERS_READ,
    Permission.FILES_READ,
    Permission.AGENTS_READ,
    Permission.AGENTS_RUN,
    Permission.APPROVALS_READ,
    Permission.KEYS_USE,
    Permission.INTEGRATIONS_READ,
}
WORKING = READING | {
    Permission.MEMORY_WRITE,
    Permission.FILES_WRITE,
    Permission.WEB_FETCH,
    Permission.APPROVALS_DECIDE,
    Permission.INTEGRATIONS_CONNECT,
}
DEALING = WORKING | {Permission.METRICS_WRITE, Permission.AUDIT_READ}

TEMPLATES: dict[CompanyKind, dict[Role, frozenset[Permission]]] = {
    CompanyKind.STARTUP: {
        Role.FOUNDER: ALL,
        Role.ADVISOR: WORKING,
        Role.INVESTOR: READING,
        Role.OBSERVER: OBSERVING,
    },
    CompanyKind.INVESTOR: {
        Role.FOUNDER: ALL,
        Role.INVESTOR: DEALING,
        Role.ADVISOR: READING | {Permission.MEMORY_WRITE, Permission.APPROVALS_DECIDE},
        Role.OBSERVER: OBSERVING,
    },
}


# Staff see how a company is set up, never what it has written down, and change nothing.
SUPPORTING = frozenset({Permission.COMPANY_READ, Permission.MEMBERS_READ})

STAFF_TEMPLATES: dict[CompanyKind, dict[StaffRole, frozenset[Permission]]] = {
    CompanyKind.STARTUP: {
        StaffRole.SUPPORT: SUPPORTING | {Permission.AGENTS_READ},
        StaffRole.AUDITOR: SUPPORTING | {Permission.AGENTS_READ, Permission.AUDIT_READ},
    },
    # An investor's agents and their instructions tell of deals that are not closed.
    CompanyKind.INVESTOR: {
        StaffRole.SUPPORT: SUPPORTING,
        StaffRole.AUDITOR: SUPPORTING | {Permission.AUDIT_READ},
    },
}


@dataclass(frozen=True, slots=True)
class Allowed:
    """The permission is held."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The permission is not held; `reason` is for logs and the audit log, not for strangers."""

    reason: str


@upholds("2.5.0", "2.5.1")
def permissions_of(kind: str | None, role: str | None) -> frozenset[Permission]:
    """Return what `role` may do in a company of `kind`; nothing for a role or kind that is not known."""
    try:
        of_kind = CompanyKind(kind or "")
    except ValueError:
        return frozenset()
    held: dict[str, frozenset[Permission]] = {**TEMPLATES[of_kind], **STAFF_TEMPLATES[of_kind]}
    return held.get(role or "", frozenset())


@upholds("2.5.0", "2.5.3")
def decide(
    kind: str | None, role: str | None, permission: Permission, scopes: frozenset[str] | None = None
) -> Allowed | Denied:
    """Decide whether `role` in a company of `kind` holds `permission`, and so does a key where `scopes` are given."""
    if scopes is not None and permission not in scopes:
        return Denied(f"the key does not have the scope {permission}")
    if permission in permissions_of(kind, role):
        return Allowed()
    return Denied(f"role {role or 'none'} in a company of kind {kind or 'none'} does not hold {permission}")


@upholds("2.5.4")
def may_grant(kind: str | None, own_role: str | None, role: Role) -> bool:
    """Tell whether a member with `own_role` may give `role`: never one that holds more than their own."""
    own = permissions_of(kind, own_role)
    return Permission.MEMBERS_INVITE in own and permissions_of(kind, role) <= own


def table() -> list[tuple[str, str, str]]:
    """Return every (kind, role, permission) that is granted, sorted: what the database's copy must hold."""
    return sorted(
        (kind.value, role.value, permission.value)
        for templates in (TEMPLATES, STAFF_TEMPLATES)
        for kind, roles in templates.items()
        for role, permissions in roles.items()
        for permission in permissions
    )
