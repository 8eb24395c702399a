"""Tokens of an external Keystone, validated over HTTP under a service user's own token and cached for up to 5 minutes.

Fails closed: Keystone down, slow or unintelligible, or refusing the service user, is a 503. An unknown token is a 401.
Only the operator sets the URL; redirects are not followed.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import urllib3

from chalicelib import bounded_http, time_left
from chalicelib.bounded_http import Answer, Bounds
from chalicelib.context import TokenFacts
from chalicelib.errors import ServiceUnavailable, Unauthorized

#: Seconds that a valid token is cached: a revocation takes effect after at most this time.
TRUST = 300

#: Seconds that an unknown token is cached, so that a client in a loop does not load Keystone.
DISTRUST = 30

#: Tokens cached per process, about 400 bytes each.
CACHE_SIZE = 2048

#: Seconds for one validation, including a new service token; API Gateway allows a request 29.
BUDGET = 10.0

#: Seconds to connect, and between two packets.
CONNECT_TIMEOUT, READ_TIMEOUT = 2.0, 5.0

#: Seconds before its expiry at which the service token is renewed.
RENEWAL_MARGIN = 60

#: Bytes; a token with a large catalog has about 50 KB, and requests exclude the catalog.
MAX_ANSWER = 1 << 20

#: Visible ASCII: any other text is not a token, and must not get into a header.
_TOKEN = re.compile(r'[\x21-\x7e]{1,8192}')


@dataclasses.dataclass(frozen=True, slots=True)
class _Cached:
    """The cached result for a token; ``facts`` is None for a token unknown to Keystone."""

    facts: TokenFacts | None
    until: float


class _Cache:
    """The tokens validated last, by digest: bounded, thread-safe."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: collections.OrderedDict[bytes, _Cached] = collections.OrderedDict()

    def get(self, key: bytes) -> _Cached | None:
        with self._lock:
            entry = self._entries.get(key)
        return entry if entry and entry.until > self._clock() else None

    def put(self, key: bytes, facts: TokenFacts | None) -> None:
        now = self._clock()
        until = min(now + TRUST, facts.expires_at) if facts else now + DISTRUST
        with self._lock:
            self._entries[key] = _Cached(facts, until)
            self._entries.move_to_end(key)
            if len(self._entries) > CACHE_SIZE:
                self._entries.popitem(last=False)


@dataclasses.dataclass(frozen=True, slots=True)
class _ServiceToken:
    text: str = dataclasses.field(repr=False)
    expires_at: float


