"""ONTAP's REST API: requests within a verb's time budget, pages, jobs, errors.

Every request may be repeated: a create whose answer was lost is refused as existing the next time, and callers treat
that as success. So a request without an intelligible answer is sent again, as long as the verb has time.
"""

from __future__ import annotations

import contextlib
import json
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from typing import Any

import urllib3

from chalicelib import bounded_http, time_left
from chalicelib.drivers.pinning import PinnedClient
from chalicelib.errors import BackendUnavailable
from chalicelib.jitter import jittered

#: A record in ONTAP's form, or the body of a request.
Record = dict[str, Any]

#: Seconds: for one attempt, and for all requests of a verb that a client waits for.
ATTEMPT = 12.0
BUDGET = 24.0

#: Seconds before each retry of a request.
PAUSES = (0.2, 1.0)

#: Pages of one list, each of at most 10,000 records: a million LUNs.
MAX_PAGES = 100

#: Seconds that must be left for another attempt, and the longest pause between queries of a job.
_WORTHWHILE = 2.0
_POLL = 1.0

_UNAUTHORIZED, _FORBIDDEN, _ACCEPTED = 401, 403, 202
_RUNNING = ('queued', 'running', 'paused')


class Refused(Exception):
    """ONTAP refused the request. ``code`` as in NetApp's tables; ``target`` is the field concerned."""

    def __init__(self, status: int, code: str, message: str, target: str = '') -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.target = target


class Client(PinnedClient):
    """One SVM by one account, for one thread."""

    def __init__(self, backend: str, url: str, pinned: str, account: tuple[str, str], svm: str) -> None:
        super().__init__(backend, 'ONTAP', url, pinned, default_port=443)
        self._headers = {
            **urllib3.make_headers(basic_auth=':'.join(account)),
            'Accept': 'application/hal+json',
            'Content-Type': 'application/json',
        }
        self.svm = svm
        self._deadline: float | None = None

    @contextlib.contextmanager
    def budget(self, seconds: float) -> Iterator[None]:
        """Limit the total time of all requests within; a budget inside another one has no effect."""
        if self._deadline is not None:
            yield
            return
        self._deadline = time.monotonic() + time_left.at_most(seconds)
        try:
            yield
        finally:
            self._deadline = None

    def left(self) -> float:
        """Seconds left of the current budget, or of a new one."""
        return BUDGET if self._deadline is None else self._deadline - time.monotonic()

    def records(self, path: str, **query: str) -> list[Record]:
        """Return all records of a collection of the SVM that match the query, page by page."""
        return self.all_records(path, **{'svm.name': self.svm, **query})

    def all_records(self, path: str, **query: str) -> list[Record]:
        """Like ``records``, for objects outside an SVM."""
        found: list[Record] = []
        target = _target(path, query)
        with self.budget(BUDGET), self._translate_malformed():
            for _ in range(MAX_PAGES):
                page = self._send('GET', target)
                found += _records(page)
                following = page.get('_links', {}).get('next', {}).get('href')
                if not following:
                    return found
                target = str(following)
        raise self.unavailable(f'{self._address} answered an endless list')

    def first(self, path: str, **query: str) -> Record | None:
        """Return the first record that matches the query, or None."""
        return next(iter(self.records(path, **query)), None)

    def make(self, path: str, body: Record, **query: str) -> Record:
        """POST in the SVM; return the new record, or {} when a job made it."""
        return self.add(path, {'svm': {'name': self.svm}, **body}, **query)

    def add(self, path: str, body: Record, **query: str) -> Record:
        """Like ``make``, for parts of a record of the SVM."""
        answer = self._send('POST', _target(path, {'return_records': 'true', **query}), body)
        with self._translate_malformed():
            return next(iter(_records(answer)), {})

    def change(self, path: str, body: Record) -> None:
        self._send('PATCH', _target(path, {}), body)

    def remove(self, path: str, **query: str) -> None:
        self._send('DELETE', _target(path, query))

    def _send(self, method: str, target: str, body: Record | None = None) -> Record:
        with self.budget(BUDGET), self._translate_malformed():
            answer = self._persist(method, target, json.dumps(body) if body is not None else None)
            if 'job' in answer:
                self._await(str(answer['job']['uuid']))
            return answer

    def _persist(self, method: str, target: str, body: str | None) -> Record:
        for pause in map(jittered, PAUSES):
            try:
                return self._attempt(method, target, body)
            except BackendUnavailable:
                if self.left() < pause + _WORTHWHILE:
                    raise
                time.sleep(pause)
        return self._attempt(method, target, body)

    def _attempt(self, method: str, target: str, body: str | None) -> Record:
        seconds = min(ATTEMPT, self.left())
        if seconds <= 0:
            raise self.unavailable(f'{self._address} takes too long')
        answer = self._exchange(method, target, body, self._headers, seconds)
        return self._document(answer.status, answer.body)

    def _document(self, status: int, data: bytes) -> Record:
        """Return the answer's JSON. Raises Refused; a server error counts as no answer."""
        if status == _UNAUTHORIZED:
            raise self.misconfigured(f'{self._address} refuses the account: check username and password')
        try:
            document = bounded_http.parsed(data) if data else {}
            if 200 <= status < 300 and isinstance(document, dict):
                return document
            refused = _refusal(status, document['error'])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self.unavailable(f'{self._address} answered status {status} without JSON of ONTAP') from error
        if status == _FORBIDDEN:
            raise self.misconfigured(f'the account lacks a permission: {refused}')
        if status in (429, 502, 503, 504):
            raise self.unavailable(f'{self._address} is busy: {refused}')
        raise refused

    def _await(self, job: str) -> None:
        """Wait for a job. ONTAP deletes its record some minutes later: callers then check its effect."""
        pause = 0.05
        while True:
            try:
                found = self._persist(
                    'GET', _target(f'/cluster/jobs/{job}', {'fields': 'state,error,code,message'}), None
                )
            except Refused as refused:
                if refused.status == 404:
                    return
                raise
            if found.get('state') not in _RUNNING:
                break
            if self.left() < 2 * pause + _WORTHWHILE:
                raise self.unavailable(f'job {job} takes too long')
            time.sleep(jittered(pause))
            pause = min(2 * pause, _POLL)
        if found.get('state') != 'success':
            problem = found.get('error') or {'code': found.get('code', 0), 'message': found.get('message', 'failed')}
            raise _refusal(500, problem)

    @contextlib.contextmanager
    def _translate_malformed(self) -> Iterator[None]:
        """Treat an answer with a missing or malformed field as no answer."""
        try:
            yield
        except (KeyError, TypeError, AttributeError) as error:
            raise self.unavailable(f'{self._address} answers what is not ONTAP: {type(error).__name__}') from error


def _records(answer: Record) -> list[Record]:
    """Return the records of an answer. Raises TypeError."""
    found = answer.get('records', [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise TypeError('records')
    return found


def _refusal(status: int, problem: Mapping[str, Any]) -> Refused:
    return Refused(status, str(problem['code']), str(problem['message']), str(problem.get('target', '')))


def _target(path: str, query: Mapping[str, str]) -> str:
    """Quote all but commas, slashes, bars and stars, which have a meaning in ONTAP's queries."""
    text = urllib.parse.urlencode(query, safe='/,|*:')
    return f'/api{urllib.parse.quote(path, safe="/:")}' + (f'?{text}' if text else '')
