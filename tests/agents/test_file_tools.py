"""What agents do with files: adding, moving, the bin; folders declared for the agent and for the runs it comes from."""

from uuid import UUID

import pytest

from operalta.workspace.files import deletion, service
from tests.agents.conftest import Desk, Office, calling
from tests.conftest import Member

NOT_DECLARED = "This lies outside the directories that were opened for this work"


async def bring(desk: Desk, member: Member, *paths: str) -> None:
    async with desk.scope(member) as scope:
        for path in paths:
            await service.upload(scope, desk.files, path, f"zebra in {path}".encode())


async def present(desk: Desk, member: Member) -> list[str]:
    async with desk.scope(member) as scope:
        return [file.path for file in (await service.list_files(scope, desk.files)).items]


async def in_bin(desk: Desk, member: Member) -> list[str]:
    async with desk.scope(member) as scope:
        return [file.path for file in (await deletion.list_deleted(scope, desk.files)).items]


def declare(desk: Desk, member: Member, *folders: str, slug: str = "chief-of-staff") -> None:
    desk.rows(
        "UPDATE agents.agents SET directories = %s WHERE company_id = %s AND slug = %s",
        list(folders),
        member.company_id,
        slug,
    )


async def test_typed_commands_add_move_and_delete(desk: Desk, office: Office) -> None:
    await bring(desk, office.founder, "notes/a.md")
    for text, said in (
        ("/append notes/a.md | and a lion", "Added to notes/a.md, which is version 2 now, 30 bytes."),
        ("/move notes/a.md | plans/b.md", "Moved notes/a.md to plans/b.md."),
        ("/read plans/b.md", "plans/b.md, version 2."),
        ("/delete plans/b.md", "plans/b.md is in the bin. It can be restored from there."),
    ):
        posted = await desk.say(office.founder, text)
        assert desk.outcomes(posted.run_id) == [("success", said)]
    assert await present(desk, office.founder) == []
    assert await in_bin(desk, office.founder) == ["plans/b.md"]
    events = desk.audited(office.founder)
    assert [each for each in events if each.startswith("file.")] == [
        "file.written", "file.written", "file.moved", "file.deleted",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/append ../a.md | x", "This is not a usable file name"),
        ("/append .bashrc | x", "Files that other programs execute or obey are never written here"),
        ("/move a.md | ../b.md", "This is not a usable file name"),
        ("/move a.md | b.md", "There is something of this name already"),
        ("/move a.md | .git/hooks/x", "Files that other programs execute or obey are never written here"),
        ("/move nothing.md | c.md", "There is no file of this name"),
        ("/delete nothing.md", "There is no file of this name"),
        ("/delete %2e%2e/a.md", "This is not a usable file name"),
    ],
)
async def test_a_refusal_says_what_to_do_instead(desk: Desk, office: Office, text: str, said: str) -> None:
    await bring(desk, office.founder, "a.md", "b.md")
    posted = await desk.say(office.founder, text)
    ((outcome, output),) = desk.outcomes(posted.run_id)
    assert (outcome, said in output) == ("failed", True), output
    assert await present(desk, office.founder) == ["a.md", "b.md"]


async def test_a_file_that_the_person_named_goes_to_the_bin_without_a_question(desk: Desk, office: Office) -> None:
    await bring(desk, office.founder, "notes/a.md", "notes/b.md")
    posted = await desk.say(office.founder, "please delete the file notes/a.md")
    assert [outcome for outcome, _ in desk.outcomes(posted.run_id)] == ["success"]
    assert await present(desk, office.founder) == ["notes/b.md"]


@pytest.mark.proves("5.5.1")
async def test_another_one_is_asked_about_and_a_change_in_between_ends_the_approval(desk: Desk, office: Office) -> None:
    await bring(desk, office.founder, "notes/a.md", "notes/b.md")
    desk.model = calling(("files_delete", {"path": "notes/b.md"}))
    first = await desk.say(office.founder, "please delete the file notes/a.md")
    assert desk.status(first.run_id) == "waiting_for_approval"
    question = desk.question(first.run_id)
    assert (question["before"], question["after"]) == ("notes/b.md, version 1, 19 bytes", "in the bin")
    async with desk.scope(office.founder) as scope:
        await service.append_text(scope, desk.files, "notes/b.md", "changed")
    await desk.decide(office.founder, first.run_id, "once")
    assert [outcome for outcome, _ in desk.outcomes(first.run_id)] == ["denied"]
    second = await desk.say(office.founder, "please delete the file notes/a.md")
    await desk.decide(office.founder, second.run_id, "once")
    assert [outcome for outcome, _ in desk.outcomes(second.run_id)] == ["success"]
    assert await in_bin(desk, office.founder) == ["notes/b.md"]


@pytest.mark.parametrize("call", [("files_append", {"path": "../x.md", "content": "x"}),
                                  ("files_move", {"path": "../x.md", "to": "y.md"}),
                                  ("files_write", {"path": "../x.md", "content": "x"}),
                                  ("files_delete", {"path": "a/%2e%2e/x"})])  # fmt: skip
async def test_what_no_card_can_show_ends_in_a_sentence(
    desk: Desk, office: Office, call: tuple[str, dict[str, str]]
) -> None:
    desk.model = calling(call)
    posted = await desk.say(office.founder, "do as you like")
    assert desk.status(posted.run_id) == "finished"
    ((outcome, output),) = desk.outcomes(posted.run_id)
    assert (outcome, "This is not a usable file name" in output) == ("failed", True)


