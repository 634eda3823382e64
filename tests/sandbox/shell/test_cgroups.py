"""Control groups around sandboxes, where this process may make them."""

import asyncio
from pathlib import Path

import pytest

from operalta.sandbox.shell import member
from operalta.sandbox.shell.cgroups import MOUNTED, ControlFiles, Group, places
from operalta.sandbox.shell.member import Member
from operalta.sandbox.shell.profile import Profile
from operalta.sandbox.shell.rules import MEBIBYTE, CommandLimits, Ending, Job

EATING = "import time; x = bytearray(b'1' * (300 << 20)); time.sleep(20)"


@pytest.fixture
def place(profile: Profile) -> str:
    if not places():
        pytest.skip(f"this process has no place for control groups below {MOUNTED}")
    return str(profile.limits.seconds)


async def test_without_a_place_there_is_nothing(tmp_path: Path) -> None:
    assert places(tmp_path) == ()
    group = Group(CommandLimits(), ())
    group.take_in((1,))
    assert (group.made, group.ran_out_of_memory) == (0, False)
    await group.remove()


async def test_a_group_goes_as_soon_as_it_is_empty(tmp_path: Path) -> None:
    group = Group(CommandLimits(), (ControlFiles(tmp_path, None, None, None),))
    folder = only_one_in(tmp_path)
    (folder / "a process that ends").touch()
    removing = asyncio.create_task(group.remove())
    await asyncio.sleep(0.05)
    assert folder.exists()
    (folder / "a process that ends").unlink()
    await removing
    assert not folder.exists()


@pytest.mark.proves("5.3.2")
@pytest.mark.usefixtures("place")
async def test_the_kernel_ends_what_takes_too_much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nobody_watches(*_: object) -> Ending:
        await asyncio.sleep(600)
        return Ending.BROKEN

    monkeypatch.setattr(member.watch, "until_exceeded", nobody_watches)
    started = await Member.start(Profile(CommandLimits(seconds=20, memory_bytes=128 * MEBIBYTE)))
    report = await started.run(Job(("python3", "-c", EATING)))
    assert report.ending is Ending.MEMORY


@pytest.mark.usefixtures("place")
async def test_groups_go_with_their_sandboxes(profile: Profile) -> None:
    started = await Member.start(profile)
    made = [group for found in places() for group in found.folder.iterdir() if is_around(group, started.first)]
    assert len(made) == len(places())
    assert (await started.run(Job(("true",)))).exit_code == 0
    assert not any(group.exists() for group in made)


def only_one_in(folder: Path) -> Path:
    (found,) = folder.iterdir()
    return found


def is_around(group: Path, process: int) -> bool:
    try:
        return str(process) in (group / "cgroup.procs").read_text().split()
    except OSError:
        return False
