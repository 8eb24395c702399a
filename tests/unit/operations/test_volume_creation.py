"""What is accepted as a new volume, with which facts, and what is refused, in Cinder's words."""

from __future__ import annotations

from typing import Any

import pytest
from pynamodb.connection import Connection

from chalicelib import errors
from chalicelib.models import Backup, Quota, Snapshot, Volume, base
from chalicelib.operations import quotas, volume_types
from tests.factories import context, create_volume, stored_snapshot, stored_volume
from tests.simulation import Simulation

CALLER = context()


def make_type(name: str = 'gold', **extra_specs: str) -> Any:
    specs = {key.replace('__', ':'): value for key, value in extra_specs.items()}
    return volume_types.create(context('admin'), name=name, description=None, is_public=True, extra_specs=specs)


def refusal(**facts: Any) -> str:
    with pytest.raises(errors.CinderlessError) as refused:
        create_volume(CALLER, **facts)
    assert list(Quota.scan()) == [] or quotas.usages('project')['volumes']['in_use'] == 0
    return refused.value.message


def stored_backup(**facts: Any) -> Backup:
    usual = {'created_at': base.now(), 'user_id': 'u', 'volume_id': 'v', 'size': 2, 'status': 'available'}
    backup = Backup('project', 'b', **{**usual, **facts})
    backup.save()
    return backup


def test_the_record(simulation: Simulation) -> None:
    caller = context(request_id='req-1')
    volume = create_volume(caller, 3, name='n', description='d', metadata={'k': 'v'}).reload()
    assert (volume.status, volume.size, volume.owner, volume.in_flight) == ('creating', 3, 'req-1', '1')
    assert (volume.name, volume.description, volume.metadata) == ('n', 'd', {'k': 'v'})
    assert (volume.user_id, volume.availability_zone, volume.attach_status) == ('member-user', 'nova', 'detached')
    assert (volume.host, volume.bootable, volume.multiattach) == (None, False, False)
    assert volume.volume_type_id == volume_types.default(caller).id
    assert volume.operation['action'] == 'create'
    assert volume.operation['action'] == 'create'


def test_the_message_carries_ids(simulation: Simulation) -> None:
    caller = context()
    volume = create_volume(caller, 3)
    assert simulation.queue == [
        {
            'action': 'create',
            'resource': 'volume',
            'id': volume.id,
            'project_id': 'project',
            'request_id': caller.request_id,
            'related': [['VolumeType', '-', volume.volume_type_id]],
        }
    ]


