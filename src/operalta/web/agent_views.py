"""Agents' work as the templates show it: tool cards, citations, messages. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from operalta.agents.context.rules import Piece, Trust
from operalta.agents.reasons import explain_all
from operalta.agents.rules import MOST_CONTINUATIONS, RunLimits
from operalta.agents.service import RunEvent
from operalta.workspace.conversations.rules import Author, Message

REPLYING = "Replying…"
WAITS = "Waits for the run before it"
_OPEN = frozenset({"queued", "running", "waiting_for_approval"})
_ROOMS = {"memory": "memory", "metric": "metrics", "artifact": "artifacts"}
_WRITING = frozenset({"artifact_create", "artifact_revise"})


def citations(events: Iterable[RunEvent], company: str) -> list[dict[str, str]]:
    """Return what a run's answer was drawn from, each once, with the address in the company `company` that opens it."""
    found: dict[str, str] = {}
    for event in events:
        if event.kind == "tool_result" and event.body["ok"]:
            for one in event.body["content"].get("references", ()):
                href = _address_of_reference(one["kind"], one["reference"], company)
                if href is not None:
                    is_file = one["kind"] == "file"
                    found.setdefault(href, one["reference"].partition("#")[0] if is_file else one["title"])
    return [{"label": label, "href": href} for href, label in found.items()]


def context_piece(piece: Piece, company: str) -> dict[str, Any]:
    """Return what the page of a run's context shows of one piece, with the address that opens its source."""
    return {
        "kind": piece.source.kind,
        "title": piece.source.title,
        "href": _address_of_reference(piece.source.kind, piece.source.reference, company),
        "text": piece.text,
        "is_cut": piece.is_cut,
        "trust": piece.trust.words,
        "is_outside": piece.trust is Trust.OUTSIDE,
        "why": piece.why,
        "tokens": piece.tokens,
    }


def artifacts_of(events: Iterable[RunEvent], company: str) -> list[dict[str, str]]:
    """Return the artifacts that a run made or revised, each once, with its address in the company `company`."""
    made = {event.body["call_id"] for event in events if event.kind == "tool_asked" and event.body["tool"] in _WRITING}
    found: dict[str, str] = {}
    for event in events:
        if event.kind == "tool_result" and event.body["ok"] and event.body["call_id"] in made:
            for one in event.body["content"].get("references", ()):
                href = _address_of_reference(one["kind"], one["reference"], company)
                if href is not None:
                    found.setdefault(href, one["title"])
    return [{"name": name, "href": href} for href, name in found.items()]


def _address_of_reference(kind: str, reference: str, company: str) -> str | None:
    match kind:
        case "memory" | "metric" | "artifact":
            return f"/c/{company}/{_ROOMS[kind]}/{reference}"
        case "conversation":
            return f"/c/{company}/chat/{reference}"
        case "file":
            return f"/c/{company}/files/at?{urlencode({'path': reference.partition('#')[0]})}"
        case "web":
            return reference
        case _:
            return None


def tool_cards(events: Sequence[RunEvent]) -> list[dict[str, Any]]:
    """Return the tool cards of a run, in the order in which the tools were asked for."""
    cards: dict[str, dict[str, Any]] = {}
    for event in events:
        call = event.body.get("call_id")
        if call is None:
            continue
        if event.kind == "tool_asked":
            cards[call] = {
                "tool": event.body["tool"],
                "state": "asked",
                "arguments": event.body["arguments"],
                "wrote": None,
                "output": None,
                "reason": None,
                "duration": None,
            }
        elif call in cards and event.kind == "tool_decided":
            decision = event.body["decision"]
            cards[call]["state"] = {"allow": "allowed", "ask": "waiting", "deny": "denied"}.get(decision, "asked")
            if decision == "ask":
                cards[call]["reason"] = explain_all(event.body["reasons"])
        elif call in cards and event.kind == "tool_output":
            cards[call]["wrote"] = (cards[call]["wrote"] or "") + event.body["text"]
        elif call in cards and event.kind == "tool_result":
            denied = event.body["outcome"] == "denied"
            cards[call]["state"] = "denied" if denied else "done" if event.body["ok"] else "failed"
            cards[call]["output"] = event.body["output"]
    return list(cards.values())


