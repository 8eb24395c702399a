"""HTTP to another OpenStack service under the service's own token, with limits, retries and error handling.

Only the operator sets the URL; redirects are not followed, so an answer cannot lead elsewhere. Answers are trusted only
as far as their shape is checked. Tokens are in headers only, never in an error.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import urllib3

from chalicelib import bounded_http, time_left
from chalicelib.bounded_http import MAX_ANSWER, Answer, Bounds
from chalicelib.errors import ServiceUnavailable

#: Seconds to connect, and between two packets.
CONNECT_TIMEOUT, READ_TIMEOUT = 2.0, 10.0

#: Seconds for one call, including the service's own token and retries; API Gateway allows a request 29.
BUDGET = 15.0


class Tokens(Hashable, Protocol):
    """The source of the service's own token."""

    def service_token(self, refused: str | None = None) -> str:
        """Return a token; a new one when the last expires soon or is the ``refused`` one. '' where none is needed.

        Raises ServiceUnavailable.
        """


def _bounds() -> Bounds:
    """Return the limits of one call, within the time that the client's request has left."""
    return Bounds(time_left.at_most(BUDGET), READ_TIMEOUT, MAX_ANSWER)


class Service:
    """One service of the cloud. Errors contain ``name``; safe to share between threads."""

    def __init__(self, name: str, url: str, tokens: Tokens) -> None:
        self.name, self._url, self._tokens = name, url.rstrip('/'), tokens
        self._http = bounded_http.manager()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        expected: tuple[int, ...] = (200,),
    ) -> tuple[int, Any]:
        """Send JSON, return (status, JSON). Raises ServiceUnavailable for a status that is not ``expected``."""
        content = None if body is None else json.dumps(body).encode()
        usual = {'Accept': 'application/json', **({'Content-Type': 'application/json'} if content else {})}
        answer = self.fetch(method, path, content, headers={**usual, **(headers or {})})
        if answer.status not in expected:
            raise self.failed(f'answered {method} with status {answer.status}')
        return answer.status, self._parsed(answer.body)

    def fetch(self, method: str, path: str, body: bytes | None = None, *, headers: Mapping[str, str]) -> Answer:
        """Send, and return the whole answer, of at most MAX_ANSWER bytes. See ``open``."""
        response = self._answer(method, path, body, headers, _bounds())
        with self._translated('broke off'):
            return bounded_http.read(response)

    @contextlib.contextmanager
    def open(self, method: str, path: str, *, headers: Mapping[str, str]) -> Iterator[urllib3.BaseHTTPResponse]:
        """Send a request, and yield the answer as a stream with its body unread.

        A refused token is renewed once. The request is retried once when a kept connection turns out to be closed:
        after a freeze, a Lambda function resumes with connections closed long ago. Raises ServiceUnavailable without an
        answer, and, while reading, when the answer breaks off or is too slow.
        """
        bounds = _bounds()
        response = self._answer(method, path, None, headers, bounds)
        bounds.begin_stream()
        with self._translated('broke off'), contextlib.closing(response):
            yield response

    @contextlib.contextmanager
    def stream(
        self, method: str, path: str, body: Iterable[bytes], *, headers: Mapping[str, str], patience: float
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """Send a body that can be sent only once; ``patience``: seconds allowed for the answer after it."""
        token, bounds = self._tokens.service_token(), Bounds.of_upload(patience)
        with self._translated('gave no answer'):
            response = self._send(method, path, body, headers, token, bounds)
        with self._translated('broke off'), contextlib.closing(response):
            yield response

    def _answer(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], bounds: Bounds
    ) -> urllib3.BaseHTTPResponse:
        token = self._tokens.service_token()
        response = self._send_again(method, path, body, headers, token, bounds)
        if response.status == 401 and token:
            response.close()
            renewed = self._tokens.service_token(refused=token)
            response = self._send_again(method, path, body, headers, renewed, bounds)
        return response

    def _send_again(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], token: str, bounds: Bounds
    ) -> urllib3.BaseHTTPResponse:
        with self._translated('gave no answer'):
            try:
                return self._send(method, path, body, headers, token, bounds)
            except urllib3.exceptions.ProtocolError:
                return self._send(method, path, body, headers, token, bounds)

    def _send(
        self, method: str, path: str, body: Any, headers: Mapping[str, str], token: str, bounds: Bounds
    ) -> urllib3.BaseHTTPResponse:
        credentials = {'X-Auth-Token': token} if token else {}
        return bounded_http.send(
            self._http,
            method,
            self._url + path,
            headers={**headers, **credentials},
            body=body,
            bounds=bounds,
            connect=CONNECT_TIMEOUT,
        )

    @contextlib.contextmanager
    def _translated(self, what: str) -> Iterator[None]:
        try:
            yield
        except bounded_http.BadAnswer as error:
            raise self.failed(f'gave no usable answer: {error}') from None
        except urllib3.exceptions.HTTPError as error:
            raise self.failed(f'{what} ({type(error).__name__})') from None

    def _parsed(self, answer: bytes) -> Any:
        try:
            return bounded_http.parsed(answer)
        except ValueError:
            return None

    def failed(self, what: str) -> ServiceUnavailable:
        """Return the error for an unusable answer."""
        return ServiceUnavailable(reason=f'{self.name} {what}')
