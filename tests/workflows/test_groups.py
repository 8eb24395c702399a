"""Every way of a group and its snapshots: made, filled, copied, snapshotted, removed."""

from __future__ import annotations

from typing import Any

import pytest

from chalicelib import errors
from chalicelib.models import Group, GroupSnapshot, Message, Snapshot, Volume
from chalicelib.operations import group_creation, group_snapshots, groups, quotas, snapshots, volumes
from tests import invariants
from tests.factories import context, create_group, create_group_snapshot, create_snapshot, create_volume
from tests.world import World

CALLER = context()


def filled(world: World, count: int = 2, **facts: Any) -> Group:
    """An available group with volumes."""
    group = create_group(context(), **facts)
    world.settle()
    for _ in range(count):
        create_volume(context(), 5, group_id=group.id)
    world.settle()
    world.executions.clear()
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
def group(world: World) -> Group:
    return filled(world)


def test_an_empty_group(world: World) -> None:
    group = create_group(context())
    assert group.status == 'creating'
    [execution] = world.settle()
    assert execution.path == ['CreateGroup']
    group = group.reload()
    assert (group.status, group.host, group.volume_count) == ('available', 'cinderless@big', 0)
    assert quotas.usages('project')['groups']['in_use'] == 1
    invariants.check(world)


def test_a_group_that_no_backend_suits(world: World) -> None:
    group = create_group(context(), group_specs={'consistent_group_snapshot_enabled': '<is> True'})
    [execution] = world.settle()
    assert execution.path == ['CreateGroup', 'FailCreateGroup']
    assert group.reload().status == 'error'
    [message] = Message.scan()
    assert (message.action_id, message.detail_id, message.resource_type) == ('131', '003', 'GROUP')
    invariants.check(world)
    groups.delete(context(), group.id, delete_volumes=False)
    world.settle()
    assert list(Group.scan()) == []
    invariants.check(world)


def test_a_group_of_unknown_types(world: World) -> None:
    with pytest.raises(errors.GroupTypeNotFound):
        create_group(context(), group_type='nothing')
    with pytest.raises(errors.VolumeTypeNotFound):
        create_group(context(), volume_types_=['nothing'])
    with pytest.raises(errors.InvalidInput, match="Availability zone 'nowhere' is invalid"):
        create_group(context(), availability_zone='nowhere')
    with pytest.raises(errors.Invalid, match='reserved for'):
        create_group(context(), group_type='default_cgsnapshot_type')
    assert list(Group.scan()) == []


def test_the_quota_of_groups(world: World) -> None:
    quotas.update('project', {'groups': 1})
    create_group(context())
    with pytest.raises(errors.GroupLimitExceeded):
        create_group(context())
    world.settle()
    invariants.check(world)


def test_volumes_in_a_group_share_its_backend(world: World) -> None:
    """fast would be too small for them: no volume is on it."""
    group = filled(world, 3)
    assert group.volume_count == 3
    assert {volume.backend for volume in Volume.scan()} == {group.host}
    invariants.check(world)


def test_a_volume_in_a_group_is_not_deleted_alone(world: World, group: Group) -> None:
    [volume, _] = Volume.scan()
    for force in (False, True):
        with pytest.raises(errors.InvalidVolume, match='belong to a group'):
            volumes.delete(context('admin'), volume.id, force=force)


def test_a_volume_that_was_never_placed_goes_with_its_group(world: World, group: Group) -> None:
    volume = create_volume(context(), 500, group_id=group.id)
    world.settle()
    assert volume.reload().status == 'error'
    with pytest.raises(errors.InvalidVolume, match='belong to a group'):
        volumes.delete(context(), volume.id)
    groups.delete(context(), group.id, delete_volumes=True)
    world.settle()
    assert [*Volume.scan(), *Group.scan()] == []
    invariants.check(world)


