import errno
import os
import socket
import stat
import threading
import time
from pathlib import Path

import pytest

from operalta.kernel.errors import Refusal
from operalta.sandbox import errors, files, openat2, usage
from operalta.sandbox.files import FileKind, FileLimits, Workspace
from tests.sandbox.conftest import SECRET


def test_what_is_written_is_read_listed_and_deleted(workspace: Workspace, root: Path) -> None:
    entry = workspace.write_bytes("reports/may.md", b"# May")
    assert (str(entry.path), entry.size, entry.kind) == ("reports/may.md", 5, FileKind.FILE)
    assert workspace.read_bytes("reports/may.md") == b"# May"
    assert workspace.stat("reports").kind is FileKind.DIRECTORY
    workspace.write_bytes("a.txt", b"")
    workspace.make_directories("empty/deep")
    assert [str(found.path) for found in workspace.list().entries] == ["empty", "reports", "a.txt"]
    assert [str(found.path) for found in workspace.list("reports").entries] == ["reports/may.md"]
    with pytest.raises(errors.DirectoryNotEmpty):
        workspace.delete("reports")
    for name in ("reports/may.md", "reports", "empty/deep", "empty", "a.txt"):
        workspace.delete(name)
    assert list(root.iterdir()) == []


def test_everything_is_private_to_the_server(workspace: Workspace, root: Path) -> None:
    workspace.write_bytes("a/b", b"x")
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o700
    assert stat.S_IMODE((root / "a" / "b").stat().st_mode) == 0o600


def test_what_is_missing_or_of_another_kind_is_named(workspace: Workspace) -> None:
    workspace.write_bytes("file", b"x")
    workspace.make_directories("directory")
    for call in (workspace.read_bytes, workspace.stat, workspace.delete, workspace.list):
        with pytest.raises(errors.NoSuchFile):
            call("nothing")
        with pytest.raises(errors.NoSuchFile):
            call("file/below")
    for write in (lambda: workspace.read_bytes("directory"), lambda: workspace.write_bytes("directory", b"x")):
        with pytest.raises(errors.NotARegularFile):
            write()
    with pytest.raises(errors.NoSuchFile):
        workspace.list("file")
    with pytest.raises(errors.NoSuchFile):
        workspace.write_bytes("no/such/parent", b"x", make_parents=False)
    with pytest.raises(Refusal, match="file"):
        workspace.make_directories("file")