def test_budget_one_transaction_and_one_read(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Types are remembered, since the transaction checks them; the project's default type and its limits are read."""
    monkeypatch.setattr(volume_types, 'TTL', 600)
    create_volume(context(), 1)
    create_volume(context(), 1)
    calls, call = [], Connection._make_api_call

    def counting(connection: Connection, operation: str, *arguments: Any, **facts: Any) -> Any:
        calls.append(operation)
        return call(connection, operation, *arguments, **facts)

    monkeypatch.setattr(Connection, '_make_api_call', counting)
    create_volume(context(), 1)
    assert calls == ['BatchGetItem', 'TransactWriteItems']


@pytest.mark.parametrize('size', [None, 0, -1])
def test_no_size(simulation: Simulation, size: int | None) -> None:
    assert 'must be an integer and greater than 0' in refusal(size=size)


def test_only_one_source(simulation: Simulation) -> None:
    message = refusal(size=1, snapshot_id='s', source_volid='v')
    assert message == 'Invalid input received: May specify only one of backup, imageRef, snapshot, source volume'


def test_images_are_refused_rather_than_ignored(simulation: Simulation) -> None:
    assert 'GLANCE_URL' in refusal(size=1, image_id='i')


@pytest.mark.parametrize(
    ('name', 'error'),
    [
        ('snapshot_id', errors.SnapshotNotFound),
        ('source_volid', errors.VolumeNotFound),
        ('backup_id', errors.BackupNotFound),
    ],
)
def test_a_source_that_is_not_there(simulation: Simulation, name: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        create_volume(CALLER, 1, **{name: 'nothing'})


def test_another_projects_source_does_not_exist(simulation: Simulation) -> None:
    source = stored_volume('other')
    with pytest.raises(errors.VolumeNotFound):
        create_volume(CALLER, 1, source_volid=source.id)


@pytest.mark.parametrize('status', ['error', 'creating', 'deleting', 'backing-up'])
def test_snapshot_status(simulation: Simulation, status: str) -> None:
    snapshot = stored_snapshot(stored_volume(), status=status)
    message = refusal(size=1, snapshot_id=snapshot.id)
    assert message == "Invalid snapshot: Originating snapshot status must be one of 'available' values"


@pytest.mark.parametrize('status', ['error', 'creating', 'attaching', 'maintenance'])
def test_source_volume_status(simulation: Simulation, status: str) -> None:
    message = refusal(size=1, source_volid=stored_volume(status=status).id)
    assert message == "Invalid volume: Originating source volume status must be one of 'available, in-use' values"


def test_backup_status(simulation: Simulation) -> None:
    stored_backup(status='restoring')
    assert (
        refusal(size=2, backup_id='b') == "Invalid backup: Originating backup status must be one of 'available' values"
    )


def test_too_small_for_the_source(simulation: Simulation) -> None:
    source = stored_volume(size=5)
    snapshot = stored_snapshot(source)
    stored_backup(size=5)
    assert refusal(size=4, source_volid=source.id).endswith(
        "Volume size '4'GB cannot be smaller than original volume size  5GB. They must be >= original volume size."
    )
    assert refusal(size=4, snapshot_id=snapshot.id).endswith(
        "Volume size '4'GB cannot be smaller than the snapshot size 5GB. They must be >= original snapshot size."
    )
    assert refusal(size=4, backup_id='b').endswith(
        'Volume size 4GB cannot be smaller than the backup size 5GB. It must be >= backup size.'
    )


def test_size_of_the_source_is_the_default(simulation: Simulation) -> None:
    source = stored_volume(size=5)
    assert create_volume(CALLER, None, source_volid=source.id).size == 5
    assert create_volume(CALLER, None, snapshot_id=stored_snapshot(source).id).size == 5


def test_facts_of_the_source_are_copied(simulation: Simulation) -> None:
    gold = make_type()
    source = stored_volume(
        volume_type_id=gold.id, bootable=True, volume_image_metadata={'os': 'linux'}, host='h@b#p', metadata={'k': 'v'}
    )
    volume = create_volume(CALLER, None, source_volid=source.id)
    assert (volume.volume_type_id, volume.bootable, volume.volume_image_metadata) == (gold.id, True, {'os': 'linux'})
    assert volume.metadata == {}
    assert volume.operation['resource_backend'] == 'h@b#p'
    assert source.reload().reader_count == 1


def test_a_source_that_changes_meanwhile(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """The condition of the transaction decides, not what was read before it."""
    snapshot = stored_snapshot(stored_volume())
    reserve = quotas.add_reservation_to

    def meanwhile(*arguments: Any, **facts: Any) -> None:
        snapshot.update(actions=[Snapshot.status.set('deleting')])
        reserve(*arguments, **facts)

    monkeypatch.setattr(quotas, 'add_reservation_to', meanwhile)
    assert 'Originating snapshot status' in refusal(size=1, snapshot_id=snapshot.id)
    assert snapshot.reload().reader_count == 0


def test_default_type(simulation: Simulation) -> None:
    volume = create_volume(CALLER, 1)
    assert volume_types.get(CALLER, volume.volume_type_id).name == '__DEFAULT__'


def test_type_by_name_or_id(simulation: Simulation) -> None:
    gold = make_type()
    assert create_volume(CALLER, 1, volume_type='gold').volume_type_id == gold.id
    assert create_volume(CALLER, 1, volume_type=gold.id).volume_type_id == gold.id
    assert refusal_of_type('nope') == 'Volume type with name nope could not be found.'


def refusal_of_type(name: str) -> str:
    with pytest.raises(errors.VolumeTypeNotFound) as refused:
        create_volume(CALLER, 1, volume_type=name)
    return refused.value.message


def test_another_type_than_the_sources_needs_the_same_backend(simulation: Simulation) -> None:
    one, other = make_type('one', volume_backend_name='big'), make_type('other', volume_backend_name='big')
    third = make_type('third', volume_backend_name='fast')
    source = stored_volume(volume_type_id=one.id)
    assert create_volume(CALLER, 1, source_volid=source.id, volume_type='other').volume_type_id == other.id
    with pytest.raises(errors.InvalidInput) as refused:
        create_volume(CALLER, 1, source_volid=source.id, volume_type='third')
    assert refused.value.message == (
        f'Invalid input received: Invalid volume_type provided: {third.id} (requested type is not compatible; '
        'either match source volume, or omit type argument).'
    )


def test_multiattach_is_the_exact_text(simulation: Simulation) -> None:
    make_type('yes', multiattach='<is> True')
    make_type('no', multiattach='<is> true')
    assert create_volume(CALLER, 1, volume_type='yes').multiattach is True
    assert create_volume(CALLER, 1, volume_type='no').multiattach is False
    assert create_volume(CALLER, 1, multiattach=True).multiattach is True


def test_sizes_of_the_type(simulation: Simulation) -> None:
    make_type(provisioning__min_vol_size='2', provisioning__max_vol_size='4')
    assert refusal(size=1, volume_type='gold').endswith(
        "Specified volume size of '1' is less than the minimum required size of '2' for volume type 'gold'."
    )
    assert refusal(size=5, volume_type='gold').endswith(
        "Specified volume size of '5' is greater than the maximum allowable size of '4' for volume type 'gold'."
    )
    assert create_volume(CALLER, 4, volume_type='gold').size == 4


def test_unknown_zone(simulation: Simulation) -> None:
    assert refusal(size=1, availability_zone='mars') == "Availability zone 'mars' is invalid."


def test_the_default_zone_is_always_known(tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deployment whose backends have not reported yet accepts volumes all the same."""
    Simulation().install(monkeypatch)
    assert create_volume(CALLER, 1).availability_zone == 'nova'


def test_a_new_zone_is_known_at_once(simulation: Simulation) -> None:
    refusal(size=1, availability_zone='west')
    simulation.fast.availability_zone = 'west'
    simulation.report()
    assert create_volume(CALLER, 1, availability_zone='west').availability_zone == 'west'


def test_zone_of_the_source(simulation: Simulation) -> None:
    simulation.fast.availability_zone = 'west'
    simulation.report()
    source = stored_volume(availability_zone='west')
    assert create_volume(CALLER, 1, source_volid=source.id).availability_zone == 'west'
    message = refusal_in_zone('nova', source_volid=source.id)
    assert message == 'Invalid input received: Volume must be in the same availability zone as the source volume'
    message = refusal_in_zone('nova', snapshot_id=stored_snapshot(source).id)
    assert message == 'Invalid input received: Volume must be in the same availability zone as the snapshot'


def refusal_in_zone(zone: str, **facts: Any) -> str:
    with pytest.raises(errors.InvalidInput) as refused:
        create_volume(CALLER, 1, availability_zone=zone, **facts)
    return refused.value.message


def test_zones_of_the_type(simulation: Simulation) -> None:
    simulation.fast.availability_zone = 'west'
    simulation.report()
    make_type('moon', RESKEY__availability_zones='moon')
    make_type('west', RESKEY__availability_zones='west, moon')
    assert refusal(size=1, volume_type='moon') == "Volume type is only usable in AZs '['moon']'."
    volume = create_volume(CALLER, 1, volume_type='west')
    assert (volume.availability_zone, volume.operation['availability_zones']) == (None, ['west'])
    assert create_volume(CALLER, 1, volume_type='west', availability_zone='west').availability_zone == 'west'
    with pytest.raises(errors.InvalidAvailabilityZone):
        create_volume(CALLER, 1, volume_type='west', availability_zone='nova')


def test_quotas_of_project_and_type(simulation: Simulation) -> None:
    create_volume(CALLER, 4)
    assert quotas.usages('project')['gigabytes___DEFAULT__']['in_use'] == 4
    quotas.update('project', {'volumes': 1})
    with pytest.raises(errors.VolumeLimitExceeded):
        create_volume(CALLER, 1)
    assert len(list(Volume.scan())) == 1


def test_size_limit_of_one_volume(simulation: Simulation) -> None:
    quotas.update('project', {'per_volume_gigabytes': 3})
    assert refusal(size=4) == 'Requested volume size 4G is larger than maximum allowed limit 3G.'


def test_usage_overflow_names_the_type(simulation: Simulation) -> None:
    quotas.update('project', {'gigabytes': -1})
    create_volume(CALLER, 1)
    with pytest.raises(errors.QuotaUsageOverflow) as refused:
        create_volume(CALLER, 2147483647)
    assert "['gigabytes', 'gigabytes___DEFAULT__']" in refused.value.message


def test_a_queue_that_fails_does_not_fail_the_request(simulation: Simulation, caplog: pytest.LogCaptureFixture) -> None:
    simulation.sending_fails = True
    volume = create_volume(CALLER, 1)
    assert volume.reload().status == 'creating'
    assert 'left to the reconciler' in caplog.text
