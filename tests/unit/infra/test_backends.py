"""A backends document is checked before it is in force: what is wrong is named, and no backend is reached."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from cinderless.program import main
from infra import stage as stages

ONTAP: dict[str, Any] = {
    'name': 'fsx',
    'driver': 'ontap',
    'availability_zone': 'nova',
    'options': {'url': 'https://192.0.2.1', 'svm': 'svm1', 'fingerprint': 'ab' * 32, 'pools': ['fast']},
    'secrets': {
        'password': {'secret': 'cinderless/fsx', 'key': 'password'},
        'chap_secret': {'secret': 'cinderless/fsx', 'key': 'chap'},
    },
}
APPLIANCE: dict[str, Any] = {
    'name': 'fast',
    'driver': 'appliance',
    'options': {'url': 'https://192.0.2.2:18700', 'fingerprint': 'cd' * 32},
    'secrets': {'secret': {'secret': 'cinderless/fast'}},
}


def run(folder: Path, *backends: Any) -> int:
    path = folder / 'backends.json'
    path.write_text(json.dumps({'backends': backends}))
    return main(['backends', 'check', str(path)])


def test_a_good_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path, ONTAP, APPLIANCE) == 0
    assert capsys.readouterr().out == 'cinderless@fsx: ontap\ncinderless@fast: appliance\n'


@pytest.mark.parametrize(
    ('where', 'change', 'problem'),
    [
        ('options', {'svm': None}, 'options.svm'),
        ('options', {'svm': ...}, 'options.svm is missing'),
        ('options', {'url': 'http://192.0.2.1'}, 'https://'),
        ('options', {'fingerprint': 'ab'}, 'fingerprint'),
        ('options', {'password': 'in clear'}, 'options.password is a secret'),
        ('options', {'colour': 'red'}, "unknown key 'colour'"),
        ('options', {'iscsi_port': '3260'}, 'options.iscsi_port'),
        ('secrets', {'chap_secret': ...}, 'secrets.chap_secret is missing'),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str, change: dict[str, Any], problem: str
) -> None:
    part = {key: value for key, value in {**ONTAP[where], **change}.items() if value is not ...}
    assert run(tmp_path, APPLIANCE, {**ONTAP, where: part}) == 1
    said = capsys.readouterr().err
    assert problem in said
    assert 'in clear' not in said


def test_a_file_that_is_not_there_and_a_wrong_call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['backends', 'check', str(tmp_path / 'gone')]) == 1
    assert main(['backends', 'check']) == 2
    assert 'gone' in capsys.readouterr().err


class TestDeployment:
    """The same document as a stage's parameter, in JSON or YAML."""

    def stage(self, folder: Path, document: str, name: str) -> stages.Stage:
        (folder / name).write_text(document)
        parameters = {'KeystoneUrl': 'https://k/v3', 'Backends': f'@{name}'}
        (folder / 'mine.yaml').write_text(
            yaml.safe_dump({'region': 'eu-west-1', 'stack': 'cinderless', 'parameters': parameters})
        )
        return stages.load('mine', folder)

    def test_one_that_is_wrong_is_refused_with_its_key(self, tmp_path: Path) -> None:
        document = json.dumps({'backends': [{**APPLIANCE, 'options': {}}]})
        with pytest.raises(stages.Refused, match=r'Backends: .*cinderless@fast.*options\.url is missing'):
            self.stage(tmp_path, document, 'mine.json')

    def test_yaml_becomes_json(self, tmp_path: Path) -> None:
        stage = self.stage(tmp_path, yaml.safe_dump({'backends': [ONTAP, APPLIANCE]}), 'mine.backends.yaml')
        assert json.loads(stage.parameters['Backends']) == {'backends': [ONTAP, APPLIANCE]}
