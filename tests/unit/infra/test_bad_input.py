"""Wrong stages: each is refused in one line that names what, the value and the remedy, before anything is built.

Nothing but reading commands reaches AWS, and without a valid stage none at all.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from chalicelib.identity.secret import hash_secret
from cinderless.program import main
from infra import deploy, stage
from tests.unit.infra.aws_cli import Cli

HASH = hash_secret('x')
IDENTITY = {'users': [{'name': 'admin', 'password_hash': HASH}]}
RIGHT: dict[str, Any] = {'region': 'eu-west-1', 'stack': 'mine', 'parameters': {'IdentityDocument': IDENTITY}}


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Deploys read their stage from this folder, and would fail at building."""

    def built(progress: object) -> None:
        raise AssertionError('it was built')

    cli = Cli(tmp_path)
    load = stage.load
    monkeypatch.setattr(stage, 'load', lambda name: load(name, tmp_path))
    monkeypatch.setattr(deploy, 'program', lambda: str(cli.program))
    monkeypatch.setattr(deploy.package, 'main', built)
    return cli


def refused(capsys: pytest.CaptureFixture[str], name: str = 'mine') -> str:
    """The one line of a deploy that was refused."""
    assert main(['deploy', name]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith('cinderless: ')
    assert 'Traceback' not in lines[0]
    return lines[0]


def written(folder: Path, **changes: Any) -> None:
    (folder / 'mine.yaml').write_text(yaml.safe_dump({**RIGHT, **changes}))


#: Parameters -> part of the line.
PARAMETERS: list[tuple[dict[str, Any], str]] = [
    ({'AlarmEmail': 'storage'}, "AlarmEmail is 'storage': give one email address"),
    ({'AlarmEmail': 'a@b.org,c@d.org'}, 'give one email address'),
    ({'AlarmEmail': None}, 'AlarmEmail has no value'),
    ({'AlarmEmail': 'a@b.org\0'}, 'AlarmEmail'),
    ({'AlarmTopicArn': 'alarms'}, 'arn:aws:sns:eu-west-1'),
    ({'ApiMemory': '1 GB'}, "ApiMemory is '1 GB': give a whole number from 512 to 10240"),
    ({'ApiMemory': 128}, 'from 512 to 10240'),
    ({'ApiMemory': '\u0661\u0660\u0662\u0664'}, 'ApiMemory is'),
    ({'ApiMemory': -1}, 'from 512 to 10240'),
    ({'ApiMemory': 1024.5}, "'1024.5'"),
    ({'ApiRateLimit': 0}, 'ApiRateLimit'),
    ({'ApiSubnetIds': 'subnet-0a1b2c3d'}, 'ApiSubnetIds and ApiSecurityGroupIds go together'),
    ({'BackupConcurrency': 41}, 'from 1 to 40'),
    ({'BackupLockDays': 36501}, 'from 0 to 36500'),
    ({'BackupTargets': '[]'}, 'BackupTargets is not a JSON object'),
    ({'BucketName': 'My_Bucket'}, "BucketName is 'My_Bucket': give 3 to 63 lower-case letters"),
    ({'BucketName': '192.168.1.1'}, 'BucketName'),
    ({'CorsAllowedOrigins': 'https://a.org/path'}, 'give origins such as https://host:port'),
    ({'Dashboard': 'yes please'}, 'allowed are true, false'),
    ({'DisableExecuteApiEndpoint': True}, 'PublicEndpoint is empty'),
    ({'GlanceUrl': 'glance:9292'}, "GlanceUrl is 'glance:9292': give a URL"),
    ({'KmsKeyArn': 'alias/mine'}, 'arn:aws:kms:eu-west-1'),
    ({'KmsKeyArn': 'arn:aws:kms:us-east-1:123456789012:key/1'}, 'give the ARN of one in eu-west-1'),
    ({'LogRetentionDays': 31}, "LogRetentionDays is '31': give one of 1, 3, 5"),
    ({'MachineLogLevel': 'DEBUG'}, 'allowed are ALL, ERROR, FATAL, OFF'),
    ({'NovaUrl': 'https://nova'}, 'give a URL that ends in /v2.1'),
    ({'PermissionsBoundaryArn': 'boundary'}, 'give the ARN of a managed policy'),
    ({'PublicEndpoint': 'javascript:alert(1)'}, 'PublicEndpoint'),
    ({'RecoveryPublicKey': 'AB' * 32}, 'it must match'),
    ({'SchedulerOptions': '{'}, 'SchedulerOptions is not a JSON object'),
    ({'SchedulerOptions': {'scheduler_max_attempt': 3}}, "SchedulerOptions has 'scheduler_max_attempt': allowed are"),
    ({'SchedulerOptions': {'scheduler_max_attempts': 0}}, 'must be >=1'),
    ({'SchedulerOptions': {'scheduler_max_attempts': '3'}}, "has scheduler_max_attempts '3': give a value such as 3"),
    ({'SchedulerOptions': {'scheduler_default_filters': 'CapacityFilter'}}, 'has scheduler_default_filters'),
    ({'SchedulerOptions': {'scheduler_default_weighers': ['Cap']}}, 'Cap does not exist; allowed:'),
    ({'SchedulerMaxAttempts': 0}, "SchedulerMaxAttempts is '0': give a whole number from 1 to 20"),
    ({'OsapiMaxLimit': 1001}, "OsapiMaxLimit is '1001': give a whole number from 1 to 1000"),
    ({'ReportMaxAge': 60}, 'from 120 to 86400'),
    ({'MaxImageGigabytes': 'all'}, 'MaxImageGigabytes'),
    ({'DefaultVolumeType': ' gold'}, 'DefaultVolumeType'),
    ({'DefaultQuotas': '[]'}, 'DefaultQuotas is not a JSON object'),
    ({'DefaultQuotas': {'volume': 1}}, "DefaultQuotas has 'volume': allowed are volumes"),
    ({'DefaultQuotas': {'volumes': -2}}, 'DefaultQuotas has volumes -2: give a whole number from -1'),
    ({'DefaultQuotas': {'volumes': True}}, 'DefaultQuotas has volumes True'),
    ({'PolicyOverrides': '@policy.yaml'}, 'PolicyOverrides: @policy.yaml volume:get has '),
    ({'PolicyOverrides': {'volume:get': 'admin'}}, "PolicyOverrides: volume:get has 'admin'"),
    ({'SecretStore': 'Vault'}, 'allowed are ParameterStore, SecretsManager'),
    ({'SnapStart': 'On'}, 'allowed are true, false'),
    ({'Unknown': 1}, 'the template has no parameter Unknown'),
    ({'WebAclArn': 'arn:aws:wafv2:us-east-1:123456789012:global/webacl/a/1'}, 'WebAclArn'),
    ({'WorkerSubnetIds': 'a', 'WorkerSecurityGroupIds': 'sg-0a1b2c3d'}, "WorkerSubnetIds is 'a': give ids such as"),
    ({'Backends': '{"backends": 1}'}, 'Backends: '),
    ({'Backends': '@absent.json'}, 'absent.json does not exist'),
    ({'Backends': '@.'}, 'cannot be read (Is a directory)'),
    ({'Backends': '@binary.json'}, 'binary.json is not UTF-8'),
    ({'IdentityDocument': {'users': []}}, 'no user could log in'),
    ({'IdentityDocument': {'users': [{'name': 'a', 'password': 'plain'}]}}, 'IdentityDocument: '),
    ({'IdentityDocument': {'users': IDENTITY['users'] * 2}}, 'IdentityDocument: '),
    ({'IdentityDocument': {**IDENTITY, 'projcts': []}}, 'projcts'),
]


@pytest.mark.parametrize(('parameters', 'part'), PARAMETERS)
def test_a_wrong_parameter_is_one_line(
    cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str], parameters: dict[str, Any], part: str
) -> None:
    (tmp_path / 'binary.json').write_bytes(b'\xff\xfe')
    (tmp_path / 'policy.yaml').write_text('"volume:get": "role:admin role:x"')
    written(tmp_path, parameters={**RIGHT['parameters'], **parameters})
    line = refused(capsys)
    assert part in line
    assert HASH not in line
    assert cli.requests() == []


