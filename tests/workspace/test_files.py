"""Files on the real database and a real folder: versions, passages, roles, other companies."""

import asyncio
import hashlib
from pathlib import Path

import psycopg
import pytest

from operalta.kernel.errors import InvalidInput, NotAllowed
from operalta.kernel.ids import FileId, new_id
from operalta.sandbox.errors import FileTooLarge, InvalidPath, NeverWritable, NoSuchFile, WorkspaceFull
from operalta.sandbox.files import FileLimits, Workspace
from operalta.workspace.errors import NameInTheWay, NotText
from operalta.workspace.files import deletion, service
from operalta.workspace.files.file_store import FileStore
from operalta.workspace.files.rules import FileOrigin, StoredFile
from tests.conftest import Member
from tests.workspace.conftest import Look, Office, Opening, RunOpening


def _on_disk(tmp_path: Path, member: Member) -> set[str]:
    root = tmp_path / "workspaces" / str(member.company_id)
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def _is_untouched(tmp_path: Path) -> bool:
    return not list(tmp_path.iterdir())


async def test_versions_are_kept_and_each_can_be_had(
    office: Office, scope_of: Opening, files: FileStore, look: Look, tmp_path: Path
) -> None:
    async with scope_of(office.founder) as scope:
        first = await service.upload(scope, files, "plans/may.md", b"# May\n\nFirst.")
        second = await service.upload(scope, files, "plans/may.md", b"# May\n\nSecond.")
        same = await service.upload(scope, files, "plans/may.md", b"# May\n\nSecond.")
        found = await service.get(scope, files, first.id)
        old = await service.download(scope, files, first.id, 1)
        new = await service.download(scope, files, first.id)
    assert (second.id, second.version, same.version) == (first.id, 2, 2)
    assert (second.origin, second.content_type) == (FileOrigin.UPLOAD, "text/markdown")
    assert [(one.version, one.changed_by) for one in found.versions] == [
        (2, office.founder.person_id),
        (1, office.founder.person_id),
    ]
    assert (old.content, new.content, new.version) == (b"# May\n\nFirst.", b"# May\n\nSecond.", 2)
    digests = [hashlib.sha256(content).hexdigest() for content in (b"# May\n\nFirst.", b"# May\n\nSecond.")]
    assert _on_disk(tmp_path, office.founder) == {
        "files/plans/may.md",
        f"versions/{first.id}/1-{digests[0]}",
        f"versions/{first.id}/2-{digests[1]}",
    }
    assert look.actions(office.founder.company_id) == ["file.written", "file.written"]


async def test_a_deleted_file_leaves_its_versions_and_its_name_is_free(
    office: Office, scope_of: Opening, files: FileStore, look: Look, tmp_path: Path
) -> None:
    async with scope_of(office.founder) as scope:
        gone = await service.upload(scope, files, "a/b/c.txt", b"zebra")
        await deletion.delete(scope, files, gone.id)
        for attempt in (
            deletion.delete(scope, files, gone.id),
            service.download(scope, files, gone.id),
            service.read_text(scope, files, "a/b/c.txt"),
        ):
            with pytest.raises(NoSuchFile):
                await attempt
        assert (await service.list_files(scope, files)).items == ()
        assert await service.search_passages(scope, files, "zebra") == ()
        assert (await service.get(scope, files, gone.id)).file.deleted_at is not None
        assert (await service.download(scope, files, gone.id, 1)).content == b"zebra"
        fresh = await service.upload(scope, files, "a", b"now a file")
    assert fresh.id != gone.id
    assert {name for name in _on_disk(tmp_path, office.founder) if name.startswith("files/")} == {"files/a"}
    assert look.actions(office.founder.company_id) == ["file.written", "file.deleted", "file.written"]


