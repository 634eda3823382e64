"""What agents do with artifacts: one's own space in a private conversation, before and after on cards, citations."""

from typing import Any
from uuid import UUID

import pytest

from operalta.agents.service import RunEvent
from operalta.web.agent_views import artifacts_of, citations
from operalta.workspace.artifacts import service
from operalta.workspace.artifacts.rules import Artifact
from tests.agents.conftest import Desk, Office, calling
from tests.conftest import Member


async def make(desk: Desk, member: Member, title: str, content: str, *, private: bool = False) -> Artifact:
    async with desk.scope(member) as scope:
        return await service.create(scope, title, "document", content, private=private)


async def kept(desk: Desk, member: Member) -> list[Artifact]:
    async with desk.scope(member) as scope:
        return list((await service.list_artifacts(scope)).items)


async def versions(desk: Desk, member: Member, made: Artifact) -> list[str]:
    async with desk.scope(member) as scope:
        lines = (await service.list_versions(scope, made.id)).items
        return [(await service.get(scope, made.id, line.version)).shown.content for line in reversed(lines)]


def results(desk: Desk, run: UUID) -> list[dict[str, Any]]:
    return [event["body"]["content"] for event in desk.events(run) if event["kind"] == "tool_result"]


def reasons(desk: Desk, run: UUID) -> list[str]:
    return [
        reason for event in desk.events(run) if event["kind"] == "tool_decided" for reason in event["body"]["reasons"]
    ]


async def test_typed_commands_make_read_and_revise(desk: Desk, office: Office) -> None:
    for text, said in (
        ("/artifact Plan | We sell by the year.", "Made “Plan”, private."),
        ("/revise plan | We sell by the month.", "“Plan” is version 2 now."),
        ("/read-artifact Plan", "“Plan”, document, version 2."),
        ("/find-artifact month", "1 artifacts match."),
    ):
        posted = await desk.say(office.founder, text)
        assert desk.outcomes(posted.run_id) == [("success", said)], text
    (made,) = await kept(desk, office.founder)
    assert await versions(desk, office.founder, made) == ["We sell by the year.", "We sell by the month."]
    assert (made.private_to, made.by_people_alone) == (office.founder.person_id, False)
    assert made.conversation_id is not None
    assert await kept(desk, office.colleague) == []
    assert [each for each in desk.audited(office.founder) if each.startswith("artifact.")] == ["artifact.written"] * 2


@pytest.mark.proves("5.1.3")
@pytest.mark.parametrize(
    ("private", "text", "why"),
    [
        (True, "keep an artifact called Plan: We sell by the year.", "own_space"),
        (False, "keep an artifact called Plan: We sell by the year.", "text_for_others:title"),
        (True, "keep an artifact called Plan about how we sell.", "text_not_in_your_words:content"),
        (True, "what do we sell?", "not_asked_for"),
    ],
    ids=["own space", "open conversation", "composed", "not asked for"],
)
async def test_a_new_one_is_ones_own_space_only_where_it_stays_private_and_in_ones_words(
    desk: Desk,
    office: Office,
    private: bool,  # noqa: FBT001 - a parameter of the test
    text: str,
    why: str,
) -> None:
    desk.model = calling(("artifact_create", {"title": "Plan", "content": "We sell by the year."}))
    posted = await desk.say(office.founder, text, private=private)
    assert why in reasons(desk, posted.run_id)
    if why == "own_space":
        assert desk.status(posted.run_id) == "finished"
        assert [each.private_to for each in await kept(desk, office.founder)] == [office.founder.person_id]
        return
    assert await kept(desk, office.founder) == []
    question = desk.question(posted.run_id)
    assert (question["before"], question["after"]) == ("", "Plan\n\nWe sell by the year.")
    await desk.decide(office.founder, posted.run_id, "once")
    (made,) = await kept(desk, office.founder)
    assert (made.private_to is not None) is private


@pytest.mark.proves("5.5.1")
async def test_a_revision_shows_before_and_after_and_is_kept_with_its_approval(desk: Desk, office: Office) -> None:
    made = await make(desk, office.colleague, "Plan", "We sell.\nTo whom?")
    change = {"artifact": str(made.id), "content": "We sell.\nTo teams.", "version": 1, "note": "Answered."}
    desk.model = calling(("artifact_revise", change))
    posted = await desk.say(office.founder, "revise the plan")
    question = desk.question(posted.run_id)
    assert (question["before"], question["after"]) == ("We sell.\nTo whom?", "We sell.\nTo teams.")
    await desk.decide(office.founder, posted.run_id, "once")
    (result,) = results(desk, posted.run_id)
    assert (result["summary"], result["content"]) == (
        "“Plan” is version 2 now.",
        "@@ -1,2 +1,2 @@\n We sell.\n-To whom?\n+To teams.",
    )
    async with desk.scope(office.colleague) as scope:
        shown = (await service.get(scope, made.id)).shown
    assert (shown.content, shown.note, shown.changed_by, shown.run_id, shown.approval_id) == (
        "We sell.\nTo teams.",
        "Answered.",
        office.founder.person_id,
        posted.run_id,
        question["id"],
    )


