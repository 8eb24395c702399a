"""HTTP to another OpenStack service, under the service's own token: one place for bounds, retries and refusals.

The URL is the operator's and nobody else's; redirects are not followed, so no answer leads anywhere else. What an
answer says is trusted no further than its shape. Tokens stand in headers only, never in an error.
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

#: Seconds for one call, the service's own token and all repetitions included; API Gateway gives a request 29.
BUDGET = 15.0


class Tokens(Hashable, Protocol):
    """Where the service's own token comes from."""

    def service_token(self, refused: str | None = None) -> str:
        """Return a token; a new one when the last is about to end or is the ``refused`` one. '' where none is needed.

        Raises ServiceUnavailable.
        """


class NoTokens:
    """For a service that asks for none."""

    def service_token(self, refused: str | None = None) -> str:
        return ''


def _bounds() -> Bounds:
    """The bounds of one call, within the time that the client's request has left."""
    return Bounds(time_left.at_most(BUDGET), READ_TIMEOUT, MAX_ANSWER)


class Service:
    """One service of the cloud. ``name`` is told in errors; safe to share between threads."""

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
        """Send, and yield the answer with its body unread: a stream, of which the caller takes what it needs.

        A token that is refused is renewed once. The request may be sent again when a kept connection turns out to be
        dead: a frozen Lambda wakes up with connections long closed. Raises ServiceUnavailable when there is no answer,
        and, from reading, when the answer breaks off or drips.
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
        """Send a body that can be sent once only; ``patience``: seconds that the answer may take after it."""
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
        """The error of an answer that is of no use."""
        return ServiceUnavailable(reason=f'{self.name} {what}')
