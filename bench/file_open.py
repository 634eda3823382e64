"""Opening a file safely against opening it plainly: the kernel's resolution, and all of what a read checks, as ratios.

    ./operalta bench file_open            (or: .venv/bin/python -m bench.file_open)

Works in a temporary folder; prints medians of paired rounds and never judges.
"""

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from operalta.sandbox.files import Workspace
from operalta.sandbox.openat2 import open_beneath

ROUNDS = 2_000
CALLS_A_ROUND = 20
CONTENT = b"x" * 2_000
NAMES = ("plan.md", "reports/2026/may/summary.md")


def paired(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Make each call in turn, round by round, and return its median in microseconds."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            started = time.perf_counter()
            for _ in range(CALLS_A_ROUND):
                call()
            taken[name].append((time.perf_counter() - started) / CALLS_A_ROUND * 1_000_000)
    return {name: statistics.median(values) for name, values in taken.items()}


def plain_open(path: Path) -> None:
    """Open a file as anybody would, and close it."""
    os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))


def plain_read(path: Path) -> bytes:
    """Read a file as anybody would."""
    with path.open("rb", buffering=0) as file:
        return file.read()


def resolved_open(place: Path) -> None:
    """Open a file as one does who resolves the name first and compares: two steps, and a race between them."""
    path = place.resolve(strict=True)
    if not path.is_relative_to(place.parent):
        raise PermissionError
    plain_open(path)


def measure(root: Path) -> None:
    """Print what opening and reading cost, for a file at the top and one three folders down."""
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    with Workspace(root) as workspace:
        for name in NAMES:
            workspace.write_bytes(name, CONTENT)
            place = root / name
            medians = paired(
                {
                    "plain open": lambda place=place: plain_open(place),
                    "safe open (openat2)": lambda name=name: os.close(open_beneath(directory, name, os.O_RDONLY)),
                    "resolve, compare, open": lambda place=place: resolved_open(place),
                    "plain read": lambda place=place: plain_read(place),
                    "workspace read, everything checked": lambda name=name: workspace.read_bytes(name),
                }
            )
            show(name, medians)
    os.close(directory)


def show(name: str, medians: dict[str, float]) -> None:
    """Print one table; opening is compared with opening, reading with reading."""
    print(f"\n{name:40} {'µs':>8} {'ratio':>7}")
    for call, value in medians.items():
        base = medians["plain read" if "read" in call else "plain open"]
        print(f"{call:40} {value:8.2f} {value / base:7.2f}")


def main() -> None:
    """Make a folder, measure in it, and take it away."""
    root = Path(tempfile.mkdtemp(prefix="op-bench-", dir="/tmp"))
    try:
        measure(root)
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    from operalta.operations.privileges import leave_root

    leave_root(Path(__file__).resolve().parent.parent, (), module="bench.file_open")
    main()
