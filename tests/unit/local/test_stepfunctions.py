"""moto's interpreter with our patches. A patch that moto outgrew fails here."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from moto.stepfunctions.parser import utils
from moto.stepfunctions.parser.asl.component.common.path import result_path
from moto.stepfunctions.parser.asl.component.state.exec.state_task import lambda_eval_utils
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser
from moto.stepfunctions.parser.asl.utils import boto_client, json_path

from local import backends, lambda_backend, stepfunctions
from local.calls import Call
from local.functions import MAX_REQUEST
from local.stepfunctions import MAX_PAYLOAD
from tests.unit.local.conftest import Clients

WORKER = 'arn:aws:lambda:us-east-1:123456789012:function:worker'

Json = dict[str, Any]


def worker(event: Json, context: Any) -> Any:
    return _VERBS[event['verb']](event)


class NoValidBackend(Exception):
    """A business error."""


def _fail(event: Json) -> None:
    raise NoValidBackend('none is left')


_CALLS: list[str] = []


def _fail_first(event: Json) -> str:
    _CALLS.append(event['name'])
    if _CALLS.count(event['name']) < 3:
        raise NoValidBackend('not yet')
    return 'done'


_VERBS: dict[str, Any] = {
    'echo': lambda event: event['text'],
    'large': lambda event: 'x' * MAX_PAYLOAD,
    'fail': _fail,
    'fail_first': _fail_first,
}


def task(verb: str, **facts: Any) -> Json:
    base = {
        'Type': 'Task',
        'Resource': 'arn:aws:states:::lambda:invoke',
        'Parameters': {
            'FunctionName': WORKER,
            'Payload': {'verb': verb, 'text.$': '$.text', 'name.$': '$$.Execution.Name'},
        },
        'ResultSelector': {'echoed.$': '$.Payload'},
        'ResultPath': '$.result',
        'TimeoutSeconds': 30,
    }
    return base | ({} if 'Next' in facts else {'End': True}) | facts


def machine(**states: Json) -> Json:
    return {'StartAt': next(iter(states)), 'States': states}


class Machines:
    def __init__(self, clients: Clients) -> None:
        self.states = clients('stepfunctions')
        self.role = clients('iam').create_role(RoleName='r', AssumeRolePolicyDocument='{}')['Role']['Arn']
        clients('lambda').create_function(
            FunctionName='worker',
            Role=self.role,
            Runtime='python3.13',
            Handler=f'{__name__}.worker',
            Code={'ZipFile': b'x'},
            Timeout=30,
        )
        self.count = 0

    def create(self, definition: Json) -> str:
        self.count += 1
        created = self.states.create_state_machine(
            name=f'm{self.count}', definition=json.dumps(definition), roleArn=self.role
        )
        return str(created['stateMachineArn'])

    def start(self, arn: str, text: str = 'hello') -> str:
        self.count += 1
        started = self.states.start_execution(
            stateMachineArn=arn, name=f'e{self.count}', input=json.dumps({'text': text})
        )
        return str(started['executionArn'])

    def end(self, execution: str) -> Json:
        deadline = time.monotonic() + 30
        while True:
            found: Json = self.states.describe_execution(executionArn=execution)
            if found['status'] != 'RUNNING':
                return found
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def run(self, definition: Json, text: str = 'hello') -> Json:
        return self.end(self.start(self.create(definition), text))


@pytest.fixture
def machines(aws: Clients) -> Machines:
    return Machines(aws)


def test_the_patches_are_in_place() -> None:
    stepfunctions.install()
    stepfunctions.install()
    assert isinstance(vars(json_path)['parse'], functools._lru_cache_wrapper)
    assert isinstance(vars(result_path)['parse'], functools._lru_cache_wrapper)
    assert isinstance(AmazonStateLanguageParser.parse, functools._lru_cache_wrapper)
    assert lambda_eval_utils.boto_client_for is boto_client.boto_client_for
    assert boto_client.boto_client_for('us-east-1', 'sqs') is boto_client.boto_client_for('us-east-1', 'sqs')
    assert isinstance(utils.TMP_THREADS, list)


def test_tasks_run_handlers_and_shape_results(machines: Machines) -> None:
    ended = machines.run(machine(First=task('echo', Next='Second'), Second=task('echo', ResultPath='$.second')))
    assert ended['status'] == 'SUCCEEDED'
    assert json.loads(ended['output']) == {
        'text': 'hello',
        'result': {'echoed': 'hello'},
        'second': {'echoed': 'hello'},
    }


def test_executions_of_one_machine_do_not_see_each_other(machines: Machines) -> None:
    """The parsed machine is shared; what an execution knows is not."""
    arn = machines.create(machine(First=task('echo', Next='Second'), Second=task('echo', ResultPath='$.second')))
    started = {text: machines.start(arn, text) for text in map(str, range(12))}
    for text, execution in started.items():
        output = json.loads(machines.end(execution)['output'])
        assert (output['result'], output['second']) == ({'echoed': text}, {'echoed': text})


def test_retries_are_counted_per_execution(machines: Machines) -> None:
    retry = [{'ErrorEquals': ['NoValidBackend'], 'IntervalSeconds': 1, 'MaxAttempts': 2, 'BackoffRate': 1.0}]
    arn = machines.create(machine(Only=task('fail_first', Retry=retry)))
    for execution in [machines.start(arn) for _ in range(3)]:
        assert machines.end(execution)['status'] == 'SUCCEEDED'


def test_maps_and_branches_share_a_machine_safely(machines: Machines) -> None:
    item = machine(Each=task('echo', ResultPath='$'))
    each = {'Type': 'Map', 'ItemsPath': '$.items', 'MaxConcurrency': 3, 'ItemProcessor': item, 'End': True}
    start = {'Type': 'Pass', 'Parameters': {'items': [{'text': str(number)} for number in range(6)]}, 'Next': 'Each'}
    arn = machines.create(machine(Start=start, Each=each))
    for execution in [machines.start(arn) for _ in range(3)]:
        assert json.loads(machines.end(execution)['output']) == [{'echoed': str(number)} for number in range(6)]


def test_a_task_makes_no_request_of_the_sdk(machines: Machines) -> None:
    seen: list[Call] = []
    backends.on_call(seen.append)
    assert machines.run(machine(Only=task('echo')))['status'] == 'SUCCEEDED'
    assert 'states' in {call.service for call in seen}
    assert 'lambda' not in {call.service for call in seen}


@pytest.mark.parametrize('event', [{'verb': 'echo', 'text': 'ü'}, {'verb': 'echo', 'text': None}, {'verb': 'fail'}])
def test_a_task_is_answered_as_by_invoke(machines: Machines, aws: Clients, event: Json) -> None:
    parameters = {'FunctionName': WORKER, 'Payload': json.dumps(event).encode()}
    ours, theirs = lambda_backend.answer(parameters), aws('lambda').invoke(**parameters)
    assert ours is not None
    theirs['Payload'] = json.loads(theirs['Payload'].read())
    del theirs['ResponseMetadata']
    for answer in (ours, theirs):
        if 'FunctionError' in answer:
            assert answer['Payload'].pop('requestId')
    assert ours == theirs


def test_moto_answers_what_is_not_a_plain_invoke(machines: Machines) -> None:
    plain = {'FunctionName': WORKER, 'Payload': b'{}'}
    for other in (
        {'InvocationType': 'Event'},
        {'FunctionName': 'unknown'},
        {'Payload': b'"%s"' % (b'x' * MAX_REQUEST)},
        {'Payload': None},
    ):
        assert lambda_backend.answer({**plain, **other}) is None
    form = {'Parameters': {'FunctionName': WORKER.replace('worker', 'unknown'), 'Payload': {}}}
    ended = machines.run(machine(Only=task('echo') | form))
    assert (ended['status'], ended['error']) == ('FAILED', 'Lambda.ResourceNotFoundException')


def test_a_function_may_be_the_resource_itself(machines: Machines) -> None:
    form = {'Resource': WORKER, 'Parameters': {'verb': 'echo', 'text.$': '$.text'}, 'ResultSelector': {'echoed.$': '$'}}
    ended = machines.run(machine(Only=task('echo') | form))
    assert json.loads(ended['output'])['result'] == {'echoed': 'hello'}


CATCH_ALL = [{'ErrorEquals': ['States.ALL'], 'ResultPath': '$.error', 'Next': 'Caught'}]
CAUGHT = {'Type': 'Pass', 'End': True}


def test_an_error_is_caught_by_its_class(machines: Machines) -> None:
    catch = [{'ErrorEquals': ['NoValidBackend'], 'ResultPath': '$.error', 'Next': 'Caught'}]
    ended = machines.run(machine(Only=task('fail', Catch=catch), Caught=CAUGHT))
    error = json.loads(ended['output'])['error']
    assert error['Error'] == 'NoValidBackend'
    assert json.loads(error['Cause'])['errorMessage'] == 'none is left'


@pytest.mark.parametrize(
    'form', [{}, {'Resource': WORKER, 'Parameters': {'verb': 'large'}, 'ResultSelector': {'echoed.$': '$'}}]
)
def test_a_result_above_the_limit_fails_and_all_does_not_catch_it(machines: Machines, form: Json) -> None:
    ended = machines.run(machine(Only=task('large', Catch=CATCH_ALL) | form, Caught=CAUGHT))
    assert (ended['status'], ended['error']) == ('FAILED', 'States.DataLimitExceeded')


def test_all_catches_everything_else(machines: Machines) -> None:
    assert machines.run(machine(Only=task('fail', Catch=CATCH_ALL), Caught=CAUGHT))['status'] == 'SUCCEEDED'


@pytest.mark.parametrize(
    ('definition', 'status', 'error'),
    [
        (machine(Only=task('echo')), 'SUCCEEDED', None),
        (machine(Only=task('fail')), 'FAILED', 'NoValidBackend'),
        ({**machine(Only={'Type': 'Wait', 'Seconds': 5, 'End': True}), 'TimeoutSeconds': 1}, 'TIMED_OUT', None),
    ],
)
def test_every_end_is_told(machines: Machines, definition: Json, status: str, error: str | None) -> None:
    told: list[Json] = []
    heard = threading.Event()
    stepfunctions.on_end(lambda detail: (told.append(detail), heard.set()))
    execution = machines.start(machines.create(definition))
    assert heard.wait(20)
    assert [(detail['executionArn'], detail['status'], detail['error']) for detail in told] == [
        (execution, status, error)
    ]
    assert json.loads(told[0]['input']) == {'text': 'hello'}
    assert told[0]['stateMachineArn'].endswith(':stateMachine:m1')
    assert told[0]['startDate'] <= told[0]['stopDate']


def test_a_stopped_execution_is_told_as_aborted(machines: Machines) -> None:
    told: list[Json] = []
    heard = threading.Event()
    stepfunctions.on_end(lambda detail: (told.append(detail), heard.set()))
    execution = machines.start(machines.create(machine(Only={'Type': 'Wait', 'Seconds': 30, 'End': True})))
    machines.states.stop_execution(executionArn=execution, cause='enough')
    assert heard.wait(20)
    assert [detail['status'] for detail in told] == ['ABORTED']


def test_ended_threads_are_not_kept(machines: Machines) -> None:
    arn = machines.create(machine(Only=task('echo')))
    for _ in range(5):
        machines.end(machines.start(arn))
    assert len(utils.TMP_THREADS) < 5


def test_history_tells_each_state(machines: Machines) -> None:
    execution = machines.start(machines.create(machine(First=task('echo', Next='Second'), Second=task('echo'))))
    machines.end(execution)
    events = machines.states.get_execution_history(executionArn=execution)['events']
    entered = [event['stateEnteredEventDetails']['name'] for event in events if 'stateEnteredEventDetails' in event]
    assert entered == ['First', 'Second']


def test_a_definition_without_errors_is_not_parsed_again(tmp_path: Path) -> None:
    """In the next process: the file remembers it. One with an error is refused at every boot."""
    program = f"""
from pathlib import Path
from local import backends
from moto.stepfunctions.parser.asl.parse.asl_parser import AmazonStateLanguageParser as Parser
backends.start(Path({str(tmp_path / 'valid')!r}))
import boto3
parse, parsed = Parser.parse, []
Parser.parse = staticmethod(lambda definition: (parsed.append(definition), parse(definition))[1])
client = boto3.client('stepfunctions', region_name='us-east-1')
role = 'arn:aws:iam::123456789012:role/r'
good = '{{"StartAt": "A", "States": {{"A": {{"Type": "Succeed"}}}}}}'
client.create_state_machine(name='a', definition=good, roleArn=role)
try:
    client.create_state_machine(name='b', definition='{{"StartAt": "A"', roleArn=role)
except Exception:
    print(len(parsed))
"""
    said = [
        subprocess.run([sys.executable, '-c', program], capture_output=True, text=True, timeout=120, check=True).stdout
        for _ in range(2)
    ]
    assert said == ['2\n', '1\n']
