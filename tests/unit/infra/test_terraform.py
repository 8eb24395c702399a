"""The Terraform module: generated from the template, parsed by a parser of HCL, and evaluated where Terraform is there.

No provider of Terraform can be fetched from the package registries, so nothing here plans a resource. In the GitHub
workflow ``make terraform`` validates the module with its providers.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from infra import deploy, publish, render, terraform_module
from infra.deploy import Aws
from tests.system import environments
from tests.unit.infra.aws_cli import Cli

PARSER = """
import json, sys, hcl2
print(json.dumps({path: hcl2.loads(open(path).read()) for path in json.load(sys.stdin)}))
"""

FOLDER = terraform_module.FOLDER


@pytest.fixture(scope='module')
def parsed() -> dict[str, Any]:
    """{name of a file: its blocks}, by python-hcl2."""
    paths = [str(path) for path in sorted(FOLDER.rglob('*.tf'))]
    found = environments.run('hcl', ['-c', PARSER], paths)
    return {str(Path(path).relative_to(FOLDER)): blocks for path, blocks in found.items()}


@pytest.fixture(scope='module')
def template() -> dict[str, Any]:
    return dict(json.loads((render.templates() / 'plain.json').read_text()))


def named(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """{label: body} of blocks with one label, without the parser's quotes."""
    return {name.strip('"'): body for block in blocks for name, body in block.items() if not name.startswith('__')}


def test_the_generated_files_are_current() -> None:
    for path, text in terraform_module.files().items():
        assert path.read_text() == text, f'{path.name} is old: run make docs'


def test_every_parameter_is_a_variable_and_every_output_an_output(
    parsed: dict[str, Any], template: dict[str, Any]
) -> None:
    variables = named(parsed['variables.tf']['variable'])
    assert set(variables) == {terraform_module.snake(name) for name in template['Parameters']}
    for name, declared in template['Parameters'].items():
        body = variables[terraform_module.snake(name)]
        assert body['description'].strip('"')
        assert bool(body.get('sensitive')) == bool(declared.get('NoEcho')), name
        assert ('validation' in body) == (
            any(key in declared for key in ('AllowedPattern', 'MinValue', 'MaxValue'))
            or ('AllowedValues' in declared and not terraform_module.is_flag(declared))
        ), name
    outputs = named(parsed['outputs.tf']['output'])
    assert set(outputs) == {terraform_module.snake(name) for name in template['Outputs']}


def test_the_stack_gets_every_parameter(parsed: dict[str, Any], template: dict[str, Any]) -> None:
    [local] = parsed['parameters.tf']['locals']
    assert {name.strip('"') for name in local['parameters'] if not name.startswith('__')} == set(
        template['Parameters']
    ) - set(terraform_module.SECRETS)


def test_every_variable_that_is_used_is_declared(parsed: dict[str, Any]) -> None:
    declared = {*named(parsed['variables.tf']['variable']), *named(parsed['main.tf']['variable'])}
    text = ''.join(path.read_text() for path in FOLDER.glob('*.tf'))
    assert set(re.findall(r'\bvar\.(\w+)', text)) == declared
    example = (FOLDER / 'examples' / 'vpc' / 'main.tf').read_text()
    body = example[example.index('module "cinderless"') : example.index('output "endpoint"')]
    assert set(re.findall(r'^  (\w+) +=', body, re.MULTILINE)) - {'source'} <= declared


def test_the_names_of_the_secrets_are_those_that_the_functions_read(template: dict[str, Any]) -> None:
    variables = template['Resources']['APIHandler']['Properties']['Environment']['Variables']
    main = (FOLDER / 'main.tf').read_text()
    assert 'name   = "/${var.name}/${local.secret}"' in main
    for name in ('identity', 'keystone'):
        assert variables[f'{name.upper()}_SECRET']['Fn::If'][2] == {'Fn::Sub': f'/${{AWS::StackName}}/{name}'}
        assert f'"{name}"' in main


#: Values -> Terraform's complaint, '' for none.
VALUES: list[tuple[dict[str, Any], str]] = [
    ({}, ''),
    ({'backup_concurrency': 99}, 'from 1 to 40'),
    ({'secret_store': 'Vault'}, 'allowed are ParameterStore, SecretsManager'),
    ({'recovery_public_key': 'abc'}, 'it must match'),
    ({'worker_subnet_ids': ['subnet-1', 'subnet-2'], 'dashboard': True}, ''),
]


def test_terraform_formats_and_evaluates_the_module_as_we_do(tmp_path: Path, template: dict[str, Any]) -> None:
    """Where it is installed: its format, and the parameters that it computes from variables, without a provider."""
    program = shutil.which('terraform')
    if program is None:
        return  # the parser above is the only witness on this machine
    subprocess.run([program, 'fmt', '-check', '-recursive', str(FOLDER)], check=True)
    for name in ('variables.tf', 'parameters.tf'):
        shutil.copy(FOLDER / name, tmp_path)
    (tmp_path / 'result.tf').write_text('output "parameters" {\n  value = local.parameters\n}\n')
    run = [program, f'-chdir={tmp_path}']
    subprocess.run([*run, 'init', '-backend=false', '-input=false'], check=True, capture_output=True)
    subprocess.run([*run, 'validate'], check=True, capture_output=True)
    for values, complaint in VALUES:
        (tmp_path / 'terraform.tfvars.json').write_text(json.dumps(values))
        command = [*run, 'apply', '-auto-approve', '-no-color', '-input=false']
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert complaint in ' '.join(done.stderr.replace('│', ' ').split()), done.stderr
        assert (done.returncode == 0) == (not complaint), done.stderr
        if not complaint:
            shown = subprocess.run([*run, 'output', '-json', 'parameters'], check=True, capture_output=True, text=True)
            assert json.loads(shown.stdout) == expected(template, values)


def expected(template: dict[str, Any], values: dict[str, Any]) -> dict[str, str]:
    """The template's defaults with these variables."""
    given = {name: values.get(terraform_module.snake(name)) for name in template['Parameters']}
    texts = {
        name: ','.join(value) if isinstance(value, list) else str(value).lower()
        for name, value in given.items()
        if value is not None
    }
    defaults = {name: str(body.get('Default', '')) for name, body in template['Parameters'].items()}
    return {name: text for name, text in {**defaults, **texts}.items() if name not in terraform_module.SECRETS}


def test_a_template_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, 'PACKAGED', tmp_path / 'packaged.json')
    cli = Cli(tmp_path)
    url = publish.publish('mine', 'c', 'eu-west-1', Aws(str(cli.program), 'eu-west-1', None))
    assert url == 'https://mine.s3.eu-west-1.amazonaws.com/c/cinderless.json'
    assert cli.requests('s3 cp')[0][-1] == 's3://mine/c/cinderless.json'
    assert (tmp_path / 'packaged.json').read_text() == '{"Resources":{}}'


def test_the_example_vpc_has_the_endpoints_of_the_services_that_workers_use() -> None:
    from cfnlint.api import lint_all

    text = (render.ROOT / 'deploy' / 'vpc.yaml').read_text()
    assert [str(match) for match in lint_all(text) if not match.rule.id.startswith('I')] == []
    used = {'s3', 'dynamodb', 'kms', 'ssm', 'secretsmanager', 'sqs', 'events', 'ec2', 'ebs'}
    assert {service for service in used if f"'com.amazonaws.${{AWS::Region}}.{service}'" in text} == used
    page = (render.ROOT / 'docs' / 'how-to' / 'vpc.md').read_text()
    assert 'deploy/vpc.yaml' in page
