"""The operator's routes, to be used: each with the way to its model, and with its key."""

import os
from collections.abc import Callable

from operalta.agents.model_routes.chat_completions import compatible_format, mistral_format, openai_format
from operalta.agents.model_routes.messages_api import Messages
from operalta.agents.model_routes.provider_model import Endpoint, ProviderModel
from operalta.agents.model_routes.wire import WireFormat
from operalta.agents.model_routes.written import Kind, WrittenRoute, key_of, listed, written_routes
from operalta.agents.routes import ModelCall, ModelRoute
from operalta.sandbox.destinations import parse_destination
from operalta.sandbox.egress import EgressDoor, Record
from operalta.sandbox.metering import Errand
from operalta.settings import Settings
from operalta.terms.registry import upholds

MakeModelDoor = Callable[[Record, tuple[str, ...]], EgressDoor]
"""Makes a door that leaves its lines with the callable given, and may reach exactly these `host:port` inside."""

_FORMATS: dict[Kind, Callable[[], WireFormat]] = {
    Kind.OPENAI: openai_format,
    Kind.ANTHROPIC: Messages,
    Kind.MISTRAL: mistral_format,
    Kind.COMPATIBLE: compatible_format,
}


@upholds("5.6.1", "5.6.3")
def operators_routes(settings: Settings, make_door: MakeModelDoor) -> tuple[ModelRoute, ...]:
    """Return the routes of the file that the settings name; none without one. Raise SettingsError."""
    return tuple(_route(each, settings, make_door) for each in written_routes(settings))


def _route(written: WrittenRoute, settings: Settings, make_door: MakeModelDoor) -> ModelRoute:
    there = parse_destination(written.address)
    endpoint = Endpoint(
        provider=written.kind.value,
        base_url=written.address,
        model=written.model,
        wire=_FORMATS[written.kind](),
        key=key_of(written, settings, os.environ),
        most_output=written.most_output,
        seconds=written.seconds,
    )
    inside = (f"{there.bracketed_host}:{there.port}",) if written.local else ()

    def build(call: ModelCall) -> ProviderModel:
        errand = Errand(f"model {written.slug}", call.company_id, call.run_id)
        return ProviderModel(endpoint, make_door(call.keep, inside), errand)

    return ModelRoute.of(listed(written), build)
