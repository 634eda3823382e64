"""Who asks the network for anything is found in the code, with the policy that is declared there, or without one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import operalta
from operalta.assurance.probes.egress.surfaces import NAMED, Surface, is_within, surfaces
from operalta.delivery.sms.channel import SMS
from operalta.sandbox.policies import ALLOW_LISTED, NONE, OPEN, Reach

SOURCE = """
door.fetch(url, surface=OPEN, purpose="a")
door.fetch(url, purpose="b")
EgressTransport(door, LISTED, purpose="c")
EgressTransport(door, surface=self._surface, purpose="d")
EgressTransport(door)
repository.fetch(row)
"""


def test_surfaces_of_the_product_declare_policies() -> None:
    found = surfaces(Path(operalta.__path__[0]))
    assert {"agents/tool_functions.py", "delivery/sms/channel.py"} <= {each.file for each in found}
    policies = {each.file: each.policies for each in found}
    assert policies["agents/tool_functions.py"] == (OPEN,)
    assert SMS in policies["delivery/sms/channel.py"]


def test_each_way_to_ask_is_found_with_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "rooms").mkdir()
    (tmp_path / "rooms" / "one.py").write_text(SOURCE)
    (tmp_path / "sandbox").mkdir()
    (tmp_path / "sandbox" / "egress.py").write_text(SOURCE)
    found = surfaces(tmp_path)
    assert [(each.file, each.line, each.names) for each in found] == [
        ("rooms/one.py", 2, "OPEN"),
        ("rooms/one.py", 3, ""),
        ("rooms/one.py", 4, "LISTED"),
        ("rooms/one.py", 5, "self._surface"),
        ("rooms/one.py", 6, ""),
    ]


def test_one_that_names_none_or_something_else_has_no_policy() -> None:
    assert Surface("agents/tool_functions.py", 1, "").policies == ()
    assert Surface("agents/tool_functions.py", 1, "MOST_FOUND").policies == ()
    assert Surface("kernel/clock.py", 1, "self._surface").policies == ()


@pytest.mark.parametrize(
    "change",
    [
        {"reach": Reach.OPEN},
        {"schemes": frozenset({"http", "https"})},
        {"ports": frozenset({443, 8443})},
        {"methods": frozenset({"POST", "TRACE"})},
        {"content_types": frozenset({"image/png"})},
        {"request_bytes": 1 << 40},
        {"response_bytes": 1 << 40},
        {"seconds": 121.0},
        {"redirects": 3},
    ],
)
def test_whatever_opens_more_than_the_named_one_is_not_within_it(change: dict[str, Any]) -> None:
    assert is_within(SMS, ALLOW_LISTED)
    assert not is_within(replace(SMS, **change), ALLOW_LISTED)


def test_the_named_ones_are_within_themselves_alone() -> None:
    assert NAMED == {Reach.OPEN: OPEN, Reach.ALLOW_LISTED: ALLOW_LISTED, Reach.NONE: NONE}
    for one in NAMED.values():
        assert [is_within(one, other) for other in NAMED.values()].count(True) == 1
