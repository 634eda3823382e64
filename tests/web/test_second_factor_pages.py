"""Second factors on pages, as a browser without script uses them: every form posts and leads on."""

import html
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from pyotp.totp import TOTP

from operalta.web import cookies
from tests.conftest import World
from tests.web.holders import PASSWORD, Holder, holder
from tests.web.hostile import Page
from tests.web.site import Answer, Client, Site


@pytest.fixture
def ben(site: Site, world: World) -> Holder:
    return holder(site, world)


def knock(ben: Holder, **more: str) -> tuple[Client, Answer]:
    """Give address and password on the sign-in page, on a device of its own."""
    client = ben.site.visitor()
    return client, client.post("/sign-in", email=ben.email, password=PASSWORD, **more)


def from_page(client: Client, path: str, page: str, **fields: str) -> Answer:
    """Send a form as the browser does that shows `page`."""
    origin = f"http://localhost:{client.port}"
    body = "&".join(f"{name}={value}" for name, value in fields.items()).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": origin, "Referer": f"{origin}{page}"}
    return client.request("POST", path, body, headers)


def carried(answer: Answer) -> dict[str, str]:
    """What the page carries along in its hidden fields."""
    found = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', answer.text)
    return {name: html.unescape(value) for name, value in found}


def link_to(answer: Answer, way: str) -> str:
    """The address behind one of the other ways."""
    found = re.search(rf'href="([^"]*)">{way}</a>', answer.text)
    assert found is not None, answer.text
    return html.unescape(found[1])


@pytest.mark.proves("2.2.3")
def test_a_code_by_sms_completes_the_password(ben: Holder) -> None:
    number = ben.add_phone()
    client, answer = knock(ben, next="/c/x/memory?q=tea")
    assert answer.status == 303
    assert cookies.ACCESS not in client.jar
    assert client.get("/companies").location.startswith("/sign-in")
    shown = client.get(answer.location)
    assert f"…{number[-2:]}" in shown.text
    assert number not in shown.text
    sent = client.post("/second-factor/send", **carried(shown))
    assert sent.status == 303
    asking = client.get(sent.location)
    (field,) = Page(asking.text).having("autocomplete", "one-time-code")
    assert field.attributes["inputmode"] == "numeric"
    assert "until" in asking.text
    done = client.post("/second-factor/code", **carried(asking), code=ben.arrived())
    assert (done.status, done.location) == (303, "/c/x/memory?q=tea")
    assert client.get("/companies").status == 200


def test_a_wrong_code_comes_back_with_what_was_typed_and_says_so(ben: Holder) -> None:
    ben.add_phone()
    client, answer = knock(ben)
    sent = client.post("/second-factor/send", **carried(client.get(answer.location)))
    asking = client.get(sent.location)
    code = ben.arrived()
    wrong = f"{(int(code) + 1) % 10**6:06d}"
    again = client.post("/second-factor/code", **carried(asking), code=wrong)
    assert again.status == 422
    page = Page(again.text)
    assert page.title.startswith("Error: ")
    (field,) = page.having("id", "field-code")
    assert (field.attributes["value"], field.attributes["aria-invalid"]) == (wrong, "true")
    assert carried(again) == carried(asking)
    assert client.post("/second-factor/code", **carried(again), code=code).status == 303


@pytest.mark.proves("2.2.4")
def test_a_code_of_the_app_and_a_recovery_code_hold_once(ben: Holder) -> None:
    code = TOTP(ben.add_app()).now()
    codes = ben.home.post("/security/recovery-codes")
    spare = re.findall(r"<li><code>([A-Z2-7-]{19})</code>", codes.text)[0]
    for path, typed in (("authenticator", code), ("recovery-code", spare)):
        for expected in (303, 422):
            client, _ = knock(ben)
            assert client.post(f"/second-factor/{path}", code=typed).status == expected, path