@pytest.mark.proves("5.1.3")
async def test_an_agent_changes_files_only_where_its_person_may(desk: Desk, office: Office) -> None:
    await bring(desk, office.founder, "a.md")
    for text in ("/append a.md | x", "/move a.md | b.md", "/delete a.md"):
        posted = await desk.say(office.investor, text)
        assert [outcome for outcome, _ in desk.outcomes(posted.run_id)] == ["denied"]
    assert await present(desk, office.founder) == ["a.md"]


@pytest.mark.proves("5.2.1")
async def test_an_agent_reaches_only_the_folders_declared_for_it(desk: Desk, office: Office) -> None:
    await bring(desk, office.founder, "notes/in.md", "board/out.md", "notes-private/beside.md")
    declare(desk, office.founder, "notes", "drafts/2026")
    for text in ("/read notes/in.md", "/append notes/in.md | x", "/write drafts/2026/new.md | x",
                 "/move drafts/2026/new.md | notes/new.md"):  # fmt: skip
        posted = await desk.say(office.founder, text)
        assert [outcome for outcome, _ in desk.outcomes(posted.run_id)] == ["success"], text
    for text in ("/read board/out.md", "/read notes-private/beside.md", "/write board/new.md | x", "/list board",
                 "/append board/out.md | x", "/move board/out.md | notes/out.md", "/move notes/in.md | board/in.md",
                 "/delete board/out.md", "/write drafts/new.md | x", "/read NOTES/in.md"):  # fmt: skip
        posted = await desk.say(office.founder, text)
        ((outcome, output),) = desk.outcomes(posted.run_id)
        assert (outcome, NOT_DECLARED in output) == ("failed", True), (text, output)
    for text in ("/list", "/search zebra"):
        posted = await desk.say(office.founder, text)
        told = str(desk.events(posted.run_id))
        assert "notes/in.md" in told
        assert "out.md" not in told
        assert "beside.md" not in told
    assert await present(desk, office.founder) == [
        "board/out.md", "notes-private/beside.md", "notes/in.md", "notes/new.md",
    ]  # fmt: skip


@pytest.mark.proves("5.2.1")
async def test_no_card_shows_what_lies_outside_the_folders(desk: Desk, office: Office) -> None:
    await bring(desk, office.founder, "board/out.md")
    declare(desk, office.founder, "notes")
    desk.model = calling(("files_write", {"path": "board/out.md", "content": "x"}))
    posted = await desk.say(office.founder, "do as you like")
    assert "zebra" not in str(desk.events(posted.run_id))
    assert [row for row in desk.rows("SELECT before FROM agents.approvals WHERE run_id = %s", posted.run_id)
            if "zebra" in str(row["before"])] == []  # fmt: skip


@pytest.mark.proves("5.2.1")
async def test_a_folder_that_is_taken_away_is_out_of_reach_at_the_next_call(desk: Desk, office: Office) -> None:
    await bring(desk, office.founder, "notes/in.md")
    desk.model = calling(("files_delete", {"path": "notes/in.md"}))
    posted = await desk.say(office.founder, "do as you like")
    declare(desk, office.founder, "drafts")
    await desk.decide(office.founder, posted.run_id, "once")
    ((outcome, output),) = desk.outcomes(posted.run_id)
    assert (outcome, NOT_DECLARED in output, desk.status(posted.run_id)) == ("denied", True, "finished")
    assert await present(desk, office.founder) == ["notes/in.md"]


@pytest.mark.proves("5.2.1")
async def test_a_run_reaches_no_more_than_the_run_that_it_comes_from(desk: Desk, office: Office) -> None:
    await bring(desk, office.founder, "notes/in.md", "notes/deep/in.md", "board/out.md")
    desk.rows(
        "INSERT INTO agents.agents (company_id, slug, name, purpose, instructions, tools)"
        """ VALUES (%s, 'analyst', 'Analyst', '', '', '{"files_read": "allow"}')""",
        office.founder.company_id,
    )
    declare(desk, office.founder, "notes/deep", "drafts", slug="analyst")
    declare(desk, office.founder, "notes")

    async def told(text: str, *, parent: bool) -> tuple[str, str]:
        posted = await desk.write(office.founder, text)
        if parent:
            _adopt(desk, posted.run_id)
        await desk.work(posted.run_id)
        return desk.outcomes(posted.run_id)[0]

    assert (await told("/read notes/in.md", parent=False))[0] == "success"
    assert (await told("/read notes/deep/in.md", parent=True))[0] == "success"
    for path in ("notes/in.md", "drafts/x.md", "board/out.md"):
        outcome, output = await told(f"/read {path}", parent=True)
        assert (outcome, NOT_DECLARED in output) == ("failed", True), (path, output)
    declare(desk, office.founder, "board", slug="analyst")
    outcome, output = await told("/read notes/in.md", parent=True)
    assert (outcome, NOT_DECLARED in output) == ("failed", True)


def _adopt(desk: Desk, run: UUID) -> None:
    """Make a run the child of one of the analyst's."""
    desk.rows(
        "WITH parent AS (INSERT INTO agents.runs (company_id, id, conversation_id, message_id, agent_id, person_id,"
        " session_id, private_to, route, status) SELECT run.company_id, gen_random_uuid(), run.conversation_id,"
        " run.message_id, agent.id, run.person_id, run.session_id, run.private_to, run.route, 'finished'"
        " FROM agents.runs AS run JOIN agents.agents AS agent ON agent.company_id = run.company_id"
        " AND agent.slug = 'analyst' WHERE run.id = %s RETURNING id)"
        " UPDATE agents.runs SET parent_run_id = (SELECT id FROM parent) WHERE id = %s",
        run,
        run,
    )
