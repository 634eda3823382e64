"""The door for the requests of agents' runs: as the settings have it, counted for the run and for its company."""

from typing import TYPE_CHECKING

from operalta.guard.errors import LimiterUnavailable, TooManyRequests
from operalta.guard.limiter import Limiter
from operalta.guard.rules import EGRESS_REQUESTS, EGRESS_VOLUME, Rule, Subjects
from operalta.guard.subjects import run_identity
from operalta.sandbox.egress import EgressDoor, Record
from operalta.sandbox.errors import FetchLimitReached, FetchNotCounted
from operalta.sandbox.metering import Errand
from operalta.sandbox.naming import resolver_at
from operalta.sandbox.policies import OPEN
from operalta.settings import Settings
from operalta.terms.registry import upholds

if TYPE_CHECKING:  # the web process makes doors as well, and asks no model
    from operalta.agents.model_routes.operators_file import MakeModelDoor
    from operalta.agents.tool_functions import MakeDoor


@upholds("5.4.3", "4.3.3")
class EgressLimits:
    """The meter of companies: one count for all workers; closed where its store does not answer."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    async def admit_request(self, errand: Errand) -> None:
        """Count one request. Raise FetchLimitReached, or FetchNotCounted where that cannot be told."""
        await self._admit(EGRESS_REQUESTS, errand)

    async def admit_volume(self, errand: Errand) -> None:
        """Count one unit of what travels. Raise as `admit_request` does."""
        await self._admit(EGRESS_VOLUME, errand)

    async def _admit(self, rule: Rule, errand: Errand) -> None:
        subjects = Subjects(
            identity=run_identity(errand.run_id) if errand.run_id else None,
            company=str(errand.company_id) if errand.company_id else None,
        )
        try:
            await self._limiter.admit(rule, subjects)
        except TooManyRequests as refusal:
            raise FetchLimitReached(retry_after=refusal.retry_after) from refusal
        except LimiterUnavailable as refusal:
            raise FetchNotCounted from refusal


def doors(settings: Settings, limiter: Limiter) -> "MakeDoor":
    """Return what makes a door that leaves its lines with the callable given. Raise ValueError for odd exemptions."""
    make = model_doors(settings, limiter)
    return lambda keep: make(keep, settings.egress_exemptions)


@upholds("5.4.1", "5.6.1")
def model_doors(settings: Settings, limiter: Limiter) -> "MakeModelDoor":
    """Return what makes doors with exemptions of their own: a local model server is no way in for anything else."""
    resolve, meter = resolver_at(settings.dns_server), EgressLimits(limiter)

    def make(keep: Record, exemptions: tuple[str, ...]) -> EgressDoor:
        return EgressDoor(
            OPEN,
            exemptions,
            keep,
            meter=meter,
            translators=settings.nat64_prefixes,
            resolve=resolve,
        )

    return make
