"""``make deploy STAGE=... PROFILE=...``: upload the artefacts and bring one stack up to date. Safe to repeat.

A stage is ``deploy/<stage>.yaml``: region, stack, parameters of the template. What is missing or makes no sense is
refused before anything is uploaded. Everything that reaches AWS is a command of the AWS CLI, printed before it runs;
``REVIEW=1`` makes the change set and leaves it for you to look at.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from chalicelib.drivers.__main__ import check as check_backends
from chalicelib.errors import BackendMisconfigured
from infra import package
from infra.render import BUILD, ROOT, templates

FOLDER = ROOT / 'deploy'

#: The template as CloudFormation takes it, its archives in S3.
PACKAGED = BUILD / 'packaged.json'


#: Names of functions are the longest that are made of a stack's: 64 characters, ``-backup_schedules`` among them.
STACK = re.compile(r'(?!(?i:aws|ssm))[A-Za-z][A-Za-z0-9-]{0,46}')

#: CloudFormation's limits for a template and for the value of a parameter, in bytes.
MAX_TEMPLATE, MAX_PARAMETER = 1_000_000, 4096

#: What to do with documents that are too long.
TOO_LONG = {
    'Backends': 'leave it out, deploy, then aws ssm put-parameter --overwrite --name /STACK/backends --value file://...',
    'IdentityDocument': 'deploy with one administrator, then edit the secret STACK/identity (docs/operations.md)',
}

#: States of a stack that was never complete. Made without rollback: tables, bucket and key are never deleted, so a
#: rollback would leave them behind, and the next attempt would find their names taken.
NEVER_COMPLETE = ('', 'REVIEW_IN_PROGRESS', 'CREATE_FAILED', 'UPDATE_FAILED')


class Refused(Exception):
    """The deploy cannot be; the text says what to do."""


class Stage(NamedTuple):
    """One deployment."""

    name: str
    region: str
    stack: str
    parameters: Mapping[str, str]


def load(name: str, folder: Path = FOLDER) -> Stage:
    """Read and check a stage. Raises Refused for the first thing that is wrong."""
    path = folder / f'{name}.yaml'
    if not path.exists():
        raise Refused(f'{path} is not there; copy deploy/example.yaml and fill it in')
    told = _yaml(path)
    missing = [key for key in ('region', 'stack', 'parameters') if not told.get(key)]
    if missing:
        raise Refused(f'{path.name} lacks {", ".join(missing)}')
    if not isinstance(told['parameters'], dict):
        raise Refused(f'{path.name}: parameters are names and their values')
    parameters = {key: _value(key, str(value), folder) for key, value in told['parameters'].items()}
    stage = Stage(name, str(told['region']), str(told['stack']), parameters)
    for complaint in complaints(stage, json.loads((templates() / 'template.json').read_text())['Parameters']):
        raise Refused(f'{path.name}: {complaint}')
    return stage


def _yaml(path: Path) -> dict[str, Any]:
    """A mapping in a file. Raises Refused."""
    try:
        found = yaml.safe_load(path.read_text(encoding='utf-8')) or {}
    except yaml.YAMLError as error:
        raise Refused(f'{path} is not YAML: {error}') from None
    if not isinstance(found, dict):
        raise Refused(f'{path} holds no names and values')
    return found


def _value(key: str, text: str, folder: Path) -> str:
    """``@file`` stands for the file's text; a file in YAML becomes JSON, as the parameters are."""
    if not text.startswith('@'):
        return text
    path = folder / text[1:]
    if not path.exists():
        raise Refused(f'{key}: {path} is not there')
    if path.suffix in ('.yaml', '.yml'):
        return json.dumps(_yaml(path))
    return path.read_text(encoding='utf-8').strip()


