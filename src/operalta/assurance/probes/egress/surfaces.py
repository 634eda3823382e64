"""Who asks the network for anything: found by reading the code, each with the policy that it declares."""

import ast
from collections.abc import Generator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from operalta.sandbox.policies import ALLOW_LISTED, NONE, OPEN, EgressPolicy, Reach

NAMED = {Reach.OPEN: OPEN, Reach.ALLOW_LISTED: ALLOW_LISTED, Reach.NONE: NONE}
_POLICY_PLACE = 1


@dataclass(frozen=True, slots=True)
class Surface:
    """A place in the code that asks, below the package, and how it names its policy; nothing where it names none."""

    file: str
    line: int
    names: str

    @property
    def policies(self) -> tuple[EgressPolicy, ...]:
        """The policies that this may be: the module's own constant of that name, or all constants that it has."""
        module = import_module("operalta." + self.file.removesuffix(".py").replace("/", "."))
        named = getattr(module, self.names, None)
        found = [named] if named is not None else vars(module).values()
        return tuple(each for each in found if isinstance(each, EgressPolicy)) if self.names else ()


def surfaces(package: Path) -> list[Surface]:
    """Return every place below the package's folder that sends something through the door, sorted by file."""
    found: list[Surface] = []
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package).as_posix()
        # What makes the door is no surface of it, and what looks at it from outside neither.
        if not file.startswith(("sandbox/", "assurance/")):
            found.extend(Surface(file, line, names) for line, names in _asking(ast.parse(path.read_text("utf-8"))))
    return found


def is_within(policy: EgressPolicy, named: EgressPolicy) -> bool:
    """Tell whether `policy` opens nothing that the named one does not."""
    return (
        policy.reach is named.reach
        and policy.schemes <= named.schemes
        and policy.ports <= named.ports
        and policy.methods <= named.methods
        and policy.content_types <= named.content_types
        and policy.request_bytes <= named.request_bytes
        and policy.response_bytes <= named.response_bytes
        and policy.seconds <= named.seconds
        and policy.redirects <= named.redirects
    )


def _asking(tree: ast.Module) -> Generator[tuple[int, str]]:
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        if name == "EgressTransport" or (name == "fetch" and "purpose" in given):
            policy = given.get("surface") or (call.args[_POLICY_PLACE] if len(call.args) > _POLICY_PLACE else None)
            yield call.lineno, "" if policy is None else ast.unparse(policy)
