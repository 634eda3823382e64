"""AWS KMS, as far as a root key needs it: a data key made there, and its ciphertext opened there at each start.

The key service sees an encryption context, which is bound to the ciphertext and stands in its own log. Requests leave
by a callable that is handed in: the deployment's one way out.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from operalta.kernel import clock
from operalta.sealing.errors import KeyServiceRefused, KeyServiceSilent
from operalta.sealing.keys import KEY_BYTES
from operalta.sealing.signed_requests import Credentials, SignedPlace, signed_headers

ATTEMPTS = 3
_MEDIA_TYPE = "application/x-amz-json-1.1"
_OK, _SERVER_FAULT, _TOO_MANY = 200, 500, 429
_LARGEST_CIPHERTEXT = 6144
_LARGEST_ANSWER = 64 * 1024
_PASSING = frozenset({"ThrottlingException", "KMSInternalException", "DependencyTimeoutException"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status and the whole body."""

    status: int
    body: bytes


Send = Callable[[str, Mapping[str, str], bytes], Answer]
"""Posts a body with header fields to a URL and waits. It raises KeyServiceSilent where nothing comes back."""


@dataclass(frozen=True, slots=True)
class DataKey:
    """A fresh key and what the service will open it from again."""

    secret: bytes
    ciphertext: bytes


class KeyService:
    """One key of KMS. `key` is its id, ARN or alias; `context` is bound to whatever is made here."""

    def __init__(
        self, endpoint: str, region: str, key: str, credentials: Credentials, context: Mapping[str, str], send: Send
    ) -> None:
        self._url = endpoint.rstrip("/") + "/"
        self._place = SignedPlace(region, "kms")
        self._key = key
        self._credentials = credentials
        self._context = dict(context)
        self._send = send

    def make_data_key(self) -> DataKey:
        """Return a fresh key of 32 bytes with its ciphertext. Raise KeyServiceRefused or KeyServiceSilent."""
        answer = self._ask("GenerateDataKey", {"NumberOfBytes": KEY_BYTES})
        return DataKey(_key(answer), _bytes(answer, "CiphertextBlob", _LARGEST_CIPHERTEXT))

    def open_data_key(self, ciphertext: bytes) -> bytes:
        """Return the 32 bytes behind a ciphertext. Raise KeyServiceRefused or KeyServiceSilent."""
        return _key(self._ask("Decrypt", {"CiphertextBlob": base64.b64encode(ciphertext).decode()}))

    def _ask(self, operation: str, question: Mapping[str, object]) -> Mapping[str, Any]:
        body = json.dumps({"KeyId": self._key, "EncryptionContext": self._context, **question}).encode()
        silent: KeyServiceSilent | None = None
        for _ in range(ATTEMPTS):
            try:
                answer = self._post(operation, body)
            except KeyServiceSilent as error:
                silent = error
                continue
            content = _content(answer)
            if answer.status == _OK:
                return content
            kind = str(content.get("__type", "")).rpartition("#")[2][:80] or f"status {answer.status}"
            if answer.status < _SERVER_FAULT and answer.status != _TOO_MANY and kind not in _PASSING:
                raise KeyServiceRefused(
                    f"The key service refused {operation} with {kind}: look at the key's policy, at "
                    "OPERALTA_KMS_KEY, OPERALTA_KMS_REGION and at the credentials."
                )
            silent = KeyServiceSilent()
        raise silent or KeyServiceSilent()

    def _post(self, operation: str, body: bytes) -> Answer:
        headers = signed_headers(
            self._credentials,
            self._place,
            method="POST",
            path="/",
            headers={
                "content-type": _MEDIA_TYPE,
                "host": urlsplit(self._url).netloc,
                "x-amz-target": f"TrentService.{operation}",
            },
            body=body,
            now=clock.now(),
        )
        # Whoever sends writes this one from the address; the signature holds the same.
        del headers["host"]
        return self._send(self._url, headers, body)


def _content(answer: Answer) -> Mapping[str, Any]:
    try:
        content: object = json.loads(answer.body) if len(answer.body) <= _LARGEST_ANSWER else None
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, dict):
        return cast("dict[str, Any]", content)
    if answer.status == _OK:
        raise KeyServiceRefused("The key service answered with something else than JSON: check OPERALTA_KMS_ENDPOINT.")
    return {}


def _bytes(answer: Mapping[str, Any], name: str, most: int) -> bytes:
    try:
        value = base64.b64decode(answer[name], validate=True)
    except (KeyError, TypeError, binascii.Error, ValueError):
        value = b""
    if not 0 < len(value) <= most:
        raise KeyServiceRefused(f"The key service answered without a usable {name}: check OPERALTA_KMS_ENDPOINT.")
    return value


def _key(answer: Mapping[str, Any]) -> bytes:
    secret = _bytes(answer, "Plaintext", KEY_BYTES)
    if len(secret) != KEY_BYTES:
        raise KeyServiceRefused("The key service gave a key of another length: check OPERALTA_KMS_KEY.")
    return secret