def test_leave_and_join(world: World, group: Group) -> None:
    first, second = Volume.scan()
    groups.update(CALLER, group.id, {}, remove=[first.id])
    assert (first.reload().group_id, group.reload().volume_count) == (None, 1)
    groups.update(CALLER, group.id, {'name': 'n'}, add=[first.id], remove=[second.id])
    assert (first.reload().group_id, second.reload().group_id, group.reload().name) == (group.id, None, 'n')
    invariants.check(world)
    volumes.delete(context(), second.id)
    world.settle()
    invariants.check(world)


@pytest.mark.parametrize(
    ('facts', 'reason'),
    [
        ({'group_id': 'other'}, 'it is already in group other'),
        ({'volume_type_id': 'other'}, 'volume type other is not supported by the group'),
        ({'status': 'error'}, 'invalid state: error'),
        ({'host': 'cinderless@fast#pool'}, 'another backend'),
    ],
)
def test_who_may_not_join(world: World, group: Group, facts: dict[str, Any], reason: str) -> None:
    volume = create_volume(context(), 5)
    world.settle()
    volume.update(actions=[getattr(Volume, name).set(value) for name, value in facts.items()])
    with pytest.raises(errors.InvalidVolume, match=reason):
        groups.update(CALLER, group.id, {}, add=[volume.id])


def test_who_may_not_leave(world: World, group: Group) -> None:
    alone = create_volume(context(), 5)
    with pytest.raises(errors.InvalidVolume, match='not in the group'):
        groups.update(CALLER, group.id, {}, remove=[alone.id])
    with pytest.raises(errors.InvalidVolume, match='not in the group'):
        groups.update(CALLER, group.id, {}, remove=['nothing'])


def test_no_more_volumes_than_one_transaction_holds(world: World, group: Group) -> None:
    group.update(actions=[Group.volume_count.set(47)])
    with pytest.raises(errors.InvalidGroup, match='more than 47'):
        create_volume(context(), 1, group_id=group.id)
    volume = create_volume(context(), 1)
    world.settle()
    with pytest.raises(errors.InvalidGroup, match='more than 47'):
        groups.update(CALLER, group.id, {}, add=[volume.id])


def test_delete_with_volumes(world: World, group: Group) -> None:
    with pytest.raises(errors.InvalidGroup, match='delete-volumes flag'):
        groups.delete(context(), group.id, delete_volumes=False)
    groups.delete(context(), group.id, delete_volumes=True)
    assert {record.status for record in [group.reload(), *Volume.scan()]} == {'deleting'}
    world.settle()
    assert [*Volume.scan(), *Group.scan()] == []
    assert not any(backend.objects for backend in world.backends.values())
    invariants.check(world)


@pytest.mark.parametrize('fault', ['busy', 'broken'])
def test_delete_with_a_volume_that_stays(world: World, group: Group, fault: str) -> None:
    [volume, _] = Volume.scan()
    busy = errors.VolumeIsBusy(id=volume.id, reason='in use')
    world.big.fail('delete_volume', *([busy] if fault == 'busy' else [RuntimeError('a bug')]))
    groups.delete(context(), group.id, delete_volumes=True)
    world.settle()
    [left] = Volume.scan()
    assert (group.reload().status, group.reload().volume_count) == ('error', 1)
    assert left.status == ('available' if fault == 'busy' else 'error_deleting')
    assert '132' in [message.action_id for message in Message.scan()]
    invariants.check(world)
    volumes.reset_status(context('admin'), left.id, 'error', None, None)
    groups.delete(context(), group.id, delete_volumes=True)
    world.settle()
    assert list(Group.scan()) == []


def test_delete_with_a_volume_that_has_a_snapshot_changes_nothing(world: World, group: Group) -> None:
    [first, _] = Volume.scan()
    create_snapshot(context(), first)
    world.settle()
    with pytest.raises(errors.InvalidVolume, match='have snapshots'):
        groups.delete(context(), group.id, delete_volumes=True)
    assert {record.status for record in [group.reload(), *Volume.scan()]} == {'available'}
    invariants.check(world)


