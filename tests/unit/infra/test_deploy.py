"""A deploy: what it refuses, and its calls of AWS. The AWS CLI is a program that records its calls."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from chalicelib.drivers import registry
from chalicelib.identity.secret import hash_secret
from cinderless.program import main
from infra import deploy, render, stage
from infra.deploy import Aws, Refused, Stage
from tests.unit.infra.aws_cli import Cli

AGENT = json.dumps(
    {
        'backends': [
            {
                'name': 'fast',
                'driver': 'appliance',
                'options': {'url': 'https://192.0.2.1:18700', 'fingerprint': 'ab' * 32},
                'secrets': {'secret': {'secret': '%s'}},
            }
        ]
    }
)

TARGETS = json.dumps({'far': {'bucket': 'far', 'region': 'eu-north-1', 'kms_key': 'arn:aws:kms:eu-north-1:1:key/1'}})

IDENTITY = json.dumps({'users': [{'name': 'admin', 'password_hash': hash_secret('x')}]})


@pytest.fixture(autouse=True)
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(deploy, 'PACKAGED', tmp_path / 'packaged.json')
    return tmp_path / 'packaged.json'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / 'mine.identity.json').write_text(IDENTITY + '\n')
    return tmp_path


def write(folder: Path, **parameters: str) -> None:
    told = {'region': 'eu-west-1', 'stack': 'mine', 'parameters': parameters}
    (folder / 'mine.yaml').write_text(yaml.safe_dump(told))


def test_a_stage_is_read_with_its_files(folder: Path) -> None:
    write(folder, IdentityDocument='@mine.identity.json', AlarmEmail='a@b.org')
    mine = stage.load('mine', folder)
    assert (mine.region, mine.stack) == ('eu-west-1', 'mine')
    assert mine.parameters == {'IdentityDocument': IDENTITY, 'AlarmEmail': 'a@b.org'}


@pytest.mark.parametrize(
    ('parameters', 'complaint'),
    [
        ({'Sizes': '1', 'KeystoneUrl': 'https://k/v3'}, 'no parameter Sizes'),
        ({'AlarmEmail': 'a@b'}, 'no user could log in'),
        ({'IdentityDocument': '{"users": []}'}, 'no user could log in'),
        ({'IdentityDocument': '@gone.json'}, r'gone\.json does not exist'),
        ({'KeystoneUrl': 'https://k'}, 'must end in /v3'),
        ({'KeystoneUrl': 'https://k/v3', 'Backends': 'appliance'}, 'Backends is not a JSON object'),
        ({'KeystoneUrl': 'https://k/v3', 'WorkerSubnetIds': 'subnet-1'}, 'go together'),
        ({'KeystoneUrl': 'https://k/v3', 'SchedulerOptions': 'x' * 4097}, 'has 4097 bytes'),
        ({'KeystoneUrl': 'https://k/v3', 'Backends': AGENT % 'other/agent'}, "names the secret 'other/agent'"),
        ({'KeystoneUrl': 'https://k/v3', 'Backends': AGENT % 'mine/identity'}, "names the secret 'mine/identity'"),
        ({'KeystoneUrl': 'https://k/v3', 'BackupWorkerMemory': '64'}, 'whole number from 1024 to 10240'),
        ({'KeystoneUrl': 'https://k/v3', 'BackupConcurrency': 'many'}, 'whole number from 1 to 40'),
        ({'KeystoneUrl': 'https://k/v3', 'Tracing': 'Maybe'}, 'allowed are Active, PassThrough'),
        ({'KeystoneUrl': 'https://k/v3', 'RecoveryPublicKey': 'abc'}, 'it must match'),
        ({'KeystoneUrl': 'https://k/v3', 'KmsKeyArn': 'arn:aws:kms:us-east-1:123456789012:key/1'}, 'one in eu-west-1'),
        ({'KeystoneUrl': 'https://k/v3', 'BackupTargets': TARGETS}, 'must list arn:aws:s3:::far'),
        ({'KeystoneUrl': 'https://k/v3', 'BackupTargets': TARGETS}, 'BackupTargetKeys must list it'),
        ({'KeystoneUrl': 'https://k/v3', 'Backends': '{' + ' ' * 4095 + '}'}, '--name /mine/backends'),
    ],
)
def test_what_is_missing_is_refused_before_anything_happens(
    folder: Path, parameters: dict[str, str], complaint: str
) -> None:
    write(folder, **parameters)
    with pytest.raises(Refused, match=complaint):
        stage.load('mine', folder)


@pytest.mark.parametrize('name', ['of mine', '1st', 'a' * 48, 'under_scored', 'AWS-storage', 'ssm'])
def test_a_stack_whose_functions_could_not_be_named_is_refused(folder: Path, name: str) -> None:
    (folder / 'mine.yaml').write_text(
        yaml.safe_dump({'region': 'eu-west-1', 'stack': name, 'parameters': {'KeystoneUrl': 'https://k/v3'}})
    )
    with pytest.raises(Refused, match='letters, digits and hyphens'):
        stage.load('mine', folder)


def test_the_longest_name_of_a_stack_leaves_room_for_every_function() -> None:
    template = json.loads((render.templates() / 'plain.json').read_text())['Resources'].values()
    functions = [body['Properties']['FunctionName'] for body in template if body['Type'] == 'AWS::Lambda::Function']
    rest = max(len(name['Fn::Sub'].removeprefix('${AWS::StackName}')) for name in functions)
    assert stage.STACK.fullmatch('a' * (64 - rest))
    assert not stage.STACK.fullmatch('a' * (65 - rest))


@pytest.mark.parametrize(
    ('text', 'complaint'),
    [('region: [', 'is not YAML'), ('- a', 'no names and values'), ('{region: a, stack: b, parameters: [c]}', 'names')],
)
def test_a_stage_that_is_no_stage_is_refused(folder: Path, text: str, complaint: str) -> None:
    (folder / 'mine.yaml').write_text(text)
    with pytest.raises(Refused, match=complaint):
        stage.load('mine', folder)


def test_an_unknown_stage_says_how_to_make_one(folder: Path) -> None:
    with pytest.raises(Refused, match=r'copy deploy/example\.yaml'):
        stage.load('theirs', folder)


def test_a_stage_without_a_stack_is_refused(folder: Path) -> None:
    (folder / 'mine.yaml').write_text('region: eu-west-1\nparameters: {AlarmEmail: a@b}\n')
    with pytest.raises(Refused, match='lacks stack'):
        stage.load('mine', folder)


def test_without_a_stage_nothing_is_deployed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['deploy']) == 2
    assert "Missing argument 'STAGE'" in capsys.readouterr().err


def test_the_example_is_a_stage(tmp_path: Path) -> None:
    """As in the README: two files, renamed, and the people."""
    text = (stage.FOLDER / 'example.yaml').read_text()
    (tmp_path / 'mine.yaml').write_text(text.replace('example', 'mine'))
    (tmp_path / 'mine.backends.json').write_text((stage.FOLDER / 'example.backends.json').read_text())
    (tmp_path / 'mine.identity.json').write_text(IDENTITY)
    mine = stage.load('mine', tmp_path)
    assert mine.stack == 'cinderless-mine'
    document = registry.load(mine.parameters['Backends'], lambda name: name)
    assert document.backend('cinderless@ebs-a').host == 'cinderless@ebs-a'


STAGE = Stage('mine', 'eu-west-1', 'mine', {'IdentityDocument': '{"users": ["the-secret"]}'})


def prepared(cli: Cli, review: bool = False, stage: Stage = STAGE) -> None:
    """What the command does but for building the archives."""
    aws = Aws(str(cli.program), 'eu-west-1', 'me')
    deploy.deploy(stage, aws, *deploy.prepare(stage, aws), review=review)


def test_a_deploy_checks_first_then_uploads_and_shows_no_secret(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = Cli(tmp_path)
    prepared(cli)
    assert all(words[:4] == ['--region', 'eu-west-1', '--profile', 'me'] for words in cli.requests())
    verbs = cli.verbs()
    assert verbs[:2] == ['sts get-caller-identity', 'cloudformation describe-stacks']
    assert set(verbs[2 : verbs.index('apigateway get-stage')]) == {
        'service-quotas get-service-quota',
        'lambda get-account-settings',
        'iam get-account-summary',
    }
    assert verbs[verbs.index('s3api put-bucket-policy') + 1 :] == [
        'cloudformation package',
        'cloudformation deploy',
        'cloudformation describe-stacks',
    ]
    command = cli.requests('cloudformation deploy')[0]
    assert '--no-fail-on-empty-changeset' in command
    assert '--disable-rollback' not in command
    assert not any('the-secret' in word for words in cli.requests() for word in words)
    assert 'the-secret' not in capsys.readouterr().out


def test_secrets_are_in_a_file_of_this_user_alone_and_not_left_behind(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    prepared(cli)
    [(path, mode, text)] = cli.files()
    assert (mode, json.loads(text)) == (0o600, ['IdentityDocument={}', 'KeystonePassword='])
    assert not Path(path).exists()


def test_the_real_cli_reads_the_file_as_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own parser, up to where it would call AWS."""
    from awscli.clidriver import create_clidriver
    from awscli.customizations.cloudformation.deploy import DeployCommand

    seen: list[Any] = []
    monkeypatch.setattr(
        DeployCommand, '_run_main', lambda self, parsed, _: seen.append(parsed.parameter_overrides) or 0
    )
    with deploy.overrides({'A': 'x y', 'B': '{"a": "="}'}) as path:
        words = ['--template-file', 'any', '--stack-name', 'any', '--parameter-overrides', f'file://{path}']
        assert create_clidriver().main(['--region', 'eu-west-1', 'cloudformation', 'deploy', *words]) == 0
    assert seen == [['A=x y', 'B={"a": "="}']]


