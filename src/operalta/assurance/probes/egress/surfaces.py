"""Who asks the network for anything: found by reading the code, each with the policy that it declares."""

import ast
from collections.abc import Generator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from operalta.sandbox.policies import ALLOW_LISTED, NONE, OPEN, TUNNELLED, EgressPolicy, Reach

NAMED = {Reach.OPEN: OPEN, Reach.ALLOW_LISTED: ALLOW_LISTED, Reach.NONE: NONE}
_PLACES = {"EgressTransport": 1, "CommandProxy": 1, "fetch": 1, "open": 2}
"""What goes through the door, and at which place each is given its policy."""

_ELSEWHERE = {"fetch": "purpose", "open": "deadline"}
"""What is called the same and has nothing to do with the door lacks this argument."""


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
        policies = [each for each in found if isinstance(each, EgressPolicy)] if self.names else []
        # What a module's own policy was made from is not what it uses, where it has one of its own.
        own = [each for each in policies if each not in NAMED.values()]
        return tuple(own or policies)


def named_policy(policy: EgressPolicy) -> EgressPolicy:
    """Return the named policy that holds what this one may open."""
    return TUNNELLED if policy.methods == TUNNELLED.methods else NAMED[policy.reach]


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
        place = _PLACES.get(name)
        if place is None or _ELSEWHERE.get(name, "surface") not in {"surface", *given}:
            continue
        policy = given.get("surface") or (call.args[place] if len(call.args) > place else None)
        yield call.lineno, "" if policy is None else ast.unparse(policy)
