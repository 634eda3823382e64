"""Artifacts on the real database: versions that stay, of two who revise the second looks first, privacy, finding."""

import asyncio

import psycopg
import pytest

from operalta.db.pools import Pool
from operalta.db.scope import open_run_scope
from operalta.kernel.errors import InvalidInput, NotAllowed, NotFound
from operalta.workspace.artifacts import service
from operalta.workspace.artifacts.rules import (
    LONGEST_CONTENT,
    MOST_COLUMNS,
    MOST_ROWS,
    Artifact,
    ArtifactKind,
    as_file,
    checked_content,
    difference,
    table_rows,
)
from operalta.workspace.errors import ArtifactArchived, ArtifactChangedMeanwhile, NoSuchArtifact
from tests.conftest import Member, Pools
from tests.workspace.conftest import Look, Office, Opening, RunOpening


async def _made(
    scope_of: Opening, member: Member, title: str = "Plan", content: str = "We sell.", *, private: bool = False
) -> Artifact:
    async with scope_of(member) as scope:
        return await service.create(scope, title, "document", content, private=private)


async def _revised(scope_of: Opening, member: Member, made: Artifact, content: str, version: int) -> Artifact:
    async with scope_of(member) as scope:
        return await service.revise(scope, made.id, content, version, "Because.")


# ── What is written down ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("content", ["", "  \n", "x" * (LONGEST_CONTENT + 1), "a\x00b", "a\ud800b"])
def test_a_text_is_bounded_and_text(content: str) -> None:
    with pytest.raises(InvalidInput):
        checked_content(ArtifactKind.TEXT, content)


@pytest.mark.parametrize(
    "content",
    ['a,"b', '"a"b,c', "\n\n", ",".join("x" * (MOST_COLUMNS + 1)), "x\n" * (MOST_ROWS + 1)],
    ids=["open quote", "text behind a quote", "no rows", "too wide", "too long"],
)
def test_what_is_no_table_is_refused(content: str) -> None:
    with pytest.raises(InvalidInput):
        checked_content(ArtifactKind.TABLE, content)


def test_a_table_leaves_without_formulas_and_other_kinds_as_they_are() -> None:
    assert table_rows('plan,"a, b"\n\nyearly,2\n') == [["plan", "a, b"], ["yearly", "2"]]
    table = as_file("Teams 2026/2", ArtifactKind.TABLE, "plan,teams\n=1+1,@x")
    assert (table.name, table.content_type) == ("Teams 2026-2.csv", "text/csv")
    assert table.content == b'"plan","teams"\r\n"\'=1+1","\'@x"\r\n'
    assert as_file("T", ArtifactKind.DOCUMENT, "=1").content == b"=1"


def test_a_difference_shows_each_change_and_nothing_else() -> None:
    assert difference("a\nb", "a\nb") == ""
    assert difference("a\nb\nc", "a\nx\nc").splitlines() == ["@@ -1,3 +1,3 @@", " a", "-b", "+x", " c"]
    long = "\n".join(str(number) for number in range(3_000))
    assert difference(long, "x").count("\n-") == 2_999


# ── Versions ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.proves("2.5.3")
async def test_every_version_is_kept_and_told_apart(office: Office, scope_of: Opening, look: Look) -> None:
    made = await _made(scope_of, office.founder)
    second = await _revised(scope_of, office.advisor, made, "We sell by the year.", 1)
    same = await _revised(scope_of, office.founder, made, "We sell by the year.", 2)
    assert (made.version, second.version, same.version) == (1, 2, 2)
    async with scope_of(office.investor) as scope:
        old, now = await service.get(scope, made.id, 1), await service.get(scope, made.id)
        assert (old.shown.content, now.shown.content) == ("We sell.", "We sell by the year.")
        assert (now.shown.note, now.shown.changed_by, now.artifact.created_by) == (
            "Because.",
            office.advisor.person_id,
            office.founder.person_id,
        )
        told = (1, 2, "@@ -1 +1 @@\n-We sell.\n+We sell by the year.")
        assert await service.compare(scope, made.id) == await service.compare(scope, made.id, 1, 2) == told
        first = await service.list_versions(scope, made.id, limit=1)
        rest = await service.list_versions(scope, made.id, first.next_cursor)
        assert [line.version for line in (*first.items, *rest.items)] == [2, 1]
        for version in (0, 3, 2**31):
            with pytest.raises(NotFound):
                await service.get(scope, made.id, version)
    assert look.actions(office.founder.company_id).count("artifact.written") == 2