#: Stage files -> part of the line.
FILES: list[tuple[str, str]] = [
    ('', 'lacks region, stack, parameters'),
    ('- a\n', 'no names and values'),
    ('region: [', 'is not YAML'),
    ('region: a\nregion: b\n', 'region is there twice'),
    ('region: eu-west-1\nstack: s\nparameters: {A: 1}\nregions: x\n', 'allowed are region, stack, parameters'),
    ('region: eu-west-1\nstack: s\nparameters: {A: 1}\naccount: 012345670123\n', 'give 12 digits in quotes'),
    ("region: eu-west-1\nstack: s\nparameters: {A: 1}\naccount: '12345'\n", 'give 12 digits in quotes'),
    ('region: eu-west-1\nstack: s\nparameters: [a]\n', 'parameters are names and their values'),
    ('region: eu-west-1\nstack: s\nparameters: {AlarmEmail: a@b.c, AlarmEmail: d@e.f}\n', 'AlarmEmail is there twice'),
    ('region: !!python/object/apply:os.system [true]\n', 'is not YAML'),
]


@pytest.mark.parametrize(('text', 'part'), FILES)
def test_a_wrong_stage_file_is_refused(
    cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, part: str
) -> None:
    (tmp_path / 'mine.yaml').write_text(text)
    assert main(['deploy', 'mine']) == 1
    error = capsys.readouterr().err
    assert part in error
    assert 'Traceback' not in error
    assert cli.requests() == []


