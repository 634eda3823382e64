"""Rotating a company's key: the next version, every secret sealed anew under it, the version before forgotten."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from operalta.db.elevated import Purpose, open_elevated
from operalta.db.pools import Pool
from operalta.db.scope import Row
from operalta.kernel.ids import CompanyId
from operalta.operations.rotation import store
from operalta.sealing.company_keys import CompanyKeys
from operalta.sealing.envelope import Envelope
from operalta.sealing.errors import CompanyKeyGone, Tampered, WrongPlace
from operalta.terms.registry import upholds
from operalta.vault.secrets import location_of

PAGE_ROWS = 500
LONGEST_WAIT_SECONDS = 60.0
_LOOK_SECONDS = 0.05

Advance = Callable[[int], None]
"""Called with how many more are done."""


@dataclass(frozen=True, slots=True)
class CompanyRotated:
    """What came of it. `damaged` are secrets that did not open before either; `retired`: the version before is gone."""

    company: CompanyId
    version: int
    resumed: bool
    resealed: int
    damaged: tuple[UUID, ...]
    retired: bool


class CompanyRotation:
    """Rotates companies' keys. `pool` is the job role's."""

    def __init__(self, pool: Pool, keys: CompanyKeys) -> None:
        self._pool = pool
        self._keys = keys
        self._envelope = Envelope(keys)

    @upholds("1.3.4")
    async def rotate(self, company: CompanyId, advance: Advance = lambda _number: None) -> CompanyRotated:
        """Rotate the key of one company, or end a rotation that was begun. Everything opens all the while.

        Where somebody has been writing a secret for a minute on end, the version before is kept and `retired` is false:
        run it again. Raise CompanyKeyGone for a company without a key.
        """
        versions = await asyncio.to_thread(self._keys.versions, company)
        if not versions:
            raise CompanyKeyGone
        resumed = len(versions) > 1
        newest = versions[-1] if resumed else await asyncio.to_thread(self._keys.rotate, company)
        resealed, _ = await self._reseal(company, newest, advance)
        retired = await self._writers_have_ended(company)
        # Those who were writing may have sealed under the version before.
        more, damaged = await self._reseal(company, newest, advance)
        if retired:
            await asyncio.to_thread(self._keys.retire, company)
        async with open_elevated(self._pool, Purpose.ROTATE_KEYS) as elevated:
            await store.note_rotation(elevated, company, "company key", str(newest))
        return CompanyRotated(company, newest, resumed, resealed + more, damaged, retired)

    async def _reseal(self, company: CompanyId, newest: int, advance: Advance) -> tuple[int, tuple[UUID, ...]]:
        """Seal pages anew until a pass finds nothing but what does not open; return how many, and those."""
        resealed = 0
        while True:
            damaged: list[UUID] = []
            changed = waiting = 0
            beyond: UUID | None = None
            while rows := await self._page(company, newest, beyond):
                beyond = rows[-1]["id"]
                fresh = await asyncio.to_thread(self._fresh, company, rows)
                damaged += [row["id"] for row in rows if row["id"] not in fresh]
                waiting += len(fresh)
                number = await self._write(company, rows, fresh)
                changed += number
                advance(number)
            resealed += changed
            if not waiting:
                return resealed, tuple(damaged)

    async def _page(self, company: CompanyId, newest: int, beyond: UUID | None) -> list[Row]:
        async with open_elevated(self._pool, Purpose.ROTATE_KEYS) as elevated:
            return await store.secrets_to_reseal(elevated, company, newest, beyond, PAGE_ROWS)

    def _fresh(self, company: CompanyId, rows: list[Row]) -> dict[UUID, bytes]:
        fresh: dict[UUID, bytes] = {}
        for row in rows:
            place = location_of(row["id"], row["revision"])
            try:
                fresh[row["id"]] = self._envelope.reseal(company, place, row["sealed"])
            except (Tampered, WrongPlace):
                continue
        return fresh

    async def _write(self, company: CompanyId, rows: list[Row], fresh: dict[UUID, bytes]) -> int:
        kept = [row for row in rows if row["id"] in fresh]
        if not kept:
            return 0
        async with open_elevated(self._pool, Purpose.ROTATE_KEYS) as elevated:
            return await store.reseal_secrets(
                elevated,
                company,
                [row["id"] for row in kept],
                [row["sealed"] for row in kept],
                [fresh[row["id"]] for row in kept],
            )

    async def _writers_have_ended(self, company: CompanyId) -> bool:
        """Wait until nobody is left who looked the key up before the rotation; false where that takes too long.

        It tries and does not queue: who queues would make writers that come later wait for those that came before.
        """
        for _ in range(int(LONGEST_WAIT_SECONDS / _LOOK_SECONDS)):
            async with open_elevated(self._pool, Purpose.ROTATE_KEYS) as elevated:
                if not await store.secret_writers_at_work(elevated, company):
                    return True
            await asyncio.sleep(_LOOK_SECONDS)
        return False
