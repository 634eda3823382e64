"""A fuzzer that is driven by the API's own description: no fault of ours, and no answer it does not mention."""

from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi import checks as openapi_checks

from tests.web.conftest import House
from tests.web.site import Site

# The library's checks are generic in a type that it does not export. No 500 is described, so one would be found; a
# 503 is, which a busy machine may really answer.
CHECKS: tuple[Any, ...] = tuple(
    getattr(openapi_checks, name)
    for name in ("status_code_conformance", "content_type_conformance", "response_schema_conformance")
)
SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
BOUNDS = settings(max_examples=8, deadline=None, derandomize=True, database=None, suppress_health_check=SLOW)


@pytest.mark.proves("3.4.1")
def test_no_input_provokes_a_fault_or_an_answer_that_is_not_described(site: Site, house: House) -> None:
    description: Any = schemathesis.openapi.from_dict(site.visitor().get("/api/openapi.json").json)
    seen: Counter[int] = Counter()
    found = [each for result in description.get_all_operations() for each in _fuzzed(result.ok(), site, house, seen)]
    assert found == []
    assert {200, 201, 404, 422} <= seen.keys()
    assert seen[401] < sum(seen.values()) // 4


def _fuzzed(operation: Any, site: Site, house: House, seen: Counter[int]) -> list[str]:  # noqa: ANN401 - the library's own type is hidden
    # A session of its own for each operation: some of them end it.
    jar = site.member(house.members["founder"]).jar
    headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in jar.items()), "Host": f"localhost:{site.port}"}
    found: list[str] = []

    @BOUNDS
    @given(case=operation.as_strategy())
    def run(case: Any) -> None:  # noqa: ANN401 - as above
        if "company" in case.path_parameters:
            case.path_parameters["company"] = house.slug
        answer = case.call(base_url=f"http://127.0.0.1:{site.port}", headers=headers)
        seen[answer.status_code] += 1
        try:
            case.validate_response(answer, checks=CHECKS)
        except (AssertionError, ExceptionGroup) as fault:
            found.append(f"{operation.label}: {fault}")

    run()
    return found
