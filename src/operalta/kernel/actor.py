"""Who acts: what a verified scope says about the person (or the run for a person) behind a request."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from operalta.kernel.ids import ApiKeyId, CompanyId, PersonId, RunId, SessionId


class ActorKind(StrEnum):
    """How the actor came to its rights."""

    PERSON = "person"
    RUN = "run"
    STAFF = "staff"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Actor:
    """The one on whose behalf something is done, as the database has verified it.

    `company_id`, `company_slug`, `company_kind` and `role` are None outside a company. `run_id` is set when
    an agent acts; `person_id` is then the person for whom it works. `staff_until` is set for staff of the operator
    who visit a company (`role` is their staff role then): the moment at which the visit ends by itself. `key_id` is
    set when an API key acts, or a run that one began: `person_id` is then the key's holder, and `key_scopes` are the
    only permissions of the role that are left (None: all of them). `sees_private` is False for a key of the company,
    which sees nothing that is private to a person, not even to its holder.
    """

    kind: ActorKind
    person_id: PersonId
    session_id: SessionId | None = None
    company_id: CompanyId | None = None
    company_slug: str | None = None
    company_kind: str | None = None
    role: str | None = None
    run_id: RunId | None = None
    is_operator: bool = False
    staff_until: datetime | None = None
    key_id: ApiKeyId | None = None
    key_scopes: frozenset[str] | None = None
    sees_private: bool = True
