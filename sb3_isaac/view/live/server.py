"""The page's server: files, a stream of events to each browser that looks, and what is pressed there.

Threads of the standard library's HTTP server; the thread that simulates only puts events into queues, and nothing at
all while nobody looks.

============== ====== =======================================================================================
path           method what
============== ====== =======================================================================================
/              GET    the page; ``/page.js`` and others beside it
/events        GET    server-sent events: ``event: <name>``, ``data: <JSON>``
/act           POST   a JSON object, such as {"push": true}: handed on to :meth:`LiveServer.actions`
============== ====== =======================================================================================
"""

from __future__ import annotations

import contextlib
import hmac
import json
import mimetypes
import queue
import secrets
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple
from urllib.parse import parse_qs, urlsplit

from sb3_isaac.contract.errors import UserError

HOST, PORT = "127.0.0.1", 8765
LOOPBACK = ("127.0.0.1", "localhost", "::1")
PAGE = Path(__file__).parent / "page"
WAITING, LONGEST, QUIET_S = 50, 10_000, 5.0
"""Events that wait for one browser, bytes of what it may send, and seconds after which a sign of life is sent."""
_HEADERS = {"Content-Security-Policy": "default-src 'self'", "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "Connection": "close"}


def address(text: str) -> Tuple[str, int]:
    """Host and port of ``HOST:PORT``, of a port alone, or of a host alone."""
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = (HOST, text) if text.isdigit() else (text, str(PORT))
    if not port.isdigit() or not 0 <= int(port) <= 65535 or not host:
        raise UserError(f"the address {text!r} is none: give HOST:PORT, such as {HOST}:{PORT}.")
    return host.strip("[]"), int(port)


def first_free() -> LiveServer:
    """A page at this machine's own address, at the usual port or the next one that is free."""
    for port in range(PORT, PORT + 20):
        with contextlib.suppress(UserError):
            return LiveServer(HOST, port)
    return LiveServer(HOST, 0)


class LiveServer:
    """Serves the page from its construction to :meth:`close`.

    :param host, port: where it listens. Port 0 is any free one. Another host than this machine's own asks everybody for
        a token, which is in :attr:`url`.
    :raises UserError: where it cannot listen there.
    """

    def __init__(self, host: str = HOST, port: int = PORT) -> None:
        self.token = "" if host in LOOPBACK else secrets.token_urlsafe(16)
        self._kept: Dict[str, Callable[[], Any]] = {}
        self._browsers: List["queue.Queue[str]"] = []
        self._lock = threading.Lock()
        self._actions: "queue.Queue[Dict[str, Any]]" = queue.Queue(maxsize=100)
        self.closed = threading.Event()
        try:
            self._http = _Server((host, port), self)
        except OSError as error:
            raise UserError(f"no page can be served at {host}:{port} ({error.strerror or error}): choose another place "
                            "with --view-at HOST:PORT.") from error
        shown = f"[{host}]" if ":" in host else host
        query = f"/?token={self.token}" if self.token else "/"
        self.url = f"http://{shown}:{self._http.server_address[1]}{query}"
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True).start()

    @property
    def watched(self) -> bool:
        """Whether a browser looks."""
        return bool(self._browsers)

    def send(self, name: str, data: Any) -> None:
        """An event to all that look now; one that is too slow to take it misses it."""
        if self._browsers:
            self._put(_event(name, data))

    def keep(self, name: str, data: Callable[[], Any]) -> None:
        """An event to all that look, now or later: later ones get the last of each name, made when they come."""
        with self._lock:
            self._kept[name] = data
        if self._browsers:
            self._put(_event(name, data()))

    def _put(self, event: str) -> None:
        with self._lock:
            for browser in self._browsers:
                with contextlib.suppress(queue.Full):
                    browser.put_nowait(event)

    def actions(self) -> List[Dict[str, Any]]:
        """What was pressed on pages since this was asked last."""
        found = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._actions.get_nowait())
        return found

    def act(self, action: Dict[str, Any]) -> None:
        """Take in what was pressed."""
        with contextlib.suppress(queue.Full):
            self._actions.put_nowait(action)

    @contextlib.contextmanager
    def looking(self) -> Any:
        """The queue of a browser that has begun to look, with what was kept for it."""
        events: "queue.Queue[str]" = queue.Queue(maxsize=WAITING)
        with self._lock:
            for name, data in self._kept.items():
                events.put_nowait(_event(name, data()))
            self._browsers = [*self._browsers, events]
        try:
            yield events
        finally:
            with self._lock:
                self._browsers = [other for other in self._browsers if other is not events]

    def close(self) -> None:
        """Tell pages that this was all, and stop listening."""
        self.send("end", {})
        self.closed.set()
        self._http.shutdown()
        self._http.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads, allow_reuse_address = True, False

    def __init__(self, place: Tuple[str, int], live: LiveServer) -> None:
        self.live = live
        self.address_family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        super().__init__(place, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the midst of an answer is no error."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The page, a file of it, or the events."""
        path = urlsplit(self.path).path
        if not self._allowed():
            return
        if path == "/events":
            self._stream()
            return
        file = PAGE / (path.lstrip("/") or "index.html")
        if file.parent != PAGE or not file.is_file():
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such file")
            return
        content = file.read_bytes()
        kind = "text/javascript" if file.suffix == ".js" else mimetypes.guess_type(file.name)[0] or "text/plain"
        self._head(HTTPStatus.OK, kind, len(content))
        self.wfile.write(content)

    def do_POST(self) -> None:
        """Something was pressed. A page of another origin cannot send JSON here without being asked first, and is not
        answered then."""
        length = self.headers.get("Content-Length", "")
        if not self._allowed():
            return
        if urlsplit(self.path).path != "/act" or self.headers.get("Content-Type") != "application/json":
            self._refuse(HTTPStatus.NOT_FOUND, "post JSON to /act")
            return
        if not length.isdigit() or int(length) > LONGEST:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"send at most {LONGEST} bytes")
            return
        try:
            action = json.loads(self.rfile.read(int(length)))
        except ValueError:
            action = None
        if not isinstance(action, dict):
            self._refuse(HTTPStatus.BAD_REQUEST, "send a JSON object")
            return
        self.server.live.act(action)
        self._head(HTTPStatus.NO_CONTENT, "text/plain", 0)

    def _allowed(self) -> bool:
        """Whether the request names this machine, as a page elsewhere that points a name here does not, and has the
        token where one is asked for."""
        token, given = self.server.live.token, parse_qs(urlsplit(self.path).query).get("token", [""])[0]
        host = self.headers.get("Host", "")
        named = urlsplit(f"//{host}").hostname
        if not token and named not in LOOPBACK:
            self._refuse(HTTPStatus.FORBIDDEN, "this page is for this machine alone")
            return False
        origin = self.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != host:
            self._refuse(HTTPStatus.FORBIDDEN, "this page answers itself alone")
            return False
        # Files but the page itself hold no secrets; those that carry data or orders do.
        if token and urlsplit(self.path).path in ("/", "/events", "/act") and not hmac.compare_digest(
                token.encode(), given.encode()):
            self._refuse(HTTPStatus.FORBIDDEN, "open the address with the token that the program printed")
            return False
        return True

    def _stream(self) -> None:
        live = self.server.live
        self._head(HTTPStatus.OK, "text/event-stream", None)
        with live.looking() as events, contextlib.suppress(OSError):
            while not live.closed.is_set() or not events.empty():
                try:
                    event = events.get(timeout=QUIET_S)
                except queue.Empty:
                    event = ": quiet\n\n"
                self.wfile.write(event.encode())
                self.wfile.flush()

    def _head(self, status: HTTPStatus, kind: str, length: Any) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        content = f"{why}\n".encode()
        self._head(status, "text/plain", len(content))
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        """Requests are not worth a line each."""


def _event(name: str, data: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
