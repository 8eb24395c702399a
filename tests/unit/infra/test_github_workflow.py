"""The workflow that deploys from GitHub, as far as it can be checked without GitHub: shape, commands, names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from chalicelib.identity.secret import hash_secret
from infra.render import ROOT
from infra.stage import load

FILE = ROOT / '.github' / 'workflows' / 'deploy.yaml'

#: What GitHub knows, of what we may use.
WORKFLOW = {'name', 'on', 'permissions', 'concurrency', 'jobs'}
JOB = {'runs-on', 'needs', 'if', 'environment', 'permissions', 'steps'}
STEP = {'name', 'uses', 'with', 'env', 'run'}
EVENTS = {'push', 'pull_request', 'workflow_dispatch'}

#: Actions, with the inputs that they take.
ACTIONS = {
    'actions/checkout@v4': set(),
    'actions/setup-python@v5': {'python-version'},
    'hashicorp/setup-terraform@v3': {'terraform_wrapper'},
    'actions/upload-artifact@v4': {'name', 'path', 'include-hidden-files'},
    'aws-actions/configure-aws-credentials@v4': {'role-to-assume', 'aws-region'},
}


@pytest.fixture(scope='module')
def workflow() -> dict[str, Any]:
    """YAML 1.1 reads the key ``on`` as true."""
    found = yaml.safe_load(FILE.read_text())
    return {'on' if key is True else key: value for key, value in found.items()}


def steps(workflow: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow['jobs'].values():
        yield from job['steps']


def test_every_key_is_one_that_github_knows(workflow: dict[str, Any]) -> None:
    assert set(workflow) <= WORKFLOW
    assert set(workflow['on']) <= EVENTS
    for job in workflow['jobs'].values():
        assert set(job) <= JOB
        assert set(job.get('needs', ())) <= set(workflow['jobs'])
    for step in steps(workflow):
        assert set(step) <= STEP
        assert ('uses' in step) != ('run' in step)
        if 'uses' in step:
            assert set(step.get('with', {})) <= ACTIONS[step['uses']]


def test_every_command_is_there(workflow: dict[str, Any]) -> None:
    targets = set(re.findall(r'^([a-z]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))
    for step in steps(workflow):
        for line in step.get('run', '').strip().splitlines():
            words = [word for word in line.split() if not word.startswith('--')]
            words = words[words[0] == 'sudo' :]
            assert words[0] in {'make', 'printf'}, line
            assert words[0] != 'make' or words[1] in targets, line


def test_what_has_to_be_set_is_documented(workflow: dict[str, Any]) -> None:
    told = (ROOT / 'docs' / 'how-to' / 'deploy.md').read_text()
    names = set(re.findall(r'(?:vars|secrets)\.(\w+)', FILE.read_text()))
    assert names
    assert [name for name in sorted(names) if f'`{name}`' not in told] == []


def test_only_the_deploy_gets_a_token_and_nobody_a_key(workflow: dict[str, Any]) -> None:
    assert workflow['permissions'] == {'contents': 'read'}
    asking = [name for name, job in workflow['jobs'].items() if 'id-token' in job.get('permissions', {})]
    assert asking == ['staging', 'production']
    assert not re.search('AWS_(ACCESS|SECRET)', FILE.read_text(), re.IGNORECASE)
    assert "github.ref == 'refs/heads/main'" in workflow['jobs']['staging']['if']


def test_what_is_promoted_was_checked_tested_and_smoked(workflow: dict[str, Any]) -> None:
    """A job whose needs failed or were omitted does not run, so production needs a staging that was deployed."""
    jobs = workflow['jobs']
    assert set(jobs['staging']['needs']) == {'lint', 'test'}
    assert jobs['production']['needs'] == ['staging']
    assert 'always()' not in FILE.read_text()
    for job in ('staging', 'production'):
        commands = [step.get('run', '') for step in jobs[job]['steps']]
        assert [command.split()[1] for command in commands if command.startswith('make')] == ['deploy', 'smoke']


def test_the_files_that_it_writes_make_a_stage(workflow: dict[str, Any], tmp_path: Any) -> None:
    """As the example does, with the names under which the workflow puts its parts."""
    [writing] = {step['run'] for step in steps(workflow) if 'printf' in step.get('run', '')}
    files = re.findall(r'deploy/\$STAGE\.([\w.]+)"', writing)
    assert files == ['yaml', 'backends.json', 'identity.json']
    parameters = {'Backends': '@ci.backends.json', 'IdentityDocument': '@ci.identity.json'}
    (tmp_path / 'ci.yaml').write_text(yaml.safe_dump({'region': 'r', 'stack': 's', 'parameters': parameters}))
    (tmp_path / 'ci.backends.json').write_text('{"backends": []}')
    (tmp_path / 'ci.identity.json').write_text(
        json.dumps({'users': [{'name': 'a', 'password_hash': hash_secret('x')}]})
    )
    assert load('ci', tmp_path).parameters['Backends'] == '{"backends": []}'
