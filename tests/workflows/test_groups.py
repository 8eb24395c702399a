"""Every way of a group and its snapshots: made, filled, copied, snapshotted, removed."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib import errors
from chalicelib.models import Group, GroupSnapshot, Message, Snapshot, Volume
from chalicelib.operations import group_creation, group_snapshots, groups, quotas, snapshots, volumes
from chalicelib.tasks import function_time
from tests import invariants
from tests.factories import context, create_group, create_group_snapshot, create_snapshot, create_volume
from tests.simulation import Simulation

CALLER = context()


def filled(simulation: Simulation, count: int = 2, **facts: Any) -> Group:
    """An available group with volumes."""
    group = create_group(context(), **facts)
    simulation.settle()
    for _ in range(count):
        create_volume(context(), 5, group_id=group.id)
    simulation.settle()
    simulation.executions.clear()
    return group.reload()


def copy(*, source: Group | None = None, of: GroupSnapshot | None = None) -> Group:
    return group_creation.create_from_src(
        context(),
        name='copy',
        description=None,
        group_snapshot_id=of.id if of else None,
        source_group_id=source.id if source else None,
    )


@pytest.fixture
def group(simulation: Simulation) -> Group:
    return filled(simulation)


def test_an_empty_group(simulation: Simulation) -> None:
    group = create_group(context())
    assert group.status == 'creating'
    [execution] = simulation.settle()
    assert execution.path == ['CreateGroup']
    group = group.reload()
    assert (group.status, group.host, group.volume_count) == ('available', 'cinderless@big', 0)
    assert quotas.usages('project')['groups']['in_use'] == 1
    invariants.check(simulation)


def test_a_group_that_no_backend_suits(simulation: Simulation) -> None:
    group = create_group(context(), group_specs={'consistent_group_snapshot_enabled': '<is> True'})
    [execution] = simulation.settle()
    assert execution.path == ['CreateGroup', 'FailCreateGroup']
    assert group.reload().status == 'error'
    [message] = Message.scan()
    assert (message.action_id, message.detail_id, message.resource_type) == ('131', '003', 'GROUP')
    invariants.check(simulation)
    groups.delete(context(), group.id, delete_volumes=False)
    simulation.settle()
    assert list(Group.scan()) == []
    invariants.check(simulation)


def test_a_group_of_unknown_types(simulation: Simulation) -> None:
    with pytest.raises(errors.GroupTypeNotFound):
        create_group(context(), group_type='nothing')
    with pytest.raises(errors.VolumeTypeNotFound):
        create_group(context(), volume_types_=['nothing'])
    with pytest.raises(errors.InvalidInput, match="Availability zone 'nowhere' is invalid"):
        create_group(context(), availability_zone='nowhere')
    with pytest.raises(errors.Invalid, match='reserved for'):
        create_group(context(), group_type='default_cgsnapshot_type')
    assert list(Group.scan()) == []


def test_the_quota_of_groups(simulation: Simulation) -> None:
    quotas.update('project', {'groups': 1})
    create_group(context())
    with pytest.raises(errors.GroupLimitExceeded):
        create_group(context())
    simulation.settle()
    invariants.check(simulation)


def test_volumes_in_a_group_share_its_backend(simulation: Simulation) -> None:
    """fast would be too small for them: no volume is on it."""
    group = filled(simulation, 3)
    assert group.volume_count == 3
    assert {volume.backend for volume in Volume.scan()} == {group.host}
    invariants.check(simulation)


def test_a_volume_in_a_group_is_not_deleted_alone(simulation: Simulation, group: Group) -> None:
    [volume, _] = Volume.scan()
    for force in (False, True):
        with pytest.raises(errors.InvalidVolume, match='belong to a group'):
            volumes.delete(context('admin'), volume.id, force=force)


def test_a_volume_that_was_never_placed_goes_with_its_group(simulation: Simulation, group: Group) -> None:
    volume = create_volume(context(), 500, group_id=group.id)
    simulation.settle()
    assert volume.reload().status == 'error'
    with pytest.raises(errors.InvalidVolume, match='belong to a group'):
        volumes.delete(context(), volume.id)
    groups.delete(context(), group.id, delete_volumes=True)
    simulation.settle()
    assert [*Volume.scan(), *Group.scan()] == []
    invariants.check(simulation)


def test_leave_and_join(simulation: Simulation, group: Group) -> None:
    first, second = Volume.scan()
    groups.update(CALLER, group.id, {}, remove=[first.id])
    assert (first.reload().group_id, group.reload().volume_count) == (None, 1)
    groups.update(CALLER, group.id, {'name': 'n'}, add=[first.id], remove=[second.id])
    assert (first.reload().group_id, second.reload().group_id, group.reload().name) == (group.id, None, 'n')
    invariants.check(simulation)
    volumes.delete(context(), second.id)
    simulation.settle()
    invariants.check(simulation)


@pytest.mark.parametrize(
    ('facts', 'reason'),
    [
        ({'group_id': 'other'}, 'it is already in group other'),
        ({'volume_type_id': 'other'}, 'volume type other is not supported by the group'),
        ({'status': 'error'}, 'invalid state: error'),
        ({'migration_status': 'starting'}, 'it is being migrated'),
        ({'host': 'cinderless@fast#pool'}, 'another backend'),
    ],
)
def test_who_may_not_join(simulation: Simulation, group: Group, facts: dict[str, Any], reason: str) -> None:
    volume = create_volume(context(), 5)
    simulation.settle()
    volume.update(actions=[getattr(Volume, name).set(value) for name, value in facts.items()])
    with pytest.raises(errors.InvalidVolume, match=reason):
        groups.update(CALLER, group.id, {}, add=[volume.id])


def test_who_may_not_leave(simulation: Simulation, group: Group) -> None:
    alone = create_volume(context(), 5)
    with pytest.raises(errors.InvalidVolume, match='not in the group'):
        groups.update(CALLER, group.id, {}, remove=[alone.id])
    with pytest.raises(errors.InvalidVolume, match='not in the group'):
        groups.update(CALLER, group.id, {}, remove=['nothing'])


def test_no_more_volumes_than_one_transaction_holds(simulation: Simulation, group: Group) -> None:
    group.update(actions=[Group.volume_count.set(47)])
    with pytest.raises(errors.InvalidGroup, match='more than 47'):
        create_volume(context(), 1, group_id=group.id)
    volume = create_volume(context(), 1)
    simulation.settle()
    with pytest.raises(errors.InvalidGroup, match='more than 47'):
        groups.update(CALLER, group.id, {}, add=[volume.id])


def test_delete_with_volumes(simulation: Simulation, group: Group) -> None:
    with pytest.raises(errors.InvalidGroup, match='delete-volumes flag'):
        groups.delete(context(), group.id, delete_volumes=False)
    groups.delete(context(), group.id, delete_volumes=True)
    assert {record.status for record in [group.reload(), *Volume.scan()]} == {'deleting'}
    simulation.settle()
    assert [*Volume.scan(), *Group.scan()] == []
    assert not any(backend.objects for backend in simulation.backends.values())
    invariants.check(simulation)


@pytest.mark.parametrize('fault', ['busy', 'broken'])
def test_delete_with_a_volume_that_stays(simulation: Simulation, group: Group, fault: str) -> None:
    [volume, _] = Volume.scan()
    busy = errors.VolumeIsBusy(id=volume.id, reason='in use')
    simulation.big.fail('delete_volume', *([busy] if fault == 'busy' else [RuntimeError('a bug')]))
    groups.delete(context(), group.id, delete_volumes=True)
    simulation.settle()
    [left] = Volume.scan()
    assert (group.reload().status, group.reload().volume_count) == ('error', 1)
    assert left.status == ('available' if fault == 'busy' else 'error_deleting')
    assert '132' in [message.action_id for message in Message.scan()]
    invariants.check(simulation)
    volumes.reset_status(context('admin'), left.id, 'error', None, None)
    groups.delete(context(), group.id, delete_volumes=True)
    simulation.settle()
    assert list(Group.scan()) == []


def test_delete_with_a_volume_that_has_a_snapshot_changes_nothing(simulation: Simulation, group: Group) -> None:
    [first, _] = Volume.scan()
    create_snapshot(context(), first)
    simulation.settle()
    with pytest.raises(errors.InvalidVolume, match='have snapshots'):
        groups.delete(context(), group.id, delete_volumes=True)
    assert {record.status for record in [group.reload(), *Volume.scan()]} == {'available'}
    invariants.check(simulation)


def test_copy_a_group(simulation: Simulation, group: Group) -> None:
    made = copy(source=group)
    assert (made.status, made.source_group_id, made.volume_count) == ('creating', group.id, 2)
    simulation.settle()
    assert made.reload().status == 'available'
    copies = [volume for volume in Volume.scan() if volume.group_id == made.id]
    assert {volume.status for volume in copies} == {'available'}
    assert {volume.source_volid for volume in copies} == {
        volume.id for volume in Volume.scan() if volume.group_id == group.id
    }
    assert quotas.usages('project')['volumes']['in_use'] == 4
    invariants.check(simulation)


def test_copy_that_fails(simulation: Simulation, group: Group) -> None:
    simulation.big.fail('create_cloned_volume', simulation.big.full(5))
    made = copy(source=group)
    simulation.settle()
    assert made.reload().status == 'error'
    assert sorted(volume.status for volume in Volume.scan() if volume.group_id == made.id) == ['available', 'error']
    assert '131' in [message.action_id for message in Message.scan()]
    invariants.check(simulation)
    groups.delete(context(), made.id, delete_volumes=True)
    simulation.settle()
    assert [one.id for one in Group.scan()] == [group.id]
    invariants.check(simulation)


def test_nothing_to_copy(simulation: Simulation) -> None:
    with pytest.raises(errors.InvalidInput, match='nothing to copy'):
        copy(source=filled(simulation, 0))


@pytest.mark.parametrize('consistent', [False, True])
def test_group_snapshot(simulation: Simulation, consistent: bool) -> None:
    """The driver's verb is for groups whose type requires consistency; other groups may be used meanwhile."""
    simulation.big.consistent = True
    simulation.report()
    group = filled(simulation, group_specs={'consistent_group_snapshot_enabled': '<is> True'} if consistent else {})
    taken = create_group_snapshot(context(), group)
    assert {snapshot.status for snapshot in Snapshot.scan()} == {'creating'}
    [execution] = simulation.settle()
    assert execution.path == ['CreateGroupSnapshot', 'IsTaken', 'Taken']
    assert {record.status for record in [taken.reload(), *Snapshot.scan()]} == {'available'}
    assert {snapshot.provider_id for snapshot in Snapshot.scan()} == {f'snap-{one.id}' for one in Snapshot.scan()}
    verbs = [call.split()[0] for call in simulation.big.calls if 'snapshot' in call.split()[0]]
    assert verbs == (['create_group_snapshot'] if consistent else ['create_snapshot'] * 2)
    assert (group.reload().group_snapshot_count, quotas.usages('project')['snapshots']['in_use']) == (1, 2)
    invariants.check(simulation)


