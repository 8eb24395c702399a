"""A deploy: what it refuses, and what it asks of AWS. The AWS CLI is a program that notes what it is asked."""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import pytest
import yaml

from chalicelib.drivers import registry
from infra import deploy
from infra.deploy import Aws, Refused, Stage

IDENTITY = json.dumps({'users': [{'name': 'admin'}]})


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
    write(folder, IdentityDocument='@mine.identity.json', AlarmEmail='a@b')
    stage = deploy.load('mine', folder)
    assert (stage.region, stage.stack) == ('eu-west-1', 'mine')
    assert stage.parameters == {'IdentityDocument': IDENTITY, 'AlarmEmail': 'a@b'}


@pytest.mark.parametrize(
    ('parameters', 'complaint'),
    [
        ({'Sizes': '1', 'KeystoneUrl': 'https://k/v3'}, 'no parameter Sizes'),
        ({'AlarmEmail': 'a@b'}, 'nobody could log in'),
        ({'IdentityDocument': '{"users": []}'}, 'nobody could log in'),
        ({'IdentityDocument': '@gone.json'}, r'gone\.json is not there'),
        ({'KeystoneUrl': 'https://k'}, 'must end in /v3'),
        ({'KeystoneUrl': 'https://k/v3', 'Backends': 'appliance'}, 'Backends is not a JSON object'),
        ({'KeystoneUrl': 'https://k/v3', 'WorkerSubnetIds': 'subnet-1'}, 'go together'),
        ({'KeystoneUrl': 'https://k/v3', 'SchedulerOptions': 'x' * 4097}, 'has 4097 bytes'),
        ({'KeystoneUrl': 'https://k/v3', 'Backends': '{' + ' ' * 4095 + '}'}, '--name /mine/backends'),
    ],
)
def test_what_is_missing_is_refused_before_anything_happens(
    folder: Path, parameters: dict[str, str], complaint: str
) -> None:
    write(folder, **parameters)
    with pytest.raises(Refused, match=complaint):
        deploy.load('mine', folder)


@pytest.mark.parametrize('name', ['of mine', '1st', 'a' * 48, 'under_scored', 'AWS-storage', 'ssm'])
def test_a_stack_whose_functions_could_not_be_named_is_refused(folder: Path, name: str) -> None:
    (folder / 'mine.yaml').write_text(
        yaml.safe_dump({'region': 'eu-west-1', 'stack': name, 'parameters': {'KeystoneUrl': 'https://k/v3'}})
    )
    with pytest.raises(Refused, match='letters, digits and hyphens'):
        deploy.load('mine', folder)


def test_the_longest_name_of_a_stack_leaves_room_for_every_function() -> None:
    template = json.loads((deploy.templates() / 'plain.json').read_text())['Resources'].values()
    functions = [body['Properties']['FunctionName'] for body in template if body['Type'] == 'AWS::Lambda::Function']
    rest = max(len(name['Fn::Sub'].removeprefix('${AWS::StackName}')) for name in functions)
    assert deploy.STACK.fullmatch('a' * (64 - rest))
    assert not deploy.STACK.fullmatch('a' * (65 - rest))


@pytest.mark.parametrize(
    ('text', 'complaint'),
    [('region: [', 'is not YAML'), ('- a', 'no names and values'), ('{region: a, stack: b, parameters: [c]}', 'names')],
)
def test_a_stage_that_is_no_stage_is_refused(folder: Path, text: str, complaint: str) -> None:
    (folder / 'mine.yaml').write_text(text)
    with pytest.raises(Refused, match=complaint):
        deploy.load('mine', folder)


def test_an_unknown_stage_says_how_to_make_one(folder: Path) -> None:
    with pytest.raises(Refused, match=r'copy deploy/example\.yaml'):
        deploy.load('theirs', folder)


def test_a_stage_without_a_stack_is_refused(folder: Path) -> None:
    (folder / 'mine.yaml').write_text('region: eu-west-1\nparameters: {AlarmEmail: a@b}\n')
    with pytest.raises(Refused, match='lacks stack'):
        deploy.load('mine', folder)


