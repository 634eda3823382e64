"""The table of dependencies says what is installed by name, and the product imports nothing else."""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ("requirements.in", "requirements-test.in", "requirements-bench.in")


def named_in(file: str) -> set[str]:
    """Return the packages that a file of requirements names, without versions and extras."""
    lines = (ROOT / file).read_text().splitlines()
    return {re.split(r"[\[<=>~! ]", line)[0] for line in lines if line and not line.startswith(("#", "-r"))}


def in_tables() -> list[str]:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| ")]
    return [name.strip() for row in rows for name in row[1].split(",") if name.strip() != "package"]


def imported() -> dict[str, Path]:
    """Return the outermost package of every import of the product, with a file that imports it."""
    found: dict[str, Path] = {}
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import(names=names):
                    found |= {each.name.split(".")[0]: path for each in names}
                case ast.ImportFrom(module=str(module), level=0):
                    found[module.split(".")[0]] = path
                case _:
                    pass
    return {name: path for name, path in found.items() if name not in sys.stdlib_module_names and name != "operalta"}


def test_the_table_names_each_package_once_and_no_other() -> None:
    listed = in_tables()
    assert sorted(listed) == sorted({name for file in FILES for name in named_in(file)})


def test_every_row_says_for_what_and_why() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("| ")]
    assert all(len(row) == 3 and all(cell.strip() for cell in row) for row in rows)


@pytest.mark.parametrize("package", sorted(imported()))
def test_what_the_product_imports_is_named(package: str) -> None:
    """What only comes along with another package could go with it."""
    distributions = {one.lower().replace("_", "-") for one in packages_distributions().get(package, [])}
    assert distributions & named_in("requirements.in"), f"{imported()[package]} imports {package}: name its package"
