"""Which refusal has which HTTP status: the only place that knows."""

from http import HTTPStatus

from operalta.kernel import errors
from operalta.kernel.errors import Refusal

_STATUS: tuple[tuple[type[Refusal], HTTPStatus], ...] = (
    (errors.InvalidInput, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.NotSignedIn, HTTPStatus.UNAUTHORIZED),
    (errors.NotAllowed, HTTPStatus.FORBIDDEN),
    (errors.NotFound, HTTPStatus.NOT_FOUND),
    (errors.Conflict, HTTPStatus.CONFLICT),
    (errors.TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (errors.LimitReached, HTTPStatus.TOO_MANY_REQUESTS),
    (errors.Unavailable, HTTPStatus.SERVICE_UNAVAILABLE),
)


def status_of(refusal: Refusal) -> HTTPStatus:
    """Return the status code of a refusal's category."""
    for category, status in _STATUS:
        if isinstance(refusal, category):
            return status
    return HTTPStatus.BAD_REQUEST
