"""A deploy: what it refuses, and what it asks of AWS. The AWS CLI is a program that notes what it is asked."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from chalicelib.drivers import registry
from infra import deploy
from infra.deploy import Aws, Refused, Stage

IDENTITY = json.dumps({'users': [{'name': 'admin'}]})


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
    ],
)
def test_what_is_missing_is_refused_before_anything_happens(
    folder: Path, parameters: dict[str, str], complaint: str
) -> None:
    write(folder, **parameters)
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

    def __init__(self, folder: Path, fails: str = '') -> None:
        self._log = folder / 'asked'
        self._log.write_text('')
        self.program = folder / 'aws'
        self.program.write_text(
            f'#!{sys.executable}\nimport json, sys\n'
            f'open({str(self._log)!r}, "a").write(json.dumps(sys.argv[1:]) + "\\n")\n'
            'print("123456789012")\n'
            f'if {fails!r} and {fails!r} in sys.argv: sys.exit("access denied")\n'
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
        ('s3api', 'head-bucket'),
        ('cloudformation', 'package'),
        ('cloudformation', 'deploy'),
        ('cloudformation', 'describe-stacks'),
    ]
    assert cli.asked()[3][-2:] == ['--parameter-overrides', 'IdentityDocument=the-secret']
    assert '--no-fail-on-empty-changeset' in cli.asked()[3]
    assert 'the-secret' not in capsys.readouterr().out


def test_a_review_changes_nothing(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    deploy.deploy(STAGE, Aws(str(cli.program), 'eu-west-1', None), review=True)
    assert '--no-execute-changeset' in cli.asked()[-1]


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
