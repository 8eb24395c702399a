"""Every use of a table that a function's source may reach is allowed, or explained here."""

from __future__ import annotations

import pytest

from infra import access
from tests import reachable

MADE_BEFORE = "made by the api with a project's first resource"
TYPED_BEFORE = "the default type is made with the deployment's first volume, and a drill is of a volume's backup"
ONLY_INCREASES = 'only an increase of what is used is refused by a limit, and told with the names of types'
OF_VOLUMES = 'a schedule is of a volume, never of a snapshot'
AS_MEMBER = 'a schedule acts as a member of its project, for whom nothing is looked up elsewhere'

#: What the source reaches and no role allows, since the branch is never taken there: (function, table, verb) -> why.
EXPLAINED = {
    ('volume_worker', 'quotas', 'PutItem'): MADE_BEFORE,
    ('backup_worker', 'quotas', 'PutItem'): MADE_BEFORE,
    ('backup_schedules', 'quotas', 'PutItem'): MADE_BEFORE,
    ('backup_schedules', 'names', 'PutItem'): TYPED_BEFORE,
    ('backup_schedules', 'volume-types', 'PutItem'): TYPED_BEFORE,
    ('backup_worker', 'groups', 'UpdateItem'): 'the scratch volume of a drill is in no group',
    ('backup_worker', 'pools', 'UpdateItem'): 'a scratch volume that was placed is removed by its own machine',
    ('backup_schedules', 'snapshots', 'GetItem'): OF_VOLUMES,
    ('backup_schedules', 'snapshots', 'UpdateItem'): OF_VOLUMES,
    ('backup_schedules', 'snapshots/index/by_id', 'Query'): OF_VOLUMES,
    ('backup_schedules', 'backups/index/by_id', 'Query'): AS_MEMBER,
    ('backup_schedules', 'volumes/index/by_id', 'Query'): AS_MEMBER,
    ('reconcile', 'quotas', 'PutItem'): MADE_BEFORE,
    ('reconcile', 'volume-types', 'Query'): ONLY_INCREASES,
    ('reconcile', 'pools', 'UpdateItem'): 'the target that it removes was never placed',
    ('reconcile', 'secrets', 'DeleteItem'): "a move's target is locked by the key of the volume that stays",
}


@pytest.fixture(scope='module')
def reached() -> set[tuple[str, str, str]]:
    return {(function, *row) for function, rows in reachable.reachable().items() for row in rows}


def test_what_the_source_reaches_is_allowed_or_explained(reached: set[tuple[str, str, str]]) -> None:
    """A new path needs its row in infra/permissions/access.yaml, and a test that walks it."""
    rows = access.load()
    allowed = {
        (function, table, verb) for function in rows for table, verbs in rows[function].items() for verb in verbs
    }
    assert reached - allowed == set(EXPLAINED)
    assert len(reached) > 150
