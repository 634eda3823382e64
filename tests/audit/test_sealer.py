"""Sealing with a real database: order under concurrency, what is found when someone tampers, and what is not blamed."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg.types.json import Jsonb

from operalta.audit import service
from operalta.audit.errors import TreeDiffers
from operalta.audit.findings import FindingKind, LogVerdict
from operalta.audit.heads import HeadDirectory
from operalta.audit.rules import Action
from operalta.audit.sealer import MOST_AT_ONCE, Sealer
from operalta.db.errors import DatabaseOutOfReach
from operalta.db.scope import Origin, open_company_scope
from operalta.sealing.signing import SigningKey
from tests.audit.conftest import Log
from tests.conftest import Member, Pools, World

Owner = psycopg.Connection[dict[str, Any]]


async def write(pools: Pools, member: Member, count: int) -> None:
    for number in range(count):
        async with open_company_scope(pools.web, member.session_secret, member.company_slug, Origin()) as scope:
            await service.record(scope, Action.FILE_WRITTEN, "file", f"report-{number}.txt")


async def sealed_twice(log: Log, pools: Pools, world: World) -> tuple[Sealer, Member]:
    """Seven events of one company and two of another, sealed in two batches with a head each."""
    sealer = log.sealer(pools)
    member = world.member(world.company())
    await write(pools, member, 4)
    await sealer.seal_once()
    await write(pools, member, 3)
    await write(pools, world.member(world.company()), 2)
    assert await sealer.seal_once() == 5
    report = await log.check()
    assert (report.verdict, report.findings) == (LogVerdict.WHOLE, ())
    assert (report.counts.leaves, report.counts.heads, report.counts.companies) == (9, 2, 2)
    return sealer, member


@pytest.mark.proves("2.5.5")
async def test_events_written_while_sealing_get_numbers_without_gaps(
    log: Log, pools: Pools, world: World, owner: Owner
) -> None:
    members = [world.member(world.company()) for _ in range(3)]
    stop = asyncio.Event()
    sealers = [asyncio.create_task(log.sealer(pools).run(stop)) for _ in range(2)]
    await asyncio.gather(*(write(pools, member, 25) for member in [*members, *members]))
    stop.set()
    await asyncio.gather(*sealers)
    await log.sealer(pools).seal_once()
    for member in members:
        rows = owner.execute(
            "SELECT company_number FROM audit.events WHERE company_id = %s ORDER BY leaf_index", (member.company_id,)
        ).fetchall()
        assert [row["company_number"] for row in rows] == list(range(1, 51))
    report = await log.check()
    assert (report.verdict, report.findings) == (LogVerdict.WHOLE, ())
    assert (report.counts.proved, report.counts.unsealed, report.counts.beyond_heads) == (150, 0, 0)


TAMPERING: dict[str, tuple[LiteralString, FindingKind]] = {
    "an event edited": (
        "UPDATE audit.events SET target_id = 'other' WHERE leaf_index = 2",
        FindingKind.EDITED_EVENT,
    ),
    "an outcome edited": (
        "UPDATE audit.events SET outcome = 'refused' WHERE leaf_index = 6",
        FindingKind.EDITED_EVENT,
    ),
    "a detail added": (
        "UPDATE audit.events SET detail = '{\"x\": 1.5}' WHERE leaf_index = 1",
        FindingKind.EDITED_EVENT,
    ),
    "an event deleted": ("DELETE FROM audit.events WHERE leaf_index = 3", FindingKind.MISSING_EVENT),
    "an event and its leaf deleted": (
        "WITH gone AS (DELETE FROM audit.leaves WHERE leaf_index = 3) DELETE FROM audit.events WHERE leaf_index = 3",
        FindingKind.MISSING_LEAF,
    ),
    "a leaf deleted": ("DELETE FROM audit.leaves WHERE leaf_index = 8", FindingKind.MISSING_LEAF),
    "two leaves exchanged": (
        """
        UPDATE audit.leaves SET event_id = other.event_id, commitment = other.commitment FROM audit.leaves AS other
        WHERE leaves.leaf_index IN (1, 2) AND other.leaf_index = 3 - leaves.leaf_index
        """,
        FindingKind.WRONG_ROOT,
    ),
    "an event moved to another place": (
        "UPDATE audit.events SET leaf_index = 100 WHERE leaf_index = 2",
        FindingKind.MISLABELLED_EVENT,
    ),
    "a head edited": (
        "UPDATE audit.heads SET document = jsonb_set(document, '{root}', to_jsonb(repeat('0', 64))) WHERE size = 4",
        FindingKind.BAD_SIGNATURE,
    ),
    "a head replaced by something else": (
        "UPDATE audit.heads SET document = '{}' WHERE size = 4",
        FindingKind.UNREADABLE_HEAD,
    ),
}


@pytest.mark.proves("2.5.5")
@pytest.mark.parametrize("what", TAMPERING)
async def test_tampering_as_the_owner_is_found(what: str, log: Log, pools: Pools, world: World, owner: Owner) -> None:
    await sealed_twice(log, pools, world)
    if "exchanged" in what:
        owner.execute("ALTER TABLE audit.leaves DROP CONSTRAINT leaves_event_id_key")
    statement, expected = TAMPERING[what]
    try:
        assert owner.execute(statement).rowcount
        report = await log.check()
    finally:
        if "exchanged" in what:
            owner.execute("TRUNCATE audit.leaves")
            owner.execute("ALTER TABLE audit.leaves ADD UNIQUE (event_id)")
    assert report.verdict is LogVerdict.TAMPERED
    assert expected in report.totals


@pytest.mark.proves("2.5.5")
async def test_a_tail_cut_with_everything_that_belongs_to_it_is_found(
    log: Log, pools: Pools, world: World, owner: Owner
) -> None:
    await sealed_twice(log, pools, world)
    for statement in (
        "DELETE FROM audit.events WHERE leaf_index >= 4",
        "DELETE FROM audit.leaves WHERE leaf_index >= 4",
        "DELETE FROM audit.heads WHERE size > 4",
        "DELETE FROM audit.nodes WHERE (node_index + 1) << level > 4",
    ):
        assert owner.execute(statement).rowcount  # pyright: ignore[reportArgumentType] - a list of literals
    report = await log.check()
    assert report.verdict is LogVerdict.TAMPERED
    assert FindingKind.CUT_TAIL in report.totals


@pytest.mark.proves("2.5.5")
async def test_a_history_rewritten_and_signed_with_another_key_is_found(
    log: Log, pools: Pools, world: World, owner: Owner, new_key: Callable[[], SigningKey], tmp_path: Path
) -> None:
    await sealed_twice(log, pools, world)
    owner.execute("UPDATE audit.events SET target_id = 'other', leaf_index = NULL, company_number = NULL")
    owner.execute("TRUNCATE audit.leaves, audit.nodes, audit.heads")
    forger = new_key()
    await Sealer(pools.job, lambda: forger, HeadDirectory(tmp_path / "forged")).seal_once()
    report = await log.check()
    assert report.verdict is LogVerdict.TAMPERED
    assert FindingKind.WRONG_ROOT in report.totals


async def test_what_cannot_be_checked_is_not_called_tampered(
    log: Log, pools: Pools, world: World, new_key: Callable[[], SigningKey], tmp_path: Path
) -> None:
    await sealed_twice(log, pools, world)
    report = await log.check(HeadDirectory(tmp_path / "elsewhere"))
    assert (report.verdict, set(report.totals)) == (LogVerdict.COULD_NOT_CHECK, {FindingKind.NO_HEADS})
    unknown = Log(log.servers, log.heads, log.folder, new_key())
    report = await unknown.check()
    assert (report.verdict, set(report.totals)) == (LogVerdict.COULD_NOT_CHECK, {FindingKind.UNKNOWN_KEY})


async def test_a_database_that_does_not_answer_is_no_finding(log: Log) -> None:
    from operalta.audit.deployment_check import verify_deployment

    with pytest.raises(DatabaseOutOfReach):
        await verify_deployment("host=/nonexistent dbname=none", log.heads, log.verify)


@pytest.mark.proves("2.5.5")
async def test_erasing_content_and_salt_leaves_the_tree_whole(
    log: Log, pools: Pools, world: World, owner: Owner
) -> None:
    sealer, member = await sealed_twice(log, pools, world)
    owner.execute("UPDATE audit.events SET salt = NULL, detail = '{}', target_id = NULL WHERE leaf_index = 2")
    await write(pools, member, 1)
    owner.execute("UPDATE audit.events SET salt = NULL WHERE leaf_index IS NULL")
    assert await sealer.seal_once() == 1
    report = await log.check()
    assert (report.verdict, report.counts.erased) == (LogVerdict.WHOLE, 2)


@pytest.mark.proves("2.5.5")
async def test_nothing_is_signed_on_top_of_a_tree_that_was_changed(
    log: Log, pools: Pools, world: World, owner: Owner
) -> None:
    sealer, member = await sealed_twice(log, pools, world)
    owner.execute("UPDATE audit.nodes SET hash = sha256('forged') WHERE level = 3")
    await write(pools, member, 1)
    with pytest.raises(TreeDiffers):
        await sealer.seal_once()
    assert (await log.check()).counts.unsealed == 1


async def test_a_head_that_did_not_get_out_goes_out_before_anything_is_added(
    log: Log, pools: Pools, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = world.member(world.company())
    await write(pools, member, 2)

    async def refuse(_directory: HeadDirectory, _head: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(HeadDirectory, "publish", refuse)
        with pytest.raises(OSError, match="No space"):
            await log.sealer(pools).seal_once()
        await write(pools, member, 1)
        with pytest.raises(OSError, match="No space"):
            await log.sealer(pools).seal_once()
    report = await log.check()
    assert (report.verdict, report.counts.leaves) == (LogVerdict.COULD_NOT_CHECK, 2)
    assert await log.sealer(pools).seal_once() == 1
    report = await log.check()
    assert (report.verdict, report.counts.heads) == (LogVerdict.WHOLE, 2)


async def test_an_event_that_has_no_canonical_form_does_not_hold_up_the_log(
    log: Log, pools: Pools, world: World, owner: Owner
) -> None:
    """Arbitrary SQL as the web role may append any JSON."""
    member = world.member(world.company())
    deep: object = "end"
    for _ in range(40):
        deep = [deep]
    async with open_company_scope(pools.web, member.session_secret, member.company_slug, Origin()) as scope:
        for detail in ({"x": 1.5}, {"x": 2**70}, {"x": deep}, {"x": "😀" * 18_000}, [1.5], "text"):
            await scope.execute(
                "SELECT audit.append('file.written', 'file', '1', 'succeeded', NULL, NULL, %(detail)s)",
                {"detail": Jsonb(detail)},
            )
    assert await log.sealer(pools).seal_once() == 6
    assert (await log.check()).verdict is LogVerdict.WHOLE
    owner.execute("UPDATE audit.events SET detail = '{\"x\": 2.5}' WHERE detail = '{\"x\": 1.5}'")
    assert await log.kinds() == {FindingKind.EDITED_EVENT}


async def test_one_sealer_works_at_a_time_and_batches_are_bounded(
    log: Log, pools: Pools, world: World, owner: Owner
) -> None:
    company = world.company()
    owner.execute(
        "INSERT INTO audit.events (company_id, actor_kind, action, target_kind, outcome)"
        " SELECT %s, 'system', 'file.written', 'file', 'succeeded' FROM generate_series(1, %s)",
        (company[0], MOST_AT_ONCE + 3),
    )
    counts = await asyncio.gather(*(log.sealer(pools).seal_once() for _ in range(3)))
    assert MOST_AT_ONCE in counts
    while await log.sealer(pools).seal_once():
        pass
    report = await log.check()
    assert (report.verdict, report.counts.leaves) == (LogVerdict.WHOLE, MOST_AT_ONCE + 3)


async def test_the_sealer_outlives_whatever_goes_wrong(
    log: Log, pools: Pools, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operalta.audit.sealer.LONGEST_PAUSE_SECONDS", 0.01)
    await write(pools, world.member(world.company()), 1)
    stop = asyncio.Event()
    faults: list[Exception] = [KeyError("no key"), DatabaseOutOfReach(), TreeDiffers("changed"), OSError(28, "full")]

    def key() -> SigningKey:
        if faults:
            raise faults.pop()
        stop.set()
        return log.key

    await asyncio.wait_for(Sealer(pools.job, key, log.heads).run(stop), 30)
    assert (await log.check()).counts.leaves == 1


async def test_heads_removed_from_the_place_outside_are_missed(log: Log, pools: Pools, world: World) -> None:
    await sealed_twice(log, pools, world)
    (log.folder / "heads" / f"{4:020d}.json").unlink()
    assert FindingKind.MISSING_HEAD in await log.kinds()
    shutil.rmtree(log.folder)
    assert (await log.check()).verdict is LogVerdict.COULD_NOT_CHECK