def conversation_messages(
    said: Sequence[Message],
    runs: Sequence[Mapping[str, Any]],
    steps: Mapping[UUID, Sequence[RunEvent]],
    agents: Mapping[UUID, str],
    allowances: Mapping[UUID, int],
    company: str,
    reader: UUID | None,
) -> list[dict[str, Any]]:
    """Return the messages of a conversation, each answer with its run's tools and sources, and how other runs ended.

    `allowances` are the tool calls that a run of each agent may make. `reader` may try their own runs again, and let
    them go on.
    """
    answered = {message.run_id for message in said if message.run_id is not None}
    by_message: dict[UUID, list[Mapping[str, Any]]] = {}
    below: dict[UUID, list[Mapping[str, Any]]] = {}
    for run in runs:
        if run["parent_run_id"] is None:
            by_message.setdefault(run["message_id"], []).append(run)
        else:
            below.setdefault(run["parent_run_id"], []).append(run)
    repeated = {run["retry_of"] for run in runs}
    by_id = {run["id"]: run for run in runs}
    agent_of_run = {run["id"]: agents.get(run["agent_id"], "Agent") for run in runs}
    shown: list[dict[str, Any]] = []
    for message in said:
        is_person = message.author is Author.PERSON
        name = message.person_name or "Somebody" if is_person else agent_of_run.get(message.run_id, "Agent")
        events = steps.get(message.run_id, ()) if message.run_id is not None else ()
        cards, by = tool_cards(events), message.author.value
        one = _message(message.id, by, name, message.created_at, message.body, cards, None)
        answering = by_id.get(message.run_id)
        made = by_message.get(message.id, [])
        written = artifacts_of(events, company)
        own = {each["href"] for each in written}
        shown.append(
            one
            | {
                "citations": [each for each in citations(events, company) if each["href"] not in own],
                "artifacts": written,
                "usage": _usage(answering, cards, allowances) if answering else None,
                "context_url": f"/c/{company}/runs/{message.run_id}/context" if message.run_id else None,
                "is_scheduled": any(run["origin"] == "schedule" for run in made),
                "helpers": [_helper(run, agent_of_run, steps) for run in below.get(message.run_id, ())]
                if message.run_id
                else [],
            }
        )
        for run in made:
            if run["id"] not in answered and run["status"] in {"failed", "stopped"}:
                why = run["failure"] if run["status"] == "failed" else "This reply was stopped."
                cards = tool_cards(steps.get(run["id"], ()))
                one = _message(run["id"], "agent", agent_of_run[run["id"]], run["created_at"], "", cards, why)
                ways = _ways_on(run, company) if run["person_id"] == reader and run["id"] not in repeated else {}
                shown.append(one | ways | {"usage": _usage(run, cards, allowances)})
    return shown


def runs_at_work(
    runs: Sequence[Mapping[str, Any]], company: str, reader: UUID | None
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Return the last run that is not over, with its addresses, and the one that it waits for, if it waits."""
    at_work = sorted(
        (run for run in runs if run["status"] in _OPEN and run["parent_run_id"] is None),
        key=lambda run: (run["queued_at"], run["id"]),
    )
    if not at_work:
        return None, None
    last = at_work[-1]
    ahead = at_work[-2] if last["status"] == "queued" and len(at_work) > 1 else None
    base = f"/c/{company}/runs/{last['id']}"
    live = {"id": last["id"], "events_url": f"{base}/events", "stop_url": f"{base}/stop"}
    if ahead is None:
        return live | {"status": REPLYING}, None
    why = "waits for an approval" if ahead["status"] == "waiting_for_approval" else "is not over yet"
    stop = f"/c/{company}/runs/{ahead['id']}/stop" if ahead["person_id"] == reader else None
    return live | {"status": WAITS}, {"text": f"{WAITS}, which {why}.", "stop_url": stop}


def _helper(
    run: Mapping[str, Any], agents: Mapping[UUID, str], steps: Mapping[UUID, Sequence[RunEvent]]
) -> dict[str, Any]:
    """Return the card of an agent that was handed a part of the work."""
    return {"name": agents[run["id"]], "state": run["status"], "tool_calls": tool_cards(steps.get(run["id"], ()))}


def _ways_on(run: Mapping[str, Any], company: str) -> dict[str, str | None]:
    base = f"/c/{company}/runs/{run['id']}"
    goes_on = run["limit_reached"] is not None and run["continued"] < MOST_CONTINUATIONS
    return {"retry_url": f"{base}/retry", "continue_url": f"{base}/continue" if goes_on else None}


def _usage(run: Mapping[str, Any], cards: Sequence[object], allowances: Mapping[UUID, int]) -> str | None:
    """Return how much of its allowance a run has used, where that is anything to speak of."""
    allowed = allowances.get(run["agent_id"], RunLimits().tool_calls) * (run["continued"] + 1)
    return f"{len(cards)} of {allowed} tool calls" if cards else None


def _message(
    identifier: object, author: str, name: str, at: object, text: str, cards: list[dict[str, Any]], failed: str | None
) -> dict[str, Any]:
    return {
        "id": identifier,
        "author": author,
        "name": name,
        "at": at,
        "text": text,
        "tool_calls": cards,
        "citations": [],
        "artifacts": [],
        "usage": None,
        "context_url": None,
        "failed": failed,
        "retry_url": None,
        "continue_url": None,
        "is_scheduled": False,
        "helpers": [],
    }
