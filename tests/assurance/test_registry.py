import asyncio
from pathlib import Path
from typing import cast

import pytest

from operalta.assurance.registry import ProbeContext, ProbeRegistry, RegisteredProbe, run_probe
from operalta.assurance.rules import Evidence, Observations, Verdict
from operalta.kernel.errors import NotFound
from operalta.terms.clauses import UnknownClause
from operalta.terms.registry import CodeReference


class Deployment:
    """As much of a deployment as these probes ask of it."""

    commit = "c0ffee"
    base_url = "http://127.0.0.1:1"
    root = Path()

    def __init__(self, *, live: bool = False) -> None:
        self.live = live


async def run(probe: RegisteredProbe, *, live: bool = False, seconds: float = 5) -> Evidence:
    (evidence,) = await run_probe(probe, cast("ProbeContext", Deployment(live=live)), seconds=seconds, code={})
    return evidence


async def looks_well(context: ProbeContext) -> Observations:
    seen = Observations()
    seen.expect("the commit is known", context.commit == "c0ffee", context.commit)
    return seen


async def test_a_probe_gives_evidence_for_each_clause_it_watches() -> None:
    registry = ProbeRegistry()
    assert registry.probe("3.2.2", "2.2.5")(looks_well) is looks_well
    assert list(registry.all()) == ["2.2.5", "3.2.2"]
    code = {"2.2.5": (CodeReference("module", "name", "file.py", 3),)}
    registered = registry.all()["2.2.5"]
    context = cast("ProbeContext", Deployment())
    first, second = await run_probe(registered, context, code=code)
    assert (first.clause, second.clause) == ("3.2.2", "2.2.5")
    assert first.outcome == second.outcome
    assert first.outcome.verdict is Verdict.PASS
    assert first.commit == "c0ffee"
    assert (first.code, second.code) == ((), code["2.2.5"])
    assert first.duration_seconds >= 0


def test_a_clause_has_one_probe_at_most() -> None:
    registry = ProbeRegistry()
    registry.probe("2.2.2")(looks_well)
    with pytest.raises(ValueError, match="already"):
        registry.probe("2.2.1", "2.2.2")(looks_well)
    assert list(registry.all()) == ["2.2.2"]


def test_unknown_clauses_and_malformed_registrations_are_refused() -> None:
    registry = ProbeRegistry()
    with pytest.raises(UnknownClause):
        registry.probe("2.2.99")
    for clauses in ((), ("2.2.2", "2.2.2")):
        with pytest.raises(ValueError, match="each once"):
            registry.probe(*clauses)

    def not_async(_context: ProbeContext) -> Observations:
        return Observations()

    with pytest.raises(TypeError):
        registry.probe("2.2.2")(not_async)  # pyright: ignore[reportArgumentType] - the mistake under test
    assert registry.all() == {}


async def test_what_a_probe_raises_is_an_error_that_quotes_nothing() -> None:
    async def breaks(_context: ProbeContext) -> Observations:
        raise RuntimeError("password hunter2")

    evidence = await run(RegisteredProbe(("2.2.2",), breaks, harmless=False))
    assert evidence.outcome.verdict is Verdict.ERROR
    assert "hunter2" not in evidence.outcome.reason
    assert evidence.outcome.reason.startswith("The probe stopped: RuntimeError at test_registry.py:")


async def test_a_refusal_that_stops_a_probe_is_told_in_its_public_words() -> None:
    async def refused(_context: ProbeContext) -> Observations:
        raise NotFound

    evidence = await run(RegisteredProbe(("2.2.2",), refused, harmless=False))
    assert evidence.outcome.reason.endswith("(There is nothing here, or it is not yours to see).")


async def test_a_probe_that_hangs_is_ended() -> None:
    async def hangs(_context: ProbeContext) -> Observations:
        await asyncio.Event().wait()
        return Observations()

    evidence = await run(RegisteredProbe(("2.2.2",), hangs, harmless=False), seconds=0.01)
    assert evidence.outcome.verdict is Verdict.ERROR
    assert evidence.outcome.reason == "The probe was not done after 0.01 seconds."


async def test_a_time_out_of_the_probes_own_is_told_as_such() -> None:
    async def gives_up(_context: ProbeContext) -> Observations:
        raise TimeoutError

    evidence = await run(RegisteredProbe(("2.2.2",), gives_up, harmless=False))
    assert evidence.outcome.reason.startswith("The probe stopped: TimeoutError")


async def test_only_harmless_probes_run_where_people_work() -> None:
    for harmless, expected in ((False, Verdict.NOT_RUN), (True, Verdict.PASS)):
        evidence = await run(RegisteredProbe(("2.2.2",), looks_well, harmless), live=True)
        assert evidence.outcome.verdict is expected
