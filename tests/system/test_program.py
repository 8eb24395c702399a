"""The program on a running local cloud: what an operator types."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import keystoneauth1.exceptions
import pytest
import yaml

from local import checks
from local.children import bound
from local.launch import free_ports
from local.settings import Refused, Settings
from tests.system.clients import User, unique, until
from tests.system.cloud import ROOT, STOP, Cloud, start


def program(cloud: Cloud, *words: str, code: int = 0, text: str = '') -> str:
    command = [sys.executable, '-m', 'cinderless', *words, '--state-dir', str(cloud.state_dir)]
    done = subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout


def test_the_status_of_a_running_cloud(cloud: Cloud) -> None:
    facts = json.loads(program(cloud, 'status', '--json'))
    assert (facts['status'], facts['pid'], facts['durable']) == ('running', cloud.process.pid, True)
    assert facts['urls']['volume'] == cloud.ready['volume']
    assert facts['api'] < 10
    assert 'answers in' in program(cloud, 'status')


def test_the_history_and_logs_of_a_volume(cloud: Cloud) -> None:
    user = User(cloud, 'demo')
    volume = user.volume()
    events = json.loads(program(cloud, 'history', volume.id, '--json'))
    assert {'api', 'start_workflow', 'create_volume', 'volume_worker', 'operation'} <= {
        event['who'] for event in events
    }
    assert volume.id in {one['resource_id'] for one in json.loads(program(cloud, 'history', '--json'))}
    assert 'ExecutionSucceeded' in [event['what'] for event in events]
    lines = [json.loads(line) for line in program(cloud, 'logs', '--volume', volume.id, '--json').splitlines()]
    request = lines[0]['request_id']
    assert program(cloud, 'history', request)
    arn = next(word for event in events for word in event['what'].split() if word.startswith('arn:'))
    assert 'enters Provision' in program(cloud, 'history', arn)
    assert 'create of volume' in program(cloud, 'history', arn.rpartition(':')[2])
    assert program(cloud, 'history', 'req-00000000-0000-0000-0000-000000000000', code=1) == ''
    user.cinder.volumes.delete(volume.id)


def test_the_backends_in_use(cloud: Cloud) -> None:
    rows = json.loads(program(cloud, 'backends', 'show', '--json'))
    assert {row['pool'].partition('#')[2] for row in rows} == {'fast', 'slow', 'remote'}
    assert {row['problem'] for row in rows} == {''}
    assert 'fast' in program(cloud, 'backends', 'show')


def test_the_doctor_finds_nothing_wrong(cloud: Cloud) -> None:
    assert 'answers' in program(cloud, 'doctor')


def test_a_new_user_logs_in_and_a_removed_one_does_not(tmp_path: Path) -> None:
    name = unique('anna')
    with start(tmp_path) as cloud:
        program(cloud, 'user', 'add', name, '--project', 'lab', text='correct horse\n')
        until(lambda: logs_in(cloud, name, 'correct horse', 'lab'))
        program(cloud, 'user', 'passwd', 'demo', text='battery staple\n')
        cloud.stop()
    with start(tmp_path) as again:
        assert logs_in(again, name, 'correct horse', 'lab'), 'users are kept over a restart'
        assert logs_in(again, 'demo', 'battery staple', 'demo')
        assert not logs_in(again, 'demo', 'demo', 'demo')
        assert set(yaml.safe_load(again.clouds_yaml.read_text())['clouds']) == {'admin', 'reader', 'alt'}
        program(again, 'user', 'remove', name)
        program(again, 'user', 'remove', name, code=2)
        assert name not in program(again, 'user', 'list')


def test_a_cloud_opens_to_others_once_no_password_is_well_known(tmp_path: Path) -> None:
    environment = {'STATE_DIR': str(tmp_path / 'state'), 'LISTEN': '0.0.0.0', 'ADVERTISE': 'storage.example.org'}
    with start(tmp_path) as cloud:
        for name in ('demo', 'reader', 'manager', 'alt'):
            program(cloud, 'user', 'remove', name)
        program(cloud, 'user', 'passwd', 'admin', text='correct horse\n')
        cloud.stop()
    settings = Settings.from_environment(environment)
    with pytest.raises(Refused, match='passwords of cinder are well known'):
        checks.check_open(settings)
    with start(tmp_path) as cloud:
        program(cloud, 'user', 'passwd', 'cinder', text='battery staple\n')
        cloud.kill()
    checks.check_open(settings)
    with pytest.raises(Refused, match='passwords of admin, demo'):
        checks.check_open(Settings.from_environment({**environment, 'FRESH': '1'}))


def logs_in(cloud: Cloud, name: str, password: str, project: str) -> bool:
    from keystoneauth1.identity import v3
    from keystoneauth1.session import Session

    domains = {'user_domain_name': 'Default', 'project_domain_name': 'Default'}
    auth = v3.Password(cloud.ready['identity'], username=name, password=password, project_name=project, **domains)
    try:
        return bool(Session(auth).get_token())
    except keystoneauth1.exceptions.Unauthorized:
        return False


def test_stop_ends_a_cloud_as_ctrl_c_does(tmp_path: Path) -> None:
    with start(tmp_path) as cloud:
        assert 'has stopped' in program(cloud, 'stop')
        assert cloud.process.wait(STOP) == 0
        assert 'no local cloud uses' in program(cloud, 'stop')
        assert 'kept over a stop' in program(cloud, 'status', code=3)


def test_serve_on_a_terminal_shows_its_steps(tmp_path: Path) -> None:
    """With a PATH that lacks the folders of root's programs, as a user's may."""
    leader, follower = pty.openpty()
    words = [f'--{name.lower().replace("_", "-")}={port}' for name, port in free_ports().items()]
    command = [sys.executable, '-m', 'cinderless', 'serve', '--state-dir', str(tmp_path / 'state'), *words]
    environment = {**os.environ, 'PATH': '/usr/bin:/bin'}
    with subprocess.Popen(bound(command), cwd=ROOT, env=environment, stdout=follower, stderr=follower) as process:
        os.close(follower)
        shown = ''
        while 'Ctrl-C stops everything' not in shown:
            shown += os.read(leader, 4096).decode()
        assert 'deploy the stack ...' in shown
        assert ' s  in all' in shown
        process.terminate()
        assert process.wait(STOP) == 0
    os.close(leader)


def test_the_advice_after_the_start_works_as_printed(tmp_path: Path) -> None:
    """In a shell that knows nothing of this environment."""
    with start(tmp_path / 'folder') as cloud:
        until(lambda: 'Ctrl-C stops' in cloud.log.read_text())
        shown = cloud.log.read_text().partition('in another shell:\n')[2]
        lines = [line.strip() for line in shown.splitlines() if line.startswith('  ')]
        assert len(lines) == 7
        bare = {'PATH': '/usr/bin:/bin', 'HOME': str(tmp_path)}
        # The console script is installed by make setup; here the program of this tree takes its place.
        text = '\n'.join(['set -e', f'cinderless() {{ "{sys.executable}" -m cinderless "$@"; }}', *lines])
        done = subprocess.run(['bash', '-c', text], cwd=ROOT, env=bare, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert 'first' in done.stdout
        assert 'stateMachineArn' in done.stdout
        assert cloud.stop() == 0


@pytest.mark.parametrize('missing', ['java'])
def test_without_java_the_start_reports_that_nothing_is_stored(tmp_path: Path, missing: str) -> None:
    programs = tmp_path / 'programs'
    programs.mkdir()
    for folder in ('/bin', '/usr/bin', '/sbin', '/usr/sbin'):
        for path in Path(folder).iterdir():
            if path.name != missing and not (programs / path.name).exists():
                (programs / path.name).symlink_to(path)
    with start(tmp_path, PATH=str(programs)) as cloud:
        assert 'Java or DynamoDB Local is missing' in cloud.log.read_text()
        assert 'nothing is stored beyond this run' in cloud.log.read_text()
        assert 'in memory' in program(cloud, 'status')
