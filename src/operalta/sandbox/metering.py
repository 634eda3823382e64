"""On whose behalf a request is made, and what counts it: a meter that is handed down at wiring."""

from dataclasses import dataclass
from typing import Protocol

from operalta.kernel.ids import CompanyId, RunId
from operalta.sandbox.errors import FetchNotCounted
from operalta.terms.registry import upholds

VOLUME_UNIT = 256 * 1024
"""Bytes of bodies, sent and received as they travel, that are counted at once; one that is begun counts as a whole."""


@dataclass(frozen=True, slots=True)
class Errand:
    """On whose behalf a request is made, and what for (a few words, such as `agent fetch`)."""

    purpose: str
    company_id: CompanyId | None = None
    run_id: RunId | None = None

    @property
    def is_counted(self) -> bool:
        """Whether it is somebody's: the deployment's own errands are bounded by what causes them."""
        return self.company_id is not None or self.run_id is not None


class Meter(Protocol):
    """Counts what leaves and comes back. Whatever it raises ends the request: a refusal where no more is left."""

    async def admit_request(self, errand: Errand) -> None:
        """Count one request, before its name is looked up; each redirect is another."""
        ...

    async def admit_volume(self, errand: Errand) -> None:
        """Count one more `VOLUME_UNIT`, before it is sent, or before it is handed on."""
        ...


@upholds("5.4.3")
class NoMeter:
    """Lets the deployment's own errands pass, and nobody else's: what cannot be counted is not done."""

    async def admit_request(self, errand: Errand) -> None:
        """Raise FetchNotCounted for an errand of a company or of a run."""
        if errand.is_counted:
            raise FetchNotCounted

    async def admit_volume(self, errand: Errand) -> None:
        """Raise FetchNotCounted for an errand of a company or of a run."""
        await self.admit_request(errand)


class Tally:
    """What one request has used of its meter. One that is nobody's is not counted."""

    def __init__(self, meter: Meter, errand: Errand) -> None:
        self._meter = meter
        self._errand = errand
        self._units = 0

    async def begin(self) -> None:
        """Count the request. Raise what the meter raises."""
        if self._errand.is_counted:
            await self._meter.admit_request(self._errand)

    async def reach(self, total_bytes: int) -> None:
        """Count the units that are begun until `total_bytes` have travelled. Raise what the meter raises."""
        while self._errand.is_counted and self._units * VOLUME_UNIT < total_bytes:
            await self._meter.admit_volume(self._errand)
            self._units += 1
