"""The saboteurs of sessions: tokens used twice, sessions that do not end by themselves, tokens of other deployments."""

from collections.abc import Generator

from operalta.assurance.stage import Stage
from tests.saboteurs.saboteurs import replaced, saboteur
from tests.saboteurs.throw_away import WEB, patched

_ROTATE = "signin.rotate_session(uuid, bytea, bytea, bytea, bytea)"


@saboteur("2.3.1", spares=("2.3.2", "2.3.3", "3.3.3"), soak=True)
def a_refresh_token_used_twice_ends_nothing(stage: Stage) -> Generator[None]:
    reused = (
        "UPDATE identity.sessions SET ended_at = now(), ended_reason = 'its refresh token was used twice'"
        " WHERE id = session;"
    )
    with replaced(stage, _ROTATE, (reused, "")):
        yield


@saboteur("2.3.3", spares=("2.3.1", "2.3.2", "3.3.3"), soak=True)
def a_renewed_session_has_a_month(stage: Stage) -> Generator[None]:
    with replaced(stage, _ROTATE, ("now() + interval '7 days'", "now() + interval '30 days'")):
        yield


@saboteur("3.3.3", "7.2.4", spares=("2.3.1", "2.3.4"), soak=True)
def tokens_of_another_profile_are_taken(stage: Stage) -> Generator[None]:
    # They are made as development makes them, and so taken from there.
    patch = """
from operalta import app
issuer_name = app.issuer_name
app.issuer_name = lambda address, profile: issuer_name(address, "local")
"""
    with patched(stage, WEB, patch):
        yield
