"""Commands of agents: asked about, run on a copy of the files, their changes brought in under every check."""

import asyncio
from dataclasses import replace

import pytest

from operalta.agents import service
from operalta.agents.shell_tool import MOST_FILES
from operalta.workspace.files import documents
from operalta.workspace.files import service as files
from tests.agents.conftest import Desk, Office, calling, sandboxed_sleeps, until
from tests.conftest import Member
from tests.sandbox.staging import LoopbackServer


async def bring(desk: Desk, member: Member, path: str, content: bytes) -> None:
    async with desk.scope(member) as scope:
        await files.upload(scope, desk.files, path, content)


async def text_of(desk: Desk, member: Member, path: str) -> str:
    async with desk.scope(member) as scope:
        return (await files.read_text(scope, desk.files, path)).text


@pytest.fixture
def member(office: Office) -> Member:
    return office.founder


def set_tool(desk: Desk, member: Member, outcome: str) -> None:
    desk.rows(
        "UPDATE agents.agents SET tools = tools || jsonb_build_object('shell_run', %s::text) WHERE company_id = %s",
        outcome,
        member.company_id,
    )


@pytest.mark.proves("5.3.3", "5.5.1")
async def test_a_command_runs_once_a_person_said_yes(equipped: Desk, member: Member) -> None:
    await bring(equipped, member, "notes/plan.md", b"one two three\n")
    posted = await equipped.say(member, "/run wc -w notes/plan.md")
    assert equipped.status(posted.run_id) == "waiting_for_approval"
    assert equipped.outcomes(posted.run_id) == []
    assert equipped.question(posted.run_id)["arguments"] == {
        "command": "wc -w notes/plan.md", "folder": "", "network": False, "seconds": 60,
    }  # fmt: skip
    await equipped.decide(member, posted.run_id, "once")
    assert equipped.outcomes(posted.run_id)[0][0] == "success", equipped.outcomes(posted.run_id)
    assert "3 notes/plan.md" in equipped.answers(posted.run_id)[0]


@pytest.mark.proves("5.3.3")
async def test_a_command_that_a_model_wants_is_asked_about_whatever_is_set(equipped: Desk, member: Member) -> None:
    set_tool(equipped, member, "allow")
    equipped.model = calling(("shell_run", {"command": "ls"}))
    posted = await equipped.say(member, "Please look around.")
    assert equipped.status(posted.run_id) == "waiting_for_approval"
    await equipped.decide(member, posted.run_id, "denied")
    assert equipped.outcomes(posted.run_id)[0][0] == "denied"


async def test_what_a_command_changes_becomes_versions(equipped: Desk, member: Member) -> None:
    set_tool(equipped, member, "allow")
    await bring(equipped, member, "a.txt", b"b\na\n")
    await bring(equipped, member, "gone.txt", b"x")
    await bring(equipped, member, "same.txt", b"same")
    posted = await equipped.say(
        member, "/run sort a.txt -o a.txt; mkdir out; echo new > out/new.txt; rm gone.txt; touch same.txt"
    )
    assert equipped.outcomes(posted.run_id)[0][0] == "success"
    assert await text_of(equipped, member, "a.txt") == "a\nb\n"
    assert await text_of(equipped, member, "out/new.txt") == "new\n"
    async with equipped.scope(member) as scope:
        listed = {file.path: file.version for file in (await files.list_files(scope, equipped.files)).items}
    assert listed == {"a.txt": 2, "out/new.txt": 1, "same.txt": 1}
    assert equipped.audited(member, posted.run_id).count("file.deleted") == 1


