"""How step-up is observed: each sensitive operation when the proof is old, and a reset with a second factor."""

from collections.abc import Sequence
from dataclasses import dataclass

from operalta.assurance.carrier import fresh_number
from operalta.assurance.probes.companies.store import appoint
from operalta.assurance.probes.credentials.ground import make_key, register_client
from operalta.assurance.probes.factors import store
from operalta.assurance.probes.store import membership_role
from operalta.assurance.registry import Answer, ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Company, Holder, Stage, fresh_address, fresh_password, staged
from operalta.identity.step_up import SensitiveOperation
from operalta.settings import DatabaseRole

_HOLDS_SECONDS = 600
_OK, _ACCEPTED, _DONE, _NOT_SIGNED_IN, _FORBIDDEN, _INVALID = 200, 202, 204, 401, 403, 422
_PASSED = {200, 201, 202, 204}


@dataclass(frozen=True, slots=True)
class _Call:
    """One request, and whether it can also be made once the proof is fresh without spoiling what follows."""

    method: str
    path: str
    body: object = None
    repeated: bool = True


_HOOK = {"name": "verify", "scheme": "standard"}
_INTEGRATION = {
    "name": "verify",
    "slug": "verify",
    "kind": "api_key_service",
    "base_url": "https://api.example.com",
    "credential": "a-credential-for-one-look",
}


@dataclass(frozen=True, slots=True)
class _Ground:
    """What the operations are tried on: their holder, a company with a member, its agent, and its credentials."""

    holder: Holder
    company: Company
    elsewhere: Company
    member: str
    member_email: str
    agent: str
    key: str
    client: str
    hook: str


@probe("2.2.3")
async def sensitive_operations(context: ProbeContext) -> Observations:
    """Try every sensitive operation with an old proof and with a fresh one; reset a password with a second factor."""
    stage = staged(context)
    seen = Observations()
    ground = await _ground(stage)
    holder = ground.holder
    calls = _calls(ground)
    missing = sorted(operation.name for operation in SensitiveOperation if operation not in calls)
    seen.expect("every operation of the list is tried", not missing, "; ".join(missing) or len(calls))
    async with stage.connect(DatabaseRole.OWNER) as connection:
        await store.age_factor_proofs(connection, holder.email, _HOLDS_SECONDS + 1)
    before = await _state(stage, ground)
    refused = True
    for operation, tried in calls.items():
        told = [await _told(holder, call) for call in tried]
        claim = f"to {operation.value}, an old proof is not enough"
        refused = seen.expect(claim, set(told) == {"403 not_proved"}, told) and refused
    if not refused:
        return seen
    seen.expect("nothing was changed by any of them", await _state(stage, ground) == before)
    page = await holder.browser.post_form(f"/security/factors/{holder.phone.id}/remove", {})
    led = page.header("location").startswith("/step-up")
    seen.expect("pages lead to where the second factor is proved", led, page.status)
    await stage.step_up(holder)
    for operation, tried in calls.items():
        again = [call for call in tried if call.repeated]
        answers = [await _send(holder, call) for call in again]
        passed = all(answer.status in _PASSED for answer in answers)
        if again:
            seen.expect(f"to {operation.value}, a fresh proof is", passed, [answer.status for answer in answers])
    await _reset(stage, seen, holder)
    return seen


async def _ground(stage: Stage) -> _Ground:
    holder, member = await stage.new_holder("Sensitive Person"), stage.regulars[1]
    company = await stage.found(holder, "Sensitive Company", "startup")
    await stage.invite(holder, company, member, "advisor")
    own = await member.browser.get(f"{API}/me")
    agents = await holder.browser.get(f"{API}/companies/{company.slug}/agents")
    key = await make_key(stage, holder, company)
    client = await register_client(stage, holder, company, "a-secret-for-one-look")
    hook = await holder.browser.post(f"{API}/companies/{company.slug}/inbound-hooks", _HOOK)
    async with stage.connect(DatabaseRole.OWNER) as connection:
        await appoint(connection, holder.email, "support")
    return _Ground(
        holder,
        company,
        stage.company,
        own.json()["id"],
        member.email,
        agents.json()["items"][0]["id"],
        str(key.id),
        str(client["id"]),
        str(hook.json()["id"]),
    )


