import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operalta.sandbox.errors import InvalidPath, NeverWritable
from operalta.sandbox.rules import (
    MAXIMUM_DEPTH,
    NEVER_WRITABLE,
    WorkspacePath,
    check_writable,
    declared_in_both,
    is_usable_name,
    parse_path,
)

TRAVERSALS = (
    "..", "../x", "a/../b", "a/..", "./a", "a/./b", ".", "a/.", "/", "/etc/passwd", "//etc/passwd", "a//b", "a/",
    "", "...", "a/..../b", "..\\x", "a\\b", "\\\\host\\share", "C:", "C:/Windows", "c:\\x", "~", "~/.ssh/id_rsa",
    "a/.. /b", "a/ ../b", "a/..\t/b", " a", "a ", "a.", "a/b. /c", "a/ b", "a\u00a0", "a\u3000", "file:/etc/passwd",
    "file:///etc/passwd", "a:/b",
    "%2e%2e/x", "%2e%2e%2fx", "..%2fx", "a/..%2f..%2fx", "%2E%2E%5Cx", "..%5cx", "%252e%252e%252fx", "a%2fb",
    "a%255cb", "%25252e%25252e%25252fx", "%2525252525252e", "%00", "a%00.txt", "a%0a", "%c0%ae%c0%ae/x", "%c0%af",
    "%e0%80%ae", "%u002e%u002e/x", "%25u002e", "%ff", "%uff0e%uff0e/x", "%ef%bc%8e%ef%bc%8e/x", "%2e", "a/%2e%2e",
    "%2e./x", ".%2e/x", "%7e", "a%20/../b",
    "\uff0e\uff0e/x", "\u2024\u2024/x", "\u2025/x", "\u2026", "\ufe52\ufe52/x", "a\uff0fb", "a\uff3cb", "a\ufe68b",
    "\u2100", "\u2105", "\uff5e\uff0f", ".\u200d./x", "\u200c..", "\u200d", ".\u00ad./x", "\u2060..",
    "a\x00b", "a\nb", "a\rb", "a\tb", "a\x7fb", "a\x85b", "a\u2028b", "a\u202eb", "a\u200eb", "a\ufeffb", "a\u200bb",
    "a\ud800b", "a\ue000b", "a\U000e0041b",
    "a" * 256, "ä" * 128, "a/" * 600 + "a", "/".join("a" * (MAXIMUM_DEPTH + 1)), ".operalta-1", ".OPERALTA-x",
)  # fmt: skip
USABLE = (
    "a", "notes.txt", "reports/2026/may.md", ".gitignore", ".env.example", "..a", "a..b", "...a", "a...b/c",
    "Überblick.pdf", "日本語/資料.txt", "می‌خواهم.txt", "👩‍💻.txt", "50% off.txt", "100%25.txt", "a%20b.txt",
    "a%2", "10:30 notes.txt", "a~b", "~a", "Ⅳ.txt", "①.txt", "-rf", "$(id)", "a;b|c&d", "'quoted'", "C", "con.txt",
    "/".join("a" * MAXIMUM_DEPTH), "a" * 255,
)  # fmt: skip


@pytest.mark.proves("5.2.2")
@pytest.mark.parametrize("text", TRAVERSALS)
def test_no_form_of_traversal_is_a_name(text: str) -> None:
    with pytest.raises(InvalidPath):
        parse_path(text)


@pytest.mark.parametrize("text", USABLE)
def test_what_people_call_their_files_is_a_name(text: str) -> None:
    assert str(parse_path(text)) == unicodedata.normalize("NFC", text)


def test_names_are_composed() -> None:
    assert parse_path("Cafe\u0301.txt").name == "Café.txt"
    assert is_usable_name("Café.txt")
    assert not is_usable_name("Cafe\u0301.txt")


@pytest.mark.proves("5.2.2")
@given(st.text(alphabet=st.sampled_from("./\\%25efcEF0 a~:\u200d\uff0e\uff0f\u2025\x00"), max_size=24))
def test_whatever_is_a_name_stays_below(text: str) -> None:
    try:
        parts = parse_path(text).parts
    except InvalidPath:
        return
    for part in parts:
        assert part not in {"", ".", ".."}
        assert not set(part) & set("/\\\x00")


@pytest.mark.proves("5.2.1")
@pytest.mark.parametrize(
    "text",
    [".git/hooks/pre-commit", "a/.git/config", ".git", ".GIT/hooks/x", ".bashrc", "home/.profile", ".ssh/config",
     ".envrc", ".claude/settings.json", ".vscode/tasks.json", ".mcp.json", ".Npmrc", ".bash\u200drc",
     "\uff0egit/hooks/x", ".\uff47it/hooks/x", ".devcontainer/devcontainer.json", ".husky/pre-push", "x/.cursor/rules",
     "sitecustomize.py"],
)  # fmt: skip
def test_what_programs_obey_is_never_written(text: str) -> None:
    with pytest.raises(NeverWritable):
        check_writable(parse_path(text))


@pytest.mark.parametrize("text", [".gitignore", "git/hooks", "bashrc", "a.git", ".github/README.md", "ssh/.keep"])
def test_what_looks_alike_is_written(text: str) -> None:
    check_writable(parse_path(text))


def spellings(name: str) -> tuple[str, ...]:
    """Return a name as other people, other keyboards and other file systems would write it."""
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" and c != "/" else c for c in name)
    return (name, name.upper(), name.title(), wide, name.replace(".", "\uff0e"), name[:2] + "\u200d" + name[2:])


@pytest.mark.proves("5.2.1")
@pytest.mark.parametrize("name", sorted(NEVER_WRITABLE))
def test_no_spelling_of_what_programs_obey_is_written(name: str) -> None:
    for each in spellings(name):
        for path in (each, f"a/b/{each}", f"{each}/x", f"a/{each}/hooks/x"):
            with pytest.raises(NeverWritable):
                check_writable(parse_path(path))


def test_folders_declared_in_both_are_the_inner_ones() -> None:
    def of(*names: str) -> tuple[WorkspacePath, ...]:
        return tuple(parse_path(name) for name in names)

    everything = (WorkspacePath(()),)
    assert declared_in_both(everything, of("a", "b/c")) == of("a", "b/c")
    assert declared_in_both(of("a", "b/c"), of("a/x", "b", "d")) == of("a/x", "b/c")
    assert declared_in_both(of("a"), of("b", "ab", "A")) == ()
    assert declared_in_both(of("a", "a/x"), of("a/x")) == of("a/x")
