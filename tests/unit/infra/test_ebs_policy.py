"""The workers may do on EBS what the driver does, and nothing else; with nothing that was not handed to them."""

from __future__ import annotations

import re
from typing import Any

import botocore.session
import pytest

from infra.render import ROOT, _load

DRIVER = '\n'.join(path.read_text() for path in sorted((ROOT / 'chalicelib' / 'drivers').glob('ebs*.py')))


def called() -> set[str]:
    """What the driver's files name of EC2's and EBS's operations."""
    session = botocore.session.get_session()
    names = set(re.findall(r"'([A-Z]\w+)'", DRIVER))
    return {
        f'{service}:{name}'
        for service in ('ec2', 'ebs')
        for name in session.get_service_model(service).operation_names
        if name in names
    }


@pytest.fixture(scope='module')
def policy() -> list[dict[str, Any]]:
    template = _load(ROOT / 'infra' / 'roles.yaml')
    found = template['Resources']['ElasticBlockStorePolicy']['Properties']['PolicyDocument']['Statement']
    return list(found)


def actions(statement: dict[str, Any]) -> set[str]:
    found = statement['Action']
    return {found} if isinstance(found, str) else set(found)


def test_what_is_called_is_allowed_and_nothing_else(policy: list[dict[str, Any]]) -> None:
    allowed = set().union(*map(actions, policy))
    assert {action for action in allowed if not action.startswith('kms:')} == called()


def test_only_describe_is_for_everything(policy: list[dict[str, Any]]) -> None:
    everything = [statement for statement in policy if statement['Resource'] == '*']
    assert all(action.startswith('ec2:Describe') for statement in everything for action in actions(statement))


def test_what_changes_volumes_and_snapshots_needs_their_tag(policy: list[dict[str, Any]]) -> None:
    for statement in policy:
        text = str(statement['Resource'])
        if 'volume/' in text or 'snapshot/' in text or 'key/' in text:
            assert re.search('cinder:deployment|ec2:CreateAction', str(statement['Condition'])), statement
