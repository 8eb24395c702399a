"""Limits of AWS: what the template needs fits a new account, and names as long as they may be fit everywhere."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra import quotas, render
from infra.quotas import QUOTAS, Deployment, Quota

#: The longest name of a stack (infra/stage.py), and of each partition its region with the longest name.
LONGEST = 'a' * 47
PLACES = [
    ('aws', 'ap-southeast-2'),
    ('aws', 'ap-northeast-1'),
    ('aws-cn', 'cn-northwest-1'),
    ('aws-us-gov', 'us-gov-west-1'),
]

#: Limits that a policy or an environment meets by its text, which grows with names.
TEXTS = [quota for quota in QUOTAS if quota.unit in ('characters', 'bytes')]


@pytest.fixture(scope='module')
def template() -> dict[str, Any]:
    return dict(json.loads((render.templates() / 'plain.json').read_text()))


@pytest.mark.parametrize('quota', QUOTAS, ids=lambda quota: quota.what)
def test_defaults_fit_a_new_account(template: dict[str, Any], quota: Quota) -> None:
    assert quota.needs(Deployment(template, quotas.declared(template))) <= quota.new <= quota.default


@pytest.mark.parametrize(('partition', 'region'), PLACES)
@pytest.mark.parametrize('quota', TEXTS, ids=lambda quota: quota.what)
def test_the_longest_names_fit_every_partition(
    template: dict[str, Any], quota: Quota, partition: str, region: str
) -> None:
    deployment = Deployment(template, everything(template), LONGEST, region, partition)
    assert quota.needs(deployment) <= quota.new


def test_no_region_has_a_longer_name() -> None:
    from botocore.session import get_session

    for partition in ('aws', 'aws-cn', 'aws-us-gov'):
        longest = max(map(len, get_session().get_available_regions('lambda', partition)))
        assert longest == max(len(region) for known, region in PLACES if known == partition)


def everything(template: dict[str, Any]) -> dict[str, str]:
    """Parameters under which every conditional statement is there."""
    chosen = {
        'WorkerSubnetIds': 'subnet-1',
        'ApiSubnetIds': 'subnet-1',
        'BackupLockDays': '30',
        'BackupTargetResources': 'arn:aws:s3:::bucket,arn:aws:s3:::bucket/*',
        'BackupTargetKeys': 'arn:aws:kms:us-east-1:123456789012:key/1',
        'OtherBackupResources': 'arn:aws:s3:::bucket,arn:aws:s3:::bucket/*',
        'OtherBackupKeys': 'arn:aws:kms:us-east-1:123456789012:key/1',
    }
    return {**quotas.declared(template), **chosen}


def test_memory_and_concurrency_are_parameters(template: dict[str, Any]) -> None:
    deployment = Deployment(template, {**quotas.declared(template), 'BackupWorkerMemory': '3538'})
    assert quotas.named('Memory of a function').needs(deployment) == 3538
    machines = deployment.of_type('AWS::StepFunctions::StateMachine')
    for name in ('BackupVolumeMachine', 'RestoreBackupMachine'):
        text = deployment.scope().resolve(machines[name]['DefinitionString'])
        [mapped] = [state for state in json.loads(text)['States'].values() if state['Type'] == 'Map']
        assert mapped['MaxConcurrency'] == 4


def test_long_documents_stay_out_of_the_environment(template: dict[str, Any]) -> None:
    size = quotas.named('Size of environment variables').needs
    given = dict.fromkeys(['SchedulerOptions', 'BackupTargets', 'Backends'], '{}' + ' ' * 4000)
    grown = size(Deployment(template, {**quotas.declared(template), **given}))
    assert grown - size(Deployment(template, quotas.declared(template))) < 100


def test_an_environment_that_is_too_large_is_refused(template: dict[str, Any]) -> None:
    long = dict.fromkeys(('KeystoneUrl', 'GlanceUrl', 'NovaUrl', 'PublicEndpoint'), 'https://' + 'x' * 1000)
    quota = quotas.named('Size of environment variables')
    assert quota.needs(Deployment(template, {**quotas.declared(template), **long})) > quota.default


def test_every_kind_of_resource_with_a_limit_is_counted(template: dict[str, Any]) -> None:
    """A new kind of resource needs a row of QUOTAS, or is listed here with its limit."""
    counted = {'DynamoDB::Table', 'Events::Rule', 'IAM::ManagedPolicy', 'IAM::Role', 'Lambda::Function', 'S3::Bucket'}
    far = {
        'ApiGateway::Deployment': 'part of the API',
        'ApiGateway::RestApi': '600 in a region',
        'ApiGateway::Stage': '10 of an API',
        'CloudWatch::Alarm': '5,000',
        'CloudWatch::Dashboard': '500',
        'Events::EventBus': '100',
        'KMS::Key': '100,000',
        'Lambda::Alias': 'one of a function',
        'Lambda::EventInvokeConfig': 'one of a function',
        'Lambda::EventSourceMapping': 'no limit',
        'Lambda::LayerVersion': '75 GB of code, of which a deployment has 0.1',
        'Lambda::Permission': '20 KB of a function',
        'Lambda::Version': '75 GB of code; an old version is deleted with the update',
        'Logs::LogGroup': '1,000,000',
        'S3::BucketPolicy': 'one of a bucket',
        'SNS::Topic': '100,000',
        'SQS::Queue': 'no limit',
        'SQS::QueuePolicy': 'one of a queue',
        'SSM::Parameter': '10,000',
        'SecretsManager::Secret': '500,000',
        'StepFunctions::StateMachine': '10,000',
        'WAFv2::WebACLAssociation': 'one of a stage',
    }
    kinds = {body['Type'].removeprefix('AWS::') for body in template['Resources'].values()}
    assert kinds == counted | set(far)
