"""Model routes that can be used: which models may be asked at all. Without the operator's approval record, none is.

A route is looked up before each request, so that an approval that is withdrawn, or a company's narrower
list, holds from the next step of a running agent.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

from pydantic_ai.models import Model

from operalta.agents.builtin_model import BuiltinModel
from operalta.agents.errors import RouteUnknown
from operalta.agents.route_rules import BUILTIN, CompanyRoutes, ListedRoute
from operalta.kernel.ids import CompanyId, RunId
from operalta.sandbox.exchange import Record
from operalta.terms.registry import upholds


@dataclass(frozen=True, slots=True)
class ModelCall:
    """On whose behalf a model is asked. `keep` receives the line of each request that leaves."""

    company_id: CompanyId
    run_id: RunId
    keep: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRoute(ListedRoute):
    """A route with the way to its model. `build` is called only once the route has been found to be allowed."""

    build: Callable[[ModelCall], Model]

    @classmethod
    def of(cls, listed: ListedRoute, build: Callable[[ModelCall], Model]) -> "ModelRoute":
        """Return what is listed, to be used."""
        return cls(build=build, **{each.name: getattr(listed, each.name) for each in fields(ListedRoute)})


class RouteRegistry:
    """The routes of the deployment, by slug."""

    def __init__(self, routes: Iterable[ModelRoute]) -> None:
        """Hold `routes`; a slug is given once."""
        self._routes: dict[str, ModelRoute] = {}
        for route in routes:
            if route.slug in self._routes:
                raise ValueError(f"{route.slug} is given twice")
            self._routes[route.slug] = route

    def known(self, slug: str) -> ModelRoute | None:
        """Return a route, whether or not it may be used; None where there is none."""
        return self._routes.get(slug)

    @upholds("5.6.1")
    def usable(self, slug: str, company: CompanyRoutes) -> ModelRoute:
        """Return a route that the operator has approved and the company allows.

        Raise RouteUnknown, RouteNotApproved, RouteNotAllowed, RouteChanged or RegionNotAllowed.
        """
        route = self._routes.get(slug)
        if route is None:
            raise RouteUnknown
        refusal = company.refusal_of(route)
        if refusal is not None:
            raise refusal
        return route


def builtin_route() -> ModelRoute:
    """Return the route that needs no key and no network: the deployment answers by itself."""
    return ModelRoute.of(BUILTIN, lambda _call: BuiltinModel())
