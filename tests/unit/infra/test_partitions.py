"""GovCloud and China: template, stage and policies name their own partition and addresses, none of another."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from infra import deployer, quotas, render, stage
from infra.quotas import Deployment
from infra.stage import Stage

PLACES = [('cn-north-1', 'aws-cn', 'amazonaws.com.cn'), ('us-gov-west-1', 'aws-us-gov', 'amazonaws.com')]

#: Endpoints and principals that AWS names without a suffix of the partition.
PRINCIPAL = re.compile(r'(lambda|states|events|cloudwatch|apigateway|sns|s3)\.amazonaws\.com')


@pytest.fixture(scope='module')
def template() -> dict[str, Any]:
    return dict(json.loads((render.templates() / 'plain.json').read_text()))


def texts(node: Any) -> Iterator[str]:
    """Every text of a resolved document."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield str(key)
            yield from texts(value)
    elif isinstance(node, list):
        for item in node:
            yield from texts(item)


#: Kinds of resource whose every intrinsic the scope resolves; of the others the text is examined as it is written.
RESOLVED = ('AWS::IAM::Role', 'AWS::IAM::ManagedPolicy', 'AWS::SSM::Parameter', 'AWS::Events::Rule', 'AWS::KMS::Key')


@pytest.mark.parametrize(('region', 'partition', 'suffix'), PLACES)
def test_resolved_resources_name_their_own_partition(
    template: dict[str, Any], region: str, partition: str, suffix: str
) -> None:
    given = {
        **quotas.declared(template),
        'WorkerSubnetIds': 'subnet-1',
        'ApiSubnetIds': 'subnet-1',
        'Tracing': 'Active',
    }
    deployment = Deployment(template, given, 'mine', region, partition)
    scope, seen = deployment.scope(), 0
    for kind in RESOLVED:
        for name, body in deployment.of_type(kind).items():
            for text in texts(scope.resolve(body)):
                for arn in re.findall(r'arn:[^:\s]+', text):
                    assert arn == f'arn:{partition}', (name, text)
                    seen += 1
    assert seen > 100


def test_no_text_of_the_template_names_a_partition_or_its_addresses(template: dict[str, Any]) -> None:
    for text in texts(template['Resources']):
        assert 'arn:aws' not in text, text[:200]
        for place in re.finditer(r'[\w${}:.]*amazonaws\.com\S?', text):
            assert PRINCIPAL.fullmatch(place[0]) or place[0].endswith('*'), place[0]
    url = json.dumps(template['Outputs']['EndpointURL'])
    assert 'AWS::URLSuffix' in url or '${AWS::URLSuffix}' in url


@pytest.mark.parametrize(('region', 'partition', 'suffix'), PLACES)
def test_a_stage_there_takes_and_names_arns_of_its_own_partition(region: str, partition: str, suffix: str) -> None:
    declared = json.loads((render.templates() / 'template.json').read_text())['Parameters']

    def found(arn: str) -> list[str]:
        given = {'KeystoneUrl': 'https://k/v3', 'AlarmTopicArn': arn}
        return list(stage.complaints(Stage('any', region, 'mine', given), declared))

    assert stage.partition(region) == partition
    assert found(f'arn:{partition}:sns:{region}:123456789012:alarms') == []
    [line] = found(f'arn:aws:sns:{region}:123456789012:alarms')
    assert f'arn:{partition}:sns:{region}' in line


@pytest.mark.parametrize(('region', 'partition', 'suffix'), PLACES)
def test_the_deployers_policies_are_of_the_partition(region: str, partition: str, suffix: str) -> None:
    policies = deployer.of_stage(Stage('any', region, 'mine', {}), '123456789012', partition)
    arns = {arn for text in texts(policies) for arn in re.findall(r'arn:[^:\s]+', text)}
    assert arns == {f'arn:{partition}'}