def _calls(ground: _Ground) -> dict[SensitiveOperation, Sequence[_Call]]:
    """Return how each operation is asked for over the API."""
    holder, base = ground.holder, f"/companies/{ground.company.slug}"
    factors, members = "/auth/factors", f"{base}/members/{ground.member}"
    passwords = {"current_password": holder.password, "password": fresh_password()}
    visit = {"company": ground.elsewhere.slug, "role": "support", "reason": "To see whether it asks for a proof"}
    tools = {"tools": [{"tool": "web_fetch", "decision": "deny"}]}
    registration = {"provider": "github", "client_id": "verify", "client_secret": "verify"}
    return {
        SensitiveOperation.MAKE_API_KEY: [_Call("POST", f"{base}/api-keys", {"name": "x", "scopes": ["memory:read"]})],
        SensitiveOperation.ROTATE_API_KEY: [_Call("POST", f"{base}/api-keys/{ground.key}/rotate", {})],
        SensitiveOperation.REGISTER_CLIENT: [_Call("POST", f"{base}/oauth-clients", registration)],
        SensitiveOperation.MAKE_WEBHOOK: [_Call("POST", f"{base}/inbound-hooks", _HOOK)],
        SensitiveOperation.ROTATE_WEBHOOK: [_Call("POST", f"{base}/inbound-hooks/{ground.hook}/rotate", {})],
        SensitiveOperation.CHANGE_INTEGRATION: [_Call("POST", f"{base}/integrations", _INTEGRATION)],
        SensitiveOperation.ALLOW_MODEL_ROUTES: [
            _Call("PUT", f"{base}/model-routes", {"routes": [], "regions": ["a region of one look"]})
        ],
        SensitiveOperation.CHANGE_APPROVAL_RULES: [
            _Call("PUT", f"{base}/approvals/rules", {"rules": [{"tool_class": "egress", "roles": ["founder"]}]})
        ],
        SensitiveOperation.CONNECT_ACCOUNT: [
            _Call("POST", f"{base}/connections", {"oauth_client": ground.client, "scopes": ["read"]})
        ],
        # Once more it would only take time: the reset below changes it.
        SensitiveOperation.CHANGE_PASSWORD: [_Call("PUT", "/auth/password", passwords, repeated=False)],
        SensitiveOperation.ENROL_FACTOR: [
            _Call("POST", f"{factors}/phone", {"phone": fresh_number()}),
            _Call("POST", f"{factors}/phone/confirm", {"code": "000000"}, repeated=False),
            _Call("POST", f"{factors}/totp", {"name": "Tablet"}),
            _Call("POST", f"{factors}/totp/confirm", {"code": "000000"}, repeated=False),
            _Call("POST", f"{factors}/passkey"),
        ],
        SensitiveOperation.REPLACE_RECOVERY_CODES: [_Call("POST", f"{factors}/recovery-codes")],
        SensitiveOperation.INVITE_MANAGER: [
            _Call("POST", f"{base}/invitations", {"email": fresh_address(), "role": "founder"})
        ],
        SensitiveOperation.CHANGE_ROLE: [_Call("PUT", f"{members}/role", {"role": "observer"})],
        SensitiveOperation.CHANGE_AGENT_TOOLS: [_Call("PATCH", f"{base}/agents/{ground.agent}", tools)],
        # Not once more: the holder would have nothing left to do here.
        SensitiveOperation.TRANSFER_OWNERSHIP: [
            _Call("POST", f"{members}/hand-over", {"role": "observer"}, repeated=False)
        ],
        SensitiveOperation.VISIT_AS_STAFF: [_Call("POST", "/staff/visits", visit)],
        SensitiveOperation.REMOVE_MEMBER: [_Call("DELETE", members)],
        # Not once more: the reset needs it.
        SensitiveOperation.REMOVE_FACTOR: [_Call("DELETE", f"{factors}/{holder.phone.id}", repeated=False)],
    }


async def _send(holder: Holder, call: _Call) -> Answer:
    return await holder.browser.send(call.method, f"{API}{call.path}", json=call.body)


async def _told(holder: Holder, call: _Call) -> str:
    answer = await _send(holder, call)
    code = answer.json().get("code", "") if answer.status == _FORBIDDEN else ""
    return f"{answer.status} {code}".strip()


async def _state(stage: Stage, ground: _Ground) -> tuple[object, ...]:
    """Return everything that the operations would change."""
    path = f"{API}/companies/{ground.company.slug}/agents/{ground.agent}"
    agent = (await ground.holder.browser.get(path)).json()
    async with stage.connect(DatabaseRole.OWNER) as connection:
        return (
            await store.password_of(connection, ground.holder.email),
            await store.factors_of(connection, ground.holder.email),
            await membership_role(connection, ground.company.id, ground.member_email),
            agent["tools"],
        )


async def _reset(stage: Stage, seen: Observations, holder: Holder) -> None:
    """Set a new password by mail: until the second factor is proved nothing must change."""
    stranger = stage.browser()
    await stranger.post(f"{API}/auth/password-reset", {"email": holder.email})
    token = await stage.deployment.mailbox.wait_for_link(holder.email, "/password-reset/confirm")
    async with stage.connect(DatabaseRole.OWNER) as connection:
        before = await store.password_of(connection, holder.email)
        body = {"token": token, "password": fresh_password()}
        asked = await stranger.post(f"{API}/auth/password-reset/confirm", body)
        if not seen.expect("a reset asks for the second factor", asked.status == _ACCEPTED, asked.status):
            return
        verify = f"{API}/auth/otp/verify"
        code = await stage.fresh_code(stranger, holder.phone, "reset_password")
        wrong = f"{(int(code) + 1) % 10**6:06d}"
        refused = await stranger.post(verify, {"code": wrong, "purpose": "reset_password"})
        elsewhere = await stranger.post(verify, {"code": code, "purpose": "sign_in"})
        told = (refused.status, elsewhere.status)
        seen.expect("a wrong code or another purpose does not do", told == (_INVALID, _NOT_SIGNED_IN), told)
        home = await holder.browser.get(f"{API}/me")
        kept = await store.password_of(connection, holder.email) == before and home.status == _OK
        seen.expect("so far password and sessions are as they were", kept, home.status)
        done = await stranger.post(verify, {"code": code, "purpose": "reset_password"})
        home = await holder.browser.get(f"{API}/me")
        changed = await store.password_of(connection, holder.email) != before
        ended = (done.status, home.status) == (_DONE, _NOT_SIGNED_IN)
        seen.expect("once it is proved the password is new and every session over", changed and ended, done.status)