def test_a_ticket_that_is_missing_late_or_for_something_else_leads_to_where_one_is_had(ben: Holder) -> None:
    ben.add_app()
    stranger = ben.site.visitor()
    for answer in (
        stranger.get("/sign-in/second-factor?next=/c/x"),
        stranger.post("/second-factor/authenticator", next="/c/x", code="123456"),
        stranger.post("/second-factor/send", next="/c/x", way="00000000-0000-7000-8000-000000000000"),
    ):
        assert answer.location == "/sign-in?next=%2Fc%2Fx&notice=ticket-over"
    assert "Start again with your address and password." in stranger.get(answer.location).text
    client, _ = knock(ben)
    for answer in (
        client.get("/sign-in/second-factor?purpose=reset_password"),
        client.post("/second-factor/authenticator", purpose="reset_password", code="123456"),
    ):
        assert answer.location == "/sign-in?notice=reset-over"
    ben.execute("UPDATE identity.tickets SET expires_at = now() WHERE person_id = %s", ben.member.person_id)
    assert client.get("/sign-in/second-factor").location == "/sign-in?notice=ticket-over"


def test_the_sign_in_page_gives_a_browser_its_device_before_anything_else_can(ben: Holder) -> None:
    """Two requests at once, the form's and a script's, would each bring one, and a ticket fits the one it came with."""
    ben.add_app()
    client = ben.site.visitor()
    client.get("/sign-in")
    device = client.jar[cookies.DEVICE]
    options = client.api("POST", "/auth/passkey/options", {"purpose": "sign_in", "passwordless": True})
    assert options.header("set-cookie") == ""
    client.post("/sign-in", email=ben.email, password=PASSWORD)
    assert client.jar[cookies.DEVICE] == device
    assert client.get("/sign-in/second-factor").status == 200


def test_no_destination_lies_elsewhere(ben: Holder) -> None:
    secret = ben.add_app()
    client, answer = knock(ben, next="//evil.example/x")
    shown = client.get(answer.location)
    assert client.post("/second-factor/authenticator", **carried(shown), code=TOTP(secret).now()).location == "/"
    for foreign in ("https://evil.example/", "/\\evil.example", "//evil.example", "javascript:alert(1)"):
        offer = Page(ben.site.visitor().get(f"/sign-in?next={foreign}").text).having("data-passkey", "sign_in")[0]
        assert offer.attributes["data-next"] == "/", foreign
    assert ben.home.post("/step-up", next="https://evil.example/", password=PASSWORD).location == "/"


@pytest.mark.proves("2.2.3")
def test_a_new_password_by_mail_holds_once_the_factor_is_proved(ben: Holder) -> None:
    secret = ben.add_app()
    client = ben.site.visitor()
    client.post("/reset", email=ben.email)
    token, changed = ben.link("reset_password"), "five wooden ladders lean"
    asked = client.post("/reset/confirm", token=token, password=changed)
    assert asked.location == "/sign-in/second-factor?purpose=reset_password"
    assert knock(ben)[1].location == "/sign-in/second-factor"  # the old password holds
    shown = client.get(asked.location)
    done = client.post("/second-factor/authenticator", **carried(shown), code=TOTP(secret).now())
    assert done.location == "/sign-in?notice=password-reset"
    assert knock(ben)[1].status == 401
    assert ben.site.visitor().post("/sign-in", email=ben.email, password=changed).status == 303


def test_too_many_codes_are_told_on_the_page_with_the_wait(ben: Holder) -> None:
    ben.add_phone()
    client, answer = knock(ben)
    fields = carried(client.get(answer.location))
    assert [client.post("/second-factor/send", **fields).status for _ in range(3)] == [303, 303, 429]
    refused = client.post("/second-factor/send", **fields)
    assert re.search(r"You can go on in \d minutes\.", refused.text)
    wait = int(refused.header("retry-after"))
    assert f'data-wait="{wait}"' in refused.text
    assert refused.header("ratelimit") != ""


def test_a_paused_way_says_why_and_mails_the_link_that_this_browser_opens(ben: Holder) -> None:
    secret = ben.add_app()
    ben.execute(
        "INSERT INTO identity.factor_attempts (person_id, way, standing, device_digest)"
        " SELECT %s, 'authenticator', 'stranger', sha256('x') FROM generate_series(1, 12)",
        ben.member.person_id,
    )
    client, _ = knock(ben)
    shown = client.get("/sign-in/second-factor?way=authenticator")
    assert "Paused in this browser" in shown.text
    asked = client.post("/second-factor/authenticator", **carried(shown))
    assert asked.status == 403
    assert "Use the link we mailed, or another way." in asked.text
    token = ben.link("trust_device")
    assert "This is my browser" in client.get(f"/trust-device?token={token}").text
    assert client.post("/trust-device", token=token).location == "/sign-in?notice=device-trusted"
    assert client.post("/trust-device", token=token).status == 404
    assert client.post("/second-factor/authenticator", code=TOTP(secret).now()).status == 303


