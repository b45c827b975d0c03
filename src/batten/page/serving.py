"""Serves the page to this machine alone, and only to be read (decision 0111).

Whoever asks by another name than that of this machine gets nothing: a page of a stranger's could
otherwise have its own name lead here, and read what is shown.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from batten.errors import UNTOUCHED, BattenError, StorageError, usage_error
from batten.inspect.paths.output_path import locate_output
from batten.inspect.survey import find_outputs, is_survey
from batten.inspect.watching import Watcher
from batten.model.telling.markup import NOTHING, Markup, element, plain
from batten.page.clock import tell_time
from batten.page.document import Page, make_page, put_together
from batten.page.drawing.style import POLICY
from batten.page.looking import OutputSeen, look_at_output

ADDRESS = "127.0.0.1"
OWN_NAMES = frozenset({ADDRESS, "localhost", "[::1]"})
REFRESH_SECONDS = 5
STILL = "/still"
"""The page that does not refresh itself."""
CLIENT_SECONDS_MAX = 15
"""A reader that is slower is left alone."""
CLIENTS_MAX = 16
_FRESH_SECONDS = 1.0
"""Who asks again so soon gets the same page."""


class LivePages:
    """Makes the page anew where the last one is old. One at a time, whoever asks."""

    def __init__(self, paths: Sequence[str], expectations: Sequence[str] = ()) -> None:
        self._paths, self._expectations = paths, expectations
        self._lock = threading.Lock()
        self._watchers: dict[str, Watcher] = {}
        self._made: dict[bool, tuple[float, bytes]] = {}

    def check(self) -> None:
        """Raises `UsageError` if nothing is found, or what can't be an output is named."""
        if is_survey(self._paths, self._expectations):
            find_outputs(self._paths, self._expectations)
        else:
            locate_output(self._paths[0])

    def get(self, is_still: bool) -> bytes:
        """The page; one that says why there is none, where none can be made."""
        with self._lock:
            made, page = self._made.get(is_still, (0.0, b""))
            if not page or time.monotonic() - made > _FRESH_SECONDS:
                page = self._make(is_still)
                self._made[is_still] = (time.monotonic(), page)
            return page

    def forget(self) -> None:
        """Who asks next gets a page that is made then."""
        with self._lock:
            self._made.clear()

    def _make(self, is_still: bool) -> bytes:
        head = element("meta", http_equiv="refresh", content=str(REFRESH_SECONDS))
        try:
            page = make_page(
                self._paths,
                self._expectations,
                tell_time(),
                head=NOTHING if is_still else head,
                bar=_offer(is_still),
                look=self._look,
            )
        except BattenError as error:
            page = _tell(error)
        return page.html.encode(errors="backslashreplace")

    def _look(self, path: str) -> OutputSeen:
        """The rate of a run is known where it was looked at before."""
        return look_at_output(path, partial(self._watch, path))

    def _watch(self, path: str) -> Watcher:
        if path not in self._watchers:
            self._watchers[path] = Watcher(path, with_failures=False)
        return self._watchers[path]


def _offer(is_still: bool) -> Markup:
    told = "Refresh by itself" if is_still else "Stop refreshing"
    every = "" if is_still else f"It is made anew every {REFRESH_SECONDS} seconds. "
    link = element("a", told, href="/" if is_still else STILL)
    return element("p", every, link, class_="quiet screen")


def _tell(error: BattenError) -> Page:
    body = element(
        "main",
        element("h1", "No page can be made"),
        *(element("p", each) for each in _lines(error)),
    )
    refresh = element("meta", http_equiv="refresh", content=str(REFRESH_SECONDS))
    return Page(html=put_together("No page can be made", refresh, body), states={})


def _lines(error: BattenError) -> list[str]:
    return [each for each in (error.what, error.safe, error.next) if each]


class PageServer(ThreadingHTTPServer):
    """Listens on the loopback address, on that port, or on one that is free."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, pages: LivePages, port: int = 0) -> None:
        self.pages = pages
        self._room = threading.BoundedSemaphore(CLIENTS_MAX)
        try:
            super().__init__((ADDRESS, port), PageHandler)
        except OverflowError:
            raise usage_error(
                f"{port} is no port: these go from 0 to 65535.",
                "Leave --port out: then a port that is free is taken.",
            ) from None
        except OSError as error:
            raise StorageError(
                f"Port {port} of {ADDRESS} can't be listened on: {error.strerror}.",
                safe=UNTOUCHED,
                next="Leave --port out: then a port that is free is taken.",
                errno=error.errno,
            ) from error

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.server_address[1]}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        """Who comes while many are served is not heard."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader that went away is no failure. Others are told by the thread's end."""
        import sys

        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class PageHandler(BaseHTTPRequestHandler):
    """Answers GET and HEAD of one page."""

    server: PageServer
    server_version, sys_version = "batten", ""
    protocol_version = "HTTP/1.1"
    # Otherwise a page waits until the browser has confirmed its head.
    disable_nagle_algorithm = True
    timeout = CLIENT_SECONDS_MAX

    def do_GET(self) -> None:
        self._answer(is_whole=True)

    def do_HEAD(self) -> None:
        self._answer(is_whole=False)

    def __getattr__(self, name: str) -> Any:
        """Every other method is refused in the same way."""
        if name.startswith("do_"):
            return self._refuse_method
        raise AttributeError(name)

    def _refuse_method(self) -> None:
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, b"", ("Allow", "GET, HEAD"))

    def _answer(self, *, is_whole: bool) -> None:
        if not self._is_own():
            told = b"This page is for this machine alone.\n"
            self._send(HTTPStatus.MISDIRECTED_REQUEST, told if is_whole else b"")
            return
        path = urlsplit(self.path).path
        if path not in ("/", STILL):
            self._send(HTTPStatus.NOT_FOUND, b"Nothing is here.\n" if is_whole else b"")
            return
        page = self.server.pages.get(path == STILL)
        self._send(HTTPStatus.OK, page, ("Content-Type", "text/html; charset=utf-8"), is_whole)

    def _is_own(self) -> bool:
        """Whether it is asked by a name of this machine. The port of a tunnel is another one."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1:
            return False
        name, colon, port = hosts[0].strip().lower().rpartition(":")
        host = name if colon and port.isdecimal() else hosts[0].strip().lower()
        return host in OWN_NAMES

    def _send(
        self,
        status: HTTPStatus,
        body: bytes,
        header: tuple[str, str] = ("Content-Type", "text/plain; charset=utf-8"),
        is_whole: bool = True,
    ) -> None:
        self.send_response(status)
        self.send_header(*header)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", f"{POLICY}; frame-ancestors 'none'")
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        # What a request may have as its body is not read.
        self.send_header("Connection", "close")
        self.end_headers()
        if is_whole:
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing is told of requests."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What can't be understood is not told back."""
        self.close_connection = True
        self._send(HTTPStatus(code), plain(f"{code}\n").encode())
