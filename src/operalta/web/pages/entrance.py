"""The pages of visitors: opening an account, signing in and out, passwords, the operator's link."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from operalta.guard import rules
from operalta.guard.subjects import email_identity
from operalta.identity.errors import WrongCredentials
from operalta.identity.factors.rules import Purpose
from operalta.identity.passwords import SHORTEST_PASSWORD
from operalta.identity.rules import counted_address
from operalta.identity.sessions import SecondFactorNeeded, SignedIn, known_or_new_device
from operalta.kernel.errors import InvalidInput, NotFound, Refusal
from operalta.settings import SignUp
from operalta.web.cookies import SessionCookies
from operalta.web.entry import ForVisitors, VisitorEntry, remember_session
from operalta.web.pages.links import address_of
from operalta.web.presentation import bare_page, go_to, safe_next

router = APIRouter()

Looking = Annotated[VisitorEntry, Depends(ForVisitors(rules.PAGE))]
SigningUp = Annotated[VisitorEntry, Depends(ForVisitors(rules.SIGN_UP))]
SigningIn = Annotated[VisitorEntry, Depends(ForVisitors(rules.SIGN_IN))]
Leaving = Annotated[VisitorEntry, Depends(ForVisitors(rules.SIGN_OUT))]
Verifying = Annotated[VisitorEntry, Depends(ForVisitors(rules.VERIFY_EMAIL))]
AskingForReset = Annotated[VisitorEntry, Depends(ForVisitors(rules.PASSWORD_RESET))]
Resetting = Annotated[VisitorEntry, Depends(ForVisitors(rules.PASSWORD_RESET_CONFIRM))]
Operating = Annotated[VisitorEntry, Depends(ForVisitors(rules.OPERATOR_LINK))]

# Form fields are bounded generously here; the services refuse with a text that helps.
Text = Annotated[str, Form(max_length=2_000)]
Password = Annotated[str, Form(max_length=5_000)]
Token = Annotated[str, Form(max_length=200)]
TokenInAddress = Annotated[str, Query(max_length=200)]
NextPath = Annotated[str, Query(max_length=2_000)]


def keep_session(request: Request, signed_in: SignedIn) -> None:
    """Set the cookies of a session that has just begun."""
    remember_session(request, SessionCookies(signed_in.access_token, signed_in.refresh_token, signed_in.device_secret))


def ask_for_factor(request: Request, asked: SecondFactorNeeded, next_path: str) -> RedirectResponse:
    """Keep the ticket in its cookie and lead to the page where a second factor is proved."""
    remember_session(request, SessionCookies(device=asked.device_secret, ticket=asked.ticket))
    purpose = None if asked.purpose is Purpose.SIGN_IN else asked.purpose.value
    return go_to(address_of("/sign-in/second-factor", {"purpose": purpose, "next": next_path}))


@router.get("/")
async def start(entry: Looking) -> RedirectResponse:
    """Lead to one's companies, or to signing in."""
    return go_to("/companies" if entry.claims is not None else "/sign-in")


@router.get("/sign-up")
async def sign_up_form(entry: Looking, next: NextPath = "") -> HTMLResponse:  # noqa: A002 - the form's own word
    """Show the form for a new account."""
    return _sign_up_page(entry, {}, next, None)


@router.post("/sign-up")
async def sign_up(
    entry: SigningUp,
    email: Text = "",
    name: Text = "",
    password: Password = "",
    next: Text = "",  # noqa: A002
) -> HTMLResponse:
    """Take a sign-up; the answer is the same whether the address has an account or not."""
    services = await entry.admit(email_identity(counted_address(email)))
    try:
        await services.accounts.sign_up(email, name, password)
    except InvalidInput as refusal:
        return _sign_up_page(entry, {"name": name, "email": email}, next, refusal)
    return _check_mail(entry, email, "sign_up")


@router.get("/verify-email")
async def verify_email_form(entry: Looking, token: TokenInAddress = "") -> HTMLResponse:
    """Show the button that uses the mail link up."""
    return bare_page(entry.request, "pages/verify_email.html", {"token": token})


@router.post("/verify-email")
async def verify_email(entry: Verifying, token: Token = "") -> Response:
    """Confirm an address."""
    services = await entry.admit(f"link:{token[:32]}")
    if not await services.accounts.confirm_address(token):
        raise NotFound("This link has been used or has expired. Sign up again, or ask for a new link.")
    return go_to("/companies", "address-verified") if entry.claims else go_to("/sign-in", "verified")


@router.get("/sign-in")
async def sign_in_form(entry: Looking, next: NextPath = "") -> Response:  # noqa: A002
    """Show the sign-in form."""
    return _sign_in_page(entry, {}, safe_next(next) if next else "", None)


@router.post("/sign-in")
async def sign_in(entry: SigningIn, email: Text = "", password: Password = "", next: Text = "") -> Response:  # noqa: A002
    """Start a session, or lead to the second factor."""
    counted = await entry.services.sessions.counted_as(email, entry.device)
    services = await entry.admit(email_identity(counted))
    try:
        signed_in = await services.sessions.sign_in(
            email, password, device_secret=entry.device, user_agent=entry.user_agent, address=entry.address
        )
    except (WrongCredentials, InvalidInput) as refusal:
        return _sign_in_page(entry, {"email": email}, next, refusal)
    if isinstance(signed_in, SecondFactorNeeded):
        return ask_for_factor(entry.request, signed_in, next)
    keep_session(entry.request, signed_in)
    return go_to(safe_next(next) if next else "/companies")


