"""The local cloud from outside: its output, the view of the AWS CLI, and the remains after a stop."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.system.cloud import ROOT, STOP, Cloud, alive, family, spawn, start, wait_until_ready


def until(true: Callable[[], Any], patience: float = 20) -> Any:
    deadline = time.monotonic() + patience
    while not (found := true()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def ask(cloud: Cloud, method: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(
        '127.0.0.1', int(cloud.ready['volume'].split(':')[2].split('/')[0]), timeout=30
    )
    connection.request(method, path)
    response = connection.getresponse()
    return response.status, response.read()


class TestReady:
    def test_it_tells_every_door(self, cloud: Cloud) -> None:
        ready = cloud.ready
        assert ready['volume'].endswith('/v3')
        assert ready['identity'] == ready['volume'].removesuffix('/v3') + '/identity/v3'
        assert ready['aws'].startswith('http://127.0.0.1:')
        assert ready['iscsi'].startswith('127.0.0.1:')
        assert ready['pid'] == cloud.process.pid
        assert ready['region'] == 'us-east-1'

    @pytest.mark.filterwarnings('ignore:Unverified HTTPS request')
    @pytest.mark.parametrize('name', ['volume', 'identity', 'aws', 'appliance'])
    def test_each_url_is_answered(self, cloud: Cloud, name: str) -> None:
        answer = requests.get(cloud.ready[name], timeout=30, verify=False)
        assert answer.status_code < 500

    def test_it_names_what_the_stack_holds(self, cloud: Cloud) -> None:
        workers = {'volume_worker', 'backup_worker'}
        scheduled = {'reconcile', 'report_pools', 'backup_schedules'}
        assert set(cloud.ready['functions']) == {'api', 'start_workflow'} | workers | scheduled
        assert set(cloud.ready['queues']) == {'cinderless-work', 'cinderless-work-dead'}
        files = {path.name.removesuffix('.asl.yaml') for path in (ROOT / 'stepfunctions').glob('*.asl.yaml')}
        assert set(cloud.ready['machines']) == files
        assert cloud.ready['tables']['volumes'] == 'cinderless-volumes'

    def test_clouds_yaml_knows_the_four_users(self, cloud: Cloud) -> None:
        clouds = yaml.safe_load(cloud.clouds_yaml.read_text())['clouds']
        assert set(clouds) == {'admin', 'demo', 'reader', 'alt'}
        assert clouds['demo']['auth']['auth_url'] == cloud.ready['identity']

    def test_everything_listens_on_loopback_alone(self, cloud: Cloud) -> None:
        assert {address for pid in family(cloud.process.pid) for address in listening(pid)} == {'0100007F'}


class TestGateway:
    @pytest.mark.parametrize(
        ('method', 'path'), [('GET', '/nowhere'), ('PATCH', '/v3/volumes'), ('HEAD', '/v3/volumes')]
    )
    def test_what_has_no_route_gets_cinders_404(self, cloud: Cloud, method: str, path: str) -> None:
        status, body = ask(cloud, method, path)
        assert status == 404
        if method != 'HEAD':
            assert json.loads(body)['title'] == 'Not Found'


class TestAws:
    """Another process sees the same data through the endpoint as the functions."""

    def cli(self, cloud: Cloud, *words: str) -> Any:
        told = {
            'PATH': os.environ['PATH'],
            'AWS_ACCESS_KEY_ID': cloud.ready['access_key'],
            'AWS_SECRET_ACCESS_KEY': cloud.ready['secret_key'],
            'AWS_DEFAULT_REGION': cloud.ready['region'],
        }
        command = [str(Path(sys.executable).parent / 'aws'), '--endpoint-url', cloud.ready['aws'], *words]
        done = subprocess.run(command, env=told, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.startswith(('{', '[')) else done.stdout

    def test_the_cli_lists_machines_and_queues(self, cloud: Cloud) -> None:
        machines = self.cli(cloud, 'stepfunctions', 'list-state-machines')['stateMachines']
        assert {each['stateMachineArn'] for each in machines} == set(cloud.ready['machines'].values())
        assert set(self.cli(cloud, 'sqs', 'list-queues')['QueueUrls']) == set(cloud.ready['queues'].values())

    def test_the_cli_invokes_a_function(self, cloud: Cloud, tmp_path: Path) -> None:
        name, out = cloud.ready['functions']['volume_worker'], tmp_path / 'out'
        told = self.cli(
            cloud, 'lambda', 'invoke', '--function-name', name, '--payload', '{"task": "unknown"}', str(out)
        )
        assert told['FunctionError'] == 'Unhandled'
        assert set(json.loads(out.read_text())) >= {'errorType', 'errorMessage'}

    def test_a_message_sent_by_the_cli_is_received(self, cloud: Cloud) -> None:
        url = self.cli(cloud, 'sqs', 'create-queue', '--queue-name', 'cli')['QueueUrl']
        self.cli(cloud, 'sqs', 'send-message', '--queue-url', url, '--message-body', 'hello')
        found = self.cli(cloud, 'sqs', 'receive-message', '--queue-url', url, '--wait-time-seconds', '5')
        assert [message['Body'] for message in found['Messages']] == ['hello']

    def test_objects_come_back_as_they_went(self, cloud: Cloud) -> None:
        s3, body = cloud.client('s3'), os.urandom(3 * 1024 * 1024)
        s3.create_bucket(Bucket='endpoint')
        s3.put_object(Bucket='endpoint', Key='a b/ü', Body=body)
        assert s3.get_object(Bucket='endpoint', Key='a b/ü')['Body'].read() == body

    def test_tables_hold_what_the_functions_hold(self, cloud: Cloud) -> None:
        tables = cloud.client('dynamodb').list_tables()['TableNames']
        assert set(cloud.ready['tables'].values()) <= set(tables)
        described = cloud.client('dynamodb').describe_table(TableName='cinderless-volumes')['Table']
        assert {key['AttributeName'] for key in described['KeySchema']} == {'project_id', 'id'}

    def test_the_signing_key_is_made_at_boot(self, cloud: Cloud) -> None:
        found = cloud.client('ssm').get_parameter(Name='/cinderless/identity', WithDecryption=True)
        secret = found['Parameter']['Value']
        assert len(json.loads(secret)['signing_key']) == 64

    def test_an_unsigned_request_is_refused(self, cloud: Cloud) -> None:
        connection = http.client.HTTPConnection(cloud.ready['aws'].removeprefix('http://'), timeout=30)
        connection.request('GET', '/')
        assert connection.getresponse().status == 403


class TestQueue:
    def test_poison_reaches_the_dead_letter_queue(self, cloud: Cloud) -> None:
        sqs, url = cloud.client('sqs'), cloud.ready['queues']['cinderless-work']
        before = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=['VisibilityTimeout'])['Attributes']
        poison = f'poison {uuid.uuid4()}'
        sqs.set_queue_attributes(QueueUrl=url, Attributes={'VisibilityTimeout': '0'})
        try:
            sqs.send_message(QueueUrl=url, MessageBody=poison)
            until(lambda: poison in dead_bodies(cloud))
        finally:
            sqs.set_queue_attributes(QueueUrl=url, Attributes=before)


def dead_bodies(cloud: Cloud) -> list[str]:
    url = cloud.ready['queues']['cinderless-work-dead']
    found = cloud.client('sqs').receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0)
    return [message['Body'] for message in found.get('Messages', ())]


class TestStop:
    """Nothing is left: no process, port, mount, loop device, socket or file."""

    @pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_ends_everything(self, tmp_path: Path, number: int) -> None:
        with start(tmp_path) as cloud:
            pids, socket = family(cloud.process.pid), control_socket(cloud)
            assert len(pids) >= 3
            assert str(cloud.state_dir) in loop_devices()
            assert socket.exists()
            assert cloud.stop(number) == 0
            assert [pid for pid in pids if alive(pid)] == []
            assert contents(cloud.state_dir) == {
                'cinderless.json',
                'lock',
                'logs',
                'aws',
                'dynamodb',
                'appliance',
                'reserve',
            }
            assert str(cloud.state_dir) not in loop_devices()
            assert not socket.exists()

    def test_a_killed_server_takes_its_children_along_and_the_next_start_is_clean(self, tmp_path: Path) -> None:
        with start(tmp_path) as cloud:
            pids, socket = family(cloud.process.pid), control_socket(cloud)
            cloud.process.kill()
            cloud.process.wait(STOP)
            until(lambda: not [pid for pid in pids if alive(pid)], STOP)
            until(lambda: str(cloud.state_dir) not in loop_devices(), STOP)
        with start(tmp_path) as again:
            assert not socket.exists() or control_socket(again) == socket
            assert again.ready['pid'] == again.process.pid

    def test_a_signal_to_make_reaches_the_server(self, tmp_path: Path) -> None:
        process, state_dir, log = spawn(['make', '--no-print-directory', 'run'], tmp_path)
        ready = wait_until_ready(process, state_dir, log)
        process.terminate()
        process.wait(STOP)
        until(lambda: not alive(ready['pid']), STOP)
        assert not (state_dir / 'ready.json').exists()

    def test_a_signal_during_the_boot_leaves_nothing_either(self, tmp_path: Path) -> None:
        process, state_dir, _ = spawn([sys.executable, '-m', 'local'], tmp_path)
        until((state_dir / 'appliance').exists)
        pids = family(process.pid)
        process.terminate()
        assert process.wait(STOP) == 0
        until(lambda: not [pid for pid in pids if alive(pid)], STOP)
        assert not (state_dir / 'ready.json').exists()

    def test_in_memory_mode_nothing_but_logs_is_left(self, tmp_path: Path) -> None:
        with start(tmp_path, STATE='memory') as cloud:
            assert cloud.stop() == 0
            assert contents(cloud.state_dir) == {'lock', 'logs'}


def test_two_clouds_run_side_by_side(cloud: Cloud, tmp_path: Path) -> None:
    with start(tmp_path, DYNAMODB='moto') as other:
        other.client('sqs').create_queue(QueueName='other')
        assert other.ready['volume'] != cloud.ready['volume']
        urls = cloud.client('sqs').list_queues()['QueueUrls']
        assert not [url for url in urls if url.endswith('/other')]
        assert ask(cloud, 'GET', '/nowhere')[0] == ask(other, 'GET', '/nowhere')[0] == 404


def test_a_port_that_is_taken_is_told(cloud: Cloud, tmp_path: Path) -> None:
    taken = cloud.ready['volume'].split(':')[2].split('/')[0]
    process, state_dir, log = spawn([sys.executable, '-m', 'local'], tmp_path, PORT=taken)
    assert process.wait(60) == 2
    assert f'PORT={taken} is taken by pid {cloud.process.pid} ' in log.read_text()
    assert not state_dir.exists()


def refused(folder: Path, **environment: str) -> str:
    """The one line of a start that was refused."""
    (folder / 'log').unlink(missing_ok=True)
    process, _, log = spawn([sys.executable, '-m', 'local'], folder, **environment)
    assert process.wait(60) == 2, log.read_text()
    (line,) = log.read_text().splitlines()
    return line


def test_a_second_start_names_the_first_and_disturbs_nothing(cloud: Cloud) -> None:
    lock = json.loads((cloud.state_dir / 'lock').read_text())
    before = ask(cloud, 'GET', '/healthcheck')
    with tempfile.TemporaryDirectory() as folder:
        for fresh in ('', '1'):
            line = refused(Path(folder), STATE_DIR=str(cloud.state_dir), FRESH=fresh)
            assert f'another local cloud (pid {cloud.process.pid}, ports ' in line
            assert line.endswith('stop it, or set STATE_DIR')
    assert json.loads((cloud.state_dir / 'lock').read_text()) == lock
    assert (cloud.state_dir / 'ready.json').exists()
    assert ask(cloud, 'GET', '/healthcheck') == before


def test_a_refused_start_names_its_variable_in_one_line_and_writes_nothing(tmp_path: Path) -> None:
    files = tmp_path / 'thesis'
    files.mkdir()
    (files / 'chapter').write_text('one')
    wrong = {
        'STATE_DIR': [str(files), str(files / 'chapter'), '/proc/nowhere'],
        'PORT': ['web'],
        'BACKENDS': ['{', '{"backends": [{"name": "a", "driver": "ceph"}]}', '@/nowhere.json'],
        'KEYSTONE_URL': ['http://127.0.0.1:9/v3'],
        'STATE': ['disk'],
    }
    for name, values in wrong.items():
        for value in values:
            assert refused(tmp_path, **{name: value}).startswith(name)
    assert contents(tmp_path) == {'thesis', 'log'}
    assert contents(files) == {'chapter'}


def contents(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def listening(pid: int) -> set[str]:
    """Addresses (hex, as in /proc/net/tcp) of the process's listening IPv4 sockets; any IPv6 one counts as 'ipv6'."""
    inodes = set()
    for descriptor in Path(f'/proc/{pid}/fd').iterdir():
        target = str(descriptor.readlink()) if descriptor.is_symlink() else ''
        inodes.add(target.removeprefix('socket:[').removesuffix(']'))
    found = {line[1].split(':')[0] for line in tcp_lines(pid, 'tcp') if line[3] == '0A' and line[9] in inodes}
    loopback = ('0000000000000000FFFF00000100007F', '00000000000000000000000001000000')
    for line in tcp_lines(pid, 'tcp6'):
        if line[3] == '0A' and line[9] in inodes:
            found.add('0100007F' if line[1].split(':')[0] in loopback else 'ipv6')
    return found


def tcp_lines(pid: int, name: str) -> list[list[str]]:
    return [line.split() for line in Path(f'/proc/{pid}/net/{name}').read_text().splitlines()[1:]]


def control_socket(cloud: Cloud) -> Path:
    port = (cloud.state_dir / 'appliance' / 'control_port').read_text()
    return Path('/var/run/tgtd') / f'socket.{port}'


def loop_devices() -> str:
    return subprocess.run(['losetup', '-a'], capture_output=True, text=True, check=True).stdout
