"""What is particular to EBS: types, instances, modifications, replacement, management; and what may go wrong."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from chalicelib import aws, errors
from chalicelib.drivers import ebs_client, ebs_objects, registry
from chalicelib.drivers.base import SnapshotRef, StoredExport, VolumeRef
from infra.render import ROOT
from local.ebs.cloud import Cut, Refused, Timing
from tests.ebs import TIMES, ZONES, EbsBackend, Region, backend, driver, region, served

__all__ = ['backend', 'region', 'served']

SHARED = {'ebs:volume_type': 'io2', 'ebs:iops': '100'}


def ref(backend: EbsBackend, size: int = 1, **other: Any) -> VolumeRef:
    return dataclasses.replace(backend.volume_ref(size), **other)


def make(backend: EbsBackend, size: int = 1, **other: Any) -> VolumeRef:
    volume = ref(backend, size, **other)
    return dataclasses.replace(volume, **backend.driver.create_volume(volume))


def shown(region: Region, volume: VolumeRef) -> dict[str, Any]:
    found: dict[str, Any] = region.ec2.describe_volumes(VolumeIds=[volume.provider_id])['Volumes'][0]
    return found


def counted(region: Region) -> list[str]:
    """Calls since the last question."""
    calls = list(region.ebs.calls)
    region.ebs.calls.clear()
    return calls


class TestTypes:
    @pytest.mark.parametrize(
        ('specs', 'size', 'made'),
        [
            ({}, 1, {'VolumeType': 'gp3', 'Iops': 3000, 'Throughput': 125, 'Encrypted': False}),
            ({'ebs:iops': '6000', 'ebs:throughput': '500'}, 20, {'Iops': 6000, 'Throughput': 500}),
            ({'ebs:iops_per_gb': '200'}, 20, {'Iops': 4000}),
            ({'ebs:iops_per_gb': '9999'}, 20, {'Iops': 10000}),
            ({'ebs:volume_type': 'io1'}, 10, {'VolumeType': 'io1', 'Iops': 500}),
            ({'ebs:volume_type': 'io2'}, 100, {'VolumeType': 'io2', 'Iops': 3000}),
            ({'ebs:volume_type': 'st1'}, 125, {'VolumeType': 'st1'}),
            ({'ebs:encrypted': 'true'}, 1, {'Encrypted': True, 'KmsKeyId': 'alias/aws/ebs'}),
            ({'ebs:kms_key_id': 'the-key'}, 1, {'Encrypted': True, 'KmsKeyId': 'the-key'}),
        ],
    )
    def test_extra_specs(
        self, backend: EbsBackend, region: Region, specs: dict[str, str], size: int, made: dict[str, Any]
    ) -> None:
        region.ebs.known_keys.add('the-key')
        found = shown(region, make(backend, size, extra_specs=specs))
        assert {name: found.get(name) for name in made} == made

    @pytest.mark.parametrize(
        ('specs', 'size', 'words'),
        [
            ({'ebs:volume_type': 'gp4'}, 1, 'gp4.*use one of'),
            ({'ebs:iops': 'many'}, 1, 'many.*whole number'),
            ({'ebs:iops': '²'}, 1, 'whole number'),
            ({'ebs:iops': '80001'}, 1000, '3000 to 80000'),
            ({'ebs:iops': '3501'}, 7, '3000 to 3500'),
            ({'ebs:throughput': '2001'}, 1, '125 to 2000'),
            ({'ebs:volume_type': 'gp2', 'ebs:iops': '3000'}, 1, 'no IOPS'),
            ({'ebs:volume_type': 'io2', 'ebs:throughput': '125'}, 4, 'no throughput'),
            ({'ebs:volume_type': 'st1'}, 124, 'at least 125'),
            ({'ebs:encrypted': 'perhaps'}, 1, 'true or false'),
        ],
    )
    def test_specs_that_ebs_cannot_keep(
        self, backend: EbsBackend, region: Region, specs: dict[str, str], size: int, words: str
    ) -> None:
        with pytest.raises(errors.NotSupported, match=words):
            make(backend, size, extra_specs=specs)
        assert region.ebs.calls == []

    def test_only_provisioned_types_are_shared(self, backend: EbsBackend, region: Region) -> None:
        with pytest.raises(errors.NotSupported, match='io1 or io2'):
            make(backend, 4, multiattach=True)
        assert shown(region, make(backend, 4, multiattach=True, extra_specs=SHARED))['MultiAttachEnabled'] is True

    def test_the_backend_s_options_are_the_default(self, backend: EbsBackend, region: Region) -> None:
        backend.driver = driver(volume_type='gp2', encrypted=True)
        found = shown(region, make(backend))
        assert (found['VolumeType'], found['Encrypted']) == ('gp2', True)

    def test_a_default_type_that_is_none(self) -> None:
        with pytest.raises(errors.BackendMisconfigured, match='volume_type'):
            driver(volume_type='gp9')

    def test_a_clone_keeps_the_type_it_is_asked_for(self, backend: EbsBackend, region: Region) -> None:
        """CopyVolumes uses gp2 where no type is given."""
        source, clone = make(backend), ref(backend)
        update = backend.driver.create_cloned_volume(clone, source)
        assert shown(region, dataclasses.replace(clone, **update))['VolumeType'] == 'gp3'

    def test_tags_tell_whose_it_is(self, backend: EbsBackend, region: Region) -> None:
        volume = make(backend)
        tags = {tag['Key']: tag['Value'] for tag in shown(region, volume)['Tags']}
        assert tags == {
            'Name': volume.name,
            'cinder:name': volume.name,
            'cinder:deployment': 'cinderless',
            'cinder:backend': 'aws',
            'cinder:project': 'p',
        }


class TestCreation:
    def test_a_key_that_cannot_be_used(self, backend: EbsBackend) -> None:
        volume = ref(backend, extra_specs={'ebs:kms_key_id': 'gone'})
        with pytest.raises(errors.DriverError, match='KMS key'):
            backend.driver.create_volume(volume)

    def test_the_account_is_full(self, backend: EbsBackend, region: Region) -> None:
        region.ebs.cloud.storage_limit = 5
        with pytest.raises(errors.BackendFull, match='VolumeLimitExceeded'):
            make(backend, 6)

    def test_a_pool_that_is_none_of_ours(self, backend: EbsBackend) -> None:
        with pytest.raises(errors.BackendMisconfigured, match='name a zone'):
            make(backend, host='c@aws#eu-west-1a')

    @pytest.mark.parametrize('operation', ['CreateVolume', 'DescribeVolumes'])
    def test_a_lost_answer_makes_no_second_volume(self, backend: EbsBackend, region: Region, operation: str) -> None:
        region.ebs.lose_answer(operation, 2)
        make(backend)
        assert len(region.ebs.cloud.volumes) == 1

    def test_a_crash_after_each_call(self, backend: EbsBackend, region: Region) -> None:
        """A worker that dies while a volume is made, and starts again, finds what there is."""
        volume = ref(backend)
        for operation in ('CreateVolume', 'DescribeVolumes'):
            region.ebs.lose_answer(operation)
            region.ebs.fail(operation, *[Cut()] * 8)
            with pytest.raises(errors.BackendUnavailable):
                backend.driver.create_volume(volume)
            region.ebs._before.clear()
        backend.driver.create_volume(volume)
        assert len(region.ebs.cloud.volumes) == 1

    def test_a_lost_snapshot_is_found_by_its_tag(self, backend: EbsBackend, region: Region) -> None:
        snapshot = backend.snapshot_ref(make(backend))
        region.ebs.lose_answer('CreateSnapshot')
        backend.driver.create_snapshot(snapshot)
        assert len(region.ebs.cloud.snapshots) == 1

    def test_two_snapshots_of_one_name_both_go(self, backend: EbsBackend, region: Region) -> None:
        """Two workers at once may make two: the older one counts, and none is left."""
        volume = make(backend)
        snapshot = backend.snapshot_ref(volume)
        first = backend.driver.create_snapshot(snapshot)['provider_id']
        tags = [{'Key': 'cinder:name', 'Value': snapshot.name}, {'Key': 'cinder:deployment', 'Value': 'cinderless'}]
        specification = [{'ResourceType': 'snapshot', 'Tags': tags}]
        region.clock.sleep(1)
        region.ec2.create_snapshot(VolumeId=volume.provider_id, TagSpecifications=specification)
        region.clock.sleep(60)
        assert backend.driver.create_snapshot(snapshot)['provider_id'] == first
        backend.driver.delete_snapshot(snapshot)
        assert region.ebs.cloud.snapshots == {}

    def test_a_slow_snapshot_is_frozen_but_not_readable_yet(self, backend: EbsBackend, region: Region) -> None:
        region.fresh(dataclasses.replace(TIMES, snapshot=7200))
        volume = make(backend)
        snapshot = backend.snapshot(volume)
        with pytest.raises(errors.NotReady, match='retry later'):
            backend.driver.open_snapshot(snapshot, 'x')
        with pytest.raises(errors.NotReady):
            backend.driver.create_volume_from_snapshot(ref(backend), snapshot)
        region.clock.sleep(7200)
        backend.driver.open_snapshot(snapshot, 'x').close()

    def test_a_clone_in_another_zone_leaves_no_snapshot(self, backend: EbsBackend, region: Region) -> None:
        source = make(backend)
        clone = ref(backend, host=backend.other_host)
        backend.driver.create_cloned_volume(clone, source)
        assert region.ebs.cloud.snapshots == {}

    def test_one_that_fails_leaves_none_either(self, backend: EbsBackend, region: Region) -> None:
        source = make(backend)
        clone = ref(backend, host=backend.other_host)
        region.ebs.fail('CreateVolume', Refused('InsufficientVolumeCapacity', 'none left'))
        with pytest.raises(errors.BackendFull):
            backend.driver.create_cloned_volume(clone, source)
        region.clock.sleep(10)
        backend.driver.delete_volume(clone)
        assert region.ebs.cloud.snapshots == {}


class TestModification:
    def test_an_attached_volume_grows(self, backend: EbsBackend, region: Region) -> None:
        volume = make(backend)
        backend.driver.initialize_connection(volume, {'instance_id': region.instance}, 'one')
        backend.driver.extend_volume(volume, 2)
        assert shown(region, volume)['Size'] == 2

    def test_one_at_a_time_and_four_a_day(self, backend: EbsBackend, region: Region) -> None:
        volume = make(backend)
        backend.driver.extend_volume(volume, 2)
        with pytest.raises(errors.VolumeIsBusy, match='IncorrectModificationState'):
            backend.driver.extend_volume(volume, 3)
        for size in (3, 4, 5):
            region.clock.sleep(3600)
            backend.driver.extend_volume(volume, size)
        region.clock.sleep(3600)
        with pytest.raises(errors.VolumeIsBusy, match='24 hours'):
            backend.driver.extend_volume(volume, 6)
        backend.driver.extend_volume(volume, 5)

    @pytest.mark.parametrize('fault', ['lose_answer', 'throttle'])
    def test_a_lost_or_refused_call_grows_it_once(self, backend: EbsBackend, region: Region, fault: str) -> None:
        volume = make(backend)
        getattr(region.ebs, fault)('ModifyVolume')
        backend.driver.extend_volume(volume, 2)
        assert len(region.ebs.cloud.volumes[str(volume.provider_id)].modifications) == 1

    def test_a_repeat_while_it_is_being_modified(self, backend: EbsBackend, region: Region) -> None:
        region.fresh(dataclasses.replace(TIMES, modify=1000))
        volume = make(backend)
        with pytest.raises(errors.BackendUnavailable, match='still being modified'):
            backend.driver.extend_volume(volume, 2)
        region.clock.sleep(800)
        backend.driver.extend_volume(volume, 2)
        assert shown(region, volume)['Size'] == 2

    def test_retype_in_place(self, backend: EbsBackend, region: Region) -> None:
        volume = make(backend, 10)
        wanted = dataclasses.replace(volume, extra_specs={'ebs:volume_type': 'io2', 'ebs:iops': '500'})
        for _ in range(2):
            assert backend.driver.retype(volume, wanted) == {}
        found = shown(region, volume)
        assert (found['VolumeType'], found['Iops']) == ('io2', 500)
        assert len(region.ebs.cloud.volumes[str(volume.provider_id)].modifications) == 1

    def test_retype_to_what_it_is(self, backend: EbsBackend, region: Region) -> None:
        volume = make(backend)
        assert backend.driver.retype(volume, dataclasses.replace(volume, extra_specs={'other': 'x'})) == {}
        assert 'ModifyVolume' not in region.ebs.calls

    @pytest.mark.parametrize('specs', [{'ebs:encrypted': 'true'}, {'ebs:kms_key_id': 'other'}])
    def test_encryption_needs_a_move(self, backend: EbsBackend, specs: dict[str, str]) -> None:
        volume = make(backend)
        assert backend.driver.retype(volume, dataclasses.replace(volume, extra_specs=specs)) is None


class TestPaths:
    def connect(self, backend: EbsBackend, volume: VolumeRef, instance: str, export_id: str = 'one') -> dict[str, Any]:
        info = backend.driver.initialize_connection(volume, {'instance_id': instance, 'host': 'h'}, export_id)
        assert info['driver_volume_type'] == 'ebs'
        return dict(info['data'])

    def attached(self, region: Region, volume: VolumeRef) -> list[str]:
        return [one['InstanceId'] for one in shown(region, volume)['Attachments']]

    def test_what_a_host_is_told(self, backend: EbsBackend, region: Region) -> None:
        volume = make(backend)
        data = self.connect(backend, volume, region.instance)
        assert data == self.connect(backend, volume, region.instance)
        serial = str(volume.provider_id).replace('-', '')
        assert data['volume_id'] == volume.provider_id
        assert data['instance_id'] == region.instance
        assert data['device_path'] == f'/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{serial}'
        assert data['device'].startswith('/dev/')

    @pytest.mark.parametrize('connector', [{}, {'instance': 'f5c2b6f6-0000-4000-8000-000000000000'}, {'ip': '1.2.3.4'}])
    def test_who_is_no_instance(self, backend: EbsBackend, connector: dict[str, str]) -> None:
        with pytest.raises(errors.InvalidConnector, match='instance_id'):
            backend.driver.initialize_connection(make(backend), connector, 'one')

    def test_an_instance_in_another_zone(self, backend: EbsBackend, region: Region) -> None:
        with pytest.raises(errors.InvalidConnector, match='availability zone'):
            self.connect(backend, make(backend), region.far_instance)

    @pytest.mark.parametrize('tags', [None, {}, {'cinder:project': 'other'}, {'cinder:project': ''}, {'Name': '*'}])
    def test_an_instance_that_is_not_the_projects(
        self, backend: EbsBackend, region: Region, tags: dict[str, str] | None
    ) -> None:
        """Unknown, without a tag, of another project: one answer, and nothing was tried."""
        foreign = 'i-00000000000000000'
        if tags is not None:
            region.ebs.add_instance(foreign, ZONES[0], tags=tags)
        volume = make(backend)
        with pytest.raises(errors.InvalidConnector) as refused:
            self.connect(backend, volume, foreign)
        expected = 'instance_id: an EC2 instance whose tag cinder:project names the project of the volume'
        assert refused.value.message == f"Connector doesn't have required information: {expected}"
        assert 'AttachVolume' not in region.ebs.calls
        assert 'cinder:export:' not in repr(shown(region, volume)['Tags'])

    def test_exports_are_listed_with_attachments_that_others_made(self, backend: EbsBackend, region: Region) -> None:
        ours, theirs = make(backend), make(backend)
        self.connect(backend, ours, region.instance)
        region.ec2.attach_volume(VolumeId=theirs.provider_id, InstanceId=region.other_instance, Device='/dev/sdf')
        found = {(one.object, one.export_id, one.host) for one in backend.driver.list_exports()}
        assert found == {(ours.name, 'one', region.instance), (theirs.name, None, region.other_instance)}

    def test_an_unnamed_attachment_is_ended_and_a_named_one_is_not(self, backend: EbsBackend, region: Region) -> None:
        ours, theirs = make(backend), make(backend)
        self.connect(backend, ours, region.instance)
        region.ec2.attach_volume(VolumeId=theirs.provider_id, InstanceId=region.other_instance, Device='/dev/sdf')
        for one in [*backend.driver.list_exports(), StoredExport('volume-gone', ZONES[0], None, region.instance)]:
            for _ in range(2):
                backend.driver.end_unnamed_export(one)
        assert self.attached(region, ours) == [region.instance]
        region.clock.sleep(60)
        assert self.attached(region, theirs) == []

    def test_an_instance_of_the_project(self, backend: EbsBackend, region: Region) -> None:
        volume = make(backend)
        own = region.ebs.add_instance('i-00000000000000001', ZONES[0], tags={'cinder:project': volume.project_id})
        self.connect(backend, volume, own)
        region.ebs.add_instance(own, ZONES[0])  # the tag is gone: what is attached can be ended all the same
        backend.driver.terminate_connection(volume, 'one')
        region.clock.sleep(60)
        assert self.attached(region, volume) == []

    def test_a_volume_of_another_instance(self, backend: EbsBackend, region: Region) -> None:
        volume = make(backend)
        self.connect(backend, volume, region.instance)
        with pytest.raises(errors.VolumeIsBusy):
            self.connect(backend, volume, region.other_instance, 'two')
        backend.driver.terminate_connection(volume, 'two')
        assert self.attached(region, volume) == [region.instance]

    def test_read_only_is_told_to_the_host(self, backend: EbsBackend, region: Region) -> None:
        info = backend.driver.initialize_connection(make(backend), {'instance_id': region.instance}, 'one', 'ro')
        assert info['data']['access_mode'] == 'ro'

    def test_every_volume_of_an_instance_gets_a_name(self, backend: EbsBackend, region: Region) -> None:
        """Names are chosen without a call; a taken one is followed by a call."""
        volumes = [make(backend) for _ in range(20)]
        devices = [self.connect(backend, volume, region.instance)['device'] for volume in volumes]
        assert len(set(devices)) == 20

    def test_a_lost_answer_attaches_once(self, backend: EbsBackend, region: Region) -> None:
        volume = make(backend)
        region.ebs.lose_answer('AttachVolume')
        self.connect(backend, volume, region.instance)
        assert self.attached(region, volume) == [region.instance]

    def test_two_paths_to_one_instance(self, backend: EbsBackend, region: Region) -> None:
        volume = make(backend)
        for path in ('one', 'two'):
            self.connect(backend, volume, region.instance, path)
        region.clock.sleep(5)
        backend.driver.terminate_connection(volume, 'one')
        assert self.attached(region, volume) == [region.instance]
        for _ in range(2):
            backend.driver.terminate_connection(volume, 'two')
        region.clock.sleep(2)
        assert self.attached(region, volume) == []
        assert not [tag for tag in shown(region, volume)['Tags'] if 'export' in tag['Key']]

    def test_a_shared_volume(self, backend: EbsBackend, region: Region) -> None:
        volume = make(backend, 4, multiattach=True, extra_specs=SHARED)
        self.connect(backend, volume, region.instance)
        self.connect(backend, volume, region.other_instance, 'two')
        backend.driver.terminate_connection(volume, 'one')
        assert self.attached(region, volume) == [region.other_instance]
        backend.driver.terminate_connection(volume, None)
        assert self.attached(region, volume) == []

    def test_a_path_of_a_moment_ago_is_taken_away(self, backend: EbsBackend, region: Region) -> None:
        """Its tag is not shown yet when the path is given up."""
        region.fresh(dataclasses.replace(TIMES, attach=0))
        volume = make(backend)
        self.connect(backend, volume, region.instance)
        backend.driver.terminate_connection(volume, 'one')
        assert self.attached(region, volume) == []

    def test_an_instance_that_does_not_let_go(self, backend: EbsBackend, region: Region) -> None:
        region.fresh(dataclasses.replace(TIMES, detach=3600))
        volume = make(backend)
        self.connect(backend, volume, region.instance)
        with pytest.raises(errors.VolumeIsBusy, match='unmount'):
            backend.driver.terminate_connection(volume, 'one')
        region.clock.sleep(3600)
        backend.driver.terminate_connection(volume, 'one')


class TestReplacement:
    def frozen(self, backend: EbsBackend) -> tuple[VolumeRef, SnapshotRef]:
        volume = make(backend)
        backend.write(volume, 0, b'before')
        snapshot = backend.snapshot(volume)
        backend.write(volume, 0, b'after!')
        return volume, snapshot

    def test_an_attached_volume_is_not_reverted(self, backend: EbsBackend, region: Region) -> None:
        volume, snapshot = self.frozen(backend)
        backend.driver.initialize_connection(volume, {'instance_id': region.instance}, 'one')
        with pytest.raises(errors.VolumeIsBusy, match='detach'):
            backend.driver.revert_to_snapshot(volume, snapshot)

    def test_the_record_may_be_behind(self, backend: EbsBackend, region: Region) -> None:
        """It dies after the verb and before the record is written: every verb finds the new volume."""
        volume, snapshot = self.frozen(backend)
        update = backend.driver.revert_to_snapshot(volume, snapshot)
        assert update['provider_id'] != volume.provider_id
        assert backend.read(volume, 0, 6) == b'before'
        region.clock.sleep(5)
        backend.driver.extend_volume(volume, 2)
        backend.driver.create_snapshot(backend.snapshot_ref(volume))
        info = backend.driver.initialize_connection(volume, {'instance_id': region.instance}, 'one')
        assert info['data']['volume_id'] == update['provider_id']
        backend.driver.terminate_connection(volume, 'one')
        backend.driver.delete_volume(volume)
        region.clock.sleep(5)
        assert region.ec2.describe_volumes()['Volumes'] == []

    def test_a_crash_before_the_old_volume_is_gone(self, backend: EbsBackend, region: Region) -> None:
        volume, snapshot = self.frozen(backend)
        region.ebs.fail('DeleteVolume', Refused('UnauthorizedOperation', 'no'))
        with pytest.raises(errors.BackendMisconfigured):
            backend.driver.revert_to_snapshot(volume, snapshot)
        assert len(region.ebs.cloud.volumes) == 2
        update = backend.driver.revert_to_snapshot(volume, snapshot)
        region.clock.sleep(5)
        assert [one['VolumeId'] for one in region.ec2.describe_volumes()['Volumes']] == [update['provider_id']]

    def test_delete_takes_both_along(self, backend: EbsBackend, region: Region) -> None:
        volume, snapshot = self.frozen(backend)
        region.ebs.fail('DeleteVolume', Refused('UnauthorizedOperation', 'no'))
        with pytest.raises(errors.BackendMisconfigured):
            backend.driver.revert_to_snapshot(volume, snapshot)
        backend.driver.delete_volume(volume)
        region.clock.sleep(5)
        assert region.ec2.describe_volumes()['Volumes'] == []

    @pytest.mark.parametrize('operation', ['StartSnapshot', 'CompleteSnapshot', 'CreateVolume', 'DeleteSnapshot'])
    def test_a_restore_with_a_lost_answer(self, backend: EbsBackend, region: Region, operation: str) -> None:
        volume = make(backend)
        region.ebs.lose_answer(operation)
        data = b'x' * 512 * 1024
        with backend.driver.open_restore(volume, 'path') as device:
            device.write(0, data)
        update = backend.driver.complete_restore(volume, 'path', lambda: [(0, len(data))])
        assert backend.read(dataclasses.replace(volume, **update), 0, len(data)) == data
        assert region.ebs.cloud.snapshots == {}

    def test_a_wrong_count_is_an_error_and_the_volume_is_as_it_was(self, backend: EbsBackend, region: Region) -> None:
        volume = make(backend)
        backend.write(volume, 0, b'before')
        with backend.driver.open_restore(volume, 'path') as device:
            device.write(0, b'x' * 512 * 1024)
        with pytest.raises(errors.DriverError, match='written'):
            backend.driver.complete_restore(volume, 'path', list)
        backend.driver.cancel_restore(volume, 'path')
        assert backend.read(volume, 0, 6) == b'before'
        assert region.ebs.cloud.snapshots == {}


class TestManagement:
    def foreign(self, region: Region, zone: str = ZONES[0], **tags: str) -> str:
        given = [{'Key': key.replace('_', ':'), 'Value': value} for key, value in tags.items()]
        specification = [{'ResourceType': 'volume', 'Tags': given}] if given else []
        made = region.ec2.create_volume(AvailabilityZone=zone, Size=3, TagSpecifications=specification)
        region.clock.sleep(10)
        return str(made['VolumeId'])

    def test_one_that_was_handed_over(self, backend: EbsBackend, region: Region) -> None:
        id = self.foreign(region, cinder_deployment='cinderless')
        volume, reference = ref(backend, 3), {'source-id': id}
        assert backend.driver.manage_existing_get_size(volume, reference) == 3
        for _ in range(2):
            assert backend.driver.manage_existing(volume, reference) == {'provider_id': id}
            region.clock.sleep(2)
        assert backend.driver.list_objects() == [volume.name]
        listed = backend.driver.get_manageable_volumes(ZONES[0])
        assert [(one.reference, one.size, one.provider_id) for one in listed] == [(reference, 3, id)]
        backend.driver.unmanage(volume)
        region.clock.sleep(2)
        assert backend.driver.list_objects() == []
        assert backend.driver.manage_existing_get_size(ref(backend), reference) == 3

    @pytest.mark.parametrize('reference', [{}, {'source-id': 'volume-1'}, {'source-id': 'vol-00000000000000000'}])
    def test_no_such_volume(self, backend: EbsBackend, reference: dict[str, str]) -> None:
        with pytest.raises(errors.ManageExistingInvalidReference):
            backend.driver.manage_existing_get_size(ref(backend), reference)

    def test_what_was_not_handed_over(self, backend: EbsBackend, region: Region) -> None:
        with pytest.raises(errors.ManageExistingInvalidReference, match='cinder:deployment=cinderless'):
            backend.driver.manage_existing(ref(backend), {'source-id': self.foreign(region)})

    def test_what_is_somebody_s_already(self, backend: EbsBackend) -> None:
        reference = {'source-id': str(make(backend).provider_id)}
        with pytest.raises(errors.ManageExistingInvalidReference, match='already'):
            backend.driver.manage_existing(ref(backend), reference)

    def test_another_zone(self, backend: EbsBackend, region: Region) -> None:
        id = self.foreign(region, ZONES[1], cinder_deployment='cinderless')
        with pytest.raises(errors.ManageExistingInvalidReference, match=ZONES[1]):
            backend.driver.manage_existing(ref(backend), {'source-id': id})

    def test_snapshots(self, backend: EbsBackend, region: Region) -> None:
        volume, other = make(backend), make(backend)
        tags = [{'Key': 'cinder:deployment', 'Value': 'cinderless'}]
        specification = [{'ResourceType': 'snapshot', 'Tags': tags}]
        made = region.ec2.create_snapshot(VolumeId=volume.provider_id, TagSpecifications=specification)
        region.clock.sleep(60)
        reference = {'source-id': made['SnapshotId']}
        snapshot = backend.snapshot_ref(volume)
        assert backend.driver.manage_existing_snapshot_get_size(snapshot, reference) == 1
        with pytest.raises(errors.ManageExistingInvalidReference, match='is not a snapshot of'):
            backend.driver.manage_existing_snapshot(backend.snapshot_ref(other), reference)
        assert backend.driver.manage_existing_snapshot(snapshot, reference) == {'provider_id': made['SnapshotId']}
        region.clock.sleep(2)
        assert snapshot.name in backend.driver.list_objects()
        listed = backend.driver.get_manageable_snapshots(ZONES[0])
        assert [(one.reference, one.source_reference) for one in listed] == [(reference, {'source-name': volume.name})]
        backend.driver.unmanage_snapshot(snapshot)
        region.clock.sleep(2)
        assert snapshot.name not in backend.driver.list_objects()


class TestSetup:
    def test_the_zones_are_there(self, backend: EbsBackend) -> None:
        backend.driver.check_for_setup_error()

    def test_a_zone_that_is_not(self, region: Region) -> None:
        with pytest.raises(errors.BackendMisconfigured, match=r'us-east-1z.*us-east-1a, us-east-1b'):
            driver(zones=['us-east-1z']).check_for_setup_error()

    def test_a_role_that_may_not_look(self, region: Region) -> None:
        region.ebs.fail('DescribeAvailabilityZones', Refused('UnauthorizedOperation', 'no', 403))
        with pytest.raises(errors.BackendMisconfigured, match='UnauthorizedOperation'):
            driver().check_for_setup_error()

    def test_the_document_makes_it(self) -> None:
        options = {'zones': ['us-east-1a'], 'kms_key_id': 'alias/the-key'}
        entry = {'name': 'ebs-a', 'driver': 'ebs', 'options': options}
        made = registry.load({'backends': [entry]}, str).driver('cinderless@ebs-a')
        assert (made.options['volume_type'], made.options['kms_key_id']) == ('gp3', 'alias/the-key')

    @pytest.mark.parametrize('options', [{}, {'zones': 'us-east-1a'}, {'zones': [], 'colour': 'red'}])
    def test_what_the_document_may_not_say(self, options: dict[str, Any]) -> None:
        entry = {'name': 'ebs-a', 'driver': 'ebs', 'options': options}
        with pytest.raises(errors.BackendMisconfigured):
            registry.load({'backends': [entry]}, str).check()

    def test_what_a_verb_waits_for_fits_a_worker_s_time(self) -> None:
        functions = json.loads((ROOT / '.chalice' / 'config.json').read_text())['stages']['prod']['lambda_functions']
        longest = ebs_objects.VOLUME_WAIT + ebs_objects.SNAPSHOT_WAIT
        for worker in ('volume_worker', 'backup_worker'):
            assert longest + 60 < functions[worker]['lambda_timeout']


class TestReport:
    def test_a_pool_per_zone(self, backend: EbsBackend) -> None:
        make(backend, 3)
        make(backend, 4, host=backend.other_host)
        pools = backend.driver.get_volume_stats()['pools']
        found = [(pool['pool_name'], pool['free_capacity_gb'], pool['provisioned_capacity_gb']) for pool in pools]
        assert found == [(ZONES[0], 997, 3), (ZONES[1], 996, 4)]

    def test_without_a_bound_it_is_infinite(self, backend: EbsBackend) -> None:
        pool = driver(capacity_gb=None).get_volume_stats()['pools'][0]
        assert (pool['total_capacity_gb'], pool['free_capacity_gb']) == ('infinite', 'infinite')

    def test_other_backends_volumes_are_not_ours(self, backend: EbsBackend, region: Region) -> None:
        region.ec2.create_volume(AvailabilityZone=ZONES[0], Size=100)
        region.clock.sleep(5)
        assert backend.driver.get_volume_stats()['pools'][0]['provisioned_capacity_gb'] == 0


class TestFaults:
    def test_throttling_is_waited_out(self, backend: EbsBackend, region: Region) -> None:
        for operation in ('CreateVolume', 'DescribeVolumes', 'DeleteVolume'):
            region.ebs.throttle(operation, 3)
        volume = make(backend)
        backend.driver.delete_volume(volume)

    def test_but_not_for_ever(self, backend: EbsBackend, region: Region) -> None:
        region.ebs.throttle('CreateVolume', 100)
        with pytest.raises(errors.BackendUnavailable, match='RequestLimitExceeded'):
            make(backend)
        assert region.ebs.calls.count('CreateVolume') == 8

    @pytest.mark.parametrize('operation', ['CreateTags', 'AttachVolume', 'DescribeVolumes'])
    def test_an_attachment_ends_while_somebody_waits_for_it(
        self, backend: EbsBackend, region: Region, operation: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever the pauses; a repeat finds what there is of it."""
        monkeypatch.setattr('chalicelib.drivers.ebs_client.random.uniform', lambda low, high: high)
        volume = make(backend)
        region.ebs.throttle(operation, 100)
        started = region.clock.now()
        with pytest.raises(errors.BackendUnavailable, match='RequestLimitExceeded'):
            backend.driver.initialize_connection(volume, {'instance_id': region.instance}, 'one')
        assert region.clock.now() - started <= ebs_client.BUDGET
        region.ebs._before.clear()
        backend.driver.initialize_connection(volume, {'instance_id': region.instance}, 'one')
        backend.driver.terminate_connection(volume, 'one')

    def test_the_last_call_ends_before_whoever_waits_gives_up(self) -> None:
        assert ebs_client.BUDGET + ebs_client.CONNECT + ebs_client.READ['ec2'] < aws.INVOKE_TIMEOUT

    def test_a_role_that_may_not(self, backend: EbsBackend, region: Region) -> None:
        region.ebs.fail('CreateVolume', Refused('UnauthorizedOperation', 'You are not authorized', 403))
        with pytest.raises(errors.BackendMisconfigured, match='not authorized'):
            make(backend)

    def test_a_volume_that_never_becomes_available(self, backend: EbsBackend, region: Region) -> None:
        region.fresh(Timing(volume=10_000))
        with pytest.raises(errors.BackendUnavailable, match='not available after'):
            make(backend)
        assert len(region.ebs.cloud.volumes) == 1

    @pytest.mark.parametrize('lag', [0, 3, 10])
    def test_however_late_ec2_tells(self, backend: EbsBackend, region: Region, lag: int) -> None:
        region.fresh(dataclasses.replace(TIMES, visible=lag))
        volume = make(backend)
        snapshot = backend.snapshot(volume)
        copy = ref(backend)
        backend.driver.create_volume_from_snapshot(copy, snapshot)
        assert len(region.ebs.cloud.volumes) == 2
