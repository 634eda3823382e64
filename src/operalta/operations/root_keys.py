"""The root key of a deployment, from where its settings say: a file, the environment, or AWS KMS."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import urlsplit

from operalta.kernel.errors import Refusal
from operalta.sandbox.egress import ALLOW_LISTED, EgressDoor, EgressLine
from operalta.sandbox.naming import resolver_at
from operalta.sealing.errors import KeyServiceSilent
from operalta.sealing.key_service import Answer, KeyService, Send
from operalta.sealing.keys import RootKeys
from operalta.sealing.root_sources import FILE_NAME, EnvironmentRoots, FileRoots, RotatingSource, ServiceRoots
from operalta.sealing.signed_requests import Credentials
from operalta.settings import Settings
from operalta.terms.registry import upholds

# One small question and answer; nothing of a key service redirects.
_SURFACE = replace(
    ALLOW_LISTED,
    name="key service",
    methods=frozenset({"POST"}),
    content_types=frozenset({"application/x-amz-json-1.1", "application/json"}),
    request_bytes=16 * 1024,
    response_bytes=64 * 1024,
    seconds=10,
    redirects=0,
)
_PURPOSE = "open the root key"


@upholds("7.2.1", "7.2.4")
def root_keys(settings: Settings) -> RootKeys:
    """Return the deployment's root keys. Raise SettingsError or RootKeyUnusable, which say what to do."""
    source = root_source(settings)
    if isinstance(source, FileRoots):
        settings.secret(FILE_NAME)
    return RootKeys.from_source(source)


def root_source(settings: Settings) -> RotatingSource:
    """Return where the root key comes from. Raise SettingsError for one in the environment that is unfit."""
    if settings.root_key is not None:
        earlier = settings.root_key_previous
        texts = [settings.root_key.get_secret_value().encode(), earlier.get_secret_value().encode() if earlier else b""]
        for name, text in zip(("OPERALTA_ROOT_KEY", "OPERALTA_ROOT_KEY_PREVIOUS"), texts, strict=True):
            if text:
                settings.refuse_unfit(name, text)
        return EnvironmentRoots(texts[0], texts[1] or None)
    if settings.kms_key is not None:
        return ServiceRoots(settings.secrets_path, _service(settings, settings.kms_key))
    return FileRoots(settings.secrets_path)


def _service(settings: Settings, key: str) -> KeyService:
    region = settings.kms_region or ""
    endpoint = settings.kms_endpoint or f"https://kms.{region}.amazonaws.com"
    secret, token = settings.kms_secret_key, settings.kms_session_token
    credentials = Credentials(
        settings.kms_access_key or "",
        secret.get_secret_value() if secret else "",
        token.get_secret_value() if token else None,
    )
    context = {"operalta": FILE_NAME, "profile": settings.profile.value}
    return KeyService(endpoint, region, key, credentials, context, _through_the_door(settings, endpoint))


def _through_the_door(settings: Settings, endpoint: str) -> Send:
    """Return what posts to the key service through the egress door, from wherever it is called."""
    host = urlsplit(endpoint).netloc
    surface = _SURFACE.for_hosts(host)
    # An address that the operator has named may lie in their own network, as every such setting may.
    exemptions = (host if ":" in host else f"{host}:443",) if settings.kms_endpoint else ()

    async def unlogged(_line: EgressLine) -> None:
        """Keep no line: the log is a company's, and no company has asked."""

    async def post(url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        door = EgressDoor(
            surface,
            exemptions,
            unlogged,
            translators=settings.nat64_prefixes,
            resolve=resolver_at(settings.dns_server),
        )
        try:
            page = await door.fetch(url, surface=surface, purpose=_PURPOSE, method="POST", headers=headers, body=body)
        except Refusal as refusal:
            raise KeyServiceSilent(f"The key service cannot be reached: {refusal.public_text}") from refusal
        return Answer(page.status, page.body)

    def send(url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        return _elsewhere(post, url, headers, body)

    return send


def _elsewhere(post: "_Post", url: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """Run `post` on an event loop of its own in a thread of its own: the caller may stand on a loop already."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(lambda: asyncio.run(post(url, headers, body))).result()


_Post = Callable[[str, Mapping[str, str], bytes], Coroutine[None, None, Answer]]