class KeystoneTokens:
    """TokenValidator over Keystone's v3 API. Safe to share between threads.

    ``url`` ends in /v3. ``username`` needs the role service or admin on ``project``; both are in ``domain``, by name.
    """

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        project: str,
        *,
        domain: str = 'Default',
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = url.rstrip('/')
        self._username = username
        self._credentials = _credentials(username, password, project, domain)
        self._clock = clock
        self._cache = _Cache(clock)
        self._http = bounded_http.manager()
        self._renewal = threading.Lock()
        self._own: _ServiceToken | None = None

    def validate(self, token: str, *, allow_expired: bool = False) -> TokenFacts:
        """Validate a token with Keystone, or return the cached result. Raises Unauthorized or ServiceUnavailable."""
        if not _TOKEN.fullmatch(token):
            raise Unauthorized
        key = hashlib.sha256(f'{allow_expired}:{token}'.encode()).digest()
        cached = self._cache.get(key)
        facts = cached.facts if cached else self._fetch(key, token, allow_expired)
        if facts is None:
            raise Unauthorized
        return facts

    def service_token(self, refused: str | None = None) -> str:
        """Return the service user's own token, for other services; a new one when it was ``refused`` or expires soon.

        Raises ServiceUnavailable.
        """
        own = self._own
        rejected = own if own is not None and own.text == refused else None
        return self._service_token(_new_deadline(), refused=rejected).text

    def _fetch(self, key: bytes, token: str, allow_expired: bool) -> TokenFacts | None:
        deadline = _new_deadline()
        facts = self._query(token, allow_expired, deadline)
        if facts and facts.expires_at <= self._clock() and not allow_expired:
            facts = None
        self._cache.put(key, facts)
        return facts

    def _query(self, token: str, allow_expired: bool, deadline: Bounds) -> TokenFacts | None:
        """Return Keystone's validation of ``token``; None: the token is unknown."""
        path = '/auth/tokens?nocatalog=1' + ('&allow_expired=1' if allow_expired else '')
        own = self._service_token(deadline)
        answer = self._call('GET', path, {'X-Auth-Token': own.text, 'X-Subject-Token': token}, None, deadline)
        if answer.status == 401:
            own = self._service_token(deadline, refused=own)
            answer = self._call('GET', path, {'X-Auth-Token': own.text, 'X-Subject-Token': token}, None, deadline)
        if answer.status in (401, 403):
            raise self._refused(f'to validate tokens with status {answer.status}: it needs the role service')
        if answer.status in (400, 404):
            return None
        return _facts(_token(answer, 200))

    def _service_token(self, deadline: Bounds, refused: _ServiceToken | None = None) -> _ServiceToken:
        """Return the service user's token; a new one when it expires soon or is the ``refused`` one."""
        with self._renewal:
            own = self._own
            if own is None or own is refused or own.expires_at - RENEWAL_MARGIN <= self._clock():
                own = self._own = self._authenticate(deadline)
            return own

    def _authenticate(self, deadline: Bounds) -> _ServiceToken:
        headers = {'Content-Type': 'application/json'}
        answer = self._call('POST', '/auth/tokens?nocatalog=1', headers, self._credentials, deadline)
        if answer.status in (401, 403):
            raise self._refused(f'a token with status {answer.status}: check its password and project')
        facts, token = _facts(_token(answer, 201)), answer.headers.get('X-Subject-Token', '')
        if not _TOKEN.fullmatch(token):
            raise ServiceUnavailable(reason='Keystone answered without a token')
        return _ServiceToken(token, facts.expires_at)

    def _refused(self, what: str) -> ServiceUnavailable:
        return ServiceUnavailable(reason=f'Keystone refuses the service user {self._username} {what}')

    def _call(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, deadline: Bounds) -> Answer:
        """Send, and send again when a kept connection turns out to be closed: both calls change nothing."""
        try:
            try:
                return self._send(method, path, headers, body, deadline)
            except urllib3.exceptions.ProtocolError:  # closed while the Lambda function was frozen
                return self._send(method, path, headers, body, deadline)
        except bounded_http.BadAnswer as error:
            raise ServiceUnavailable(reason=f'Keystone gave no usable answer: {error}') from None
        except urllib3.exceptions.HTTPError as error:
            over = deadline.left() <= 0
            what = f'did not answer in {BUDGET:g} s' if over else f'gave no answer ({type(error).__name__})'
            raise ServiceUnavailable(reason=f'Keystone {what}') from None

    def _send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, deadline: Bounds) -> Answer:
        return bounded_http.fetch(
            self._http,
            method,
            self._url + path,
            headers=headers,
            body=body,
            bounds=deadline,
            connect=CONNECT_TIMEOUT,
        )


def _new_deadline() -> Bounds:
    """Return the deadline of one validation, over all its calls."""
    return Bounds(time_left.at_most(BUDGET), READ_TIMEOUT, MAX_ANSWER)


def _credentials(username: str, password: str, project: str, domain: str) -> bytes:
    user = {'name': username, 'domain': {'name': domain}, 'password': password}
    identity = {'methods': ['password'], 'password': {'user': user}}
    scope = {'project': {'name': project, 'domain': {'name': domain}}}
    return json.dumps({'auth': {'identity': identity, 'scope': scope}}).encode()


def _token(answer: Answer, expected: int) -> Any:
    if answer.status != expected:
        raise ServiceUnavailable(reason=f'Keystone answered with status {answer.status}')
    try:
        return bounded_http.parsed(answer.body)['token']
    except (ValueError, KeyError, TypeError):
        raise ServiceUnavailable(reason='Keystone answered what is not a token') from None


def _facts(token: Any) -> TokenFacts:
    """Return the facts of a token's body; raises ServiceUnavailable when one is missing or malformed.

    A token scoped to a domain or the system has no project, so it counts as unscoped.
    """
    try:
        project = token.get('project')
        return TokenFacts(
            user_id=_text(token['user']['id']),
            project_id=None if project is None else _text(project['id']),
            roles=frozenset(_text(role['name']) for role in token.get('roles', ())),
            expires_at=_seconds(_text(token['expires_at'])),
            user_domain_id=_domain(token['user']),
            project_domain_id=None if project is None else _domain(project),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ServiceUnavailable(reason='Keystone answered a token without user, project, roles or end') from None


def _domain(owner: Any) -> str | None:
    """Return the id of the domain of a user or project; None if Keystone does not report it."""
    found = owner.get('domain')
    return None if found is None else _text(found['id'])


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(value)
    return value


def _seconds(date: str) -> float:
    timestamp = datetime.datetime.fromisoformat(date)
    return (timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=datetime.UTC)).timestamp()
