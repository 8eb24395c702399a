"""Machines as files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra import asl
from infra.render import ROOT

#: In a definition, in the place where the template puts a worker's.
FUNCTION = 'arn:aws:lambda:us-east-1:123456789012:function:worker'

MACHINE = """
# A comment stays in the file.
StartAt: Only
States:
  Only:
    Type: Task
    Resource: ${VolumeWorkerArn}
    End: true
"""


def test_a_file_becomes_compact_json_and_keeps_what_the_template_fills_in(tmp_path: Path) -> None:
    path = tmp_path / 'only.asl.yaml'
    path.write_text(MACHINE)
    text = asl.render(path)
    parameters = {'task': 'only', 'input.$': '$'}
    assert json.loads(text)['States'] == {
        'Only': {'Type': 'Task', 'Resource': '${VolumeWorkerArn}', 'End': True, 'Parameters': parameters}
    }
    assert 'comment' not in text
    assert ': ' not in text


def test_a_task_runs_in_the_worker_of_its_workflow_unless_it_names_another() -> None:
    drill = asl.load(ROOT / 'stepfunctions' / 'drill_backup.asl.yaml')['States']
    assert drill['PrepareScratch']['Resource'] == '${VolumeWorkerArn}'
    assert drill['RestoreScratch']['Resource'] == '${BackupWorkerArn}'


def test_a_file_that_is_not_in_the_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'shred_volume.asl.yaml'
    path.write_text(MACHINE.replace('    Resource: ${VolumeWorkerArn}\n', ''))
    with pytest.raises(ValueError, match='shred_volume is not in MACHINES'):
        asl.render(path)


def test_machines_are_named_by_their_files(tmp_path: Path) -> None:
    for name in ('delete_volume', 'create_volume'):
        (tmp_path / f'{name}.asl.yaml').write_text(MACHINE)
    (tmp_path / 'README.md').write_text('not a machine')
    assert list(asl.machines(tmp_path)) == ['create_volume', 'delete_volume']


def test_a_file_that_is_no_mapping_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / 'list.asl.yaml'
    path.write_text('- StartAt\n')
    with pytest.raises(ValueError, match=r'list\.asl\.yaml'):
        asl.render(path)


def test_a_definition_above_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'large.asl.yaml'
    path.write_text(f'Comment: {"x" * asl.MAX_DEFINITION}\nStates: {{}}\n')
    with pytest.raises(ValueError, match='1048576'):
        asl.render(path)


WORKFLOW = """
StartAt: Make
Catch: {StateChanged: Superseded, States.ALL: FailMake}
States:
  Make:
    Type: Task
    Retry: [backend]
    Catch:
      - {ErrorEquals: [DriverError], Next: Undo}
    End: true
  Undo: {Type: Task, End: true}
  FailMake: {Type: Task, End: true}
"""


def test_what_all_machines_have_in_common_is_added(tmp_path: Path) -> None:
    path = tmp_path / 'create_volume.asl.yaml'
    path.write_text(WORKFLOW)
    machine = asl.load(path)
    assert 'Catch' not in machine, 'the language has no such field'
    states = machine['States']
    assert [rule['ErrorEquals'][0] for rule in states['Make']['Retry']] == ['NotReady', 'BackendUnavailable']
    superseded, undo, fail = states['Make']['Catch']
    assert superseded == {'ErrorEquals': ['StateChanged'], 'ResultPath': '$.error', 'Next': 'Superseded'}
    assert {'BackendFull', 'NotReady'} <= set(undo['ErrorEquals'])
    assert fail == {'ErrorEquals': ['States.ALL'], 'ResultPath': '$.error', 'Next': 'FailMake'}
    for name in ('Undo', 'FailMake'):
        assert [rule['Next'] for rule in states[name]['Catch']] == ['Superseded', 'Unrecorded']
    assert states['Superseded']['Type'] == 'Succeed'
    assert states['Unrecorded']['Error'] == 'CreateFailed'


def test_an_unknown_policy_is_refused_with_the_file_s_name(tmp_path: Path) -> None:
    path = tmp_path / 'create_volume.asl.yaml'
    path.write_text(WORKFLOW.replace('[backend]', '[patiently]'))
    with pytest.raises(ValueError, match=r'create_volume\.asl\.yaml.*patiently'):
        asl.load(path)


@pytest.mark.parametrize('name', sorted(asl.machines(ROOT / 'stepfunctions')))
def test_statelint_finds_nothing(name: str) -> None:
    """FLOAT is left out: 2 is a number to Step Functions, and to the language."""
    definition = re.sub(
        '|'.join(rf'\$\{{{name}\}}' for name in asl.NUMBERS), '4', asl.machines(ROOT / 'stepfunctions')[name]
    )
    definition = re.sub(r'\$\{\w+\}', FUNCTION, definition)
    statelint = Path(sys.executable).with_name('statelint')
    told = subprocess.run([statelint, '--ignore=FLOAT', definition], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (0, '')
