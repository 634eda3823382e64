"""The company, its log and one's own account, as they look in use."""

from datetime import date, timedelta

from operalta.access.rules import SUPPORTING, TEMPLATES, CompanyKind, Permission, Role, StaffRole
from operalta.kernel.ids import new_id
from operalta.tenancy.rules import StaffVisit
from tests.web.samples_factors import own_factors
from tests.web.samples_ground import ADA, HASH, NOW, Context, Sample, before, page

VISITS = [
    StaffVisit(
        new_id(),
        "lumen",
        "Lumen",
        "Nia Park",
        StaffRole.SUPPORT,
        reason,
        before(days=days),
        until,
        None,
        is_open=is_open,
    )
    for reason, days, until, is_open in [
        ("Ada asked by phone why the analyst finds no metrics", 0, before(hours=-1), True),
        ("Yearly look at who may do what, agreed in the contract", 90, before(days=90, hours=-2), False),
    ]
]


def company_pages() -> list[Sample]:
    roles = [role.value for role in Role]
    table = [
        {
            "permission": permission.value,
            "label": permission.value.replace(":", ", ").capitalize(),
            "roles": {r.value for r, held in TEMPLATES[CompanyKind.STARTUP].items() if permission in held},
        }
        for permission in Permission
    ]
    members = [
        {
            "id": identifier,
            "name": name,
            "email": email,
            "role": role,
            "since": date(2025, 11, 3),
            "is_you": identifier == "p1",
            "may_change": identifier != "p1",
            "may_be_heir": identifier != "p1",
        }
        for identifier, name, email, role in [
            ("p1", "Ada Okafor", "ada@lumen.example", "founder"),
            ("p2", "Jonas Weber", "jonas@lumen.example", "founder"),
            ("p3", "Grace Lind", "grace@harbour.example", "observer"),
        ]
    ]
    invitations = [
        {
            "id": str(new_id()),
            "email": email,
            "role": "advisor",
            "invited_by": "Ada Okafor",
            "expires_at": NOW + timedelta(days=days),
            "state": state,
        }
        for email, days, state in [("maya@field.example", 5.5, "pending"), ("old@field.example", -4, "expired")]
    ]
    company: Context = {
        "members": members,
        "invitations": invitations,
        "visits": VISITS,
        "may_end_visits": True,
        "lesser_roles": roles[1:],
        "roles": roles,
        "grantable": roles,
        "permission_table": table,
        "form": {},
    }
    ada = {**ADA, "is_operator": False}
    staff: Context = {
        "roles": [role.value for role in StaffRole],
        "companies": [("lumen", "Lumen (lumen)"), ("harbour", "Harbour Ventures (harbour)")],
        "durations": [("60", "1 hour"), ("480", "8 hours")],
        "visits": VISITS,
        "form": {},
    }
    visiting = {
        "slug": "lumen",
        "name": "Lumen",
        "kind": "startup",
        "role": "support",
        "visit_until": before(minutes=-40),
    }
    return [
        Sample("members", "members.html", {"page": page("company"), **company}),
        Sample(
            "members-visited",
            "members.html",
            {
                "page": page("company", company=visiting, permissions=SUPPORTING),
                **company,
                "members": [{**each, "may_change": False, "may_be_heir": False, "is_you": False} for each in members],
                "may_end_visits": False,
            },
        ),
        Sample("staff", "staff.html", {"page": page("staff", company=None, person=ada), **staff}),
        Sample(
            "companies",
            "companies.html",
            {
                "page": page(
                    company=None, permissions=frozenset[str](), notice={"kind": "ok", "text": "You left Harbour."}
                ),
                "may_found": True,
                "must_verify": False,
                "form": {},
            },
        ),
        Sample(
            "companies-none",
            "companies.html",
            {
                "page": page(
                    company=None, companies=[], permissions=frozenset[str](), person={**ADA, "is_operator": False}
                ),
                "may_found": False,
                "must_verify": True,
                "form": {},
            },
        ),
        *_log(),
        *_account(),
    ]


_ID = "0192f3a1-7c11-7d0e-9a57-3d1c5b6e8f20"


