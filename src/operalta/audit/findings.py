"""What a check of the log may find, and the report that keeps "tampered" apart from "could not check"."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

FINDINGS_KEPT = 100
"""How many findings of one kind a report spells out; one broken leaf can make every later head wrong."""


class FindingKind(StrEnum):
    """One way in which the log is not what it should be, or could not be compared."""

    EDITED_EVENT = "edited event"
    MISSING_EVENT = "missing event"
    UNEXPLAINED_ERASURE = "unexplained erasure"
    MISLABELLED_EVENT = "mislabelled event"
    MISSING_LEAF = "missing leaf"
    MISPLACED_LEAF = "misplaced leaf"
    UNREADABLE_LEAF = "unreadable leaf"
    NUMBER_GAP = "number gap"
    NOT_INCLUDED = "not included"
    WRONG_ROOT = "wrong root"
    CUT_TAIL = "cut tail"
    FORKED_HEAD = "forked head"
    BAD_SIGNATURE = "bad signature"
    MISSING_HEAD = "missing head"
    UNREADABLE_HEAD = "unreadable head"
    UNKNOWN_KEY = "unknown key"
    NO_HEADS = "no heads"
    HEADS_UNAVAILABLE = "heads unavailable"


NOT_CHECKED = frozenset({FindingKind.UNKNOWN_KEY, FindingKind.NO_HEADS, FindingKind.HEADS_UNAVAILABLE})
"""The kinds that say nothing about the log, only that a comparison was impossible."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: what kind, where (a leaf, an event, a head), and what it means in plain words."""

    kind: FindingKind
    where: str
    text: str

    @property
    def tampered(self) -> bool:
        """Whether this shows that something was changed, and not merely left unchecked."""
        return self.kind not in NOT_CHECKED


class LogVerdict(StrEnum):
    """What a check concludes; each has an exit code of its own on the command line."""

    WHOLE = "whole"
    TAMPERED = "tampered"
    COULD_NOT_CHECK = "could not check"


@dataclass(frozen=True, slots=True)
class LogCounts:
    """How much a check went through.

    `proved` events fit their commitment, `erased` ones have no salt any more, `unsealed` ones wait for the
    tree, `beyond_heads` leaves are in the tree but under no head from outside yet.
    """

    leaves: int = 0
    proved: int = 0
    erased: int = 0
    unsealed: int = 0
    heads: int = 0
    beyond_heads: int = 0
    companies: int = 0


@dataclass(frozen=True, slots=True)
class LogReport:
    """The outcome of a check: findings (at most `FINDINGS_KEPT` a kind), how many of each, and counts."""

    findings: tuple[Finding, ...]
    totals: dict[FindingKind, int]
    counts: LogCounts

    @property
    def verdict(self) -> LogVerdict:
        """The conclusion. A sign of tampering outweighs whatever could not be checked besides."""
        if any(kind not in NOT_CHECKED for kind in self.totals):
            return LogVerdict.TAMPERED
        return LogVerdict.COULD_NOT_CHECK if self.totals else LogVerdict.WHOLE


class Findings:
    """Collects findings: counts all, keeps the first `FINDINGS_KEPT` of each kind."""

    def __init__(self) -> None:
        self._kept: list[Finding] = []
        self._totals: Counter[FindingKind] = Counter()

    def note(self, kind: FindingKind, where: str, text: str) -> None:
        """Add one finding."""
        self.extend([Finding(kind, where, text)])

    def extend(self, findings: Iterable[Finding]) -> None:
        """Add several."""
        for finding in findings:
            self._totals[finding.kind] += 1
            if self._totals[finding.kind] <= FINDINGS_KEPT:
                self._kept.append(finding)

    def report(self, counts: LogCounts) -> LogReport:
        """Return the report over everything noted."""
        return LogReport(tuple(self._kept), dict(self._totals), counts)
