"""Known injections, each with a harmless twin of the same shape: what means something to SQL alone is replaced.

A backslash stays: it means something to the paths of files as well.
"""

from typing import Final

_TWINS: Final = str.maketrans({"'": "·", '"': "«", ";": ",", "%": "÷", "_": "¬", "$": "£", "`": "·"})

USUAL: Final = ("k' OR '1'='1", "%_k');--%s")
"""Short enough for every field: a condition that always holds; wildcards, an end of the statement, a placeholder."""

WILDCARD: Final = "%"
"""For what searches: a pattern that matches everything. (Underscores stand in texts of our own.)"""

CORPUS: Final = (
    *USUAL,
    WILDCARD,
    "k'",
    "k''",
    "k\\'; --",
    "k' OR 1=1 --",
    "k' OR 1=1 #",
    "k') OR ('k'='k",
    "k')) OR (('k'='k",
    "k' AND 1=2 --",
    "k' OR true; --",
    "k' OR 'k' LIKE '%",
    "k' LIKE '%' ESCAPE '_",
    "1 OR 1=1",
    "0; SELECT 1",
    "k'/**/OR/**/1=1/**/--",
    "k' UNION SELECT NULL --",
    "k' UNION ALL SELECT NULL,NULL,NULL,NULL,NULL --",
    "k' UNION SELECT title, title, title FROM workspace.records --",
    "k'; DROP TABLE workspace.records; --",
    "k'; DELETE FROM workspace.records WHERE 'k'='k",
    "k'; UPDATE tenancy.companies SET name='owned' --",
    "k'; UPDATE tenancy.memberships SET role='founder'; --",
    "k'; SELECT set_config('operalta.scope','x',false); --",
    "k'; COMMIT; BEGIN; --",
    "k'; SELECT pg_sleep(9); --",
    "k' || pg_sleep(9) || '",
    "k' || (SELECT hash FROM identity.passwords LIMIT 1) || '",
    "k' AND 1=CAST((SELECT name FROM tenancy.companies LIMIT 1) AS int) --",
    "k' AND extractvalue(1, 'x') --",
    "k'::int",
    "$$; SELECT 1; $$",
    "$1",
    "%(company)s",
    "%(q)s %s %b %t %%",
    "{0}{company}{!r}",
    ":company",
    'k" OR "1"="1',
    'k"; DROP SCHEMA "workspace CASCADE; --',
    "k`; SELECT 1; --",
    "E'\\\\x27",
    "U&'\\0027'",
    "\\x27 OR 1=1",
    "%27 OR 1=1 --",
    "%2527 OR 1=1",
    "%%",
    "\u02bc OR 1=1",
    "\uff07 OR \uff071\uff07=\uff071",
    "admin'--",
    "COPY (SELECT 1) TO PROGRAM 'id'",
    "'; NOTIFY operalta_run_events, 'x'; --",
)
"""All of them, for the long run."""


def twin(injection: str) -> str:
    """Return a text of the same shape that SQL could not mistake for more than a text."""
    return injection.translate(_TWINS).replace("--", "~~")
