"""The picture of the house, and the table of which room uses which, are what the code says."""

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "operalta"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def floors_of_contract() -> list[set[str]]:
    """Return the rooms that exist, floor by floor, as the import contract has them."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts: list[dict[str, Any]] = declared["tool"]["importlinter"]["contracts"]
    (layers,) = (one["layers"] for one in contracts if one["type"] == "layers")
    floors = [{name.strip(" ()") for name in layer.split("|")} for layer in layers]
    present = {path.stem for path in SOURCE.iterdir()}
    return [floor & present for floor in floors if floor & present]


def floors_in_picture() -> list[set[str]]:
    lines = [line for line in PAGE.splitlines() if re.match(r" │  [a-z]", line)]
    return [set(line.split("│")[1].split()) for line in lines]


def rooms_used_by(room: str) -> set[str]:
    """Return the rooms whose modules the modules of a room import."""
    place = SOURCE / room
    modules = list(place.rglob("*.py")) if place.is_dir() else [SOURCE / f"{room}.py"]
    used: set[str] = set()
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            match node:
                case ast.Import(names=names):
                    imported = [each.name for each in names]
                case ast.ImportFrom(module=str(name), level=0):
                    imported = [name]
                case _:
                    continue
            used |= {name.split(".")[1] for name in imported if name.startswith("operalta.")}
    return used - {room}


def rooms_in_table() -> dict[str, set[str]]:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE, re.MULTILINE)
    return {room: set() if used == "nothing" else set(used.split(", ")) for room, used in rows}


def test_the_picture_has_the_floors_of_the_contract() -> None:
    assert floors_in_picture() == floors_of_contract()


def test_the_table_says_which_room_uses_which() -> None:
    rooms = {room for floor in floors_of_contract() for room in floor}
    assert rooms_in_table() == {room: rooms_used_by(room) for room in rooms}
