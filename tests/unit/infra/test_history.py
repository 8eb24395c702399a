"""One request's story, from logs and executions."""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path
from typing import Any

from infra import history

ARN = 'arn:aws:states:us-east-1:123456789012:execution:cinderless-create_volume:create-1-2'


def at(second: int) -> datetime.datetime:
    return datetime.datetime(2026, 11, 22, 5, 0, second, tzinfo=datetime.UTC)


class States:
    """A Step Functions client that knows one execution."""

    class exceptions:  # noqa: N801 - as boto3 names it
        class ExecutionDoesNotExist(Exception): ...

    def __init__(self, known: bool = True) -> None:
        self.known = known

    def get_paginator(self, name: str) -> States:
        assert name == 'get_execution_history'
        return self

    def paginate(self, **asked: str) -> list[dict[str, Any]]:
        assert asked == {'executionArn': ARN}
        if not self.known:
            raise self.exceptions.ExecutionDoesNotExist
        return [
            {
                'events': [
                    {'timestamp': at(3), 'type': 'ExecutionStarted'},
                    {'timestamp': at(3), 'type': 'TaskStateEntered', 'stateEnteredEventDetails': {'name': 'Provision'}},
                    {'timestamp': at(4), 'type': 'LambdaFunctionScheduled'},
                ]
            },
            {
                'events': [
                    {
                        'timestamp': at(5),
                        'type': 'LambdaFunctionFailed',
                        'lambdaFunctionFailedEventDetails': {'error': 'BackendFull', 'cause': 'no space'},
                    },
                ]
            },
        ]


def line(second: int, message: str, **facts: str) -> dict[str, Any]:
    return {'timestamp': f'2026-11-22T05:00:0{second}.000Z', 'level': 'INFO', 'message': message, **facts}


def test_logs_and_executions_make_one_story_oldest_first() -> None:
    lines = [
        line(6, 'given up', function='reconcile', level='ERROR'),
        line(2, f'create of volume v started as {ARN}', function='start_workflow'),
        line(1, 'POST /v3/p/volumes answered 202', function='api'),
        {'_aws': {'Timestamp': 1}, 'Stack': 'mine', 'request_id': 'req-1', 'Operations': 1},  # a metric
    ]
    told = [(event.who, event.what.split(' started as')[0]) for event in history.story(lines, States())]
    assert told == [
        ('api', 'POST /v3/p/volumes answered 202'),
        ('start_workflow', 'create of volume v'),
        ('create_volume', 'ExecutionStarted'),
        ('create_volume', 'enters Provision'),
        ('create_volume', 'LambdaFunctionFailed error=BackendFull cause=no space'),
        ('reconcile', 'ERROR given up'),
    ]


def test_files_are_searched_for_an_id_rotated_ones_first(tmp_path: Path) -> None:
    for number, (name, ids) in enumerate({'functions.jsonl.1': ('1', '2'), 'functions.jsonl': ('2', '3')}.items()):
        lines = [json.dumps(line(number, f'x of {name}', request_id=f'req-{id}', id=f'volume-{id}')) for id in ids]
        (tmp_path / name).write_text('\n'.join([*lines, '{"cut off']) + '\n')
        os.utime(tmp_path / name, (number, number))
    for id in ('req-2', 'volume-2'):
        found = history.from_files(id, tmp_path)
        assert [each['message'] for each in found] == ['x of functions.jsonl.1', 'x of functions.jsonl']


def test_a_line_concerns_an_id_in_its_message() -> None:
    assert history.concerns(line(1, 'backup of volume-1 begins', id='backup-1'), 'volume-1')
    assert not history.concerns(line(1, 'backup begins', id='backup-1'), 'volume-1')


def test_an_execution_that_is_no_longer_known_has_no_events() -> None:
    lines = [line(2, f'create of volume v started as {ARN}', function='start_workflow')]
    states = States(known=False)
    assert [event.who for event in history.story(lines, states)] == ['start_workflow']
    assert [event.who for event in history.story(lines, None)] == ['start_workflow']


def test_an_execution_is_found_by_its_arn_alone() -> None:
    assert [event.who for event in history.story([], States(), [ARN])] == ['create_volume'] * 3


class Logs:
    """CloudWatch Logs with one line in one group."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []

    def get_paginator(self, name: str) -> Logs:
        assert name == 'filter_log_events'
        return self

    def paginate(self, **asked: Any) -> list[dict[str, Any]]:
        self.requests.append(asked)
        found = asked['logGroupName'].endswith('-api')
        return [{'events': [{'message': json.dumps(line(1, 'hello'))}] if found else []}]


def test_cloudwatch_is_queried_for_each_function() -> None:
    logs = Logs()
    assert [found['message'] for found in history.from_cloudwatch('req-1', 'mine', 1, logs)] == ['hello']
    assert {asked['logGroupName'] for asked in logs.requests} == {
        f'/aws/lambda/mine-{function}' for function in history.FUNCTIONS
    }
    fields = '$.request_id = "req-1" || $.id = "req-1" || $.execution = "req-1"'
    assert logs.requests[0]['filterPattern'] == f'{{ {fields} || $.message = "*req-1*" }}'
