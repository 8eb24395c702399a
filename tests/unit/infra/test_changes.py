"""A deploy over the last release keeps every table, the bucket and the key."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from infra import changes

TABLE: dict[str, Any] = {
    'Type': 'AWS::DynamoDB::Table',
    'Properties': {
        'TableName': 'animals',
        'KeySchema': [{'AttributeName': 'id', 'KeyType': 'HASH'}],
        'GlobalSecondaryIndexes': [{'IndexName': 'by_name'}],
        'BillingMode': 'PAY_PER_REQUEST',
    },
}
QUEUE: dict[str, Any] = {'Type': 'AWS::SQS::Queue', 'Properties': {'VisibilityTimeout': 30}}
RULE: dict[str, Any] = {'Type': 'AWS::Events::Rule', 'Properties': {}}


def template(**resources: Any) -> dict[str, Any]:
    return {'Resources': resources}


def compared(old: dict[str, Any], new: dict[str, Any]) -> list[changes.Change]:
    return list(changes.changes(changes.kept(old), new))


def test_this_version_loses_nothing_of_the_last_release() -> None:
    version, old = changes.last_release()
    lost = [change for change in changes.changes(old, changes.current()) if change.is_loss]
    assert lost == [], f'a deploy over {version} would destroy data; see docs/how-to/upgrade.md, "Upgrade"'


def test_this_version_takes_every_parameter_of_the_last_release() -> None:
    """Who deploys again gives the parameters of before."""
    _, old = changes.last_release()
    assert set(old['Parameters']) <= set(changes.current()['Parameters'])
    assert set(old['Outputs']) <= set(changes.current()['Outputs'])


def test_the_same_template_changes_nothing() -> None:
    assert compared(template(a=TABLE, b=RULE), template(a=copy.deepcopy(TABLE))) == []


def test_what_comes_is_no_loss_and_what_goes_is() -> None:
    (came,) = compared(template(), template(a=TABLE))
    (went,) = compared(template(a=TABLE), template())
    assert (came.kind, came.is_loss) == ('Add', False)
    assert (went.kind, went.is_loss) == ('Remove', True)


@pytest.mark.parametrize('key', ['TableName', 'KeySchema', 'LocalSecondaryIndexes'])
def test_a_property_that_makes_a_table_anew_is_a_loss(key: str) -> None:
    new = copy.deepcopy(TABLE)
    new['Properties'][key] = ['other']
    (change,) = compared(template(a=TABLE), template(a=new))
    assert change == ('Replace', 'a', 'AWS::DynamoDB::Table', (key,))
    assert change.is_loss


def test_another_type_under_the_same_name_is_a_loss() -> None:
    (change,) = compared(template(a=TABLE), template(a=QUEUE))
    assert change.is_loss


def test_a_property_that_changes_in_place_is_none() -> None:
    new = copy.deepcopy(QUEUE)
    new['Properties']['VisibilityTimeout'] = 60
    (change,) = compared(template(a=QUEUE), template(a=new))
    assert change == ('Modify', 'a', 'AWS::SQS::Queue', ('VisibilityTimeout',))
    assert not change.is_loss


@pytest.mark.parametrize(('added', 'is_loss'), [(1, False), (2, True)])
def test_a_table_gets_one_global_index_at_a_time(added: int, is_loss: bool) -> None:
    new = copy.deepcopy(TABLE)
    new['Properties']['GlobalSecondaryIndexes'] += [{'IndexName': f'by_{number}'} for number in range(added)]
    (change,) = compared(template(a=TABLE), template(a=new))
    assert change.is_loss is is_loss


def test_a_change_is_one_line() -> None:
    (line,) = changes.lines_of([changes.Change('Replace', 'a', 'AWS::SQS::Queue', ('QueueName',))])
    assert line == 'Replace a, AWS::SQS::Queue (QueueName)  <-- LOSS'
