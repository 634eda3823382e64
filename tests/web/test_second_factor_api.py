"""Second factors over the API: the way in, a reset, step-up; what refuses, and how often one may ask."""

import secrets
from collections.abc import Callable

import pytest
from pyotp.totp import TOTP

from operalta.identity.step_up import SensitiveOperation
from operalta.web import cookies
from tests.conftest import World
from tests.identity.factors.software_authenticator import SoftwareAuthenticator
from tests.web.holders import PASSWORD, Holder, holder, phone_of
from tests.web.site import Answer, Site

NEW_PASSWORD = "seven quiet harbours sing"
NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def ada(site: Site, world: World) -> Holder:
    return holder(site, world)


def without_request_id(answer: Answer) -> str:
    return answer.text.replace(answer.header("x-request-id"), "-")


@pytest.mark.proves("2.2.3", "2.3.2")
def test_the_password_alone_gives_a_ticket_and_no_session(ada: Holder) -> None:
    ada.add_phone()
    client, asked = ada.knock()
    assert (asked.status, asked.json["purpose"]) == (202, "sign_in")
    assert [way["kind"] for way in asked.json["ways"]] == ["phone", "recovery_code"]
    set_cookies = {value.partition("=")[0]: value for name, value in asked.headers if name == "set-cookie"}
    assert set_cookies.keys() == {cookies.TICKET, cookies.DEVICE}
    for value in set_cookies.values():
        assert all(mark in value for mark in ("Secure", "HttpOnly", "SameSite=Lax", "Path=/"))
    assert client.jar[cookies.TICKET] not in asked.text
    assert client.api("GET", "/me").status == 401
    assert client.api("POST", "/auth/otp/send", {"phone": str(phone_of(asked))}).status == 202
    verified = client.api("POST", "/auth/otp/verify", {"code": ada.arrived()})
    assert verified.status == 200, verified.text
    assert client.api("GET", "/me").json["email"] == ada.email


@pytest.mark.proves("2.2.4")
def test_a_ticket_taken_to_another_device_opens_nothing(ada: Holder, site: Site) -> None:
    secret = ada.add_app()
    client, _ = ada.knock()
    thief = site.visitor()
    thief.jar[cookies.TICKET] = client.jar[cookies.TICKET]
    thief.jar[cookies.DEVICE] = "x" * 43
    assert thief.api("POST", "/auth/totp/verify", {"code": TOTP(secret).now()}).status == 401
    assert client.api("POST", "/auth/totp/verify", {"code": TOTP(secret).now()}).status == 200


@pytest.mark.proves("7.3.2")
def test_without_a_ticket_every_code_route_gives_everybody_one_answer(ada: Holder, site: Site) -> None:
    ada.add_phone()
    _, asked = ada.knock()
    bodies = {
        "/auth/otp/send": {"phone": str(phone_of(asked))},
        "/auth/otp/verify": {"code": "123456"},
        "/auth/totp/verify": {"code": "123456"},
        "/auth/recovery-code/verify": {"code": "AAAA-AAAA-AAAA-AAAA"},
        "/auth/passkey/options": {},
        "/auth/ways": {},
    }
    stranger = site.visitor()
    stranger.jar |= {cookies.TICKET: "y" * 43, cookies.DEVICE: "x" * 43}
    answers = [client.api("POST", path, body) for client in (site.visitor(), stranger) for path, body in bodies.items()]
    assert {answer.status for answer in answers} == {401}
    assert len({without_request_id(answer) for answer in answers}) == 1


