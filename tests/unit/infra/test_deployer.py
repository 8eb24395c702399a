"""The deployer's policies: compared with the commands of a deploy, and with AWS's list of what CloudFormation calls."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from cinderless import checks
from infra import deploy, deployer, remove, render
from infra.deploy import Aws
from infra.stage import Stage
from tests import iam
from tests.unit.infra.aws_cli import Cli

ACCOUNT, REGION = '123456789012', 'eu-west-1'
PLACE = f'{REGION}:{ACCOUNT}'
STAGE = Stage('mine', REGION, 'mine', {'IdentityDocument': '{"users": []}'}, ACCOUNT)
ARTEFACTS = f'arn:aws:s3:::cinderless-artefacts-{ACCOUNT}-{REGION}'

#: Groups for a deploy; the one for a removal is attached alone.
DEPLOYING = ('commands', 'records', 'compute', 'identities')

#: Command of the AWS CLI -> the actions that IAM evaluates for it, with resource.
COMMANDS: Mapping[str, tuple[tuple[str, str], ...]] = {
    'sts get-caller-identity': (('sts:GetCallerIdentity', '*'),),
    'cloudformation describe-stacks': (('cloudformation:DescribeStacks', '{stack}'),),
    'cloudformation describe-stack-resource': (('cloudformation:DescribeStackResource', '{stack}'),),
    'cloudformation list-stack-resources': (('cloudformation:ListStackResources', '{stack}'),),
    'cloudformation list-stacks': (('cloudformation:ListStacks', '*'),),
    'cloudformation delete-stack': (('cloudformation:DeleteStack', '{stack}'),),
    'cloudformation wait': (('cloudformation:DescribeStacks', '{stack}'),),
    # https://github.com/aws/aws-cli: customizations/cloudformation/deployer.py and artifact_exporter.py
    'cloudformation deploy': (
        ('cloudformation:CreateChangeSet', '{stack}'),
        ('cloudformation:DescribeChangeSet', '{stack}'),
        ('cloudformation:DescribeStacks', '{stack}'),
        ('cloudformation:ExecuteChangeSet', '{stack}'),
        ('cloudformation:GetTemplateSummary', '*'),
        ('s3:PutObject', f'{ARTEFACTS}/mine/object'),
        ('s3:GetObject', f'{ARTEFACTS}/mine/object'),
    ),
    'cloudformation package': (
        ('s3:PutObject', f'{ARTEFACTS}/mine/object'),
        ('s3:GetObject', f'{ARTEFACTS}/mine/object'),
    ),
    'service-quotas get-service-quota': (('servicequotas:GetServiceQuota', '*'),),
    'lambda get-account-settings': (('lambda:GetAccountSettings', '*'),),
    'lambda list-functions': (('lambda:ListFunctions', '*'),),
    'iam get-account-summary': (('iam:GetAccountSummary', '*'),),
    'apigateway get-account': (('apigateway:GET', f'arn:aws:apigateway:{REGION}::/account'),),
    'apigateway get-stage': (('apigateway:GET', f'arn:aws:apigateway:{REGION}::/restapis/api-1/stages/Stage'),),
    'apigateway delete-stage': (('apigateway:DELETE', f'arn:aws:apigateway:{REGION}::/restapis/api-1/stages/Stage'),),
    'dynamodb describe-table': (('dynamodb:DescribeTable', f'arn:aws:dynamodb:{PLACE}:table/mine-volumes'),),
    'cloudwatch describe-alarms': (('cloudwatch:DescribeAlarms', f'arn:aws:cloudwatch:{PLACE}:alarm:mine-api'),),
    'sqs get-queue-url': (('sqs:GetQueueUrl', f'arn:aws:sqs:{PLACE}:mine-work-dead'),),
    'sqs get-queue-attributes': (('sqs:GetQueueAttributes', f'arn:aws:sqs:{PLACE}:mine-work-dead'),),
    's3api head-bucket': (('s3:ListBucket', ARTEFACTS),),
    's3 mb': (('s3:CreateBucket', ARTEFACTS),),
    's3api put-public-access-block': (('s3:PutBucketPublicAccessBlock', ARTEFACTS),),
    's3api put-bucket-versioning': (('s3:PutBucketVersioning', ARTEFACTS),),
    's3api put-bucket-lifecycle-configuration': (('s3:PutLifecycleConfiguration', ARTEFACTS),),
    's3api put-bucket-policy': (('s3:PutBucketPolicy', ARTEFACTS),),
    'ssm get-parameter': (('ssm:GetParameter', '{identity}'),),
    'ssm put-parameter': (('ssm:PutParameter', '{identity}'),),
    'ssm add-tags-to-resource': (('ssm:AddTagsToResource', '{identity}'),),
    'ssm list-tags-for-resource': (('ssm:ListTagsForResource', '{identity}'),),
    'ssm delete-parameter': (('ssm:DeleteParameter', '{identity}'),),
    'ssm delete-parameters': (('ssm:DeleteParameters', '{identity}'),),
    'secretsmanager describe-secret': (('secretsmanager:DescribeSecret', '{secret}'),),
    'secretsmanager get-secret-value': (('secretsmanager:GetSecretValue', '{secret}'),),
    'secretsmanager put-secret-value': (('secretsmanager:PutSecretValue', '{secret}'),),
}

ARNS = {
    'stack': f'arn:aws:cloudformation:{PLACE}:stack/mine/5f1b',
    'identity': f'arn:aws:ssm:{PLACE}:parameter/mine/identity',
    'secret': f'arn:aws:secretsmanager:{PLACE}:secret:mine/identity-AbCdEf',
}

#: What a removal with DATA adds, with the actions of its commands (infra/remove.py).
REMOVING: tuple[tuple[str, str], ...] = (
    ('s3:ListBucket', 'arn:aws:s3:::mine-backupbucket-1abc'),
    ('s3:ListBucketVersions', 'arn:aws:s3:::mine-backupbucket-1abc'),
    ('s3:DeleteBucket', 'arn:aws:s3:::mine-backupbucket-1abc'),
    ('s3:DeleteObjectVersion', 'arn:aws:s3:::mine-backupbucket-1abc/object'),
    ('dynamodb:DescribeTable', f'arn:aws:dynamodb:{PLACE}:table/mine-volumes'),
    ('dynamodb:UpdateTable', f'arn:aws:dynamodb:{PLACE}:table/mine-volumes'),
    ('dynamodb:DeleteTable', f'arn:aws:dynamodb:{PLACE}:table/mine-volumes'),
    ('kms:DescribeKey', f'arn:aws:kms:{PLACE}:key/1'),
    ('kms:ScheduleKeyDeletion', f'arn:aws:kms:{PLACE}:key/1'),
)


#: AWS's answers to a smoke test. It reads the pools, too, if its credentials may; a deployer need not.
SMOKE = {
    'cloudwatch describe-alarms': [],
    'sqs get-queue-url': {'QueueUrl': 'https://queue'},
    'sqs get-queue-attributes': {'Attributes': {'ApproximateNumberOfMessages': '0'}},
}


@pytest.fixture(scope='module')
def documents() -> dict[str, Any]:
    return deployer.of_stage(STAGE, ACCOUNT, 'aws')


def decide(documents: Mapping[str, Any], groups: Iterable[str], asked: Iterable[tuple[str, str]]) -> dict[str, str]:
    """{action on resource: decision}, with the context of this stack's key."""
    of_stack = {'aws:ResourceTag/aws:cloudformation:stack-name': 'mine'}
    questions = [
        iam.Question('deployer', action, resource, of_stack if resource.startswith('arn:aws:kms') else {}, ACCOUNT)
        for action, resource in asked
    ]
    results = iam.decisions({'deployer': [documents[group] for group in groups]}, KEY_POLICY, questions)
    return {f'{one.action} on {one.resource}': result for one, result in zip(questions, results, strict=True)}