async def test_text_is_cut_into_passages_that_are_found_and_cited(
    office: Office, scope_of: Opening, files: FileStore
) -> None:
    async with scope_of(office.founder) as scope:
        await service.upload(scope, files, "plan.md", b"# Goals\n\nSell to zebras.\n\n# Risks\n\nLions.")
        await service.upload(scope, files, "photo.png", b"zebra zebra")
        await service.upload(scope, files, "broken.md", b"zebra \xff\xfe")
        found = await service.search_passages(scope, files, "zebras")
        assert [(one.path, one.version, one.position, one.heading) for one in found] == [("plan.md", 1, 0, "Goals")]
        assert found[0].body == "Sell to zebras."
        assert [one.heading for one in await service.search_passages(scope, files, "where are lions and tigers")] == [
            "Risks"
        ]
        await service.upload(scope, files, "plan.md", b"# Goals\n\nSell to horses.")
        assert await service.search_passages(scope, files, "zebra") == ()
        assert await service.search_passages(scope, files, " ") == ()


async def test_text_is_read_from_its_beginning_and_other_kinds_are_not(
    office: Office, scope_of: Opening, files: FileStore, run_for: RunOpening
) -> None:
    async with run_for(office.founder) as (scope, _):
        written = await service.write_text(scope, files, "notes/größe.md", "Größe: 3")
        assert (written.origin, written.run_id) == (FileOrigin.AGENT, scope.actor.run_id)
        with pytest.raises(InvalidInput):
            await service.write_text(scope, files, "notes/x.md", "lone \ud800")
    async with scope_of(office.investor) as scope:
        found = await service.read_text(scope, files, "notes/größe.md")
        assert (found.text, found.is_whole) == ("Größe: 3", True)
        part = await service.read_text(scope, files, "notes/größe.md", 3)
        assert (part.text, part.is_whole) == ("Grö", False)
    async with scope_of(office.founder) as scope:
        await service.upload(scope, files, "page.html", b"<script>alert(1)</script>")
        await service.upload(scope, files, "broken.txt", b"\xff")
        for path in ("page.html", "broken.txt"):
            with pytest.raises(NotText):
                await service.read_text(scope, files, path)
        page = await service.list_files(scope, files, "notes/")
        assert [one.path for one in page.items] == ["notes/größe.md"]


@pytest.mark.proves("2.4.2")
async def test_another_company_sees_no_file_and_shares_no_folder(
    office: Office, scope_of: Opening, files: FileStore, tmp_path: Path
) -> None:
    async with scope_of(office.founder) as scope:
        ours = await service.upload(scope, files, "plan.md", b"zebra")
    async with scope_of(office.stranger) as scope:
        for attempt in (
            service.get(scope, files, ours.id),
            service.download(scope, files, ours.id),
            service.download(scope, files, ours.id, 1),
            deletion.delete(scope, files, ours.id),
            service.read_text(scope, files, "plan.md"),
        ):
            with pytest.raises(NoSuchFile):
                await attempt
        assert (await service.list_files(scope, files)).items == ()
        assert await service.search_passages(scope, files, "zebra") == ()
        assert await scope.all("SELECT body FROM workspace.passages") == []
        assert await scope.all("SELECT sha256 FROM workspace.file_versions") == []
        assert await scope.execute("UPDATE workspace.files SET deleted_at = now()") == 0
        assert await scope.execute("DELETE FROM workspace.passages") == 0
        theirs = await service.upload(scope, files, "plan.md", b"lion")
    assert theirs.id != ours.id
    assert (tmp_path / "workspaces" / str(office.founder.company_id) / "files/plan.md").read_bytes() == b"zebra"
    assert (tmp_path / "workspaces" / str(office.stranger.company_id) / "files/plan.md").read_bytes() == b"lion"


