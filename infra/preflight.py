"""Problems that an account would have with a deployment, found before anything is built or uploaded.

``check`` compares a stage with the account of the credentials: its region, the deployed stack, names in use, and each
row of ``infra/quotas.py``. Every finding is one line: what, value, allowed, what to do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from infra import quotas
from infra.quotas import Deployment, Quota, Template
from infra.stage import Refused

#: Partitions whose templates are tested.
PARTITIONS = ('aws', 'aws-cn', 'aws-us-gov')

#: Services that every deployment uses, by the names of the SDK's endpoint data.
SERVICES = (
    'apigateway',
    'cloudformation',
    'cloudwatch',
    'dynamodb',
    'events',
    'kms',
    'lambda',
    'logs',
    's3',
    'secretsmanager',
    'sqs',
    'ssm',
    'stepfunctions',
    'sts',
)

#: Services that only some deployments use: service -> predicate of the parameters.
OPTIONAL: Mapping[str, Callable[[Mapping[str, str]], bool]] = {
    'ec2': lambda parameters: '"ebs"' in parameters['Backends'] or parameters['WorkerSubnetIds'] != '',
    'ebs': lambda parameters: '"ebs"' in parameters['Backends'],
    'sns': lambda parameters: parameters['AlarmEmail'] != '',
    'xray': lambda parameters: parameters['Tracing'] == 'Active',
}

#: Parameters that a deployed stack cannot change: their resource would be replaced by an empty one.
LASTING = ('KmsKeyArn', 'BucketName')


class Runs(Protocol):
    """The AWS CLI of one region (infra.deploy.Aws)."""

    def run(self, *words: str) -> str: ...

    def succeeds(self, *words: str) -> bool: ...


class Account(NamedTuple):
    """The account's limits by the quota's name, and its usage where AWS counts it."""

    limits: Mapping[str, float]
    used: Mapping[str, float]


def check(deployment: Deployment, deployed: Mapping[str, str] | None, aws: Runs) -> None:
    """Print advice, and raise Refused with a line for each problem.

    ``deployed`` are the parameters of the deployed stack; None without a stack.
    """
    found = [*region(deployment), *changes(deployment, deployed)]
    if not found:
        account = read(deployment, deployed, aws)
        found = [
            *over(deployment, account),
            *unlogged(deployment, aws),
            *(taken(deployment, aws) if deployed is None else ()),
        ]
        for line in advice(deployment, account):
            print(f'note: {line}')
    if found:
        raise Refused('\n  '.join(['', *found]) if len(found) > 1 else found[0])


def effective(template: Template, deployed: Mapping[str, str] | None, given: Mapping[str, str]) -> dict[str, str]:
    """Return each parameter's value after the deployment: set, else the deployed stack's, else the default."""
    defaults = quotas.declared(template)
    kept = {name: text for name, text in (deployed or {}).items() if name in defaults}
    return {**defaults, **kept, **given}


def region(deployment: Deployment) -> Iterator[str]:
    """Check that the region exists and has the services."""
    from botocore.exceptions import UnknownRegionError
    from botocore.session import get_session

    session = get_session()
    try:
        partition = session.get_partition_for_region(deployment.region)
    except UnknownRegionError:
        yield f'region {deployment.region!r} is not one of AWS: give a name such as eu-west-1'
        return
    if partition not in PARTITIONS:
        yield f'region {deployment.region} is in the partition {partition}: allowed are {", ".join(PARTITIONS)}'
        return
    if deployment.region not in session.get_available_regions('ec2', partition):
        return  # newer than this SDK's data
    optional = [service for service, is_used in OPTIONAL.items() if is_used(deployment.parameters)]
    for service in [*SERVICES, *optional]:
        if deployment.region not in session.get_available_regions(service, partition):
            yield f'region {deployment.region} does not have {service}: choose another region'


def changes(deployment: Deployment, deployed: Mapping[str, str] | None) -> Iterator[str]:
    """Return changes of a deployed stack's parameters that would lose data, or that AWS refuses half-way."""
    if deployed is None:
        return
    for name in LASTING:
        before, after = deployed.get(name, ''), deployment.parameters[name]
        if before != after:
            yield f'{name} is {after!r}; the deployed stack has {before!r}, and it cannot change: give that'
    if deployed.get('BackupLockDays', '0') != '0' and deployment.parameters['BackupLockDays'] == '0':
        yield (
            f'BackupLockDays is 0; the deployed stack has {deployed["BackupLockDays"]}, and a bucket keeps its Object '
            'Lock: give 1 or more'
        )
    if deployed.get('BackupLockDays') == '0' and deployment.parameters['BackupLockDays'] != '0':
        yield (
            f'BackupLockDays is {deployment.parameters["BackupLockDays"]}; the deployed stack has 0, and its bucket '
            'was made without Object Lock: give 0, or deploy a new stack'
        )


def taken(deployment: Deployment, aws: Runs) -> Iterator[str]:
    """Return names of a first deployment that are in use: by a deleted stack's rest, or another account's bucket."""
    table = f'{deployment.stack}-volumes'
    if aws.succeeds('dynamodb', 'describe-table', '--table-name', table):
        yield (
            f'the table {table} exists, and no stack {deployment.stack} has it: a removed stack left its tables. '
            'Choose another name of the stack, or remove them (docs/how-to/deploy.md, "Remove")'
        )
    bucket = deployment.parameters['BucketName']
    if bucket and aws.succeeds('s3api', 'head-bucket', '--bucket', bucket):
        yield f'BucketName is {bucket!r}, and that bucket exists: choose another name'


