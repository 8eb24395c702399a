"""Limits of AWS that a deployment relies on: one table for the check before a deploy, the tests and the docs.

A row has the limit, AWS's name for it, its default value, that of a new account, and the function that computes how
much of it this template needs with given parameters. ``infra/preflight.py`` compares the rows with the account,
``tests/unit/infra/test_quotas.py`` with the template's defaults, and docs/reference/account-limits.md lists them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from local.intrinsics import NO_VALUE, Scope

Template = Mapping[str, Any]

#: Memory that a function of a new account may have, in MB. No API of AWS reports it.
NEW_ACCOUNT_MEMORY = 3008

#: Concurrent executions of an account that AWS has raised from the limit of new accounts.
ESTABLISHED_CONCURRENCY = 1000

#: Concurrent executions that Lambda keeps free of reservations: of an established account, and of a smaller one.
#: https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
UNRESERVED, UNRESERVED_SMALL = 100, 10

#: Functions that must run beside the ranges of one backup: the API, the volume_worker that it invokes.
BESIDE_A_BACKUP = 2


class Deployment(NamedTuple):
    """The template to deploy, and its parameters with their defaults filled in."""

    template: Template
    parameters: Mapping[str, str]
    stack: str = 'cinderless'
    region: str = 'us-east-1'
    partition: str = 'aws'
    account: str = '123456789012'

    def number(self, parameter: str) -> int:
        return int(self.parameters[parameter])

    def of_type(self, kind: str) -> dict[str, Any]:
        """Return {logical id: properties} of a type of resource, whatever its condition."""
        resources = self.template['Resources']
        return {name: body.get('Properties', {}) for name, body in resources.items() if body['Type'] == kind}

    def scope(self) -> Scope:
        """Return the names of this deployment, with ARNs of AWS's maximal length."""
        pseudo = {
            'AWS::AccountId': self.account,
            'AWS::Partition': self.partition,
            'AWS::Region': self.region,
            'AWS::StackId': self._arn('AWS::CloudFormation::Stack', f'stack/{self.stack}/{"0" * 36}'),
            'AWS::StackName': self.stack,
            'AWS::URLSuffix': 'amazonaws.com.cn' if self.partition == 'aws-cn' else 'amazonaws.com',
        }
        logical = {name: f'{self.stack}-{name}-0123456789ab' for name in self.template['Resources']}
        first = Scope({**logical, **pseudo, **self._typed()}, {}, self.template['Conditions'])
        names = {name: self._name(first, name, body) for name, body in self.template['Resources'].items()}
        arns = {name: self._arn(body['Type'], names[name]) for name, body in self.template['Resources'].items()}
        return Scope({**names, **pseudo, **self._typed()}, arns, self.template['Conditions'])

    def _arn(self, kind: str, name: str) -> str:
        pattern = ARNS.get(kind, kind.split('::')[1].lower() + ':{place}:{name}')
        return f'arn:{self.partition}:' + pattern.format(place=f'{self.region}:{self.account}', name=name)

    def _typed(self) -> dict[str, Any]:
        """Return parameters as intrinsics see them: lists are lists."""
        declared = self.template['Parameters']
        lists = {name for name, body in declared.items() if body['Type'] == 'CommaDelimitedList'}
        return {name: text.split(',') if name in lists else text for name, text in self.parameters.items()}

    @staticmethod
    def _name(scope: Scope, name: str, body: Mapping[str, Any]) -> str:
        properties = body.get('Properties', {})
        given = next((properties[key] for key in NAMES if key in properties), None)
        if body['Type'] == 'AWS::KMS::Key':
            return '01234567-89ab-cdef-0123-456789abcdef'
        name_given = scope.resolve(given) if isinstance(given, str | dict) else NO_VALUE
        return str(scope.refs[name] if name_given is NO_VALUE else name_given)


