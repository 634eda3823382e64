"""Webhooks, as browsers, programs and other services meet them: the served application, both ways."""

import hashlib
import hmac
import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from operalta.kernel import clock
from operalta.vault.webhooks.inbound.rules import LARGEST_BODY_BYTES, MOST_KEPT
from operalta.vault.webhooks.signatures import TOLERANCE_SECONDS, signed_headers
from tests.conftest import Servers, World
from tests.vault.receiver import WebhookReceiver, receiving
from tests.web.conftest import House
from tests.web.site import Answer, Site, serving

JSON = {"Content-Type": "application/json"}
FORGED = "v1," + "A" * 43 + "="


@pytest.fixture(scope="module")
def receiver() -> Generator[WebhookReceiver]:
    with receiving() as started:
        yield started


@pytest.fixture(scope="module")
def served(servers: Servers, receiver: WebhookReceiver) -> Generator[Site]:
    with serving(servers, egress_exemptions=(receiver.exemption,)) as started:
        yield started


@pytest.fixture
def site(served: Site) -> Site:
    store: Any = redis.Redis.from_url(served.services.settings.redis_address)  # pyright: ignore[reportUnknownMemberType] - the package leaves its arguments untyped
    store.flushall()
    store.close()
    return served


@dataclass(frozen=True)
class Gate:
    """An address of one company for incoming messages, and its secret."""

    site: Site
    house: House
    id: str
    path: str
    secret: bytes

    @property
    def api(self) -> str:
        return f"/companies/{self.house.slug}/inbound-hooks/{self.id}"

    def signed(self, body: bytes, name: str = "msg_1", late: int = 0) -> dict[str, str]:
        return JSON | signed_headers([self.secret], name, clock.unix_seconds() - late, body)

    def send(self, body: bytes, headers: Mapping[str, str], path: str = "") -> Answer:
        return self.site.visitor().request("POST", path or self.path, body, headers)

    def messages(self) -> list[dict[str, Any]]:
        answer = self.house.founder.api("GET", f"{self.api}/messages")
        assert answer.status == 200, answer.text
        return answer.json["items"]

    def switch(self, *, on: bool) -> None:
        assert self.house.founder.api("PUT", f"{self.api}/switch", {"on": on}).status == 204


def make_gate(site: Site, house: House, scheme: str = "standard", secret: str = "", *, on: bool = True) -> Gate:
    body = {"name": "Issues", "scheme": scheme, "secret": secret}
    made = house.founder.api("POST", f"/companies/{house.slug}/inbound-hooks", body)
    assert made.status == 201, made.text
    assert made.json["secret"] or secret
    path = "/hooks/" + made.json["url"].rpartition("/hooks/")[2]
    gate = Gate(site, house, made.json["id"], path, (made.json["secret"] or secret).encode())
    if on:
        gate.switch(on=True)
    return gate


@pytest.fixture
def gate(site: Site, house: House) -> Gate:
    return make_gate(site, house)


@pytest.mark.proves("5.5.3", "7.2.2")
def test_a_signed_message_is_kept_once_as_an_untrusted_one(gate: Gate) -> None:
    body = b'{"title": "<script>alert(1)</script>"}'
    assert [gate.send(body, gate.signed(body, late=late)).status for late in (0, 9)] == [204, 204]
    (kept,) = gate.messages()
    assert (kept["body"], kept["is_trusted"], kept["size"]) == (json.loads(body), False, len(body))
    page = gate.house.founder.get(f"/c/{gate.house.slug}/inbound-hooks/{gate.id}").text
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page
    assert gate.send(body, gate.signed(body, "msg_2")).status == 204
    assert len(gate.messages()) == 2


@pytest.mark.proves("7.2.2")
def test_what_is_not_signed_now_and_here_is_refused_without_a_hint(gate: Gate) -> None:
    body = b"{}"
    good = gate.signed(body)
    wrong = [
        gate.send(body, JSON),
        gate.send(body, good | {"webhook-signature": FORGED}),
        gate.send(body + b" ", good),
        gate.send(body, good | {"webhook-id": "msg_other"}),
        gate.send(body, gate.signed(body, late=TOLERANCE_SECONDS + 60)),
        gate.send(body, gate.signed(body, late=-TOLERANCE_SECONDS - 60)),
        gate.send(b"not json", JSON),
    ]
    assert {answer.status for answer in wrong} == {401}
    assert len({answer.text.replace(answer.header("x-request-id"), "") for answer in wrong}) == 1
    assert not any(answer.header("location") for answer in wrong)
    assert gate.messages() == []
    assert gate.house.founder.api("GET", gate.api.rpartition("/")[0]).json["items"][0]["refused_at"]


