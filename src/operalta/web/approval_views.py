"""Agents' questions as the templates show them: one card for what was proposed together. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from operalta.agents.approvals.deciders import ClassRule
from operalta.agents.approvals.service import Approval
from operalta.agents.company_tools import ASK_PERSON
from operalta.agents.reasons import explain_all
from operalta.agents.registry import ToolClass

_SUMMARIES = {
    "memory_record": "Record in the company's memory",
    "memory_supersede": "Supersede an entry of the memory",
    "memory_link": "Tie two entries of the memory",
    "metrics_record": "Record a value of a metric",
    "files_write": "Write a file",
    "files_append": "Add to a file",
    "files_move": "Move a file",
    "files_delete": "Put a file into the bin",
    "artifact_create": "Keep a new artifact",
    "artifact_revise": "Write a new version of an artifact",
    ASK_PERSON: "The agent asks you something",
    "delegate": "Hand a task to another agent",
    "web_fetch": "Fetch a page from the web",
    "shell_run": "Run a command",
    "integration_request": "Send a request to a service",
    "integration_tool": "Use a tool of an MCP server",
}
_DECIDED = {"once": "approved", "conversation": "approved", "denied": "denied"}
_WHY_A_QUESTION = "It needs to know this to go on, and waits for you."
CLASS_LABELS = {
    ToolClass.READ: "Reads what the company keeps",
    ToolClass.DELEGATE: "Hands tasks to other agents",
    ToolClass.WRITE_OWN: "Writes for its person alone",
    ToolClass.WRITE_SHARED: "Writes what others see",
    ToolClass.EGRESS: "Fetches or sends over the network",
    ToolClass.EXECUTE: "Runs commands",
    ToolClass.MONEY: "Moves money",
    ToolClass.IDENTITY: "Changes who may do what",
    ToolClass.PUBLISH: "Publishes",
    ToolClass.DESTROY: "Destroys",
}
"""Every class of tools, in a few words each."""

Conversations = Callable[[UUID], Mapping[str, Any]]


def approval_cards(found: Iterable[Approval], company: str, conversation: Conversations) -> list[dict[str, Any]]:
    """Return a card for what was proposed together each, in the order in which their first ones come."""
    together: dict[UUID, list[Approval]] = {}
    for each in found:
        together.setdefault(each.card_id, []).append(each)
    return [approval_card(calls, company, conversation(calls[0].conversation_id)) for calls in together.values()]


def approval_card(calls: Sequence[Approval], company: str, conversation: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the card of these questions, all of one card, shows; the oldest first."""
    shown = [_call(each) for each in sorted(calls, key=lambda each: each.asked_at)]
    first = calls[0]
    waiting = [each for each in calls if each.is_waiting]
    states = {call["state"] for call in shown}
    several = f"{first.agent_name} asks for {len(shown)} things at once"
    return {
        "id": first.card_id,
        "run_id": first.run_id,
        "state": "waiting" if waiting else states.pop() if len(states) == 1 else "decided",
        "heading": shown[0]["summary"] if len(shown) == 1 else several,
        "agent": first.agent_name,
        "requester": first.requester_name or "somebody who has left",
        "company": company,
        "asked_at": min(each.asked_at for each in calls),
        "expires_at": min((each.expires_at for each in waiting), default=None),
        "conversation": conversation,
        "calls": shown,
    }


def to_deny(found: Iterable[Approval]) -> list[str]:
    """Return, as a form sends them, the questions that wait and that the person who looks may decide."""
    return [_seen(each) for each in found if each.is_waiting and each.may_decide]


def _call(approval: Approval) -> dict[str, Any]:
    return {
        "id": approval.id,
        "seen": _seen(approval),
        "state": _DECIDED.get(approval.decision or "", "expired" if approval.expired else "waiting"),
        "tool": approval.tool,
        "summary": _SUMMARIES.get(approval.tool, f"Use the tool {approval.tool}"),
        "arguments": approval.arguments,
        "before": approval.before,
        "after": approval.after,
        "reason": _WHY_A_QUESTION if approval.is_question else explain_all(approval.reasons),
        "is_question": approval.is_question,
        "answer": approval.answer,
        "sensitive": not approval.may_be_granted_for_conversation,
        "may_decide": approval.may_decide,
        "deciders": _deciders(approval),
        "decided_by": approval.decider_name,
        "decided_at": approval.decided_at,
        "scope": approval.decision if approval.decision in {"once", "conversation"} else None,
    }


def _seen(approval: Approval) -> str:
    return f"{approval.id} {approval.arguments_sha256}"


def _deciders(approval: Approval) -> str:
    """Say who may decide about a call."""
    who = in_words(approval.deciding_roles)
    requester = approval.requester_name or "whoever asked"
    if not approval.is_private:
        return f"{who} may decide this, {requester} not" if approval.needs_second_person else f"{who} may decide this"
    if approval.may_decide:
        return f"{requester} alone sees this, and may decide it"
    second = ", another one than who asks" if approval.needs_second_person else ""
    return f"{who} decide about this kind of call{second}. Nobody else sees a private conversation: ask in a shared one"


def in_words(roles: Sequence[str]) -> str:
    """Return roles as a sentence begins with them: "Founders and advisors"."""
    names = [f"{role}s" for role in sorted(roles, key=lambda role: (role != "founder", role))]
    return (" and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)).capitalize()


def rule_rows(rules: Iterable[ClassRule]) -> list[dict[str, Any]]:
    """Return the table of who decides about which class."""
    return [
        {
            "tool_class": rule.tool_class.value,
            "label": CLASS_LABELS[rule.tool_class],
            "roles": rule.roles,
            "second_person": rule.second_person,
            "changed_by": rule.changed_by_name,
            "changed_at": rule.changed_at,
        }
        for rule in rules
    ]