@pytest.mark.proves("2.4.2")
async def test_not_even_sql_changes_a_version_or_chooses_its_number(office: Office, scope_of: Opening) -> None:
    made = await _made(scope_of, office.founder)
    for statement in (
        "UPDATE workspace.artifact_versions SET content = 'x'",
        "DELETE FROM workspace.artifact_versions",
        "INSERT INTO workspace.artifact_versions SELECT * FROM workspace.artifact_versions",
        "UPDATE workspace.artifacts SET version = 7",
        "UPDATE workspace.artifacts SET private_to = created_by",
        "DELETE FROM workspace.artifacts",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with scope_of(office.founder) as scope:
                await scope.execute(statement)
    async with scope_of(office.founder) as scope:
        await scope.execute(
            "UPDATE workspace.artifacts SET content = 'by SQL' WHERE id = %(id)s AND changed_by = %(person)s",
            {"id": made.id, "person": office.founder.person_id},
        )
        assert [line.version for line in (await service.list_versions(scope, made.id)).items] == [2, 1]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with scope_of(office.advisor) as scope:
            await scope.execute("UPDATE workspace.artifacts SET content = 'in the name of another'")


async def test_of_two_who_revise_the_second_has_to_look(office: Office, scope_of: Opening) -> None:
    made = await _made(scope_of, office.founder)
    await _revised(scope_of, office.founder, made, "Hers", 1)
    with pytest.raises(ArtifactChangedMeanwhile) as refusal:
        await _revised(scope_of, office.advisor, made, "His", 1)
    assert "Version 2" in refusal.value.public_text
    ended = await asyncio.gather(
        *(_revised(scope_of, office.founder, made, f"At once {number}", 2) for number in range(5)),
        return_exceptions=True,
    )
    assert sum(isinstance(each, Artifact) for each in ended) == 1
    assert sum(isinstance(each, ArtifactChangedMeanwhile) for each in ended) == 4
    async with scope_of(office.founder) as scope:
        assert (await service.get(scope, made.id)).artifact.version == 3


async def test_the_archive_keeps_all_and_lets_nothing_be_changed(office: Office, scope_of: Opening, look: Look) -> None:
    made = await _made(scope_of, office.founder, content="A zebra")
    async with scope_of(office.advisor) as scope:
        assert (await service.archive(scope, made.id)).archived_at
        assert (await service.archive(scope, made.id)).archived_at
        assert (await service.list_artifacts(scope)).items == ()
        assert await service.search(scope, "zebra") == ()
        assert [each.id for each in (await service.list_artifacts(scope, archived=True)).items] == [made.id]
        with pytest.raises(ArtifactArchived):
            await service.revise(scope, made.id, "x", 1)
        with pytest.raises(NoSuchArtifact):
            await service.find_named(scope, "Plan")
        await service.restore(scope, made.id)
        assert (await service.get(scope, made.id)).shown.content == "A zebra"
        assert (await service.rename(scope, made.id, "Better plan")).title == "Better plan"
    actions = [each for each in look.actions(office.founder.company_id) if each.startswith("artifact.")]
    assert actions == ["artifact.written", "artifact.archived", "artifact.restored", "artifact.changed"]


# ── Who sees and writes what ───────────────────────────────────────────────────────────────────────────


@pytest.mark.proves("2.4.2", "5.1.1")
async def test_a_private_artifact_does_not_exist_for_colleagues(
    office: Office, scope_of: Opening, run_for: RunOpening
) -> None:
    made = await _made(scope_of, office.advisor, "Secret plan", "A zebra", private=True)
    for member in (office.founder, office.investor, office.stranger):
        async with scope_of(member) as scope:
            for attempt in (
                service.get(scope, made.id),
                service.get(scope, made.id, 1),
                service.find_named(scope, str(made.id)),
                service.find_named(scope, "Secret plan"),
                service.list_versions(scope, made.id),
                service.compare(scope, made.id, 1, 1),
                service.download(scope, made.id),
            ):
                with pytest.raises(NoSuchArtifact):
                    await attempt
            assert (await service.list_artifacts(scope)).items == ()
            assert (await service.list_artifacts(scope, "zebra")).items == ()
            assert await service.search(scope, "zebra") == ()
            assert await scope.all("SELECT * FROM workspace.search_artifacts('zebra', 10)") == []
            assert await scope.all("SELECT content FROM workspace.artifact_versions") == []
            row = await scope.one("SELECT workspace.open_artifact(%(id)s) AS opened", {"id": made.id})
            assert row is not None
            assert row["opened"] is False
    for member in (office.founder, office.stranger):
        async with scope_of(member) as scope:
            for attempt in (
                service.revise(scope, made.id, "x", 1),
                service.rename(scope, made.id, "x"),
                service.archive(scope, made.id),
                service.open_to_company(scope, made.id),
            ):
                with pytest.raises(NoSuchArtifact):
                    await attempt
    async with run_for(office.founder) as (scope, _):
        assert await service.search(scope, "zebra") == ()
    async with run_for(office.advisor) as (scope, _):
        assert [each.id for each in await service.search(scope, "zebra")] == [made.id]


@pytest.mark.proves("2.4.2", "5.1.1")
async def test_a_run_in_an_open_conversation_is_shown_nothing_private(
    office: Office, scope_of: Opening, look: Look, pools: Pools
) -> None:
    made = await _made(scope_of, office.advisor, "Secret plan", "A zebra", private=True)
    shared = await _made(scope_of, office.advisor, "Open plan", "Another zebra")
    worker: Pool = pools.worker
    _, run, claim = look.start_run(office.advisor, private=False)
    async with open_run_scope(worker, run, claim) as scope:
        assert [each.id for each in await service.search(scope, "zebra")] == [shared.id]
        assert [each.id for each in (await service.list_artifacts(scope)).items] == [shared.id]
        assert len(await scope.all("SELECT * FROM workspace.artifact_versions")) == 1
        with pytest.raises(NoSuchArtifact):
            await service.get(scope, made.id)
        with pytest.raises(InvalidInput):
            await service.create(scope, "Hidden", "text", "From here nobody would see it.")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with open_run_scope(worker, run, claim) as scope:
            await scope.execute(
                "INSERT INTO workspace.artifacts (company_id, id, title, kind, content, private_to, created_by,"
                " changed_by, run_id) VALUES (%(company)s, gen_random_uuid(), 'Hidden', 'text', 'x', %(person)s,"
                " %(person)s, %(person)s, %(run)s)",
                {"company": scope.company, "person": scope.actor.person_id, "run": run},
            )


@pytest.mark.proves("2.4.2")
async def test_its_person_alone_opens_a_private_one_with_all_its_versions(
    office: Office, scope_of: Opening, run_for: RunOpening, look: Look
) -> None:
    made = await _made(scope_of, office.advisor, private=True)
    await _revised(scope_of, office.advisor, made, "We sell by the year.", 1)
    async with run_for(office.advisor) as (scope, _):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await service.open_to_company(scope, made.id)
    async with scope_of(office.advisor) as scope:
        assert (await service.open_to_company(scope, made.id)).private_to is None
        assert (await service.open_to_company(scope, made.id)).private_to is None
    async with scope_of(office.investor) as scope:
        assert (await service.get(scope, made.id, 1)).shown.content == "We sell."
        assert (await service.get(scope, made.id)).artifact.version == 2
    assert look.actions(office.advisor.company_id).count("artifact.opened") == 1


@pytest.mark.proves("2.5.3")
async def test_a_role_is_asked_by_the_service_and_by_the_database(office: Office, scope_of: Opening) -> None:
    made = await _made(scope_of, office.founder)
    for member in (office.investor, office.observer):
        async with scope_of(member) as scope:
            for attempt in (
                service.create(scope, "Mine", "text", "x"),
                service.revise(scope, made.id, "x", 1),
                service.rename(scope, made.id, "x"),
                service.archive(scope, made.id),
                service.restore(scope, made.id),
                service.open_to_company(scope, made.id),
            ):
                with pytest.raises(NotAllowed):
                    await attempt
            assert await scope.execute("UPDATE workspace.artifacts SET title = 'x'") == 0
    async with scope_of(office.observer) as scope:
        for attempt in (
            service.get(scope, made.id),
            service.list_artifacts(scope),
            service.search(scope, "sell"),
            service.find_named(scope, "Plan"),
            service.list_versions(scope, made.id),
        ):
            with pytest.raises(NotAllowed):
                await attempt
        assert await scope.all("SELECT id FROM workspace.artifacts") == []
        assert await scope.all("SELECT * FROM workspace.search_artifacts('sell', 10)") == []


# ── Finding ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.proves("2.4.2", "5.1.1")
async def test_words_are_found_in_the_title_and_in_what_it_says_now(office: Office, scope_of: Opening) -> None:
    by_title = await _made(scope_of, office.founder, "Zebras", "Nothing else.")
    by_content = await _made(scope_of, office.founder, "Animals", "One zebra and a lion.")
    await _made(scope_of, office.stranger, "Zebra of another company", "A zebra.")
    await _revised(scope_of, office.founder, await _made(scope_of, office.founder, "Old", "zebra"), "None", 1)
    async with scope_of(office.founder) as scope:
        assert [each.id for each in await service.search(scope, "zebra")] == [by_title.id, by_content.id]
        assert [each.id for each in await service.search(scope, "lion tiger")] == [by_content.id]
        assert await service.search(scope, " ") == ()
        listed = await service.list_artifacts(scope, "zebra", limit=1)
        more = await service.list_artifacts(scope, "zebra", listed.next_cursor)
        assert [each.id for each in (*listed.items, *more.items)] == [by_content.id, by_title.id]
        assert (await service.find_named(scope, "  ANIMALS ")).id == by_content.id
        assert (await service.find_named(scope, str(by_title.id))).id == by_title.id
        with pytest.raises(NoSuchArtifact):
            await service.find_named(scope, "Zebra of another company")
    await _made(scope_of, office.founder, "animals", "Again.")
    async with scope_of(office.founder) as scope:
        with pytest.raises(InvalidInput, match="by its id"):
            await service.find_named(scope, "Animals")
        for cursor in ("x", "WyJ4Il0", "WyIxIiwiMiJd"):
            with pytest.raises(InvalidInput):
                await service.list_versions(scope, by_title.id, cursor)


async def test_what_agents_wrote_is_told_apart_for_good(office: Office, scope_of: Opening, run_for: RunOpening) -> None:
    async with run_for(office.advisor) as (scope, _):
        made = await service.create(scope, "Plan", "document", "From a page of the web.")
        assert (made.by_people_alone, made.run_id) == (False, scope.actor.run_id)
    mended = await _revised(scope_of, office.advisor, made, "From a page.", 1)
    assert (mended.by_people_alone, mended.run_id) == (False, None)
    own = await _made(scope_of, office.advisor)
    assert own.by_people_alone