#: Properties that give a resource its name, and ARNs behind their partition; of other types: service, place, name.
NAMES = ('TableName', 'QueueName', 'FunctionName', 'LogGroupName', 'StateMachineName', 'BucketName', 'Name')
ARNS = {
    'AWS::DynamoDB::Table': 'dynamodb:{place}:table/{name}',
    'AWS::KMS::Key': 'kms:{place}:key/{name}',
    'AWS::Lambda::Function': 'lambda:{place}:function:{name}',
    'AWS::Logs::LogGroup': 'logs:{place}:log-group:{name}:*',
    'AWS::S3::Bucket': 's3:::{name}',
}


class Quota(NamedTuple):
    """One limit. ``new`` is that of a new account; ``code`` is '' where Service Quotas does not have it."""

    what: str
    service: str
    code: str
    new: int
    default: int
    unit: str
    needs: Callable[[Deployment], int]
    #: How to reduce the usage, or to raise the limit.
    advice: str
    #: Whether AWS raises it on request.
    raisable: bool = True


def declared(template: Template) -> dict[str, str]:
    """Return each parameter's default."""
    return {name: str(body.get('Default', '')) for name, body in template['Parameters'].items()}


def _concurrency(deployment: Deployment) -> int:
    numbers = ('BackupConcurrency', 'StartWorkflowConcurrency')
    return sum(deployment.number(name) for name in numbers) + BESIDE_A_BACKUP


def reserved(deployment: Deployment) -> int:
    """Return the concurrent executions that the deployment's functions reserve."""
    return deployment.number('ApiReservedConcurrency') + deployment.number('BackupWorkerReservedConcurrency')


def _memory(deployment: Deployment) -> int:
    scope = deployment.scope()
    return max(int(scope.resolve(body['MemorySize'])) for body in deployment.of_type('AWS::Lambda::Function').values())


def _nodes(deployment: Deployment) -> int:
    """API Gateway counts each part of each path once, and the root."""
    [api] = deployment.of_type('AWS::ApiGateway::RestApi').values()
    paths = [path.strip('/').split('/') for path in api['Body']['paths']]
    return len({tuple(parts[:length]) for parts in paths for length in range(len(parts) + 1)})


def _environment(deployment: Deployment) -> int:
    """Return the bytes of the largest environment: names and values."""
    scope = deployment.scope()
    found = (scope.resolve(body['Environment']['Variables']) for body in _functions(deployment))
    return max(sum(len(name) + len(str(value).encode()) for name, value in each.items()) for each in found)


def _functions(deployment: Deployment) -> Iterator[Mapping[str, Any]]:
    return iter(deployment.of_type('AWS::Lambda::Function').values())


def policy_sizes(deployment: Deployment) -> dict[str, int]:
    """Return {logical id of a managed policy: its characters without white space}."""
    scope = deployment.scope()
    documents = {
        name: scope.resolve(body['PolicyDocument'])
        for name, body in deployment.of_type('AWS::IAM::ManagedPolicy').items()
    }
    return {name: len(json.dumps(document, separators=(',', ':'))) for name, document in documents.items()}


def _role_policies(deployment: Deployment) -> int:
    roles = deployment.of_type('AWS::IAM::Role').values()
    return max(len(role.get('ManagedPolicyArns', ())) for role in roles)


def _inline(deployment: Deployment) -> int:
    """Return the characters of the largest role's own policies together."""
    scope = deployment.scope()
    roles = [
        scope.resolve({'Policies': role.get('Policies', [])}) for role in deployment.of_type('AWS::IAM::Role').values()
    ]
    return max(len(json.dumps(role.get('Policies', []), separators=(',', ':'))) for role in roles)


def _count(*kinds: str) -> Callable[[Deployment], int]:
    return lambda deployment: sum(len(deployment.of_type(kind)) for kind in kinds)


def _indexes(deployment: Deployment) -> int:
    tables = deployment.of_type('AWS::DynamoDB::Table').values()
    return max(len(table.get('GlobalSecondaryIndexes', ())) for table in tables)


def _definition(deployment: Deployment) -> int:
    scope = deployment.scope()
    machines = deployment.of_type('AWS::StepFunctions::StateMachine').values()
    return max(len(scope.resolve(body['DefinitionString'])) for body in machines)


