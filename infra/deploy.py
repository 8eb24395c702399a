"""``cinderless deploy STAGE``: upload the artefacts and bring one stack up to date. Safe to repeat.

A stage is ``deploy/<stage>.yaml``: region, stack, parameters of the template (``infra/stage.py``). The stage, the
credentials, the account's limits and the deployed stack are checked before anything is built or uploaded
(``infra/preflight.py``). Every call of AWS is a command of the AWS CLI, printed before it runs; ``--review`` makes the
change set and does not execute it.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

from infra import artefacts, package, preflight, stored_secrets
from infra.deploy_progress import Uploads, stack_progress
from infra.progress import Progress, silent
from infra.quotas import Deployment
from infra.render import BUILD, digest, templates
from infra.stage import Refused, Stage
from infra.stored_secrets import Plan

#: The template for CloudFormation, with its archives in S3.
PACKAGED = BUILD / 'packaged.json'

#: CloudFormation's limit for a template, in bytes.
MAX_TEMPLATE = 1_000_000

#: States of a stack that was never complete. It is created without rollback: tables, bucket and key are never deleted,
#: so a rollback would leave them behind, and block their names for the next attempt.
NEVER_COMPLETE = ('', 'REVIEW_IN_PROGRESS', 'CREATE_FAILED', 'UPDATE_FAILED')


class Aws:
    """The AWS CLI for one profile and region; prints the commands that it runs."""

    def __init__(self, program: str, region: str, profile: str | None) -> None:
        self._common = [program, '--region', region, *(['--profile', profile] if profile else [])]

    def run(self, *words: str) -> str:
        """Run a command and return its output. Raises Refused with the CLI's message."""
        print('aws', shlex.join(words), flush=True)
        answer = subprocess.run([*self._common, *words], capture_output=True, text=True, check=False)  # noqa: S603
        return _output(words, answer.returncode, answer.stdout, answer.stderr)

    def observed(self, observe: Callable[[str], None], *words: str) -> str:
        """Do as ``run``; ``observe`` receives each part of the standard error as it is written."""
        print('aws', shlex.join(words), flush=True)
        errors = ''
        with (
            tempfile.TemporaryFile('w+', encoding='utf-8') as output,
            subprocess.Popen([*self._common, *words], stdout=output, stderr=subprocess.PIPE) as command,  # noqa: S603
        ):
            assert command.stderr is not None
            while part := command.stderr.read1(4096):  # type: ignore[attr-defined]
                errors += part.decode(errors='replace')
                observe(part.decode(errors='replace'))
            code = command.wait()
            output.seek(0)
            return _output(words, code, output.read(), errors)

    def look(self, *words: str) -> str | None:
        """Run a command that changes nothing, without printing it; None when it fails."""
        answer = subprocess.run([*self._common, *words], capture_output=True, text=True, check=False)  # noqa: S603
        return answer.stdout.strip() if answer.returncode == 0 else None

    def succeeds(self, *words: str) -> bool:
        return self.look(*words) is not None


def _output(words: tuple[str, ...], code: int, output: str, errors: str) -> str:
    if code != 0:
        raise Refused(f'aws {words[0]} {words[1]} failed: {errors.strip()}')
    return output.strip()


class Caller(NamedTuple):
    """Return the identity of the credentials."""

    account: str
    partition: str


class Deployed(NamedTuple):
    """Return state and parameters of the stack: '' and None if it does not exist."""

    status: str
    parameters: Mapping[str, str] | None
    outputs: Mapping[str, str]


def run(stage: Stage, aws: Aws, *, review: bool, progress: Progress = silent) -> None:
    """Check, build and deploy: the whole command. Raises Refused, and RuntimeError for artefacts that do not load."""
    checked = prepare(stage, aws)
    if package.main(progress) != 0:
        raise Refused('the artefacts could not be built: see the message above')
    deploy(stage, aws, *checked, review=review, progress=progress)


def prepare(stage: Stage, aws: Aws) -> tuple[Caller, Deployed, Plan]:
    """Check the stage against the account, credentials first. Raises Refused; nothing is changed before."""
    who = caller(stage, aws)
    before = deployed(stage, aws)
    template = json.loads((templates() / 'plain.json').read_text(encoding='utf-8'))
    parameters = preflight.effective(template, before.parameters, stage.parameters)
    planned = Deployment(template, parameters, stage.stack, stage.region, who.partition, who.account)
    preflight.check(planned, before.parameters, aws)
    complete = None if before.status in NEVER_COMPLETE else before.parameters
    plan = Plan(stage.stack, stage.parameters, parameters, complete)
    if found := list(stored_secrets.complaints(plan, aws)):
        raise Refused('\n  '.join(found))
    return who, before, plan


