"""Documents read in a sandbox of their own: the reading program, bound to read only, with no network and less room."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from operalta.sandbox.errors import ReadingUnavailable, ShellUnavailable
from operalta.sandbox.reading.rules import DocumentText
from operalta.sandbox.reading.service import PROGRAM, ProgramNeeds, ProgramReport, program_needs, read_document
from operalta.sandbox.shell.profile import Binding, Profile, interpreter
from operalta.sandbox.shell.rules import MEBIBYTE, CommandLimits, Ending, Job
from operalta.sandbox.shell.runner import CommandRunner
from operalta.terms.registry import upholds

AT_ONCE = 2
_ENDED: Mapping[Ending, Literal["finished", "time", "output", "killed"]] = MappingProxyType(
    {Ending.FINISHED: "finished", Ending.TIME: "time", Ending.OUTPUT: "output", Ending.BROKEN: "killed"}
)
"""How the program ended, in its own words; all other caps are on what it takes."""

_PROGRAM_INSIDE, _PACKAGES_INSIDE = "/opt/operalta/reading", "/opt/operalta/packages"


def reading_profile(needs: ProgramNeeds) -> Profile:
    """Return the sandbox that the reading program needs, and nothing beyond it."""
    limits = CommandLimits(
        seconds=needs.wall_seconds,
        memory_bytes=needs.memory_bytes,
        address_space_bytes=needs.memory_bytes,
        processes=8,
        output_bytes=2 * needs.output_bytes,
        flood_bytes=needs.output_bytes,
        files_bytes=64 * MEBIBYTE,
        entries=100,
    )
    packages = (Binding(place, f"{_PACKAGES_INSIDE}/{place.name}") for place in needs.packages)
    return Profile(limits, (Binding(needs.folder, _PROGRAM_INSIDE), *packages))


class DocumentReader:
    """Reads documents, each in a sandbox that nothing was read in before.

    `is_proven` tells whether the sandbox has stood its test on this server; without that, nothing is read.
    """

    def __init__(self, is_proven: Callable[[], bool]) -> None:
        self._is_proven = is_proven
        self._needs = program_needs()
        self._runner = CommandRunner(reading_profile(self._needs), ahead=0, most=AT_ONCE)
        self._inside = {str(PROGRAM): _PROGRAM_INSIDE} | {str(p.parent): _PACKAGES_INSIDE for p in self._needs.packages}

    @upholds("5.4.3")
    async def __call__(self, name: str, content: bytes) -> DocumentText:
        """Return what a document says. Raise what `read_document` raises, and ReadingUnavailable."""
        if not self._is_proven():
            raise ReadingUnavailable
        return await read_document(self._run, name, content)

    async def close(self) -> None:
        """End what waits."""
        await self._runner.close()

    async def _run(self, arguments: Sequence[str], content: bytes, /) -> ProgramReport:
        within = tuple(self._inside.get(argument, argument) for argument in arguments)
        try:
            report = await self._runner.run(Job((interpreter(), *within), standard_input=content))
        except ShellUnavailable:
            raise ReadingUnavailable from None
        return ProgramReport(report.exit_code, report.output, _ENDED.get(report.ending, "memory"))
