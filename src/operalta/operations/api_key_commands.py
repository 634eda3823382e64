"""`operalta api-keys`: what the operator does about a company's API keys. Each use leaves an event in its log."""

import json
import sys
from dataclasses import asdict
from typing import Annotated
from uuid import UUID

import typer

from operalta.settings import load_settings

api_key_commands = typer.Typer(
    help="A company's API keys; members make them on its page. Each use here leaves an event in the company's log.",
    no_args_is_help=True,
)

Reason = Annotated[str, typer.Option(help="Why; it stays in the company's log.", prompt="Why")]


@api_key_commands.command("list")
def list_keys(
    company: Annotated[str, typer.Argument(metavar="COMPANY", help="Its short name, as it stands in its address.")],
    reason: Reason,
    as_json: Annotated[bool, typer.Option("--json", help="Print the keys as JSON.")] = False,
) -> None:
    """List a company's keys, the newest first: who holds them, what they may do, when they were used.

    Ends with 1 where there is none.

    Example: operalta api-keys list lumen --reason "looking for a leaked key" --json
    """
    import asyncio

    from operalta.operations.api_keys import find_keys

    found = asyncio.run(find_keys(load_settings(), company, reason))
    if as_json:
        print(json.dumps([asdict(each) for each in found], indent=2, default=str))
    for each in () if as_json else found:
        ended = f"revoked {each.revoked_at:%Y-%m-%d}" if each.revoked_at else f"ends {each.expires_at:%Y-%m-%d}"
        used = f"used {each.last_used_at:%Y-%m-%d %H:%M}" if each.last_used_at else "never used"
        print(f"{each.id}  {each.shown}…  {each.name}")
        print(f"    {each.kind}, held by {each.holder}; {ended}, {used}; {' '.join(each.scopes)}")
    if not found:
        print("operalta: no such company, or it has no key", file=sys.stderr)
        raise typer.Exit(1)


@api_key_commands.command("revoke")
def revoke(
    key: Annotated[UUID, typer.Argument(metavar="ID", help="The key's id, from `api-keys list`.")], reason: Reason
) -> None:
    """End a key at once: the next request with it is refused.

    Example: operalta api-keys revoke 01a20f8d-656f-78da-848b-e6cfcfa893b1 --reason "found in a public repository"
    """
    import asyncio

    from operalta.operations.api_keys import revoke_key

    asyncio.run(revoke_key(load_settings(), key, reason))
    print("The key opens nothing any more.")