#: As infra/resources.yaml has it: the account decides by its own policies.
KEY_POLICY = {
    'Version': '2012-10-17',
    'Statement': [
        {
            'Effect': 'Allow',
            'Principal': {'AWS': f'arn:aws:iam::{ACCOUNT}:root'},
            'Action': 'kms:*',
            'Resource': '*',
        }
    ],
}


def _commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Every command of first deploys, updates, moves and removals, as they run."""
    monkeypatch.setattr(deploy, 'PACKAGED', tmp_path / 'packaged.json')
    found: set[str] = set()
    for status, parameters, given in (
        ('', {}, {}),
        ('UPDATE_COMPLETE', {}, {'ApiAccessLogs': 'true'}),
        ('UPDATE_COMPLETE', {'SecretStore': 'SecretsManager'}, {'SecretStore': 'ParameterStore'}),
        ('UPDATE_COMPLETE', {}, {'SecretStore': 'SecretsManager'}),
    ):
        answers = {
            'apigateway get-account': 'arn:aws:iam::1:role/logs',
            'lambda get-account-settings': {'ConcurrentExecutions': 10, 'UnreservedConcurrentExecutions': 10},
            'ssm get-parameter': '{"signing_key": "k"}',
            'secretsmanager get-secret-value': '{"signing_key": "k"}',
        }
        missing = {'s3api head-bucket': 'An error occurred (404)', 'ssm get-parameter': 'ParameterNotFound'}
        cli = Cli(tmp_path, status=status, parameters=parameters, answers=answers, errors={} if status else missing)
        aws, stage = Aws(str(cli.program), REGION, None), STAGE._replace(parameters={**STAGE.parameters, **given})
        try:
            deploy.deploy(stage, aws, *deploy.prepare(stage, aws), review=False)
        except (deploy.Refused, ValueError):  # the outputs of a stack that this program never creates
            assert status == ''
        found |= set(cli.verbs())
        smoke = checks.Quiet(Aws(str(Cli(tmp_path, answers=SMOKE).program), REGION, None))
        for check in (checks._alarms, checks._dead_letters):
            check('mine', smoke)
        found |= set(Cli.read(tmp_path))
        remove.remove(stage, Aws(str(Cli(tmp_path).program), REGION, None), data=False)
        found |= set(Cli.read(tmp_path))
    return found


def test_every_command_of_a_deploy_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, documents: dict[str, Any]
) -> None:
    commands = _commands(tmp_path, monkeypatch)
    assert commands - set(COMMANDS) == set()
    asked = [(action, resource.format(**ARNS)) for command in commands for action, resource in COMMANDS[command]]
    decided = decide(documents, ['commands'], asked)
    assert {what for what, result in decided.items() if result != 'Allowed'} == set()


def test_no_command_is_allowed_that_no_deploy_runs(documents: dict[str, Any]) -> None:
    """But for those of the AWS CLI's own: waiting, the template in S3, the key behind SSM, the SAM transform."""
    known = {action for rows in COMMANDS.values() for action, _ in rows}
    allowed = {action for each in documents['commands']['Statement'] for action in each['Action']}
    own = {
        'kms:Decrypt',
        'kms:Encrypt',
        'kms:GenerateDataKey',
        'cloudformation:DescribeStackResources',
    }
    assert allowed - known <= own


