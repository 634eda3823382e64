"""The suite `workspace`, declared: mail, a calendar and a drive for files.

The calendar has no field for an event's organiser. Its events list them first, so the first participant is taken for
it: an invitation from outside does not have the person there. A file that is deleted is returned whole, so that it
can be put back, as from a drive's bin.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from bench.agentdojo.integration import (
    Arguments,
    Integration,
    Line,
    Name,
    Names,
    Text,
    as_records,
    declare,
    read,
    words,
)
from bench.agentdojo.suites import Environment, Foreign
from operalta.agents.records import Bindings, Collection, Condition, Pick, Record, Selector
from operalta.agents.registry import SinkType, ToolClass


class Query(Arguments):
    """Words to look for."""

    query: Name
    sender: Name | None = None
    date: Name | None = None


class Day(Arguments):
    """A day."""

    day: Name


class FileName(Arguments):
    """A file by its name."""

    filename: Name


class FileId(Arguments):
    """A file by its id."""

    file_id: Name


class EmailId(Arguments):
    """A mail by its id."""

    email_id: Name


class EventId(Arguments):
    """An event by its id."""

    event_id: Name


class SendEmail(Arguments):
    """A mail, with files of the drive."""

    recipients: Names
    subject: Line
    body: Text
    attachments: Names | None = None
    cc: Names | None = None
    bcc: Names | None = None


class CreateEvent(Arguments):
    """An event, and whom to invite."""

    title: Line
    start_time: Name
    end_time: Name
    description: Text = ""
    participants: Names | None = None
    location: Line | None = None


class Reschedule(Arguments):
    """An event and its new time."""

    event_id: Name
    new_start_time: Name
    new_end_time: Name | None = None


class Invite(Arguments):
    """An event and who else is to come."""

    event_id: Name
    participants: Names


class CreateFile(Arguments):
    """A new file."""

    filename: Line
    content: Text


class Append(Arguments):
    """A file and what is added to it."""

    file_id: Name
    content: Text


class Share(Arguments):
    """A file, and who may do what with it from now on."""

    file_id: Name
    email: Name
    permission: Literal["r", "rw"]


_GUESTS = words("participants participant guests guest attendees event email address")
_SEARCH = {"query": SinkType.QUERY, "sender": SinkType.QUERY, "date": SinkType.QUERY}

TOOLS = (
    read("get_unread_emails"),
    read("get_sent_emails"),
    read("get_received_emails"),
    read("get_draft_emails"),
    read("search_emails", Query, **_SEARCH),
    read("search_contacts_by_name", Query, **_SEARCH),
    read("search_contacts_by_email", Query, **_SEARCH),
    read("get_current_day"),
    read("search_calendar_events", Query, **_SEARCH),
    read("get_day_calendar_events", Day, day=SinkType.QUERY),
    read("search_files_by_filename", FileName, filename=SinkType.QUERY),
    read("get_file_by_id", FileId, file_id=SinkType.RECORD),
    read("list_files"),
    read("search_files", Query, **_SEARCH),
    declare(
        "send_email",
        ToolClass.WRITE_SHARED,
        SendEmail,
        {
            "recipients": SinkType.ADDRESS,
            "cc": SinkType.ADDRESS,
            "bcc": SinkType.ADDRESS,
            "subject": SinkType.BODY,
            "body": SinkType.BODY,
            "attachments": SinkType.RECORD,
        },
        "send write forward",
        bindings=Bindings(
            takes={"attachments": "files"},
            leaves=words("attachments"),
            labels={"subject": words("subject email title"), "body": words("body text message")},
            dictated=words("subject body"),
        ),
    ),
    declare(
        "delete_email",
        ToolClass.WRITE_SHARED,
        EmailId,
        {"email_id": SinkType.RECORD},
        "delete remove trash",
        bindings=Bindings(takes={"email_id": "emails"}),
        reversible=True,
    ),
    declare(
        "create_calendar_event",
        ToolClass.WRITE_OWN,
        CreateEvent,
        {
            "title": SinkType.BODY,
            "description": SinkType.BODY,
            "location": SinkType.BODY,
            "start_time": SinkType.MOMENT,
            "end_time": SinkType.MOMENT,
            "participants": SinkType.ADDRESS,
        },
        "create add schedule make put",
        bindings=Bindings(
            objects=words("event events meeting appointment reminder calendar"),
            labels={
                "title": words("title titled called named"),
                "description": words("description"),
                "location": words("location place"),
                "participants": _GUESTS,
            },
            dictated=words("title description location"),
            ends={"end_time": "start_time"},
            creates="events",
            clean_text=True,
        ),
        reversible=True,
    ),
    declare("cancel_calendar_event", ToolClass.DESTROY, EventId, {"event_id": SinkType.RECORD}, "cancel"),
    declare(
        "reschedule_calendar_event",
        ToolClass.WRITE_SHARED,
        Reschedule,
        {"event_id": SinkType.RECORD, "new_start_time": SinkType.MOMENT, "new_end_time": SinkType.MOMENT},
        "reschedule move postpone shift",
        bindings=Bindings(takes={"event_id": "events"}, ends={"new_end_time": "new_start_time"}),
        reversible=True,
    ),
    declare(
        "add_calendar_event_participants",
        ToolClass.WRITE_SHARED,
        Invite,
        {"event_id": SinkType.RECORD, "participants": SinkType.ADDRESS},
        "add invite include",
        bindings=Bindings(takes={"event_id": "events"}, labels={"participants": _GUESTS}),
    ),
    declare(
        "create_file",
        ToolClass.WRITE_OWN,
        CreateFile,
        {"filename": SinkType.BODY, "content": SinkType.BODY},
        "create make write save",
        bindings=Bindings(objects=words("file document note"), creates="files", clean_text=True),
        reversible=True,
    ),
    declare(
        "append_to_file",
        ToolClass.WRITE_OWN,
        Append,
        {"file_id": SinkType.RECORD, "content": SinkType.BODY},
        "add append write",
        bindings=Bindings(takes={"file_id": "files"}, clean_text=True),
        reversible=True,
    ),
    declare(
        "delete_file",
        ToolClass.WRITE_SHARED,
        FileId,
        {"file_id": SinkType.RECORD},
        "delete remove trash",
        bindings=Bindings(takes={"file_id": "files"}),
        reversible=True,
    ),
    declare(
        "share_file",
        ToolClass.IDENTITY,
        Share,
        {"file_id": SinkType.RECORD, "email": SinkType.ADDRESS, "permission": SinkType.CHOICE},
        "share",
        bindings=Bindings(takes={"file_id": "files"}),
    ),
)

_TIME, _DATE = r"(?P<time>\d\d:\d\d)", r"(?P<date>\d{4}-\d\d-\d\d)"

COLLECTIONS = (
    Collection(
        "events",
        reference="id_",
        identity="title",
        owner="organiser",
        addresses=("participants",),
        starts="start_time",
        ends="end_time",
        conditions=(
            Condition(rf"am i free (?:for \w+ )?at {_TIME} on {_DATE}\?\s+(?P<condition>if so)\b", free=True),
            Condition(rf"am i free (?:for \w+ )?on {_DATE} at {_TIME}\?\s+(?P<condition>if so)\b", free=True),
            Condition(
                rf"on {_DATE} at [\d:]+ or (?:at )?[\d:]+ (?P<condition>if at {_TIME} i already have something)\b",
                free=False,
            ),
        ),
    ),
    Collection(
        "files",
        reference="id_",
        identity="filename",
        owner="owner",
        readers="shared_with",
        says_short=True,
        selectors=(
            Selector(r"\b(?:largest|biggest) file\b", Pick.HIGHEST, "size"),
            Selector(r"\bsmallest file\b", Pick.LOWEST, "size"),
        ),
    ),
    Collection("emails", reference="id_", identity="subject", owner="sender"),
    # People are those whom the person has written to; whoever writes to them is not in it.
    Collection("people", reference="email", identity="name", outsiders_write=False, directory=True),
)


def events(environment: Environment) -> list[Record]:
    """Read the calendar."""
    records = as_records(list(environment.calendar.events.values()))
    firsts = [next(iter(one.participants), None) for one in environment.calendar.events.values()]
    return [{**one, "organiser": first} for one, first in zip(records, firsts, strict=True)]


def people(environment: Environment) -> list[Record]:
    """Return whom the person has written to."""
    sent = [one for one in environment.inbox.emails.values() if one.status.value == "sent"]
    addresses = {address for one in sent for address in (*one.recipients, *one.cc, *one.bcc)}
    return [{"email": one.email, "name": one.name} for one in environment.inbox.contact_list if one.email in addresses]


def records(environment: Environment) -> Mapping[str, Sequence[Record]]:
    """Read all collections."""
    return {
        "events": events(environment),
        "files": as_records(list(environment.cloud_drive.files.values())),
        "emails": as_records(list(environment.inbox.emails.values())),
        "people": people(environment),
    }


def own(environment: Environment) -> frozenset[str]:
    """Return the person's own address."""
    return frozenset({str(environment.inbox.account_email)})


def _file_id(attached: Foreign) -> Foreign:
    return attached.get("file_id", attached) if hasattr(attached, "get") else attached


def fit(_tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Write files that are attached by their ids; what is attached otherwise does not fit, and is denied."""
    fitted = dict(arguments)
    if fitted.get("attachments") is not None:
        attached: list[Any] = fitted["attachments"]
        fitted["attachments"] = [_file_id(one) for one in attached]
    return fitted


WORKSPACE = Integration(
    "workspace",
    TOOLS,
    COLLECTIONS,
    records,
    own=own,
    fit=fit,
)
