"""Every page in a real browser, under the exact content policy: pictures to look at, and axe's opinion.

    python -m tests.web.gallery --out /tmp/gallery            # all pages, light, dark and 320 px wide, then axe
    python -m tests.web.gallery --out /tmp/gallery chat trust  # only pages whose name begins so
    python -m tests.web.gallery --serve                        # look at them yourself

Exits with 1 if axe finds something, the policy was broken, or a page is wider than its screen.
"""

import argparse
import contextlib
import json
import mimetypes
import sys
import threading
import time
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page, sync_playwright

from operalta.web.rendering import STATIC_FOLDER, STATIC_PREFIX, render
from tests.web import samples

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'; report-uri /reports"
)
Scheme = Literal["light", "dark"]
CHROMIUM: Final = "/usr/bin/chromium"
ARGUMENTS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES: Final = {"wide": (1280, 900), "narrow": (320, 720)}
VIEWS: Final[list[tuple[Scheme, str]]] = [("light", "wide"), ("dark", "wide"), ("light", "narrow")]
ANSWER: Final = "<p>Churn is <strong>down</strong>.</p><script src=/static/app.js></script><form></form>"
EVENTS: Final[list[tuple[str, dict[str, Any]]]] = [
    ("run_started", {}),
    ("context_gathered", {}),
    ("tool_asked", {"call_id": "1", "tool": "metrics_read", "arguments": {"slug": "churn"}}),
    ("tool_decided", {"call_id": "1", "decision": "allow", "reason": "Reading inside the company."}),
    ("tool_result", {"call_id": "1", "ok": True, "output": "2026-09 2.2", "duration_ms": 120}),
    ("model_text", {"text": "Churn is <b>down</b>: "}),
    ("model_text", {"text": "2.2 % a month."}),
    ("tool_asked", {"call_id": "2", "tool": "files_write", "arguments": {"path": "prices/price-list.md"}}),
    ("tool_decided", {"call_id": "2", "decision": "ask", "reason": "A person has to confirm the text."}),
    ("approval_asked", {"approval_id": "waiting", "call_id": "2"}),
]
ENDING: Final[list[tuple[str, dict[str, Any]]]] = [
    ("approval_decided", {"approval_id": "waiting", "decision": "once"}),
    ("tool_result", {"call_id": "2", "ok": True, "output": "written", "duration_ms": 40}),
    ("answer", {"text": "Churn is down.", "html": ANSWER}),
    ("run_finished", {}),
]