@pytest.mark.parametrize(
    ('action', 'resource'),
    [
        ('cloudformation:DeleteStack', f'arn:aws:cloudformation:{PLACE}:stack/other/5f1b'),
        ('ssm:GetParameter', f'arn:aws:ssm:{PLACE}:parameter/other/identity'),
        ('secretsmanager:GetSecretValue', f'arn:aws:secretsmanager:{PLACE}:secret:other/identity-AbCdEf'),
        ('dynamodb:UpdateTable', f'arn:aws:dynamodb:{PLACE}:table/other-volumes'),
        ('dynamodb:DeleteTable', f'arn:aws:dynamodb:{PLACE}:table/mine-volumes'),
        ('dynamodb:GetItem', f'arn:aws:dynamodb:{PLACE}:table/mine-volumes'),
        ('s3:GetObject', 'arn:aws:s3:::mine-backupbucket-1abc/object'),
        ('s3:DeleteObject', 'arn:aws:s3:::mine-backupbucket-1abc/object'),
        ('iam:CreateRole', f'arn:aws:iam::{ACCOUNT}:role/admin'),
        ('iam:PassRole', f'arn:aws:iam::{ACCOUNT}:role/admin'),
        ('iam:CreateUser', f'arn:aws:iam::{ACCOUNT}:user/any'),
        ('lambda:UpdateFunctionCode', f'arn:aws:lambda:{PLACE}:function:other-api'),
        ('sts:AssumeRole', f'arn:aws:iam::{ACCOUNT}:role/mine-ApiRole-1'),
    ],
)
def test_nothing_of_others_and_no_data_is_reached(documents: dict[str, Any], action: str, resource: str) -> None:
    [result] = decide(documents, DEPLOYING, [(action, resource)]).values()
    assert result == 'ImplicitlyDenied'


