"""The commands of docs/how-to/troubleshoot.md for the AWS CLI, run against the local cloud."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from cinderless import program
from tests.system.cloud import Cloud

#: Seconds for automatic work of the service.
PATIENCE = 30


class Cli:
    """The real program, with nothing but keys in its environment."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        self.cloud, self._out = cloud, folder / 'out.json'
        self._told = {
            'PATH': os.environ['PATH'],
            'HOME': str(folder),
            'AWS_ACCESS_KEY_ID': cloud.ready['access_key'],
            'AWS_SECRET_ACCESS_KEY': cloud.ready['secret_key'],
            'AWS_DEFAULT_REGION': cloud.ready['region'],
        }

    def __call__(self, *words: str) -> Any:
        command = [str(Path(sys.executable).with_name('aws')), '--endpoint-url', self.cloud.ready['aws'], *words]
        done = subprocess.run(command, env=self._told, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else {}

    def invoke(self, function: str, event: Any = None) -> tuple[dict[str, Any], Any]:
        """Return the CLI's output of an invoke, and the function's answer."""
        payload = ['--payload', json.dumps(event)] if event is not None else []
        name = self.cloud.ready['functions'][function]
        said = self('lambda', 'invoke', '--function-name', name, *payload, str(self._out))
        return said, json.loads(self._out.read_text() or 'null')


class Api:
    """The member of demo, over bare HTTP."""

    def __init__(self, cloud: Cloud) -> None:
        self._pool, self._url = urllib3.PoolManager(), cloud.ready['volume']
        user = {'name': 'demo', 'domain': {'name': 'Default'}, 'password': 'demo'}
        scope = {'project': {'name': 'demo', 'domain': {'name': 'Default'}}}
        body = {'auth': {'identity': {'methods': ['password'], 'password': {'user': user}}, 'scope': scope}}
        answer = self._pool.request('POST', f'{cloud.ready["identity"]}/auth/tokens', json=body)
        self.token = answer.headers['x-subject-token']
        self.project = answer.json()['token']['project']['id']

    def call(self, method: str, path: str, body: Any = None, at: str = '3.0') -> tuple[Any, str]:
        """The answer's body, and its request id."""
        headers = {'X-Auth-Token': self.token, 'OpenStack-API-Version': f'volume {at}'}
        answer = self._pool.request(method, f'{self._url}/{self.project}{path}', json=body, headers=headers)
        assert answer.status < 300, answer.data
        return (answer.json() if answer.data else None), answer.headers['x-openstack-request-id']

    def status(self, id: str) -> str:
        return str(self.call('GET', f'/volumes/{id}')[0]['volume']['status'])

    def ids(self) -> set[str]:
        """Of the project's volumes."""
        return {volume['id'] for volume in self.call('GET', '/volumes')[0]['volumes']}


def until(true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found


@pytest.fixture
def cli(cloud: Cloud, tmp_path: Path) -> Cli:
    return Cli(cloud, tmp_path)


@pytest.fixture
def api(cloud: Cloud) -> Api:
    return Api(cloud)


@pytest.fixture
def volume(api: Api) -> Iterator[tuple[str, str]]:
    """(id, request id) of a volume that is available."""
    body, request = api.call('POST', '/volumes', {'volume': {'size': 1, 'name': 'cli'}})
    id = body['volume']['id']
    until(lambda: api.status(id) == 'available')
    yield id, request
    api.call('DELETE', f'/volumes/{id}')
    until(lambda: id not in api.ids())


def test_the_commands_of_the_readme(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unchanged, except for the cloud's own port."""
    monkeypatch.chdir(tmp_path)
    text = (Path(__file__).parents[2] / 'README.md').read_text().replace('\\\n', ' ')
    commands = [shlex.split(line)[3:] for line in text.splitlines() if line.startswith('aws --endpoint-url ')]
    assert [words[:2] for words in commands] == [
        ['stepfunctions', 'list-executions'],
        ['lambda', 'invoke'],
        ['sqs', 'get-queue-attributes'],
    ]
    executions, invoked, queue = [cli(*words) for words in commands]
    assert 'executions' in executions
    assert (invoked['StatusCode'], (tmp_path / 'pools.json').exists()) == (200, True)
    assert queue['Attributes']['QueueArn'].endswith(':cinderless-work')


def test_schedules_are_run_by_hand(cli: Cli) -> None:
    for function in ('report_pools', 'reconcile'):
        said, answer = cli.invoke(function, {})
        assert (said['StatusCode'], said.get('FunctionError'), answer) == (200, None, None)


def test_an_operation_is_invoked_as_the_api_does(cli: Cli) -> None:
    backend = cli('dynamodb', 'scan', '--table-name', cli.cloud.ready['tables']['services'])['Items']
    hosts = [item['host']['S'] for item in backend if item['binary']['S'] == 'cinder-volume']
    said, answer = cli.invoke('volume_worker', {'task': 'report_backend', 'input': {'backend': hosts[0]}})
    assert 'FunctionError' not in said
    assert answer['pools'] >= 1


def test_a_failure_comes_back_under_its_class(cli: Cli) -> None:
    said, answer = cli.invoke('volume_worker', {'task': 'report_backend', 'input': {'backend': 'no@where'}})
    assert said['FunctionError'] == 'Unhandled'
    assert answer['errorType'] == 'HostNotFound'


def test_a_workflow_is_started_and_followed(cli: Cli, api: Api, volume: tuple[str, str]) -> None:
    """Its request does not own the volume any more, so the execution ends without changing it."""
    id, request = volume
    told = {'action': 'create', 'resource': 'volume', 'project_id': api.project, 'id': id, 'request_id': request}
    machine = cli.cloud.ready['machines']['create_volume']
    named = ['--name', f'by-hand-{uuid.uuid4().hex}', '--input', json.dumps(told)]
    arn = cli('stepfunctions', 'start-execution', '--state-machine-arn', machine, *named)['executionArn']

    def ended() -> str:
        status = str(cli('stepfunctions', 'describe-execution', '--execution-arn', arn)['status'])
        return '' if status == 'RUNNING' else status

    assert until(ended) == 'SUCCEEDED'
    events = cli('stepfunctions', 'get-execution-history', '--execution-arn', arn)['events']
    entered = [event['stateEnteredEventDetails']['name'] for event in events if 'stateEnteredEventDetails' in event]
    assert entered[0] == 'Schedule'
    assert 'Provision' not in entered
    assert api.status(id) == 'available'


def test_dead_letters_go_back_to_work(cli: Cli) -> None:
    """Moved one by one: receive, send, delete."""
    work, dead = (cli.cloud.ready['queues'][f'cinderless-work{end}'] for end in ('', '-dead'))
    body = json.dumps({'action': 'nothing', 'resource': 'volume', 'mark': uuid.uuid4().hex})
    cli('sqs', 'send-message', '--queue-url', dead, '--message-body', body)
    words = ('--queue-url', dead, '--wait-time-seconds', '5', '--max-number-of-messages', '10')
    found = cli('sqs', 'receive-message', *words)['Messages']  # other tests may leave dead letters in this cloud
    [message] = [one for one in found if one['Body'] == body]
    cli('sqs', 'send-message', '--queue-url', work, '--message-body', message['Body'])
    cli('sqs', 'delete-message', '--queue-url', dead, '--receipt-handle', message['ReceiptHandle'])
    log = cli.cloud.state_dir / 'logs' / 'functions.jsonl'
    until(lambda: 'was not started' in log.read_text())


def test_a_request_has_a_history(
    cloud: Cloud, volume: tuple[str, str], capsys: pytest.CaptureFixture[str], api: Api
) -> None:
    id, request = volume
    assert program.main(['history', request, '--state-dir', str(cloud.state_dir)]) == 0
    told = capsys.readouterr().out
    who = [line.split()[1] for line in told.splitlines()]
    assert who[0] in ('operation', 'api')
    assert {'operation', 'api', 'start_workflow', 'create_volume', 'volume_worker'} <= set(who)
    assert id in told
    assert 'enters Provision' in told
    assert program.main(['history', f'req-{uuid.uuid4()}', '--state-dir', str(cloud.state_dir)]) == 1
