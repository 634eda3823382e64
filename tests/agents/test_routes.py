"""No model is made, and so no byte sent, over a route that the operator has not approved."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any, cast
from uuid import UUID

import pytest
from pydantic_ai.models import Model

from operalta.agents.builtin_model import BuiltinModel
from operalta.agents.errors import RegionNotAllowed, RouteChanged, RouteNotAllowed, RouteNotApproved, RouteUnknown
from operalta.agents.route_rules import ApprovalRecord, CompanyRoutes
from operalta.agents.routes import ModelCall, ModelRoute, RouteRegistry, builtin_route
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


def route(made_by: Provider, approval: ApprovalRecord | None = RECORD, **changes: object) -> ModelRoute:
    far = ModelRoute(
        slug="far",
        title="Far",
        provider="openai",
        host="far.example",
        model="far-1",
        approval=approval,
        build=made_by,
        input_price=Decimal("2.5"),
        output_price=Decimal(10),
    )
    return replace(far, **cast("dict[str, Any]", changes))


def allowing(*routes: ModelRoute, regions: frozenset[str] = frozenset({"EU"})) -> CompanyRoutes:
    return CompanyRoutes({each.slug: each.record_sha256 for each in routes}, regions)


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
    far = route(provider, approval)
    with pytest.raises(RouteNotApproved):
        RouteRegistry([far]).usable("far", allowing(far, regions=frozenset({"EU", ""}))).build(CALL)
    assert provider.made == 0


@pytest.mark.proves("5.6.1")
def test_a_company_narrows_the_list_and_never_widens_it() -> None:
    provider = Provider()
    far = route(provider)
    registry = RouteRegistry([builtin_route(), far])
    for allowed, refusal in (
        (CompanyRoutes(), RouteNotAllowed),
        (allowing(replace(far, slug="near")), RouteNotAllowed),
        (allowing(far, regions=frozenset()), RegionNotAllowed),
        (allowing(far, regions=frozenset({"US", "eu"})), RegionNotAllowed),
    ):
        with pytest.raises(refusal):
            registry.usable("far", allowed).build(CALL)
    with pytest.raises(RouteUnknown):
        registry.usable("else", allowing(replace(far, slug="else")))
    assert provider.made == 0
    registry.usable("far", allowing(far)).build(CALL)
    assert provider.made == 1


@pytest.mark.proves("5.6.1", "5.6.3")
@pytest.mark.parametrize(
    "change",
    [
        {"host": "else.example"},
        {"provider": "mistral"},
        {"approval": replace(RECORD, terms_reference="DPA 2031-1")},
        {"approval": replace(RECORD, region="US")},
        {"approval": replace(RECORD, retention="for ever")},
        {"approval": replace(RECORD, logging="on")},
    ],
    ids=["host", "provider", "terms", "region", "retention", "logging"],
)
def test_what_the_operator_changes_is_allowed_anew(change: dict[str, Any]) -> None:
    provider = Provider()
    before = route(provider)
    with pytest.raises(RouteChanged):
        RouteRegistry([route(provider, **change)]).usable("far", allowing(before, regions=frozenset({"EU", "US"})))
    same = route(provider, title="Farther", input_price=Decimal(1), approval=replace(RECORD, approved_by="Another"))
    assert RouteRegistry([same]).usable("far", allowing(before)) is same


def test_the_built_in_route_is_allowed_and_free() -> None:
    built_in = RouteRegistry([builtin_route()]).usable("built-in", CompanyRoutes())
    assert isinstance(built_in.build(CALL), BuiltinModel)
    assert (built_in.cost_micros(10**6, 10**6), built_in.provider, built_in.host) == (0, None, None)


def test_a_record_tells_what_is_missing() -> None:
    assert RECORD.gaps == ()
    assert replace(RECORD, region=" ", training_opt_out=False).gaps == ("the region", "that training is ruled out")


def test_costs_are_in_millionths_rounded_up() -> None:
    far = route(Provider())
    assert far.cost_micros(1_000_000, 0) == 2_500_000
    assert far.cost_micros(1, 1) == 13


def test_a_slug_is_given_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        RouteRegistry([builtin_route(), builtin_route()])
