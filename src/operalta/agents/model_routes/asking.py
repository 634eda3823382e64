"""Asking over a route, and over the one that it falls back to where its provider does not answer."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from pydantic_ai.messages import ModelMessage

from operalta.agents.errors import ProviderBusy
from operalta.agents.registry import ToolDeclaration
from operalta.agents.routes import ModelCall, ModelRoute
from operalta.agents.steps import ModelTurn, TextDelta, next_step
from operalta.kernel.errors import Refusal
from operalta.terms.registry import upholds

Admit = Callable[[str], Awaitable[ModelRoute]]
"""Looks a route up by its slug, as the company allows it at this moment, and writes down that it is asked now.

Raises RouteUnknown, RouteNotApproved, RouteNotAllowed, RouteChanged or RegionNotAllowed, which is written down too.
"""


@dataclass(frozen=True, slots=True)
class RoutedTurn:
    """A whole answer, the route that it came over, and what it cost."""

    turn: ModelTurn
    route: ModelRoute

    @property
    def cost_micros(self) -> int:
        """The cost in millionths of the currency of the route's prices."""
        return self.route.cost_micros(self.turn.usage.input_tokens, self.turn.usage.output_tokens)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: over which route, on whose behalf."""

    slug: str
    call: ModelCall
    history: Sequence[ModelMessage]
    tools: Sequence[ToolDeclaration]


@upholds("5.6.1")
async def ask(admit: Admit, question: Question) -> AsyncGenerator[TextDelta | RoutedTurn]:
    """Yield the pieces of the answer and, last, one RoutedTurn.

    The fall-back is taken only where nothing of an answer has come, and only if it is admitted itself.
    Raise what `admit` and the model raise.
    """
    route = await admit(question.slug)
    begun = False
    try:
        async with aclosing(_over(route, question)) as parts:
            async for part in parts:
                begun = True
                yield part
    except ProviderBusy as busy:
        if begun or route.fall_back is None:
            raise
        unanswered = busy
    else:
        return
    try:
        other = await admit(route.fall_back)
    except Refusal:
        raise unanswered from None
    async with aclosing(_over(other, question)) as parts:
        async for part in parts:
            yield part


async def _over(route: ModelRoute, question: Question) -> AsyncGenerator[TextDelta | RoutedTurn]:
    async with aclosing(next_step(route.build(question.call), question.history, question.tools)) as parts:
        async for part in parts:
            yield RoutedTurn(part, route) if isinstance(part, ModelTurn) else part
