"""Adding what was found beside a check to the check's own report."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from operalta.audit.findings import FINDINGS_KEPT, Finding, LogReport


def with_findings(report: LogReport, found: Iterable[Finding]) -> LogReport:
    """Return the report with further findings, of which it spells out the first `FINDINGS_KEPT`."""
    more = list(found)
    totals = Counter(report.totals)
    totals.update(finding.kind for finding in more)
    return replace(report, findings=(*report.findings, *more[:FINDINGS_KEPT]), totals=dict(totals))
