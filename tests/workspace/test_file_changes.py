"""Files that are added to, moved, deleted and brought back: rows, bytes, events; roles and other companies."""

from pathlib import Path

import psycopg
import pytest

from operalta.kernel.errors import InvalidInput, NotAllowed
from operalta.sandbox.errors import FileTooLarge, InvalidPath, NameTaken, NeverWritable, NoSuchFile, NotDeclared
from operalta.workspace.errors import FileDamaged, NameInTheWay, NotInTheBin, NotText
from operalta.workspace.files import deletion, service
from operalta.workspace.files.file_store import FileStore
from operalta.workspace.files.rules import Content, FileOrigin
from tests.conftest import Member
from tests.workspace.conftest import Look, Office, Opening, RunOpening


def shown(tmp_path: Path, member: Member) -> dict[str, bytes]:
    """Return what stands under the files' names on disk."""
    root = tmp_path / "workspaces" / str(member.company_id) / "files"
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


async def test_what_is_added_comes_on_a_line_of_its_own_as_a_new_version(
    office: Office, scope_of: Opening, files: FileStore, tmp_path: Path
) -> None:
    async with scope_of(office.founder) as scope:
        first = await service.append_text(scope, files, "log.md", "zebra")
        second = await service.append_text(scope, files, "log.md", "lion\n")
        third = await service.append_text(scope, files, "log.md", "tiger")
        assert (first.version, second.version, third.version) == (1, 2, 3)
        assert (await service.read_text(scope, files, "log.md")).text == "zebra\nlion\ntiger"
        assert (await service.download(scope, files, first.id, 1)).content == b"zebra"
        assert [one.body for one in await service.search_passages(scope, files, "tiger")] == ["zebra\nlion\ntiger"]
        await service.upload(scope, files, "photo.png", b"x")
        await service.upload(scope, files, "broken.txt", b"\xff")
        for path in ("photo.png", "broken.txt"):
            with pytest.raises(NotText):
                await service.append_text(scope, files, path, "x")
        with pytest.raises(FileTooLarge):
            await service.append_text(scope, files, "log.md", "x" * 99_990)
        with pytest.raises(InvalidInput):
            await service.append_text(scope, files, "log.md", "lone \ud800")
    assert shown(tmp_path, office.founder)["log.md"] == b"zebra\nlion\ntiger"


async def test_damaged_bytes_are_neither_added_to_nor_moved_nor_restored(
    office: Office, scope_of: Opening, files: FileStore, tmp_path: Path
) -> None:
    async with scope_of(office.founder) as scope:
        kept = await service.upload(scope, files, "plan.md", b"zebra")
        gone = await service.upload(scope, files, "gone.md", b"zebra")
        await deletion.delete(scope, files, gone.id)
    for file in (kept, gone):
        folder = tmp_path / "workspaces" / str(office.founder.company_id) / "versions" / str(file.id)
        (folder / f"1-{Content.of(b'zebra').sha256}").write_bytes(b"zebrA")
    async with scope_of(office.founder) as scope:
        for attempt in (
            service.append_text(scope, files, "plan.md", "x"),
            service.move(scope, files, kept.id, "new.md"),
            deletion.restore(scope, files, gone.id),
            service.restore_version(scope, files, kept.id, 1),
        ):
            with pytest.raises(FileDamaged):
                await attempt
        assert [one.path for one in (await service.list_files(scope, files)).items] == ["plan.md"]


