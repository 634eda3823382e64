"""Known injections in every parameter of every route alter no outcome: each does what a harmless text would do."""

from collections.abc import Callable, Iterator

import pytest

from tests.isolation.calling import READING, Plots
from tests.isolation.digest import changed, moment, since, snapshot
from tests.isolation.estate import Owner
from tests.isolation.injecting import Injector, faults, outcome
from tests.isolation.injections import CORPUS, USUAL, WILDCARD, twin
from tests.isolation.parameters import Operation, operations
from tests.web.site import Site


def reads(operation: Operation) -> bool:
    return operation.route.method in READING


GROUPS: dict[str, Callable[[Operation], bool]] = {
    "reading": reads,
    "changing a company by its pages": lambda each: not reads(each) and each.route.path.startswith("/c/"),
    "changing a company by the API": lambda each: not reads(each) and "/companies/{company}" in each.route.path,
    "everything else": lambda each: not reads(each) and "{company}" not in each.route.path,
}


@pytest.mark.proves("3.4.3")
@pytest.mark.parametrize("group", GROUPS)
def test_an_injection_does_what_a_harmless_text_does(site: Site, plots: Plots, owner: Owner, group: str) -> None:
    _assert_harmless(site, plots, owner, group, (*USUAL, WILDCARD) if group == "reading" else USUAL[-1:])


@pytest.mark.soak
@pytest.mark.proves("3.4.3")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("group", GROUPS)
def test_every_injection_known_does_what_a_harmless_text_does(
    site: Site, plots: Plots, owner: Owner, group: str
) -> None:
    _assert_harmless(site, plots, owner, group, CORPUS)


def _assert_harmless(site: Site, plots: Plots, owner: Owner, group: str, injections: tuple[str, ...]) -> None:
    injector = Injector(site, owner, plots.startup)
    other = plots.investor
    needles = (other.company_id, other.canary, *other.people.values())
    theirs = snapshot(owner, *needles)
    found: list[object] = []
    for operation in operations(site):
        if operation.parameters and GROUPS[group](operation):
            injector.sign_in()
            if not reads(operation):
                # The first change may find nothing to replace, which the others do.
                injector.send(operation, operation.parameters[-1], "first")
            for injection in injections:
                found += _differing(injector, operation, injection, other.canary)
    assert found == []
    assert changed(theirs, snapshot(owner, *needles)) == {}


def _differing(injector: Injector, operation: Operation, injection: str, canary: str) -> Iterator[object]:
    """Yield what an injection brings about that its harmless twin does not, in answers and in rows."""
    name = f"{operation.route.method} {operation.route.path}"
    start = moment(injector.owner)
    expected = [injector.send(operation, parameter, twin(injection)) for parameter in operation.parameters]
    meant = since(injector.owner, start)
    start = moment(injector.owner)
    observed = [injector.send(operation, parameter, injection) for parameter in operation.parameters]
    happened = since(injector.owner, start)
    for parameter, harmless, hostile in zip(operation.parameters, expected, observed, strict=True):
        place = (name, parameter.place, parameter.name, injection)
        for answer in (harmless, hostile):
            if fault := faults(answer):
                yield (*place, fault, answer.text[:200])
            if canary in answer.text:
                yield (*place, "another company's text")
        if outcome(harmless, operation.route.method) != outcome(hostile, operation.route.method):
            yield (*place, harmless.status, hostile.status, harmless.text[:200], hostile.text[:200])
    if meant != happened:
        yield (name, injection, "changes", meant, happened)
