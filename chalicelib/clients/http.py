"""HTTP to another OpenStack service, under the service's own token: one place for timeouts, retries and refusals.

The URL is the operator's and nobody else's; redirects are not followed, so no answer leads anywhere else. What an
answer says is trusted no further than its shape. Tokens stand in headers only, never in an error.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any, Protocol

import urllib3

from chalicelib.errors import ServiceUnavailable

#: Seconds to connect, and between two packets.
CONNECT_TIMEOUT, READ_TIMEOUT = 2.0, 10.0

#: Bytes of an answer that is no data: an image's record with every property is below 100 KB.
MAX_ANSWER = 1 << 20


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


class Service:
    """One service of the cloud. ``name`` is told in errors; safe to share between threads."""

    def __init__(self, name: str, url: str, tokens: Tokens) -> None:
        self.name, self._url, self._tokens = name, url.rstrip('/'), tokens
        self._http = urllib3.PoolManager(maxsize=4)

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
        with self.open(method, path, content, headers={**usual, **(headers or {})}) as response:
            answer = self._read(response)
        if response.status not in expected:
            raise self.failed(f'answered {method} with status {response.status}')
        return response.status, self._parsed(answer)

    @contextlib.contextmanager
    def open(
        self, method: str, path: str, body: bytes | None = None, *, headers: Mapping[str, str]
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """Send, and yield the answer with its body unread. A token that is refused is renewed once.

        The request may be sent again when a kept connection turns out to be dead: a frozen Lambda wakes up with
        connections long closed. Raises ServiceUnavailable when there is no answer.
        """
        token = self._tokens.service_token()
        response = self._send_again(method, path, body, headers, token)
        if response.status == 401 and token:
            response.close()
            response = self._send_again(method, path, body, headers, self._tokens.service_token(refused=token))
        with self._answering(response):
            yield response

    @contextlib.contextmanager
    def stream(
        self, method: str, path: str, body: Iterable[bytes], *, headers: Mapping[str, str], patience: float
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """Send a body that can be sent once only; ``patience``: seconds that the answer may take after it."""
        token = self._tokens.service_token()
        with self._sending():
            response = self._request(method, path, body, headers, token, patience)
        with self._answering(response):
            yield response

    @contextlib.contextmanager
    def _answering(self, response: urllib3.BaseHTTPResponse) -> Iterator[None]:
        try:
            yield
        except urllib3.exceptions.HTTPError as error:
            raise self.failed(f'broke off ({type(error).__name__})') from None
        finally:
            response.close()

    def _send_again(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str], token: str
    ) -> urllib3.BaseHTTPResponse:
        with self._sending():
            try:
                return self._request(method, path, body, headers, token)
            except urllib3.exceptions.ProtocolError:
                return self._request(method, path, body, headers, token)

    @contextlib.contextmanager
    def _sending(self) -> Iterator[None]:
        try:
            yield
        except urllib3.exceptions.HTTPError as error:
            raise self.failed(f'gave no answer ({type(error).__name__})') from None

    def _request(
        self, method: str, path: str, body: Any, headers: Mapping[str, str], token: str, patience: float | None = None
    ) -> urllib3.BaseHTTPResponse:
        credentials = {'X-Auth-Token': token} if token else {}
        return self._http.request(
            method,
            self._url + path,
            headers={**headers, **credentials},
            body=body,
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=patience or READ_TIMEOUT),
            retries=False,  # and no redirects
            preload_content=False,
            decode_content=False,
        )

    def _read(self, response: urllib3.BaseHTTPResponse) -> bytes:
        answer = response.read(MAX_ANSWER + 1)
        if len(answer) > MAX_ANSWER:
            raise self.failed(f'answered with more than {MAX_ANSWER} bytes')
        return answer

    def _parsed(self, answer: bytes) -> Any:
        if not answer:
            return None
        try:
            return json.loads(answer)
        except (ValueError, RecursionError):
            return None

    def failed(self, what: str) -> ServiceUnavailable:
        """The error of an answer that is of no use."""
        return ServiceUnavailable(reason=f'{self.name} {what}')
