"""Runs the reading program under limits, in a folder of its own that must stay empty: the sandbox's stand-in."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio.to_thread

from operalta.sandbox.reading.service import PROGRAM, ProgramReport, arguments_for, program_needs

NURSERY = Path(__file__).with_name("nursery.py")
ENVIRONMENT: dict[str, str] = {}


class RunUnderLimits:
    """A RunProgram that keeps how the last program ended, and what it wrote to its standard error."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.complaints = b""
        self.report: ProgramReport | None = None

    async def __call__(self, arguments: Sequence[str], content: bytes, /) -> ProgramReport:
        report = await anyio.to_thread.run_sync(self.run, arguments, content)
        self.report = report
        return report

    def run(self, arguments: Sequence[str], content: bytes) -> ProgramReport:
        """Start the program as the sandbox does."""
        needs = program_needs()
        limits = (f"--as={needs.memory_bytes}", f"--cpu={needs.cpu_seconds}", "--fsize=0", "--nofile=64")
        ended = subprocess.run(
            ("prlimit", *limits, sys.executable, *arguments),
            input=content,
            capture_output=True,
            cwd=self.folder,
            env=ENVIRONMENT,
            check=False,
        )
        self.complaints = ended.stderr
        return report_of(ended.returncode, ended.stdout)


class Nursery:
    """The program loaded once, forked for each document."""

    def __init__(self) -> None:
        arguments = arguments_for("")
        self._process = subprocess.Popen(
            (sys.executable, *arguments[:3], str(NURSERY), str(PROGRAM), *arguments[5:]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=ENVIRONMENT,
        )

    def read(self, kind: str, content: bytes, folder: Path) -> tuple[int, bytes, bytes]:
        """Return the exit code (negative: the signal), the output and the complaints."""
        needs = program_needs()
        asked = {
            "kind": kind,
            "size": len(content),
            "folder": str(folder),
            "memory": needs.memory_bytes,
            "cpu": needs.cpu_seconds,
            "output": needs.output_bytes,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked).encode() + b"\n" + content)
        self._process.stdin.flush()
        ended = json.loads(self._process.stdout.readline())
        output = self._process.stdout.read(ended["output"])
        return ended["code"], output, self._process.stdout.read(ended["said"])

    def close(self) -> None:
        """End it."""
        with self._process:
            self._process.kill()


class RunInNursery(RunUnderLimits):
    """The same, with the interpreter's start left out."""

    def __init__(self, folder: Path, nursery: Nursery) -> None:
        super().__init__(folder)
        self._nursery = nursery

    def run(self, arguments: Sequence[str], content: bytes) -> ProgramReport:
        """Have the loaded program forked."""
        kind = arguments[arguments.index(str(PROGRAM)) + 1]
        code, output, self.complaints = self._nursery.read(kind, content, self.folder)
        return report_of(code, output)


def report_of(code: int, output: bytes) -> ProgramReport:
    """Return the report on a program that ended with this code."""
    if code in {-signal.SIGXCPU, -signal.SIGKILL}:
        return ProgramReport(None, b"", "time")
    if code == -signal.SIGXFSZ or len(output) > program_needs().output_bytes:
        return ProgramReport(None, b"", "output")
    if code < 0:
        return ProgramReport(None, b"", "killed")
    return ProgramReport(code, output, "finished")
