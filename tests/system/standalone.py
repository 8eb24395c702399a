"""The standalone identity behind a plain HTTP server, mounted at /identity as in the product."""

from __future__ import annotations

import contextlib
import http.server
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

from chalicelib.identity.config import IdentityConfig, block_storage_services
from chalicelib.identity.document import load
from chalicelib.identity.handler import IdentityRequest, handle
from chalicelib.identity.revocation import InMemoryRevocations

REGION = 'RegionOne'
VOLUME_URL = 'http://127.0.0.1:1/v3'


class _Server(http.server.ThreadingHTTPServer):
    config: IdentityConfig


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def _answer(self) -> None:
        target = urllib.parse.urlsplit(self.path)
        request = IdentityRequest(
            method=self.command,
            path=target.path.removeprefix('/identity'),
            headers={name.lower(): value for name, value in self.headers.items()},
            query=dict(urllib.parse.parse_qsl(target.query, keep_blank_values=True)),
            body=self.rfile.read(int(self.headers.get('Content-Length') or 0)),
        )
        response = handle(request, self.server.config)
        self.send_response(response.status)
        for name, value in {**response.headers, 'Content-Length': str(len(response.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.body)

    do_GET = do_HEAD = do_POST = do_DELETE = do_PUT = do_PATCH = _answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def serving(document: Mapping[str, Any]) -> Iterator[IdentityConfig]:
    """Yield the configuration that is being served at its ``identity_url``."""
    server = _Server(('127.0.0.1', 0), _Handler)
    identity_url = f'http://127.0.0.1:{server.server_port}/identity/v3'
    server.config = load(
        document,
        identity_url=identity_url,
        services=block_storage_services(VOLUME_URL, identity_url),
        region=REGION,
        revocations=InMemoryRevocations(),
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.05}, daemon=True)
    thread.start()
    try:
        yield server.config
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
