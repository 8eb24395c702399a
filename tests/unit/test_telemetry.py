"""What a function logs and measures."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from typing import Any

import pytest

from chalicelib import aws, telemetry

TRACE = 'Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1'


def line(message: str = 'hello', **facts: Any) -> dict[str, Any]:
    record = logging.LogRecord('package', logging.INFO, 'file', 1, message, (), facts.get('exc_info'))
    return dict(json.loads(telemetry.JsonFormatter().format(record)))


def test_a_line_is_json_with_what_the_work_is_about() -> None:
    with telemetry.bind_context(request_id='req-1', function='api', project_id=None, token='never'):
        told = line('one\ntwo')
    assert told['message'] == 'one\ntwo'
    assert (told['level'], told['logger'], told['request_id'], told['function']) == ('INFO', 'package', 'req-1', 'api')
    assert {'project_id', 'token'}.isdisjoint(told)
    assert told['timestamp'].endswith('Z')
    assert 'request_id' not in line()


def test_facts_add_up_and_end_with_their_block() -> None:
    with telemetry.bind_context(request_id='req-1'):
        with telemetry.bind_context(task='provision', request_id='req-2'):
            assert line().items() >= {'request_id': 'req-2', 'task': 'provision'}.items()
        assert line()['request_id'] == 'req-1'
        assert 'task' not in line()


def test_an_error_has_its_class_and_trace() -> None:
    try:
        raise KeyError('gone')
    except KeyError:
        told = line(exc_info=sys.exc_info())
    assert told['error'] == 'KeyError'
    assert 'test_telemetry.py' in told['trace']


def test_a_payload_tells_ids_and_nothing_else() -> None:
    payload = {'id': 'v', 'request_id': 'req-1', 'connector': {'secret': 'x'}, 'error': 'e', 'action': None}
    assert telemetry.context_from_event(payload) == {'id': 'v', 'request_id': 'req-1'}


def test_a_metric_is_one_line_in_the_embedded_format(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv('AWS_LAMBDA_FUNCTION_NAME', 'stack-volume_worker')
    monkeypatch.setenv('TABLE_PREFIX', 'stack')
    telemetry.count('CandidatesTried', 2, host='a')
    told = json.loads(capsys.readouterr().out)
    (metric,) = told['_aws']['CloudWatchMetrics']
    assert metric['Namespace'] == 'Cinderless'
    assert metric['Dimensions'] == [['Stack']]
    assert told[metric['Dimensions'][0][0]] == 'stack'
    assert told[metric['Metrics'][0]['Name']] == 2
    assert told['host'] == 'a'


def test_outside_of_a_function_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.count('CandidatesTried')
    assert capsys.readouterr().out == ''


def test_work_goes_on_in_the_trace_that_its_message_brought(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('_X_AMZN_TRACE_ID', TRACE)
    assert telemetry.trace_header() == TRACE
    with telemetry.resume_trace('Root=other'):
        assert telemetry.trace_header() == 'Root=other'
    monkeypatch.delenv('_X_AMZN_TRACE_ID')
    assert telemetry.trace_header() == ''


class Client:
    """Records its calls."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def send_message(self, **facts: Any) -> None:
        self.calls.append(facts)

    def start_execution(self, **facts: Any) -> dict[str, str]:
        self.calls.append(facts)
        return {'executionArn': 'arn'}


def test_the_trace_goes_with_the_message_and_the_execution(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client()
    monkeypatch.setattr(aws, 'client', lambda service: client)
    monkeypatch.setenv('_X_AMZN_TRACE_ID', TRACE)
    aws.enqueue({})
    aws.start_workflow('create_volume', 'name', {})
    sent, started = client.calls
    assert sent['MessageSystemAttributes']['AWSTraceHeader'] == {'StringValue': TRACE, 'DataType': 'String'}
    assert started['traceHeader'] == TRACE
    monkeypatch.delenv('_X_AMZN_TRACE_ID')
    aws.enqueue({})
    aws.start_workflow('create_volume', 'name', {})
    assert client.calls[2]['MessageSystemAttributes'] == {}
    assert 'traceHeader' not in client.calls[3]


SCRIPT = """
import sys
from chalicelib import telemetry
class Driver:
    name = 'appliance'
    def create_volume(self, size): return size
with telemetry.segment('provision', id='v'):
    driver = telemetry.Traced(Driver(), 'driver')
    assert (driver.name, driver.create_volume(3)) == ('appliance', 3)
print('aws_xray_sdk' in sys.modules)
"""


def run(environment: dict[str, str]) -> str:
    told = {**os.environ, 'AWS_XRAY_CONTEXT_MISSING': 'IGNORE_ERROR', **environment}
    told.pop('AWS_XRAY_SDK_ENABLED', None)
    return subprocess.run([sys.executable, '-c', SCRIPT], env=told, capture_output=True, text=True, check=True).stdout


def test_the_sdk_of_x_ray_is_not_even_imported_where_nothing_is_sampled() -> None:
    assert run({'_X_AMZN_TRACE_ID': TRACE.replace('Sampled=1', 'Sampled=0')}) == 'False\n'


def test_a_sampled_task_sends_its_parts_under_the_trace() -> None:
    """To where X-Ray's daemon listens in Lambda: UDP, a JSON header, then the part."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(('127.0.0.1', 0))
        daemon.settimeout(20)
        address = f'127.0.0.1:{daemon.getsockname()[1]}'
        told = {'_X_AMZN_TRACE_ID': TRACE, 'LAMBDA_TASK_ROOT': '/var/task', 'AWS_XRAY_DAEMON_ADDRESS': address}
        assert run(told) == 'True\n'
        parts = [json.loads(daemon.recv(65536).split(b'\n', 1)[1]) for _ in range(2)]
    assert {part['name'] for part in parts} == {'driver.create_volume', 'provision'}
    assert {part['trace_id'] for part in parts} == {'1-67891233-abcdef012345678912345678'}
