"""Every probe is worth what its saboteur shows: exactly the clauses that one declares turn red, and green again."""

import pytest

from operalta.assurance.rules import Verdict
from operalta.assurance.stage import Stage
from operalta.assurance.verify import Report, all_probes, run_probes
from tests.saboteurs import agents, commands, companies, credentials, egress, files, saboteurs, second_factors, sessions
from tests.saboteurs.saboteurs import SABOTEURS, Saboteur, at_work

pytestmark = [pytest.mark.xdist_group("deployment"), pytest.mark.timeout(1200)]
MODULES = (agents, commands, companies, credentials, egress, files, saboteurs, second_factors, sessions)
PARAMETERS = [pytest.param(each, id=each.name, marks=[pytest.mark.soak] if each.soak else []) for each in SABOTEURS]


def red(report: Report) -> dict[str, str]:
    return {
        each.clause: f"{each.outcome.verdict}: {each.outcome.reason}"
        for each in report.evidence
        if each.outcome.verdict is not Verdict.PASS
    }


@pytest.mark.parametrize("chosen", PARAMETERS)
async def test_exactly_what_is_broken_turns_red(stage: Stage, chosen: Saboteur) -> None:
    with at_work(chosen, stage):
        broken = await run_probes(stage, clauses=chosen.reddens | chosen.spares, code={})
    assert red(broken).keys() == chosen.reddens, red(broken)
    verdicts = {each.outcome.verdict for each in broken.evidence if each.clause in chosen.reddens}
    assert verdicts == {Verdict.FAIL}, red(broken)
    mended = await run_probes(stage, clauses=chosen.reddens, code={})
    assert red(mended) == {}


def test_saboteurs_break_only_what_is_probed() -> None:
    assert {each.act.__module__ for each in SABOTEURS} == {module.__name__ for module in MODULES}
    known = all_probes().all().keys()
    for each in SABOTEURS:
        assert each.reddens | each.spares <= known, each.name
        assert not each.reddens & each.spares, each.name
