"""Attachments of the double."""

from __future__ import annotations

import pytest

from tests.ebs import ZONES, Region
from tests.unit.local.ebs.conftest import Make, refused

SHARED = {'VolumeType': 'io2', 'Size': 4, 'Iops': 100, 'MultiAttachEnabled': True}


def attach(region: Region, volume_id: str, instance_id: str, device: str = '/dev/sdf') -> None:
    region.ec2.attach_volume(VolumeId=volume_id, InstanceId=instance_id, Device=device)


def attachments(region: Region, id: str) -> list[tuple[str, str]]:
    found = region.ec2.describe_volumes(VolumeIds=[id])['Volumes'][0]['Attachments']
    return [(one['InstanceId'], one['State']) for one in found]


def test_it_takes_its_time(region: Region, volume: Make) -> None:
    id = volume()
    attach(region, id, region.instance)
    assert attachments(region, id) == [(region.instance, 'attaching')]
    region.clock.sleep(2)
    assert attachments(region, id) == [(region.instance, 'attached')]
    region.ec2.detach_volume(VolumeId=id)
    assert attachments(region, id) == [(region.instance, 'detaching')]
    assert refused(region.ec2.delete_volume, VolumeId=id) == 'VolumeInUse'
    region.clock.sleep(4)
    assert attachments(region, id) == []
    region.ec2.delete_volume(VolumeId=id)


def test_what_is_refused(region: Region, volume: Make) -> None:
    id, other = volume(), volume()
    call = region.ec2.attach_volume

    def code(instance: str, device: str = '/dev/sdf', volume_id: str = id) -> str:
        return refused(call, VolumeId=volume_id, InstanceId=instance, Device=device)

    assert code('i-00000000000000000') == 'InvalidInstanceID.NotFound'
    assert code(region.far_instance) == 'InvalidVolume.ZoneMismatch'
    assert code(region.instance, '/dev/sda1') == 'InvalidParameterValue'
    assert code(region.instance, volume_id='vol-00000000000000000') == 'InvalidVolume.NotFound'
    gone = region.ebs.add_instance('i-0123456789abcdef9', ZONES[0], 'terminated')
    assert code(gone) == 'IncorrectState'
    attach(region, id, region.instance)
    assert code(region.instance, '/dev/sdg') == 'VolumeInUse'
    assert code(region.other_instance) == 'VolumeInUse'
    assert code(region.instance, volume_id=other) == 'InvalidParameterValue'


def test_a_shared_volume(region: Region, volume: Make) -> None:
    id = volume(**SHARED)
    for instance in (region.instance, region.other_instance):
        attach(region, id, instance)
    region.clock.sleep(5)
    assert refused(region.ec2.detach_volume, VolumeId=id) == 'MissingParameter'
    region.ec2.detach_volume(VolumeId=id, InstanceId=region.instance)
    region.clock.sleep(5)
    assert attachments(region, id) == [(region.other_instance, 'attached')]


def test_sixteen_instances_and_no_more(region: Region, volume: Make) -> None:
    id = volume(**SHARED)
    instances = [region.ebs.add_instance(f'i-{number:017x}', ZONES[0]) for number in range(17)]
    for instance in instances[:16]:
        attach(region, id, instance)
    wanted = {'VolumeId': id, 'InstanceId': instances[16], 'Device': '/dev/sdf'}
    assert refused(region.ec2.attach_volume, **wanted) == 'AttachmentLimitExceeded'


def test_what_is_not_attached_cannot_be_detached(region: Region, volume: Make) -> None:
    assert refused(region.ec2.detach_volume, VolumeId=volume()) == 'IncorrectState'


@pytest.mark.parametrize('name', ['attachment.instance-id', 'attachment.device'])
def test_volumes_of_an_instance(region: Region, volume: Make, name: str) -> None:
    id = volume()
    volume()
    attach(region, id, region.instance)
    value = region.instance if name.endswith('id') else '/dev/sdf'
    found = region.ec2.describe_volumes(Filters=[{'Name': name, 'Values': [value]}])['Volumes']
    assert [one['VolumeId'] for one in found] == [id]
