"""One request of a run to a model: written down before and after, streamed as it comes, ended at once by Stop."""

from contextlib import aclosing

from operalta.agents.context.rules import CHARACTERS_PER_TOKEN
from operalta.agents.dispatch import unless_stopped
from operalta.agents.errors import ModelMisbehaved
from operalta.agents.history import as_message
from operalta.agents.journal import Attempt, Stopped
from operalta.agents.model_routes.asking import Question, RoutedTurn, ask
from operalta.agents.model_routes.ledger import Ledger, end_requests
from operalta.agents.routes import ModelCall, RouteRegistry
from operalta.agents.rules import EventKind
from operalta.agents.settlement import keep_egress
from operalta.agents.steps import History, TextDelta, dump_history
from operalta.kernel.errors import Refusal
from operalta.kernel.ids import CompanyId, RunId
from operalta.sandbox.exchange import EgressLine

PIECE_CHARACTERS = 400
_ODD = "Something went wrong on our side."


async def ask_model(attempt: Attempt, routes: RouteRegistry, history: History) -> None:
    """Ask the run's model for its next turn and write it down. Raise Stopped, ClaimLost, and what the model raises.

    What was sent is written down, also where nothing usable came of it.
    """
    lines: list[EgressLine] = []
    try:
        piece, answered = await _answered_or_stopped(attempt, routes, history, lines)
    except Stopped:
        await _ended(attempt, lines, history, "stopped", None)
        raise
    except Refusal as refusal:
        await _ended(attempt, lines, history, "failed", refusal.public_text)
        raise
    except Exception:
        await _ended(attempt, lines, history, "failed", _ODD)
        raise
    async with attempt.scope() as scope:
        await keep_egress(attempt, scope, lines)
        await end_requests(scope, attempt, "answered", answered=answered)
        if piece:
            await attempt.event(scope, EventKind.MODEL_TEXT, {"text": piece})
        await attempt.event(scope, EventKind.MODEL_ANSWERED, _written_down(answered))


async def _ended(attempt: Attempt, lines: list[EgressLine], history: History, outcome: str, reason: str | None) -> None:
    if attempt.claim.lost.is_set():
        return
    async with attempt.scope() as scope:
        await keep_egress(attempt, scope, lines)
        sent = len(dump_history(history)) // CHARACTERS_PER_TOKEN
        await end_requests(scope, attempt, outcome, reason, sent=sent)


async def _answered_or_stopped(
    attempt: Attempt, routes: RouteRegistry, history: History, lines: list[EgressLine]
) -> tuple[str, RoutedTurn]:
    found = await unless_stopped(attempt.claim, _answered(attempt, routes, history, lines))
    if found is None:
        raise Stopped
    return found


async def _answered(
    attempt: Attempt, routes: RouteRegistry, history: History, lines: list[EgressLine]
) -> tuple[str, RoutedTurn]:
    """Return the end of the answer's text that is not written down yet, and the answer. What left goes to `lines`."""

    async def keep(line: EgressLine) -> None:
        lines.append(line)

    call = ModelCall(CompanyId(attempt.run["company_id"]), RunId(attempt.claim.run_id), keep)
    granted = [tool for tool in attempt.registry if tool.name in attempt.granted]
    question = Question(attempt.run["route"], call, history, granted)
    piece = ""
    answered: RoutedTurn | None = None
    async with aclosing(ask(Ledger(attempt, routes).admit, question)) as parts:
        async for part in parts:
            if isinstance(part, RoutedTurn):
                answered = part
                continue
            piece = await _streamed(attempt, piece, part)
    if answered is None:
        raise ModelMisbehaved
    return piece, answered


def _written_down(answered: RoutedTurn) -> dict[str, object]:
    """Return what the run keeps of an answer: the message, and over which route, how much and at what cost it came."""
    usage = answered.turn.usage
    return {
        "message": as_message(answered.turn.message_json),
        "tokens": usage.tokens,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cost_micros": answered.cost_micros,
        "route": answered.route.slug,
    }


async def _streamed(attempt: Attempt, piece: str, delta: TextDelta) -> str:
    """Write the answer down in pieces as it comes; return what is still too short for one."""
    piece += delta.text
    if len(piece) < PIECE_CHARACTERS:
        return piece
    async with attempt.scope() as scope:
        await attempt.event(scope, EventKind.MODEL_TEXT, {"text": piece})
    return ""