def test_group_snapshot_over_several_calls(
    simulation: Simulation, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [True, False, True]
    monkeypatch.setattr(function_time, 'has_time', lambda: answers.pop(0))
    create_group_snapshot(context(), group)
    [execution] = simulation.settle()
    assert execution.path == ['CreateGroupSnapshot', 'IsTaken', 'CreateGroupSnapshot', 'IsTaken', 'Taken']
    assert [call for call in simulation.big.calls if call.startswith('create_snapshot')].__len__() == 2
    invariants.check(simulation)


def test_group_snapshot_that_fails_is_undone(simulation: Simulation, group: Group) -> None:
    simulation.big.fail('create_snapshot', None, RuntimeError('a bug'))
    taken = create_group_snapshot(context(), group)
    [execution] = simulation.settle()
    assert execution.path == ['CreateGroupSnapshot', 'FailCreateGroupSnapshot']
    assert {record.status for record in [taken.reload(), *Snapshot.scan()]} == {'error'}
    assert not [name for name in simulation.big.objects if name.startswith('snapshot-')]
    assert {message.action_id for message in Message.scan()} == {'009', '133'}
    invariants.check(simulation)
    group_snapshots.delete(context(), taken.id)
    simulation.settle()
    assert [*Snapshot.scan(), *GroupSnapshot.scan()] == []
    invariants.check(simulation)


def test_consistent_snapshots_are_not_faked(simulation: Simulation) -> None:
    """The backend reported the capability when the group was made, and has lost it since."""
    simulation.big.consistent = True
    simulation.report()
    group = create_group(context(), group_specs={'consistent_group_snapshot_enabled': '<is> True'})
    simulation.settle()
    create_volume(context(), 5, group_id=group.id)
    simulation.settle()
    simulation.big.consistent = False
    taken = create_group_snapshot(context(), group.reload())
    simulation.settle()
    assert taken.reload().status == 'error'
    assert not [call for call in simulation.big.calls if call.startswith('create_snapshot')]
    invariants.check(simulation)


def test_what_group_snapshots_hold(simulation: Simulation, group: Group) -> None:
    taken = create_group_snapshot(context(), group)
    with pytest.raises(errors.InvalidGroup, match='dependent group snapshots'):
        groups.delete(context(), group.id, delete_volumes=True)
    simulation.settle()
    [snapshot, _] = Snapshot.scan()
    with pytest.raises(errors.InvalidSnapshot, match='part of a group'):
        snapshots.delete(context(), snapshot.id)
    create_volume(context(), 5, snapshot_id=snapshot.id)
    with pytest.raises(errors.InvalidGroupSnapshot, match='1 readers'):
        group_snapshots.delete(context(), taken.id)
    assert taken.reload().status == 'available'
    simulation.settle()
    group_snapshots.delete(context(), taken.id)
    assert {record.status for record in [taken.reload(), *Snapshot.scan()]} == {'deleting'}
    simulation.settle()
    assert [*Snapshot.scan(), *GroupSnapshot.scan()] == []
    assert group.reload().group_snapshot_count == 0
    invariants.check(simulation)


def test_delete_group_snapshot_fails(simulation: Simulation, group: Group) -> None:
    taken = create_group_snapshot(context(), group)
    simulation.settle()
    simulation.big.fail('delete_snapshot', None, RuntimeError('a bug'))
    group_snapshots.delete(context(), taken.id)
    simulation.settle()
    assert [record.status for record in [taken.reload(), *Snapshot.scan()]] == ['error_deleting'] * 2
    assert {message.action_id for message in Message.scan()} == {'010', '134'}
    invariants.check(simulation)
    group_snapshots.reset_status(context('admin'), taken.id, 'error')
    group_snapshots.delete(context(), taken.id)
    simulation.settle()
    assert [*Snapshot.scan(), *GroupSnapshot.scan()] == []
    invariants.check(simulation)


def test_copy_of_a_group_snapshot(simulation: Simulation, group: Group) -> None:
    taken = create_group_snapshot(context(), group)
    simulation.settle()
    made = copy(of=taken)
    simulation.settle()
    assert (made.reload().status, made.reload().group_snapshot_id) == ('available', taken.id)
    invariants.check(simulation)


def test_a_group_snapshot_that_was_reset_while_it_was_taken(simulation: Simulation, group: Group) -> None:
    taken = create_group_snapshot(context(), group)
    group_snapshots.reset_status(context('admin'), taken.id, 'error')
    [execution] = simulation.settle()
    assert execution.path == ['CreateGroupSnapshot', 'Superseded']
    assert {snapshot.status for snapshot in Snapshot.scan()} == {'error'}
    group_snapshots.delete(context(), taken.id)
    simulation.settle()
    assert [*Snapshot.scan(), *GroupSnapshot.scan()] == []
    invariants.check(simulation)


def test_messages_that_come_late(simulation: Simulation, group: Group) -> None:
    taken = create_group_snapshot(context(), group)
    [made] = simulation.queue
    simulation.settle()
    group_snapshots.delete(context(), taken.id)
    [removed] = simulation.queue
    simulation.settle()
    simulation.executions.clear()
    simulation.queue += [made, removed]
    assert {execution.path[-1] for execution in simulation.settle()} == {'Superseded'}
    invariants.check(simulation)


def test_another_projects_group(simulation: Simulation, group: Group) -> None:
    other = context(project_id='other')
    for ask in (
        lambda: groups.get(other, group.id),
        lambda: create_volume(other, 1, group_id=group.id),
        lambda: create_group_snapshot(other, group),
        lambda: groups.delete(other, group.id, delete_volumes=True),
    ):
        with pytest.raises(errors.GroupNotFound):
            ask()