async def test_a_file_moves_with_its_versions_and_its_words(
    office: Office, scope_of: Opening, files: FileStore, look: Look, tmp_path: Path
) -> None:
    async with scope_of(office.founder) as scope:
        await service.upload(scope, files, "drafts/plan.txt", b"old zebra")
        file = await service.upload(scope, files, "drafts/plan.txt", b"# Goals\n\nzebra")
        await service.upload(scope, files, "drafts/other.md", b"x")
    async with scope_of(office.advisor) as scope:
        moved = await service.move(scope, files, file.id, "plans/2026/plan.md")
        assert (moved.id, moved.path, moved.version) == (file.id, "plans/2026/plan.md", 2)
        assert moved.content_type == "text/markdown"
        assert (moved.changed_by, moved.written_by_name) == (office.advisor.person_id, file.written_by_name)
        found = await service.search_passages(scope, files, "zebra")
        assert [(one.path, one.heading) for one in found] == [("plans/2026/plan.md", "Goals")]
        assert (await service.download(scope, files, file.id, 1)).content == b"old zebra"
        assert (await service.move(scope, files, file.id, "plans/2026/plan.md")).changed_at == moved.changed_at
        with pytest.raises(NoSuchFile):
            await service.read_text(scope, files, "drafts/plan.txt")
    assert shown(tmp_path, office.founder) == {"drafts/other.md": b"x", "plans/2026/plan.md": b"# Goals\n\nzebra"}
    row = look.rows(
        "SELECT detail FROM audit.events WHERE company_id = %s AND action = 'file.moved'", office.founder.company_id
    )
    assert [each["detail"] for each in row] == [{"path": "plans/2026/plan.md", "was": "drafts/plan.txt", "version": 2}]


async def test_a_move_replaces_nothing_and_a_file_can_become_a_folder_of_its_own_name(
    office: Office, scope_of: Opening, files: FileStore, tmp_path: Path
) -> None:
    async with scope_of(office.founder) as scope:
        one = await service.upload(scope, files, "a", b"one")
        await service.upload(scope, files, "b/c.md", b"two")
        with pytest.raises(NameTaken):
            await service.move(scope, files, one.id, "b/c.md")
        for path in ("b", "b/c.md/d"):
            with pytest.raises(NameInTheWay):
                await service.move(scope, files, one.id, path)
        await service.move(scope, files, one.id, "a/b/one.md")
        assert shown(tmp_path, office.founder) == {"a/b/one.md": b"one", "b/c.md": b"two"}
        await service.move(scope, files, one.id, "a/b")
        await service.move(scope, files, one.id, "a")
    assert shown(tmp_path, office.founder) == {"a": b"one", "b/c.md": b"two"}


async def test_a_copy_on_disk_that_is_not_as_the_rows_say_is_made_so_by_a_move(
    office: Office, scope_of: Opening, files: FileStore, tmp_path: Path
) -> None:
    root = tmp_path / "workspaces" / str(office.founder.company_id) / "files"
    async with scope_of(office.founder) as scope:
        one = await service.upload(scope, files, "a.md", b"one")
        (root / "a.md").unlink()
        await service.move(scope, files, one.id, "b.md")
        (root / "c.md").write_bytes(b"left by a change that failed")
        await service.move(scope, files, one.id, "c.md")
    assert shown(tmp_path, office.founder) == {"c.md": b"one"}


async def test_the_bin_lists_what_was_deleted_the_last_first(
    office: Office, scope_of: Opening, files: FileStore
) -> None:
    names = [f"{number}.md" for number in range(5)]
    for name in names:
        async with scope_of(office.founder) as scope:  # one time for all of a transaction
            file = await service.upload(scope, files, name, b"x")
            await deletion.delete(scope, files, file.id)
    async with scope_of(office.investor) as scope:
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(3):
            page = await deletion.list_deleted(scope, files, cursor, 2)
            seen += [one.path for one in page.items]
            cursor = page.next_cursor
        assert (seen, cursor) == (names[::-1], None)
        with pytest.raises(InvalidInput):
            await deletion.list_deleted(scope, files, "garbage")
        assert (await deletion.list_deleted(scope, files.narrowed_to("elsewhere"))).items == ()
    async with scope_of(office.observer) as scope:
        with pytest.raises(NotAllowed):
            await deletion.list_deleted(scope, files)


