"""How codes travel is observed: what the provider is asked, what it tells later, and what happens when it fails."""

import asyncio
import time
from collections.abc import Mapping
from urllib.parse import urlencode

from operalta.assurance.carrier import NoSms, Sms, Trouble, fresh_number
from operalta.assurance.client import Browser
from operalta.assurance.probes.factors import store
from operalta.assurance.registry import Answer, ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Holder, Stage, staged
from operalta.db.scope import Row
from operalta.settings import DatabaseRole

_RECEIPTS = "/callbacks/sms/twilio"
_FORM = "application/x-www-form-urlencoded"
_SIGNATURE = "x-twilio-signature"
_LONGEST_SMS = 160
_PATIENCE_SECONDS = 10.0
_OK, _CREATED, _ACCEPTED, _DONE, _FORBIDDEN, _NOT_SIGNED_IN = 200, 201, 202, 204, 403, 401


@probe("2.2.1")
async def codes_by_sms(context: ProbeContext) -> Observations:
    """Sign in with a code by SMS and read what the provider got; let it fail, for a while and for good."""
    stage = staged(context)
    seen = Observations()
    holder = await stage.new_holder("Phoning Person")
    _read_request(stage, seen, stage.deployment.carrier.to(holder.phone.number)[0])
    browser = stage.browser()
    asked = await stage.knock(holder, browser)
    ways = [(way["kind"], way["label"]) for way in asked.json()["ways"]]
    ending = f"…{holder.phone.number[-2:]}"
    named = ("phone", ending) in ways and holder.phone.number.encode() not in asked.body
    seen.expect("after the password the phone is named by its ending", named, len(ways))
    inside = await browser.get(f"{API}/me")
    seen.expect("and nothing is open yet", inside.status == _NOT_SIGNED_IN, inside.status)
    code = await stage.fresh_code(browser, holder.phone, "sign_in")
    signed_in = await _check(browser, code, "sign_in")
    inside = await browser.get(f"{API}/me")
    both = (signed_in.status, inside.status)
    seen.expect("the code that arrived opens the session", both == (_OK, _OK), both)
    await _receipts(stage, seen, holder)
    await _provider_away(stage, seen, holder)
    await _provider_refuses(stage, seen, holder)
    return seen


def _read_request(stage: Stage, seen: Observations, sms: Sms) -> None:
    """Read one request as its provider's documentation describes it. The provider has checked the rest."""
    carrier = stage.deployment.carrier
    headers, form = sms.headers, sms.form
    authorised = headers.get("authorization") == carrier.authorization
    seen.expect("the provider was asked as the account that the settings name", authorised)
    kind = headers.get("content-type", "").partition(";")[0]
    seen.expect("with a form", kind == _FORM, kind)
    names = sorted(form)
    seen.expect("of the fields that it knows", names == ["Body", "From", "StatusCallback", "To"], "; ".join(names))
    seen.expect("from the sender that the settings name", form.get("From") == carrier.sender)
    told = form.get("StatusCallback", "")
    seen.expect("receipts are asked for at our address", told == f"{stage.base_url}{_RECEIPTS}", told)
    text = form.get("Body", "")
    fits = sms.code.isdecimal() and len(text) <= _LONGEST_SMS
    seen.expect("the text begins with the code and fits into one SMS", fits, f"{len(text)} characters")


async def _receipts(stage: Stage, seen: Observations, holder: Holder) -> None:
    """Tell that the newest SMS has arrived: first signed by somebody else, then by the provider."""
    carrier = stage.deployment.carrier
    sms = carrier.to(holder.phone.number)[-1]
    form = {"MessageSid": sms.sid, "MessageStatus": "delivered", "AccountSid": carrier.account}
    await _until_status(stage, holder.phone.number, {"sent"})
    foreign = await _tell(stage, form, "bm90IHRoZWlycw==")
    status = (await _until_status(stage, holder.phone.number, {"sent"}))["status"]
    refused = foreign.status == _FORBIDDEN and status == "sent"
    seen.expect("a receipt that the provider has not signed is refused", refused, f"{foreign.status}, {status}")
    own = await _tell(stage, form, carrier.signature(f"{stage.base_url}{_RECEIPTS}", form))
    status = (await _until_status(stage, holder.phone.number, {"delivered"}))["status"]
    taken = own.status == _DONE and status == "delivered"
    seen.expect("one that it has signed is noted", taken, f"{own.status}, {status}")


