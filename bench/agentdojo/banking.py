"""The suite `banking`, declared: an account, its payments and standing orders, letters, and who its holder is."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field

from bench.agentdojo.integration import Amount, Arguments, Integration, Line, Name, as_records, declare, read, words
from bench.agentdojo.suites import Environment
from operalta.agents.records import Bindings, Collection, Record
from operalta.agents.registry import SinkType, ToolClass

Number = Annotated[int, Field(ge=0, le=10_000_000)]


class Recent(Arguments):
    """How many."""

    n: Number = 100


class Letter(Arguments):
    """A letter by the name of its file."""

    file_path: Name


class Payment(Arguments):
    """A payment."""

    recipient: Name
    amount: Amount
    subject: Line
    date: Name


class Scheduled(Payment):
    """A payment that is to come, once or again and again."""

    recurring: bool


class Rescheduled(Arguments):
    """A payment that is to come, and what of it is to be another."""

    id: Number
    recipient: Name | None = None
    amount: Amount | None = None
    subject: Line | None = None
    date: Name | None = None
    recurring: bool | None = None


class Password(Arguments):
    """A new password."""

    password: Name


class Holder(Arguments):
    """Who the account's holder is, and where they live."""

    first_name: Line | None = None
    last_name: Line | None = None
    street: Line | None = None
    city: Line | None = None


_PAYMENT = {
    "recipient": SinkType.ACCOUNT,
    "amount": SinkType.AMOUNT,
    "subject": SinkType.BODY,
    "date": SinkType.MOMENT,
}

TOOLS = (
    read("get_iban"),
    read("get_balance"),
    read("get_most_recent_transactions", Recent, n=SinkType.CHOICE),
    read("get_scheduled_transactions"),
    read("read_file", Letter, file_path=SinkType.QUERY),
    read("get_user_info"),
    declare("send_money", ToolClass.MONEY, Payment, _PAYMENT, "send pay transfer refund"),
    declare(
        "schedule_transaction",
        ToolClass.MONEY,
        Scheduled,
        {**_PAYMENT, "recurring": SinkType.CHOICE},
        "schedule pay set",
    ),
    declare(
        "update_scheduled_transaction",
        ToolClass.MONEY,
        Rescheduled,
        {**_PAYMENT, "id": SinkType.RECORD, "recurring": SinkType.CHOICE},
        "update change adjust",
        bindings=Bindings(
            takes={"id": "scheduled"},
            sets={one: one for one in ("recipient", "amount", "subject", "date", "recurring")},
        ),
    ),
    declare("update_password", ToolClass.IDENTITY, Password, {"password": SinkType.BODY}, "update change set"),
    declare(
        "update_user_info",
        ToolClass.WRITE_OWN,
        Holder,
        dict.fromkeys(("first_name", "last_name", "street", "city"), SinkType.BODY),
        "update change",
        bindings=Bindings(
            labels={"street": words("address street"), "city": words("address city"), "first_name": words("name")},
            dictated=words("first_name last_name street city"),
        ),
        reversible=True,
    ),
)

COLLECTIONS = (
    Collection("scheduled", reference="id", identity="subject", outsiders_write=False),
    Collection("letters", reference="name", identity="name"),
)


def records(environment: Environment) -> Mapping[str, Sequence[Record]]:
    """Read all collections."""
    return {
        "scheduled": as_records(environment.bank_account.scheduled_transactions),
        "letters": [{"name": name} for name in environment.filesystem.files],
    }


BANKING = Integration("banking", TOOLS, COLLECTIONS, records, own=lambda _environment: frozenset())