async def test_a_file_comes_back_under_its_name_or_another(
    office: Office, scope_of: Opening, files: FileStore, look: Look, tmp_path: Path
) -> None:
    async with scope_of(office.founder) as scope:
        await service.upload(scope, files, "plan.md", b"first zebra")
        gone = await service.upload(scope, files, "plan.md", b"second zebra")
        await deletion.delete(scope, files, gone.id)
        back = await deletion.restore(scope, files, gone.id)
        assert (back.path, back.version, back.deleted_at) == ("plan.md", 2, None)
        assert [one.body for one in await service.search_passages(scope, files, "zebra")] == ["second zebra"]
        assert (await service.download(scope, files, gone.id, 1)).content == b"first zebra"
        with pytest.raises(NotInTheBin):
            await deletion.restore(scope, files, gone.id)
        await deletion.delete(scope, files, gone.id)
        await service.upload(scope, files, "plan.md", b"another")
        await service.upload(scope, files, "folder/x.md", b"x")
        with pytest.raises(NameTaken):
            await deletion.restore(scope, files, gone.id)
        with pytest.raises(NameInTheWay):
            await deletion.restore(scope, files, gone.id, "folder")
        again = await deletion.restore(scope, files, gone.id, "old/plan.txt")
        assert (again.path, again.content_type) == ("old/plan.txt", "text/plain")
    assert shown(tmp_path, office.founder) == {
        "plan.md": b"another", "folder/x.md": b"x", "old/plan.txt": b"second zebra",
    }  # fmt: skip
    assert look.actions(office.founder.company_id).count("file.restored") == 2


async def test_an_old_version_becomes_the_newest_one(
    office: Office, scope_of: Opening, files: FileStore, look: Look
) -> None:
    async with scope_of(office.founder) as scope:
        for content in (b"one", b"two", b"three"):
            file = await service.upload(scope, files, "plan.md", content)
        back = await service.restore_version(scope, files, file.id, 1)
        assert back.version == 4
        assert (await service.read_text(scope, files, "plan.md")).text == "one"
        assert (await service.restore_version(scope, files, file.id, 4)).version == 4
        kept = [(await service.download(scope, files, file.id, number)).content for number in (1, 2, 3, 4)]
        assert kept == [b"one", b"two", b"three", b"one"]
        for version in (5, 0):
            with pytest.raises(NoSuchFile):
                await service.restore_version(scope, files, file.id, version)
        await deletion.delete(scope, files, file.id)
        with pytest.raises(NoSuchFile):
            await service.restore_version(scope, files, file.id, 1)
    events = look.rows(
        "SELECT detail FROM audit.events WHERE company_id = %s AND action = 'file.restored'", office.founder.company_id
    )
    assert [event["detail"] for event in events] == [{"path": "plan.md", "version": 4, "restored": 1}]


async def test_what_is_deleted_for_good_is_gone_and_gives_its_room_back(
    office: Office, scope_of: Opening, run_for: RunOpening, files: FileStore, look: Look, tmp_path: Path
) -> None:
    async with scope_of(office.founder) as scope:
        await service.upload(scope, files, "plan.md", b"one")
        gone = await service.upload(scope, files, "plan.md", b"two")
        with pytest.raises(NotInTheBin):
            await deletion.delete_for_good(scope, files, gone.id)
        await deletion.delete(scope, files, gone.id)
    async with run_for(office.founder) as (scope, _):
        with pytest.raises(NotAllowed):
            await deletion.delete_for_good(scope, files, gone.id)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with scope.connection.transaction():
                await scope.execute("DELETE FROM workspace.files")
    async with scope_of(office.founder) as scope:
        await deletion.delete_for_good(scope, files, gone.id)
        for attempt in (
            service.get(scope, files, gone.id),
            service.download(scope, files, gone.id, 1),
            deletion.restore(scope, files, gone.id),
            deletion.delete_for_good(scope, files, gone.id),
        ):
            with pytest.raises(NoSuchFile):
                await attempt
    assert list((tmp_path / "workspaces" / str(office.founder.company_id) / "versions").iterdir()) == []
    assert look.rows("SELECT FROM workspace.file_versions WHERE file_id = %s", gone.id) == []
    assert look.actions(office.founder.company_id)[-1] == "file.deleted_for_good"


