"""Sending a code to a number that is to become a factor, counted as pages and API share it."""

from operalta.guard.phone_numbers import PhoneNumber
from operalta.guard.subjects import phone_identity
from operalta.identity.factors.rules import Purpose
from operalta.kernel.errors import Refusal
from operalta.web.entry import VisitorEntry


async def send_enrolment_code(entry: VisitorEntry, typed: str) -> PhoneNumber:
    """Send a code to the number in `typed` and return it. Raise as `Enrolment.send_code` does.

    The number's own count, which its owner shares, is touched only where a code will be sent: a refusal counts for
    whoever asked.
    """
    enrolment = entry.services.enrolment
    bearer, person = await entry.bearer(Purpose.STEP_UP)
    try:
        number = enrolment.number_to_enrol(typed)
        await enrolment.require_sendable(bearer.secret, number)
    except Refusal:
        await entry.admit(person)
        raise
    await entry.admit(phone_identity(number.e164))
    await enrolment.send_code(bearer.secret, number)
    return number
