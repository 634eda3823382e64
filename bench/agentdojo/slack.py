"""The suite `slack`, declared: channels, members and messages of one workspace, and the web.

Whoever is a member was let in by the company, so members and channels are a directory, and a member's message is a
colleague's; the platform sets its sender, and what the agent sent itself is nobody's. Into the workspace and out of it
is a matter of identity; which of its channels a member sits in is not, as it lets nobody in and can be undone.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from bench.agentdojo.integration import Arguments, Integration, Name, Text, declare, read, words
from bench.agentdojo.suites import Environment
from operalta.agents.records import Bindings, Collection, Pick, Record, Selector
from operalta.agents.registry import SinkType, ToolClass


class Channel(Arguments):
    """A channel."""

    channel: Name


class User(Arguments):
    """A member."""

    user: Name


class Seat(Arguments):
    """A member and a channel."""

    user: Name
    channel: Name


class Direct(Arguments):
    """A message to a member."""

    recipient: Name
    body: Text


class Posted(Arguments):
    """A message to a channel."""

    channel: Name
    body: Text


class Newcomer(Arguments):
    """Who is to be let in."""

    user: Name
    user_email: Name


class Page(Arguments):
    """A page of the web."""

    url: Name


class Publication(Arguments):
    """A page, and what it is to hold."""

    url: Name
    content: Text


_SAY = "send post write reply tell"
_BODY = words("message body text question")

TOOLS = (
    read("get_channels"),
    read("read_channel_messages", Channel, channel=SinkType.PERSON),
    read("read_inbox", User, user=SinkType.PERSON),
    read("get_users_in_channel", Channel, channel=SinkType.PERSON),
    declare(
        "add_user_to_channel",
        ToolClass.WRITE_SHARED,
        Seat,
        {"user": SinkType.PERSON, "channel": SinkType.PERSON},
        "add",
        bindings=Bindings(takes={"user": "users", "channel": "channels"}, leaves=words("user channel")),
        reversible=True,
    ),
    declare(
        "send_direct_message",
        ToolClass.WRITE_SHARED,
        Direct,
        {"recipient": SinkType.PERSON, "body": SinkType.BODY},
        _SAY,
        bindings=Bindings(
            takes={"recipient": "users"},
            leaves=words("recipient"),
            labels={"body": _BODY},
            dictated=words("body"),
            to_colleagues=True,
        ),
    ),
    declare(
        "send_channel_message",
        ToolClass.WRITE_SHARED,
        Posted,
        {"channel": SinkType.PERSON, "body": SinkType.BODY},
        _SAY,
        bindings=Bindings(
            takes={"channel": "channels"},
            leaves=words("channel"),
            labels={"body": _BODY},
            dictated=words("body"),
            to_colleagues=True,
        ),
    ),
    declare(
        "invite_user_to_slack",
        ToolClass.IDENTITY,
        Newcomer,
        {"user": SinkType.PERSON, "user_email": SinkType.ADDRESS},
        "invite",
    ),
    declare("remove_user_from_slack", ToolClass.IDENTITY, User, {"user": SinkType.PERSON}, "remove"),
    declare("get_webpage", ToolClass.EGRESS, Page, {"url": SinkType.URL}, "read visit open get"),
    declare(
        "post_webpage", ToolClass.PUBLISH, Publication, {"url": SinkType.URL, "content": SinkType.BODY}, "post publish"
    ),
)

COLLECTIONS = (
    Collection(
        "users",
        reference="name",
        identity="name",
        outsiders_write=False,
        directory=True,
        selectors=(
            Selector(r"\ball users who are not already in the channel\b", Pick.ALL),
            Selector(r"\buser who wrote the most (?:total )?(?:channel )?messages\b", Pick.HIGHEST, "wrote"),
        ),
    ),
    Collection(
        "channels",
        reference="name",
        identity="name",
        outsiders_write=False,
        nouns=words("channel"),
        selectors=(
            Selector(r"\bchannel with the most users\b", Pick.HIGHEST, "members"),
            Selector(r"\bchannel with the (?:fewest|least) users\b", Pick.LOWEST, "members"),
            Selector(r"\bchannel with the (?:most|largest number of) messages\b", Pick.HIGHEST, "messages"),
            Selector(r"\bchannel with the (?:fewest|smallest number of) messages\b", Pick.LOWEST, "messages"),
            Selector(r"\bchannel starting with (?P<value>\w+)", Pick.BEGINS, "name"),
        ),
    ),
    Collection(
        "messages",
        reference="recipient",
        identity="body",
        owner="sender",
        text="body",
        selectors=(
            Selector(
                r"\bchannel where (?P<sender>\w+) (?:asked|wrote|spoke) about (?:the |a )?(?P<body>\w+ \w+)(?= and\b)",
                Pick.MATCHING,
                "body",
                gives="channels",
            ),
        ),
    ),
)


def records(environment: Environment) -> Mapping[str, Sequence[Record]]:
    """Read all collections."""
    slack = environment.slack
    posted = [one for messages in slack.channel_inbox.values() for one in messages]
    wrote = Counter(one.sender for one in posted)
    return {
        "users": [{"name": name, "wrote": wrote[name]} for name in slack.users],
        "channels": [
            {
                "name": name,
                "members": sum(name in channels for channels in slack.user_channels.values()),
                "messages": len(slack.channel_inbox.get(name, ())),
            }
            for name in slack.channels
        ],
        "messages": [one.model_dump() for one in posted],
    }


SLACK = Integration(
    "slack",
    TOOLS,
    COLLECTIONS,
    records,
    own=lambda _environment: frozenset(),
    hears={"read_channel_messages": "messages", "read_inbox": "messages"},
)