def test_data_is_deleted_with_the_policy_for_it_only(documents: dict[str, Any]) -> None:
    assert set(decide(documents, ['removal'], REMOVING).values()) == {'Allowed'}


def handlers(kind: str) -> set[str]:
    """What CloudFormation calls to create, read, update and delete one type, by AWS's own schema."""
    from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

    found = PROVIDER_SCHEMA_MANAGER.get_resource_schema('us-east-1', kind).schema.get('handlers', {})
    return {action for name, body in found.items() if name != 'list' for action in body.get('permissions', ())}


def kinds() -> Iterator[str]:
    resources = json.loads((render.templates() / 'plain.json').read_text())['Resources'].values()
    yield from sorted({body['Type'] for body in resources})


def needed() -> dict[str, set[str]]:
    """{type: actions that a policy must allow}, without those that the table explains as unused."""
    unused = deployer.table()['unused']
    return {
        kind: {action for action in handlers(kind) if not any(fnmatch.fnmatchcase(action, each) for each in unused)}
        for kind in kinds()
    }


def matches(action: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(action, pattern) for pattern in patterns)


def test_whatever_cloudformation_calls_is_allowed_or_explained(documents: dict[str, Any]) -> None:
    allowed = {action for group in DEPLOYING for each in documents[group]['Statement'] for action in each['Action']}
    missing = {
        kind: {action for action in actions if not matches(action, allowed)} for kind, actions in needed().items()
    }
    assert {kind: actions for kind, actions in missing.items() if actions} == {}


def test_cloudformation_is_allowed_no_more(documents: dict[str, Any]) -> None:
    wanted = {action for kind in kinds() for action in handlers(kind)}
    for group in DEPLOYING[1:]:
        for each in documents[group]['Statement']:
            for action in each['Action']:
                assert any(fnmatch.fnmatchcase(one, action) for one in wanted), (group, each['Sid'], action)


def test_every_explanation_is_about_something(documents: dict[str, Any]) -> None:
    wanted = {action for kind in kinds() for action in handlers(kind)}
    assert [
        each for each in deployer.table()['unused'] if not any(fnmatch.fnmatchcase(one, each) for one in wanted)
    ] == []


def test_policies_fit_the_limit_of_iam_for_the_longest_names() -> None:
    stage = Stage('any', 'us-gov-west-1', 'a' * 47, {'BucketName': 'b' * 63})
    for group, document in deployer.of_stage(stage, ACCOUNT, 'aws-us-gov').items():
        assert len(re.sub(r'\s', '', json.dumps(document))) <= deployer.LIMIT, group


def test_the_page_has_the_policies() -> None:
    page = (render.ROOT / 'docs' / 'reference' / 'deployer-policies.md').read_text()
    blocks = [json.loads(text) for text in re.findall(r'```json\n(.*?)```', page, re.DOTALL)]
    assert blocks == list(deployer.policies(deployer.PLACEHOLDERS).values())


def test_the_policies_of_a_stage_are_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(deployer, 'load', lambda name, checked: STAGE)
    assert deployer.main(['mine']) == 0
    assert json.loads(capsys.readouterr().out) == deployer.of_stage(STAGE, ACCOUNT, 'aws')
    monkeypatch.setattr(deployer, 'load', lambda name, checked: STAGE._replace(account=''))
    assert deployer.main(['mine']) == 1
    assert 'add account: with its 12 digits' in capsys.readouterr().err
