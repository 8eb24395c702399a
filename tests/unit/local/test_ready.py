"""The output of the local cloud for its users."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from local import ready
from local.functions import Function
from local.intrinsics import Scope
from local.settings import Settings
from local.stack import Stack


def settings(folder: Path, **environment: str) -> Settings:
    return Settings.from_environment({'STATE_DIR': str(folder), **environment})


def stack() -> Stack:
    machine = {'StateMachineName': {'Fn::Sub': '${AWS::StackName}-create_volume'}}
    resources: dict[str, dict[str, Any]] = {
        'Work': {'Type': 'AWS::SQS::Queue', 'Properties': {}},
        'Volumes': {'Type': 'AWS::DynamoDB::Table', 'Properties': {}},
        'Bucket': {'Type': 'AWS::S3::Bucket', 'Properties': {}},
        'Create': {'Type': 'AWS::StepFunctions::StateMachine', 'Properties': machine},
    }
    refs = {'AWS::AccountId': '1', 'AWS::StackName': 'cloud', 'Work': 'http://sqs/1/work'}
    return Stack(resources, Scope({**refs, 'Volumes': 'cloud-volume-types', 'Bucket': 'backups'}, {}))


def test_ready_names_everything(tmp_path: Path) -> None:
    functions = {'APIHandler': Function('cloud-api', 'arn', 'app.app', 29, 512, {})}
    told = ready.document(settings(tmp_path), stack(), functions)
    assert told['functions'] == {'api': 'cloud-api'}
    assert told['queues'] == {'work': 'http://sqs/1/work'}
    assert told['machines'] == {'create_volume': 'arn:aws:states:us-east-1:1:stateMachine:cloud-create_volume'}
    assert told['tables'] == {'volume-types': 'cloud-volume-types'}
    assert told['bucket'] == 'backups'
    assert told['volume'] == 'http://127.0.0.1:8776/v3'
    assert told['iscsi'] == '127.0.0.1:3260'


@pytest.mark.parametrize(
    ('logical_id', 'role'), [('APIHandler', 'api'), ('VolumeWorker', 'volume_worker'), ('Reconcile', 'reconcile')]
)
def test_roles_are_the_functions_own_names(logical_id: str, role: str) -> None:
    assert ready.role(logical_id) == role


def test_ready_appears_at_once(tmp_path: Path) -> None:
    ready.write_ready(settings(tmp_path), {'pid': 1})
    assert json.loads((tmp_path / 'ready.json').read_text()) == {'pid': 1}
    assert [path.name for path in tmp_path.iterdir()] == ['ready.json']


def test_clouds_are_written_for_the_standalone_identity_alone(tmp_path: Path) -> None:
    ready.write_clouds(settings(tmp_path, KEYSTONE_URL='http://keystone/v3'), ['admin', 'demo', 'reader', 'alt'])
    assert not (tmp_path / 'clouds.yaml').exists()
    ready.write_clouds(settings(tmp_path), ['admin', 'demo', 'reader', 'alt'])
    clouds = yaml.safe_load((tmp_path / 'clouds.yaml').read_text())['clouds']
    assert clouds['admin']['auth']['auth_url'] == 'http://127.0.0.1:8776/identity/v3'


def test_the_advice_begins_with_ready_and_names_the_files(tmp_path: Path) -> None:
    advice = ready.advice(dataclasses.replace(settings(tmp_path), aws_port=1234))
    assert advice.startswith('ready\n')
    assert str(tmp_path / 'clouds.yaml') in advice
    assert 'http://127.0.0.1:1234' in advice


def test_the_advice_works_in_a_shell_for_a_path_with_spaces(tmp_path: Path) -> None:
    advice = ready.advice(settings(tmp_path / "it's mine"))
    command = next(line for line in advice.splitlines() if 'OS_CLIENT_CONFIG_FILE' in line)
    assert f"OS_CLIENT_CONFIG_FILE={tmp_path}/it's mine/clouds.yaml" in shlex.split(command)