@pytest.mark.proves("5.2.2")
@pytest.mark.parametrize(
    "path", ["../outside/secret", "/etc/passwd", "a/../../outside/secret", "%2e%2e/outside/secret"]
)
def test_traversal_is_refused_before_any_file_is_touched(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def touched(*_: object) -> int:
        raise AssertionError

    monkeypatch.setattr(files, "open_beneath", touched)
    for call in (workspace.read_bytes, workspace.stat, workspace.delete, workspace.list, workspace.make_directories):
        with pytest.raises(errors.InvalidPath):
            call(path)
    with pytest.raises(errors.InvalidPath):
        workspace.write_bytes(path, b"x")


@pytest.mark.proves("5.2.1", "5.2.3")
@pytest.mark.parametrize("name", ["../outside/secret", "/etc/passwd", "link/secret", "/proc/self/root/etc/passwd"])
def test_the_kernel_refuses_what_the_rules_would_have(
    workspace: Workspace, root: Path, outside: Path, name: str
) -> None:
    (root / "link").symlink_to(outside)
    with pytest.raises(OSError, match=r"\w") as failure:
        openat2.open_beneath(workspace._root, name, os.O_RDONLY)  # pyright: ignore[reportPrivateUsage]
    assert failure.value.errno in {errno.ELOOP, errno.EXDEV}


@pytest.mark.proves("5.2.3")
def test_links_are_refused_wherever_they_stand(workspace: Workspace, root: Path, outside: Path) -> None:
    workspace.write_bytes("inside", b"x")
    (root / "to-secret").symlink_to(outside / "secret")
    (root / "to-inside").symlink_to("inside")
    (root / "to-nothing").symlink_to("nothing")
    (root / "to-directory").symlink_to(outside)
    for name in ("to-secret", "to-inside", "to-nothing"):
        for call in (workspace.read_bytes, workspace.stat, workspace.delete):
            with pytest.raises(errors.LinkRefused):
                call(name)
        with pytest.raises(errors.LinkRefused):
            workspace.write_bytes(name, b"x")
    for call in (workspace.read_bytes, workspace.stat, workspace.delete):
        with pytest.raises(errors.LinkRefused):
            call("to-directory/secret")
    for name in ("to-directory/secret", "to-directory/new", "to-directory/a/b"):
        with pytest.raises(errors.LinkRefused):
            workspace.write_bytes(name, b"x")
    with pytest.raises((errors.LinkRefused, errors.NoSuchFile)):
        workspace.list("to-directory")
    assert workspace.list().hidden == 4
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_bytes() == SECRET


@pytest.mark.proves("5.2.3")
def test_hard_links_and_special_files_are_refused(workspace: Workspace, root: Path, outside: Path) -> None:
    (root / "hard").hardlink_to(outside / "secret")
    os.mkfifo(root / "fifo")
    listening = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    try:
        os.chdir(root)  # a socket's path is short
        listening.bind("socket")
    finally:
        os.chdir(here)
    names = ["hard", "fifo", "socket"]
    if os.geteuid() == 0:
        try:
            os.mknod(root / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
            names.append("device")
        except PermissionError:
            pass
    for name in names:
        expected = errors.LinkRefused if name == "hard" else errors.NotARegularFile
        for call in (workspace.read_bytes, workspace.stat, workspace.delete):
            with pytest.raises(expected):
                call(name)
        with pytest.raises(expected):
            workspace.write_bytes(name, b"x")
    listening.close()
    assert workspace.list().hidden == len(names)
    assert (outside / "secret").read_bytes() == SECRET


@pytest.mark.proves("5.2.3")
def test_a_link_swapped_in_during_the_call_loses_the_race(workspace: Workspace, root: Path, outside: Path) -> None:
    """A thread swaps an ancestor, and the file itself, for links as fast as it can; outside is never reached."""
    workspace.write_bytes("directory/secret", b"inside")
    workspace.write_bytes("secret", b"inside")
    (root / "swapped-directory").symlink_to(outside)
    (root / "swapped-file").symlink_to(outside / "secret")
    stop = threading.Event()

    def exchange(first: Path, second: Path, third: Path) -> None:
        first.rename(third)
        second.rename(first)
        third.rename(second)

    def swap() -> None:
        while not stop.is_set():
            exchange(root / "directory", root / "swapped-directory", root / "aside")
            exchange(root / "secret", root / "swapped-file", root / "aside")

    thread = threading.Thread(target=swap)
    thread.start()
    outcomes: set[str] = set()
    try:
        rounds = 0
        # On a busy machine the other thread may rest for a long while: until both were seen.
        while (rounds := rounds + 1) <= 400 or not {"read", "link_refused"} <= outcomes:
            for path in ("directory/secret", "secret"):
                try:
                    assert workspace.read_bytes(path) == b"inside"
                    outcomes.add("read")
                except (errors.LinkRefused, errors.NoSuchFile) as refusal:
                    outcomes.add(refusal.code)
        for number in range(60):
            for path in (f"directory/new-{number}", "secret"):
                try:
                    workspace.write_bytes(path, b"inside", make_parents=False)
                except (errors.LinkRefused, errors.NoSuchFile) as refusal:
                    outcomes.add(refusal.code)
    finally:
        stop.set()
        thread.join()
    assert {"read", "link_refused"} <= outcomes
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_bytes() == SECRET


@pytest.mark.proves("5.2.1")
def test_only_declared_directories_are_reached(workspace: Workspace, root: Path) -> None:
    workspace.write_bytes("inbox/a", b"a")
    workspace.write_bytes("deep/er/b", b"b")
    workspace.write_bytes("inbox-private/c", b"c")
    workspace.write_bytes("d", b"d")
    with Workspace(root, directories=("inbox", "deep/er")) as declared:
        assert declared.read_bytes("inbox/a") == b"a"
        declared.write_bytes("deep/er/new", b"n")
        assert [str(entry.path) for entry in declared.list().entries] == ["deep", "inbox"]
        for path in ("inbox-private/c", "d", "deep", "deep/e", "deep/x", "INBOX/a"):
            for call in (declared.read_bytes, declared.stat, declared.delete, declared.list, declared.make_directories):
                with pytest.raises(errors.NotDeclared):
                    call(path)
            with pytest.raises(errors.NotDeclared):
                declared.write_bytes(path, b"x")
        with pytest.raises(errors.NotDeclared):
            declared.delete("inbox")


@pytest.mark.proves("5.2.1")
def test_what_programs_obey_can_be_read_but_not_written(workspace: Workspace, root: Path) -> None:
    (root / ".git" / "hooks").mkdir(parents=True)
    (root / ".git" / "hooks" / "pre-commit").write_bytes(b"#!")
    (root / ".bashrc").write_bytes(b"x")
    assert workspace.read_bytes(".git/hooks/pre-commit") == b"#!"
    for path in (".git/hooks/pre-commit", ".git/hooks/new", ".bashrc", "sub/.vscode/tasks.json"):
        with pytest.raises(errors.NeverWritable):
            workspace.write_bytes(path, b"evil")
        with pytest.raises(errors.NeverWritable):
            workspace.make_directories(path)
        with pytest.raises(errors.NeverWritable):
            workspace.delete(path)
    assert not (root / "sub").exists()


def test_a_workspace_for_reading_changes_nothing(workspace: Workspace, root: Path) -> None:
    workspace.write_bytes("a", b"x")
    with Workspace(root, writable=False) as reading:
        assert reading.read_bytes("a") == b"x"
        for change in (lambda: reading.write_bytes("a", b"y"), lambda: reading.delete("a"),
                       lambda: reading.make_directories("b")):  # fmt: skip
            with pytest.raises(errors.ReadOnlyWorkspace):
                change()


@pytest.mark.parametrize("broken", ["fsync", "rename"])
def test_a_write_that_fails_leaves_the_old_content(
    workspace: Workspace, root: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    workspace.write_bytes("a", b"old")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patched:
        patched.setattr(os, broken, full)
        with pytest.raises(errors.WorkspaceFull):
            workspace.write_bytes("a", b"new content")
        with pytest.raises(errors.WorkspaceFull):
            workspace.write_bytes("b", b"new content")
    assert workspace.read_bytes("a") == b"old"
    assert [path.name for path in root.iterdir()] == ["a"]


def test_readers_see_one_content_or_the_other(workspace: Workspace) -> None:
    first, second = b"1" * 200_000, b"2" * 150_000
    workspace.write_bytes("a", first)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            workspace.write_bytes("a", second)
            workspace.write_bytes("a", first)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        seen = {workspace.read_bytes("a") for _ in range(300)}
    finally:
        stop.set()
        thread.join()
    assert seen <= {first, second}


def test_sizes_are_capped(root: Path) -> None:
    with Workspace(root, limits=FileLimits(file_bytes=10, total_bytes=25, entries=100)) as workspace:
        workspace.write_bytes("a", b"x" * 10)
        with pytest.raises(errors.FileTooLarge):
            workspace.write_bytes("b", b"x" * 11)
        with pytest.raises(errors.FileTooLarge, match="9 bytes"):
            workspace.read_bytes("a", 9)
        assert len(workspace.read_bytes("a", 10)) == 10
        (root / "grown").write_bytes(b"x" * 11)
        with pytest.raises(errors.FileTooLarge):
            workspace.read_bytes("grown", 1_000)
        with pytest.raises(errors.WorkspaceFull):
            workspace.write_bytes("b", b"x" * 5)
        workspace.write_bytes("a", b"y" * 10)
        workspace.write_bytes("b", b"x" * 4)


def test_entries_are_counted_and_depth_is_capped(root: Path) -> None:
    with Workspace(root, limits=FileLimits(entries=3)) as workspace:
        workspace.write_bytes("a/b/c", b"")
        with pytest.raises(errors.TooManyFiles):
            workspace.write_bytes("d", b"")
        with pytest.raises(errors.TooManyFiles):
            workspace.make_directories("e")
        workspace.write_bytes("a/b/c", b"again")
        workspace.delete("a/b/c")
        workspace.write_bytes("d", b"")
        with pytest.raises(errors.InvalidPath, match="levels deep"):
            workspace.write_bytes("/".join("x" * 17), b"")


def test_the_count_holds_between_writers(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Workspace(root) as workspace:
        for number in range(19):
            workspace.write_bytes(f"early-{number}", b"")
    refused: list[int] = []

    def measure_and_dawdle(descriptor: int) -> usage.Usage:
        used = usage.measure(descriptor)
        time.sleep(0.2)  # long enough for the others to count, were they let in
        return used

    def write(writer: int) -> None:
        with Workspace(root, limits=FileLimits(entries=20)) as workspace:
            try:
                workspace.write_bytes(f"late-{writer}", b"")
            except errors.TooManyFiles:
                refused.append(writer)

    monkeypatch.setattr(files, "measure", measure_and_dawdle)
    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(root.iterdir())) == 20
    assert len(refused) == 3


def test_half_made_files_are_hidden_and_cleared_away_later(workspace: Workspace, root: Path) -> None:
    (root / "sub").mkdir()
    fresh, abandoned = root / ".operalta-fresh", root / "sub" / ".operalta-abandoned"
    fresh.write_bytes(b"x")
    abandoned.write_bytes(b"x")
    os.utime(abandoned, (0, 0))
    assert [entry.path.name for entry in workspace.list().entries] == ["sub"]
    with pytest.raises(errors.InvalidPath):
        workspace.read_bytes(".operalta-fresh")
    workspace.write_bytes("a", b"")
    assert fresh.exists()
    assert not abandoned.exists()


def test_odd_names_are_counted_not_shown(workspace: Workspace, root: Path) -> None:
    for name in ("a\nb", "a\u202eb", "trailing ", "back\\slash"):
        (root / name).write_bytes(b"")
    listing = workspace.list()
    assert (listing.entries, listing.hidden) == ((), 4)


@pytest.mark.proves("5.2.3")
def test_without_the_kernels_help_there_are_no_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openat2, "_OPENAT2", 100_000)
    with pytest.raises(errors.FilesUnavailable, match=r"openat2 .* ENOSYS"):
        Workspace(root)


def test_a_workspace_is_no_link_itself(root: Path, outside: Path) -> None:
    root.parent.mkdir()
    root.symlink_to(outside)
    with pytest.raises(errors.FilesUnavailable):
        Workspace(root)


def test_no_descriptor_is_left_open(root: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with Workspace(root) as workspace:
        for _ in range(5):
            workspace.write_bytes("a/b", b"x")
            workspace.list("a")
            with pytest.raises(errors.NoSuchFile):
                workspace.read_bytes("nothing")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
