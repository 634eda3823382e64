"""A stand-in for AWS KMS on this machine: it checks signatures, binds the context, and misbehaves as it is told."""

import base64
import json
import re
import secrets
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from operalta.sealing.signed_requests import Credentials, SignedPlace, signed_headers

KEY = "arn:aws:kms:eu-central-1:111122223333:key/one"
REGION = "eu-central-1"
TYPE = "application/x-amz-json-1.1"


class KeyServiceStandIn:
    """The service. `faults` are the next answers that go wrong, in order; afterwards it works again."""

    def __init__(self) -> None:
        self.credentials = Credentials("AKIDSTANDIN", secrets.token_urlsafe(30))
        self.faults: list[str] = []
        self.asked: list[str] = []
        self.refused: list[str] = []
        self._master = AESGCM(AESGCM.generate_key(256))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Generator["KeyServiceStandIn"]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def answer(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, Any]]:
        operation = headers.get("x-amz-target", "").removeprefix("TrentService.")
        self.asked.append(operation)
        if not self._signature_holds(headers, body):
            self.refused.append(operation)
            return 400, {"__type": "InvalidSignatureException"}
        asked = json.loads(body)
        if asked["KeyId"] != KEY:
            return 400, {"__type": "com.amazonaws.kms#NotFoundException"}
        context = json.dumps(asked["EncryptionContext"], sort_keys=True).encode()
        if operation == "GenerateDataKey":
            nonce, key = secrets.token_bytes(12), secrets.token_bytes(asked["NumberOfBytes"])
            sealed = nonce + self._master.encrypt(nonce, key, context)
            return 200, {"KeyId": KEY, "Plaintext": _text(key), "CiphertextBlob": _text(sealed)}
        blob = base64.b64decode(asked["CiphertextBlob"])
        try:
            return 200, {"KeyId": KEY, "Plaintext": _text(self._master.decrypt(blob[:12], blob[12:], context))}
        except InvalidTag:
            return 400, {"__type": "InvalidCiphertextException"}

    def _signature_holds(self, headers: dict[str, str], body: bytes) -> bool:
        found = re.search(r"SignedHeaders=([\w;-]+), ", headers.get("authorization", ""))
        names = found[1].split(";") if found else []
        if not {"host", "x-amz-date", "x-amz-target", "content-type"} <= set(names):
            return False
        moment = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        expected = signed_headers(
            self.credentials,
            SignedPlace(REGION, "kms"),
            method="POST",
            path="/",
            headers={name: headers[name] for name in names if name != "x-amz-date"},
            body=body,
            now=moment,
        )
        return secrets.compare_digest(expected["authorization"], headers["authorization"])

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, content = service.answer(headers, body)
                fault = service.faults.pop(0) if service.faults else ""
                if fault == "hangs up":
                    return
                status, sent = _bent(fault, status, content)
                self.send_response(status)
                self.send_header("content-type", "image/png" if fault == "is another kind of server" else TYPE)
                self.send_header("location", "http://127.0.0.1:1/")
                self.send_header("content-length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
                pass

        return Handler


def _bent(fault: str, status: int, content: dict[str, Any]) -> tuple[int, bytes]:
    sent = json.dumps(content).encode()
    return {
        "breaks": (500, b"oops"),
        "throttles": (400, b'{"__type": "ThrottlingException"}'),
        "denies": (400, b'{"__type": "AccessDeniedException"}'),
        "talks of something else": (status, b"<html>"),
        "lists": (status, b"[]"),
        "cuts the key": (status, json.dumps(content | {"Plaintext": _text(bytes(16))}).encode()),
        "leaves the key out": (status, b"{}"),
        "has a weak key": (status, json.dumps(content | {"Plaintext": _text(bytes(32))}).encode()),
        "redirects": (307, sent),
        "floods": (status, b"x" * 1_000_000),
    }.get(fault, (status, sent))


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
