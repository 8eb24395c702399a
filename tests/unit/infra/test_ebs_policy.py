"""The workers may do what the driver does on EBS with what was handed to them (which does what: test_call_graph)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from infra.render import ROOT, _load


@pytest.fixture(scope='module')
def policy() -> list[dict[str, Any]]:
    """Every statement about EBS, of both workers."""
    resources = _load(ROOT / 'infra' / 'roles.yaml')['Resources']
    documents = [
        resources['ElasticBlockStorePolicy']['Properties']['PolicyDocument'],
        *(
            resources[name]['Properties']['Policies'][0]['PolicyDocument']
            for name in ('VolumeWorkerRole', 'BackupWorkerRole')
        ),
    ]
    found = [statement for document in documents for statement in document['Statement'] if 'Action' in statement]
    return [
        each
        for each in found
        if any(action.startswith(('ec2:', 'ebs:')) for action in actions(each)) or 'ViaService' in str(each)
    ]


def actions(statement: dict[str, Any]) -> set[str]:
    found = statement['Action']
    return {found} if isinstance(found, str) else set(found)


def test_only_describe_is_for_everything(policy: list[dict[str, Any]]) -> None:
    everything = [statement for statement in policy if statement['Resource'] == '*']
    assert all(action.startswith('ec2:Describe') for statement in everything for action in actions(statement))


def test_what_changes_volumes_and_snapshots_needs_their_tag(policy: list[dict[str, Any]]) -> None:
    for statement in policy:
        text = str(statement['Resource'])
        if 'volume/' in text or 'snapshot/' in text or 'key/' in text:
            assert re.search('cinder:deployment|ec2:CreateAction', str(statement['Condition'])), statement


def test_a_volume_goes_to_tagged_instances_alone_and_leaves_any(policy: list[dict[str, Any]]) -> None:
    of_instances = [statement for statement in policy if 'instance/*' in str(statement['Resource'])]
    assert any('ec2:AttachVolume' in actions(statement) for statement in of_instances)
    for statement in of_instances:
        condition = statement.get('Condition')
        if 'ec2:AttachVolume' in actions(statement):
            assert condition == {'Null': {'aws:ResourceTag/cinder:project': 'false'}}
        if 'ec2:DetachVolume' in actions(statement):
            assert condition is None