@pytest.mark.proves("2.4.2", "2.5.3")
async def test_readers_cannot_write_and_observers_cannot_read_by_the_service_nor_by_sql(
    office: Office, scope_of: Opening, files: FileStore, tmp_path: Path
) -> None:
    async with scope_of(office.founder) as scope:
        ours = await service.upload(scope, files, "plan.md", b"zebra")
    before = _on_disk(tmp_path, office.founder)
    for member in (office.investor, office.observer):
        async with scope_of(member) as scope:
            for attempt in (
                service.upload(scope, files, "mine.md", b"x"),
                service.write_text(scope, files, "mine.md", "x"),
                deletion.delete(scope, files, ours.id),
            ):
                with pytest.raises(NotAllowed):
                    await attempt
            assert await scope.execute("UPDATE workspace.files SET deleted_at = now()") == 0
            assert await scope.execute("DELETE FROM workspace.passages") == 0
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await scope.execute(
                    "INSERT INTO workspace.files (company_id, id, path, size, sha256, content_type, origin, changed_by)"
                    " VALUES (%(company)s, gen_random_uuid(), 'x', 0, repeat('0', 64), 'x', 'upload', %(person)s)",
                    {"company": scope.company, "person": scope.actor.person_id},
                )
    assert _on_disk(tmp_path, office.founder) == before
    async with scope_of(office.observer) as scope:
        for attempt in (
            service.get(scope, files, ours.id),
            service.list_files(scope, files),
            service.read_text(scope, files, "plan.md"),
            service.download(scope, files, ours.id),
            service.search_passages(scope, files, "zebra"),
        ):
            with pytest.raises(NotAllowed):
                await attempt
        assert await scope.all("SELECT path FROM workspace.files") == []
        assert await scope.all("SELECT * FROM workspace.search_passages('zebra', 10)") == []


@pytest.mark.proves("5.2.2")
@pytest.mark.parametrize(
    "path",
    [
        "",
        "../up.md",
        "a/../../up.md",
        "/etc/passwd",
        "a//b",
        "a\x00.md",
        "..\\up.md",
        "%2e%2e/up.md",
        "%252e%252e%252fup.md",
        "\uff0e\uff0e/up.md",
        "a/./b",
        "/".join("abcdefghijklmnop"),
        "x" * 401,
        "lone\ud800.md",
    ],
)
async def test_a_bad_name_is_refused_before_a_byte_is_touched(
    office: Office, scope_of: Opening, files: FileStore, tmp_path: Path, path: str
) -> None:
    async with scope_of(office.founder) as scope:
        for attempt in (
            service.upload(scope, files, path, b"x"),
            service.write_text(scope, files, path, "x"),
            service.read_text(scope, files, path),
        ):
            with pytest.raises(InvalidPath):
                await attempt
    assert _is_untouched(tmp_path)


async def test_what_programs_obey_and_what_is_too_large_is_refused_before_a_byte_is_touched(
    office: Office, scope_of: Opening, files: FileStore, tmp_path: Path
) -> None:
    async with scope_of(office.founder) as scope:
        for path in (".git/hooks/pre-commit", "a/.bashrc", ".GIT/config"):
            with pytest.raises(NeverWritable):
                await service.upload(scope, files, path, b"x")
        with pytest.raises(FileTooLarge):
            await service.upload(scope, files, "big.bin", b"x" * 100_001)
    assert _is_untouched(tmp_path)


async def test_a_file_is_no_folder_and_a_folder_no_file(office: Office, scope_of: Opening, files: FileStore) -> None:
    async with scope_of(office.founder) as scope:
        await service.upload(scope, files, "a/b.md", b"x")
        for path in ("a", "a/b.md/c.md"):
            with pytest.raises(NameInTheWay):
                await service.upload(scope, files, path, b"x")
        await service.upload(scope, files, "a/b", b"x")


async def test_uploads_of_one_name_at_once_become_versions_one_after_the_other(
    office: Office, scope_of: Opening, files: FileStore
) -> None:
    together = asyncio.Barrier(5)

    async def bring(content: bytes) -> StoredFile:
        async with scope_of(office.founder) as scope:
            await together.wait()
            return await service.upload(scope, files, "plan.md", content)

    brought = await asyncio.gather(*(bring(f"Text {number}".encode()) for number in range(5)))
    assert len({file.id for file in brought}) == 1
    assert sorted(file.version for file in brought) == [1, 2, 3, 4, 5]
    async with scope_of(office.founder) as scope:
        for file in brought:
            kept = await service.download(scope, files, file.id, file.version)
            assert hashlib.sha256(kept.content).hexdigest() == file.sha256


