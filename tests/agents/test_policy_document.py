"""docs/tool-policy.md names every field that an integration's author can declare, and no other."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from operalta.agents.records import Bindings, Collection

TEXT = (Path(__file__).parents[2] / "docs" / "tool-policy.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("declared", "table"), [(Bindings, 0), (Collection, 1)])
def test_every_field_is_described(declared: type[Bindings | Collection], table: int) -> None:
    described = TEXT.split("| field | says |")[table + 1].split("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", described, re.MULTILINE) == [one.name for one in fields(declared)]
