"""CloudFormation's functions."""

from __future__ import annotations

from typing import Any

import pytest

from local.intrinsics import Scope

SCOPE = Scope(
    refs={'AWS::StackName': 'cloud', 'Queue': 'http://queue', 'Empty': ''},
    arns={'Queue': 'arn:queue'},
    conditions={
        'IsEmpty': {'Fn::Equals': [{'Ref': 'Empty'}, '']},
        'IsFull': {'Fn::Not': [{'Fn::Equals': [{'Ref': 'Empty'}, '']}]},
    },
)


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        ('text', 'text'),
        (7, 7),
        ({'Ref': 'Queue'}, 'http://queue'),
        ({'Fn::GetAtt': ['Queue', 'Arn']}, 'arn:queue'),
        ({'Fn::GetAtt': 'Queue.Arn'}, 'arn:queue'),
        ({'Fn::Sub': '${AWS::StackName}-${Queue.Arn}'}, 'cloud-arn:queue'),
        ({'Fn::Sub': ['${Mine}/${AWS::StackName}', {'Mine': {'Ref': 'Queue'}}]}, 'http://queue/cloud'),
        ({'Fn::Sub': '${!Literal}'}, '${Literal}'),
        ({'Fn::Join': ['-', ['a', {'Ref': 'AWS::StackName'}]]}, 'a-cloud'),
        ({'Fn::If': ['IsEmpty', 'yes', 'no']}, 'yes'),
        ({'Fn::If': ['IsFull', 'yes', 'no']}, 'no'),
        ({'a': [{'Ref': 'Queue'}, {'b': {'Ref': 'AWS::StackName'}}]}, {'a': ['http://queue', {'b': 'cloud'}]}),
        ({'kept': 1, 'gone': {'Ref': 'AWS::NoValue'}}, {'kept': 1}),
        ([1, {'Fn::If': ['IsFull', 2, {'Ref': 'AWS::NoValue'}]}], [1]),
    ],
)
def test_values_resolve(value: Any, expected: Any) -> None:
    assert SCOPE.resolve(value) == expected


@pytest.mark.parametrize(
    'value',
    [
        {'Ref': 'Unknown'},
        {'Fn::Sub': '${Unknown}'},
        {'Fn::GetAtt': ['Unknown', 'Arn']},
        {'Fn::GetAtt': ['Queue', 'Url']},
    ],
)
def test_what_is_not_in_scope_is_an_error(value: Any) -> None:
    with pytest.raises(KeyError):
        SCOPE.resolve(value)
