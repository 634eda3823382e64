"""`operalta people`: support for people by whoever runs the deployment. Each use leaves an audit event."""

import json
import sys
from dataclasses import asdict
from typing import Annotated
from uuid import UUID

import typer

from operalta.access.rules import StaffRole
from operalta.settings import load_settings

people_commands = typer.Typer(help="People and their accounts; each use leaves an audit event.", no_args_is_help=True)

Reason = Annotated[str, typer.Option(help="Why; it stays in the audit log.", prompt="Why")]
PersonArgument = Annotated[UUID, typer.Argument(metavar="ID", help="The person's id, from `people find`.")]


@people_commands.command("find")
def people_find(
    wanted: Annotated[str, typer.Argument(metavar="TEXT", help="A part of an address or a name, or an id.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the people as JSON.")] = False,
) -> None:
    """Find people by a part of their address or name, with their sessions and second factors; at most 50.

    Ends with 1 where there is nobody.

    Example: operalta people find ada@ --json
    """
    import asyncio

    from operalta.operations.people import find_people

    found = asyncio.run(find_people(load_settings(), wanted))
    if as_json:
        print(json.dumps([asdict(each) for each in found], indent=2, default=str))
    for each in () if as_json else found:
        factors = f"{each.phones} phones, {each.authenticators} apps, {each.passkeys} passkeys"
        seen = f"seen {each.last_seen_at:%Y-%m-%d %H:%M}" if each.last_seen_at else "never seen"
        print(f"{each.id}  {each.email}  {each.name}{'  (operator)' if each.is_operator else ''}")
        print(f"    {each.live_sessions} sessions, {seen}; {factors}, {each.recovery_codes} recovery codes")
    if not found:
        print("operalta: nobody was found", file=sys.stderr)
        raise typer.Exit(1)


@people_commands.command("sign-out")
def people_sign_out(person: PersonArgument, reason: Reason) -> None:
    """End every session of a person at once.

    Example: operalta people sign-out 01a20f8d-656f-78da-848b-e6cfcfa893b1 --reason "laptop stolen"
    """
    import asyncio

    from operalta.operations.people import sign_out

    print(f"{asyncio.run(sign_out(load_settings(), person, reason))} sessions have ended.")


@people_commands.command("reset-factors")
def people_reset_factors(
    person: PersonArgument,
    reason: Reason,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take all second factors and recovery codes of a person away and sign them out. They are told by mail.

    Their password alone opens the account then, so make sure who is asking.

    Example: operalta people reset-factors 01a20f8d-656f-78da-848b-e6cfcfa893b1 --reason "phone lost, seen in person"
    """
    import asyncio

    from operalta.operations.people import reset_factors

    if not yes:
        typer.confirm("The password alone will open this account. Go on?", abort=True)
    print(f"{asyncio.run(reset_factors(load_settings(), person, reason))} second factors were taken away.")


@people_commands.command("appoint")
def people_appoint(
    person: PersonArgument,
    role: Annotated[StaffRole, typer.Option(help="What they may be in a company that they visit.")],
    reason: Reason,
) -> None:
    """Let a person visit companies as staff: for a reason, for hours at most, told to the company each time.

    Staff change nothing. Support sees how a company is set up; an auditor its audit log as well.

    Example: operalta people appoint 01a20f8d-656f-78da-848b-e6cfcfa893b1 --role support --reason "joined the help desk"
    """
    import asyncio

    from operalta.operations.people import appoint_staff

    asyncio.run(appoint_staff(load_settings(), person, role, reason))
    print(f"They may visit companies as {role.value}, on the page /staff.")


@people_commands.command("dismiss")
def people_dismiss(person: PersonArgument, reason: Reason) -> None:
    """End a person's appointment as staff, and every visit of theirs, at once.

    Example: operalta people dismiss 01a20f8d-656f-78da-848b-e6cfcfa893b1 --reason "left the help desk"
    """
    import asyncio

    from operalta.operations.people import dismiss_staff

    asyncio.run(dismiss_staff(load_settings(), person, reason))
    print("They are staff no longer, and their visits have ended.")