async def test_what_others_changed_meanwhile_stays(equipped: Desk, member: Member) -> None:
    set_tool(equipped, member, "allow")
    for name in ("saved.txt", "gone.txt"):
        await bring(equipped, member, name, b"before")
    text = "/run echo mine > saved.txt; rm gone.txt; echo mine > new.txt; echo begun; sleep 2"
    posted = await equipped.write(member, text)
    working = asyncio.create_task(equipped.work(posted.run_id))
    await until(lambda: "tool_output" in equipped.kinds(posted.run_id))
    for name in ("saved.txt", "gone.txt", "new.txt"):
        await bring(equipped, member, name, b"a colleague's")
    await working
    for name in ("saved.txt", "gone.txt", "new.txt"):
        assert await text_of(equipped, member, name) == "a colleague's"
    assert equipped.answers(posted.run_id)[0].count("changed in the meantime") == 3


async def test_documents_that_a_command_makes_are_read(equipped: Desk, member: Member) -> None:
    set_tool(equipped, member, "allow")
    await equipped.say(member, "/run printf '<h1>Zebra</h1><p>crossing</p>' > page.html; cp page.html odd.pdf")
    assert "crossing" in await text_of(equipped, member, "page.html")
    async with equipped.scope(member) as scope:
        odd = await files.find_at(scope, equipped.files, "odd.pdf")
        reading = await documents.reading_of(scope, odd)
    assert reading is not None
    assert "is something else" in str(reading.refusal)


@pytest.mark.proves("5.2.1", "5.2.2")
async def test_names_that_may_not_be_written_are_left_behind(equipped: Desk, member: Member) -> None:
    set_tool(equipped, member, "allow")
    posted = await equipped.say(
        member, "/run mkdir -p .git/hooks; echo x > .git/hooks/post-commit; echo x > .bashrc; echo x > 'bad\\name'; "
        "printf x > $(printf 'a\\001b'); echo fine > fine.txt; ln -s /etc/passwd linked; echo done"
    )  # fmt: skip
    assert equipped.outcomes(posted.run_id)[0][0] == "success", equipped.outcomes(posted.run_id)
    assert await text_of(equipped, member, "fine.txt") == "fine\n"
    async with equipped.scope(member) as scope:
        assert [file.path for file in (await files.list_files(scope, equipped.files)).items] == ["fine.txt"]
    assert "was not kept" in equipped.answers(posted.run_id)[0]


@pytest.mark.proves("5.2.1")
async def test_a_command_sees_the_folders_of_its_agent_alone(equipped: Desk, member: Member) -> None:
    set_tool(equipped, member, "allow")
    await bring(equipped, member, "open/in.txt", b"inside")
    await bring(equipped, member, "board/out.txt", b"outside canary")
    equipped.rows("UPDATE agents.agents SET directories = '{open}' WHERE company_id = %s", member.company_id)
    posted = await equipped.say(member, "/run find . -type f; cat */*; mkdir -p board; echo x > board/new.txt")
    answer = equipped.answers(posted.run_id)[0]
    assert "inside" in answer
    assert "canary" not in answer
    assert "board/new.txt was not kept" in answer
    equipped.model = calling(("shell_run", {"command": "ls", "folder": "board"}))
    posted = await equipped.say(member, "Look at the board's files.")
    await equipped.decide(member, posted.run_id, "once")
    outcome, told = equipped.outcomes(posted.run_id)[0]
    assert outcome == "failed"
    assert "outside the directories" in told


async def test_a_folder_narrows_what_a_command_gets(equipped: Desk, member: Member) -> None:
    await bring(equipped, member, "a/one.txt", b"1")
    await bring(equipped, member, "b/two.txt", b"2")
    equipped.model = calling(("shell_run", {"command": "ls -R; echo 3 > three.txt", "folder": "a/"}))
    posted = await equipped.say(member, "Look at a.")
    await equipped.decide(member, posted.run_id, "once")
    [result] = [one["body"]["content"] for one in equipped.events(posted.run_id) if one["kind"] == "tool_result"]
    assert "one.txt" in result["content"]
    assert "two.txt" not in result["content"]
    assert result["from_outside"] is True
    assert await text_of(equipped, member, "a/three.txt") == "3\n"


