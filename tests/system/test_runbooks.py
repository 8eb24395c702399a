"""Each command of docs/how-to/runbooks.md, as it is written, for each alarm and each status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from chalicelib.rules import states, workflows
from infra.render import ROOT
from tests.system.clients import User, admin, demo
from tests.system.cloud import Cloud
from tests.system.runbooks import KINDS, PAGE, Resources, commands, entries, introduction

__all__ = ['admin', 'demo']

ALARMS, STATUSES = entries('Alarms'), entries('Statuses')

#: Statuses that remain: the work is still to be repeated.
REMAINS = {'reverting'}

#: What a status may become.
GOOD = {'available', 'deleted'}


def lasting() -> set[tuple[str, str]]:
    """Statuses that last until an operator or a client acts, by the tables of statuses and workflows."""
    rows = [row for table in workflows.WORKFLOWS.values() for row in table.values()]
    words = states.VOLUME_STATUSES.items()
    return {
        *((row.resource, row.failed) for row in rows if states.is_error(row.failed)),
        *((row.resource, row.running) for row in rows if row.waits_for is workflows.WaitsFor.CLIENT),
        *(('volume', status) for status, meaning in words if 'for up to a day' in meaning),
        ('volume', states.RESERVED),
    }


def test_each_alarm_has_an_entry() -> None:
    resources = yaml.compose((ROOT / 'infra' / 'watch.yaml').read_text())
    [(_, body)] = [pair for pair in resources.value if pair[0].value == 'Resources']
    names = {name.value for name, _ in body.value}
    assert set(ALARMS) == {name.removesuffix('Alarm') for name in names if name.endswith('Alarm')}


def test_each_lasting_status_has_an_entry() -> None:
    assert {tuple(heading.split(' ')) for heading in STATUSES} == lasting()
    assert all(commands(text) for text in (*ALARMS.values(), *STATUSES.values()))


class Shell:
    """bash in a folder in which ``.local`` is the cloud's state folder, with the variables of the page."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        (folder / '.local').symlink_to(cloud.state_dir)
        self._cloud, self._folder = cloud, folder
        keys = {'AWS_ACCESS_KEY_ID': 'local', 'AWS_SECRET_ACCESS_KEY': 'local', 'AWS_DEFAULT_REGION': 'us-east-1'}
        path = f'{Path(sys.executable).parent}:{os.environ["PATH"]}'
        self._environment = {'PATH': path, 'HOME': str(folder), **keys}
        text = commands(PAGE.read_text().partition('\n## ')[0])
        shown = 'python3 -c "import json, os; print(json.dumps(dict(os.environ)))"'
        self._environment |= json.loads(self.run(f'set -a\n{text}\n{shown}'))

    def run(self, text: str, **variables: str) -> str:
        text = text.replace('http://127.0.0.1:4566', self._cloud.ready['aws'])
        done = subprocess.run(
            ['bash', '-euo', 'pipefail', '-c', text],
            cwd=self._folder,
            env=self._environment | variables,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, f'{text}\n{done.stdout}{done.stderr}'
        return done.stdout


@pytest.fixture(scope='module')
def bash(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell(cloud, tmp_path_factory.mktemp('runbooks'))


@pytest.mark.parametrize('alarm', ALARMS)
def test_the_commands_for_an_alarm(bash: Shell, alarm: str) -> None:
    bash.run(commands(ALARMS[alarm]))


@pytest.mark.parametrize('heading', STATUSES)
def test_the_commands_for_a_status(bash: Shell, cloud: Cloud, demo: User, admin: User, heading: str) -> None:
    resource, status = heading.split(' ')
    resources = Resources(cloud, demo, admin)
    made = resources.make(resource, status)
    if resource == 'volume' and status == 'error':
        bash.run(commands(introduction('Statuses')), **made)
    bash.run(commands(STATUSES[heading]), **made)
    after = resources.status(resource, made[KINDS[resource][1]])
    assert after in ({status} if status in REMAINS else GOOD)
    resources.remove_groups()
    if status in REMAINS:
        admin.cinder.volumes.reset_state(made['VOLUME'], 'available')