@pytest.mark.proves("2.2.3", "2.3.4")
def test_a_reset_waits_for_the_second_factor_and_then_ends_every_session(ada: Holder, site: Site) -> None:
    secret = ada.add_app()
    client = site.visitor()
    assert client.api("POST", "/auth/password-reset", {"email": ada.email}).status == 202
    body = {"token": ada.link("reset_password"), "password": NEW_PASSWORD}
    asked = client.api("POST", "/auth/password-reset/confirm", body)
    assert (asked.status, asked.json["purpose"]) == (202, "reset_password")
    assert ada.home.api("GET", "/me").status == 200
    wrong_purpose = client.api("POST", "/auth/totp/verify", {"code": TOTP(secret).now()})
    assert wrong_purpose.status == 401
    done = client.api("POST", "/auth/totp/verify", {"code": TOTP(secret).now(), "purpose": "reset_password"})
    assert (done.status, done.body) == (204, b"")
    assert ada.home.api("GET", "/me").status == 401
    assert client.api("GET", "/me").status == 401
    signing_in = {"email": ada.email, "password": NEW_PASSWORD}
    assert site.visitor().api("POST", "/auth/sign-in", signing_in).status == 202
    assert site.visitor().api("POST", "/auth/sign-in", {**signing_in, "password": PASSWORD}).status == 401


def test_a_reset_without_a_second_factor_is_done_at_once(ada: Holder, site: Site) -> None:
    client = site.visitor()
    client.api("POST", "/auth/password-reset", {"email": ada.email})
    body = {"token": ada.link("reset_password"), "password": NEW_PASSWORD}
    assert client.api("POST", "/auth/password-reset/confirm", body).status == 204
    assert client.api("POST", "/auth/password-reset/confirm", body).status == 404


@pytest.mark.proves("3.1.4")
def test_eleven_checks_in_five_minutes_are_one_too_many(ada: Holder) -> None:
    ada.add_phone()
    client, asked = ada.knock()
    client.api("POST", "/auth/otp/send", {"phone": str(phone_of(asked))})
    # The first was the one that confirmed the phone: they count for the person, whatever they are for.
    answers = [client.api("POST", "/auth/otp/verify", {"code": "000000"}) for _ in range(10)]
    assert [answer.status for answer in answers] == [422] * 9 + [429]
    assert int(answers[-1].header("retry-after")) > 0
    knocked, _ = ada.knock()
    assert knocked.api("POST", "/auth/otp/verify", {"code": "000000"}).status == 429


@pytest.mark.proves("3.1.1")
@pytest.mark.parametrize(
    "path",
    ["/auth/otp/verify", "/auth/totp/verify", "/auth/recovery-code/verify", "/auth/passkey/options", "/auth/ways"],
)
def test_made_up_tickets_are_counted_for_the_address(site: Site, path: str) -> None:
    body = {"code": "123456"} if path.endswith("verify") else {}
    stranger = site.visitor()
    statuses: set[int] = set()
    for number in range(301):
        stranger.jar = {cookies.TICKET: f"{number:043d}", cookies.DEVICE: "x" * 43}
        statuses.add(stranger.api("POST", path, body).status)
        if 429 in statuses:
            break
    assert statuses == {401, 429}


@pytest.mark.proves("3.1.3")
def test_a_fourth_code_to_one_number_is_refused_however_the_number_is_typed(
    ada: Holder, site: Site, world: World
) -> None:
    """Two of the three may be asked for by others; the third is left for whoever has the number."""
    spellings = ("+41 79 555 07 71", "0041795550771", "+41 (79) 555-07-71")
    people = [ada, holder(site, world), holder(site, world)]
    answers = [
        person.home.api("POST", "/auth/factors/phone", {"phone": spelling})
        for person, spelling in zip(people, spellings, strict=True)
    ]
    assert [answer.status for answer in answers] == [202, 202, 429]
    owner = holder(site, world)
    owner.execute("INSERT INTO identity.phones (person_id, number) VALUES (%s, '+41795550771')", owner.member.person_id)
    client, asked = owner.knock()
    answers = [client.api("POST", "/auth/otp/send", {"phone": str(phone_of(asked))}) for _ in range(2)]
    assert [answer.status for answer in answers] == [202, 429]
    assert int(answers[-1].header("retry-after")) > 0


def test_asking_for_somebody_elses_number_without_a_proof_uses_up_nothing_of_theirs(
    ada: Holder, site: Site, world: World
) -> None:
    number = ada.add_phone()
    stranger = holder(site, world)
    stranger.let_pass(11)
    answers = [stranger.home.api("POST", "/auth/factors/phone", {"phone": number}) for _ in range(5)]
    assert [answer.status for answer in answers] == [403, 403, 403, 429, 429]
    client, asked = ada.knock()
    sent = [client.api("POST", "/auth/otp/send", {"phone": str(phone_of(asked))}).status for _ in range(2)]
    assert sent == [202, 202]