@pytest.mark.parametrize('name', ['../mine', 'a/b', 'a b', 'mine.yaml;ls', '/etc/passwd'])
def test_a_stage_is_a_name_and_no_path(cli: Cli, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert 'without its folder' in refused(capsys, name)


@pytest.mark.parametrize(
    ('tags', 'part'),
    [
        ({'aws:mine': '1'}, 'does not begin with aws:'),
        ({'': '1'}, 'a name of 1 to 128'),
        ({'a' * 129: '1'}, 'a name of 1 to 128'),
        ({'a': 'b' * 257}, 'at most 256'),
        ({'a': 'b;c'}, 'letters, digits, spaces'),
        ({'a=b': 'c'}, 'without ='),
        ({str(number): 'x' for number in range(51)}, 'tags: 51, and AWS takes 50'),
        ({'a': None}, 'tag a has no value'),
    ],
)
def test_wrong_tags(
    cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str], tags: dict[str, Any], part: str
) -> None:
    written(tmp_path, tags=tags)
    assert part in refused(capsys)
    assert cli.requests() == []


@pytest.mark.parametrize(
    ('errors', 'part', 'verbs'),
    [
        ({'sts get-caller-identity': 'Unable to locate credentials'}, 'Unable to locate credentials', 1),
        ({'sts get-caller-identity': 'An error occurred (ExpiredToken)'}, 'ExpiredToken', 1),
        ({'cloudformation describe-stacks': 'An error occurred (AccessDenied)'}, 'AccessDenied', 2),
    ],
)
def test_credentials_are_first(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cli: Cli,
    errors: dict[str, str],
    part: str,
    verbs: int,
) -> None:
    written(tmp_path)
    cli = Cli(tmp_path, errors=errors)
    assert part in refused(capsys)
    assert len(cli.requests()) == verbs


def test_several_mistakes_are_a_line_each(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {'AlarmEmail': 'x', 'ApiMemory': 1, 'NovaUrl': 'y', 'Unknown': 1}
    written(tmp_path, parameters={**RIGHT['parameters'], **wrong})
    assert main(['deploy', 'mine']) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 4


def test_the_right_stage_passes_and_reads_only(cli: Cli, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / 'mine.yaml').write_text(yaml.safe_dump({**RIGHT, 'tags': {'team': 'storage & more'.replace('&', '+')}}))
    assert main(['deploy', 'mine']) == 1
    captured = capsys.readouterr()
    assert 'AssertionError: it was built' in captured.err
    reading = ('get-', 'describe-', 'list-', 'head-')
    assert [verb for verb in cli.verbs() if not verb.split()[1].startswith(reading)] == []
    assert json.dumps(IDENTITY) not in captured.out