@router.post("/sign-out")
async def sign_out(entry: Leaving) -> RedirectResponse:
    """End the session."""
    if entry.claims is not None:
        await entry.services.sessions.sign_out(entry.claims.session_secret)
    remember_session(entry.request, SessionCookies())
    return go_to("/sign-in", "signed-out")


@router.get("/reset")
async def reset_form(entry: Looking) -> HTMLResponse:
    """Show the form that asks for a link to set a new password."""
    return bare_page(entry.request, "pages/reset_request.html", {"form": {}})


@router.post("/reset")
async def request_reset(entry: AskingForReset, email: Text = "") -> HTMLResponse:
    """Mail a link where there is an account; the answer is the same where there is none."""
    services = await entry.admit(email_identity(counted_address(email)))
    try:
        await services.accounts.request_password_reset(email)
    except InvalidInput as refusal:
        return bare_page(
            entry.request,
            "pages/reset_request.html",
            {"form": {"email": email}},
            refusal=refusal,
        )
    return _check_mail(entry, email, "reset")


@router.get("/password-reset/confirm")
async def reset_confirm_form(entry: Looking, token: TokenInAddress = "") -> HTMLResponse:
    """Show the form for the new password."""
    return _reset_confirm_page(entry, token, None)


@router.post("/reset/confirm")
async def reset_confirm(entry: Resetting, token: Token = "", password: Password = "") -> Response:
    """Set a new password with the mailed link; every session ends. A second factor has to be proved before."""
    services = await entry.admit(f"link:{token[:32]}")
    try:
        asked = await services.accounts.reset_password(
            token, password, device_secret=entry.device, user_agent=entry.user_agent, address=entry.address
        )
    except InvalidInput as refusal:
        return _reset_confirm_page(entry, token, refusal)
    if asked is not None:
        return ask_for_factor(entry.request, asked, "")
    remember_session(entry.request, SessionCookies())
    return go_to("/sign-in", "password-reset")


@router.get("/operator")
async def operator_form(entry: Looking, token: TokenInAddress = "") -> Response:
    """Show what the operator's link does; nothing is used up by looking."""
    if not await entry.services.accounts.operator_link_holds(token):
        raise NotFound("This link has been used or has expired. Start Operalta again to get a new one.")
    return await _operator_page(entry, token, {}, None)


@router.post("/operator")
async def become_operator(
    entry: Operating, token: Token = "", email: Text = "", name: Text = "", password: Password = ""
) -> Response:
    """Make the visitor the operator."""
    accounts = entry.services.accounts
    if entry.claims is not None:
        await accounts.become_operator_signed_in(token, entry.claims.session_secret)
        return go_to("/companies", "operator")
    try:
        signed_in = await accounts.become_operator(
            token,
            email,
            name,
            password,
            device_secret=entry.device,
            user_agent=entry.user_agent,
            address=entry.address,
        )
    except InvalidInput as refusal:
        return await _operator_page(entry, token, {"name": name, "email": email}, refusal)
    keep_session(entry.request, signed_in)
    return go_to("/companies", "operator")


def _sign_up_page(entry: VisitorEntry, form: dict[str, str], next_path: str, refusal: Refusal | None) -> HTMLResponse:
    context = {
        "form": form,
        "next": next_path,
        "is_open": entry.services.settings.sign_up is SignUp.OPEN,
        "password_minimum": SHORTEST_PASSWORD,
    }
    return _form_page(entry, "pages/sign_up.html", context, refusal)


def _sign_in_page(entry: VisitorEntry, form: dict[str, str], next_path: str, refusal: Refusal | None) -> HTMLResponse:
    context = {
        "form": form,
        "next": next_path,
        "destination": safe_next(next_path) if next_path else "/companies",
        "sign_up_is_open": entry.services.settings.sign_up is SignUp.OPEN,
    }
    page = _form_page(entry, "pages/sign_in.html", context, refusal)
    device = known_or_new_device(entry.device)
    if device != entry.device:
        # Given now, and not by the first of two requests: script asks for passkeys while the form may be on its way.
        # Given with the form alone: the answer to a fault sets nothing.
        remember_session(entry.request, SessionCookies(device=device))
    return page


def _reset_confirm_page(entry: VisitorEntry, token: str, refusal: Refusal | None) -> HTMLResponse:
    context = {"token": token, "password_minimum": SHORTEST_PASSWORD}
    return _form_page(entry, "pages/reset_confirm.html", context, refusal)


async def _operator_page(
    entry: VisitorEntry, token: str, form: dict[str, str], refusal: Refusal | None
) -> HTMLResponse:
    context = {"token": token, "form": form, "password_minimum": SHORTEST_PASSWORD}
    return _form_page(entry, "pages/operator_link.html", context, refusal)


def _form_page(
    entry: VisitorEntry, template: str, context: Mapping[str, object], refusal: Refusal | None
) -> HTMLResponse:
    return bare_page(entry.request, template, context, refusal=refusal)


def _check_mail(entry: VisitorEntry, email: str, purpose: str) -> HTMLResponse:
    context = {
        "email": email,
        "purpose": purpose,
        "lasts": "30 minutes" if purpose == "reset" else "24 hours",
        "outbox": entry.services.settings.uses_outbox,
    }
    return bare_page(entry.request, "pages/check_mail.html", context)