def complaints(stage: Stage, known: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a stage's parameters."""
    given = stage.parameters
    if not STACK.fullmatch(stage.stack):
        yield f'stack {stage.stack!r}: 1 to 47 letters, digits and hyphens, a letter first, but not aws or ssm'
    for key in sorted(set(given) - set(known)):
        yield f'the template has no parameter {key}'
    yield from _too_long(stage)
    for key in ('Backends', 'IdentityDocument'):
        if key in given and not _is_object(given[key]):
            yield f'{key} is not a JSON object'
    yield from _wrong_backends(given.get('Backends', ''))
    if not given.get('KeystoneUrl') and not _has_users(given.get('IdentityDocument', '')):
        yield 'nobody could log in: give KeystoneUrl, or an IdentityDocument with users (docs/operations.md)'
    if given.get('KeystoneUrl') and not given['KeystoneUrl'].rstrip('/').endswith('/v3'):
        yield 'KeystoneUrl must end in /v3'
    for who in ('Worker', 'Api'):
        if bool(given.get(f'{who}SubnetIds')) != bool(given.get(f'{who}SecurityGroupIds')):
            yield f'{who}SubnetIds and {who}SecurityGroupIds go together'


def _too_long(stage: Stage) -> Iterator[str]:
    sizes = {key: len(value.encode()) for key, value in stage.parameters.items()}
    for key in (key for key, size in sizes.items() if size > MAX_PARAMETER):
        advice = TOO_LONG.get(key, 'shorten it').replace('STACK', stage.stack)
        yield f'{key} has {sizes[key]} bytes, and CloudFormation takes {MAX_PARAMETER}: {advice}'


def _wrong_backends(text: str) -> Iterator[str]:
    """What is wrong with a backends document, as the workers would find it."""
    if _is_object(text):
        try:
            check_backends(text.encode())
        except BackendMisconfigured as error:
            yield f'Backends: {error.message}'


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _has_users(text: str) -> bool:
    return _is_object(text) and bool(json.loads(text).get('users'))


class Aws:
    """The AWS CLI for one profile and region; prints what it runs."""

    def __init__(self, program: str, region: str, profile: str | None) -> None:
        self._common = [program, '--region', region, *(['--profile', profile] if profile else [])]

    def run(self, *words: str, secret: int = 0) -> str:
        """Run a command and return what it printed; its last ``secret`` words are not shown. Raises Refused."""
        shown = words[: len(words) - secret]
        print('aws', shlex.join(shown), *(['...'] if secret else []), flush=True)
        answer = subprocess.run([*self._common, *words], capture_output=True, text=True, check=False)  # noqa: S603
        if answer.returncode != 0:
            raise Refused(f'aws {shown[0]} {shown[1]} failed: {answer.stderr.strip()}')
        return answer.stdout.strip()

    def succeeds(self, *words: str) -> bool:
        answer = subprocess.run([*self._common, *words], capture_output=True, check=False)  # noqa: S603
        return answer.returncode == 0


def deploy(stage: Stage, aws: Aws, *, review: bool) -> None:
    """Bring the stage's stack up to date, or with ``review`` make the change set and stop there."""
    account = aws.run('sts', 'get-caller-identity', '--query', 'Account', '--output', 'text')
    found = status(stage, aws)
    bucket = artefacts(stage, account, aws)
    where = ['--s3-bucket', bucket, '--s3-prefix', stage.stack, '--use-json', '--output-template-file', str(PACKAGED)]
    aws.run('cloudformation', 'package', '--template-file', str(BUILD / 'template.json'), *where)
    compact(PACKAGED)
    told = [f'{key}={value}' for key, value in stage.parameters.items()]
    options = ['--no-execute-changeset'] if review else ['--no-fail-on-empty-changeset']
    options += ['--disable-rollback'] if found in NEVER_COMPLETE else []
    upload = ['--s3-bucket', bucket, '--s3-prefix', stage.stack]  # templates above 51,200 bytes come from S3
    capabilities = ['--capabilities', 'CAPABILITY_IAM', 'CAPABILITY_AUTO_EXPAND']
    command = ['cloudformation', 'deploy', '--template-file', str(PACKAGED), '--stack-name', stage.stack]
    said = aws.run(*command, *upload, *capabilities, *options, '--parameter-overrides', *told, secret=len(told))
    print(said)
    if not review:
        query = 'Stacks[0].Outputs[].[OutputKey,OutputValue]'
        print(aws.run('cloudformation', 'describe-stacks', '--stack-name', stage.stack, '--query', query,
                      '--output', 'text'))  # fmt: skip


def compact(path: Path) -> None:
    """Write JSON without white space: as the AWS CLI writes the template it is larger than CloudFormation takes.

    Raises Refused when it still is.
    """
    text = json.dumps(json.loads(path.read_text(encoding='utf-8')), separators=(',', ':'))
    if len(text) > MAX_TEMPLATE:
        raise Refused(f'the template has {len(text)} bytes, and CloudFormation takes {MAX_TEMPLATE}')
    path.write_text(text, encoding='utf-8')


def status(stage: Stage, aws: Aws) -> str:
    """The stack's status, '' for none. Raises Refused for one in which CloudFormation takes no change."""
    query = ['--query', 'Stacks[0].StackStatus', '--output', 'text']
    try:
        found = aws.run('cloudformation', 'describe-stacks', '--stack-name', stage.stack, *query)
    except Refused as refused:
        if 'does not exist' in str(refused):
            return ''
        raise
    if found.endswith('_IN_PROGRESS') and found not in NEVER_COMPLETE:
        raise Refused(f'the stack {stage.stack} is {found}: somebody is changing it, wait for the end')
    if found.startswith(('ROLLBACK_', 'DELETE_')) or found == 'UPDATE_ROLLBACK_FAILED':
        raise Refused(f'the stack {stage.stack} is {found}: see docs/operations.md, "A deploy that failed"')
    return found


def artefacts(stage: Stage, account: str, aws: Aws) -> str:
    """The bucket that holds what is deployed, made when it is not there."""
    bucket = f'cinderless-artefacts-{account}-{stage.region}'
    if aws.succeeds('s3api', 'head-bucket', '--bucket', bucket):
        return bucket
    aws.run('s3', 'mb', f's3://{bucket}')
    closed = 'BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true'
    block = ['--bucket', bucket, '--public-access-block-configuration', closed]
    aws.run('s3api', 'put-public-access-block', *block)
    return bucket


def program() -> str:
    """The AWS CLI of the environment this runs in, else of the PATH."""
    beside = Path(sys.executable).with_name('aws')
    found = str(beside) if beside.exists() else shutil.which('aws')
    if found is None:
        raise Refused('the AWS CLI is not there; make setup installs it')
    return found


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m infra.deploy', description='Deploy one stage.')
    parser.add_argument('stage', nargs='?', default='', help='deploy/<stage>.yaml')
    parser.add_argument('--profile', help='a profile of the AWS CLI; without one, its own rules')
    parser.add_argument('--review', action='store_true', help='make the change set and leave it')
    options = parser.parse_args(words)
    try:
        if not options.stage:
            raise Refused('say what to deploy: make deploy STAGE=... PROFILE=...')
        stage = load(options.stage)
        aws = Aws(program(), stage.region, options.profile or None)
        package.main()
        deploy(stage, aws, review=options.review)
    except Refused as refused:
        print(f'not deployed: {refused}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