def test_copy_a_group(world: World, group: Group) -> None:
    made = copy(source=group)
    assert (made.status, made.source_group_id, made.volume_count) == ('creating', group.id, 2)
    world.settle()
    assert made.reload().status == 'available'
    copies = [volume for volume in Volume.scan() if volume.group_id == made.id]
    assert {volume.status for volume in copies} == {'available'}
    assert {volume.source_volid for volume in copies} == {
        volume.id for volume in Volume.scan() if volume.group_id == group.id
    }
    assert quotas.usages('project')['volumes']['in_use'] == 4
    invariants.check(world)


def test_copy_that_fails(world: World, group: Group) -> None:
    world.big.fail('create_cloned_volume', world.big.full(5))
    made = copy(source=group)
    world.settle()
    assert made.reload().status == 'error'
    assert sorted(volume.status for volume in Volume.scan() if volume.group_id == made.id) == ['available', 'error']
    assert '131' in [message.action_id for message in Message.scan()]
    invariants.check(world)
    groups.delete(context(), made.id, delete_volumes=True)
    world.settle()
    assert [one.id for one in Group.scan()] == [group.id]
    invariants.check(world)


def test_nothing_to_copy(world: World) -> None:
    with pytest.raises(errors.InvalidInput, match='nothing to copy'):
        copy(source=filled(world, 0))


@pytest.mark.parametrize('consistent', [False, True])
def test_group_snapshot(world: World, consistent: bool) -> None:
    """The driver's verb is for groups whose type requires consistency; other groups may be used meanwhile."""
    world.big.consistent = True
    world.report()
    group = filled(world, group_specs={'consistent_group_snapshot_enabled': '<is> True'} if consistent else {})
    taken = create_group_snapshot(context(), group)
    assert {snapshot.status for snapshot in Snapshot.scan()} == {'creating'}
    [execution] = world.settle()
    assert execution.path == ['CreateGroupSnapshot', 'IsTaken', 'Taken']
    assert {record.status for record in [taken.reload(), *Snapshot.scan()]} == {'available'}
    assert {snapshot.provider_id for snapshot in Snapshot.scan()} == {f'snap-{one.id}' for one in Snapshot.scan()}
    verbs = [call.split()[0] for call in world.big.calls if 'snapshot' in call.split()[0]]
    assert verbs == (['create_group_snapshot'] if consistent else ['create_snapshot'] * 2)
    assert (group.reload().group_snapshot_count, quotas.usages('project')['snapshots']['in_use']) == (1, 2)
    invariants.check(world)


