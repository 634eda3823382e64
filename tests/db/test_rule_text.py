"""A rule is taken apart at its outermost ANDs and nowhere else; what stands in quotes is no code."""

import pytest

from operalta.db.rule_text import calls, conditions, without_literals

COMPANY = "company_id = ( SELECT scope.scope_company() AS scope_company)"


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("", ()),
        ("true", ("true",)),
        (f"({COMPANY})", (COMPANY,)),
        (f"(({COMPANY}) AND (a = 1))", (COMPANY, "a = 1")),
        (f"(({COMPANY}) AND ((a = 1) AND (b = 2)))", (COMPANY, "a = 1", "b = 2")),
        (f"(({COMPANY}) OR (a = 1))", (f"({COMPANY}) OR (a = 1)",)),
        (f"((({COMPANY}) OR true) AND (a = 1))", (f"({COMPANY}) OR true", "a = 1")),
        (f"({COMPANY}) OR (a = 1) AND (b = 2)", (f"({COMPANY}) OR (a = 1) AND (b = 2)",)),
        (f"(NOT ({COMPANY}))", (f"NOT ({COMPANY})",)),
        ("((a = ') AND ('::text) AND (b = 'OR'::text))", ("a = ') AND ('::text", "b = 'OR'::text")),
        ('(("a) AND (b" = 1) AND (c = 2))', ('"a) AND (b" = 1', "c = 2")),
        ("((brand = 1) AND (orchid = 2))", ("brand = 1", "orchid = 2")),
    ],
)
def test_conditions(rule: str, holds: tuple[str, ...]) -> None:
    assert conditions(rule) == holds


def test_calls_tell_whether_they_are_planned_once() -> None:
    rule = f"(({COMPANY}) AND scope.may_grant(role) AND ( SELECT scope.may('a.b(c)'::text) AS may) AND (now() > x))"
    assert calls(rule) == (("scope", "scope_company", True), ("scope", "may_grant", False), ("scope", "may", True))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("a 'EXECUTE' b", "a   b"),
        ("a 'it''s EXECUTE' b", "a   b"),
        (r"a E'\' EXECUTE' b", "a   b"),
        ("a -- EXECUTE 'x\nb", "a  \nb"),
        ("a /* ' */ EXECUTE /* ' */ b", "a   EXECUTE   b"),
        ("a $x$ EXECUTE $y$ $x$ b", "a   b"),
        ("a $1 + $2 b", "a $1 + $2 b"),
    ],
)
def test_without_literals(text: str, left: str) -> None:
    assert without_literals(text) == left