def test_a_browser_without_a_device_is_given_one_by_the_link(ben: Holder) -> None:
    ben.add_app()
    ben.execute(
        "INSERT INTO identity.factor_attempts (person_id, way, standing, device_digest)"
        " SELECT %s, 'authenticator', 'stranger', sha256('x') FROM generate_series(1, 12)",
        ben.member.person_id,
    )
    client, _ = knock(ben)
    client.post("/second-factor/authenticator")
    fresh = ben.site.visitor()
    fresh.post("/trust-device", token=ben.link("trust_device"))
    assert set(fresh.jar) == {cookies.DEVICE}
    fresh.post("/sign-in", email=ben.email, password=PASSWORD)
    assert "Paused in this browser" not in fresh.get("/sign-in/second-factor?way=authenticator").text


# ── Step-up ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.proves("2.2.3")
def test_what_is_sensitive_leads_to_a_proof_and_back_to_where_it_was_asked_for(ben: Holder, world: World) -> None:
    slug = ben.member.company_slug
    other = world.member((ben.member.company_id, slug), "observer")
    members = f"/c/{slug}/members"
    ben.let_pass(11)
    asked = from_page(ben.home, f"{members}/{other.person_id}/role", f"{members}?notice=saved&a=b", role="advisor")
    assert asked.status == 303
    (back,) = parse_qs(urlsplit(asked.location).query)["next"]
    assert back == f"{members}?a=b&notice=proved"
    removed = from_page(ben.home, f"{members}/{other.person_id}/end", members)
    assert removed.location.startswith("/step-up?")
    shown = ben.home.get(asked.location)
    assert Page(shown.text).having("autocomplete", "current-password")
    wrong = ben.home.post("/step-up", **carried(shown), password="not it at all")
    assert wrong.status == 422
    assert Page(wrong.text).having("id", "field-password")[0].attributes["aria-invalid"] == "true"
    proved = ben.home.post("/step-up", **carried(shown), password=PASSWORD)
    assert proved.location == back
    assert "Repeat now what you were about to do." in ben.home.get(back).text
    again = from_page(ben.home, f"{members}/{other.person_id}/role", members, role="advisor")
    assert again.location == f"{members}?notice=saved"


@pytest.mark.proves("2.2.3")
def test_a_password_is_no_proof_for_somebody_with_a_second_factor(ben: Holder) -> None:
    secret = ben.add_app()
    ben.let_pass(11)
    assert ben.home.post("/step-up", password=PASSWORD).location == "/security"
    assert ben.home.get("/security/factors/passkey").location.startswith("/step-up?")
    shown = ben.home.get("/step-up?next=/security/factors/passkey")
    assert 'name="password"' not in shown.text
    done = ben.home.post("/second-factor/authenticator", **carried(shown), code=TOTP(secret).now())
    assert done.location == "/security/factors/passkey"
    assert ben.home.get(done.location).status == 200