def unlogged(deployment: Deployment, aws: Runs) -> Iterator[str]:
    """Return an advice if API Gateway cannot write access logs: the account lacks the role for them."""
    if deployment.parameters['ApiAccessLogs'] != 'true':
        return
    role = _asked(aws, 'apigateway', 'get-account', '--query', 'cloudwatchRoleArn', '--output', 'text')
    if role == 'None':
        yield (
            "ApiAccessLogs is true; API Gateway has no CloudWatch role in this account's region: set one (aws "
            'apigateway update-account --patch-operations op=replace,path=/cloudwatchRoleArn,value=ROLE), or give false'
        )


def read(deployment: Deployment, deployed: Mapping[str, str] | None, aws: Runs) -> Account:
    """Query the account's limits. For a limit that it does not report, AWS's default is assumed."""
    limits: dict[str, float] = {quota.what: quota.default for quota in quotas.QUOTAS}
    used: dict[str, float] = {}
    for quota in quotas.QUOTAS:
        if quota.code and quota.raisable and quota.service not in ('lambda', 'iam'):
            limits[quota.what] = _quota(quota, aws)
    _read_lambda(deployment, deployed, aws, limits)
    _read_iam(aws, limits, used, first=deployed is None)
    return Account(limits, used)


def _quota(quota: Quota, aws: Runs) -> float:
    words = ('--service-code', quota.service, '--quota-code', quota.code, '--query', 'Quota.Value', '--output', 'text')
    text = _asked(aws, 'service-quotas', 'get-service-quota', *words)
    try:
        return float(text)
    except ValueError:
        return quota.default


def _asked(aws: Runs, *words: str) -> str:
    """Return the answer, or '' when the credentials lack the permission."""
    try:
        return aws.run(*words)
    except Refused as refused:
        print(f'note: not checked: {refused}')
        return ''


def _read_lambda(
    deployment: Deployment, deployed: Mapping[str, str] | None, aws: Runs, limits: dict[str, float]
) -> None:
    text = _asked(aws, 'lambda', 'get-account-settings', '--query', 'AccountLimit', '--output', 'json')
    found = _json(text)
    if not found:
        return
    concurrency = float(found['ConcurrentExecutions'])
    established = concurrency >= quotas.ESTABLISHED_CONCURRENCY
    before = deployment._replace(parameters=effective(deployment.template, deployed, {}))
    others = concurrency - float(found['UnreservedConcurrentExecutions']) - quotas.reserved(before)
    limits['Concurrent executions'] = concurrency - max(0.0, others)
    minimum = quotas.UNRESERVED if established else quotas.UNRESERVED_SMALL
    limits['Reserved concurrent executions'] = max(0.0, concurrency - max(0.0, others) - minimum)
    if not established:
        limits['Memory of a function'] = max(quotas.NEW_ACCOUNT_MEMORY, _largest(aws))


def _largest(aws: Runs) -> float:
    """Return the memory in MB of the account's largest function: shows whether AWS raised a new account's limit."""
    text = _asked(aws, 'lambda', 'list-functions', '--query', 'max(Functions[].MemorySize)', '--output', 'json')
    return float(text) if text.isdigit() else 0.0


def _read_iam(aws: Runs, limits: dict[str, float], used: dict[str, float], *, first: bool) -> None:
    found = _json(_asked(aws, 'iam', 'get-account-summary', '--query', 'SummaryMap', '--output', 'json'))
    for what, key in (('Roles', 'Roles'), ('Customer managed policies', 'Policies')):
        limits[what] = float(found.get(f'{key}Quota', limits[what]))
        if first:  # later they include the stack's own
            used[what] = float(found.get(key, 0))
    limits['Managed policies per role'] = float(found.get('AttachedPoliciesPerRoleQuota', 10))


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def over(deployment: Deployment, account: Account) -> Iterator[str]:
    """Return a line for each limit that the deployment exceeds."""
    for quota in quotas.QUOTAS:
        needed, limit = quota.needs(deployment), account.limits[quota.what]
        used = account.used.get(quota.what, 0)
        if needed + used > limit:
            unit = f' {quota.unit}' if quota.unit else ''
            beside = f' beside {used:.0f} in use' if used else ''
            what = f'{quota.what} ({quota.service}): {needed}{unit}{beside}, allowed {limit:.0f}'
            yield f'{what}: {_advice(quota, deployment)}'


def _advice(quota: Quota, deployment: Deployment) -> str:
    if not (quota.raisable and quota.code):
        return quota.advice
    command = f'aws service-quotas request-service-quota-increase --region {deployment.region}'
    command += f' --service-code {quota.service} --quota-code {quota.code} --desired-value ...'
    return f'{quota.advice} ({command})'


def advice(deployment: Deployment, account: Account) -> Iterator[str]:
    """Return advice on settings that work but are not recommended."""
    limit = account.limits['Concurrent executions']
    if deployment.number('BackupWorkerReservedConcurrency'):
        return
    backups = int((limit - quotas.BESIDE_A_BACKUP) // deployment.number('BackupConcurrency'))
    yield (
        f'{backups + 1} backups at the same time use all of the {limit:.0f} concurrent executions, and the API is '
        f'throttled until they end: {_cap(account)}'
    )


def _cap(account: Account) -> str:
    room = account.limits['Reserved concurrent executions']
    if room >= 20:
        return f'set BackupWorkerReservedConcurrency, for example to {int(room // 5)}'
    return 'request more concurrent executions (Service Quotas, L-B99A9384), then set BackupWorkerReservedConcurrency'
