"""Saboteurs of what keeps companies apart: rights, gates, visits, queries."""

from collections.abc import Generator

from operalta.assurance.stage import Stage
from tests.saboteurs.saboteurs import as_owner, replaced, saboteur
from tests.saboteurs.throw_away import WEB, patched


@saboteur("7.2.3", spares=("2.4.1", "2.4.3", "2.5.2"))
def the_web_process_may_read_passwords(stage: Stage) -> Generator[None]:
    as_owner(stage, "GRANT SELECT ON identity.passwords TO operalta_web")
    try:
        yield
    finally:
        as_owner(stage, "REVOKE SELECT ON identity.passwords FROM operalta_web")


@saboteur("7.2.3", spares=("2.4.1", "2.5.0"), soak=True)
def a_visit_never_ends(stage: Stage) -> Generator[None]:
    function = "scope.open_staff_scope(text, text)"
    with replaced(stage, function, ("AND visit.ended_at IS NULL AND visit.expires_at > now()", "")):
        yield


@saboteur("7.2.3", spares=("2.4.1", "2.2.3"), soak=True)
def staff_need_no_reason(stage: Stage) -> Generator[None]:
    patch = """
from operalta.tenancy import staff
staff.visit_reason = lambda text: text.ljust(10, "-")
"""
    with patched(stage, WEB, patch):
        yield


@saboteur("2.4.3", "7.2.3", spares=("2.4.1", "2.4.4", "2.5.2"))
def the_web_process_may_do_what_jobs_do(stage: Stage) -> Generator[None]:
    as_owner(
        stage,
        "GRANT USAGE ON SCHEMA elevated TO operalta_web",
        "SET ROLE operalta_definer",
        "GRANT EXECUTE ON FUNCTION elevated.take_message TO operalta_web",
    )
    try:
        yield
    finally:
        as_owner(
            stage,
            "REVOKE USAGE ON SCHEMA elevated FROM operalta_web",
            "SET ROLE operalta_definer",
            "REVOKE EXECUTE ON FUNCTION elevated.take_message FROM operalta_web",
        )


@saboteur("2.4.4", spares=("2.4.3", "2.5.5", "7.2.3"), soak=True)
def deliveries_leave_no_trace(stage: Stage) -> Generator[None]:
    function = "elevated.take_message(uuid)"
    with replaced(stage, function, ("'elevated.used', 'message', message::text", "'elevated.used', 'message', NULL")):
        yield


@saboteur("3.4.3", spares=("2.4.1", "2.5.0"), soak=True)
def queries_are_put_together(stage: Stage) -> Generator[None]:
    patch = """
from operalta.db.scope import Scope
ask = Scope.all
async def put_together(self, query, parameters=None):
    text = (parameters or {}).get("query")
    if isinstance(text, str):
        query = query.replace("%(query)s", "'" + text.replace("%", "%%") + "'")
    return await ask(self, query, parameters)
Scope.all = put_together
"""
    with patched(stage, WEB, patch):
        yield
