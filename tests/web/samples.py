"""Contexts for every page: rich ones for the gallery, minimal ones, and some with errors.

They follow the comment at the top of each template, which is the contract with the routes.
"""

from tests.web.samples_company import company_pages
from tests.web.samples_credentials import credential_pages, credentials_with_errors
from tests.web.samples_factors import factor_pages, factors_with_errors, proving_pages
from tests.web.samples_ground import ADA, Context, Sample, page, visitor
from tests.web.samples_integrations import integration_errors, integration_pages
from tests.web.samples_knowledge import artifact_pages, file_pages, memory_pages, metric_pages, revenue
from tests.web.samples_models import model_pages
from tests.web.samples_public import public_pages, signed_out
from tests.web.samples_schedules import schedule_errors, schedule_pages
from tests.web.samples_webhooks import webhook_errors, webhook_pages
from tests.web.samples_work import approval, joint_approval, work

__all__ = [
    "ADA",
    "Context",
    "Sample",
    "approval",
    "joint_approval",
    "minimal",
    "page",
    "revenue",
    "rich",
    "visitor",
    "with_errors",
]


def rich() -> list[Sample]:
    """Return every page as it looks in use."""
    inside = [
        *work(),
        *memory_pages(),
        *metric_pages(),
        *file_pages(),
        *artifact_pages(),
        *company_pages(),
        *integration_pages(),
        *model_pages(),
        *credential_pages(),
        *webhook_pages(),
        *schedule_pages(),
        *factor_pages(),
    ]
    return [*signed_out(), *proving_pages(), *inside, *public_pages()]


def with_errors() -> list[Sample]:
    """Return forms as they come back when something has to be put right."""
    wrong = {"field": "email", "text": "Write the address with an @, such as ada@lumen.example."}
    weak = {"field": "password", "text": "Choose a password of at least 12 characters."}
    kept = {"name": "Ada Okafor", "email": "ada.lumen.example"}
    whole = {"field": "", "text": "The address or the password is not right."}
    memory = next(sample for sample in memory_pages() if sample.name == "memory")
    named = {"field": "title", "text": "Say in one sentence what was decided."}
    return [
        Sample(
            "sign-up-errors",
            "sign_up.html",
            {
                "page": visitor(errors=[wrong, weak]),
                "form": kept,
                "next": "",
                "is_open": True,
                "password_minimum": 12,
            },
        ),
        Sample(
            "sign-in-errors",
            "sign_in.html",
            {"page": visitor(errors=[whole]), "form": kept, "next": "", "destination": "/", "sign_up_is_open": True},
        ),
        Sample(
            "memory-errors",
            "memory.html",
            {
                **memory.context,
                "page": page("memory", errors=[named]),
                "form": {"body": "We looked at three banks."},
            },
        ),
        *factors_with_errors(),
        *credentials_with_errors(),
        *integration_errors(),
        *webhook_errors(),
        *schedule_errors(),
    ]


def minimal(context: Context) -> Context:
    """Return the context with every list empty, seen by somebody who may do nothing and belongs nowhere else."""
    least: Context = {key: [] if isinstance(value, list) else value for key, value in context.items()}
    nothing: Context = {"permissions": set(), "approvals_waiting": 0, "companies": []}
    return {**least, "page": {**context["page"], **nothing}}
