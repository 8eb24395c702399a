"""Volumes of the double: what AWS refuses is refused, and things take their time."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ebs import ZONES, Region
from tests.unit.local.ebs.conftest import Make, refused


def state(region: Region, id: str) -> str:
    return str(region.ec2.describe_volumes(VolumeIds=[id])['Volumes'][0]['State'])


@pytest.mark.parametrize(
    ('requested', 'code'),
    [
        ({'VolumeType': 'gp4'}, 'UnknownVolumeType'),
        ({'Size': 65537}, 'InvalidParameterValue'),
        ({'VolumeType': 'gp2', 'Size': 16385}, 'InvalidParameterValue'),
        ({'VolumeType': 'st1', 'Size': 124}, 'InvalidParameterValue'),
        ({'VolumeType': 'standard', 'Size': 1025}, 'InvalidParameterValue'),
        ({'VolumeType': 'io1', 'Size': 3, 'Iops': 100}, 'InvalidParameterValue'),
        ({'VolumeType': 'gp2', 'Iops': 3000}, 'InvalidParameterCombination'),
        ({'VolumeType': 'io2', 'Size': 4}, 'MissingParameter'),
        ({'Iops': 2999}, 'InvalidParameterValue'),
        ({'Iops': 80001, 'Size': 1000}, 'InvalidParameterValue'),
        ({'Iops': 3001, 'Size': 6}, 'InvalidParameterValue'),
        ({'VolumeType': 'io1', 'Size': 4, 'Iops': 201}, 'InvalidParameterValue'),
        ({'VolumeType': 'io2', 'Size': 4, 'Iops': 4001}, 'InvalidParameterValue'),
        ({'Throughput': 124}, 'InvalidParameterValue'),
        ({'Throughput': 751}, 'InvalidParameterValue'),
        ({'VolumeType': 'io2', 'Size': 4, 'Iops': 100, 'Throughput': 125}, 'InvalidParameterCombination'),
        ({'MultiAttachEnabled': True}, 'InvalidParameterCombination'),
        ({'AvailabilityZone': 'us-east-1z'}, 'InvalidZone.NotFound'),
        ({'SnapshotId': 'snap-00000000000000000'}, 'InvalidSnapshot.NotFound'),
        ({'KmsKeyId': 'some'}, 'InvalidParameterDependency'),
        ({'TagSpecifications': [{'ResourceType': 'snapshot', 'Tags': []}]}, 'InvalidParameterValue'),
        (
            {'TagSpecifications': [{'ResourceType': 'volume', 'Tags': [{'Key': 'aws:x', 'Value': ''}]}]},
            'InvalidParameterValue',
        ),
    ],
)
def test_what_no_volume_can_be(region: Region, requested: dict[str, Any], code: str) -> None:
    wanted = {'AvailabilityZone': ZONES[0], 'Size': 1, 'VolumeType': 'gp3', **requested}
    assert refused(region.ec2.create_volume, **wanted) == code
    assert region.ec2.describe_volumes()['Volumes'] == []


@pytest.mark.parametrize(
    ('requested', 'shown'),
    [
        ({'VolumeType': 'gp3'}, {'Iops': 3000, 'Throughput': 125}),
        ({'Size': 100, 'Iops': 50000, 'Throughput': 2000}, {'Iops': 50000, 'Throughput': 2000}),
        ({'VolumeType': 'gp2', 'Size': 100}, {'Iops': 300}),
        ({'VolumeType': 'io2', 'Size': 4, 'Iops': 4000, 'MultiAttachEnabled': True}, {'MultiAttachEnabled': True}),
    ],
)
def test_what_a_volume_becomes(region: Region, volume: Make, requested: dict[str, Any], shown: dict[str, Any]) -> None:
    found = region.ec2.describe_volumes(VolumeIds=[volume(**requested)])['Volumes'][0]
    assert {name: found[name] for name in shown} == shown


def test_the_type_is_gp2_unless_told(region: Region) -> None:
    assert region.ec2.create_volume(AvailabilityZone=ZONES[0], Size=1)['VolumeType'] == 'gp2'


def test_a_volume_is_not_told_of_at_once_and_not_ready_at_once(region: Region) -> None:
    id = region.ec2.create_volume(AvailabilityZone=ZONES[0], Size=1)['VolumeId']
    assert refused(region.ec2.describe_volumes, VolumeIds=[id]) == 'InvalidVolume.NotFound'
    assert region.ec2.describe_volumes()['Volumes'] == []
    region.clock.sleep(1)
    assert state(region, id) == 'creating'
    assert refused(region.ec2.create_snapshot, VolumeId=id) == 'IncorrectState'
    region.clock.sleep(2)
    assert state(region, id) == 'available'


def test_a_token_makes_one_volume(region: Region) -> None:
    asked = {'AvailabilityZone': ZONES[0], 'Size': 1, 'ClientToken': 'once'}
    first = region.ec2.create_volume(**asked)['VolumeId']
    assert region.ec2.create_volume(**asked)['VolumeId'] == first
    assert refused(region.ec2.create_volume, **{**asked, 'Size': 2}) == 'IdempotentParameterMismatch'
    assert region.ec2.create_volume(**{**asked, 'ClientToken': 'twice'})['VolumeId'] != first


def test_a_token_does_not_bring_a_deleted_volume_back(region: Region) -> None:
    asked = {'AvailabilityZone': ZONES[0], 'Size': 1, 'ClientToken': 'once'}
    first = region.ec2.create_volume(**asked)['VolumeId']
    region.ec2.delete_volume(VolumeId=first)
    region.clock.sleep(10)
    assert region.ec2.create_volume(**asked)['VolumeId'] == first
    assert region.ec2.describe_volumes()['Volumes'] == []


def test_a_volume_whose_key_cannot_be_used_vanishes(region: Region, volume: Make) -> None:
    region.ebs.known_keys.add('good')
    kept, lost = volume(Encrypted=True, KmsKeyId='good'), volume(Encrypted=True, KmsKeyId='bad')
    assert state(region, kept) == 'available'
    assert refused(region.ec2.describe_volumes, VolumeIds=[lost]) == 'InvalidVolume.NotFound'


def test_the_account_s_room_ends(region: Region, volume: Make) -> None:
    region.ebs.cloud.storage_limit = 10
    volume(Size=9)
    wanted = {'AvailabilityZone': ZONES[0], 'Size': 2}
    assert refused(region.ec2.create_volume, **wanted) == 'VolumeLimitExceeded'


def test_delete_takes_its_time(region: Region, volume: Make) -> None:
    id = volume()
    region.ec2.delete_volume(VolumeId=id)
    assert state(region, id) == 'deleting'
    region.clock.sleep(2)
    assert refused(region.ec2.delete_volume, VolumeId=id) == 'InvalidVolume.NotFound'
    assert region.ec2.describe_volumes()['Volumes'] == []


class TestCopies:
    def test_a_copy_has_the_bytes_of_its_moment(self, region: Region, volume: Make) -> None:
        source = volume()
        region.ebs.disk(source).write(1000, b'before')
        copy = region.ec2.copy_volumes(SourceVolumeId=source, VolumeType='gp3', Size=2)['Volumes'][0]
        region.ebs.disk(source).write(1000, b'after!')
        assert (copy['Size'], copy['SourceVolumeId'], copy['AvailabilityZone']) == (2, source, ZONES[0])
        assert region.ebs.disk(copy['VolumeId']).read(998, 10) == b'\0\0before\0\0'
        assert region.ebs.disk(source).read(1000, 6) == b'after!'

    def test_a_copy_is_gp2_unless_told(self, region: Region, volume: Make) -> None:
        assert region.ec2.copy_volumes(SourceVolumeId=volume())['Volumes'][0]['VolumeType'] == 'gp2'

    def test_a_copy_cannot_be_smaller(self, region: Region, volume: Make) -> None:
        assert refused(region.ec2.copy_volumes, SourceVolumeId=volume(Size=2), Size=1) == 'InvalidParameterValue'

    def test_a_copy_has_a_token_too(self, region: Region, volume: Make) -> None:
        asked = {'SourceVolumeId': volume(), 'ClientToken': 'once'}
        first, second = (region.ec2.copy_volumes(**asked)['Volumes'][0]['VolumeId'] for _ in range(2))
        assert first == second

    def test_an_encrypted_source_stays_encrypted(self, region: Region, volume: Make) -> None:
        source = volume(Encrypted=True)
        assert region.ec2.copy_volumes(SourceVolumeId=source)['Volumes'][0]['Encrypted'] is True
        wanted = {'SourceVolumeId': source, 'Encrypted': False}
        assert refused(region.ec2.copy_volumes, **wanted) == 'InvalidParameterCombination'


class TestModifications:
    def test_the_size_is_there_from_optimizing_on(self, region: Region, volume: Make) -> None:
        id = volume()
        region.ec2.modify_volume(VolumeId=id, Size=2)
        sizes = []
        for seconds in (0, 5, 600):
            region.clock.sleep(seconds)
            modification = region.ec2.describe_volumes_modifications(VolumeIds=[id])['VolumesModifications'][0]
            size = region.ec2.describe_volumes(VolumeIds=[id])['Volumes'][0]['Size']
            sizes.append((modification['ModificationState'], size))
        assert sizes == [('modifying', 1), ('optimizing', 2), ('completed', 2)]

    def test_one_at_a_time(self, region: Region, volume: Make) -> None:
        id = volume()
        region.ec2.modify_volume(VolumeId=id, Size=2)
        region.clock.sleep(60)
        assert refused(region.ec2.modify_volume, VolumeId=id, Size=3) == 'IncorrectModificationState'

    def test_four_in_any_24_hours(self, region: Region, volume: Make) -> None:
        id = volume()
        for size in (2, 3, 4, 5):
            region.ec2.modify_volume(VolumeId=id, Size=size)
            region.clock.sleep(3600)
        assert refused(region.ec2.modify_volume, VolumeId=id, Size=6) == 'VolumeModificationRateExceeded'
        region.clock.sleep(20 * 3600)
        assert region.ec2.modify_volume(VolumeId=id, Size=6)['VolumeModification']['TargetSize'] == 6

    @pytest.mark.parametrize(
        ('requested', 'code'),
        [
            ({'Size': 4}, 'InvalidParameterValue'),
            ({'Size': 5}, 'InvalidParameterValue'),
            ({'Size': 65537}, 'InvalidParameterValue'),
            ({'VolumeType': 'st1'}, 'InvalidParameterValue'),
            ({'VolumeType': 'io2'}, 'MissingParameter'),
            ({'Iops': 100000}, 'InvalidParameterValue'),
            ({'MultiAttachEnabled': True}, 'InvalidParameterCombination'),
        ],
    )
    def test_what_a_volume_cannot_become(self, region: Region, volume: Make, requested: Any, code: str) -> None:
        assert refused(region.ec2.modify_volume, VolumeId=volume(Size=5), **requested) == code

    def test_another_type(self, region: Region, volume: Make) -> None:
        id = volume(Size=4)
        region.ec2.modify_volume(VolumeId=id, VolumeType='io2', Iops=2000)
        region.clock.sleep(10)
        found = region.ec2.describe_volumes(VolumeIds=[id])['Volumes'][0]
        assert (found['VolumeType'], found['Iops'], 'Throughput' in found) == ('io2', 2000, False)

    def test_a_volume_never_modified_has_no_modification(self, region: Region, volume: Make) -> None:
        code = refused(region.ec2.describe_volumes_modifications, VolumeIds=[volume()])
        assert code == 'InvalidVolumeModification.NotFound'
        assert region.ec2.describe_volumes_modifications()['VolumesModifications'] == []


class TestDescribe:
    def test_filters(self, region: Region, volume: Make) -> None:
        tags = [{'ResourceType': 'volume', 'Tags': [{'Key': 'name', 'Value': 'one'}]}]
        one, two = volume(TagSpecifications=tags), volume(AvailabilityZone=ZONES[1])

        def found(name: str, *values: str) -> list[str]:
            filters = [{'Name': name, 'Values': list(values)}]
            return [each['VolumeId'] for each in region.ec2.describe_volumes(Filters=filters)['Volumes']]

        assert found('tag:name', 'o*', 'x') == [one]
        assert found('tag-key', 'name') == [one]
        assert found('availability-zone', ZONES[1]) == [two]
        assert found('status', 'available') == [one, two]
        with pytest.raises(region.ec2.exceptions.ClientError, match='InvalidParameterValue'):
            found('colour', 'red')

    def test_pages(self, region: Region, volume: Make) -> None:
        ids = [volume() for _ in range(12)]
        pages = list(region.ec2.get_paginator('describe_volumes').paginate(PaginationConfig={'PageSize': 5}))
        assert [each['VolumeId'] for page in pages for each in page['Volumes']] == ids
        assert len(pages) == 3
        asked = {'VolumeIds': ids[:1], 'MaxResults': 5}
        assert refused(region.ec2.describe_volumes, **asked) == 'InvalidParameterCombination'

    def test_tags_come_and_go_late(self, region: Region, volume: Make) -> None:
        id = volume()
        wanted = [{'Name': 'tag:a', 'Values': ['b']}]
        region.ec2.create_tags(Resources=[id], Tags=[{'Key': 'a', 'Value': 'b'}])
        assert region.ec2.describe_volumes(Filters=wanted)['Volumes'] == []
        region.clock.sleep(1)
        assert region.ec2.describe_volumes(Filters=wanted)['Volumes'][0]['Tags'] == [{'Key': 'a', 'Value': 'b'}]
        region.ec2.delete_tags(Resources=[id], Tags=[{'Key': 'a', 'Value': 'other'}])
        region.clock.sleep(1)
        assert len(region.ec2.describe_volumes(Filters=wanted)['Volumes']) == 1
        region.ec2.delete_tags(Resources=[id], Tags=[{'Key': 'a'}])
        region.clock.sleep(1)
        assert region.ec2.describe_volumes(Filters=wanted)['Volumes'] == []

    def test_fifty_tags_and_no_more(self, region: Region, volume: Make) -> None:
        id = volume()
        region.ec2.create_tags(Resources=[id], Tags=[{'Key': f'k{n}', 'Value': 'v'} for n in range(50)])
        code = refused(region.ec2.create_tags, Resources=[id], Tags=[{'Key': 'one more', 'Value': 'v'}])
        assert code == 'TagLimitExceeded'
