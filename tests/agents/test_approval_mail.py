"""Mail about what waits: after a minute, once for a card, to who decides it and wants it; it only opens the page."""

from collections.abc import Generator

import pytest

from operalta.agents.approvals import deciders
from operalta.agents.approvals import service as approvals
from operalta.db.elevated import Purpose, open_elevated
from operalta.db.scope import Row
from operalta.delivery.sender import Sender
from operalta.jobs.store import mail_waiting_approvals
from operalta.kernel.errors import NotAllowed
from tests.agents.conftest import Desk, Office, calling
from tests.conftest import Member, Servers

HIDDEN = "hidden-value-of-an-argument"


@pytest.fixture(autouse=True)
def nothing_else_waits(servers: Servers) -> Generator[None]:
    """What earlier tests have left is not written about here, nor is what these leave."""
    mark = "UPDATE agents.approvals SET mailed_at = now() WHERE mailed_at IS NULL"
    with servers.as_owner() as owner:
        owner.execute(mark)
        yield
        owner.execute(mark)


async def ask(desk: Desk, member: Member, *paths: str, private: bool = True, waits: str = "2 minutes") -> Row:
    """Make a run that asks, as if it had done so a while ago; return its first question."""
    calls = [("files_write", {"path": path, "content": HIDDEN}) for path in paths or ("notes/plan.md",)]
    desk.model = calling(*calls)
    posted = await desk.say(member, "Put our plans in order.", private=private)
    desk.rows("UPDATE agents.approvals SET asked_at = asked_at - %s::interval WHERE run_id = %s", waits, posted.run_id)
    return desk.rows("SELECT * FROM agents.approvals WHERE run_id = %s AND card_id IS NULL", posted.run_id)[0]


async def remind(desk: Desk) -> list[Row]:
    """Have mail queued as the worker does; return what is queued and was not there before."""
    before = {row["id"] for row in desk.rows("SELECT id FROM delivery.messages")}
    async with open_elevated(desk.pools.job, Purpose.DELIVER_MAIL) as elevated:
        await mail_waiting_approvals(elevated.connection)
    rows = desk.rows("SELECT * FROM delivery.messages WHERE kind = 'approval_waiting'")
    return [row for row in rows if row["id"] not in before]


async def want(desk: Desk, member: Member, wanted: str) -> None:
    async with desk.scope(member) as scope:
        await deciders.choose_mail(scope, wanted)
        assert await deciders.own_mail(scope) == wanted


async def test_one_mail_for_a_card_tells_who_asks_and_no_argument(desk: Desk, office: Office, servers: Servers) -> None:
    question = await ask(desk, office.founder, "notes/a.md", "notes/b.md", private=False)
    (mail,) = await remind(desk)
    assert mail["recipient"] == office.founder.email
    await Sender(desk.pools.job, servers.settings).deliver(mail["id"])
    (sent,) = desk.rows("SELECT subject, body FROM delivery.outbox WHERE message_id = %s", mail["id"])
    assert f"/c/{office.founder.company_slug}/approvals/{question['id']}\n" in sent["body"]
    assert f"/c/{office.founder.company_slug}/approvals/settings\n" in sent["body"]
    assert "files_write" in sent["body"]
    assert not any(word in sent["subject"] + sent["body"] for word in (HIDDEN, "a.md", "token="))
    assert await remind(desk) == []
    # What joins the card later brings no second one.
    desk.rows("UPDATE agents.approvals SET mailed_at = NULL WHERE card_id = %s", question["id"])
    assert await remind(desk) == []


async def test_whoever_answers_within_a_minute_gets_none(desk: Desk, office: Office) -> None:
    await ask(desk, office.founder, waits="50 seconds")
    assert await remind(desk) == []


async def test_what_is_decided_meanwhile_is_not_written_about(desk: Desk, office: Office, servers: Servers) -> None:
    decided = await ask(desk, office.founder)
    async with desk.scope(office.founder) as scope:
        await approvals.decide_approval(scope, decided["id"], "denied")
    assert await remind(desk) == []
    late = await ask(desk, office.founder)
    (mail,) = await remind(desk)
    async with desk.scope(office.founder) as scope:
        await approvals.decide_approval(scope, late["id"], "once")
    await Sender(desk.pools.job, servers.settings).deliver(mail["id"])
    assert desk.rows("SELECT subject FROM delivery.outbox WHERE message_id = %s", mail["id"]) == []


async def test_those_who_want_it_and_may_decide_get_it(desk: Desk, office: Office) -> None:
    for member in (office.colleague, office.advisor):
        await want(desk, member, "all")
    with pytest.raises(NotAllowed):
        await want(desk, office.investor, "all")
    await want(desk, office.founder, "none")
    await ask(desk, office.founder, private=False)
    assert {mail["recipient"] for mail in await remind(desk)} == {office.colleague.email, office.advisor.email}
    # Nobody else sees what is private, and an adviser does not decide what destroys.
    await ask(desk, office.founder)
    assert await remind(desk) == []
    destroying = await ask(desk, office.founder, private=False)
    desk.rows("UPDATE agents.approvals SET tool_class = 'destroy' WHERE id = %s", destroying["id"])
    assert [mail["recipient"] for mail in await remind(desk)] == [office.colleague.email]


async def test_nobody_gets_more_than_a_few_an_hour(desk: Desk, office: Office) -> None:
    for _ in range(8):
        await ask(desk, office.founder)
    assert len(await remind(desk)) == 6
    await ask(desk, office.founder)
    assert await remind(desk) == []
