"""The scope that the database signs: what it opens, and that it cannot be forged, replayed or kept."""

import psycopg
import pytest

from operalta.db.errors import NoSuchCompany, SessionEnded
from operalta.db.scope import Origin, Scope, open_company_scope, open_person_scope
from tests.conftest import Pools, World


async def _companies(scope: Scope) -> list[str]:
    return [row["slug"] for row in await scope.all("SELECT slug FROM tenancy.companies")]


@pytest.mark.proves("2.4.2", "2.5.0")
async def test_a_scope_shows_its_own_company_and_no_other(pools: Pools, world: World) -> None:
    first, second = world.company(), world.company()
    member = world.member(first, "advisor")
    world.member(second)
    async with open_company_scope(pools.web, member.session_secret, first[1], Origin()) as scope:
        assert scope.actor.role == "advisor"
        assert await _companies(scope) == [first[1]]
    with pytest.raises(NoSuchCompany):
        async with open_company_scope(pools.web, member.session_secret, second[1], Origin()):
            pass


async def test_a_dead_or_invented_session_opens_nothing(pools: Pools) -> None:
    for secret in ("invented", "", "\x00", "x" * 10_000):
        with pytest.raises(SessionEnded):
            async with open_person_scope(pools.web, secret, Origin()):
                pass


@pytest.mark.proves("2.4.2")
async def test_a_scope_value_written_by_hand_gives_no_rows(pools: Pools, world: World) -> None:
    company = world.company()
    member = world.member(company)
    async with open_company_scope(pools.web, member.session_secret, company[1], Origin()) as scope:
        row = await scope.one("SELECT current_setting('operalta.scope') AS value")
        assert row is not None
        genuine: str = row["value"]
        other = world.company()
        forged = genuine.replace(str(company[0]), str(other[0]))
        await scope.execute("SELECT set_config('operalta.scope', %(value)s, true)", {"value": forged})
        assert await _companies(scope) == []
        await scope.execute("SELECT set_config('operalta.scope', %(value)s, true)", {"value": genuine})
        assert await _companies(scope) == [company[1]]
        await scope.execute(
            "SELECT set_config('operalta.scope', %(value)s, true)", {"value": genuine.replace("founder", "observer")}
        )
        assert await _companies(scope) == []
    async with pools.web.acquire() as connection:
        await connection.execute("SELECT set_config('operalta.scope', %s, false)", (genuine,))
        cursor = await connection.execute("SELECT slug FROM tenancy.companies")
        assert await cursor.fetchall() == []
    async with pools.web.acquire() as connection:
        cursor = await connection.execute("SELECT current_setting('operalta.scope', true) AS left_behind")
        row = await cursor.fetchone()
        assert row is not None
        assert not row["left_behind"]


async def test_the_serving_role_cannot_read_the_key_or_bind_a_scope(pools: Pools) -> None:
    async with pools.web.acquire() as connection:
        for attempt in (
            "SELECT * FROM scope.key",
            "SELECT scope.bind('person', NULL, NULL, NULL, NULL, NULL, NULL, true)",
            "SELECT scope.signature('x')",
            "SELECT * FROM identity.passwords",
            "SELECT refresh_digest FROM identity.sessions",
            "SELECT signin.credentials('a@b.example')",
            "SET ROLE operalta_definer",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute(attempt)  # pyright: ignore[reportArgumentType] - a list of literals
            await connection.rollback()
