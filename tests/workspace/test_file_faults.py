"""What happens to files when something fails in the middle, or somebody changes the disk."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from operalta.db.scope import Scope
from operalta.kernel.ids import FileId
from operalta.sandbox.errors import LinkRefused
from operalta.workspace.errors import FileDamaged
from operalta.workspace.files import deletion, service
from operalta.workspace.files.file_store import FileStore
from operalta.workspace.files.rules import Content
from tests.conftest import Member
from tests.workspace.conftest import Office, Opening


class PulledPlug(Exception):  # noqa: N818 - it is no error, it is what the test does
    pass


def _version(tmp_path: Path, member: Member, file: FileId, version: int, content: bytes) -> Path:
    root = tmp_path / "workspaces" / str(member.company_id) / "versions" / str(file)
    return root / f"{version}-{Content.of(content).sha256}"


async def _fail_after(opening: AbstractAsyncContextManager[Scope], work: Callable[[Scope], Awaitable[object]]) -> None:
    async with opening as scope:
        await work(scope)
        raise PulledPlug


async def test_a_transaction_that_fails_leaves_the_rows_pointing_to_their_own_bytes(
    office: Office, scope_of: Opening, files: FileStore
) -> None:
    async with scope_of(office.founder) as scope:
        kept = await service.upload(scope, files, "plan.md", b"old zebra")
    with pytest.raises(PulledPlug):
        await _fail_after(scope_of(office.founder), lambda scope: service.upload(scope, files, "plan.md", b"new lion"))
    async with scope_of(office.founder) as scope:
        assert (await service.read_text(scope, files, "plan.md")).text == "old zebra"
        assert (await service.download(scope, files, kept.id)).version == 1
        assert [one.body for one in await service.search_passages(scope, files, "zebra lion")] == ["old zebra"]
        again = await service.upload(scope, files, "plan.md", b"another lion")
        assert again.version == 2
        assert (await service.read_text(scope, files, "plan.md")).text == "another lion"


async def test_what_a_failed_transaction_left_under_a_name_is_not_in_the_way(
    office: Office, scope_of: Opening, files: FileStore
) -> None:
    for left, wanted in (("a", "a/b.md"), ("c/d.md", "c")):
        bring = partial(service.upload, store=files, path=left, content=b"left")
        with pytest.raises(PulledPlug):
            await _fail_after(scope_of(office.founder), bring)
        async with scope_of(office.founder) as scope:
            await service.upload(scope, files, wanted, b"wanted")
            assert (await service.read_text(scope, files, wanted)).text == "wanted"


async def test_a_deletion_that_fails_deletes_nothing(office: Office, scope_of: Opening, files: FileStore) -> None:
    async with scope_of(office.founder) as scope:
        kept = await service.upload(scope, files, "plan.md", b"zebra")
    with pytest.raises(PulledPlug):
        await _fail_after(scope_of(office.founder), lambda scope: deletion.delete(scope, files, kept.id))
    async with scope_of(office.founder) as scope:
        assert (await service.read_text(scope, files, "plan.md")).text == "zebra"


@pytest.mark.parametrize("damage", ["changed", "truncated", "missing"])
async def test_damaged_bytes_are_never_shown_and_bringing_them_again_mends_them(
    office: Office, scope_of: Opening, files: FileStore, tmp_path: Path, damage: str
) -> None:
    async with scope_of(office.founder) as scope:
        kept = await service.upload(scope, files, "plan.md", b"zebra")
    on_disk = _version(tmp_path, office.founder, kept.id, 1, b"zebra")
    match damage:
        case "changed":
            on_disk.write_bytes(b"zebrA")
        case "truncated":
            on_disk.write_bytes(b"zeb")
        case _:
            on_disk.unlink()
    async with scope_of(office.founder) as scope:
        for attempt in (
            service.read_text(scope, files, "plan.md"),
            service.download(scope, files, kept.id),
            service.download(scope, files, kept.id, 1),
        ):
            with pytest.raises(FileDamaged):
                await attempt
        await service.upload(scope, files, "plan.md", b"zebra")
        assert (await service.download(scope, files, kept.id)).content == b"zebra"


async def test_what_stands_under_the_name_decides_nothing(
    office: Office, scope_of: Opening, files: FileStore, tmp_path: Path
) -> None:
    async with scope_of(office.founder) as scope:
        await service.upload(scope, files, "plan.md", b"zebra")
    shown = tmp_path / "workspaces" / str(office.founder.company_id) / "files" / "plan.md"
    shown.write_bytes(b"something else")
    async with scope_of(office.founder) as scope:
        assert (await service.read_text(scope, files, "plan.md")).text == "zebra"


@pytest.mark.proves("5.2.3")
async def test_a_link_planted_in_the_workspace_leads_nowhere(
    office: Office, scope_of: Opening, files: FileStore, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"zebra")
    outside = tmp_path / "outside"
    outside.mkdir()
    async with scope_of(office.founder) as scope:
        kept = await service.upload(scope, files, "plan.md", b"zebra")
    on_disk = _version(tmp_path, office.founder, kept.id, 1, b"zebra")
    on_disk.unlink()
    on_disk.symlink_to(tmp_path / "secret")
    (tmp_path / "workspaces" / str(office.founder.company_id) / "files" / "out").symlink_to(outside)
    async with scope_of(office.founder) as scope:
        with pytest.raises(LinkRefused):
            await service.download(scope, files, kept.id)
    with pytest.raises(LinkRefused):
        async with scope_of(office.founder) as scope:
            await service.upload(scope, files, "out/planted.md", b"x")
    assert list(outside.iterdir()) == []
