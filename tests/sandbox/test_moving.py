"""Files that are added to and moved: whole or not at all, inside alone, nothing replaced."""

import errno
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from operalta.sandbox import errors, files
from operalta.sandbox.files import FileLimits, Workspace
from operalta.sandbox.openat2 import rename_within
from operalta.sandbox.rules import parse_path
from tests.sandbox.conftest import SECRET
from tests.sandbox.traversals import escapes


def test_what_is_added_stands_behind_what_was_there(workspace: Workspace) -> None:
    assert workspace.append_bytes("notes/log", b"one").size == 3
    assert workspace.append_bytes("notes/log", b"two").size == 6
    assert workspace.read_bytes("notes/log") == b"onetwo"
    with pytest.raises(errors.NoSuchFile):
        workspace.append_bytes("no/such/parent", b"x", make_parents=False)


def test_an_addition_that_fails_leaves_the_old_content(
    workspace: Workspace, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.write_bytes("log", b"old")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", full)
        with pytest.raises(errors.WorkspaceFull):
            workspace.append_bytes("log", b"new")
    assert workspace.read_bytes("log") == b"old"
    assert [path.name for path in root.iterdir()] == ["log"]


def test_additions_count_against_the_limits(root: Path) -> None:
    with Workspace(root, limits=FileLimits(file_bytes=10, total_bytes=15, entries=2)) as workspace:
        workspace.append_bytes("a", b"x" * 6)
        with pytest.raises(errors.FileTooLarge):
            workspace.append_bytes("a", b"x" * 5)
        with pytest.raises(errors.FileTooLarge):
            workspace.append_bytes("b", b"x" * 11)
        workspace.append_bytes("a", b"x" * 4)
        with pytest.raises(errors.WorkspaceFull):
            workspace.append_bytes("b", b"x" * 6)
        workspace.append_bytes("b", b"x" * 5)
        with pytest.raises(errors.TooManyFiles):
            workspace.append_bytes("c", b"")
        assert (workspace.read_bytes("a"), workspace.read_bytes("b")) == (b"x" * 10, b"x" * 5)


def test_a_file_moves_with_its_content_and_replaces_nothing(workspace: Workspace, root: Path) -> None:
    workspace.write_bytes("a.md", b"a")
    workspace.write_bytes("taken.md", b"t")
    assert str(workspace.move("a.md", "deep/er/b.md").path) == "deep/er/b.md"
    assert workspace.read_bytes("deep/er/b.md") == b"a"
    for taken in ("taken.md", "deep", "deep/er"):
        with pytest.raises(errors.NameTaken):
            workspace.move("deep/er/b.md", taken)
    with pytest.raises((errors.NotADirectory, errors.NameTaken)):
        workspace.move("deep/er/b.md", "taken.md/b.md")
    with pytest.raises(errors.NoSuchFile):
        workspace.move("nothing", "new/place")
    with pytest.raises(errors.NoSuchFile):
        workspace.move("deep/er/b.md", "no/parent", make_parents=False)
    with pytest.raises(errors.NotARegularFile):
        workspace.move("deep", "elsewhere")
    assert workspace.read_bytes("taken.md") == b"t"
    assert not (root / "new").exists()


@pytest.mark.proves("5.2.1")
def test_moving_stays_in_declared_folders_and_keeps_what_programs_obey(workspace: Workspace, root: Path) -> None:
    for name in ("inbox/a", "board/b", ".bashrc-copy"):
        workspace.write_bytes(name, b"x")
    (root / ".bashrc").write_bytes(b"x")
    with Workspace(root, directories=("inbox",)) as declared:
        for source, target in (("inbox/a", "board/a"), ("board/b", "inbox/b"), ("inbox/a", "a"), ("inbox/a", "inbox")):
            with pytest.raises((errors.NotDeclared, errors.NameTaken)):
                declared.move(source, target)
        with pytest.raises(errors.NotDeclared):
            declared.append_bytes("board/b", b"y")
    for source, target in ((".bashrc", "harmless"), (".bashrc-copy", "x/../.bashrc"), ("inbox/a", ".git/hooks/a"),
                           ("inbox/a", ".BASH_PROFILE"), ("inbox/a", "\uff0eenvrc")):  # fmt: skip
        with pytest.raises((errors.NeverWritable, errors.InvalidPath)):
            workspace.move(source, target)
    with pytest.raises(errors.NeverWritable):
        workspace.append_bytes(".bashrc", b"evil")
    with Workspace(root, writable=False) as reading:
        for change in (lambda: reading.move("inbox/a", "inbox/b"), lambda: reading.append_bytes("inbox/a", b"y")):
            with pytest.raises(errors.ReadOnlyWorkspace):
                change()
    assert (root / "inbox/a").read_bytes() == (root / "board/b").read_bytes() == b"x"


@pytest.mark.proves("5.2.3")
def test_links_and_special_files_are_neither_added_to_nor_moved(
    workspace: Workspace, root: Path, outside: Path
) -> None:
    workspace.write_bytes("inside", b"x")
    (root / "link").symlink_to(outside / "secret")
    (root / "folder").symlink_to(outside)
    (root / "hard").hardlink_to(outside / "secret")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        try:
            os.chdir(root)  # a socket's path is short
            listening.bind("socket")
        finally:
            os.chdir(here)
        for name, refusal in (("link", errors.LinkRefused), ("hard", errors.LinkRefused),
                              ("fifo", errors.NotARegularFile), ("socket", errors.NotARegularFile)):  # fmt: skip
            with pytest.raises(refusal):
                workspace.append_bytes(name, b"planted")
            with pytest.raises(refusal):
                workspace.move(name, "moved")
            with pytest.raises(errors.NameTaken):
                workspace.move("inside", name)
    for change in (
        lambda: workspace.append_bytes("folder/secret", b"planted"),
        lambda: workspace.append_bytes("folder/new", b"planted"),
        lambda: workspace.move("folder/secret", "taken-out"),
        lambda: workspace.move("inside", "folder/planted"),
        lambda: workspace.move("inside", "folder/a/planted"),
    ):
        with pytest.raises(errors.LinkRefused):
            change()
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_bytes() == SECRET
    assert workspace.read_bytes("inside") == b"x"


def test_a_rename_moves_the_entry_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"x")
    (tmp_path / "link").symlink_to("target")
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        rename_within(descriptor, "link", descriptor, "moved")
        with pytest.raises(FileExistsError):
            rename_within(descriptor, "moved", descriptor, "target")
    finally:
        os.close(descriptor)
    assert (tmp_path / "moved").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"x"


