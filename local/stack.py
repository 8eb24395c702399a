"""The stack: the plain template in moto's CloudFormation, and the resources that moto cannot create.

moto creates the queues, the bucket, the key, roles, rules, functions and tables. This module creates state machines,
secrets and buses through their APIs: moto's CloudFormation puts state machines where they never run, does not support
secrets, and gives buses no id. The local cloud reads the gateway, the event source mappings and the alarms from the
template and emulates them.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import secrets
import string
from collections.abc import Iterator, Mapping
from typing import Any

import moto.cloudformation.parsing  # noqa: F401 - by CreateStack, and then without local.imports.spared

from infra import stored_secrets
from local.functions import Function
from local.intrinsics import Scope
from local.queues import Mapping as QueueMapping
from local.settings import ACCOUNT, REGION, STACK

#: Types that moto's CloudFormation is not given.
HELD_BACK = (
    'AWS::ApiGateway::',
    'AWS::CloudWatch::Alarm',
    'AWS::Events::EventBus',
    'AWS::Lambda::Alias',
    'AWS::Lambda::EventInvokeConfig',
    'AWS::Lambda::EventSourceMapping',
    'AWS::Lambda::LayerVersion',
    'AWS::Lambda::Permission',
    'AWS::Lambda::Version',
    'AWS::S3::BucketPolicy',
    'AWS::SNS::',
    'AWS::SQS::QueuePolicy',
    'AWS::SecretsManager::',
    'AWS::StepFunctions::',
    'AWS::WAFv2::',
)

#: The code that moto is given: handlers and their packages are imported from the source tree and its environment.
CODE = {'ZipFile': '# the handler runs in the local cloud'}


@dataclasses.dataclass(frozen=True, slots=True)
class Stack:
    """The deployed stack. Logical ids are those of the template."""

    resources: Mapping[str, Mapping[str, Any]]
    scope: Scope

    def of_type(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """(logical id, properties with their intrinsics resolved) of every resource of a type whose condition holds."""
        for name, resource in self.resources.items():
            if resource['Type'] == kind and self._exists(resource):
                yield name, self.scope.resolve(resource['Properties'])

    def _exists(self, resource: Mapping[str, Any]) -> bool:
        condition = resource.get('Condition')
        return condition is None or bool(self.scope.resolve(self.scope.conditions[condition]))

    def physical(self, logical_id: str) -> str:
        """A resource's name, or the URL of a queue: what ``Ref`` gives."""
        return str(self.scope.refs[logical_id])

    def mappings(self) -> Iterator[tuple[str, QueueMapping]]:
        """(function's name, mapping) of every event source mapping."""
        urls = {self.scope.arns[name]: self.physical(name) for name, _ in self.of_type('AWS::SQS::Queue')}
        for _, properties in self.of_type('AWS::Lambda::EventSourceMapping'):
            arn = properties['EventSourceArn']
            yield (
                properties['FunctionName'],
                QueueMapping(
                    queue_arn=arn,
                    queue_url=urls[arn],
                    batch_size=int(properties.get('BatchSize', 10)),
                    concurrency=int(properties.get('ScalingConfig', {}).get('MaximumConcurrency', 10)),
                    reports_failures='ReportBatchItemFailures' in properties.get('FunctionResponseTypes', ()),
                ),
            )


def deploy(template: Mapping[str, Any], parameters: Mapping[str, str], clients: Any) -> Stack:
    """Create the stack and return it. ``clients(service)`` gives a boto3 client. Raises what AWS (moto) raises."""
    given = {name: value for name, value in parameters.items() if name in template['Parameters']}
    clients('cloudformation').create_stack(
        StackName=STACK,
        TemplateBody=json.dumps(for_moto(template)),
        Parameters=[{'ParameterKey': name, 'ParameterValue': value} for name, value in given.items()],
        Capabilities=['CAPABILITY_IAM'],
    )
    stack = Stack(template['Resources'], _scope(template, given, clients))
    _create_secrets(stack, clients('secretsmanager'))
    _create_secure_strings(stack, clients('ssm'))
    _create_buses(stack, clients('events'))
    _create_machines(stack, clients('stepfunctions'))
    return stack


