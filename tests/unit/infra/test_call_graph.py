"""What a function's role allows is what its source may reach: no more, and no less but for what is explained here.

This decides about every permission, whatever the tests of a run happened to call.
"""

from __future__ import annotations

import pytest

from chalicelib import models
from chalicelib.config import settings
from chalicelib.models import reading
from infra import access
from tests import call_graph, permissions

MADE_BEFORE = "made by the api with a project's first resource"
TYPED_BEFORE = "the default type is made with the deployment's first volume, and a drill is of a volume's backup"
ONLY_INCREASES = 'only an increase of what is used is refused by a limit, and reported with the names of types'
OF_KINDS = 'the reconciler looks at every kind of record by one table, whose type does not name the kinds'
UNGROUPED = 'the scratch volume of a drill is in no group'
OF_VOLUMES = 'a schedule is of a volume, never of a snapshot'
AS_MEMBER = 'a schedule acts as a member of its project, for whom nothing is looked up elsewhere'

#: What the source reaches and no role allows, since the branch is never taken there: (function, table, verb) -> why.
EXPLAINED = {
    **dict.fromkeys(
        (
            (function, 'idempotency-keys', 'UpdateItem')
            for function in ('backup_schedules', 'backup_worker', 'reconcile', 'report_pools', 'volume_worker')
        ),
        'only a request has a claim on a key (models/claims.py)',
    ),
    ('volume_worker', 'quotas', 'PutItem'): MADE_BEFORE,
    ('backup_worker', 'quotas', 'PutItem'): MADE_BEFORE,
    ('backup_schedules', 'quotas', 'PutItem'): MADE_BEFORE,
    ('backup_schedules', 'names', 'PutItem'): TYPED_BEFORE,
    ('backup_schedules', 'volume-types', 'PutItem'): TYPED_BEFORE,
    ('volume_worker', 'backups', 'DeleteItem'): 'the end of a task that fails, of any kind of record (Work.fail)',
    ('backup_worker', 'groups', 'UpdateItem'): UNGROUPED,
    ('backup_worker', 'pools', 'UpdateItem'): 'a scratch volume that was placed is removed by its own machine',
    ('backup_schedules', 'group-types', 'ConditionCheckItem'): UNGROUPED,
    ('backup_schedules', 'group-types', 'GetItem'): UNGROUPED,
    ('backup_schedules', 'group-types', 'UpdateItem'): UNGROUPED,
    ('backup_schedules', 'services', 'Query'): 'a schedule names no availability zone',
    ('backup_schedules', 'snapshots', 'GetItem'): OF_VOLUMES,
    ('backup_schedules', 'snapshots', 'UpdateItem'): OF_VOLUMES,
    ('backup_schedules', 'snapshots/index/by_id', 'Query'): OF_VOLUMES,
    ('backup_schedules', 'backups/index/by_id', 'Query'): AS_MEMBER,
    ('backup_schedules', 'volumes/index/by_id', 'Query'): AS_MEMBER,
    ('reconcile', 'quotas', 'PutItem'): MADE_BEFORE,
    ('reconcile', 'volume-types', 'GetItem'): ONLY_INCREASES,
    ('reconcile', 'volume-types', 'Query'): ONLY_INCREASES,
    ('reconcile', 'pools', 'UpdateItem'): 'the target that it removes was never placed',
    ('reconcile', 'secrets', 'DeleteItem'): "a move's target is locked by the key of the volume that stays",
}


LOGGED = 'models/operation_log.py adds an item to transactions that begin or end work'
OF_TABLES = 'tasks/backend_reconciliation.py has the kinds of record in a table'

#: What roles allow and the source does not show: (function, table, verb) -> why.
UNTOLD = {
    ('reconcile', 'backups', 'UpdateItem'): OF_KINDS,
    ('reconcile', 'backups/index/in_flight', 'Query'): OF_KINDS,
    ('reconcile', 'group-snapshots', 'GetItem'): OF_KINDS,
    ('reconcile', 'group-snapshots', 'UpdateItem'): OF_KINDS,
    ('reconcile', 'group-snapshots/index/in_flight', 'Query'): OF_KINDS,
    ('reconcile', 'groups/index/in_flight', 'Query'): OF_KINDS,
    ('reconcile', 'snapshots/index/in_flight', 'Query'): OF_KINDS,
    ('reconcile', 'volumes/index/in_flight', 'Query'): OF_KINDS,
    **{
        (function, 'operations', 'UpdateItem'): LOGGED
        for function in ('backup_schedules', 'backup_worker', 'reconcile', 'volume_worker')
    },
    **{('volume_worker', table, 'DescribeTable'): OF_TABLES for table in ('backups', 'snapshots', 'volumes')},
}

#: The same of other services: (function, action, kind of object) -> why.
EXPLAINED_CALLS = {
    ('report_pools', 'secretsmanager:GetSecretValue', ''): 'it reads the names of backends, and makes no driver',
}

Row = tuple[str, str, str]


@pytest.fixture(scope='module')
def reached() -> tuple[set[Row], set[Row]]:
    """Of tables, and of everything else."""
    tables, calls = (
        {(function, *row) for function, rows in found.items() for row in rows} for found in call_graph.reachable()
    )
    assert len(tables) > 150
    assert len(calls) > 70
    return tables, calls


def test_tables_that_the_source_reaches_are_allowed_and_no_others(reached: tuple[set[Row], set[Row]]) -> None:
    """A new path needs its row in infra/permissions/access.yaml, and a test that walks it."""
    rows, (tables, _) = access.load(), reached
    allowed = {
        (function, table, verb) for function in rows for table, verbs in rows[function].items() for verb in verbs
    }
    assert tables - allowed == set(EXPLAINED)
    assert allowed - tables == set(UNTOLD) | (fetched_together(allowed) - tables)


#: The functions in which requests and tasks read records together (models/reading.py), by classes named in text.
FETCHING = ('api', 'backup_schedules', 'backup_worker', 'volume_worker')


def fetched_together(allowed: set[Row]) -> set[Row]:
    """BatchGetItem on each table that one of these functions may read a record of, and that is read together."""
    prefix = len(f'{settings().table_prefix}-')
    tables = {getattr(models, name).Meta.table_name[prefix:] for name in reading.TOGETHER}
    return {
        (function, table, 'BatchGetItem')
        for function, table, verb in allowed
        if verb == 'GetItem' and function in FETCHING and table in tables
    }


def test_calls_that_the_source_reaches_are_allowed_and_no_others(reached: tuple[set[Row], set[Row]]) -> None:
    """infra/roles.yaml, under any parameters, but for what AWS does under a role without being called."""
    _, calls = reached
    implicit = permissions.implicit()
    allowed = {
        (one.function, one.action, kind(one.pattern))
        for one in permissions.allowed(permissions.template(), at_most=True)
        if not one.action.startswith('dynamodb:')
    }
    assert {row for row in calls - allowed if row[:2] not in implicit} == set(EXPLAINED_CALLS)
    assert {row for row in allowed - calls if row[:2] not in implicit} == set()


def kind(pattern: str) -> str:
    """What an ARN is of, where a function has to do with several."""
    if ':ec2:' in pattern:
        return pattern.rpartition(':')[2].partition('/')[0]
    return pattern.rpartition('-')[2] if ':function:' in pattern else ''
