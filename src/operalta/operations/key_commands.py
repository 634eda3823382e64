"""`operalta keys`: look at the deployment's keys, and exchange them while everything runs."""

import asyncio
import json
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from operalta.kernel.ids import CompanyId
from operalta.settings import Settings, load_settings

if TYPE_CHECKING:
    from operalta.operations.rotation.companies import CompanyRotated
    from operalta.operations.rotation.deployment import KeyStates
    from operalta.operations.rotation.root import RootRotated

key_commands = typer.Typer(
    help="The root key and the companies' keys: where they stand, and how they are exchanged.", no_args_is_help=True
)

PROJECT = Path(__file__).resolve().parents[3]
WRONG_USE, UNFINISHED = 2, 3
AsJson = Annotated[bool, typer.Option("--json", help="Print what came of it as JSON.")]


@key_commands.command("status")
def keys_status(as_json: AsJson = False) -> None:
    """Tell where the root key comes from, what each root key wraps, and which companies' keys are being rotated.

    Ends with 3 where a rotation was begun and not ended, or a secret is sealed under a key that is gone.

    Example: operalta keys status --json
    """
    from operalta.operations.rotation.deployment import key_states

    _as_its_user()
    states = asyncio.run(key_states(load_settings()))
    if as_json:
        print(json.dumps(asdict(states), indent=2, default=str))
    else:
        _show(states)
    earlier = any(root.wraps for root in states.roots if not root.in_use)
    if earlier or any(company.unfinished or company.lost for company in states.companies):
        raise typer.Exit(UNFINISHED)


@key_commands.command("rotate")
def keys_rotate(
    root: Annotated[bool, typer.Option("--root", help="The root key, which wraps all the others.")] = False,
    company: Annotated[UUID | None, typer.Option(metavar="ID", help="The key of one company.")] = None,
    every: Annotated[bool, typer.Option("--all", help="The keys of all companies.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put a fresh key in use and seal everything under it anew. Nothing has to stop, and nothing fails to open.

    One that was interrupted goes on where it was. Ends with 3 where a key before could not be forgotten yet.

    Example: operalta keys rotate --company 01a20f8d-656f-78da-848b-e6cfcfa893b1
    """
    if [root, company is not None, every].count(True) != 1:
        _say("give one of --root, --company ID and --all")
        raise typer.Exit(WRONG_USE)
    _as_its_user()
    settings = load_settings()
    if root:
        _tell_root(asyncio.run(_rotate_root(settings, anew=True)), as_json=as_json)
        return
    rotated = asyncio.run(_rotate_companies(settings, None if company is None else CompanyId(company)))
    if as_json:
        print(json.dumps([asdict(each) for each in rotated], indent=2, default=str))
    for each in () if as_json else rotated:
        ended = "" if each.retired else "; the version before is still in use, run this again"
        print(f"{each.company}  version {each.version}, {each.resealed} secrets sealed anew{ended}")
        for secret in each.damaged:
            print(f"    secret {secret} does not open and did not before: it was altered or moved")
    if not all(each.retired for each in rotated):
        raise typer.Exit(UNFINISHED)


@key_commands.command("rewrap")
def keys_rewrap(as_json: AsJson = False) -> None:
    """Wrap everything with the root key in use, and forget earlier root keys ten minutes after they were superseded.

    For a root key that was exchanged in the environment, and to end what `keys rotate --root` has begun.

    Example: operalta keys rewrap --json
    """
    _as_its_user()
    _tell_root(asyncio.run(_rotate_root(load_settings(), anew=False)), as_json=as_json)


async def _rotate_root(settings: Settings, *, anew: bool) -> "RootRotated":
    from operalta.operations.rotation.deployment import rotations

    async with rotations(settings) as opened:
        with _progress("wrapping keys anew", None) as advance:
            return await (opened.root.rotate(advance) if anew else opened.root.rewrap(advance))


async def _rotate_companies(settings: Settings, company: CompanyId | None) -> "list[CompanyRotated]":
    from operalta.operations.rotation.deployment import key_states, rotations

    states = await key_states(settings)
    wanted = [state for state in states.companies if state.versions and company in (None, state.company)]
    if company is not None and not wanted:
        _say(f"the company {company} has no key: nothing of it is sealed, or its key was dropped")
        raise typer.Exit(1)
    total = sum(number for state in wanted for version, number in state.secrets.items() if version)
    async with rotations(settings) as opened:
        with _progress("sealing secrets anew", total) as advance:
            return [await opened.companies.rotate(state.company, advance) for state in wanted]


def _tell_root(rotated: "RootRotated", *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(asdict(rotated), indent=2, default=str))
        return
    print(
        f"The root key in use is {rotated.root}{' (an earlier rotation was ended)' if rotated.resumed else ''}: "
        f"{rotated.company_keys} companies' keys, {rotated.signing_keys} signing keys and {rotated.authenticators} "
        "authenticator apps were wrapped anew."
    )
    for app in rotated.damaged_authenticators:
        print(f"  authenticator app {app} does not open: its person has to enrol it again")
    for root in rotated.retired:
        print(f"  the earlier root key {root} is forgotten")
    for root in rotated.kept:
        print(f"  the earlier root key {root} is kept for now: run `operalta keys rewrap` in ten minutes")


def _show(states: "KeyStates") -> None:
    print(f"The root key comes from: {states.source}")
    for root in states.roots:
        since = f"superseded {root.superseded_at:%Y-%m-%d %H:%M} UTC" if root.superseded_at else "kept as earlier"
        print(f"  {root.id}  wraps {root.wraps:6}  {'in use' if root.in_use else since}")
    secrets = sum(sum(company.secrets.values()) for company in states.companies)
    print(f"{len(states.companies)} companies have keys, and {secrets} secrets are sealed under them.")
    for company in states.companies:
        if company.unfinished:
            print(f"  {company.company}  a rotation was not ended: operalta keys rotate --company {company.company}")
        if company.lost:
            print(f"  {company.company}  {company.lost} secrets are sealed under a key that is gone")


@contextmanager
def _progress(what: str, total: int | None) -> Generator[Callable[[int], None]]:
    """Show a bar on a terminal, and nothing to a script."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns: tuple[Any, ...] = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda number: bar.advance(task, number)


def _as_its_user() -> None:
    """Go on as the user that the deployment runs as: what root wrote, it could not read."""
    from operalta.operations.privileges import leave_root

    leave_root(PROJECT, (load_settings().var,))


def _say(text: str) -> None:
    print(f"operalta: {text}", file=sys.stderr, flush=True)