def deploy(
    stage: Stage, aws: Aws, who: Caller, before: Deployed, plan: Plan, *, review: bool, progress: Progress = silent
) -> None:
    """Bring the stage's stack up to date, or with ``review`` only create the change set."""
    if not review:
        remove_second_stage(before, aws)
        stored_secrets.before_update(plan, aws)
    elif plan.moves:
        print('note: execute the change set with make deploy, not by hand: make deploy first moves the secret')
    bucket = artefacts.bucket(who.account, who.partition, stage.region, aws)
    upload(bucket, stage.stack, aws, progress)
    options = ['--no-execute-changeset'] if review else ['--no-fail-on-empty-changeset']
    options += ['--disable-rollback'] if before.status in NEVER_COMPLETE else []
    options += ['--s3-bucket', bucket, '--s3-prefix', stage.stack]  # templates above 51,200 bytes come from S3
    options += ['--capabilities', 'CAPABILITY_IAM', 'CAPABILITY_AUTO_EXPAND']
    tags = [f'{key}={value}' for key, value in stage.tags.items()]
    options += ['--tags', *tags] if tags else []
    command = ['cloudformation', 'deploy', '--template-file', str(PACKAGED), '--stack-name', stage.stack]
    with overrides(with_version(stored_secrets.passed(plan), plan.after)) as path:
        watched = nullcontext() if review or progress is silent else stack_progress(stage.stack, aws, progress)
        with watched:
            output = aws.run(*command, *options, '--parameter-overrides', f'file://{path}')
        print(output)
    if not review:
        stored_secrets.after_update(plan, aws)
        query = 'Stacks[0].Outputs[].[OutputKey,OutputValue]'
        print(aws.run('cloudformation', 'describe-stacks', '--stack-name', stage.stack, '--query', query,
                      '--output', 'text'))  # fmt: skip


def upload(bucket: str, prefix: str, aws: Aws, progress: Progress = silent) -> None:
    """Upload the archives that the bucket lacks, and write the template that names them."""
    where = ['--s3-bucket', bucket, '--s3-prefix', prefix, '--use-json', '--output-template-file', str(PACKAGED)]
    total = sum(archive.stat().st_size for archive in BUILD.glob('*.zip'))
    with progress('upload', total) as show:
        observe = Uploads(total, show)
        aws.observed(observe, 'cloudformation', 'package', '--template-file', str(BUILD / 'template.json'), *where)
        show(total)
    compact(PACKAGED)


def with_version(passed: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters, with SnapStart also a label of code and parameters: a new one publishes a version."""
    if after['SnapStart'] != 'true':
        return dict(passed)
    facts = json.dumps([digest(), {**after, **passed, 'ApiVersion': ''}], sort_keys=True)
    return {**passed, 'ApiVersion': hashlib.sha256(facts.encode()).hexdigest()[:16]}


def remove_second_stage(before: Deployed, aws: Aws) -> None:
    """Delete the stage ``Stage`` that releases up to 0.1.0 left in their API: it lacks throttling and logs.

    CloudFormation does not: it belongs to no resource of the template.
    """
    api = before.outputs.get('RestAPIId')
    if api and aws.succeeds('apigateway', 'get-stage', '--rest-api-id', api, '--stage-name', 'Stage'):
        aws.run('apigateway', 'delete-stage', '--rest-api-id', api, '--stage-name', 'Stage')


@contextmanager
def overrides(parameters: Mapping[str, str]) -> Iterator[Path]:
    """Write the parameters to a file that only this user can read, and delete it afterwards.

    On the command line every user of the machine could read them in the list of processes.
    """
    with tempfile.NamedTemporaryFile('w', suffix='.json', encoding='utf-8') as file:  # mode 0600
        json.dump([f'{key}={value}' for key, value in parameters.items()], file)
        file.flush()
        yield Path(file.name)


def compact(path: Path) -> None:
    """Write JSON without white space: the AWS CLI's own form of the template exceeds CloudFormation's limit.

    Raises Refused when it still is.
    """
    text = json.dumps(json.loads(path.read_text(encoding='utf-8')), separators=(',', ':'))
    if len(text) > MAX_TEMPLATE:
        raise Refused(f'the template has {len(text)} bytes, and CloudFormation takes {MAX_TEMPLATE}')
    path.write_text(text, encoding='utf-8')


def caller(stage: Stage, aws: Aws) -> Caller:
    """Return the identity of the credentials. Raises Refused without any, and for another account than the stage's."""
    account, arn = aws.run('sts', 'get-caller-identity', '--query', '[Account,Arn]', '--output', 'text').split()
    if stage.account and account != stage.account:
        raise Refused(f'the credentials are of account {account}, and the stage {stage.name} of {stage.account}')
    return Caller(account, arn.split(':')[1])


def deployed(stage: Stage, aws: Aws) -> Deployed:
    """Return the stack. Raises Refused for a state in which CloudFormation accepts no change."""
    words = ('--stack-name', stage.stack, '--query', 'Stacks[0].[StackStatus,Parameters,Outputs]', '--output', 'json')
    try:
        found, parameters, outputs = json.loads(aws.run('cloudformation', 'describe-stacks', *words))
    except Refused as refused:
        if 'does not exist' in str(refused):
            return Deployed('', None, {})
        raise
    if found.endswith('_IN_PROGRESS') and found not in NEVER_COMPLETE:
        raise Refused(f'the stack {stage.stack} is {found}: another deploy is changing it. Wait until it ends')
    if found.startswith(('ROLLBACK_', 'DELETE_')) or found == 'UPDATE_ROLLBACK_FAILED':
        raise Refused(f'the stack {stage.stack} is {found}: see docs/how-to/deploy.md, "A deploy that failed"')
    if found == 'REVIEW_IN_PROGRESS':
        return Deployed(found, None, {})  # a change set without a stack
    given = {each['ParameterKey']: each['ParameterValue'] for each in parameters or ()}
    return Deployed(found, given, {each['OutputKey']: each['OutputValue'] for each in outputs or ()})


def program() -> str:
    """Return the AWS CLI of this environment, else of the PATH."""
    beside = Path(sys.executable).with_name('aws')
    found = str(beside) if beside.exists() else shutil.which('aws')
    if found is None:
        raise Refused('the AWS CLI is not installed: make setup installs it')
    return found
