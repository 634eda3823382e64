"""Model routes: which models may be asked at all. Without the operator's approval record, none is.

A route is looked up before each request, so that an approval that is withdrawn, or a company's narrower
list, holds from the next step of a running agent.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, Decimal

from pydantic_ai.models import Model

from operalta.agents.builtin_model import BUILTIN_ROUTE, BuiltinModel
from operalta.agents.errors import RouteNotApproved, RouteUnknown
from operalta.kernel.ids import CompanyId, RunId
from operalta.sandbox.exchange import Record
from operalta.terms.registry import upholds


@dataclass(frozen=True, slots=True)
class ApprovalRecord:
    """What the operator has put on file about a route. All of it is needed, or the route stays closed.

    `terms_reference` names the contract, DPA or terms. `retention` and `logging` say, for people, what the
    provider keeps and for how long. `training_opt_out` is whether the provider is barred from training.
    """

    terms_reference: str
    region: str
    retention: str
    training_opt_out: bool
    logging: str
    approved_by: str
    approved_on: date

    @property
    def is_complete(self) -> bool:
        """Whether every statement is made and training is ruled out."""
        statements = (self.terms_reference, self.region, self.retention, self.logging, self.approved_by)
        return self.training_opt_out and all(statement.strip() for statement in statements)


@dataclass(frozen=True, slots=True)
class ModelCall:
    """On whose behalf a model is asked. `keep` receives the line of each request that leaves."""

    company_id: CompanyId
    run_id: RunId
    keep: Record


@dataclass(frozen=True, slots=True)
class ModelRoute:
    """A way to a model. `provider` is None where nothing leaves the deployment. Prices are per million tokens.

    `fall_back` is the slug of the route to take where this one's provider does not answer. `build` makes the model; it
    is called only once the route has been found to be approved.
    """

    slug: str
    title: str
    provider: str | None
    build: Callable[[ModelCall], Model]
    approval: ApprovalRecord | None
    input_price: Decimal = Decimal(0)
    output_price: Decimal = Decimal(0)
    fall_back: str | None = None

    def cost_micros(self, input_tokens: int, output_tokens: int) -> int:
        """Return what a request costs, in millionths of the currency of the prices, rounded up."""
        cost = self.input_price * input_tokens + self.output_price * output_tokens
        # A price per million tokens, in millionths: the two cancel out.
        return int(cost.to_integral_value(ROUND_CEILING))


class RouteRegistry:
    """The routes of the deployment, by slug."""

    def __init__(self, routes: Iterable[ModelRoute]) -> None:
        """Hold `routes`; a slug is given once."""
        self._routes: dict[str, ModelRoute] = {}
        for route in routes:
            if route.slug in self._routes:
                raise ValueError(f"{route.slug} is given twice")
            self._routes[route.slug] = route

    @upholds("5.6.1")
    def usable(self, slug: str, company_list: frozenset[str] | None = None) -> ModelRoute:
        """Return an approved route, or raise RouteUnknown or RouteNotApproved.

        `company_list` is what the company allows; it narrows and never widens. None: it has not narrowed.
        """
        route = self._routes.get(slug)
        if route is None:
            raise RouteUnknown
        if route.approval is None or not route.approval.is_complete:
            raise RouteNotApproved
        if company_list is not None and slug not in company_list:
            raise RouteNotApproved
        return route

    @upholds("5.6.1")
    def fall_back_of(self, route: ModelRoute, company_list: frozenset[str] | None = None) -> ModelRoute | None:
        """Return the route to take instead of `route`; None where it names none that may be used."""
        if route.fall_back is None:
            return None
        try:
            return self.usable(route.fall_back, company_list)
        except (RouteUnknown, RouteNotApproved):
            return None

    def all(self) -> tuple[ModelRoute, ...]:
        """Return every route, approved or not, for the page that lists them with their records."""
        return tuple(self._routes.values())


def builtin_route() -> ModelRoute:
    """Return the route that needs no key and no network: the deployment answers by itself."""
    return ModelRoute(
        slug=BUILTIN_ROUTE,
        title="Built-in: commands and quotations",
        provider=None,
        build=lambda _call: BuiltinModel(),
        approval=ApprovalRecord(
            terms_reference="None needed: no provider is involved.",
            region="This deployment",
            retention="Nothing beyond the run's own events.",
            training_opt_out=True,
            logging="None",
            approved_by="The product",
            approved_on=date(2025, 1, 1),
        ),
    )
