"""A service on loopback that answers from a function: the base of the fakes of Nova, Barbican and Glance."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from typing import Any

#: (method, path, headers, body) -> (status, content type, content)
Answer = Callable[[str, str, Any, bytes], tuple[int, str, bytes]]


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1; the URL, without a path."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def handle_one(self) -> None:
            sent = self.rfile.read(int(self.headers.get('Content-Length') or 0))
            status, kind, content = answer(self.command, self.path, self.headers, sent)
            self.send_response(status)
            self.send_header('Content-Type', kind)
            self.send_header('Content-Length', str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = do_PUT = handle_one  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    with listening(Handler) as url:
        yield url


@contextlib.contextmanager
def listening(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """Let a handler of one's own listen on a free port of 127.0.0.1; the URL, without a path."""
    server = _Server(('127.0.0.1', 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.02}, daemon=True)
    thread.start()
    try:
        yield f'http://127.0.0.1:{server.server_port}'
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is none of a server's business."""
