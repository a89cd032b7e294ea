"""The server of the review page: one run, this machine only, for whoever has the address with its token."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, quote

from filelock import FileLock

from ..errors import DataError, PLDError, RunError
from ..ledger.jsonl import write_whole
from ..rules import RuleSet
from ..run.folder import RunFolder
from ..run.result import PLDResult
from .edits import Listed, parse_edits
from .flips import Flips
from .review_form import Form, edited
from .review_page import ACCEPTED, TAKEN_BACK, render, version_of
from .trail import append

LONGEST_FORM = 1_000_000  # bytes
POLICY = (
    "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class StaleForm(DataError):
    """A form was made from a rules.yaml that is no longer there."""


class Review:
    """One run under review; several threads may use it.

    Args:
        folder: a finished run.
        by: who accepts rules, for the audit trail.
        find_flips: called with the run's rules; returns what they turned, and why that is not known where it is None.
    """

    def __init__(
        self, folder: Path, *, by: str, find_flips: Callable[[RuleSet], tuple[Flips | None, str]] | None = None
    ) -> None:
        run = RunFolder(folder)
        self.folder, self.by, self.rules = folder, by, run.rules
        self._find_flips = find_flips or (lambda rules: (None, ""))
        self._flips: dict[str, tuple[Flips | None, str]] = {}  # by digest of the rules; only those of the last rules
        self._before: list[tuple[str, str]] = []  # version of rules.yaml -> what it held before, the last edit last
        self._lock = FileLock(f"{run.config}.lock", thread_local=False)  # that of recheck
        self.page(nonce="")  # raises what is wrong with the run

    def page(self, *, nonce: str, message: str = "", typed: Mapping[str, str] | None = None) -> str:
        """Return the page; errors as for :func:`~pld_dspy.release.review_page.render`."""
        scored, text = PLDResult.load(self.folder).rules, self._read()
        if scored.digest not in self._flips:
            self._flips = {scored.digest: self._find_flips(scored)}
        flips, why = self._flips[scored.digest]
        undo = bool(self._before) and self._before[-1][0] == version_of(text)
        return render(
            self.folder,
            text,
            nonce=nonce,
            flips=flips,
            without_flips=why,
            message=message,
            typed=typed,
            can_undo=undo,
        )

    def post(self, form: Form) -> None:
        """Do what a form asks for.

        Raises:
            StaleForm: rules.yaml is no longer what the form was made from.
            DataError: the edit is not possible; nothing is written.
            RunError: a file cannot be written.
        """
        with self._lock:
            text = self._read()
            if form.get("version") != version_of(text):
                raise StaleForm("rules.yaml was changed elsewhere, in another tab or in an editor.")
            if form.get("do") == "undo":
                if self._before and self._before[-1][0] == version_of(text):
                    write_whole(self.rules, self._before.pop()[1])
                return
            lists = parse_edits(text, PLDResult.load(self.folder))
            accepting = {"accept": ACCEPTED, "unaccept": TAKEN_BACK}.get(form.get("do", ""))
            now = edited(lists, {**form, "do": "save"} if accepting else form)
            self._write(text, lists, now)
            if accepting:
                rule = next(rule for rule in (*now[0].rules, *now[1]) if rule.id == form["rule"])
                append(self.folder, accepting, by=self.by, rule=rule.id, text=rule.text)

    def _write(self, before: str, old: Listed, new: Listed) -> None:
        """Write rules.yaml where the form changed anything, once it can be read back."""
        if new == old:
            return
        text = new[0].to_yaml(new[1])
        parse_edits(text, PLDResult.load(self.folder))
        write_whole(self.rules, text)
        self._before.append((version_of(text), before))

    def _read(self) -> str:
        try:
            return self.rules.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"Cannot read {self.rules}: {error}. Restore it, in UTF-8.") from error


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
