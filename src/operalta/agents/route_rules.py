"""What is known about a model route without being able to use it, and whether a company lets it be used. Pure.

The operator approves routes; a company allows some of those. Whatever the operator changes about where data goes and
what becomes of it there, the company looks at again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_CEILING, Decimal
from hashlib import sha256

from operalta.agents.errors import (
    RegionNotAllowed,
    RouteChanged,
    RouteNotAllowed,
    RouteNotApproved,
)
from operalta.kernel.errors import Refusal
from operalta.terms.registry import upholds

BUILTIN_ROUTE = "built-in"


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
    def gaps(self) -> tuple[str, ...]:
        """What is not stated, in words; none where training is ruled out and every statement is made."""
        statements = {
            "the terms": self.terms_reference,
            "the region": self.region,
            "the retention": self.retention,
            "the logging": self.logging,
            "who approved it": self.approved_by,
        }
        found = tuple(name for name, statement in statements.items() if not statement.strip())
        return found if self.training_opt_out else (*found, "that training is ruled out")

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return not self.gaps


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedRoute:
    """A way to a model, as people see it. `provider` and `host` are None where nothing leaves the deployment.

    `fall_back` is the slug of the route to take where this one's provider does not answer. Prices are per million
    tokens.
    """

    slug: str
    title: str
    provider: str | None
    host: str | None
    model: str
    approval: ApprovalRecord | None
    input_price: Decimal = Decimal(0)
    output_price: Decimal = Decimal(0)
    fall_back: str | None = None

    @property
    def is_approved(self) -> bool:
        """Whether the operator's record is there, and whole."""
        return self.approval is not None and self.approval.is_complete

    @property
    def region(self) -> str | None:
        """Where the provider works on what it is sent, as the record says."""
        return self.approval.region if self.approval else None

    @property
    def record_sha256(self) -> str:
        """The digest of where data goes on this route, and of what the record says becomes of it there."""
        record = self.approval
        says = (
            [record.terms_reference, record.region, record.retention, record.training_opt_out, record.logging]
            if record
            else []
        )
        return sha256(json.dumps([self.slug, self.provider, self.host, *says]).encode()).hexdigest()

    def cost_micros(self, input_tokens: int, output_tokens: int) -> int:
        """Return what a request costs, in millionths of the currency of the prices, rounded up."""
        cost = self.input_price * input_tokens + self.output_price * output_tokens
        # A price per million tokens, in millionths: the two cancel out.
        return int(cost.to_integral_value(ROUND_CEILING))


@dataclass(frozen=True, slots=True)
class CompanyRoutes:
    """What a company allows: routes, each with the digest of what was seen of it then, and regions."""

    records: Mapping[str, str] = field(default_factory=dict[str, str])
    regions: frozenset[str] = frozenset()

    @upholds("5.6.1", "5.6.3")
    def refusal_of(self, route: ListedRoute) -> Refusal | None:
        """Return why `route` may not be used, or None where it may. The built-in one always may: nothing leaves."""
        if not route.is_approved:
            return RouteNotApproved()
        if route.slug == BUILTIN_ROUTE and route.host is None:
            return None
        if route.slug not in self.records:
            return RouteNotAllowed()
        if self.records[route.slug] != route.record_sha256:
            return RouteChanged()
        if route.region not in self.regions:
            return RegionNotAllowed()
        return None


BUILTIN = ListedRoute(
    slug=BUILTIN_ROUTE,
    title="Built-in: commands and quotations",
    provider=None,
    host=None,
    model=BUILTIN_ROUTE,
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
"""The route that needs no key and no network: the deployment answers by itself."""