@pytest.mark.proves("5.2.2")
def test_every_way_out_is_refused_before_any_file_is_touched(
    workspace: Workspace, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def touched(*_: object, **__: object) -> int:
        raise AssertionError

    workspace.write_bytes("inside", b"x")
    passed: list[tuple[str, int]] = []
    tried = 0
    # Nothing is asserted while the system's own functions are out of use: a report needs them.
    with monkeypatch.context() as patched:
        for name in ("open_beneath", "rename_within"):
            patched.setattr(files, name, touched)
        for name in ("open", "stat", "mkdir", "unlink", "rename"):
            patched.setattr(os, name, touched)
        for path in escapes():
            tried += 1
            for number, call in enumerate(calls_with(workspace, path)):
                try:
                    call()
                except errors.InvalidPath:
                    continue
                except AssertionError:
                    pass
                passed.append((path, number))
    assert passed == []
    assert tried > 1_500
    assert [entry.name for entry in root.iterdir()] == ["inside"]


def calls_with(workspace: Workspace, path: str) -> list[Callable[[], object]]:
    """Return everything that can be done with a name; without one, listing shows the top."""
    return [
        lambda: workspace.read_bytes(path),
        lambda: workspace.write_bytes(path, b"x"),
        lambda: workspace.append_bytes(path, b"x"),
        lambda: workspace.move(path, "a"),
        lambda: workspace.move("inside", path),
        lambda: workspace.delete(path),
        lambda: workspace.stat(path),
        lambda: workspace.make_directories(path),
        *([lambda: workspace.list(path)] if path else []),
    ]


@pytest.mark.external
@pytest.mark.proves("5.2.2")
def test_the_public_corpus_of_local_file_inclusion_is_refused() -> None:
    """What the Core Rule Set's own tests send as a traversal, in whichever part of the request it stands."""
    corpus = Path(__file__).resolve().parents[3] / "shared" / "data" / "crs" / "930110.yaml"
    if not corpus.is_file():
        pytest.skip("not run: the public corpus is not at hand")
    sent = attacks_in(corpus.read_text())
    assert len(sent) >= 8
    for text in sent:
        with pytest.raises(errors.InvalidPath):
            parse_path(text)


def attacks_in(corpus: str) -> list[str]:
    """Return the values that carry a traversal in the requests that the rule set must find."""
    found: list[str] = []
    for case in corpus.split("- test_id:")[1:]:
        if "no_expect_ids" in case or "expect_ids" not in case:
            continue
        for line in case.splitlines():
            _, colon, value = line.strip().partition(": ")
            if colon and ".." in value and "desc" not in line:
                value = value.strip("'\"").replace("\\\\", "\\")
                found.append(re.split(r"[=]\"?", value.partition("&")[0])[-1].rstrip('"'))
    return found
