"""What the doctor finds on a machine and in a deployment."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from cinderless import checks, program
from cinderless.checks import FAILED, OK, WARNING, Result
from infra import deploy, live, stage
from local import launch
from local.children import free_port
from tests.unit.infra.aws_cli import Cli


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {**launch.free_ports(), 'STATE_DIR': str(tmp_path / 'state')}


def by_name(results: Any) -> dict[str, Result]:
    return {each.check: each for each in results}


def test_a_machine_that_is_set_up(environment: dict[str, str], tmp_path: Path) -> None:
    found = by_name(checks.machine(tmp_path / 'state', environment))
    assert [each for each in found.values() if each.result == FAILED] == []
    assert found['start'].found == f'cinderless serve can start in {tmp_path / "state"}'
    assert not (tmp_path / 'state').exists()


def test_a_missing_program_is_named_with_its_package(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = {'no-tgtd': ('tgt', 'iSCSI exports', FAILED), 'no-java': ('a-jre', 'DynamoDB Local', WARNING)}
    monkeypatch.setattr(checks, 'PROGRAMS', programs)
    found = by_name(checks.machine(tmp_path / 'state', environment))
    assert (found['no-tgtd'].result, found['no-java'].result) == (FAILED, WARNING)
    assert found['no-tgtd'].advice == 'make setup, or apt-get install tgt'


def test_settings_that_cannot_work_are_found(environment: dict[str, str], tmp_path: Path) -> None:
    found = by_name(checks.machine(tmp_path / 'state', {**environment, 'BACKENDS': '/nowhere'}))
    assert found['start'].result == FAILED
    assert 'BACKENDS=/nowhere' in found['start'].found


def test_the_command_prints_advice_and_fails(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {**environment, 'PORT': 'web'}.items():
        monkeypatch.setenv(name, value)
    assert program.main(['doctor']) == 1
    assert "PORT='web': give a port between 1 and 65535" in capsys.readouterr().out
    assert program.main(['doctor', '--json']) == 1
    assert {each['result'] for each in json.loads(capsys.readouterr().out)} <= {OK, WARNING, FAILED}


#: Where clients reach the deployment.
API = 'https://storage.example.org'


@pytest.fixture
def deployed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stage, and an AWS CLI with given answers."""
    broken: list[bool] = []
    settings = {
        'region': 'eu-west-1',
        'stack': 'mine',
        'parameters': {'KeystoneUrl': 'https://k/v3', 'PublicEndpoint': API},
    }
    (tmp_path / 'mine.yaml').write_text(yaml.safe_dump(settings))
    load = stage.load
    monkeypatch.setattr(live, 'problems', lambda url, checks: ['GET /v3: 500'] if broken else [])
    monkeypatch.setattr(stage, 'load', lambda name, **options: load(name, tmp_path, **options))
    usual = {
        'cloudwatch describe-alarms': [],
        'sqs get-queue-url': {'QueueUrl': 'https://queue'},
        'sqs get-queue-attributes': {'Attributes': {'ApproximateNumberOfMessages': '0'}},
        'dynamodb scan': {'Items': [{'id': {'S': 'c@one#p'}}]},
    }

    def answering(status: str = 'UPDATE_COMPLETE', api: bool = True, **answers: Any) -> dict[str, Result]:
        broken[:] = [] if api else [True]
        given = {name.replace('__', ' ').replace('_', '-'): value for name, value in answers.items()}
        errors = {name: value for name, value in given.items() if isinstance(value, str)}
        cli = Cli(tmp_path, status, answers={**usual, **given}, errors=errors)
        monkeypatch.setattr(deploy, 'program', lambda: str(cli.program))
        return by_name(checks.deployment('mine', None))

    return answering


def test_a_deployment_that_works(deployed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert {name: each.result for name, each in deployed().items()} == dict.fromkeys(
        ('stage', 'credentials', 'stack', 'API', 'alarms', 'dead letters', 'pools'), OK
    )
    assert capsys.readouterr().out == '', 'the commands of the AWS CLI are not shown'


LETTERS = {'Attributes': {'ApproximateNumberOfMessages': '3'}}


@pytest.mark.parametrize(
    ('answers', 'check', 'result', 'words'),
    [
        ({'cloudwatch__describe_alarms': ['mine-api-errors']}, 'alarms', FAILED, 'mine-api-errors'),
        ({'cloudwatch__describe_alarms': 'AccessDenied'}, 'alarms', WARNING, 'AccessDenied'),
        ({'sqs__get_queue_attributes': LETTERS}, 'dead letters', WARNING, '3'),
        ({'dynamodb__scan': {'Items': []}}, 'pools', FAILED, 'no backend'),
        ({'dynamodb__scan': {'Items': [{'id': {'S': 'c@one#p'}, 'warning': {'S': 'bad'}}]}}, 'pools', FAILED, 'bad'),
        ({'status': 'UPDATE_ROLLBACK_COMPLETE'}, 'stack', WARNING, 'UPDATE_ROLLBACK_COMPLETE'),
        ({'api': False}, 'API', FAILED, 'GET /v3: 500'),
        ({'status': ''}, 'stack', FAILED, 'does not exist'),
        ({'sts__get_caller_identity': 'ExpiredToken'}, 'deployment', FAILED, 'ExpiredToken'),
    ],
)
def test_what_is_wrong_in_a_deployment(
    deployed: Any, answers: dict[str, Any], check: str, result: str, words: str
) -> None:
    found = deployed(**answers)[check]
    assert found.result == result
    assert words in found.found
    assert found.advice


def test_a_deployment_that_becomes_right_is_waited_for(
    deployed: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed(dynamodb__scan={'Items': []})
    assert program.main(['doctor', '--stage', 'mine']) == 1
    monkeypatch.setattr(time, 'sleep', lambda seconds: deployed())
    assert program.main(['doctor', '--stage', 'mine', '--wait', '60']) == 0
    assert 'pools: waiting' in capsys.readouterr().err


def test_wrong_credentials_are_not_waited_for(deployed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    deployed(sts__get_caller_identity='ExpiredToken')
    monkeypatch.setattr(time, 'sleep', lambda seconds: pytest.fail('it waits'))
    assert program.main(['doctor', '--stage', 'mine', '--wait', '60']) == 1


def test_an_api_that_does_not_answer_is_found() -> None:
    found = checks.check_api(f'http://127.0.0.1:{free_port()}/')
    assert found.result == FAILED
    assert 'refused' in found.found


def test_the_disk_is_looked_at_where_the_folder_will_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks._disk(tmp_path / 'a' / 'b').found.endswith(f'free in {tmp_path}')

    class Full:
        f_bavail, f_frsize = 1, 512

    monkeypatch.setattr(os, 'statvfs', lambda path: Full)
    assert checks._disk(tmp_path).result == FAILED