@pytest.mark.proves("5.2.1")
async def test_a_store_narrowed_to_folders_reaches_nothing_else(
    office: Office, scope_of: Opening, run_for: RunOpening, files: FileStore
) -> None:
    async with scope_of(office.founder) as scope:
        inside = await service.upload(scope, files, "notes/in.md", b"zebra inside")
        outside = await service.upload(scope, files, "board/out.md", b"zebra outside")
        beside = await service.upload(scope, files, "notes-private/beside.md", b"zebra beside")
    narrow = files.narrowed_to("notes")
    async with run_for(office.founder) as (scope, _):
        assert (await service.read_text(scope, narrow, "notes/in.md")).text == "zebra inside"
        assert [one.path for one in (await service.list_files(scope, narrow)).items] == ["notes/in.md"]
        assert [one.path for one in await service.search_passages(scope, narrow, "zebra")] == ["notes/in.md"]
        for path in ("board/out.md", "notes-private/beside.md"):
            with pytest.raises(NotAllowed):
                await service.read_text(scope, narrow, path)
            with pytest.raises(NotAllowed):
                await service.write_text(scope, narrow, path, "x")
        for file in (outside, beside):
            for attempt in (
                service.get(scope, narrow, file.id),
                service.download(scope, narrow, file.id),
                service.download(scope, narrow, file.id, 1),
                deletion.delete(scope, narrow, file.id),
            ):
                with pytest.raises(NoSuchFile):
                    await attempt
        await deletion.delete(scope, narrow, inside.id)
    with pytest.raises(NotAllowed):
        narrow.narrowed_to("board")


async def test_a_working_copy_holds_the_reached_files(
    office: Office, scope_of: Opening, files: FileStore, tmp_path: Path
) -> None:
    async with scope_of(office.founder) as scope:
        for path in ("notes/a.md", "notes/deep/b.md", "board/c.md"):
            await service.upload(scope, files, path, path.encode())
        with Workspace(tmp_path / "copy") as target:
            assert await service.make_working_copy(scope, files.narrowed_to("notes"), target) == 2
            assert target.read_bytes("notes/deep/b.md") == b"notes/deep/b.md"
            assert [entry.path.name for entry in target.list().entries] == ["notes"]


async def test_pages_hold_every_file_once_by_name(office: Office, scope_of: Opening, files: FileStore) -> None:
    names = [f"n/{number}.md" for number in range(5)]
    async with scope_of(office.founder) as scope:
        for name in names:
            await service.upload(scope, files, name, b"x")
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(3):
            page = await service.list_files(scope, files, "n", cursor, 2)
            seen += [one.path for one in page.items]
            cursor = page.next_cursor
        assert cursor is None
        assert seen == names
        with pytest.raises(InvalidInput):
            await service.list_files(scope, files, cursor="garbage")
        with pytest.raises(InvalidPath):
            await service.list_files(scope, files, "../n")
        with pytest.raises(NoSuchFile):
            await service.get(scope, files, FileId(new_id()))


async def test_a_full_workspace_refuses_and_keeps_nothing_of_it(
    office: Office, scope_of: Opening, tmp_path: Path
) -> None:
    small = FileStore(tmp_path / "workspaces", FileLimits(file_bytes=1_000, total_bytes=1_500, entries=100))
    with pytest.raises(WorkspaceFull):
        async with scope_of(office.founder) as scope:
            await service.upload(scope, small, "a.bin", b"x" * 1_000)
    assert _on_disk(tmp_path, office.founder) == set()
    async with scope_of(office.founder) as scope:
        assert (await service.list_files(scope, small)).items == ()
        await service.upload(scope, small, "a.bin", b"x" * 700)
