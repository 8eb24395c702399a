"""The smoke test of a deployed stage, against a server that answers rightly, wrongly, late or not at all."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from infra import live
from infra.live import CHECKS, IDENTITY_CHECKS
from infra.stage import Stage

RIGHT: dict[str, tuple[int, Any]] = {
    '/healthcheck': (200, {}),
    '/': (300, {'versions': []}),
    '/v3': (200, {'versions': []}),
    '/v3/volumes': (401, {}),
    '/identity/v3': (200, {'version': {}}),
    '/identity/v3/auth/tokens': (401, {}),
}

Serve = Callable[[dict[str, tuple[int, Any]]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[http.server.HTTPServer] = []

    def start(answers: dict[str, tuple[int, Any]]) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get('Content-Length') or 0))
                status, body = answers[self.path]
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header('Content-Length', str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_POST = do_GET  # noqa: N815 - the name that the server calls

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f'http://127.0.0.1:{server.server_port}'

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def found(url: str) -> list[str]:
    return list(live.problems(url, (*CHECKS, *IDENTITY_CHECKS), pause=0))


def test_a_service_that_answers_passes(serve: Serve) -> None:
    assert found(serve(RIGHT)) == []


@pytest.mark.parametrize(
    ('path', 'answer', 'line'),
    [
        ('/healthcheck', (500, {}), '500, expected 200'),
        ('/v3', (200, {'message': 'hello'}), "the body has no 'versions'"),
        ('/v3/volumes', (200, {'volumes': []}), '200, expected 401'),
        ('/identity/v3/auth/tokens', (503, {}), '503, expected 401'),
    ],
)
def test_what_is_wrong_is_one_line(serve: Serve, path: str, answer: tuple[int, Any], line: str) -> None:
    [problem] = found(serve({**RIGHT, path: answer}))
    assert path in problem
    assert line in problem


def test_no_answer_is_reported(serve: Serve) -> None:
    assert len(found('http://127.0.0.1:9')) == len(CHECKS) + len(IDENTITY_CHECKS)


def test_the_url_is_that_for_clients() -> None:
    stage, outputs = Stage('mine', 'eu-west-1', 'mine', {}), {'EndpointURL': 'https://id.example.org/api/'}
    assert live.address(stage, outputs) == 'https://id.example.org/api'
    named = stage._replace(parameters={'PublicEndpoint': 'https://storage.example.org'})
    assert live.address(named, outputs) == 'https://storage.example.org'
    assert live.address(stage, {}) == ''


def test_the_own_identity_is_checked_only_where_it_is_used() -> None:
    stage = Stage('mine', 'eu-west-1', 'mine', {})
    assert live.checks_of(stage) == (*CHECKS, *IDENTITY_CHECKS)
    assert live.checks_of(stage._replace(parameters={'KeystoneUrl': 'https://k/v3'})) == CHECKS