def test_an_agents_tools_lead_to_a_proof_and_scripts_are_told_so(ben: Holder) -> None:
    slug = ben.member.company_slug
    (agent,) = ben.rows("SELECT id FROM agents.agents WHERE company_id = %s", ben.member.company_id)
    path = f"/c/{slug}/agents/{agent['id']}"
    ben.let_pass(11)
    asked = from_page(ben.home, f"{path}/tools", path, **{"tool.web_fetch": "deny"})
    assert parse_qs(urlsplit(asked.location).query)["next"] == [f"{path}?notice=proved"]
    told = ben.home.request(
        "POST",
        f"{path}/tools",
        b"tool.web_fetch=deny",
        {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
    )
    assert (told.status, told.json["code"]) == (403, "not_proved")
    assert told.header("content-type").startswith("application/problem+json")


def test_a_page_elsewhere_is_not_where_a_proof_leads_back_to(ben: Holder) -> None:
    ben.let_pass(11)
    for referer in ("https://evil.example/c/x", "", "http://localhost:1/c/x", "//", "data:text/html,x"):
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Referer": referer}
        asked = ben.home.request("POST", "/security/recovery-codes", b"", headers)
        assert asked.location == "/step-up?next=", referer


# ── One's own factors ─────────────────────────────────────────────────────────────────────────────────


def test_a_phone_is_added_with_the_code_that_it_receives(ben: Holder) -> None:
    home = ben.home
    refused = home.post("/security/factors/phone", phone="044 668")
    assert refused.status == 422
    assert Page(refused.text).having("id", "field-phone")[0].attributes["value"] == "044 668"
    sent = home.post("/security/factors/phone", phone="0041 79 555 01 23")
    assert "+41795550123" in sent.text
    wrong = home.post("/security/factors/phone/code", **carried(sent), code="12345")
    assert wrong.status == 422
    added = home.post("/security/factors/phone/code", **carried(wrong), code=ben.arrived())
    assert len(re.findall(r"<li><code>[A-Z2-7]{4}(-[A-Z2-7]{4}){3}</code>", added.text)) == 10
    assert added.header("cache-control") == "no-store"
    assert "+41795550123" in home.get("/security").text
    assert home.get("/security/factors/phone/code").status == 200
    taken = home.post("/security/factors/phone", phone="+41795550123")
    assert taken.status == 409
    assert "it is there already" in taken.text


def test_an_authenticator_app_is_added_with_its_first_code(ben: Holder) -> None:
    home = ben.home
    assert home.get("/security/factors/authenticator/confirm").location == "/security/factors/authenticator"
    begun = home.post("/security/factors/authenticator", name="Aegis")
    assert begun.status == 303
    shown = home.get(begun.location)
    groups = re.findall(r"<span>([A-Z2-7]{4})</span>", shown.text)
    secret = "".join(groups)
    assert len(secret) == 32
    (drawing,) = Page(shown.text).having("class", "qr-code")
    assert drawing.attributes["role"] == "img"
    wrong = home.post(begun.location, code="1234567")
    assert wrong.status == 422
    assert f"<span>{groups[0]}</span>" in wrong.text
    added = home.post(begun.location, code=TOTP(secret).now())
    assert "Your recovery codes" in added.text
    assert secret not in home.get("/security").text
    assert "Aegis" in home.get("/security").text
    assert home.get("/security/factors/authenticator/confirm").status == 303


@pytest.mark.proves("2.2.3")
def test_nothing_is_added_removed_or_replaced_without_a_recent_proof(ben: Holder) -> None:
    ben.add_app()
    (app,) = ben.rows("SELECT id FROM identity.authenticators WHERE person_id = %s", ben.member.person_id)
    ben.let_pass(11)
    for name in ("phone", "authenticator", "authenticator/confirm", "passkey"):
        path = f"/security/factors/{name}"
        assert ben.home.get(path).location == f"/step-up?next={path.replace('/', '%2F')}"
    for path, fields in (
        ("factors/phone", {"phone": "+41795550123"}),
        ("factors/phone/code", {"code": "123456"}),
        ("factors/authenticator", {"name": "Another"}),
        ("factors/authenticator/confirm", {"code": "123456"}),
        (f"factors/{app['id']}/remove", {}),
        ("recovery-codes", {}),
        ("password", {"current_password": PASSWORD, "password": "six wooden ladders lean"}),
    ):
        assert ben.home.post(f"/security/{path}", **fields).location == "/step-up?next=", path
    assert "Before anything here changes, you confirm that it is you." in ben.home.get("/security").text


def test_a_factor_is_removed_and_the_codes_go_with_the_last_one(ben: Holder) -> None:
    ben.add_app()
    (app,) = ben.rows("SELECT id FROM identity.authenticators WHERE person_id = %s", ben.member.person_id)
    assert "10 of 10 left" in ben.home.get("/security").text
    assert ben.home.post(f"/security/factors/{app['id']}/remove").location == "/security?notice=factor-removed"
    assert "Only your password protects your account." in ben.home.get("/security").text
    assert ben.home.post(f"/security/factors/{app['id']}/remove").status == 404
    assert ben.home.post("/security/recovery-codes").status == 404


def test_the_security_page_says_when_the_password_was_changed_and_where_a_wrong_one_stands(ben: Holder) -> None:
    assert "Changed" in ben.home.get("/security").text
    wrong = ben.home.post("/security/password", current_password="not it at all", password="six wooden ladders lean")
    assert wrong.status == 422
    assert Page(wrong.text).having("id", "field-current_password")[0].attributes["aria-invalid"] == "true"


def test_signing_out_is_counted_as_such(ben: Holder) -> None:
    answer = ben.home.post("/sign-out")
    assert answer.location == "/sign-in?notice=signed-out"
    assert '"sign-out-address"' in answer.header("ratelimit-policy")
