"""The comparison of secrets, and that nothing in the product compares them in another way."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from operalta.guard.comparison import is_same_secret

SOURCE = Path(__file__).resolve().parents[2] / "src" / "operalta"
SECRET_WORDS = ("digest", "secret", "signature", "mac", "hmac", "otp")
PUBLIC_DIGESTS = {
    "audit": "signed heads and the tree's nodes are published: nobody can learn them by the time of a comparison",
}


@pytest.mark.proves("3.2.1")
@pytest.mark.parametrize(
    ("presented", "expected", "same"),
    [
        ("123456", "123456", True),
        ("123456", "123457", False),
        ("123456", "1234567", False),
        ("", "", True),
        ("", "1", False),
        ("é", "é".encode(), True),
        (b"\x00\xff", b"\x00\xff", True),
        ("\ud800", "?", False),
    ],
)
def test_equal_secrets_only_are_the_same(presented: str | bytes, expected: str | bytes, *, same: bool) -> None:
    assert is_same_secret(presented, expected) is same


def words_for(path: Path) -> tuple[str, ...]:
    room = path.relative_to(SOURCE).parts[0]
    return tuple(word for word in SECRET_WORDS if word != "digest" or room not in PUBLIC_DIGESTS)


def violations(tree: ast.Module, words: tuple[str, ...] = SECRET_WORDS) -> Iterator[int]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name | ast.alias) and _name(node) == "compare_digest":
            yield getattr(node, "lineno", 0)
        if (
            isinstance(node, ast.Compare)
            and any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops)
            and not any(isinstance(side, ast.Constant) for side in (node.left, *node.comparators))
            and any(_is_secret(side, words) for side in (node.left, *node.comparators))
        ):
            yield node.lineno


def _name(node: ast.AST) -> str:
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name) | ast.alias(name=name):
            return name
        case ast.Call(func=function):
            return _name(function)
        case _:
            return ""


def _is_secret(node: ast.AST, words: tuple[str, ...]) -> bool:
    name = _name(node).lower()
    return any(name == word or name.endswith(f"_{word}") for word in words)


@pytest.mark.proves("3.2.1")
def test_no_other_code_compares_secrets() -> None:
    found = {
        f"{path.relative_to(SOURCE)}:{line}"
        for path in SOURCE.rglob("*.py")
        if path != SOURCE / "guard" / "comparison.py"
        for line in violations(ast.parse(path.read_text(encoding="utf-8")), words_for(path))
    }
    assert found == set(), "compare these with operalta.guard.comparison.is_same_secret"


@pytest.mark.parametrize(
    "code",
    [
        "import hmac\nhmac.compare_digest(a, b)",
        "from secrets import compare_digest",
        "if code_digest == stored: ...",
        "ok = row.secret != secret",
        "ok = make_digest(a) == b",
    ],
)
def test_the_check_sees_comparisons(code: str) -> None:
    assert list(violations(ast.parse(code)))
