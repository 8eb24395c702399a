"""The log of operations, as the workflows write it."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib import errors
from chalicelib.context import caller_id
from chalicelib.models import Operation, Volume
from chalicelib.models.operation_log import FULL, INTERRUPTED, LEADING
from chalicelib.operations import backups, groups, history, moves, snapshots, volume_removal, volume_types, volumes
from chalicelib.rules import workflows
from tests.backup_factories import create_backup
from tests.chap import chap
from tests.data_backends import Data
from tests.factories import context, create_group, create_snapshot, create_volume, query
from tests.simulation import Simulation

__all__ = ['chap']


def logged(request_id: str, project_id: str = 'project') -> Operation:
    return Operation.find(project_id, request_id)


def available(simulation: Simulation) -> Volume:
    made = create_volume(context(), 1)
    simulation.settle()
    return made.reload()


def test_a_creation_is_logged_from_its_acceptance_to_its_end(simulation: Simulation) -> None:
    caller = context()
    volume = create_volume(caller, 1)
    begun = logged(caller.request_id)
    assert (begun.action, begun.resource_type, begun.resource_id) == ('create', 'volume', volume.id)
    assert (begun.resource_name, begun.user_id, history.status(begun)) == ('data', 'member-user', 'running')
    simulation.settle()
    ended = logged(caller.request_id)
    assert history.status(ended) == 'succeeded'
    assert ended.created_at == begun.created_at
    assert (ended.outcome() or {})['host'] == volume.reload().host


def test_a_failure_is_logged_with_a_sentence_for_users_and_the_whole_for_administrators(simulation: Simulation) -> None:
    caller = context()
    for backend in simulation.backends.values():
        backend.fail('create_volume', *[errors.DriverError(backend='secret-host', reason='ioctl 5')] * 20)
    volume = create_volume(caller, 1)
    simulation.settle()
    assert volume.reload().status == 'error'
    ended = logged(caller.request_id)
    end: dict[str, Any] = dict(ended.outcome() or {})
    assert (history.status(ended), end['status']) == ('failed', 'error')
    assert 'secret-host' not in end['error']
    assert 'ioctl 5' not in end['error']
    assert 'ioctl 5' in f'{end["tried"]}{end["cause"]}'


def test_other_work_is_logged_by_its_own_request(simulation: Simulation) -> None:
    volume = available(simulation)
    for request, action, resource in [
        (lambda caller: volumes.extend(caller, volume.id, 2), 'extend', 'volume'),
        (lambda caller: create_snapshot(caller, volume.reload()), 'create', 'snapshot'),
        (lambda caller: snapshots.delete(caller, snapshots.list_(caller, query())[0][0].id), 'delete', 'snapshot'),
        (lambda caller: volumes.delete(caller, volume.id), 'delete', 'volume'),
    ]:
        caller = context()
        request(caller)
        assert history.status(logged(caller.request_id)) == 'running'
        simulation.settle()
        ended = logged(caller.request_id)
        assert (ended.action, ended.resource_type, history.status(ended)) == (action, resource, 'succeeded')


def test_a_deletion_that_is_given_up_has_failed(simulation: Simulation) -> None:
    volume, caller = available(simulation), context()
    backend = simulation.backends[str(volume.host).partition('#')[0]]
    backend.fail('delete_volume', *[errors.VolumeIsBusy(id=volume.id, reason='open')] * 20)
    volumes.delete(caller, volume.id)
    simulation.settle()
    ended = logged(caller.request_id)
    assert history.status(ended) == 'failed'
    assert 'still uses the volume' in (ended.outcome() or {})['error']


def test_a_move_is_one_operation_although_it_deletes_what_it_leaves(
    chap: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    Data(chap, monkeypatch)
    volume = available(chap)
    other = next(name for name in chap.backends if name != str(volume.host).partition('#')[0])
    caller = context('admin')
    moves.migrate(caller, volume.id, host=f'{other}#pool', force_host_copy=True, lock_volume=False, cluster=None)
    chap.settle()
    ended = logged(caller.request_id)
    assert (ended.action, ended.resource_id, history.status(ended)) == ('migrate', volume.id, 'succeeded')


def test_a_backup_and_its_restore(chap: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    Data(chap, monkeypatch)
    volume = available(chap)
    caller = context()
    backup = create_backup(caller, volume)
    assert logged(caller.request_id).resource_id == backup.id
    chap.settle()
    assert history.status(logged(caller.request_id)) == 'succeeded'
    caller = context()
    backups.restore(caller, backup.id, volume_id=volume.id, name=None)
    chap.settle()
    ended = logged(caller.request_id)
    assert (ended.action, ended.resource_type, history.status(ended)) == ('restore', 'backup', 'succeeded')


def test_a_restore_to_a_new_volume_ends_when_the_data_is_there(
    chap: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    Data(chap, monkeypatch)
    volume = available(chap)
    backup = create_backup(context(), volume)
    chap.settle()
    caller = context()
    backups.restore(caller, backup.id, volume_id=None, name='new')
    begun = logged(caller.request_id)
    assert (begun.resource_type, begun.action) == ('volume', 'create')
    chap.settle()
    ended = logged(caller.request_id)
    assert history.status(ended) == 'succeeded'
    assert (ended.last or {})['action'] == 'restore'


def test_a_group_ends_after_its_last_volume(simulation: Simulation) -> None:
    group = create_group(context())
    simulation.settle()
    kind = volume_types.default(context()).id
    create_volume(context(), 1, volume_type=kind, group_id=group.id)
    simulation.settle()
    caller = context()
    groups.delete(caller, group.id, delete_volumes=True)
    begun = logged(caller.request_id)
    assert (begun.resource_type, history.status(begun)) == ('group', 'running')
    simulation.settle()
    assert history.status(logged(caller.request_id)) == 'succeeded'


def test_every_workflow_of_its_own_is_logged_by_its_row() -> None:
    """Rows that wait for other work are part of that work's operation; all others lead."""
    rows = [row for table in workflows.WORKFLOWS.values() for row in table.values()]
    for row in rows:
        assert (row.waits_for in LEADING) == (row.waits_for.name in ('EXECUTION', 'MEMBERS'))