def _timeout(deployment: Deployment) -> int:
    return int(deployment.of_type('AWS::Lambda::Function')['APIHandler']['Timeout']) * 1000


#: In the order of docs/reference/account-limits.md. Values: the services' quota pages, and Service Quotas by code.
QUOTAS: tuple[Quota, ...] = (
    Quota('Concurrent executions', 'lambda', 'L-B99A9384', 10, 1000, '', _concurrency,
          'lower BackupConcurrency, or request more'),
    Quota('Reserved concurrent executions', 'lambda', '', 0, 900, '', reserved,
          'lower ApiReservedConcurrency and BackupWorkerReservedConcurrency: Lambda keeps 100 unreserved (10 in '
          'accounts with less than 1000)'),
    Quota('Memory of a function', 'lambda', '', NEW_ACCOUNT_MEMORY, 10240, 'MB', _memory,
          'lower BackupWorkerMemory to 3008, or request AWS Support to raise the memory of functions'),
    Quota('Size of environment variables', 'lambda', 'L-6581F036', 4096, 4096, 'bytes', _environment,
          'shorten the longest parameters', raisable=False),
    Quota('Resources per REST API', 'apigateway', 'L-01C8A9E0', 300, 300, '', _nodes, 'request more'),
    Quota('Integration timeout', 'apigateway', 'L-E5AE38E3', 29000, 29000, 'ms', _timeout, 'request more'),
    Quota('Throttle rate of the account', 'apigateway', 'L-8A5B8E43', 10000, 10000, 'requests/s',
          lambda deployment: deployment.number('ApiRateLimit'), 'lower ApiRateLimit, or request more'),
    Quota('Throttle burst of the account', 'apigateway', 'L-CDF5615A', 5000, 5000, 'requests',
          lambda deployment: deployment.number('ApiBurstLimit'), 'lower ApiBurstLimit', raisable=False),
    Quota('Tables', 'dynamodb', 'L-F98FE922', 2500, 2500, '', _count('AWS::DynamoDB::Table'), 'request more'),
    Quota('Global secondary indexes per table', 'dynamodb', 'L-F7858A77', 20, 20, '', _indexes, 'request more'),
    Quota('Rules per event bus', 'events', 'L-244521F2', 100, 300, '', _count('AWS::Events::Rule'), 'request more'),
    Quota('Roles', 'iam', 'L-FE177D64', 1000, 1000, '', _count('AWS::IAM::Role'), 'remove one, or request more'),
    Quota('Customer managed policies', 'iam', 'L-E95E4862', 1500, 1500, '', _count('AWS::IAM::ManagedPolicy'),
          'remove one, or request more'),
    Quota('Managed policies per role', 'iam', 'L-0DA4ABF3', 10, 10, '', _role_policies, 'request more'),
    Quota('Size of a managed policy', 'iam', '', 6144, 6144, 'characters',
          lambda deployment: max(policy_sizes(deployment).values()), 'choose a shorter stack name', raisable=False),
    Quota("Size of a role's own policies", 'iam', '', 10240, 10240, 'characters', _inline,
          'choose a shorter name of the stack, or list fewer buckets and keys of other deployments', raisable=False),
    Quota('Buckets', 's3', 'L-DC2B2D3D', 100, 10000, '', _count('AWS::S3::Bucket'), 'remove a bucket, or request more'),
    Quota('Size of a definition', 'states', '', 1048576, 1048576, 'bytes', _definition, 'report it', raisable=False),
    Quota('Resources per template', 'cloudformation', '', 500, 500, '',
          lambda deployment: len(deployment.template['Resources']), 'report it', raisable=False),
    Quota('Parameters per template', 'cloudformation', '', 200, 200, '',
          lambda deployment: len(deployment.template['Parameters']), 'report it', raisable=False),
)  # fmt: skip


def named(what: str) -> Quota:
    """Return the row of that name. Raises StopIteration for an unknown one."""
    return next(quota for quota in QUOTAS if quota.what == what)
