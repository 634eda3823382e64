"""Who decides about which class of tools in a company, and what each member wants mail about."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from operalta.access.rules import Permission
from operalta.agents.approvals import store
from operalta.agents.registry import ToolClass
from operalta.db.permission import require
from operalta.db.scope import Scope
from operalta.identity.errors import NotProved
from operalta.identity.step_up import SensitiveOperation, require_recent_proof
from operalta.kernel.errors import InvalidInput, NotAllowed
from operalta.terms.registry import upholds

MAIL_CHOICES = ("own", "all", "none")


@dataclass(frozen=True, slots=True)
class ClassRule:
    """Who decides about a class: these roles, and never whoever asked where `second_person`."""

    tool_class: ToolClass
    roles: tuple[str, ...]
    second_person: bool
    changed_by_name: str | None
    changed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Deciders:
    """What is wanted for one class."""

    roles: tuple[str, ...]
    second_person: bool


async def list_rules(scope: Scope) -> tuple[ClassRule, ...]:
    """Return the rule that holds for each class of tools."""
    require(scope, Permission.APPROVALS_READ)
    return tuple(
        ClassRule(
            ToolClass(row["tool_class"]),
            tuple(row["roles"]),
            row["second_person"],
            row["changed_by_name"],
            row["changed_at"],
        )
        for row in await store.class_rules(scope)
    )


@upholds("5.5.1")
async def change_rules(scope: Scope, wanted: Mapping[ToolClass, Deciders]) -> None:
    """Change who decides about these classes. Founders always may, and no role that decides nothing else ever does.

    Raise NotProved where something changes without a recent proof, NotAllowed, or InvalidInput for such a role.
    """
    require(scope, Permission.COMPANY_MANAGE)
    present = {rule.tool_class: rule for rule in await list_rules(scope)}
    changed = {
        each: deciders
        for each, deciders in wanted.items()
        if {*deciders.roles, "founder"} != set(present[each].roles)
        or deciders.second_person != present[each].second_person
    }
    if not changed:
        return
    await require_recent_proof(scope, SensitiveOperation.CHANGE_APPROVAL_RULES)
    for tool_class, deciders in changed.items():
        verdict = await store.change_class_rule(
            scope, tool_class.value, list(deciders.roles), second_person=deciders.second_person
        )
        if verdict == "unproved":
            raise NotProved
        if verdict == "refused":
            raise InvalidInput("Only a role that decides approvals in this company can be named.", field="roles")


async def own_mail(scope: Scope) -> str | None:
    """Return what the person wants mail about: `own`, `all` or `none`. None where they decide nothing."""
    require(scope, Permission.APPROVALS_READ)
    return await store.own_mail(scope)


async def choose_mail(scope: Scope, wanted: str) -> None:
    """Keep what the person wants mail about here. Raise InvalidInput, or NotAllowed."""
    require(scope, Permission.APPROVALS_DECIDE)
    if wanted not in MAIL_CHOICES:
        raise InvalidInput(f"Choose one of {', '.join(MAIL_CHOICES)}.", field="wanted")
    if not await store.choose_mail(scope, wanted):
        raise NotAllowed
