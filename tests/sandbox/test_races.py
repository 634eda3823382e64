"""Other processes at work in the same workspace: one that swaps names for links, and several that fill it up."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from operalta.kernel.errors import Refusal
from operalta.sandbox import files
from operalta.sandbox.errors import NoSuchFile
from operalta.sandbox.files import FileLimits, Workspace
from tests.sandbox import swapping
from tests.sandbox.conftest import SECRET


def canary(outside: Path) -> dict[str, tuple[bytes, int]]:
    """Return what lies outside: each file's content and the time of its last change."""
    return {
        str(path.relative_to(outside)): (path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns)
        for path in outside.rglob("*")
    } | {".": (b"", outside.stat().st_mtime_ns)}


@contextmanager
def swapper(root: Path, outside: Path) -> Generator[subprocess.Popen[bytes]]:
    command = [sys.executable, str(Path(swapping.__file__)), str(root), str(outside)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.read(1) == b"!"
            yield process
            assert process.poll() is None, "it swapped to the end"
        finally:
            process.kill()


def operations(workspace: Workspace, escaped: Counter[str]) -> list[tuple[str, Callable[[], object]]]:
    """Return what is done round by round; what gets out is counted in `escaped`."""

    def read(path: str) -> None:
        content = workspace.read_bytes(path)
        # What is added to a name that was just moved away begins a file of its own.
        if not content.startswith((b"inside", b"!")):
            escaped[f"read {content[:40]!r} as {path}"] += 1

    def listing(path: str) -> None:
        escaped["listed"] += any(entry.path.name == "only-outside" for entry in workspace.list(path).entries)

    def write(path: str) -> None:
        workspace.write_bytes(path, b"inside", make_parents=False)

    return [
        ("read", lambda: read("door/secret")),
        ("read", lambda: read("file")),
        ("write", lambda: write("door/secret")),
        ("read", lambda: read("hard")),
        ("read", lambda: read("deep/er/secret")),
        ("write", lambda: write("file")),
        ("append", lambda: workspace.append_bytes("hard", b"!")),
        ("read", lambda: read("door/er/secret")),
        ("write", lambda: workspace.write_bytes("deep/er/secret", b"inside")),
        ("move", lambda: workspace.move("file", "moved")),
        ("list", lambda: listing("door")),
        ("stat", lambda: workspace.stat("hard")),
        ("write", lambda: write("hard")),
        ("move", lambda: workspace.move("door/secret", "deep/er/moved")),
        ("append", lambda: workspace.append_bytes("door/er/log", b"inside")),
        ("delete", lambda: workspace.delete("door/er/log")),
        ("delete", lambda: workspace.delete("deep/er/moved")),
        ("make", lambda: workspace.make_directories("deep/er/more")),
        ("delete", lambda: workspace.delete("deep/er/more")),
        ("append", lambda: workspace.append_bytes("file", b"!")),
        ("move", lambda: workspace.move("hard", "door/er/hard")),
        ("delete", lambda: workspace.delete("door/er/hard")),
        ("delete", lambda: workspace.delete("file")),
        ("list", lambda: listing("deep/er")),
    ]


@pytest.mark.proves("5.2.1", "5.2.3")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("rounds", [3_000, pytest.param(100_000, marks=pytest.mark.soak)])
def test_no_name_that_is_swapped_for_a_link_leads_out(tmp_path: Path, rounds: int) -> None:
    """Directories, an ancestor, files, symbolic links and hard links change places while all operations go on."""
    root, outside = tmp_path / "workspace", tmp_path / "outside"
    (outside / "er").mkdir(parents=True)
    for path in (outside / "secret", outside / "er" / "secret", outside / "only-outside", outside / "er/only-outside"):
        path.write_bytes(SECRET)
    before = canary(outside)
    escaped: Counter[str] = Counter()
    outcomes: Counter[tuple[str, str]] = Counter()
    number = 0
    wanted = {("read", "done"), ("write", "done"), ("append", "done"), ("move", "done"), ("delete", "done"),
              ("read", "link_refused"), ("write", "link_refused"), ("append", "link_refused")}  # fmt: skip
    with Workspace(root) as workspace, swapper(root, outside):
        todo = operations(workspace, escaped)
        while number < rounds or not wanted <= outcomes.keys():
            name, call = todo[number % len(todo)]
            try:
                call()
                outcomes[name, "done"] += 1
            except Refusal as refusal:
                outcomes[name, refusal.code] += 1
            if number % len(todo) == 0:
                # A link that was swapped in is moved as the link that it is; then it only stands in the way.
                (root / "moved").unlink(missing_ok=True)
            number += 1
    assert escaped.total() == 0, escaped
    assert canary(outside) == before
    assert {code for _, code in outcomes} <= {
        "done", "link_refused", "no_such_file", "not_a_regular_file", "name_taken", "not_a_directory",
        "directory_not_empty",
    }, outcomes  # fmt: skip


@pytest.mark.proves("5.2.3")
def test_a_second_name_that_is_taken_away_while_the_file_is_opened_gives_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "workspace" / "hard"
    outside.write_bytes(SECRET)
    real = files.open_beneath

    def open_and_take_away(directory: int, name: str, flags: int, mode: int = 0) -> int:
        descriptor = real(directory, name, flags, mode)
        if name == "hard":
            inside.unlink(missing_ok=True)
        return descriptor

    with Workspace(tmp_path / "workspace") as workspace:
        inside.hardlink_to(outside)
        monkeypatch.setattr(files, "open_beneath", open_and_take_away)
        with pytest.raises(NoSuchFile):
            workspace.read_bytes("hard")


FILLING = """
import sys, time
from pathlib import Path
from operalta.kernel.errors import Refusal
from operalta.sandbox import files, usage
from operalta.sandbox.files import FileLimits, Workspace

def measure_and_dawdle(descriptor):
    used = usage.measure(descriptor)
    time.sleep(0.003)  # long enough for the others to count, were they let in
    return used

files.measure = measure_and_dawdle
root, writer, entries, total = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
refused = 0
with Workspace(root, limits=FileLimits(file_bytes=1_000, total_bytes=total, entries=entries)) as workspace:
    for number in range(40):
        try:
            if number % 2:
                workspace.append_bytes(f"shared/log-{number % 4}", b"x" * 60)
            else:
                workspace.write_bytes(f"{writer}/{number}", b"x" * 100)
        except Refusal:
            refused += 1
print(refused)
"""


@pytest.mark.proves("5.2.1")
@pytest.mark.parametrize(("entries", "total"), [(20, 1_000_000), (10_000, 4_000)])
def test_limits_hold_between_processes(tmp_path: Path, entries: int, total: int) -> None:
    root = tmp_path / "workspace"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", FILLING, str(root), f"writer-{number}", str(entries), str(total)],
            stdout=subprocess.PIPE,
        )
        for number in range(4)
    ]
    refused = [int(writer.communicate()[0]) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0, 0]
    found = list(root.rglob("*"))
    size = sum(path.stat().st_size for path in found if path.is_file())
    assert len(found) <= entries
    assert size <= total
    assert sum(refused) > 20
    assert len(found) == entries or size > total - 100
    with Workspace(root, limits=FileLimits(entries=entries)) as workspace:
        logs = [workspace.read_bytes(f"shared/log-{number}") for number in (1, 3)]
    assert all(len(log) % 60 == 0 for log in logs), "every addition is there as a whole"
