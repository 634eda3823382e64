"""Slugs from names, and which roles may be given."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operalta.access.rules import Role
from operalta.tenancy.rules import RESERVED_SLUGS, roles_out_of_reach, roles_to_grant, sees_members, slug_of


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Acme Robotics", "acme-robotics"),
        ("  Zürich & Söhne AG  ", "zurich-and-sohne-ag"),
        ("Straße", "strasse"),
        ("Łódź Ærø", "lodz-aero"),
        ("\uff21\uff23\uff2d\uff25", "acme"),
        ("李小龍", "company"),
        ("---", "company"),
        ("API", "api-company"),
        ("Sign up", "sign-up-company"),
        ("x" * 39 + " yz", "x" * 39),
        ("550e8400-e29b-41d4-a716-446655440000", "550e8400-e29b-41d4-a716-446655440000-company"),
    ],
)
def test_a_slug_reads_like_the_name(name: str, slug: str) -> None:
    assert slug_of(name) == slug


@given(st.text(max_size=120))
def test_a_slug_always_fits_the_column_and_is_never_reserved(name: str) -> None:
    slug = slug_of(name)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?", slug)
    assert slug == "company" or slug not in RESERVED_SLUGS


@pytest.mark.proves("2.5.4")
def test_nobody_gives_more_than_they_hold() -> None:
    for kind in ("startup", "investor"):
        assert set(roles_to_grant(kind, "founder")) == set(Role)
        assert roles_to_grant(kind, "founder")[0] is Role.FOUNDER
        assert roles_out_of_reach(kind, "founder") == ()
        for role in ("advisor", "investor", "observer", "unknown", None):
            assert roles_to_grant(kind, role) == ()
            assert set(roles_out_of_reach(kind, role)) == set(Role)
    assert roles_to_grant("unknown", "founder") == ()
    assert sees_members("startup", "advisor")
    assert not sees_members("startup", "observer")