async def _tell(stage: Stage, form: Mapping[str, str], signature: str) -> Answer:
    headers = {"content-type": _FORM, _SIGNATURE: signature}
    return await stage.request("POST", _RECEIPTS, headers=headers, content=urlencode(form).encode())


async def _provider_away(stage: Stage, seen: Observations, holder: Holder) -> None:
    """Let the provider hang up while somebody signs in, and come back."""
    carrier, number = stage.deployment.carrier, holder.phone.number
    browser = stage.browser()
    await stage.knock(holder, browser)
    before = len(carrier.to(number))
    carrier.give_trouble(number, Trouble.AWAY)
    sent = await browser.post(f"{API}/auth/otp/send", {"phone": holder.phone.id})
    seen.expect("while the provider hangs up, a code is asked for as ever", sent.status == _ACCEPTED, sent.status)
    tried = await _until_turned_away(stage, number)
    waiting = (await _until_status(stage, number, {"queued", "failed"}))["status"]
    seen.expect("the message waits for its next attempt", tried and waiting == "queued", waiting)
    page = await browser.get(f"/sign-in/second-factor?way={holder.phone.id}&sent={int(time.time())}")
    helps = all(words in page.body for words in (b"Nothing arrived?", b"Another way", b"Recovery code"))
    seen.expect("the person reads what to do next", page.status == _OK and helps, page.status)
    other = {"code": holder.recovery_codes[0], "purpose": "step_up"}
    proved = await holder.browser.post(f"{API}/auth/recovery-code/verify", other)
    seen.expect("and another way is open", proved.status == _DONE, proved.status)
    carrier.give_trouble(number, None)
    try:
        code = (await carrier.wait_for(number, after=before)).code
    except NoSms:
        seen.expect("once the provider is back, the code arrives by itself", False, "nothing came")
        return
    signed_in = await _check(browser, code, "sign_in")
    seen.expect("once the provider is back, the code arrives by itself", signed_in.status == _OK, signed_in.status)


async def _provider_refuses(stage: Stage, seen: Observations, holder: Holder) -> None:
    """Let the provider refuse a new number for good; then it may be tried again."""
    carrier, number = stage.deployment.carrier, fresh_number()
    path = f"{API}/auth/factors/phone"
    carrier.give_trouble(number, Trouble.REFUSED)
    sent = await holder.browser.post(path, {"phone": number})
    failed = (await _until_status(stage, number, {"failed"}))["status"]
    clear = sent.status == _ACCEPTED and failed == "failed" and carrier.turned_away(number) == 1
    seen.expect("what the provider refuses has failed, and is not tried again", clear, f"{sent.status}, {failed}")
    carrier.give_trouble(number, None)
    again = await holder.browser.post(path, {"phone": number})
    if not seen.expect("the person may try again at once", again.status == _ACCEPTED, again.status):
        return
    code = (await carrier.wait_for(number)).code
    added = await holder.browser.post(f"{path}/confirm", {"code": code})
    seen.expect("and is not locked out", added.status == _CREATED, added.status)


async def _check(browser: Browser, code: str, purpose: str) -> Answer:
    return await browser.post(f"{API}/auth/otp/verify", {"code": code, "purpose": purpose})


async def _until_turned_away(stage: Stage, number: str) -> bool:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if stage.deployment.carrier.turned_away(number):
            return True
        await asyncio.sleep(0.02)
    return False


async def _until_status(stage: Stage, number: str, wanted: set[str]) -> Row:
    """Return the newest message to a number once its status is a wanted one, or as it is when patience ends."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    async with stage.connect(DatabaseRole.OWNER) as connection:
        while True:
            row = await store.newest_message(connection, number) or {"status": "none"}
            if row["status"] in wanted or time.monotonic() > deadline:
                return row
            await asyncio.sleep(0.05)