class Gallery(ThreadingHTTPServer):
    """Serves the samples on a free port of this machine; `reports` gathers what the policy refused.

    `ends` decides whether the streamed reply comes to its end or waits for an approval; `posted` holds what was
    sent, headers in small letters; `html` is served in place of the samples of the same name.
    """

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.reports: list[str] = []
        self.posted: list[dict[str, str]] = []
        self.ends = threading.Event()
        self.html: dict[str, str] = {}
        self.pages = {sample.name: sample for sample in [*samples.rich(), *samples.with_errors()]}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Gallery  # pyright: ignore[reportIncompatibleVariableOverride] - the only server that uses this handler

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        name = path.rsplit("/", 1)[-1]
        if path.startswith(STATIC_PREFIX) and (STATIC_FOLDER / name).is_file():
            kind = mimetypes.guess_type(name)[0] or "text/plain"
            self._answer((STATIC_FOLDER / name).read_bytes(), kind)
        elif path.endswith("/events"):
            self._stream()
        elif path.startswith("/c/lumen/approvals/"):
            waiting = samples.approval(id=name)
            context = {"page": samples.page("approvals"), "approval": waiting, "return_to": ""}
            self._answer(render("pages/approval.html", context).encode())
        elif name in self.server.html:
            self._answer(self.server.html[name].encode())
        elif name in self.server.pages:
            sample = self.server.pages[name]
            self._answer(render(f"pages/{sample.template}", sample.context).encode())
        else:
            links = "".join(f'<li><a href="/{page}">{page}</a></li>' for page in self.server.pages)
            self._answer(f"<!doctype html><title>Gallery</title><ul>{links}</ul>".encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path == "/reports":
            self.server.reports.append(body.decode())
            self._answer(b"")
            return
        self.server.posted.append(
            {"path": self.path, "body": body.decode(), **{k.lower(): v for k, v in self.headers.items()}}
        )
        base = "/c/lumen/runs/r1"
        answer = {"run_id": "r1", "events_url": f"{base}/events", "stop_url": f"{base}/stop"}
        here = urlsplit(self.headers.get("Referer", "")).path
        self._answer(json.dumps({**answer, "conversation_url": here}).encode(), "application/json", 202)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing for each request."""

    def _answer(self, body: bytes, kind: str = "text/html", status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._events(EVENTS, 1)
            self.server.ends.wait(60)
            self._events(ENDING, len(EVENTS) + 1)
            time.sleep(1)

    def _events(self, events: list[tuple[str, dict[str, Any]]], first: int) -> None:
        for sequence, (kind, body) in enumerate(events, first):
            data = {"sequence": sequence, "kind": kind, "at": "2026-09-01T10:00:00Z", "body": body}
            self.wfile.write(f"id: {sequence}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode())
            self.wfile.flush()


@contextlib.contextmanager
def serving(port: int = 0) -> Generator[Gallery]:
    """Serve the samples while the block runs."""
    gallery = Gallery(port)
    thread = threading.Thread(target=gallery.serve_forever, daemon=True)
    thread.start()
    try:
        yield gallery
    finally:
        gallery.ends.set()
        gallery.shutdown()
        gallery.server_close()


@contextlib.contextmanager
def browsing() -> Generator[Browser]:
    """Start Debian's Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def violations(page: Page) -> list[str]:
    """Return what axe finds against WCAG 2.2 AA and good practice, one line each."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found = page.evaluate("axe.run({resultTypes: ['violations']}).then(result => result.violations)")
    return [
        f"{rule['id']}: {node['html'][:140]} {node['failureSummary'][:200]!r}"
        for rule in found
        for node in rule["nodes"]
    ]


def overflow(page: Page) -> int:
    """Return by how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def look_at(page: Page, scheme: Scheme, size: str) -> None:
    """Show the page in this colour scheme and size."""
    width, height = SIZES[size]
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": height})


def faults(page: Page, address: str, views: list[tuple[Scheme, str]] = VIEWS) -> list[str]:
    """Open one page (with the policy off, which axe needs) and return what is wrong with it in each view."""
    page.goto(address)
    wrong: list[str] = []
    for scheme, size in views:
        look_at(page, scheme, size)
        if (wider := overflow(page)) > 0:
            wrong.append(f"{scheme} {size}: {wider} px too wide")
        wrong += [f"{scheme} {size}: {line}" for line in violations(page)]
    return wrong


def take_pictures(page: Page, address: str, out: Path) -> None:
    """Open one page under the policy and keep a picture of each view."""
    page.goto(address)
    for scheme, size in VIEWS:
        look_at(page, scheme, size)
        page.wait_for_timeout(150)
        page.screenshot(path=out / f"{address.rsplit('/', 1)[-1]}-{scheme}-{size}.png", full_page=True)


def main() -> int:
    """Take the pictures, or serve the samples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="pages whose name begins so; all when none is given")
    parser.add_argument("--out", type=Path, default=Path("gallery"))
    parser.add_argument("--serve", action="store_true")
    options = parser.parse_args()
    with serving(8099 if options.serve else 0) as gallery:
        if options.serve:
            sys.stdout.write(f"{gallery.address}\n")
            threading.Event().wait()
        options.out.mkdir(parents=True, exist_ok=True)
        wrong: list[str] = []
        with browsing() as browser:
            strict, open_to_axe = browser.new_page(), browser.new_page(bypass_csp=True)
            for name in gallery.pages:
                if not options.names or name.startswith(tuple(options.names)):
                    address = f"{gallery.address}/{name}"
                    take_pictures(strict, address, options.out)
                    wrong += [f"{name} {fault}" for fault in faults(open_to_axe, address)]
        wrong += [f"policy: {report}" for report in gallery.reports]
        sys.stdout.write("\n".join(wrong) + "\n" if wrong else "nothing to say against them\n")
        return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