def test_a_strangers_nonsense_uses_up_no_recovery_code_of_the_owner(ada: Holder) -> None:
    ada.add_app()
    codes = ada.home.api("POST", "/auth/factors/recovery-codes").json["recovery_codes"]
    stranger, _ = ada.knock()
    statuses = [stranger.api("POST", "/auth/recovery-code/verify", {"code": "x"}).status for _ in range(11)]
    assert statuses == [422] * 10 + [429]
    client, _ = ada.knock()
    assert client.api("POST", "/auth/recovery-code/verify", {"code": codes[0]}).status == 200


def enrolments(ada: Holder) -> list[Answer]:
    home = ada.home
    return [
        home.api("POST", "/auth/factors/phone", {"phone": "+41795550199"}),
        home.api("POST", "/auth/factors/totp", {"name": "Tablet"}),
        home.api("POST", "/auth/factors/passkey"),
    ]


A_KEY = {"name": "x", "scopes": ["memory:read"]}
A_HOOK = {"name": "x", "scheme": "standard"}
AN_INTEGRATION = {
    "name": "x",
    "slug": "there",
    "kind": "api_key_service",
    "base_url": "https://api.example.com",
    "credential": "a-credential-of-tests",
}
A_CLIENT = {"provider": "github", "client_id": "x", "client_secret": "x"}
OPERATIONS: dict[SensitiveOperation, Callable[[Holder, str], list[Answer]]] = {
    SensitiveOperation.CHANGE_PASSWORD: lambda ada, _: [
        ada.home.api("PUT", "/auth/password", {"current_password": PASSWORD, "password": NEW_PASSWORD})
    ],
    SensitiveOperation.ENROL_FACTOR: lambda ada, _: enrolments(ada),
    SensitiveOperation.REMOVE_FACTOR: lambda ada, _: [ada.home.api("DELETE", f"/auth/factors/{a_factor(ada)}")],
    SensitiveOperation.REPLACE_RECOVERY_CODES: lambda ada, _: [ada.home.api("POST", "/auth/factors/recovery-codes")],
    SensitiveOperation.INVITE_MANAGER: lambda ada, _: [
        ada.home.api(
            "POST",
            f"/companies/{ada.member.company_slug}/invitations",
            {"email": f"{ada.member.company_slug}@people.example", "role": "founder"},
        )
    ],
    SensitiveOperation.CHANGE_ROLE: lambda ada, other: [
        ada.home.api("PUT", f"/companies/{ada.member.company_slug}/members/{other}/role", {"role": "investor"})
    ],
    SensitiveOperation.REMOVE_MEMBER: lambda ada, other: [
        ada.home.api("DELETE", f"/companies/{ada.member.company_slug}/members/{other}")
    ],
    SensitiveOperation.TRANSFER_OWNERSHIP: lambda ada, other: [
        ada.home.api("POST", f"/companies/{ada.member.company_slug}/members/{other}/hand-over", {"role": "observer"})
    ],
    SensitiveOperation.VISIT_AS_STAFF: lambda ada, _: [a_visit(ada)],
    SensitiveOperation.CHANGE_AGENT_TOOLS: lambda ada, _: [
        ada.home.api(
            "PATCH",
            f"/companies/{ada.member.company_slug}/agents/{an_agent(ada)}",
            {"tools": [{"tool": "web_fetch", "decision": "deny"}]},
        ),
        ada.home.api(
            "PATCH",
            f"/companies/{ada.member.company_slug}/agents/{an_agent(ada)}",
            {"directories": ["notes"]},
        ),
    ],
    SensitiveOperation.MAKE_API_KEY: lambda ada, _: [inside(ada, "POST", "api-keys", A_KEY)],
    SensitiveOperation.ROTATE_API_KEY: lambda ada, _: [inside(ada, "POST", f"api-keys/{a_key(ada)}/rotate", {})],
    SensitiveOperation.REGISTER_CLIENT: lambda ada, _: [inside(ada, "POST", "oauth-clients", A_CLIENT)],
    SensitiveOperation.CONNECT_ACCOUNT: lambda ada, _: [
        inside(ada, "POST", "connections", {"oauth_client": a_client(ada), "scopes": ["chat:write"]})
    ],
    SensitiveOperation.MAKE_WEBHOOK: lambda ada, _: [inside(ada, "POST", "inbound-hooks", A_HOOK)],
    SensitiveOperation.ROTATE_WEBHOOK: lambda ada, _: [inside(ada, "POST", f"inbound-hooks/{a_hook(ada)}/rotate", {})],
    SensitiveOperation.CHANGE_INTEGRATION: lambda ada, _: [inside(ada, "POST", "integrations", AN_INTEGRATION)],
    SensitiveOperation.ALLOW_MODEL_ROUTES: lambda ada, _: [
        inside(ada, "PUT", "model-routes", {"routes": [], "regions": ["EU"]})
    ],
    SensitiveOperation.CHANGE_APPROVAL_RULES: lambda ada, _: [
        inside(ada, "PUT", "approvals/rules", {"rules": [{"tool_class": "egress", "roles": ["founder"]}]})
    ],
}


