"""What visitors see: signing in, trust, refusals."""

from datetime import date, timedelta
from typing import Final

from tests.web.samples_ground import ADA, NOW, Context, Sample, before, page, visitor


def signed_out() -> list[Sample]:
    new: Context = {"form": {}, "password_minimum": 12}
    invitation = {
        "company_name": "Lumen Labs",
        "role": "advisor",
        "email": "grace@harbour.example",
        "invited_by": "Ada Okafor",
        "expires_at": NOW + timedelta(days=6, hours=3),
    }
    grace = {"name": "Grace Lind", "email": "grace@home.example", "is_operator": False}
    return [
        Sample("sign-up", "sign_up.html", {"page": visitor(), "next": "", "is_open": True, **new}),
        Sample("sign-up-closed", "sign_up.html", {"page": visitor(), "next": "", "is_open": False, **new}),
        Sample(
            "sign-in",
            "sign_in.html",
            {"page": visitor(), "form": {}, "next": "/", "destination": "/", "sign_up_is_open": True},
        ),
        Sample(
            "check-mail",
            "check_mail.html",
            {
                "page": visitor(),
                "email": "ada@lumen.example",
                "purpose": "sign_up",
                "lasts": "24 hours",
                "outbox": True,
            },
        ),
        Sample("verify-email", "verify_email.html", {"page": visitor(), "token": "t0ken"}),
        Sample("reset-request", "reset_request.html", {"page": visitor(), "form": {}}),
        Sample(
            "reset-confirm",
            "reset_confirm.html",
            {"page": visitor(), "token": "t0ken", "password_minimum": 12},
        ),
        Sample("operator-link", "operator_link.html", {"page": visitor(), "token": "t0ken", **new}),
        Sample(
            "operator-link-signed-in",
            "operator_link.html",
            {"page": visitor(person=ADA), "token": "t0ken", **new},
        ),
        Sample(
            "invitation",
            "invitation.html",
            {
                "page": visitor(),
                "token": "t0ken",
                "invitation": invitation,
                "has_other_account": False,
                **new,
            },
        ),
        Sample(
            "invitation-other",
            "invitation.html",
            {
                "page": visitor(person=grace),
                "token": "t0ken",
                "invitation": invitation,
                "has_other_account": True,
                **new,
            },
        ),
        Sample(
            "plain-http",
            "plain_http.html",
            {
                "page": visitor(),
                "address": "http://192.168.1.20:8080",
                "local_url": "http://localhost:8080",
            },
        ),
    ]


ROWS: Final = (
    "Every row of a company's data is guarded by the database itself, "
    "so that a mistake in the application shows nothing."
)
SECTIONS: Final = {
    "Encryption": 14,
    "Sign-in and access": 24,
    "Attacks": 17,
    "Infrastructure": 16,
    "AI agents": 19,
    "Privacy": 13,
    "Practices": 10,
    "Disclosure": 6,
}


def _clause(section: int, index: int) -> Context:
    texts = [
        ROWS,
        "Passwords are kept only as slow hashes.",
        "Agents ask a person before anything that matters, and the question shows all of it.",
    ]
    number = section * 31 + index * 7
    verdict = "attested" if number % 13 == 0 else "not run" if number % 29 == 0 else "pass"
    return {
        "id": f"{section}.{index // 4 + 1}.{index % 4 + 1}",
        "says": texts[index % 3],
        "verdict": "fail" if (section, index) == (4, 5) else verdict,
        "is_stale": (section, index) == (3, 2),
        "verified_at": before(minutes=22),
    }


def public_pages() -> list[Sample]:
    sections: list[Context] = [
        {"number": number, "title": title, "clauses": [_clause(number, index) for index in range(count)]}
        for number, (title, count) in enumerate(SECTIONS.items(), 1)
    ]
    verdicts = [clause["verdict"] for section in sections for clause in section["clauses"]]
    order = ["pass", "attested", "not run", "error", "fail", "not applicable"]
    trust: Context = {
        "summary": {
            "total": len(verdicts),
            "holding": verdicts.count("pass"),
            "verified_at": before(minutes=22),
            "version": "2026-09-01",
            "commit": "4f2a91c",
            "is_stale": False,
        },
        "tally": [(verdict, verdicts.count(verdict)) for verdict in order if verdict in verdicts],
        "sections": sections,
        "statements": [
            {"title": "Where data stays", "text": "On this installation, in the region that its operator names."},
            {"title": "Still in progress", "text": "- Hardware keys for operators\n- A second region"},
        ],
    }
    clause: Context = {
        "clause": {**_clause(2, 0), "section": "Sign-in and access", "kind": "test"},
        "explanation": "Its probe passed 22 minutes ago, and its tests passed with the code that runs here.",
        "code": [
            {"file": "operalta/db/scope.py", "line": 41, "name": "open_scope"},
            {"file": "operalta/access/rules.py", "line": 104, "name": "decide"},
        ],
        "tests": [
            {"name": "tests/isolation/test_matrix.py::test_no_row_crosses", "outcome": "pass", "at": before(hours=2)}
        ],
        "probe": {
            "name": "rows_of_another_company",
            "observed": "Two synthetic companies; 214 statements as the first; no row of the second came back.",
            "at": before(minutes=22),
            "duration": "1.4 s",
        },
        "attestation": None,
        "previous": {"id": "1.4.2"},
        "next": {"id": "2.1.2"},
    }
    attested = {
        "document": "Volume encryption, hosting provider, 2026",
        "issued_by": "The provider",
        "expires_on": date(2027, 3, 31),
    }
    bare: Context = {
        **clause,
        "probe": None,
        "tests": [],
        "code": [],
        "attestation": attested,
        "next": None,
        "explanation": None,
    }
    gone: Context = {
        "status": 404,
        "title": "Nothing here",
        "text": "There is nothing at this address, or it is not yours to see. Check the link, or ask whoever sent it.",
        "retry_after": None,
    }
    busy: Context = {
        "status": 429,
        "title": "Too many requests",
        "text": "This address has asked a lot in a short time.",
        "retry_after": 42,
    }
    return [
        Sample("trust", "trust.html", {"page": visitor(nav="trust"), **trust}),
        Sample("trust-signed-in", "trust.html", {"page": page("trust"), **trust}),
        Sample("trust-clause", "trust_clause.html", {"page": visitor(nav="trust"), **clause}),
        Sample("trust-clause-attested", "trust_clause.html", {"page": page("trust"), **bare}),
        Sample("error-404", "error.html", {"page": page(), **gone}),
        Sample("error-429", "error.html", {"page": visitor(), **busy}),
        Sample("error-401", "error.html", {"page": visitor(), **gone, "status": 401, "title": "Sign in to go on"}),
    ]