def for_moto(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return the template without outputs, layers and the resources that moto cannot create."""
    kept = {name: copy.deepcopy(body) for name, body in template['Resources'].items() if not _is_held_back(body)}
    for resource in kept.values():
        if resource['Type'] == 'AWS::Lambda::Function':
            resource['Properties']['Code'] = CODE
            resource['Properties'].pop('Layers', None)
        if resource['Type'] == 'AWS::IAM::Role' and 'Policies' in resource['Properties']:
            # moto keeps AWS::NoValue in lists, and enforces no policy here.
            policies = resource['Properties']['Policies']
            resource['Properties']['Policies'] = [each for each in policies if 'Fn::If' not in each]
    rest = {key: value for key, value in template.items() if key in ('Parameters', 'Conditions')}
    return {'AWSTemplateFormatVersion': '2010-09-09', **rest, 'Resources': kept}


def _is_held_back(resource: Mapping[str, Any]) -> bool:
    return str(resource['Type']).startswith(HELD_BACK)


def _scope(template: Mapping[str, Any], given: Mapping[str, str], clients: Any) -> Scope:
    described = clients('cloudformation').describe_stack_resources(StackName=STACK)['StackResources']
    # moto also lists resources that a condition excludes, without a name.
    found = [resource for resource in described if 'LogicalResourceId' in resource]
    physical = {resource['LogicalResourceId']: resource['PhysicalResourceId'] for resource in found}
    kinds = {resource['LogicalResourceId']: resource['ResourceType'] for resource in found}
    defaults = {name: parameter.get('Default', '') for name, parameter in template['Parameters'].items()}
    own_names = {name: name for name in template['Resources']}  # resources created here have no other
    pseudo = {**PSEUDO_PARAMETERS, 'AWS::StackId': found[0]['StackId']}
    refs = {**pseudo, **defaults, **given, **own_names, **physical}
    arns = {name: ARNS[kinds[name]].format(_last(value)) for name, value in physical.items() if kinds[name] in ARNS}
    return Scope(refs, arns, template.get('Conditions', {}))


PSEUDO_PARAMETERS = {
    'AWS::AccountId': ACCOUNT,
    'AWS::Partition': 'aws',
    'AWS::Region': REGION,
    'AWS::StackName': STACK,
    'AWS::URLSuffix': 'amazonaws.com',
}

#: What ``GetAtt Arn`` gives, from the last part of the physical id.
ARNS = {
    'AWS::Events::Rule': f'arn:aws:events:{REGION}:{ACCOUNT}:rule/{{}}',
    'AWS::IAM::Role': f'arn:aws:iam::{ACCOUNT}:role/{{}}',
    'AWS::KMS::Key': f'arn:aws:kms:{REGION}:{ACCOUNT}:key/{{}}',
    'AWS::Lambda::Function': f'arn:aws:lambda:{REGION}:{ACCOUNT}:function:{{}}',
    'AWS::SQS::Queue': f'arn:aws:sqs:{REGION}:{ACCOUNT}:{{}}',
}


def _last(physical_id: str) -> str:
    return physical_id.rpartition('/')[2]


def _create_secrets(stack: Stack, client: Any) -> None:
    """A generated secret is generated once, and kept from then on, as CloudFormation does."""
    known = {
        secret['Name'] for page in client.get_paginator('list_secrets').paginate() for secret in page['SecretList']
    }
    for _, properties in stack.of_type('AWS::SecretsManager::Secret'):
        generate = properties.get('GenerateSecretString')
        if not generate:
            put_secret(client, properties['Name'], properties['SecretString'])
        elif properties['Name'] not in known:
            client.create_secret(Name=properties['Name'], SecretString=_generated(generate))


def put_secret(client: Any, name: str, text: str) -> None:
    """Give a secret this value: a new version only where it differs."""
    try:
        if client.get_secret_value(SecretId=name)['SecretString'] != text:
            client.put_secret_value(SecretId=name, SecretString=text)
    except client.exceptions.ResourceNotFoundException:
        client.create_secret(Name=name, SecretString=text)


def _generated(generate: Mapping[str, Any]) -> str:
    """Return the secret for GenerateSecretString: the template with one more, random value."""
    alphabet = string.ascii_letters + string.digits
    value = ''.join(secrets.choice(alphabet) for _ in range(int(generate['PasswordLength'])))
    return json.dumps({**json.loads(generate['SecretStringTemplate']), generate['GenerateStringKey']: value})


def _create_secure_strings(stack: Stack, client: Any) -> None:
    """Write what ``make deploy`` writes beside the stack; an identity document keeps the signing key that it has."""
    given = stack.scope.refs
    if given.get('SecretStore') != stored_secrets.PARAMETER_STORE:
        return
    if given['KeystoneUrl']:
        _put_secure_string(client, f'/{STACK}/keystone', given['KeystonePassword'] or 'unset')
        return
    name = f'/{STACK}/identity'
    if not client.get_parameters(Names=[name])['Parameters']:
        _put_secure_string(client, name, stored_secrets.with_key(given['IdentityDocument'], secrets.token_hex(32)))


def _put_secure_string(client: Any, name: str, text: str) -> None:
    client.put_parameter(Name=name, Value=text, Type='SecureString', Tier='Intelligent-Tiering', Overwrite=True)


def _create_buses(stack: Stack, client: Any) -> None:
    for _, properties in stack.of_type('AWS::Events::EventBus'):
        client.create_event_bus(Name=properties['Name'])


def _create_machines(stack: Stack, client: Any) -> None:
    for _, properties in stack.of_type('AWS::StepFunctions::StateMachine'):
        client.create_state_machine(
            name=properties['StateMachineName'],
            definition=properties['DefinitionString'],
            roleArn=properties['RoleArn'],
        )


def functions(stack: Stack, client: Any) -> dict[str, Function]:
    """{logical id: function} as moto keeps them, environments resolved."""
    found = {}
    for name, _ in stack.of_type('AWS::Lambda::Function'):
        configuration = client.get_function_configuration(FunctionName=stack.physical(name))
        found[name] = Function(
            name=configuration['FunctionName'],
            arn=configuration['FunctionArn'],
            handler=configuration['Handler'],
            timeout=configuration['Timeout'],
            memory=int(configuration['MemorySize']),  # moto keeps a parameter's text
            environment=configuration.get('Environment', {}).get('Variables', {}),
        )
    return found
