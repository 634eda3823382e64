"""What the pages for people say is there: links, pictures, commands, files, functions, settings."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from operalta.cli import application
from operalta.settings import Settings
from scripts import settings_reference

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "operalta"
PAGES = tuple(sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]))
LONGEST_DECISION = 40

LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"(?:^|[\s`(])(?:\./)?operalta((?: +[a-z][a-z-]*)+)(?![./\w])")
FILE = re.compile(r"[\w.-]+(?:/[\w.{}-]+)*(?:/|\.(?:py|sql|toml|lua|in|lock|md|js|css|html|txt|png))")
FUNCTION = re.compile(r"([a-z_]+\.)?([a-z_]+)\(\)")
PLACED = re.compile(r"`(\w+)(?:\(\))?`,? in\s+`([\w/]+\.(?:py|lua|sql))`")
VARIABLE = re.compile(r"OPERALTA_[A-Z0-9_]*[A-Z0-9]")
# Made when it runs, or placeholders for what a reader makes.
NOT_IN_THE_REPOSITORY = re.compile(r"var(/|$)|\.venv|NNNN_|tls/")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def _code(page: Path) -> Iterator[str]:
    """Yield the code of a page: spans, and lines of indented blocks."""
    text = page.read_text(encoding="utf-8")
    yield from CODE.findall(text)
    yield from (line.strip() for line in text.splitlines() if line.startswith("    "))


def broken_links(page: Path, text: str) -> list[str]:
    """Return the relative links of a page that lead nowhere."""
    broken: list[str] = []
    for target in LINK.findall(text):
        if "://" in target:
            continue
        place, _, fragment = target.partition("#")
        file = (page.parent / place).resolve() if place else page
        if not file.is_relative_to(ROOT) or not file.is_file() or not _has_heading(file, fragment):
            broken.append(target)
    return broken


def _has_heading(file: Path, fragment: str) -> bool:
    headings = HEADING.findall(file.read_text(encoding="utf-8")) if fragment else []
    return not fragment or fragment in {_slug(each) for each in headings}


def commands_of(group: typer.Typer, before: str = "") -> set[str]:
    """Return the commands of a command line in full, those of its groups and the groups among them."""
    found: set[str] = set()
    for command in group.registered_commands:
        name = command.name or getattr(command.callback, "__name__", "").replace("_", "-")
        found.add(f"{before}{name}")
    for inner in group.registered_groups:
        if inner.typer_instance is not None and inner.name:
            name = f"{before}{inner.name}"
            found |= {name} | commands_of(inner.typer_instance, f"{name} ")
    return found


COMMANDS = commands_of(application) | {"test", "bench"}  # which the setup script knows itself


def unknown_commands(code: str) -> list[str]:
    """Return the commands in a piece of code that neither the command line nor the setup script has."""
    unknown: list[str] = []
    for words in COMMAND.findall(code):
        first, *others = words.split()
        is_group = any(known.startswith(f"{first} ") for known in COMMANDS)
        command = f"{first} {others[0]}" if is_group and others else first
        if command not in COMMANDS:
            unknown.append(command)
    return unknown


def is_missing_file(code: str) -> bool:
    """Tell whether a piece of code is a path of the repository, or of the package, that does not exist."""
    if not FILE.fullmatch(code) or NOT_IN_THE_REPOSITORY.match(code) or code.startswith("."):
        return False
    anywhere = [ROOT / code, SOURCE / code]
    if "/" not in code:
        return not any(path.exists() for path in anywhere) and not any(SOURCE.rglob(code))
    return not any(path.exists() for path in anywhere)


def is_missing_function(code: str, defined: str) -> bool:
    """Tell whether a piece of code names a function that nothing defines: `name()`, or `schema.name()` for SQL."""
    named = FUNCTION.fullmatch(code)
    if named is None:
        return False
    schema, name = named.groups()
    if schema is None and name.startswith("sha"):
        return False
    definition = rf"(FUNCTION|PROCEDURE) {re.escape(schema)}{name}\(" if schema else rf"def {name}\("
    return re.search(definition, defined) is None


@pages
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


@pages
def test_commands_exist(page: Path) -> None:
    assert [unknown for code in _code(page) for unknown in unknown_commands(code)] == []


@pages
def test_files_exist(page: Path) -> None:
    assert [code for code in _code(page) if is_missing_file(code)] == []


@pages
def test_functions_exist(page: Path) -> None:
    defined = "\n".join(
        path.read_text(encoding="utf-8") for path in SOURCE.rglob("*") if path.suffix in {".py", ".sql"}
    )
    assert [code for code in _code(page) if is_missing_function(code, defined)] == []


@pages
def test_what_is_said_to_stand_in_a_file_stands_there(page: Path) -> None:
    for name, file in PLACED.findall(page.read_text(encoding="utf-8")):
        text = (SOURCE / file).read_text(encoding="utf-8")
        assert re.search(rf"^\s*(async def|def|class) {name}\b", text, re.MULTILINE), f"{name} in {file}"


@pages
def test_settings_exist(page: Path) -> None:
    known = {f"OPERALTA_{name.upper()}" for name in Settings.model_fields}
    known |= set(VARIABLE.findall((ROOT / "operalta").read_text(encoding="utf-8")))
    assert set(VARIABLE.findall(page.read_text(encoding="utf-8"))) <= known


def test_the_page_of_settings_is_the_generated_one() -> None:
    assert settings_reference.PAGE.read_text(encoding="utf-8") == settings_reference.page(), (
        "write it again: python -m scripts.settings_reference"
    )


def test_every_setting_is_explained_once() -> None:
    assert set(settings_reference.MEANINGS) <= set(Settings.model_fields)
    for name in Settings.model_fields:
        assert settings_reference.page().count(f"| `OPERALTA_{name.upper()}` |") == 1


def test_decisions_are_short_and_listed() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text(encoding="utf-8")
    decisions = [path for path in sorted(folder.glob("*.md")) if path.name != "README.md"]
    assert [path.name[:4] for path in decisions] == [f"{number:04}" for number in range(1, len(decisions) + 1)]
    for path in decisions:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= LONGEST_DECISION, path.name
        assert all(f"**{part}.**" in text for part in ("Context", "Decision", "Consequences")), path.name
        assert f"({path.name})" in index


def test_these_checks_see_what_is_wrong() -> None:
    page = ROOT / "README.md"
    assert broken_links(page, "[a](nowhere.md) [b](docs/running.md#nothing) ![c](docs/images/none.png)") == [
        "nowhere.md", "docs/running.md#nothing", "docs/images/none.png",
    ]  # fmt: skip
    assert broken_links(page, "[a](docs/running.md#in-production) [b](https://example.org/)") == []
    assert unknown_commands("./operalta levitate") == ["levitate"]
    assert unknown_commands("operalta audit levitate") == ["audit levitate"]
    assert unknown_commands("./operalta test tests/db and operalta audit verify --json") == []
    assert is_missing_file("web/nowhere.py")
    assert is_missing_file("src/operalta/nowhere/")
    assert not is_missing_file("web/entry.py")
    assert not is_missing_file("service.py")
    assert not is_missing_file("var/log/serve.log")
    assert is_missing_function("nowhere()", "def somewhere(")
    assert is_missing_function("signin.nowhere()", "CREATE FUNCTION signin.somewhere(")
    assert not is_missing_function("signin.somewhere()", "CREATE FUNCTION signin.somewhere(")
