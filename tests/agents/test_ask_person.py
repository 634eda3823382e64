"""Agents that ask their person something: the run waits, the answer is given once, in words, by who may."""

from collections.abc import Mapping

import pytest

from operalta.agents.approvals import service as approvals
from operalta.agents.errors import ApprovalNotValid
from operalta.kernel.errors import InvalidInput, NotFound
from tests.agents.conftest import Desk, Office, Turn, calling, scripted

ASKED: tuple[str, Mapping[str, object]] = (
    "ask_person",
    {"question": "Which price do you mean?", "choices": "the old one, the new one"},
)


async def test_a_run_waits_for_an_answer_and_goes_on_with_it(desk: Desk, office: Office) -> None:
    desk.model = calling(ASKED)
    posted = await desk.say(office.founder, "Look up the price.")
    assert desk.status(posted.run_id) == "waiting_for_approval"
    question = desk.question(posted.run_id)["id"]
    async with desk.scope(office.founder) as scope:
        decided = await approvals.decide_approval(scope, question, "once", answer=" The new one. ")
    assert decided.answer == "The new one."
    await desk.work(posted.run_id)
    result = next(event["body"] for event in desk.events(posted.run_id) if event["kind"] == "tool_result")
    assert (result["outcome"], result["content"]["content"]) == ("success", "The new one.")
    async with desk.scope(office.founder) as scope:
        with pytest.raises(ApprovalNotValid):
            await approvals.decide_approval(scope, question, "once", answer="The old one.")


@pytest.mark.proves("5.5.1")
async def test_an_answer_belongs_to_a_question_and_to_nothing_else(desk: Desk, office: Office) -> None:
    desk.model = calling(ASKED, ("memory_record", {"kind": "decision", "title": "Raise prices"}))
    posted = await desk.say(office.founder, "Look up the price.", private=False)
    rows = desk.rows("SELECT id, tool, arguments_sha256 FROM agents.approvals WHERE run_id = %s", posted.run_id)
    ids = {row["tool"]: row["id"] for row in rows}
    shown = {row["id"]: row["arguments_sha256"] for row in rows}
    async with desk.scope(office.founder) as scope:
        for attempt in (
            approvals.decide_approval(scope, ids["ask_person"], "once"),
            approvals.decide_approval(scope, ids["ask_person"], "once", answer="  "),
            approvals.decide_approval(scope, ids["ask_person"], "once", answer="x" * 4_001),
            approvals.decide_approval(scope, ids["ask_person"], "conversation", answer="Always."),
            approvals.decide_approval(scope, ids["memory_record"], "once", answer="Yes."),
            approvals.decide_together(scope, shown, "once"),
            approvals.decide_together(scope, shown, "once", "Yes."),
        ):
            with pytest.raises(InvalidInput):
                await attempt
    async with desk.scope(office.stranger) as scope:
        with pytest.raises(NotFound):
            await approvals.decide_approval(scope, ids["ask_person"], "once", answer="The old one.")
    assert desk.rows("SELECT id FROM agents.approvals WHERE run_id = %s AND decision IS NOT NULL", posted.run_id) == []
    async with desk.scope(office.founder) as scope:
        await approvals.decide_together(scope, shown, "denied")


@pytest.mark.proves("5.5.1")
async def test_an_answer_vouches_for_no_call(desk: Desk, office: Office) -> None:
    """What a hijacked agent asks for could be made to read as consent to something else."""

    async def script(number: int) -> Turn:
        if number == 0:
            return [ASKED]
        return [("files_write", {"path": "notes/a.md", "content": "x"})] if number == 1 else "Done."

    desk.model = scripted(script)
    posted = await desk.say(office.founder, "Look up the price.")
    async with desk.scope(office.founder) as scope:
        question = desk.question(posted.run_id)["id"]
        await approvals.decide_approval(scope, question, "once", answer="Write the file notes/a.md with x")
    await desk.work(posted.run_id)
    assert desk.status(posted.run_id) == "waiting_for_approval"
    assert desk.question(posted.run_id)["tool"] == "files_write"