def inside(ada: Holder, method: str, what: str, body: object) -> Answer:
    return ada.home.api(method, f"/companies/{ada.member.company_slug}/{what}", body)


def a_key(ada: Holder) -> str:
    facts = (ada.member.company_id, ada.member.person_id, ada.member.person_id)
    made = ada.rows(
        "INSERT INTO credentials.api_keys (company_id, kind, name, scopes, holder_id, shown, created_by, expires_at)"
        " VALUES (%s, 'personal', 'x', '{memory:read}', %s, 'op_abcdefghijkl', %s, now() + interval '1 day')"
        " RETURNING id",
        *facts,
    )
    return str(made[0]["id"])


def a_hook(ada: Holder) -> str:
    facts = (ada.member.company_id, secrets.token_bytes(32), ada.member.person_id, ada.member.person_id)
    made = ada.rows(
        "INSERT INTO credentials.inbound_hooks (company_id, id, name, scheme, digest, shown, made_by, holder_id)"
        " VALUES (%s, gen_random_uuid(), 'x', 'standard', %s, 'x', %s, %s) RETURNING id",
        *facts,
    )
    return str(made[0]["id"])


def a_client(ada: Holder) -> str:
    ada.execute(
        "INSERT INTO credentials.oauth_clients (company_id, id, provider, title, client_id, kept_id, registered_by)"
        " VALUES (%s, gen_random_uuid(), 'slack', 'Slack', 'x', gen_random_uuid(), %s) ON CONFLICT DO NOTHING",
        ada.member.company_id,
        ada.member.person_id,
    )
    made = ada.rows("SELECT id FROM credentials.oauth_clients WHERE company_id = %s", ada.member.company_id)
    return str(made[0]["id"])


def a_factor(ada: Holder) -> str:
    return ada.home.api("GET", "/auth/factors").json["factors"][0]["id"]


def a_visit(ada: Holder) -> Answer:
    ada.execute(
        "INSERT INTO identity.staff (person_id, role) VALUES (%s, 'support') ON CONFLICT DO NOTHING",
        ada.member.person_id,
    )
    elsewhere = ada.rows("SELECT slug FROM tenancy.companies WHERE id <> %s LIMIT 1", ada.member.company_id)[0]["slug"]
    body = {"company": elsewhere, "role": "support", "reason": "Somebody asked on the phone"}
    return ada.home.api("POST", "/staff/visits", body)


def an_agent(ada: Holder) -> str:
    return str(ada.rows("SELECT id FROM agents.agents WHERE company_id = %s", ada.member.company_id)[0]["id"])


