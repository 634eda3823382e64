"""Control groups around sandboxes, where this process may make them."""

import asyncio
from pathlib import Path

import pytest

from operalta.sandbox.shell import member
from operalta.sandbox.shell.cgroups import MOUNTED, Group, places
from operalta.sandbox.shell.member import Member
from operalta.sandbox.shell.profile import Profile
from operalta.sandbox.shell.rules import MEBIBYTE, CommandLimits, Ending, Job

EATING = "import time; x = bytearray(b'1' * (300 << 20)); time.sleep(20)"


@pytest.fixture
def place(profile: Profile) -> str:
    if not places():
        pytest.skip(f"this process has no place for control groups below {MOUNTED}")
    return str(profile.limits.seconds)


def test_without_a_place_there_is_nothing(tmp_path: Path) -> None:
    assert places(tmp_path) == ()
    group = Group(CommandLimits(), ())
    group.take_in((1,))
    assert (group.made, group.ran_out_of_memory) == (0, False)
    group.remove()


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
    folders = [found.folder for found in places()]
    before = [set(folder.iterdir()) for folder in folders]
    started = await Member.start(profile)
    made = [set(folder.iterdir()) - known for folder, known in zip(folders, before, strict=True)]
    assert all(len(each) == 1 for each in made)
    inside = next(iter(made[0])) / "cgroup.procs"
    assert len(inside.read_text().split()) >= 2
    assert (await started.run(Job(("true",)))).exit_code == 0
    assert not any(path.exists() for each in made for path in each)
