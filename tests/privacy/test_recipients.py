"""Whoever is ever sent something stands on one list, with a person or the operator behind it."""

from pathlib import Path

import pytest

import operalta
from operalta.app import inventory
from operalta.assurance.probes.egress.surfaces import surfaces
from operalta.kernel.inventory import StoreKind
from operalta.privacy.recipients import NOBODY, RECIPIENTS, recipient_of


@pytest.mark.proves("6.5.1")
def test_every_way_out_has_a_recipient_and_every_recipient_a_way() -> None:
    found = surfaces(Path(operalta.__file__).parent)
    ways = {policy.name for surface in found for policy in surface.policies} - {NOBODY}
    assert ways == {each.surface for each in RECIPIENTS if each.surface is not None}
    assert all(recipient_of(way).receives for way in ways)


@pytest.mark.proves("6.5.1")
def test_who_receives_something_of_somebody_is_in_the_inventory_and_the_other_way_round() -> None:
    providers = {entry.store for entry in inventory() if entry.kind is StoreKind.PROVIDER}
    assert {each.store for each in RECIPIENTS if each.store is not None} == providers


@pytest.mark.proves("6.5.1")
def test_a_way_that_is_not_declared_has_no_recipient() -> None:
    with pytest.raises(LookupError, match="the market"):
        recipient_of("the market")
