"""What an account would refuse is found before anything is uploaded: one line with the value, the limit, the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra import deploy
from infra.deploy import Aws, Refused, Stage
from tests.unit.infra.aws_cli import Cli

NEW: dict[str, Any] = {
    'lambda get-account-settings': {'ConcurrentExecutions': 10, 'UnreservedConcurrentExecutions': 10},
    'lambda list-functions': 'null',
}


def check(cli: Cli, region: str = 'eu-west-1', **parameters: str) -> None:
    stage = Stage('mine', region, 'mine', parameters)
    deploy.prepare(stage, Aws(str(cli.program), region, None))


def test_defaults_are_deployed_to_a_new_account(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(Cli(tmp_path, status='', answers=NEW))
    assert '3 backups at the same time use all of the 10 concurrent executions' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('parameters', 'line'),
    [
        (
            {'BackupWorkerMemory': '3538'},
            'Memory of a function (lambda): 3538 MB, allowed 3008: lower BackupWorkerMemory to 3008, or re',
        ),
        ({'BackupConcurrency': '8'}, 'Concurrent executions (lambda): 12, allowed 10: lower BackupConcurrency'),
        ({'StartWorkflowConcurrency': '10'}, 'Concurrent executions (lambda): 16, allowed 10'),
        ({'ApiReservedConcurrency': '2'}, 'Reserved concurrent executions (lambda): 2, allowed 0'),
        ({'BackupWorkerReservedConcurrency': '4'}, 'Reserved concurrent executions (lambda): 4, allowed 0'),
    ],
)
def test_what_a_new_account_refuses(tmp_path: Path, parameters: dict[str, str], line: str) -> None:
    with pytest.raises(Refused) as refused:
        check(Cli(tmp_path, answers=NEW), **parameters)
    assert line in str(refused.value)


def test_a_larger_function_in_the_account_proves_that_its_memory_was_raised(tmp_path: Path) -> None:
    check(Cli(tmp_path, answers={**NEW, 'lambda list-functions': '10240'}), BackupWorkerMemory='3538')


def test_an_established_account_takes_what_a_new_one_does_not(tmp_path: Path) -> None:
    given = {'BackupWorkerMemory': '3538', 'BackupConcurrency': '40', 'BackupWorkerReservedConcurrency': '800'}
    check(Cli(tmp_path), **given, ApiReservedConcurrency='100')
    with pytest.raises(Refused, match=r'Reserved concurrent executions \(lambda\): 901, allowed 900'):
        check(Cli(tmp_path), **given, ApiReservedConcurrency='101')


def test_what_the_deployed_stack_reserves_counts_for_it(tmp_path: Path) -> None:
    """Others have 500 of 1,000; of the rest 100 stay free; this stack has 300 already."""
    settings = {'ConcurrentExecutions': 1000, 'UnreservedConcurrentExecutions': 200}
    cli = Cli(
        tmp_path,
        parameters={'BackupWorkerReservedConcurrency': '300'},
        answers={'lambda get-account-settings': settings},
    )
    check(cli, BackupWorkerReservedConcurrency='400')
    with pytest.raises(Refused, match='401, allowed 400'):
        check(cli, BackupWorkerReservedConcurrency='401')


@pytest.mark.parametrize(
    ('answers', 'line'),
    [
        ({'service-quotas get-service-quota L-01C8A9E0': '200.0'}, 'Resources per REST API (apigateway): 26'),
        (
            {'service-quotas get-service-quota L-8A5B8E43': '100.0'},
            'lower ApiRateLimit, or request more (aws serv',
        ),
        ({'service-quotas get-service-quota L-F98FE922': '3'}, 'Tables (dynamodb): 2'),
        ({'iam get-account-summary': {'Roles': 999, 'RolesQuota': 1000}}, 'beside 999 in use, allowed 1000'),
    ],
)
def test_quotas_of_other_services(tmp_path: Path, answers: dict[str, Any], line: str) -> None:
    with pytest.raises(Refused) as refused:
        check(Cli(tmp_path, status='', answers=answers))
    assert line in str(refused.value)


def test_a_quota_that_may_not_be_read_is_taken_for_the_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    denied = dict.fromkeys(['service-quotas get-service-quota', 'iam get-account-summary'], 'AccessDenied')
    check(Cli(tmp_path, errors={**denied, 'lambda get-account-settings': 'AccessDenied'}))
    assert 'note: not checked: aws iam get-account-summary failed: AccessDenied' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('before', 'after', 'line'),
    [
        ({'BackupLockDays': '30'}, {'BackupLockDays': '0'}, 'a bucket keeps its Object Lock: give 1 or more'),
        ({'BackupLockDays': '0'}, {'BackupLockDays': '30'}, 'was made without Object Lock'),
        ({'BucketName': 'one'}, {'BucketName': 'other'}, "BucketName is 'other'; the deployed stack has 'one'"),
        ({'KmsKeyArn': ''}, {'KmsKeyArn': 'arn'}, 'KmsKeyArn is'),
    ],
)
def test_what_a_deployed_stack_cannot_change(
    tmp_path: Path, before: dict[str, str], after: dict[str, str], line: str
) -> None:
    cli = Cli(tmp_path, parameters=before)
    with pytest.raises(Refused) as refused:
        check(cli, **after)
    assert line in str(refused.value)
    assert cli.verbs() == ['sts get-caller-identity', 'cloudformation describe-stacks']
    check(cli)  # left out, it stays


@pytest.mark.parametrize(
    ('region', 'line'),
    [
        ('nowhere', 'is not one of AWS'),
        ('us-iso-east-1', 'in the partition aws-iso: allowed are aws, aws-cn, aws-us-gov'),
    ],
)
def test_regions_that_are_not_served(tmp_path: Path, region: str, line: str) -> None:
    with pytest.raises(Refused, match=line):
        check(Cli(tmp_path), region)


@pytest.mark.parametrize('region', ['cn-north-1', 'us-gov-west-1', 'ap-southeast-7', 'eu-west-9'])
def test_regions_that_are(tmp_path: Path, region: str) -> None:
    """The last is newer than the SDK."""
    check(Cli(tmp_path), region, Tracing='Active', Backends='{"backends": [{"driver": "ebs"}]}', AlarmEmail='a@b')


def test_a_service_that_a_region_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from botocore.session import Session

    known = Session.get_available_regions
    monkeypatch.setattr(
        Session,
        'get_available_regions',
        lambda self, service, *rest, **more: [] if service == 'xray' else known(self, service, *rest, **more),
    )
    check(Cli(tmp_path))
    with pytest.raises(Refused, match='region eu-west-1 does not have xray: choose another region'):
        check(Cli(tmp_path), Tracing='Active')


def test_access_logs_need_a_role_of_the_account(tmp_path: Path) -> None:
    with pytest.raises(Refused, match='API Gateway has no CloudWatch role'):
        check(Cli(tmp_path, answers={'apigateway get-account': 'None'}), ApiAccessLogs='true')
    check(
        Cli(tmp_path, answers={'apigateway get-account': 'arn:aws:iam::123456789012:role/logs'}), ApiAccessLogs='true'
    )


def test_names_that_a_removed_stack_left(tmp_path: Path) -> None:
    cli = Cli(tmp_path, status='', answers={'dynamodb describe-table': {}})
    with pytest.raises(Refused, match='the table mine-volumes exists'):
        check(cli)
    with pytest.raises(Refused, match="BucketName is 'theirs', and that bucket exists"):
        check(Cli(tmp_path, status=''), BucketName='theirs')


def test_every_finding_has_its_line(tmp_path: Path) -> None:
    with pytest.raises(Refused) as refused:
        check(Cli(tmp_path, answers=NEW), BackupWorkerMemory='3538', BackupConcurrency='8')
    assert len(str(refused.value).strip().splitlines()) == 2
