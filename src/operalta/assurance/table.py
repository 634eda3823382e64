"""What people see of a verification on the terminal: a bar while it runs, a table of all clauses afterwards."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from operalta.assurance.rules import Evidence, Verdict
from operalta.assurance.verify import Report
from operalta.terms.clauses import clauses

_COLOURS = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.ERROR: "bold yellow",
    Verdict.NOT_RUN: "dim",
    Verdict.ATTESTED: "cyan",
    Verdict.NOT_APPLICABLE: "cyan",
}
_LONGEST_OBSERVATION = 300


@contextmanager
def watching(wanted: Sequence[str]) -> Generator[Callable[[Evidence], None]]:
    """Show a bar on standard error while clauses are observed; yields what is to be called with each evidence."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("starting a throw-away deployment", total=len(wanted))

        def show(evidence: Evidence) -> None:
            progress.update(bar, advance=1, description=f"{evidence.clause} {evidence.outcome.verdict.value}")

        yield show


def show(report: Report, *, complete: bool, console: Console | None = None) -> None:
    """Print the verdicts; with `complete`, clauses that no probe observes too, as what they are."""
    target = console or Console()
    by_clause = {each.clause: each for each in report.evidence}
    table = Table("Clause", "Verdict", "Seconds", "What it says, and what does not hold", box=None, pad_edge=False)
    for each in clauses():
        evidence = by_clause.get(each.id)
        if evidence is None:
            if complete:
                table.add_row(f"[dim]{each.id}[/]", "[dim]not run[/]", "", f"[dim]{escape(each.says)}[/]")
            continue
        verdict = evidence.outcome.verdict
        text = escape("\n".join([each.says, *_broken(evidence)]))
        table.add_row(each.id, f"[{_COLOURS[verdict]}]{verdict.value}[/]", f"{evidence.duration_seconds:.1f}", text)
    target.print(table)
    counts = ", ".join(
        f"{len(report.with_verdict(verdict))} {verdict.value}" for verdict in Verdict if report.with_verdict(verdict)
    )
    without = len(clauses()) - len(by_clause)
    target.print(f"\n{counts or 'nothing was observed'}; {without} clauses not observed. Commit: {report.commit}")


def _broken(evidence: Evidence) -> list[str]:
    if evidence.outcome.verdict is Verdict.ERROR:
        return [f"  ! {evidence.outcome.reason}"]
    return [
        f"  ✗ {each.claim} — {each.observed}"[:_LONGEST_OBSERVATION]
        for each in evidence.outcome.observations
        if not each.holds
    ]
