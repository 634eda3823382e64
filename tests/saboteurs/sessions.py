"""The saboteurs of sessions: tokens used twice, and sessions that do not end by themselves."""

from collections.abc import Generator

from operalta.assurance.stage import Stage
from tests.saboteurs.saboteurs import replaced, saboteur

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