def test_the_template_goes_out_without_white_space(tmp_path: Path, packaged: Path) -> None:
    """With the AWS CLI's indentation this one is larger than what CloudFormation takes."""
    prepared(Cli(tmp_path))
    assert packaged.read_text() == '{"Resources":{}}'
    whole = json.loads((render.templates() / 'template.json').read_text())
    packaged.write_text(json.dumps(whole, indent=4))
    deploy.compact(packaged)
    assert json.loads(packaged.read_text()) == whole
    packaged.write_text(json.dumps({'Description': 'x' * deploy.MAX_TEMPLATE}))
    with pytest.raises(Refused, match='CloudFormation takes 1000000'):
        deploy.compact(packaged)


def test_a_review_changes_nothing(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    prepared(cli, review=True)
    assert '--no-execute-changeset' in cli.requests('cloudformation deploy')[0]
    assert 'apigateway delete-stage' not in cli.verbs()


def test_a_review_of_a_move_warns_and_moves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A change set that is executed by hand would delete the secret with its edits."""
    secret = {'secretsmanager get-secret-value': '{"signing_key": "k"}'}
    cli = Cli(tmp_path, parameters={'SecretStore': 'SecretsManager'}, answers=secret)
    back = STAGE._replace(parameters={**STAGE.parameters, 'SecretStore': 'ParameterStore'})
    prepared(cli, review=True, stage=back)
    assert 'execute the change set with make deploy, not by hand' in capsys.readouterr().out
    assert 'ssm put-parameter' not in cli.verbs()


@pytest.mark.parametrize('status', ['', 'REVIEW_IN_PROGRESS', 'CREATE_FAILED'])
def test_a_first_deploy_is_never_rolled_back(tmp_path: Path, status: str) -> None:
    """What is never deleted would stay, and the second attempt would find its names taken."""
    cli = Cli(tmp_path, status=status)
    with contextlib.suppress(Refused):  # the outputs of a stack that this program never creates
        prepared(cli)
    assert '--disable-rollback' in cli.requests('cloudformation deploy')[0]


@pytest.mark.parametrize(
    'state', ['UPDATE_IN_PROGRESS', 'ROLLBACK_COMPLETE', 'DELETE_FAILED', 'UPDATE_ROLLBACK_FAILED']
)
def test_a_stack_that_takes_no_change_is_reported_before_anything_is_uploaded(tmp_path: Path, state: str) -> None:
    cli = Cli(tmp_path, status=state)
    with pytest.raises(Refused, match=f'the stack mine is {state}'):
        prepared(cli)
    assert len(cli.requests()) == 2


def test_the_second_stage_of_older_releases_is_removed(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    prepared(cli)
    assert cli.requests('apigateway delete-stage')[0][-4:] == ['--rest-api-id', 'api-1', '--stage-name', 'Stage']
    gone = Cli(tmp_path, errors={'apigateway get-stage': 'NotFoundException'})
    prepared(gone)
    assert 'apigateway delete-stage' not in gone.verbs()


def test_with_snapstart_new_code_or_parameters_publish_a_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def label(**parameters: str) -> str:
        cli = Cli(tmp_path)
        prepared(cli, stage=STAGE._replace(parameters={**STAGE.parameters, **parameters}))
        [(_, _, text)] = cli.files()
        return next((each for each in json.loads(text) if each.startswith('ApiVersion=')), '')

    assert label() == ''
    first = label(SnapStart='true')
    assert label(SnapStart='true') == first != ''
    assert label(SnapStart='true', ApiMemory='2048') != first
    monkeypatch.setattr(deploy, 'digest', lambda: 'other code')
    assert label(SnapStart='true') != first


def test_tags_and_the_account_of_a_stage(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    prepared(cli, stage=STAGE._replace(account='123456789012', tags={'team': 'storage'}))
    words = cli.requests('cloudformation deploy')[0]
    assert words[words.index('--tags') + 1] == 'team=storage'
    with pytest.raises(Refused, match='of account 123456789012, and the stage mine of 210987654321'):
        prepared(cli, stage=STAGE._replace(account='210987654321'))


def test_what_aws_refuses_is_reported(tmp_path: Path) -> None:
    cli = Cli(tmp_path, errors={'sts get-caller-identity': 'ExpiredToken'})
    with pytest.raises(Refused, match='ExpiredToken'):
        prepared(cli)
    assert len(cli.requests()) == 1


def test_nothing_is_built_before_the_checks_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[int] = []
    monkeypatch.setattr(deploy.package, 'main', lambda progress: built.append(1))
    cli = Cli(tmp_path, errors={'sts get-caller-identity': 'ExpiredToken'})
    with pytest.raises(Refused):
        deploy.run(STAGE, Aws(str(cli.program), 'eu-west-1', None), review=False)
    assert built == []


def test_nothing_is_deployed_that_was_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy.package, 'main', lambda progress: 1)
    cli = Cli(tmp_path)
    with pytest.raises(Refused, match='could not be built'):
        deploy.run(STAGE, Aws(str(cli.program), 'eu-west-1', None), review=False)
    assert not cli.requests('cloudformation deploy')


def test_the_bucket_of_artefacts_is_made_closed_and_owned(tmp_path: Path) -> None:
    cli = Cli(tmp_path, errors={'s3api head-bucket': 'An error occurred (404) when calling HeadBucket: Not Found'})
    prepared(cli)
    calls = [words for words in cli.requests() if words[4] in ('s3', 's3api')]
    assert [words[5] for words in calls] == [
        'head-bucket',
        'mb',
        'put-public-access-block',
        'put-bucket-versioning',
        'put-bucket-lifecycle-configuration',
        'put-bucket-policy',
    ]
    for words in calls:
        assert words[5] == 'mb' or words[words.index('--expected-bucket-owner') + 1] == '123456789012'
    policy = json.loads(calls[-1][-1])
    assert policy['Statement'][0]['Condition'] == {'Bool': {'aws:SecureTransport': 'false'}}


def test_a_bucket_that_another_account_took_is_refused(tmp_path: Path) -> None:
    """Its name can be predicted: what is deployed would be read from there."""
    cli = Cli(tmp_path, errors={'s3api head-bucket': 'An error occurred (403) when calling HeadBucket: Forbidden'})
    with pytest.raises(Refused, match='is not one of account 123456789012'):
        prepared(cli)
    assert cli.verbs()[-1] == 's3api head-bucket'