@pytest.mark.proves("2.2.3")
@pytest.mark.parametrize("operation", list(SensitiveOperation), ids=lambda operation: operation.name.lower())
def test_a_sensitive_operation_needs_a_factor_proved_in_the_last_ten_minutes(
    ada: Holder, world: World, operation: SensitiveOperation
) -> None:
    secret = ada.add_app()
    other = str(world.member((ada.member.company_id, ada.member.company_slug), "advisor").person_id)
    ada.let_pass(11)
    # The password is no second factor, however fresh it is.
    assert ada.home.api("POST", "/auth/password/verify", {"password": PASSWORD}).status == 204
    refused = OPERATIONS[operation](ada, other)
    assert [(answer.status, answer.json["code"]) for answer in refused] == [(403, "not_proved")] * len(refused)
    proved = ada.home.api("POST", "/auth/totp/verify", {"code": TOTP(secret).now(), "purpose": "step_up"})
    assert proved.status == 204, proved.text
    for answer in OPERATIONS[operation](ada, other):
        assert answer.status in {200, 201, 202, 204}, (answer.status, answer.text)


@pytest.mark.proves("2.2.3")
def test_without_a_second_factor_the_password_is_the_proof(ada: Holder) -> None:
    ada.let_pass(11)
    assert ada.home.api("POST", "/auth/factors/totp", {"name": "Phone"}).json["code"] == "not_proved"
    assert ada.home.api("POST", "/auth/password/verify", {"password": "not this one"}).status == 422
    assert ada.home.api("POST", "/auth/factors/totp", {"name": "Phone"}).json["code"] == "not_proved"
    assert ada.home.api("POST", "/auth/password/verify", {"password": PASSWORD}).status == 204
    assert ada.home.api("POST", "/auth/factors/totp", {"name": "Phone"}).status == 201


def test_a_passkey_is_added_and_signs_in_by_itself(ada: Holder, site: Site) -> None:
    device = SoftwareAuthenticator(origin=site.address)
    options = ada.home.api("POST", "/auth/factors/passkey")
    assert options.status == 200, options.text
    body = {"name": "Laptop", "credential": device.create(options.json)}
    added = ada.home.api("POST", "/auth/factors/passkey/confirm", body)
    assert (added.status, len(added.json["recovery_codes"])) == (201, 10), added.text
    client = site.visitor()
    asked = client.api("POST", "/auth/passkey/options", {"passwordless": True})
    assert (asked.status, asked.json["allowCredentials"]) == (200, [])
    answered = client.api("POST", "/auth/passkey/verify", {"passwordless": True, "credential": device.get(asked.json)})
    assert answered.status == 200, answered.text
    assert client.api("GET", "/me").json["email"] == ada.email
    knocked, asked = ada.knock()
    assert [way["kind"] for way in asked.json["ways"]] == ["passkey", "recovery_code"]
    asked = knocked.api("POST", "/auth/passkey/options", {})
    answered = knocked.api("POST", "/auth/passkey/verify", {"credential": device.get(asked.json)})
    assert answered.status == 200, answered.text
    assert client.api("POST", "/auth/passkey/options", {"passwordless": True, "purpose": "step_up"}).status == 422


def test_factors_are_listed_and_removed_by_their_owner_alone(ada: Holder, site: Site, world: World) -> None:
    number = ada.add_phone()
    ada.add_app()
    listed = ada.home.api("GET", "/auth/factors").json
    assert [(each["kind"], each["label"]) for each in listed["factors"]] == [
        ("phone", number), ("authenticator", "Phone"),
    ]  # fmt: skip
    assert (listed["recovery_codes_left"], listed["recently_proved"]) == (10, True)
    other = holder(site, world)
    factor = listed["factors"][0]["id"]
    for missing in (factor, NOBODY):
        assert other.home.api("DELETE", f"/auth/factors/{missing}").status == 404
    assert ada.home.api("DELETE", f"/auth/factors/{factor}").status == 204
    assert ada.home.api("DELETE", f"/auth/factors/{factor}").status == 404
    assert [each["kind"] for each in ada.home.api("GET", "/auth/factors").json["factors"]] == ["authenticator"]


def test_an_enrolled_phone_number_is_shown_to_strangers_with_the_password_by_its_ending_alone(ada: Holder) -> None:
    number = ada.add_phone()
    client, asked = ada.knock()
    assert number not in asked.text
    ways = client.api("POST", "/auth/ways", {})
    assert (ways.status, ways.json["ways"]) == (200, asked.json["ways"])
    assert ways.json["ways"][0]["label"] == f"…{number[-2:]}"
