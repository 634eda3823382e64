"""A credential on its way out: a header field that the door adds for one origin, and for no other."""

from dataclasses import dataclass, field

from operalta.sandbox.destinations import Destination, Rule, refuse
from operalta.sandbox.exchange import Outgoing
from operalta.terms.registry import upholds


@upholds("7.2.2")
@dataclass(frozen=True, slots=True)
class Credential:
    """A header field, and the origin that it belongs to (scheme, host and port). Its value never shows."""

    origin: tuple[str, str, int]
    name: str
    value: str = field(repr=False)

    def require_own(self, destination: Destination) -> None:
        """Raise DestinationRefused for any other origin than its own, so that a redirect takes it nowhere."""
        if destination.origin != self.origin:
            raise refuse(Rule.HOST)

    def put_into(self, request: Outgoing) -> Outgoing:
        """Return `request` with the field, in place of whatever the caller has put there under its name."""
        name = self.name.lower().encode("ascii")
        kept = tuple(item for item in request.headers if item[0] != name)
        return Outgoing(request.method, (*kept, (name, self.value.encode("latin-1"))), request.body)
