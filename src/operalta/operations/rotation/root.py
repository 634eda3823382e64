"""Rotating the root key: companies' keys, signing keys and the secrets of authenticator apps are wrapped anew.

Processes that run find the fresh root key by themselves. The one before stays for ten minutes: somebody may just be
wrapping something with it. `keys rewrap` forgets it afterwards, once nothing names it any more.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from operalta.db.elevated import Purpose, open_elevated
from operalta.db.pools import Pool
from operalta.db.scope import Row
from operalta.identity.factors.authenticators import AuthenticatorSecrets
from operalta.kernel import clock
from operalta.operations.rotation import store
from operalta.sealing.company_keys import CompanyKeys
from operalta.sealing.errors import RootKeyUnusable, Tampered
from operalta.sealing.keys import RootKeys
from operalta.sealing.root_sources import RotatingSource
from operalta.sealing.signing import SigningKeyRing
from operalta.terms.registry import upholds

PAGE_ROWS = 500
GRACE = timedelta(minutes=10)
"""Longer than any transaction lives, and than any process takes to notice a changed file."""

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class RootRotated:
    """What came of it: how many were wrapped anew, and which earlier root keys are forgotten or still kept, by id."""

    root: str
    resumed: bool
    company_keys: int
    signing_keys: int
    authenticators: int
    damaged_authenticators: tuple[UUID, ...]
    retired: tuple[str, ...]
    kept: tuple[str, ...]


@dataclass(slots=True)
class _Tally:
    company_keys: int = 0
    signing_keys: int = 0
    authenticators: int = 0
    damaged: tuple[UUID, ...] = ()


class RootRotation:
    """Rotates the root key of a deployment. `pool` is the job role's."""

    def __init__(
        self, pool: Pool, source: RotatingSource, roots: RootKeys, keys: CompanyKeys, rings: tuple[SigningKeyRing, ...]
    ) -> None:
        self._pool = pool
        self._source = source
        self._roots = roots
        self._keys = keys
        self._rings = rings
        self._apps = AuthenticatorSecrets(roots)

    @upholds("1.3.4")
    async def rotate(self, advance: Advance = lambda _number: None) -> RootRotated:
        """Put a fresh root key in use, or end a rotation that was begun, and wrap everything anew.

        Raise CannotRotateHere for a root key of the environment, and what a key service raises.
        """
        resumed = await self._is_unfinished()
        if not resumed:
            fresh = await asyncio.to_thread(self._source.rotate)
            async with open_elevated(self._pool, Purpose.ROTATE_KEYS) as elevated:
                await store.note_rotation(elevated, None, "root key", fresh.id)
        return await self.rewrap(advance, resumed=resumed)

    @upholds("1.3.4")
    async def rewrap(self, advance: Advance = lambda _number: None, *, resumed: bool = True) -> RootRotated:
        """Wrap what an earlier root key wraps with the one in use, and forget earlier ones whose time is over."""
        tally = _Tally()
        while await self._pass(tally, advance):
            pass
        retired, kept = await self._retire()
        return RootRotated(
            self._roots.current.id,
            resumed,
            tally.company_keys,
            tally.signing_keys,
            tally.authenticators,
            tally.damaged,
            retired,
            kept,
        )

    async def in_use(self) -> Counter[str]:
        """Return how many keys in files each root key wraps, by its id."""
        found = await asyncio.to_thread(self._keys.roots)
        for ring in self._rings:
            found += await asyncio.to_thread(ring.roots)
        return found

    async def _is_unfinished(self) -> bool:
        """Tell whether something is still wrapped by an earlier root key that is at hand."""
        known = await asyncio.to_thread(self._source.load)
        earlier = {key.id for key in known.previous} - {known.current.id}
        if earlier & (await self.in_use()).keys():
            return True
        return bool(earlier) and any([row async for row in self._other_apps(earlier)])

    async def _pass(self, tally: _Tally, advance: Advance) -> int:
        keys = await asyncio.to_thread(self._keys.rewrap, lambda: advance(1))
        signing = 0
        for ring in self._rings:
            signing += await asyncio.to_thread(ring.rewrap)
        apps, tally.damaged = await self._rewrap_apps(advance)
        tally.company_keys += keys
        tally.signing_keys += signing
        tally.authenticators += apps
        return keys + signing + apps

    async def _rewrap_apps(self, advance: Advance) -> tuple[int, tuple[UUID, ...]]:
        changed, damaged = 0, list[UUID]()
        beyond: UUID | None = None
        while rows := await self._page(beyond):
            beyond = rows[-1]["id"]
            fresh = await asyncio.to_thread(self._fresh, rows)
            damaged += [row["id"] for row in rows if row["id"] not in fresh]
            kept = [row for row in rows if row["id"] in fresh]
            async with open_elevated(self._pool, Purpose.ROTATE_KEYS) as elevated:
                number = await store.rewrap_authenticators(
                    elevated,
                    [row["id"] for row in kept],
                    [row["sealed"] for row in kept],
                    [fresh[row["id"]] for row in kept],
                )
            changed += number
            advance(number)
        return changed, tuple(damaged)

    def _fresh(self, rows: list[Row]) -> dict[UUID, bytes]:
        fresh: dict[UUID, bytes] = {}
        for row in rows:
            try:
                fresh[row["id"]] = self._apps.rewrap(row["id"], row["sealed"])
            except (Tampered, RootKeyUnusable):
                continue
        return fresh

    async def _page(self, beyond: UUID | None) -> list[Row]:
        async with open_elevated(self._pool, Purpose.ROTATE_KEYS) as elevated:
            return await store.authenticators_to_rewrap(elevated, self._roots.current.id, beyond, PAGE_ROWS)

    async def _other_apps(self, roots: set[str]) -> AsyncIterator[Row]:
        beyond: UUID | None = None
        while rows := await self._page(beyond):
            beyond = rows[-1]["id"]
            for row in rows:
                if bytes(row["sealed"][:16]).decode("ascii", "replace") in roots:
                    yield row

    async def _retire(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Forget earlier root keys that nothing names and whose grace is over; return those, and the others."""
        known = await asyncio.to_thread(self._source.load)
        earlier = [key.id for key in known.previous if key.id != known.current.id]
        named = set(await self.in_use()) & set(earlier)
        retired: list[str] = []
        for root in earlier:
            since = self._source.since(root)
            in_use = root in named or any([row async for row in self._other_apps({root})])
            if since is not None and since + GRACE <= clock.now() and not in_use:
                await asyncio.to_thread(self._source.retire, root)
                retired.append(root)
        return tuple(retired), tuple(root for root in earlier if root not in retired)