@pytest.mark.proves("2.4.2", "2.5.3")
async def test_others_change_nothing(office: Office, scope_of: Opening, files: FileStore, tmp_path: Path) -> None:
    async with scope_of(office.founder) as scope:
        ours = await service.upload(scope, files, "plan.md", b"zebra")
        gone = await service.upload(scope, files, "gone.md", b"zebra")
        await deletion.delete(scope, files, gone.id)
    before = shown(tmp_path, office.founder)
    for member, refusal in (
        (office.stranger, NoSuchFile),
        (office.investor, NotAllowed),
        (office.observer, NotAllowed),
    ):
        async with scope_of(member) as scope:
            for attempt in (
                service.move(scope, files, ours.id, "mine.md"),
                service.restore_version(scope, files, ours.id, 1),
                deletion.restore(scope, files, gone.id),
                deletion.delete_for_good(scope, files, gone.id),
            ):
                with pytest.raises(refusal):
                    await attempt
            assert await scope.execute("UPDATE workspace.files SET path = 'mine.md'") == 0
            assert await scope.execute("DELETE FROM workspace.files") == 0
    async with scope_of(office.investor) as scope:
        with pytest.raises(NotAllowed):
            await service.append_text(scope, files, "plan.md", "x")
    async with scope_of(office.stranger) as scope:
        await service.append_text(scope, files, "plan.md", "their own")
        assert (await deletion.list_deleted(scope, files)).items == ()
    assert shown(tmp_path, office.founder) == before


async def test_not_even_sql_deletes_a_file_that_is_not_in_the_bin(
    office: Office, scope_of: Opening, files: FileStore
) -> None:
    async with scope_of(office.founder) as scope:
        await service.upload(scope, files, "plan.md", b"zebra")
        assert await scope.execute("DELETE FROM workspace.files") == 0


@pytest.mark.proves("5.2.1", "5.2.2")
async def test_no_change_leads_out_of_the_declared_folders_or_to_a_bad_name(
    office: Office, scope_of: Opening, run_for: RunOpening, files: FileStore, tmp_path: Path
) -> None:
    async with scope_of(office.founder) as scope:
        inside = await service.upload(scope, files, "notes/in.md", b"in")
        await service.upload(scope, files, "notes/beside.md", b"beside")
        outside = await service.upload(scope, files, "board/out.md", b"out")
        gone = await service.upload(scope, files, "board/gone.md", b"gone")
        await deletion.delete(scope, files, gone.id)
    before = shown(tmp_path, office.founder)
    narrow = files.narrowed_to("notes")
    async with run_for(office.founder) as (scope, _):
        for path, refusal in (("board/in.md", NotDeclared), ("in.md", NotDeclared), ("notes", NameInTheWay),
                              ("../in.md", InvalidPath), ("notes/%2e%2e/in.md", InvalidPath),
                              ("notes/.git/hooks/x", NeverWritable)):  # fmt: skip
            with pytest.raises(refusal):
                await service.move(scope, narrow, inside.id, path)
            if path != "notes":
                with pytest.raises(refusal):
                    await service.append_text(scope, narrow, path, "x")
                with pytest.raises((refusal, NoSuchFile)):
                    await deletion.restore(scope, narrow, gone.id, path)
        for attempt in (
            service.move(scope, narrow, outside.id, "notes/out.md"),
            deletion.restore(scope, narrow, gone.id),
            deletion.restore(scope, narrow, gone.id, "notes/gone.md"),
            service.restore_version(scope, narrow, outside.id, 1),
        ):
            with pytest.raises(NoSuchFile):
                await attempt
        with pytest.raises(NotDeclared):
            await service.find_at(scope, narrow, "board/out.md")
    assert shown(tmp_path, office.founder) == before


async def test_stores_are_narrowed_to_what_both_declare(files: FileStore) -> None:
    narrow = files.narrowed_to("notes", "board/2026").narrowed_to("notes/deep", "board", "else")
    reached = ["notes/deep/a", "board/2026/a"]
    assert [path for path in (*reached, "notes/a", "board/a", "else/a", "a") if narrow.reaches(path)] == reached
    with pytest.raises(NotDeclared):
        narrow.narrowed_to("notes/other")


async def test_what_an_agent_did_to_a_file_is_told_apart_from_who_wrote_it(
    office: Office, scope_of: Opening, run_for: RunOpening, files: FileStore
) -> None:
    async with scope_of(office.founder) as scope:
        file = await service.upload(scope, files, "plan.md", b"x")
    async with run_for(office.advisor) as (scope, _):
        moved = await service.move(scope, files, file.id, "moved.md")
        assert (moved.run_id, moved.origin) == (scope.actor.run_id, FileOrigin.UPLOAD)
        assert moved.written_by_name == file.changed_by_name