async def test_too_many_files_are_refused_with_advice(
    equipped: Desk, member: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_tool(equipped, member, "allow")
    for name in ("1", "2", "3"):
        await bring(equipped, member, name, name.encode())
    assert MOST_FILES > 3
    monkeypatch.setattr("operalta.agents.shell_tool.MOST_FILES", 2)
    posted = await equipped.say(member, "/run ls")
    outcome, told = equipped.outcomes(posted.run_id)[0]
    assert outcome == "failed"
    assert "Name a folder" in told


async def test_output_is_told_while_the_command_runs(equipped: Desk, member: Member) -> None:
    set_tool(equipped, member, "allow")
    posted = await equipped.say(member, "/run echo first; sleep 1; echo second; exit 4")
    told = [one["body"]["text"] for one in equipped.events(posted.run_id) if one["kind"] == "tool_output"]
    assert told[0] == "first\n"
    assert "".join(told) == "first\nsecond\n", equipped.outcomes(posted.run_id)
    assert "exit code 4" in equipped.outcomes(posted.run_id)[0][1]


@pytest.mark.proves("5.4.3", "5.5.1")
async def test_network_is_asked_for_and_leads_to_named_hosts_alone(
    equipped: Desk, member: Member, web_page: LoopbackServer
) -> None:
    refused = await equipped.say(member, "/online ls")
    await equipped.decide(member, refused.run_id, "once")
    assert "Commands have no network on this server." in equipped.outcomes(refused.run_id)[0][1]
    assert equipped.commands is not None
    online = replace(equipped, commands=replace(equipped.commands, hosts=(f"127.0.0.1:{web_page.port}",)))
    program = (
        "import http.client as h; c = h.HTTPConnection('127.0.0.1', 3128); "
        f"c.set_tunnel('127.0.0.1', {web_page.port}); c.request('GET', '/'); print(c.getresponse().status)"
    )
    text = f'/online python3 -c "{program}"'
    asked = await online.say(member, text)
    assert online.question(asked.run_id)["arguments"]["network"] is True
    assert web_page.connections == 0
    await online.decide(member, asked.run_id, "once")
    assert web_page.connections == 1, online.answers(asked.run_id)
    lines = online.rows("SELECT method, destination, outcome FROM sandbox.egress_log WHERE run_id = %s", asked.run_id)
    assert [(line["method"], line["outcome"]) for line in lines] == [("CONNECT", "200")]
    assert "egress.fetched" in online.audited(member, asked.run_id)


@pytest.mark.proves("5.3.2")
async def test_a_stop_ends_the_command(equipped: Desk, member: Member) -> None:
    set_tool(equipped, member, "allow")
    posted = await equipped.write(member, "/run echo begun; sleep 7654321")
    working = asyncio.create_task(equipped.work(posted.run_id))
    await until(lambda: "tool_output" in equipped.kinds(posted.run_id))
    await until(lambda: bool(sandboxed_sleeps()))
    inside = sandboxed_sleeps()
    async with equipped.scope(member) as scope:
        await service.stop_run(scope, posted.run_id)
    await working
    assert equipped.status(posted.run_id) == "stopped"
    assert not [path for path in inside if path.exists()]


@pytest.mark.proves("5.3.2")
async def test_a_command_that_takes_too_long_is_ended_and_keeps_nothing(equipped: Desk, member: Member) -> None:
    equipped.model = calling(("shell_run", {"command": "echo x > made.txt; echo so far; sleep 600", "seconds": 1}))
    posted = await equipped.say(member, "Go.")
    await equipped.decide(member, posted.run_id, "once")
    outcome, told = equipped.outcomes(posted.run_id)[0]
    assert outcome == "failed"
    assert "longer than it may" in told
    async with equipped.scope(member) as scope:
        assert (await files.list_files(scope, equipped.files)).items == ()