def _log() -> list[Sample]:
    events = [
        {
            "number": 1204 - index,
            "at": before(minutes=7 * index),
            "actor": actor,
            "action": action,
            "subject": subject
            and {"kind": subject[0], "name": subject[1], "is_identifier": len(subject[1]) == len(_ID)},
            "outcome": outcome,
            "details": {"request": "req-0192f3", "address": "203.0.113.7", "subject": " ".join(subject or ())},
        }
        for index, (actor, action, subject, outcome) in enumerate(
            [
                ("Ada Okafor", "approval.decided", ("approval", _ID), "allowed"),
                ("Analyst for Ada Okafor", "tool.asked", ("tool", "files_write"), "allowed"),
                ("Analyst for Ada Okafor", "tool.asked", ("tool", "web_fetch"), "denied"),
                ("Grace Lind", "memory.read", None, "allowed"),
                ("Jonas Weber", "member.invited", ("invitation", _ID), "allowed"),
            ]
        )
    ]
    log: Context = {
        "filters": {"q": "", "actor": "", "action": "", "since": "", "until": ""},
        "actions": ["approval.decided", "member.invited", "tool.asked"],
        "events": events,
        "previous_url": None,
        "next_url": "?before=1200",
        "export_url": "/c/lumen/audit.csv",
        "chain": {
            "state": "intact",
            "sealed": 1203,
            "unsealed": 1,
            "head": HASH,
            "verified_at": before(minutes=1),
        },
    }
    broken = {"state": "tampered", "sealed": 900, "unsealed": 0, "head": None, "verified_at": None}
    return [
        Sample("audit", "audit.html", {"page": page("audit"), **log}),
        Sample(
            "audit-tampered",
            "audit.html",
            {
                "page": page(
                    "audit",
                    notice={
                        "kind": "bad",
                        "text": "Event 871 does not match the sealed head of 3 September. Tell the operator at once.",
                    },
                ),
                **log,
                "events": [],
                "chain": broken,
                "next_url": None,
            },
        ),
    ]


def _account() -> list[Sample]:
    sessions = [
        {
            "id": str(new_id()),
            "device": device,
            "address": address,
            "created_at": before(days=days),
            "last_seen_at": before(hours=days),
            "is_this": days == 0,
        }
        for device, address, days in [
            ("Firefox on Linux", "203.0.113.7", 0),
            ("Safari on iPhone", "198.51.100.24", 9),
        ]
    ]
    history = [
        {
            "at": before(days=days),
            "outcome": outcome,
            "device": "Firefox on Linux",
            "address": "203.0.113.7",
        }
        for days, outcome in [(0, "succeeded"), (2, "refused"), (9, "succeeded")]
    ]
    account: Context = {
        "sessions": sessions,
        "history": history,
        "password_minimum": 12,
        "password_changed_at": before(days=200),
    }
    mails: list[Context] = [
        {
            "id": "m1",
            "channel": "mail",
            "to": "grace@harbour.example",
            "subject": "Join Lumen Labs on Operalta",
            "text": "Ada Okafor invites you to Lumen Labs as advisor.\n\nOpen this link within seven days:\nhttp://localhost:8080/invitations/accept?token=…",
            "at": before(minutes=9),
            "links": ["http://localhost:8080/invitations/accept?token=x"],
        },
        {
            "id": "m2",
            "channel": "sms",
            "to": "+41 79 555 01 23",
            "subject": None,
            "text": "Your code is 482 913. It works for five minutes.",
            "at": before(minutes=30),
            "links": [],
        },
    ]
    return [
        Sample("security", "security.html", {"page": page(), **account, **own_factors()}),
        Sample(
            "security-unproved",
            "security.html",
            {"page": page(), **account, **own_factors(), "recently_proved": False, "offers_sms": False},
        ),
        Sample("security-password-only", "security.html", {"page": page(), **account, **own_factors(), "factors": []}),
        Sample(
            "outbox",
            "outbox.html",
            {"page": page(company=None), "messages": mails, "previous_url": None, "next_url": None},
        ),
        Sample(
            "outbox-empty",
            "outbox.html",
            {"page": page(company=None), "messages": [], "previous_url": None, "next_url": None},
        ),
    ]