@pytest.mark.proves("5.5.3")
def test_unknown_off_and_removed_addresses_look_the_same(site: Site, house: House) -> None:
    gate = make_gate(site, house, on=False)
    body = b"{}"
    answers = [gate.send(body, gate.signed(body)), gate.send(body, gate.signed(body), "/hooks/" + "A" * 43)]
    answers.append(gate.send(body, JSON, "/hooks/short"))
    gate.switch(on=True)
    assert gate.send(body, gate.signed(body)).status == 204
    gate.switch(on=False)
    answers += [gate.send(body, gate.signed(body)), gate.send(body, JSON)]
    assert house.founder.api("DELETE", gate.api).status == 204
    answers.append(gate.send(body, gate.signed(body)))
    assert {answer.status for answer in answers} == {404}
    assert len({answer.text.replace(answer.header("x-request-id"), "") for answer in answers}) == 1


def test_other_schemes_are_checked_in_their_own_ways_and_copies_known_by_their_body(site: Site, house: House) -> None:
    body, now = b'{"action": "opened"}', clock.unix_seconds()

    def mac(gate: Gate, signed: bytes) -> str:
        return hmac.new(gate.secret, signed, hashlib.sha256).hexdigest()

    github = make_gate(site, house, "github")
    stripe = make_gate(site, house, "stripe", "whsec_of_the_sender")
    slack = make_gate(site, house, "slack", "0123456789abcdef0123")
    for gate, headers in (
        (github, {"X-Hub-Signature-256": f"sha256={mac(github, body)}"}),
        (stripe, {"Stripe-Signature": f"t={now},v1={mac(stripe, f'{now}.'.encode() + body)}"}),
        (
            slack,
            {
                "X-Slack-Request-Timestamp": str(now),
                "X-Slack-Signature": f"v0={mac(slack, f'v0:{now}:'.encode() + body)}",
            },
        ),
    ):
        assert gate.send(body, JSON | headers).status == 204, gate
        assert gate.send(body, JSON | headers | {"X-GitHub-Delivery": "another"}).status == 204
        assert gate.send(body + b" ", JSON | headers).status == 401
        assert len(gate.messages()) == 1
    asked = b'{"type": "url_verification", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY"}'
    signed = f"v0={mac(slack, f'v0:{now}:'.encode() + asked)}"
    answer = slack.send(asked, JSON | {"X-Slack-Request-Timestamp": str(now), "X-Slack-Signature": signed})
    assert (answer.status, answer.text) == (200, "3eZbrw1aBm2rZgRNFdxV2595E9CY")
    assert answer.header("content-type").startswith("text/plain")


def test_sizes_kinds_and_rates_are_bounded(gate: Gate, servers: Servers) -> None:
    large = b'"' + b"x" * LARGEST_BODY_BYTES + b'"'
    assert gate.send(large, gate.signed(large)).status == 413
    text = b"a=1"
    assert gate.send(text, gate.signed(text) | {"Content-Type": "text/plain"}).status == 422
    for body in (b"nope", b'"\\u0000"', b"1e999999"):
        assert gate.send(body, gate.signed(body, body.hex())).status == 422
    largest = b'"' + b"x" * (LARGEST_BODY_BYTES - 2) + b'"'
    assert gate.send(largest, gate.signed(largest)).status == 204
    with servers.as_owner() as owner:
        owner.execute(
            "INSERT INTO credentials.inbound_messages (company_id, hook_id, source, body, size)"
            " SELECT company_id, id, scheme, '1', 1 FROM credentials.inbound_hooks, generate_series(1, %s)"
            " WHERE id = %s",
            (MOST_KEPT, gate.id),
        )
    assert gate.send(b"2", gate.signed(b"2", "msg_last")).status == 204
    hooks = gate.house.founder.api("GET", gate.api.rpartition("/")[0]).json["items"]
    assert [each["messages"] for each in hooks if each["id"] == gate.id] == [MOST_KEPT]
    answers = [gate.send(b"{}", JSON).status for _ in range(125)]
    assert answers[-1] == 429


