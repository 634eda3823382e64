"""Having a document read by the program in the sandbox, and what the sandbox must let that program see."""

import functools
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import anyio.to_thread

from operalta.sandbox import errors
from operalta.sandbox.reading.program import limits
from operalta.sandbox.reading.results import document_of, refusal_of
from operalta.sandbox.reading.rules import LONGEST_HEAD, DocumentText, kind_of
from operalta.terms.registry import upholds

PROGRAM = Path(__file__).resolve().parent / "program"
"""The folder that the program is, to be bound read-only."""

DISTRIBUTIONS = ("pypdf",)
"""The packages that the program imports beside the standard library: all in Python, without native code."""

_READ, _REFUSED = 0, 3
_METADATA = (".dist-info", ".egg-info")


@dataclass(frozen=True, slots=True)
class ProgramReport:
    """How the program ended, and what it wrote to its standard output.

    `ended` is `finished` where it ended by itself; else what the sandbox ended it for. `exit_code` is then None.
    """

    exit_code: int | None
    output: bytes
    ended: Literal["finished", "time", "memory", "output", "killed"]


class RunProgram(Protocol):
    """Runs Python inside the sandbox, with the needs below bound at the same places, read-only."""

    async def __call__(self, arguments: Sequence[str], content: bytes, /) -> ProgramReport:
        """Run the interpreter with `arguments` and `content` as its standard input, under caps of `ProgramNeeds`."""
        ...


@dataclass(frozen=True, slots=True)
class ProgramNeeds:
    """What the sandbox binds (read-only, beside the interpreter and its standard library) and what it allows."""

    folder: Path
    packages: tuple[Path, ...]
    memory_bytes: int = limits.SANDBOX_MEMORY_BYTES
    cpu_seconds: int = limits.SANDBOX_CPU_SECONDS
    wall_seconds: int = limits.SANDBOX_WALL_SECONDS
    output_bytes: int = limits.OUTPUT_BYTES


def program_needs() -> ProgramNeeds:
    """Return what must be bound, looked up in the environment of the server that runs.

    Beside each package's own folder that is what its wheel put next to it, such as `<name>.libs` with native
    libraries. Raise ReadingUnavailable where a package is missing.
    """
    packages: set[Path] = set()
    for name in DISTRIBUTIONS:
        packages.update(_places_of(name))
    return ProgramNeeds(PROGRAM, tuple(sorted(packages)))


@upholds("5.4.3")
async def read_document(run: RunProgram, name: str, content: bytes) -> DocumentText:
    """Return what the document `name` says, as the program in the sandbox read it.

    Raise KindNotRead, NotWhatItsNameSays and DocumentTooLarge before anything is run; DocumentDamaged,
    DocumentProtected, DocumentOfOldFormat, DocumentSuspicious; what `run` raises.
    """
    kind = kind_of(name, content[:LONGEST_HEAD])
    if kind is None:
        raise errors.KindNotRead
    if len(content) > limits.SOURCE_BYTES:
        raise errors.DocumentTooLarge
    report = await run(arguments_for(kind), content)
    if report.ended in {"time", "memory", "output"}:
        raise errors.DocumentTooLarge
    if report.ended == "finished" and report.exit_code == _READ:
        return await anyio.to_thread.run_sync(document_of, kind, report.output)
    if report.ended == "finished" and report.exit_code == _REFUSED:
        raise refusal_of(report.output)
    raise errors.DocumentDamaged


def arguments_for(kind: str, folder: Path = PROGRAM) -> tuple[str, ...]:
    """Return the interpreter's arguments: isolated, without site-packages' start files, writing no bytecode."""
    roots = {str(place.parent) for name in DISTRIBUTIONS for place in _places_of(name)}
    return ("-I", "-S", "-B", str(folder), kind, *sorted(roots))


@functools.cache
def _places_of(name: str) -> frozenset[Path]:
    """Return the folders and files at the top of site-packages that a distribution brought, its metadata excepted."""
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise errors.ReadingUnavailable from None
    tops = {file.parts[0] for file in distribution.files or () if ".." not in file.parts}
    kept = {top for top in tops if not top.endswith(_METADATA) and top != "__pycache__"}
    places = (Path(str(distribution.locate_file(top))).resolve() for top in kept)
    return frozenset(place for place in places if place.exists())
