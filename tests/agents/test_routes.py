"""No model is made, and so no byte sent, over a route that the operator has not approved."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from uuid import UUID

import pytest
from pydantic_ai.models import Model

from operalta.agents.builtin_model import BuiltinModel
from operalta.agents.errors import RouteNotApproved, RouteUnknown
from operalta.agents.routes import ApprovalRecord, ModelCall, ModelRoute, RouteRegistry, builtin_route
from operalta.kernel.ids import CompanyId, RunId
from operalta.sandbox.exchange import EgressLine

RECORD = ApprovalRecord(
    terms_reference="DPA 2030-1",
    region="EU",
    retention="30 days",
    training_opt_out=True,
    logging="off",
    approved_by="Operator",
    approved_on=date(2030, 1, 1),
)


async def keep(line: EgressLine) -> None:
    raise AssertionError(line)


CALL = ModelCall(CompanyId(UUID(int=1)), RunId(UUID(int=2)), keep)


class Provider:
    """Counts how often a model was made: each time stands for bytes that could leave."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, _call: ModelCall) -> Model:
        self.made += 1
        return BuiltinModel()


def route(provider: Provider, approval: ApprovalRecord | None = RECORD) -> ModelRoute:
    return ModelRoute("far", "Far", "Provider", provider, approval, Decimal("2.5"), Decimal(10))


@pytest.mark.proves("5.6.1")
@pytest.mark.parametrize(
    "approval",
    [
        None,
        replace(RECORD, terms_reference=" "),
        replace(RECORD, region=""),
        replace(RECORD, retention=""),
        replace(RECORD, logging=""),
        replace(RECORD, approved_by=""),
        replace(RECORD, training_opt_out=False),
    ],
)
def test_a_route_without_a_whole_approval_record_makes_no_model(approval: ApprovalRecord | None) -> None:
    provider = Provider()
    with pytest.raises(RouteNotApproved):
        RouteRegistry([route(provider, approval)]).usable("far", frozenset({"far"})).build(CALL)
    assert provider.made == 0


@pytest.mark.proves("5.6.1")
def test_a_company_narrows_the_list_and_never_widens_it() -> None:
    provider = Provider()
    registry = RouteRegistry([builtin_route(), route(provider)])
    assert registry.usable("far").slug == "far"
    with pytest.raises(RouteNotApproved):
        registry.usable("far", frozenset({"built-in"})).build(CALL)
    with pytest.raises(RouteNotApproved):
        registry.usable("far", frozenset()).build(CALL)
    with pytest.raises(RouteUnknown):
        registry.usable("else", frozenset({"else"})).build(CALL)
    assert provider.made == 0
    registry.usable("far", frozenset({"far"})).build(CALL)
    assert provider.made == 1


def test_the_built_in_route_is_approved_and_free() -> None:
    registry = RouteRegistry([builtin_route()])
    assert isinstance(registry.usable("built-in").build(CALL), BuiltinModel)
    assert registry.usable("built-in").cost_micros(10**6, 10**6) == 0
    assert registry.all()[0].provider is None


def test_costs_are_in_millionths_rounded_up() -> None:
    far = route(Provider())
    assert far.cost_micros(1_000_000, 0) == 2_500_000
    assert far.cost_micros(1, 1) == 13


def test_a_slug_is_given_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        RouteRegistry([builtin_route(), builtin_route()])