@pytest.mark.proves("1.3.4")
def test_an_inbound_secret_is_exchanged_with_an_overlap(gate: Gate, servers: Servers) -> None:
    founder, body = gate.house.founder, b"{}"
    new = founder.api("POST", f"{gate.api}/rotate", {"overlap_hours": 1}).json["secret"].encode()
    other = Gate(gate.site, gate.house, gate.id, gate.path, new)
    assert [each.send(body, each.signed(body, name)).status for each, name in ((gate, "a"), (other, "b"))] == [204, 204]
    with servers.as_owner() as owner:
        owner.execute("UPDATE credentials.inbound_hooks SET previous_until = now() WHERE id = %s", (gate.id,))
    assert [each.send(body, each.signed(body, name)).status for each, name in ((gate, "c"), (other, "d"))] == [401, 204]


def test_stripe_and_slack_bring_their_secret_afterwards(site: Site, house: House) -> None:
    inside = f"/companies/{house.slug}/inbound-hooks"
    made = house.founder.api("POST", inside, {"name": "Payments", "scheme": "stripe"}).json
    assert (made["secret"], bool(made["url"])) == (None, True)
    hook = f"{inside}/{made['id']}"
    assert house.founder.api("PUT", f"{hook}/switch", {"on": True}).status == 409
    assert house.founder.api("POST", f"{hook}/rotate", {}).status == 422
    assert house.founder.api("POST", f"{hook}/rotate", {"secret": "whsec_0123456789abcdef"}).json["secret"] is None
    assert house.founder.api("PUT", f"{hook}/switch", {"on": True}).status == 204
    assert site.services


@pytest.mark.proves("5.5.3")
def test_an_address_takes_nothing_more_when_its_holder_leaves(gate: Gate, servers: Servers) -> None:
    with servers.as_owner() as owner:
        owner.execute(
            "UPDATE tenancy.memberships SET role = 'observer' WHERE (company_id, person_id) ="
            " (SELECT company_id, holder_id FROM credentials.inbound_hooks WHERE id = %s)",
            (gate.id,),
        )
        assert gate.send(b"{}", gate.signed(b"{}")).status == 404
        row = owner.execute("SELECT off_because FROM credentials.inbound_hooks WHERE id = %s", (gate.id,)).fetchone()
    assert row == {"off_because": "left"}


@pytest.mark.proves("1.3.1", "1.3.2")
def test_a_webhook_is_made_changed_and_removed_and_its_secret_and_address_are_not_shown_again(
    site: Site, house: House, receiver: WebhookReceiver
) -> None:
    founder, inside = house.founder, f"/companies/{house.slug}/webhooks"
    wanted = {"name": "Ledger", "url": receiver.url, "events": ["memory.recorded"]}
    made = founder.api("POST", inside, wanted).json
    path = f"{inside}/{made['id']}"
    assert founder.api("PUT", f"{path}/switch", {"on": True}).status == 204
    assert founder.api("POST", f"/companies/{house.slug}/memory", {"kind": "decision", "title": "Yes"}).status == 201
    change = {"name": "Books", "events": ["file.written", "memory.recorded"]}
    assert founder.api("PUT", path, change).status == 204
    fresh = founder.api("POST", f"{path}/rotate", {"overlap_hours": 24}).json["secret"]
    answers = [founder.api("GET", inside), founder.api("GET", path), founder.api("GET", f"{path}/deliveries")]
    answers += [founder.get(f"/c/{house.slug}/webhooks"), founder.get(f"/c/{house.slug}/webhooks/{made['id']}")]
    answers += [founder.get(f"/c/{house.slug}/audit"), founder.api("GET", f"/companies/{house.slug}/audit")]
    for answer in answers:
        assert answer.status == 200, answer.text
        for secret in (made["secret"], fresh, "token-in-the-path"):
            assert secret not in answer.text
    assert answers[1].json["destination"] == f"http://{receiver.exemption}"
    assert answers[1].json["waiting"] == 1
    assert founder.api("POST", f"{path}/replay").status == 404
    assert founder.api("PUT", f"{path}/switch", {"on": False}).status == 204
    assert founder.api("POST", f"{path}/replay").status == 409
    assert founder.api("DELETE", path).status == 204
    assert founder.api("GET", path).status == 404
    assert site.services


