from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest
import urllib3
from urllib3.exceptions import ConnectTimeoutError, ProtocolError, ReadTimeoutError, SSLError

from appliance.keys import Keys
from appliance.signing import Verifier
from chalicelib.drivers.appliance_client import ATTEMPT, BUDGET, Client, Refused
from chalicelib.errors import BackendMisconfigured, BackendUnavailable

SECRET = 'x' * 40


class Wire:
    """What the connection pool would do; ``outcomes`` are answers, or exceptions to raise."""

    host, port = '192.0.2.10', 18700

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.sent: list[dict[str, Any]] = []
        self.seconds = 0.0

    def request(self, method: str, path: str, **more: Any) -> urllib3.HTTPResponse:
        self.sent.append({'method': method, 'path': path, **more})
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        status, document = outcome
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return urllib3.HTTPResponse(body=io.BytesIO(body), status=status, preload_content=False)


def client(wire: Wire, secret: str = SECRET) -> Client:
    made = Client('b', 'https://192.0.2.10:18700', 'ab' * 32, secret)
    made._pool = wire  # type: ignore[assignment]
    return made


OK = (200, {'status': 'ok'})
LOST = [SSLError('EOF'), ProtocolError('gone'), ReadTimeoutError(None, '/', 'slow'), ConnectTimeoutError()]  # type: ignore[arg-type]


def test_the_agent_accepts_our_signature() -> None:
    wire = Wire(OK)
    client(wire).request('PUT', '/v1/x', {'a': 1})
    sent = wire.sent[0]
    Verifier(Keys(SECRET.encode()).requests).check('PUT', '/v1/x', sent['body'], sent['headers']['Authorization'])
    assert json.loads(sent['body']) == {'a': 1}


def test_a_line_end_is_no_part_of_the_secret() -> None:
    plain, from_file = client(Wire()), client(Wire(), SECRET + '\n')
    assert plain.account('volume-1', 'e1') == from_file.account('volume-1', 'e1')


@pytest.mark.parametrize('name', ['volume-1', 'snapshot-1'])
def test_accounts_are_the_agent_s(name: str) -> None:
    assert client(Wire()).account(name, 'e1') == tuple(Keys(SECRET.encode()).account(name, 'e1'))


@pytest.mark.parametrize('lost', LOST)
def test_a_lost_answer_is_asked_for_once_more_signed_anew(lost: Exception) -> None:
    wire = Wire(lost, OK)
    assert client(wire).request('PUT', '/v1/x', {'a': 1}) == {'status': 'ok'}
    first, second = (sent['headers']['Authorization'] for sent in wire.sent)
    assert first != second


@pytest.mark.parametrize('lost', LOST)
def test_two_lost_answers_are_enough(lost: Exception) -> None:
    wire = Wire(lost, lost, OK)
    with pytest.raises(BackendUnavailable, match=r'192\.0\.2\.10:18700'):
        client(wire).request('GET', '/v1/x')
    assert len(wire.sent) == 2


def test_every_wait_is_bounded_and_all_of_them_fit_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, 'monotonic', lambda: clock[0])

    class Slow(Wire):
        def request(self, method: str, path: str, **more: Any) -> urllib3.HTTPResponse:
            clock[0] += more['timeout'].read_timeout
            return super().request(method, path, **more)

    wire = Slow(LOST[2], LOST[2])
    with pytest.raises(BackendUnavailable):
        client(wire).request('GET', '/v1/x')
    reads = [sent['timeout'].read_timeout for sent in wire.sent]
    assert reads == [ATTEMPT, BUDGET - ATTEMPT]
    assert clock[0] - 100.0 <= BUDGET < 27
    assert all(sent['retries'] is False for sent in wire.sent)


def test_no_second_attempt_without_time_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, 'monotonic', lambda: clock[0])

    class Slow(Wire):
        def request(self, method: str, path: str, **more: Any) -> urllib3.HTTPResponse:
            clock[0] = BUDGET - 1
            return super().request(method, path, **more)

    wire = Slow(LOST[1], OK)
    with pytest.raises(BackendUnavailable):
        client(wire).request('GET', '/v1/x')
    assert len(wire.sent) == 1


def test_another_certificate_is_not_tried_again() -> None:
    wire = Wire(SSLError('Fingerprints did not match. Expected "ab"'), OK)
    with pytest.raises(BackendMisconfigured, match='pinned'):
        client(wire).request('GET', '/v1/x')
    assert len(wire.sent) == 1


def test_a_refusal_is_final_and_keeps_its_reason() -> None:
    wire = Wire((409, {'error': {'code': 'busy', 'message': 'in use'}}), OK)
    with pytest.raises(Refused, match='in use') as refused:
        client(wire).request('GET', '/v1/x')
    assert (refused.value.status, refused.value.code, len(wire.sent)) == (409, 'busy', 1)


@pytest.mark.parametrize('answer', [(200, b'<html>'), (200, []), (502, b''), (404, {'error': 'x'}), (500, {'x': 1})])
def test_what_is_no_answer_of_the_agent_is_unintelligible(answer: Any) -> None:
    wire = Wire(answer, answer)
    with pytest.raises(BackendUnavailable, match='without JSON of the agent'):
        client(wire).request('GET', '/v1/x')


def test_connections_are_shared_by_all_drivers_of_one_agent() -> None:
    one, two = (Client('b', 'https://192.0.2.10:18700', 'cd' * 32, SECRET) for _ in range(2))
    other = Client('b', 'https://192.0.2.10:18700', 'ef' * 32, SECRET)
    assert one._pool is two._pool
    assert other._pool is not one._pool


def test_no_secret_in_any_message() -> None:
    for outcome in (*LOST, (500, b'')):
        with pytest.raises(BackendUnavailable) as error:
            client(Wire(outcome, outcome)).request('PUT', '/v1/x', {'a': 1})
        assert SECRET not in error.value.message