@pytest.mark.proves("5.5.1")
async def test_a_change_in_between_ends_the_approval(desk: Desk, office: Office) -> None:
    made = await make(desk, office.founder, "Plan", "We sell.")
    desk.model = calling(("artifact_revise", {"artifact": "Plan", "content": "We give."}))
    posted = await desk.say(office.founder, "revise the plan")
    async with desk.scope(office.colleague) as scope:
        await service.revise(scope, made.id, "We lend.", 1)
    await desk.decide(office.founder, posted.run_id, "once")
    assert [outcome for outcome, _ in desk.outcomes(posted.run_id)] == ["denied"]
    assert await versions(desk, office.founder, made) == ["We sell.", "We lend."]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ({"artifact": "Plan", "content": "x", "version": 1}, "Version 2 is newer"),
        ({"artifact": "No plan", "content": "x"}, "There is no such artifact"),
        ({"artifact": "Away", "content": "x"}, "There is no such artifact"),
        ({"artifact": "Teams", "content": 'a,"b'}, "This is no table"),
    ],
    ids=["an old version", "none", "archived", "no table"],
)
async def test_what_would_be_refused_is_not_asked_about(
    desk: Desk, office: Office, call: dict[str, object], said: str
) -> None:
    made = await make(desk, office.founder, "Plan", "We sell.")
    away = await make(desk, office.founder, "Away", "We sell.")
    async with desk.scope(office.founder) as scope:
        await service.revise(scope, made.id, "We lend.", 1)
        await service.archive(scope, away.id)
        await service.create(scope, "Teams", "table", "a,b")
    desk.model = calling(("artifact_revise", call))
    posted = await desk.say(office.founder, "do as you like")
    ((outcome, output),) = desk.outcomes(posted.run_id)
    assert (outcome, said in output) == ("failed", True), output


@pytest.mark.proves("5.1.3", "5.0.1")
async def test_an_agent_writes_artifacts_only_where_its_person_may(desk: Desk, office: Office) -> None:
    made = await make(desk, office.founder, "Plan", "We sell.")
    for text in ("/artifact Mine | x", "/revise Plan | x"):
        posted = await desk.say(office.investor, text)
        assert [outcome for outcome, _ in desk.outcomes(posted.run_id)] == ["denied"]
    posted = await desk.say(office.investor, "/read-artifact Plan")
    assert results(desk, posted.run_id)[0]["content"] == "We sell."
    assert [each.id for each in await kept(desk, office.founder)] == [made.id]


@pytest.mark.proves("5.1.1", "2.4.2")
async def test_in_an_open_conversation_nothing_private_is_read_or_found(desk: Desk, office: Office) -> None:
    made = await make(desk, office.founder, "Secret plan", "A zebra.", private=True)
    for text in ("/find-artifact zebra", "/read-artifact Secret plan", f"/read-artifact {made.id}"):
        told = str(desk.events((await desk.say(office.founder, text, private=False)).run_id)[3:])
        assert "A zebra" not in told, text
        told = str(desk.events((await desk.say(office.colleague, text)).run_id)[3:])
        assert "A zebra" not in told, text
    posted = await desk.say(office.founder, "what about the zebra?")
    assert "A zebra" in desk.answers(posted.run_id)[0]


async def test_what_is_read_says_who_may_have_written_it_and_is_cited(desk: Desk, office: Office) -> None:
    own = await make(desk, office.founder, "Own words", "A zebra.")
    posted = await desk.say(office.founder, "/read-artifact Own words")
    (result,) = results(desk, posted.run_id)
    assert result["from_outside"] is False
    assert [(one["kind"], one["reference"]) for one in result["references"]] == [("artifact", str(own.id))]
    revised = await desk.say(office.founder, "/revise Own words | An agent's zebra.")
    posted = await desk.say(office.founder, "/find-artifact zebra")
    assert results(desk, posted.run_id)[0]["from_outside"] is True
    address = f"/c/company/artifacts/{own.id}"
    steps = [RunEvent(row["sequence"], row["kind"], row["body"], own.created_at) for row in desk.events(revised.run_id)]
    assert artifacts_of(steps, "company") == [{"name": "Own words", "href": address}]
    steps = [RunEvent(row["sequence"], row["kind"], row["body"], own.created_at) for row in desk.events(posted.run_id)]
    assert citations(steps, "company") == [{"label": "Own words", "href": address}]
    assert artifacts_of(steps, "company") == []
