"""Reads the text of rules and functions as the server writes it out. Pure: text in, parts out."""

import re

_LITERALS = re.compile(
    r"""
    --[^\n]*                                # a comment
    | /\*.*?\*/
    | \b[eE]'(?:\\.|''|[^'\\])*'            # text with escapes
    | '(?:''|[^'])*'
    | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$       # text between dollars
    """,
    re.VERBOSE | re.DOTALL,
)
_CALL = re.compile(r"""("(?:[^"]|"")+"|\w+)\.("(?:[^"]|"")+"|\w+)\(""")


def without_literals(text: str) -> str:
    """Return `text` with every comment and every piece of text in quotes taken out."""
    return _LITERALS.sub(" ", text)


def conditions(rule: str) -> tuple[str, ...]:
    """Return the conditions that must all hold for `rule` to hold: the parts of its outermost ANDs, unwrapped.

    A rule that is anything else at its top, such as an OR, is one condition as a whole.
    """
    bare = _unwrapped(rule.strip())
    if not bare:
        return ()
    parts = _split_at_and(bare)
    if len(parts) == 1:
        return (bare,)
    return tuple(condition for part in parts for condition in conditions(part))


def calls(text: str) -> tuple[tuple[str, str, bool], ...]:
    """Return every call of a function that is written with its schema: schema, name, and whether it is planned once.

    It is where it stands alone in a sub-select: `( SELECT scope.scope_company() …`.
    """
    bare = without_literals(text)
    return tuple((found[1], found[2], bare[: found.start()].endswith("( SELECT ")) for found in _CALL.finditer(bare))


def _unwrapped(rule: str) -> str:
    """Take away brackets that hold all of the rule."""
    while rule.startswith("(") and _depths(rule)[-1] == 0 and min(_depths(rule)[:-1]) > 0:
        rule = rule[1:-1].strip()
    return rule


def _split_at_and(rule: str) -> list[str]:
    depths = _depths(rule)
    parts: list[str] = []
    start = 0
    for found in re.finditer(r"\bAND\b|\bOR\b", rule):
        if depths[found.start()] != 0:
            continue
        if found.group() == "OR":
            return [rule]
        parts.append(rule[start : found.start()])
        start = found.end()
    return [*parts, rule[start:]]


def _depths(rule: str) -> list[int]:
    """Return how many brackets are open after each character; quotes count as brackets, and hide those inside."""
    depths: list[int] = []
    depth = 0
    quote = ""
    for character in rule:
        if quote:
            if character == quote:
                quote = ""
                depth -= 1
        elif character in "'\"":
            quote = character
            depth += 1
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        depths.append(depth)
    return depths
