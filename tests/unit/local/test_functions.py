"""Lambda in this process."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from typing import Any

import pytest
from chalice import Chalice

from local import functions
from local.functions import Function

FUNCTION = Function('cloud-worker', 'arn:worker', f'{__name__}.handler', 5, 512, {'TABLE_PREFIX': 'cloud'})

RELEASE = threading.Event()


class NoValidBackend(Exception):
    """A business error: its class name is what a machine catches."""


def handler(event: dict[str, Any], context: functions.Context) -> Any:
    return _VERBS[event.get('verb', 'describe')](event, context)


def _describe(event: dict[str, Any], context: functions.Context) -> dict[str, Any]:
    assert 0 < context.get_remaining_time_in_millis() <= 5000
    return {'name': context.function_name, 'memory': context.memory_limit_in_mb, 'id': context.aws_request_id}


def _fail(event: dict[str, Any], context: functions.Context) -> None:
    raise NoValidBackend('no pool is left')


def _exit(event: dict[str, Any], context: functions.Context) -> None:
    raise SystemExit(1)


_VERBS: dict[str, Any] = {
    'describe': _describe,
    'fail': _fail,
    'exit': _exit,
    'wait': lambda event, context: RELEASE.wait(10),
    'bytes': lambda event, context: b'not json',
    'large': lambda event, context: 'x' * functions.MAX_RESPONSE,
}


def test_a_handler_gets_event_and_context() -> None:
    outcome = functions.run(FUNCTION, {})
    assert outcome.error is None
    assert outcome.result['name'] == 'cloud-worker'
    assert outcome.result['memory'] == '512'
    assert json.loads(outcome.payload()) == outcome.result


def test_an_exception_becomes_lambdas_description() -> None:
    outcome = functions.run(FUNCTION, {'verb': 'fail'})
    assert outcome.error == 'Unhandled'
    assert outcome.result['errorType'] == 'NoValidBackend'
    assert outcome.result['errorMessage'] == 'no pool is left'
    assert any('_fail' in line for line in outcome.result['stackTrace'])


def test_a_handler_that_exits_fails_only_itself() -> None:
    assert functions.run(FUNCTION, {'verb': 'exit'}).result['errorType'] == 'SystemExit'


def test_a_handler_that_outlives_its_timeout_is_answered_for() -> None:
    try:
        outcome = functions.run(dataclasses.replace(FUNCTION, timeout=0), {'verb': 'wait'})
    finally:
        RELEASE.set()
    assert outcome.timed_out
    assert outcome.result['errorType'] == 'Sandbox.Timedout'
    assert 'Task timed out after 0.00 seconds' in outcome.result['errorMessage']


def test_what_json_cannot_hold_is_refused() -> None:
    assert functions.run(FUNCTION, {'verb': 'bytes'}).result['errorType'] == 'Runtime.MarshalError'


def test_too_large_a_response_is_refused() -> None:
    assert functions.run(FUNCTION, {'verb': 'large'}).result['errorType'] == 'Function.ResponseSizeTooLarge'


def test_a_handler_that_is_missing_is_an_error_of_the_invoke() -> None:
    outcome = functions.run(dataclasses.replace(FUNCTION, handler=f'{__name__}.unknown'), {})
    assert outcome.result['errorType'] == 'AttributeError'


def test_environments_are_laid_over_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, 'environ', {})
    functions.set_environment([FUNCTION, dataclasses.replace(FUNCTION, environment={'OTHER': '1'})])
    assert os.environ == {'TABLE_PREFIX': 'cloud', 'OTHER': '1', **functions.ENVIRONMENT}


def test_environments_that_differ_are_refused() -> None:
    other = dataclasses.replace(FUNCTION, name='cloud-other', environment={'TABLE_PREFIX': 'elsewhere'})
    with pytest.raises(ValueError, match='cloud-other: TABLE_PREFIX'):
        functions.set_environment([FUNCTION, other])


app = Chalice(app_name='threads')
BARRIER = threading.Barrier(2)


@app.route('/{name}')
def name(name: str) -> dict[str, Any]:
    BARRIER.wait(10)
    return {'name': app.current_request.uri_params['name']}


def test_two_requests_at_once_do_not_see_each_other() -> None:
    function = dataclasses.replace(FUNCTION, handler=f'{__name__}.app')
    answers: dict[str, Any] = {}

    def ask(name: str) -> None:
        context = {'httpMethod': 'GET', 'resourcePath': '/{name}', 'identity': {}}
        event = {'requestContext': context, 'pathParameters': {'name': name}, 'headers': {}, 'body': None}
        event |= {'multiValueQueryStringParameters': None, 'stageVariables': None, 'isBase64Encoded': False}
        answers[name] = functions.run(function, event).result['body']

    threads = [threading.Thread(target=ask, args=(name,)) for name in ('one', 'two')]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {'one': '{"name":"one"}', 'two': '{"name":"two"}'}
