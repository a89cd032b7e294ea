"""The server of the review page: one run, this machine only, for whoever has the address with its token."""

from __future__ import annotations

import hmac
import secrets
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote

from ..errors import DataError, PLDError
from .review_form import Form, StaleForm

if TYPE_CHECKING:
    from .review_page import Review

LONGEST_FORM = 1_000_000  # bytes
POLICY = (
    "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class ReviewServer(ThreadingHTTPServer):
    """Serves a review on a loopback port; ``url`` holds the token."""

    daemon_threads = True

    def __init__(self, review: Review, port: int = 0) -> None:
        self.review, self.token = review, secrets.token_urlsafe(24)
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise DataError(f"Port {port} cannot be used: {error}. Give another --port, or none.") from error
        self.hosts = {f"{name}:{self.server_port}" for name in ("127.0.0.1", "localhost")}
        self.url = f"http://127.0.0.1:{self.server_port}/{self.token}/"


class _Handler(BaseHTTPRequestHandler):
    server: ReviewServer
    timeout = 60  # seconds that a silent connection may hold a thread

    def do_GET(self) -> None:
        if self._is_allowed():
            self._page() if self._path() == "" else self._say(HTTPStatus.NOT_FOUND, "There is no such page.")

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not self._is_allowed():
            pass
        elif not length.isdecimal() or int(length) > LONGEST_FORM:
            self._say(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The form is too large.")
        else:
            body = self.rfile.read(int(length)).decode("utf-8", "replace")
            self._edit(dict(parse_qsl(body, keep_blank_values=True)))

    def _edit(self, form: Form) -> None:
        try:
            self.server.review.post(form)
        except StaleForm as error:
            self._page(HTTPStatus.CONFLICT, str(error), form)
        except PLDError as error:
            self._page(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), form)
        else:
            anchor = f"#rule-{quote(form['rule'])}" if "rule" in form else ""
            self._send(HTTPStatus.SEE_OTHER, "", "text/plain", Location=f"/{self.server.token}/{anchor}")

    def _is_allowed(self) -> bool:
        """Answer 403 without the token, or where another site's name leads here (DNS rebinding)."""
        token = self.path.lstrip("/").partition("/")[0]
        if self.headers.get("Host") in self.server.hosts and hmac.compare_digest(
            token.encode(), self.server.token.encode()
        ):
            return True
        self._say(HTTPStatus.FORBIDDEN, "Open the address that pld-dspy review printed.")
        return False

    def _path(self) -> str:
        return self.path.lstrip("/").partition("/")[2]

    def _page(self, status: HTTPStatus = HTTPStatus.OK, message: str = "", form: Form | None = None) -> None:
        nonce = secrets.token_urlsafe(16)
        typed = {name: text for name, text in (form or {}).items() if name in ("text", "reason", "comment") and text}
        try:
            page = self.server.review.page(nonce=nonce, message=message, typed=typed)
        except PLDError as error:
            self._say(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
        else:
            self._send(status, page, "text/html", **{"Content-Security-Policy": POLICY.format(nonce=nonce)})

    def _say(self, status: HTTPStatus, text: str) -> None:
        self._send(status, text, "text/plain")

    def _send(self, status: HTTPStatus, text: str, kind: str, **headers: str) -> None:
        body = text.encode()
        always = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(body)),
            "Content-Security-Policy": "default-src 'none'",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        }
        self.send_response(status)
        for name, value in {**always, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing: every request line holds the token."""
