"""A template becomes a stack in moto, and what moto lacks is made beside it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from infra import render
from local import stack
from local.stack import Stack
from tests.unit.local.conftest import Clients

TRUST = {'Version': '2012-10-17', 'Statement': []}

TEMPLATE: dict[str, Any] = {
    'Parameters': {'Document': {'Type': 'String', 'Default': '{}'}, 'Size': {'Type': 'Number', 'Default': '1'}},
    'Conditions': {'IsSmall': {'Fn::Equals': [{'Ref': 'Size'}, '1']}},
    'Resources': {
        'Role': {'Type': 'AWS::IAM::Role', 'Properties': {'AssumeRolePolicyDocument': TRUST}},
        'Queue': {'Type': 'AWS::SQS::Queue', 'Properties': {'QueueName': 'work'}},
        'Worker': {
            'Type': 'AWS::Lambda::Function',
            'Properties': {
                'FunctionName': {'Fn::Sub': '${AWS::StackName}-worker'},
                'Code': {'S3Bucket': 'artefacts', 'S3Key': 'deployment.zip'},
                'Handler': 'app.worker',
                'Role': {'Fn::GetAtt': ['Role', 'Arn']},
                'Runtime': 'python3.13',
                'Timeout': 7,
                'MemorySize': 256,
                'Environment': {'Variables': {'QUEUE': {'Ref': 'Queue'}, 'STACK': {'Ref': 'AWS::StackName'}}},
            },
        },
        'Mapping': {
            'Type': 'AWS::Lambda::EventSourceMapping',
            'Properties': {
                'EventSourceArn': {'Fn::GetAtt': ['Queue', 'Arn']},
                'FunctionName': {'Ref': 'Worker'},
                'BatchSize': 5,
                'FunctionResponseTypes': ['ReportBatchItemFailures'],
                'ScalingConfig': {'MaximumConcurrency': 3},
            },
        },
        'Machine': {
            'Type': 'AWS::StepFunctions::StateMachine',
            'Properties': {
                'StateMachineName': {'Fn::Sub': '${AWS::StackName}-nap'},
                'RoleArn': {'Fn::GetAtt': ['Role', 'Arn']},
                'DefinitionString': {
                    'Fn::Sub': [
                        '{"StartAt":"A","States":{"A":{"Type":"Pass","Result":"${Arn}","End":true}}}',
                        {'Arn': {'Fn::GetAtt': ['Worker', 'Arn']}},
                    ]
                },
            },
        },
        'Secret': {
            'Type': 'AWS::SecretsManager::Secret',
            'Properties': {
                'Name': {'Fn::Sub': '${AWS::StackName}/identity'},
                'GenerateSecretString': {
                    'SecretStringTemplate': {'Ref': 'Document'},
                    'GenerateStringKey': 'signing_key',
                    'PasswordLength': 40,
                },
            },
        },
        'Plain': {
            'Type': 'AWS::SecretsManager::Secret',
            'Properties': {'Name': 'plain', 'SecretString': {'Fn::If': ['IsSmall', 'small', 'large']}},
        },
        'Alarm': {'Type': 'AWS::CloudWatch::Alarm', 'Properties': {'AlarmName': {'Ref': 'Mapping'}}},
    },
    'Outputs': {'Alarm': {'Value': {'Ref': 'Alarm'}}},
}


@pytest.fixture
def deployed(aws: Clients) -> Stack:
    return stack.deploy(TEMPLATE, {'Document': '{"users": []}', 'Unknown': 'left out'}, aws)


def test_moto_is_given_what_it_can_make() -> None:
    given = stack.for_moto(TEMPLATE)
    assert set(given['Resources']) == {'Role', 'Queue', 'Worker'}
    assert 'Outputs' not in given
    assert 'S3Bucket' in TEMPLATE['Resources']['Worker']['Properties']['Code']
    assert given['Resources']['Worker']['Properties']['Code'] == stack.CODE


def test_functions_have_their_settings_resolved(deployed: Stack, aws: Clients) -> None:
    (function,) = stack.functions(deployed, aws('lambda')).values()
    assert (function.name, function.handler, function.timeout, function.memory) == (
        'cinderless-worker',
        'app.worker',
        7,
        256,
    )
    assert function.environment == {'QUEUE': deployed.physical('Queue'), 'STACK': 'cinderless'}


def test_every_pseudo_parameter_of_the_template_has_a_value(deployed: Stack, aws: Clients) -> None:
    template = (render.templates() / 'plain.json').read_text()
    named = set(re.findall(r'AWS::[A-Z][A-Za-z]+(?![\w:])', template))
    assert named - {'AWS::NoValue'} <= set(deployed.scope.refs)
    (described,) = aws('cloudformation').describe_stacks(StackName='cinderless')['Stacks']
    assert deployed.scope.refs['AWS::StackId'] == described['StackId']


def test_a_mapping_ties_the_queue_to_the_function(deployed: Stack) -> None:
    ((name, mapping),) = deployed.mappings()
    assert name == 'cinderless-worker'
    assert mapping.queue_arn == 'arn:aws:sqs:us-east-1:123456789012:work'
    assert mapping.queue_url == deployed.physical('Queue')
    assert (mapping.batch_size, mapping.concurrency, mapping.reports_failures) == (5, 3, True)


def test_machines_run(deployed: Stack, aws: Clients) -> None:
    arn = 'arn:aws:states:us-east-1:123456789012:stateMachine:cinderless-nap'
    definition = aws('stepfunctions').describe_state_machine(stateMachineArn=arn)['definition']
    assert json.loads(definition)['States']['A']['Result'] == deployed.scope.arns['Worker']
    assert aws('stepfunctions').start_execution(stateMachineArn=arn, name='one')['executionArn'].endswith(':one')


def test_secrets_are_made_with_a_value_of_their_own(deployed: Stack, aws: Clients) -> None:
    found = json.loads(aws('secretsmanager').get_secret_value(SecretId='cinderless/identity')['SecretString'])
    assert found['users'] == []
    assert len(found['signing_key']) == 40
    assert aws('secretsmanager').get_secret_value(SecretId='plain')['SecretString'] == 'small'


def test_policies_that_a_condition_may_exclude_are_not_given_to_moto() -> None:
    """moto keeps the excluded ones as None, and fails."""
    always = {'PolicyName': 'always', 'PolicyDocument': {}}
    policies = [always, {'Fn::If': ['HasLogs', {'PolicyName': 'logs'}, {'Ref': 'AWS::NoValue'}]}]
    role = {'Type': 'AWS::IAM::Role', 'Properties': {'Policies': policies}}
    made = stack.for_moto({'Resources': {'Role': role}})
    assert made['Resources']['Role']['Properties']['Policies'] == [always]
