"""AWS over HTTP on loopback, with the faults of a network: the SDK's own retries are what is under test.

Each fault defines whether the request is carried out before it: a lost answer does not prove that nothing was done.
"""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.retries.standard import ExponentialBackoff
from moto.core.models import botocore_stubber

from chalicelib import aws
from chalicelib.drivers import ebs_client
from chalicelib.models import connection
from local.calls import service_of
from local.http import Handler, Request, Response
from local.settings import ACCESS_KEY, REGION, SECRET_KEY
from tests.http_double import listening

#: Faults after which the request is done, and those after which it is not.
DONE = ('closed', 'half', 'late', '500 after')
NOT_DONE = ('closed before', '500 before', 'throttled')

#: Seconds that a late answer is held back at most; it ends when the client gives up earlier.
LATE = 3.0

#: Status and code of a fault that is an answer.
_ANSWERS = {
    '500 after': (500, 'InternalServerError'),
    '500 before': (500, 'InternalServerError'),
    'throttled': (400, 'ThrottlingException'),
}


def patience(request: pytest.FixtureRequest) -> float:
    """Return the seconds that a client waits for an answer: few in the tests that keep it waiting."""
    parameters = getattr(request.node, 'callspec', None)
    return 0.5 if parameters and 'late' in parameters.params.values() else 20.0


class Flaky:
    """``faults`` are met by the next requests in turn, 'none' among them is none; ``seen`` counts the requests."""

    def __init__(self, upstream: Handler) -> None:
        self.upstream = upstream
        self.url = ''
        self.faults: list[str] = []
        self.seen: list[str] = []
        self._client_gave_up = threading.Event()

    def next_fault(self) -> str:
        self._client_gave_up.set()  # a next request: the client no longer waits for the answer before it
        self._client_gave_up = threading.Event()
        return self.faults.pop(0) if self.faults else 'none'

    def answer(self, request: Request, fault: str) -> Response | None:
        """The response; None: the connection is closed without one."""
        gave_up = self._client_gave_up
        done = self.upstream(request) if fault == 'none' or fault in DONE else None
        if fault in _ANSWERS:
            return refusal(request, *_ANSWERS[fault])
        if fault == 'late':
            gave_up.wait(LATE)
        return done if fault in ('none', 'half') else None


def refusal(request: Request, status: int, code: str) -> Response:
    """Return an error in the format of the called service."""
    service = service_of({name.lower(): value for name, value in request.headers})
    if service == 's3':
        body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>No.</Message></Error>'
    elif service == 'ec2':
        body = f'<Response><Errors><Error><Code>{code}</Code><Message>No.</Message></Error></Errors></Response>'
    else:
        body = f'{{"__type": "{code}", "message": "No."}}'
    return Response(status, [('x-amzn-errortype', code)], body.encode())


@contextlib.contextmanager
def serving(upstream: Handler) -> Iterator[Flaky]:
    """Serve on a free port of 127.0.0.1."""
    flaky = Flaky(upstream)

    class Connection(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def handle_any(self) -> None:
            path, _, query = self.path.partition('?')
            body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
            request = Request(self.command, path, query, list(self.headers.items()), body, '127.0.0.1')
            fault = flaky.next_fault()
            flaky.seen.append(fault)
            answer = flaky.answer(request, fault)
            if answer is None:
                self.close_connection = True
            else:
                self.send(answer, len(answer.body) // 2 if fault == 'half' else len(answer.body))

        do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = handle_any  # noqa: N815

        def send(self, answer: Response, sent: int) -> None:
            self.send_response(answer.status)
            length = str(len(answer.body))
            for name, value in answer.headers:
                if name.lower() == 'content-length' and self.command == 'HEAD':
                    length = value  # that of the body which is not sent
                elif name.lower() not in ('content-length', 'connection', 'transfer-encoding'):
                    self.send_header(name, value)
            self.send_header('Content-Length', length)
            self.end_headers()
            if self.command != 'HEAD':
                self.wfile.write(answer.body[:sent])
            self.close_connection = sent < len(answer.body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with listening(Connection) as url:
        flaky.url = url
        yield flaky


#: Every cache of clients: a test has its own. The session stays: it has the services' models.
CACHES: tuple[Callable[..., Any], ...] = (
    aws.client,
    aws.invoker,
    aws._publisher,
    connection.connection,
    ebs_client._client,
)


@contextlib.contextmanager
def reached_over_http(flaky: Flaky, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have the code under test, with the SDK's own clients, send its requests there; the SDK's pauses are none."""
    _forget_clients()
    for name, value in (
        ('ENDPOINT_URL', flaky.url),
        ('ACCESS_KEY_ID', ACCESS_KEY),
        ('SECRET_ACCESS_KEY', SECRET_KEY),
        ('DEFAULT_REGION', REGION),
    ):
        monkeypatch.setenv(f'AWS_{name}', value)
    monkeypatch.setattr(ExponentialBackoff, 'delay_amount', lambda *_: 0)
    monkeypatch.setattr(connection, 'JITTER_CAP', 0)
    aws.session().unregister('before-send', botocore_stubber)  # moto's hook in this process
    try:
        yield
    finally:
        aws.session().register('before-send', botocore_stubber)
        _forget_clients()


def _forget_clients() -> None:
    aws.forget_documents()
    for cache in CACHES:
        cache.cache_clear()  # type: ignore[attr-defined]