def test_group_snapshot_over_several_calls(world: World, group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    from chalicelib.tasks import clock

    answers = [True, False, True]
    monkeypatch.setattr(clock, 'has_time', lambda: answers.pop(0))
    create_group_snapshot(context(), group)
    [execution] = world.settle()
    assert execution.path == ['CreateGroupSnapshot', 'IsTaken', 'CreateGroupSnapshot', 'IsTaken', 'Taken']
    assert [call for call in world.big.calls if call.startswith('create_snapshot')].__len__() == 2
    invariants.check(world)


def test_group_snapshot_that_fails_is_undone(world: World, group: Group) -> None:
    world.big.fail('create_snapshot', None, RuntimeError('a bug'))
    taken = create_group_snapshot(context(), group)
    [execution] = world.settle()
    assert execution.path == ['CreateGroupSnapshot', 'FailCreateGroupSnapshot']
    assert {record.status for record in [taken.reload(), *Snapshot.scan()]} == {'error'}
    assert not [name for name in world.big.objects if name.startswith('snapshot-')]
    assert {message.action_id for message in Message.scan()} == {'009', '133'}
    invariants.check(world)
    group_snapshots.delete(context(), taken.id)
    world.settle()
    assert [*Snapshot.scan(), *GroupSnapshot.scan()] == []
    invariants.check(world)


def test_consistent_snapshots_are_not_faked(world: World) -> None:
    """The backend reported the capability when the group was made, and has lost it since."""
    world.big.consistent = True
    world.report()
    group = create_group(context(), group_specs={'consistent_group_snapshot_enabled': '<is> True'})
    world.settle()
    create_volume(context(), 5, group_id=group.id)
    world.settle()
    world.big.consistent = False
    taken = create_group_snapshot(context(), group.reload())
    world.settle()
    assert taken.reload().status == 'error'
    assert not [call for call in world.big.calls if call.startswith('create_snapshot')]
    invariants.check(world)


def test_what_group_snapshots_hold(world: World, group: Group) -> None:
    taken = create_group_snapshot(context(), group)
    with pytest.raises(errors.InvalidGroup, match='dependent group snapshots'):
        groups.delete(context(), group.id, delete_volumes=True)
    world.settle()
    [snapshot, _] = Snapshot.scan()
    with pytest.raises(errors.InvalidSnapshot, match='part of a group'):
        snapshots.delete(context(), snapshot.id)
    create_volume(context(), 5, snapshot_id=snapshot.id)
    with pytest.raises(errors.InvalidGroupSnapshot, match='1 readers'):
        group_snapshots.delete(context(), taken.id)
    assert taken.reload().status == 'available'
    world.settle()
    group_snapshots.delete(context(), taken.id)
    assert {record.status for record in [taken.reload(), *Snapshot.scan()]} == {'deleting'}
    world.settle()
    assert [*Snapshot.scan(), *GroupSnapshot.scan()] == []
    assert group.reload().group_snapshot_count == 0
    invariants.check(world)


def test_delete_group_snapshot_fails(world: World, group: Group) -> None:
    taken = create_group_snapshot(context(), group)
    world.settle()
    world.big.fail('delete_snapshot', None, RuntimeError('a bug'))
    group_snapshots.delete(context(), taken.id)
    world.settle()
    assert [record.status for record in [taken.reload(), *Snapshot.scan()]] == ['error_deleting'] * 2
    assert {message.action_id for message in Message.scan()} == {'010', '134'}
    invariants.check(world)
    group_snapshots.reset_status(context('admin'), taken.id, 'error')
    group_snapshots.delete(context(), taken.id)
    world.settle()
    assert [*Snapshot.scan(), *GroupSnapshot.scan()] == []
    invariants.check(world)


def test_copy_of_a_group_snapshot(world: World, group: Group) -> None:
    taken = create_group_snapshot(context(), group)
    world.settle()
    made = copy(of=taken)
    world.settle()
    assert (made.reload().status, made.reload().group_snapshot_id) == ('available', taken.id)
    invariants.check(world)


def test_a_group_snapshot_that_was_reset_while_it_was_taken(world: World, group: Group) -> None:
    taken = create_group_snapshot(context(), group)
    group_snapshots.reset_status(context('admin'), taken.id, 'error')
    [execution] = world.settle()
    assert execution.path == ['CreateGroupSnapshot', 'Superseded']
    assert {snapshot.status for snapshot in Snapshot.scan()} == {'error'}
    group_snapshots.delete(context(), taken.id)
    world.settle()
    assert [*Snapshot.scan(), *GroupSnapshot.scan()] == []
    invariants.check(world)


def test_messages_that_come_late(world: World, group: Group) -> None:
    taken = create_group_snapshot(context(), group)
    [made] = world.queue
    world.settle()
    group_snapshots.delete(context(), taken.id)
    [removed] = world.queue
    world.settle()
    world.executions.clear()
    world.queue += [made, removed]
    assert {execution.path[-1] for execution in world.settle()} == {'Superseded'}
    invariants.check(world)


def test_another_projects_group(world: World, group: Group) -> None:
    other = context(project_id='other')
    for ask in (
        lambda: groups.get(other, group.id),
        lambda: create_volume(other, 1, group_id=group.id),
        lambda: create_group_snapshot(other, group),
        lambda: groups.delete(other, group.id, delete_volumes=True),
    ):
        with pytest.raises(errors.GroupNotFound):
            ask()