def test_a_reset_ends_what_was_under_way(simulation: Simulation) -> None:
    volume, caller = available(simulation), context()
    volumes.extend(caller, volume.id, 2)
    token = caller_id.set('an administrator')
    volumes.reset_status(context('admin'), volume.id, status='available', attach_status=None, migration_status=None)
    caller_id.reset(token)
    ended = logged(caller.request_id)
    assert (history.status(ended), (ended.outcome() or {})['error']) == ('failed', INTERRUPTED)
    simulation.settle()
    assert logged(caller.request_id).outcome() == ended.outcome()


def test_work_of_a_version_without_a_log_ends_and_is_no_operation(simulation: Simulation) -> None:
    caller = context()
    volume = create_volume(caller, 1)
    logged(caller.request_id).delete()
    simulation.settle()
    assert volume.reload().status == 'available'
    assert logged(caller.request_id).expires
    assert history.list_(caller, query())[0] == []
    with pytest.raises(errors.OperationNotFound):
        history.get(caller, caller.request_id)


def test_the_largest_cascade_is_logged_under_a_key(simulation: Simulation) -> None:
    """The volume, its snapshots, the mark of the key and the log are one transaction of at most a hundred."""
    assert volume_removal.MOST_SNAPSHOTS + 3 == FULL
    volume, caller = available(simulation), context()
    create_snapshot(context(), volume)
    simulation.settle()
    volumes.delete(caller, volume.id, cascade=True)
    assert logged(caller.request_id).resource_id == volume.id
    simulation.settle()
    assert history.status(logged(caller.request_id)) == 'succeeded'


def test_lists_are_filtered_and_paged(simulation: Simulation) -> None:
    first, second = available(simulation), available(simulation)
    volumes.delete(context(), first.id)
    listed, more = history.list_(context(), query(limit=2))
    assert ([one.action for one in listed], more) == (['delete', 'create'], True)
    after, more = history.list_(context(), query(limit=2, marker=listed[-1].id))
    assert ([one.resource_id for one in after], more) == ([first.id], False)
    for filters, count in [
        ({'resource_id': second.id}, 1),
        ({'status': 'running'}, 1),
        ({'action': 'create'}, 2),
        ({'resource_type': 'backup'}, 0),
        ({'since': listed[0].created_at}, 1),
        ({'since': '2999'}, 0),
    ]:
        assert len(history.list_(context(), query(filters=filters))[0]) == count, filters
        everywhere = query(filters=filters, all_tenants=True)
        assert len(history.list_(context('admin', 'elsewhere'), everywhere)[0]) == count, filters
    assert history.list_(context(project_id='elsewhere'), query())[0] == []
    with pytest.raises(errors.OperationNotFound):
        history.get(context(project_id='elsewhere'), listed[0].id)
    assert history.get(context('admin', 'elsewhere'), listed[0].id).id == listed[0].id
