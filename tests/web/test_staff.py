"""Staff visits and handing over, as browsers and API clients meet them."""

import pytest

from operalta.workspace.rules import encode_cursor
from tests.conftest import World
from tests.web.conftest import House
from tests.web.holders import Holder, holder
from tests.web.site import Client, Site

REASON = "Ada asked by phone why her analyst finds no metrics"


@pytest.fixture
def nia(site: Site, world: World) -> Holder:
    """Somebody of the operator's staff, who has a company of her own elsewhere."""
    found = holder(site, world)
    found.execute("INSERT INTO identity.staff (person_id, role) VALUES (%s, 'auditor')", found.member.person_id)
    return found


def visit(client: Client, slug: str, **changes: object) -> dict[str, object]:
    body = {"company": slug, "role": "auditor", "reason": REASON, "minutes": 30, **changes}
    answer = client.api("POST", "/staff/visits", body)
    assert answer.status == 201, answer.text
    return answer.json


@pytest.mark.proves("7.2.3")
def test_staff_visit_over_the_api_and_the_company_sees_what_they_opened(nia: Holder, house: House) -> None:
    inside = f"/companies/{house.slug}"
    assert nia.home.api("GET", f"{inside}/members").status == 404
    following = encode_cursor(house.slug[:-1])
    assert house.slug in nia.home.api("GET", f"/staff/companies?limit=1&cursor={following}").text
    opened = visit(nia.home, house.slug)
    assert nia.home.api("GET", f"{inside}/members").status == 200
    assert nia.home.api("GET", f"{inside}/audit").status == 200
    for closed in ("memory", "files", "metrics", "approvals", "conversations", "invitations"):
        assert nia.home.api("GET", f"{inside}/{closed}").status == 403, closed
    assert nia.home.api("POST", f"{inside}/memory", {"kind": "decision", "title": "Mine"}).status == 403
    (seen,) = house.founder.api("GET", f"{inside}/staff-visits").json["items"]
    assert (seen["reason"], seen["is_open"], seen["id"]) == (REASON, True, opened["id"])
    used = house.founder.api("GET", f"{inside}/audit?action=staff_access.used").json["items"]
    assert {each["target_id"] for each in used} == {f"/api/v1{inside}/members", f"/api/v1{inside}/audit"}
    assert {each["actor_kind"] for each in used} == {"staff"}
    assert house.observer.api("GET", f"{inside}/staff-visits").status == 403
    assert house.clients["advisor"].api("DELETE", f"{inside}/staff-visits/{opened['id']}").status == 403
    assert house.founder.api("DELETE", f"{inside}/staff-visits/{opened['id']}").status == 204
    assert nia.home.api("GET", f"{inside}/members").status == 404
    assert house.founder.api("DELETE", f"{inside}/staff-visits/{opened['id']}").status == 404


@pytest.mark.proves("7.2.3")
@pytest.mark.parametrize(
    "changes",
    [{"reason": "why not"}, {"reason": ""}, {"minutes": 481}, {"minutes": 0}, {"role": "founder"}, {"until": "ever"}],
)
def test_a_visit_without_reason_or_bound_is_refused(nia: Holder, house: House, changes: dict[str, object]) -> None:
    body = {"company": house.slug, "role": "auditor", "reason": REASON, "minutes": 30, **changes}
    assert nia.home.api("POST", "/staff/visits", body).status == 422
    assert nia.home.api("GET", f"/companies/{house.slug}").status == 404


@pytest.mark.proves("7.2.3", "2.2.3")
def test_a_visit_needs_a_proof_that_is_not_old_and_somebody_who_is_staff(nia: Holder, house: House) -> None:
    nia.let_pass(11)
    body = {"company": house.slug, "role": "auditor", "reason": REASON, "minutes": 30}
    refused = nia.home.api("POST", "/staff/visits", body)
    assert (refused.status, refused.json["code"]) == (403, "not_proved")
    for client in (house.founder, house.outsider):
        assert client.api("POST", "/staff/visits", body).status == 404
        assert client.api("GET", "/staff/companies").status == 404
        assert client.get("/staff").status == 404


@pytest.mark.proves("7.2.3")
def test_the_staff_page_leads_in_shows_where_one_is_and_ends_the_visit(nia: Holder, house: House) -> None:
    home = nia.home
    assert "Visit a company" in home.get("/companies").text
    assert "You have not visited a company yet." in home.get("/staff").text
    short = home.post("/staff/visits", company=house.slug, role="auditor", reason="why", minutes="60")
    assert short.status == 422
    assert "why</textarea>" in short.text
    assert home.post("/staff/visits", company=house.slug, role="auditor", reason=REASON, minutes="999").status == 422
    inside = home.post("/staff/visits", company=house.slug, role="auditor", reason=REASON, minutes="60")
    assert inside.location == f"/c/{house.slug}/members"
    shown = home.get(inside.location)
    assert shown.status == 200
    assert "as auditor. What you open is in its log." in shown.text
    assert home.get(f"/c/{house.slug}").location == f"/c/{house.slug}/members"
    for word in ("Hand over", "Remove", "Send the invitation"):
        assert word not in shown.text
    listed = house.founder.get(f"/c/{house.slug}/members").text
    assert REASON in listed
    visits = home.get("/staff").text
    ending = visits.partition('action="/staff/visits/')[2].partition('/end"')[0]
    assert home.post(f"/staff/visits/{ending}/end").location == "/staff?notice=visit-ended"
    assert home.get(inside.location).status == 404
    assert home.post(f"/staff/visits/{ending}/end").status == 404


@pytest.mark.proves("2.5.4")
def test_a_founder_hands_over_on_the_page_and_over_the_api(house: House) -> None:
    heir = house.members["advisor"].person_id
    path = f"/c/{house.slug}/members/{heir}/hand-over"
    assert house.clients["advisor"].post(path, role="advisor").status == 403
    assert house.founder.post(path, role="founder").status == 409
    assert house.founder.post(path, role="emperor").status == 422
    assert house.founder.post(path, role="observer").location == f"/c/{house.slug}?notice=handed-over"
    assert house.founder.get(f"/c/{house.slug}/members").status == 403
    back = f"/companies/{house.slug}/members/{house.members['founder'].person_id}/hand-over"
    assert house.founder.api("POST", back, {"role": "advisor"}).status == 403
    assert house.clients["advisor"].api("POST", back, {"role": "advisor"}).status == 204
    assert house.founder.get(f"/c/{house.slug}/members").status == 200


def test_an_invitation_is_sent_again_from_the_page(house: House) -> None:
    house.founder.post(f"/c/{house.slug}/invitations", email="maya@field.example", role="observer")
    listed = house.founder.get(f"/c/{house.slug}/members").text
    again = listed.partition(f'action="/c/{house.slug}/invitations/')[2].partition('"')[0]
    assert again.endswith("/resend")
    answer = house.founder.post(f"/c/{house.slug}/invitations/{again}")
    assert answer.location == f"/c/{house.slug}/members?notice=invited"
