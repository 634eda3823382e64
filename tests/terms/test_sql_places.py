"""SQL stands in `store.py`, in `db` and in migrations, as literal text, and nowhere else."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "operalta"
RUNNING = {"execute", "executemany", "one", "all", "copy", "stream"}
LOOKS_LIKE_SQL = re.compile(
    r"\b(SELECT\s.+\sFROM|SELECT\s+\w+\.\w+\(|INSERT\s+INTO|UPDATE\s+\w+(\.\w+)?\s+SET|DELETE\s+FROM|ALTER\s+(TABLE|ROLE)"
    r"|CREATE\s+(TABLE|ROLE|POLICY)|SET\s+LOCAL)\b",
    re.DOTALL,
)
# What starts or watches servers asks the server itself, not a room's data.
ALSO_ALLOWED = {"operations/servers.py", "web/health.py"}

# It looks for a canary in every table there is, as the owner of a throw-away database: names come from the catalogue.
MAY_NAME_TABLES = {"assurance/probes/store.py", "assurance/probes/companies/store.py"}


def _modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def _may_hold_sql(path: Path) -> bool:
    place = path.relative_to(SOURCE).as_posix()
    return path.name == "store.py" or place.startswith(("db/", "assurance/")) or place in ALSO_ALLOWED


def sql_out_of_place(tree: ast.Module) -> Iterator[str]:
    """Yield SQL text in a module's strings, docstrings apart."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and id(node) not in docstrings else None
        if isinstance(text, str) and LOOKS_LIKE_SQL.search(text):
            yield f"{text[:60]!r}"


def built_queries(tree: ast.Module) -> Iterator[str]:
    """Yield calls that run a query that is put together, and imports of the driver's ways to do so."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and node.module == "psycopg"
            and any(each.name == "sql" for each in node.names)
        ):
            yield "psycopg.sql"
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
            continue
        query = node.args[0]
        if node.func.attr in RUNNING and isinstance(query, ast.JoinedStr):
            yield f"line {node.lineno}: an f-string is run"
        if node.func.attr in RUNNING and isinstance(query, ast.BinOp) and isinstance(query.op, ast.Mod):
            yield f"line {node.lineno}: a formatted string is run"
        if (
            node.func.attr in {"execute", "executemany"}
            and isinstance(query, ast.Call)
            and isinstance(query.func, ast.Attribute)
            and query.func.attr in {"format", "join", "encode"}
        ):
            yield f"line {node.lineno}: a built string is run"


@pytest.mark.proves("3.4.3")
@pytest.mark.parametrize("path", _modules(), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_sql_stands_in_its_places_as_literal_text(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    if path.relative_to(SOURCE).as_posix() not in MAY_NAME_TABLES:
        assert list(built_queries(tree)) == []
    if not _may_hold_sql(path):
        assert list(sql_out_of_place(tree)) == []


@pytest.mark.parametrize(
    "code",
    [
        'scope.all(f"SELECT {x}")',
        'connection.execute("SELECT %s" % x)',
        'connection.execute("SELECT {}".format(x))',
        "from psycopg import sql",
    ],
)
def test_the_lint_finds_a_built_query(code: str) -> None:
    assert list(built_queries(ast.parse(code)))


def test_the_lint_finds_sql_out_of_place() -> None:
    assert list(sql_out_of_place(ast.parse('x = "SELECT id FROM people"')))
