"""Server-sent events of a run: replayed from `Last-Event-ID`, then followed until it is over.

Each look into the database opens a scope of its own, so a session, membership or role that ends closes the stream
within a second.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from uuid import UUID

from operalta.agents.reasons import explain_all
from operalta.agents.rules import EventKind
from operalta.agents.service import RunEvent, RunView, events_after, get_run
from operalta.kernel.errors import Refusal, Unavailable
from operalta.web.agent_views import citations
from operalta.web.entry import CompanyEntry
from operalta.web.rendering import address, safe_markdown

PAUSE_SECONDS = 0.2
QUIET_PAUSE_SECONDS = 0.6
"""Between looks where nothing has come for `QUIET_AFTER_SECONDS`: still soon enough for rights that end."""

QUIET_AFTER_SECONDS = 5.0
KEEP_ALIVE_SECONDS = 15.0
LONGEST_SECONDS = 1800.0
MOST_STREAMS = 6
"""Open streams of one person or key in one process; a browser keeps no more connections to one place anyway."""
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}


def last_event_id(entry: CompanyEntry) -> int:
    """Return the number of the last event that the browser has; 0 for none or for nonsense."""
    sent = entry.request.headers.get("last-event-id", "0")
    return int(sent) if sent.isdecimal() and len(sent) < 10 else 0  # noqa: PLR2004 - more digits than any run has events


async def run_events(entry: CompanyEntry, run_id: UUID, after: int) -> AsyncGenerator[str]:
    """Yield a run's events as the wire wants them, until it is over, the right to see it ends, or half an hour."""
    with counted(entry.identity) as admitted:
        if not admitted:
            yield "retry: 10000\n\n"
            return
        async for piece in _followed(entry, run_id, after):
            yield piece


@contextmanager
def counted(caller: str) -> Generator[bool]:
    """Count a caller's stream while it is open; false where it would be one too many."""
    if _open_streams[caller] >= MOST_STREAMS:
        yield False
        return
    _open_streams[caller] += 1
    try:
        yield True
    finally:
        _open_streams[caller] -= 1
        if not _open_streams[caller]:
            del _open_streams[caller]


async def _followed(entry: CompanyEntry, run_id: UUID, after: int) -> AsyncGenerator[str]:
    silent, lasted, told = 0.0, 0.0, False
    yield "retry: 1000\n\n"
    while lasted < LONGEST_SECONDS:
        try:
            async with entry.scope() as scope:
                run = await get_run(scope, run_id)
                found = await events_after(scope, run_id, after)
                answered = any(event.kind == EventKind.ANSWER for event in found)
                drawn_from = citations(await events_after(scope, run_id, 0), entry.company) if answered else []
        except Unavailable:
            return  # the browser connects again by itself
        except Refusal:
            yield "event: run_failed\ndata: " + json.dumps({"sequence": after + 1, "body": {"text": _ENDED}}) + "\n\n"
            return
        if found and found[-1].kind in _LAST_KINDS and not run.is_over:
            # It goes on after that, and says so in a moment.
            found = found[:-1]
        for event in found:
            after, told = event.sequence, event.kind in _LAST_KINDS
            if not told or event is found[-1]:
                yield _wire(event, drawn_from)
        if run.is_over and not found:
            if not told:
                yield _end_of(run, after)
            return
        pause = pause_after(silent)
        silent = 0.0 if found else silent + pause
        if silent >= KEEP_ALIVE_SECONDS:
            silent = QUIET_AFTER_SECONDS
            yield ": still here\n\n"
        await asyncio.sleep(pause)
        lasted += pause


def pause_after(silent: float) -> float:
    """Return the seconds until the next look of a stream to which nothing has come for so many seconds."""
    return PAUSE_SECONDS if silent < QUIET_AFTER_SECONDS else QUIET_PAUSE_SECONDS


_open_streams: Counter[str] = Counter()
_ENDED = "Your session or your place in this company has ended. Load the page again."


_LAST_KINDS = frozenset({EventKind.RUN_FINISHED, EventKind.RUN_FAILED, EventKind.RUN_STOPPED})


def _end_of(run: RunView, after: int) -> str:
    """Return the last event of a run that was ended from outside, which leaves no row of its own."""
    data = json.dumps({"sequence": after + 1, "body": {"text": run.failure}})
    return f"event: run_{run.status}\ndata: {data}\n\n"


def _wire(event: RunEvent, drawn_from: list[dict[str, str]]) -> str:
    body = dict(event.body)
    if event.kind == EventKind.ANSWER:
        body["html"] = str(safe_markdown(body["text"]))
        body["citations"] = [{**each, "href": address(each["href"])} for each in drawn_from]
    if event.kind == EventKind.TOOL_DECIDED:
        body["reason"] = explain_all(body["reasons"]) if body["decision"] == "ask" else ""
    if event.kind == EventKind.TOOL_RESULT:
        body.pop("content", None)
    data = json.dumps({"sequence": event.sequence, "kind": event.kind, "at": event.at.isoformat(), "body": body})
    return f"id: {event.sequence}\nevent: {event.kind}\ndata: {data}\n\n"
