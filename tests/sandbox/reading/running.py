"""Runs the reading program under limits, in a folder of its own that must stay empty: the sandbox's stand-in."""

import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio.to_thread

from operalta.sandbox.reading.service import ProgramReport, program_needs


class RunUnderLimits:
    """A RunProgram that keeps what the last program wrote to its standard error."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.complaints = b""
        self.report = ProgramReport(None, b"", "killed")

    async def __call__(self, arguments: Sequence[str], content: bytes, /) -> ProgramReport:
        self.report = await anyio.to_thread.run_sync(self.run, arguments, content)
        return self.report

    def run(self, arguments: Sequence[str], content: bytes) -> ProgramReport:
        needs = program_needs()
        limits = (f"--as={needs.memory_bytes}", f"--cpu={needs.cpu_seconds}", "--fsize=0", "--nofile=64")
        try:
            ended = subprocess.run(
                ("prlimit", *limits, sys.executable, *arguments),
                input=content,
                capture_output=True,
                cwd=self.folder,
                env={},
                timeout=needs.wall_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return ProgramReport(None, b"", "time")
        self.complaints = ended.stderr
        if ended.returncode in {-signal.SIGXCPU, -signal.SIGKILL}:
            return ProgramReport(None, b"", "time")
        if ended.returncode < 0:
            return ProgramReport(None, b"", "killed")
        if len(ended.stdout) > needs.output_bytes:
            return ProgramReport(None, b"", "output")
        return ProgramReport(ended.returncode, ended.stdout, "finished")