@pytest.mark.proves("1.3.1")
def test_the_pages_do_the_same_without_script(site: Site, house: House, receiver: WebhookReceiver) -> None:
    founder, base = house.founder, f"/c/{house.slug}"
    refused = founder.post(f"{base}/webhooks", name="Ledger", url="https://10.0.0.1/", events="file.written")
    assert refused.status == 422
    assert "Error:" in refused.text
    made = founder.post(f"{base}/webhooks", name="Ledger", url=receiver.url, events="file.written")
    assert "whsec_" in made.text
    inside = f"/companies/{house.slug}/webhooks"
    one = f"{base}/webhooks/{founder.api('GET', inside).json['items'][0]['id']}"
    assert founder.post(f"{one}/switch", on="yes").location == f"{one}?notice=switched-on"
    assert founder.post(f"{one}/change", name="Books", events="memory.recorded").status == 303
    assert "whsec_" in founder.post(f"{one}/rotate", overlap="0").text
    assert founder.post(f"{one}/replay").status == 404
    assert founder.get(f"{one}?status=dead").status == 200
    assert founder.post(f"{one}/remove").location == f"{base}/webhooks?notice=deleted"
    hook = founder.post(f"{base}/inbound-hooks", name="Issues", scheme="github")
    assert "/hooks/" in hook.text
    listed = founder.api("GET", f"/companies/{house.slug}/inbound-hooks").json["items"]
    two = f"{base}/inbound-hooks/{listed[0]['id']}"
    assert founder.post(f"{two}/switch", on="yes").location == f"{two}?notice=switched-on"
    assert "whsec_" in founder.post(f"{two}/rotate", overlap="1").text
    assert "vouches" in founder.get(two).text
    assert founder.post(f"{two}/remove").location == f"{base}/webhooks?notice=deleted"
    assert site.services


@pytest.mark.proves("1.3.4", "5.5.3")
def test_pages_and_api_say_why_one_is_off_and_what_is_to_be_done(
    site: Site, house: House, receiver: WebhookReceiver, servers: Servers
) -> None:
    founder, inside = house.founder, f"/companies/{house.slug}"
    wanted = {"name": "Ledger", "url": receiver.url, "events": ["memory.recorded"]}
    webhook = founder.api("POST", f"{inside}/webhooks", wanted).json["id"]
    hook = founder.api("POST", f"{inside}/inbound-hooks", {"name": "Issues", "scheme": "github"}).json["id"]
    with servers.as_owner() as owner:
        owner.execute("UPDATE credentials.webhook_endpoints SET seen_by = NULL, dropped = 7 WHERE id = %s", (webhook,))
        owner.execute("UPDATE credentials.inbound_hooks SET seen_by = NULL WHERE id = %s", (hook,))
    for kind, one in (("webhooks", webhook), ("inbound-hooks", hook)):
        api, page = f"{inside}/{kind}/{one}", f"/c/{house.slug}/{kind}/{one}"
        listed = founder.api("GET", f"{inside}/{kind}").json["items"]
        assert [(each["needs_secret"], "another secret" in each["says"]) for each in listed] == [(True, True)]
        assert "another secret" in founder.get(page).text
        assert founder.api("PUT", f"{api}/switch", {"on": True}).status == 409
        refused = founder.post(f"{page}/switch", on="yes")
        assert (refused.status, "Give it another secret first" in refused.text) == (409, True)
        assert founder.post(f"{page}/rotate").status == 200
        assert founder.post(f"{page}/switch", on="yes").location == f"{page}?notice=switched-on"
    change = {**wanted, "url": f"{receiver.url}/elsewhere"}
    assert founder.api("PUT", f"{inside}/webhooks/{webhook}", change).status == 204
    found = founder.api("GET", f"{inside}/webhooks/{webhook}").json
    assert (found["is_on"], found["off_because"], found["dropped"]) == (False, "changed", 0)
    assert "it has another address" in founder.get(f"/c/{house.slug}/webhooks/{webhook}").text
    assert site.services


@pytest.mark.proves("1.3.1")
def test_keys_read_and_never_manage(site: Site, house: House, world: World) -> None:
    inside = f"/companies/{house.slug}"
    key = house.founder.api("POST", f"{inside}/api-keys", {"name": "Reader", "scopes": ["integrations:read"]})
    program = site.program(key.json["api_key"])
    assert program.api("GET", f"{inside}/webhooks").status == 200
    assert program.api("GET", f"{inside}/inbound-hooks").status == 200
    body = {"name": "x", "scheme": "github"}
    assert program.api("POST", f"{inside}/inbound-hooks", body).status == 403
    assert world
