"""What agents' tools reach by their code: the modules that they import, however far off."""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ELEVATED = "operalta.db.elevated"
"""The module that opens elevated connections."""

_TOOLS = re.compile(r"operalta\.agents\.(?:[a-z_]+_tools?|tool_[a-z_]+|delegation)")
_STORE_OF_DATA = re.compile(r"operalta\.(?:workspace|vault|tenancy|identity)\..*\bstore")


def modules_in(source: Path) -> dict[str, Path]:
    """Return the modules of the product by name, where `source` is its folder."""
    found: dict[str, Path] = {}
    for path in source.rglob("*.py"):
        parts = path.relative_to(source).with_suffix("").parts
        found[".".join((source.name, *(parts[:-1] if parts[-1] == "__init__" else parts)))] = path
    return found


def tool_modules(modules: Mapping[str, Path]) -> tuple[str, ...]:
    """Return the names of the modules that hold what tools do."""
    return tuple(sorted(name for name in modules if _TOOLS.fullmatch(name)))


def imported_from(start: Iterable[str], modules: Mapping[str, Path]) -> frozenset[str]:
    """Return every module of the product that those of `start` import, or what they import does, and so on."""
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        name = waiting.pop()
        if name in modules and name not in found:
            found.add(name)
            waiting += _imports(modules[name])
    return frozenset(found)


def stores_imported(path: Path) -> frozenset[str]:
    """Return the stores of people's and companies' data that a module imports itself."""
    return frozenset(name for name in _imports(path) if _STORE_OF_DATA.fullmatch(name))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)
