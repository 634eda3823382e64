"""`@upholds("2.2.2")` on the code: it registers which code a clause rests on, and does nothing more."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

Decorated = TypeVar("Decorated", bound=Callable[..., Any] | type)


@dataclass(frozen=True, slots=True)
class CodeReference:
    """Where the code that upholds a clause stands: module, qualified name, file below `src`, line."""

    module: str
    name: str
    file: str
    line: int


_upheld: dict[str, list[CodeReference]] = {}


def upholds(*clauses: str) -> Callable[[Decorated], Decorated]:
    """Register the decorated function or class as code that upholds `clauses`."""

    def register(decorated: Decorated) -> Decorated:
        reference = _reference(decorated)
        for clause in clauses:
            _upheld.setdefault(clause, []).append(reference)
        return decorated

    return register


def upheld() -> dict[str, tuple[CodeReference, ...]]:
    """Return what has been registered so far, by clause."""
    return {clause: tuple(references) for clause, references in sorted(_upheld.items())}


def _reference(decorated: Callable[..., Any] | type) -> CodeReference:
    file = Path(inspect.getsourcefile(decorated) or "")
    try:
        _, line = inspect.getsourcelines(decorated)
    except (OSError, TypeError):
        line = 0
    # As many parts as the module's name has: folders above the package may be called as it is.
    depth = decorated.__module__.count(".") + (2 if file.name == "__init__.py" else 1)
    below = file.parts[-depth:]
    return CodeReference(decorated.__module__, decorated.__qualname__, "/".join(below), line)