def test_without_a_stage_nothing_is_deployed(capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy.main([]) == 1
    assert 'make deploy STAGE=' in capsys.readouterr().err


def test_the_example_is_a_stage(tmp_path: Path) -> None:
    """As the README says: two files, renamed, and the people."""
    text = (deploy.FOLDER / 'example.yaml').read_text()
    (tmp_path / 'mine.yaml').write_text(text.replace('example', 'mine'))
    (tmp_path / 'mine.backends.json').write_text((deploy.FOLDER / 'example.backends.json').read_text())
    (tmp_path / 'mine.identity.json').write_text(IDENTITY)
    stage = deploy.load('mine', tmp_path)
    assert stage.stack == 'cinderless-mine'
    document = registry.load(stage.parameters['Backends'], lambda name: name)
    assert document.backend('cinderless@ebs-a').host == 'cinderless@ebs-a'


class Cli:
    """The program, and what it was asked."""

    def __init__(self, folder: Path, fails: str = '', answer: str = '123456789012', error: str = 'denied') -> None:
        self._log = folder / 'asked'
        self._log.write_text('')
        self.program = folder / 'aws'
        self.program.write_text(
            f'#!{sys.executable}\nimport json, sys\n'
            f'open({str(self._log)!r}, "a").write(json.dumps(sys.argv[1:]) + "\\n")\n'
            f'print({answer!r})\n'
            'names = dict(zip(sys.argv, sys.argv[1:]))\n'
            'if "--output-template-file" in names:\n'
            '    json.dump({"Resources": {}}, open(names["--output-template-file"], "w"), indent=4)\n'
            f'if {fails!r} and {fails!r} in sys.argv: sys.exit("access {error}")\n'
        )
        self.program.chmod(0o755)

    def asked(self) -> list[list[str]]:
        return [json.loads(line) for line in self._log.read_text().splitlines()]


STAGE = Stage('mine', 'eu-west-1', 'mine', {'IdentityDocument': 'the-secret'})


def test_a_deploy_uploads_and_updates_and_shows_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli = Cli(tmp_path)
    deploy.deploy(STAGE, Aws(str(cli.program), 'eu-west-1', 'me'), review=False)
    assert all(words[:4] == ['--region', 'eu-west-1', '--profile', 'me'] for words in cli.asked())
    verbs = [tuple(words[4:6]) for words in cli.asked()]
    assert verbs == [
        ('sts', 'get-caller-identity'),
        ('cloudformation', 'describe-stacks'),
        ('s3api', 'head-bucket'),
        ('cloudformation', 'package'),
        ('cloudformation', 'deploy'),
        ('cloudformation', 'describe-stacks'),
    ]
    assert cli.asked()[4][-2:] == ['--parameter-overrides', 'IdentityDocument=the-secret']
    assert '--no-fail-on-empty-changeset' in cli.asked()[4]
    assert '--disable-rollback' not in cli.asked()[4]
    assert 'the-secret' not in capsys.readouterr().out


def test_the_template_goes_out_without_white_space(tmp_path: Path, packaged: Path) -> None:
    """With the AWS CLI's indentation this one is larger than what CloudFormation takes."""
    deploy.deploy(STAGE, Aws(str(Cli(tmp_path).program), 'eu-west-1', None), review=False)
    assert packaged.read_text() == '{"Resources":{}}'
    whole = json.loads((deploy.templates() / 'template.json').read_text())
    packaged.write_text(json.dumps(whole, indent=4))
    deploy.compact(packaged)
    assert json.loads(packaged.read_text()) == whole
    packaged.write_text(json.dumps({'Description': 'x' * deploy.MAX_TEMPLATE}))
    with pytest.raises(Refused, match='CloudFormation takes 1000000'):
        deploy.compact(packaged)


def test_a_review_changes_nothing(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    deploy.deploy(STAGE, Aws(str(cli.program), 'eu-west-1', None), review=True)
    assert '--no-execute-changeset' in cli.asked()[-1]


@pytest.mark.parametrize(
    ('fails', 'answer'), [('describe-stacks', ''), ('', 'REVIEW_IN_PROGRESS'), ('', 'CREATE_FAILED')]
)
def test_a_first_deploy_is_never_rolled_back(tmp_path: Path, fails: str, answer: str) -> None:
    """What is never deleted would stay, and the second attempt would find its names taken."""
    cli = Cli(tmp_path, fails, answer, 'Stack with id mine does not exist')
    with contextlib.suppress(Refused):  # the outputs of a stack that is still not there
        deploy.deploy(STAGE, Aws(str(cli.program), 'eu-west-1', None), review=False)
    assert '--disable-rollback' in next(words for words in cli.asked() if words[2:4] == ['cloudformation', 'deploy'])


@pytest.mark.parametrize(
    'state', ['UPDATE_IN_PROGRESS', 'ROLLBACK_COMPLETE', 'DELETE_FAILED', 'UPDATE_ROLLBACK_FAILED']
)
def test_a_stack_that_takes_no_change_is_told_before_anything_is_uploaded(tmp_path: Path, state: str) -> None:
    cli = Cli(tmp_path, answer=state)
    with pytest.raises(Refused, match=f'the stack mine is {state}'):
        deploy.deploy(STAGE, Aws(str(cli.program), 'eu-west-1', None), review=False)
    assert len(cli.asked()) == 2


def test_the_bucket_of_artefacts_is_made_closed(tmp_path: Path) -> None:
    cli = Cli(tmp_path, fails='head-bucket')
    bucket = deploy.artefacts(STAGE, '123456789012', Aws(str(cli.program), 'eu-west-1', None))
    assert bucket == 'cinderless-artefacts-123456789012-eu-west-1'
    assert [words[2:4] for words in cli.asked()] == [
        ['s3api', 'head-bucket'],
        ['s3', 'mb'],
        ['s3api', 'put-public-access-block'],
    ]


def test_what_aws_refuses_is_told(tmp_path: Path) -> None:
    cli = Cli(tmp_path, fails='get-caller-identity')
    with pytest.raises(Refused, match='access denied'):
        deploy.deploy(STAGE, Aws(str(cli.program), 'eu-west-1', None), review=False)
