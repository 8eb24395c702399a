"""Snapshots of the double, and the direct APIs to their blocks."""

from __future__ import annotations

from typing import Any

import pytest

from local.ebs.blocks import BLOCK
from local.ebs.direct import digest
from tests.ebs import ZONES, Region
from tests.unit.local.ebs.conftest import Make, refused

A, B = b'a' * BLOCK, b'b' * BLOCK


def put(region: Region, id: str, index: int, data: bytes = A, **other: Any) -> Any:
    wanted = {'DataLength': len(data), 'Checksum': digest(data), 'ChecksumAlgorithm': 'SHA256', **other}
    return region.direct.put_snapshot_block(SnapshotId=id, BlockIndex=index, BlockData=data, **wanted)


def indexes(region: Region, id: str, **other: Any) -> list[int]:
    return [one['BlockIndex'] for one in region.direct.list_snapshot_blocks(SnapshotId=id, **other)['Blocks']]


def test_a_snapshot_is_of_the_moment_it_was_asked_for(region: Region, volume: Make) -> None:
    id = volume()
    region.ebs.disk(id).write(0, b'before')
    made = region.ec2.create_snapshot(VolumeId=id)
    region.ebs.disk(id).write(0, b'after!')
    assert made['State'] == 'pending'
    region.clock.sleep(30)
    assert region.ec2.describe_snapshots(SnapshotIds=[made['SnapshotId']])['Snapshots'][0]['State'] == 'completed'
    copy = region.ec2.create_volume(AvailabilityZone=ZONES[1], SnapshotId=made['SnapshotId'])
    assert copy['Size'] == 1
    assert region.ebs.disk(copy['VolumeId']).read(0, 6) == b'before'


def test_a_pending_snapshot_is_good_for_nothing_yet(region: Region, volume: Make) -> None:
    id = region.ec2.create_snapshot(VolumeId=volume())['SnapshotId']
    wanted = {'AvailabilityZone': ZONES[0], 'SnapshotId': id}
    assert refused(region.ec2.create_volume, **wanted) == 'IncorrectState'
    assert refused(region.direct.list_snapshot_blocks, SnapshotId=id) == 'ValidationException'
    wanted = {'SourceSnapshotId': id, 'SourceRegion': 'us-east-1'}
    assert refused(region.ec2.copy_snapshot, **wanted) == 'IncorrectState'


def test_a_volume_cannot_be_smaller_than_its_snapshot(region: Region, volume: Make, snapshot: Make) -> None:
    wanted = {'AvailabilityZone': ZONES[0], 'SnapshotId': snapshot(volume(Size=2)), 'Size': 1}
    assert refused(region.ec2.create_volume, **wanted) == 'InvalidParameterValue'


def test_five_pending_ones_of_a_volume(region: Region, volume: Make) -> None:
    id = volume()
    for _ in range(5):
        region.ec2.create_snapshot(VolumeId=id)
    assert refused(region.ec2.create_snapshot, VolumeId=id) == 'ConcurrentSnapshotLimitExceeded'
    region.ec2.create_snapshot(VolumeId=volume())


def test_there_is_no_token(region: Region, volume: Make) -> None:
    id = volume()
    assert len({region.ec2.create_snapshot(VolumeId=id)['SnapshotId'] for _ in range(2)}) == 2


def test_a_snapshot_outlives_its_volume_and_goes_by_itself(region: Region, volume: Make, snapshot: Make) -> None:
    id = volume()
    region.ebs.disk(id).write(0, A)
    frozen = snapshot(id)
    region.ec2.delete_volume(VolumeId=id)
    region.clock.sleep(5)
    assert indexes(region, frozen) == [0]
    assert region.ebs.cloud.file.used == 1
    region.ec2.delete_snapshot(SnapshotId=frozen)
    assert region.ebs.cloud.file.used == 0
    assert refused(region.ec2.delete_snapshot, SnapshotId=frozen) == 'InvalidSnapshot.NotFound'


class TestReading:
    def test_written_blocks_only(self, region: Region, volume: Make, snapshot: Make) -> None:
        id = volume()
        region.ebs.disk(id).write(3 * BLOCK - 1, b'xy')
        frozen = snapshot(id)
        listed = region.direct.list_snapshot_blocks(SnapshotId=frozen)
        assert (listed['BlockSize'], listed['VolumeSize']) == (BLOCK, 1)
        assert [one['BlockIndex'] for one in listed['Blocks']] == [2, 3]
        token = listed['Blocks'][1]['BlockToken']
        block = region.direct.get_snapshot_block(SnapshotId=frozen, BlockIndex=3, BlockToken=token)
        data = block['BlockData'].read()
        assert (data[:2], block['Checksum'], block['DataLength']) == (b'y\0', digest(data), BLOCK)

    def test_a_token_is_for_one_block_of_one_snapshot(self, region: Region, volume: Make, snapshot: Make) -> None:
        id = volume()
        region.ebs.disk(id).write(0, A + B)
        first, second = snapshot(id), snapshot(id)
        token = region.direct.list_snapshot_blocks(SnapshotId=first)['Blocks'][0]['BlockToken']
        call = region.direct.get_snapshot_block
        assert refused(call, SnapshotId=first, BlockIndex=1, BlockToken=token) == 'ValidationException'
        assert refused(call, SnapshotId=second, BlockIndex=0, BlockToken=token) == 'ValidationException'
        assert refused(call, SnapshotId=first, BlockIndex=0, BlockToken='x') == 'ValidationException'
        region.clock.sleep(8 * 24 * 3600)
        assert refused(call, SnapshotId=first, BlockIndex=0, BlockToken=token) == 'ValidationException'

    def test_pages(self, region: Region, volume: Make, snapshot: Make) -> None:
        id = volume()
        for index in range(0, 500, 2):
            region.ebs.disk(id).write(index * BLOCK, b'x')
        frozen = snapshot(id)
        first = region.direct.list_snapshot_blocks(SnapshotId=frozen, MaxResults=100)
        assert len(first['Blocks']) == 100
        assert indexes(region, frozen, NextToken=first['NextToken'])[0] == 200
        assert indexes(region, frozen, StartingBlockIndex=497) == [498]
        call = region.direct.list_snapshot_blocks
        assert refused(call, SnapshotId=frozen, NextToken='junk') == 'ValidationException'

    def test_a_page_may_be_empty(self, region: Region, volume: Make, snapshot: Make) -> None:
        id = volume()
        region.ebs.disk(id).write(0, A)
        frozen = snapshot(id)
        region.ebs.cloud.empty_pages = 1
        page = region.direct.list_snapshot_blocks(SnapshotId=frozen)
        assert page['Blocks'] == []
        assert indexes(region, frozen, NextToken=page['NextToken']) == [0]

    def test_changed_blocks(self, region: Region, volume: Make, snapshot: Make) -> None:
        id = volume()
        region.ebs.disk(id).write(0, A + A)
        first = snapshot(id)
        region.ebs.disk(id).write(BLOCK, B + B)
        second = snapshot(id)
        listed = region.direct.list_changed_blocks(FirstSnapshotId=first, SecondSnapshotId=second)['ChangedBlocks']
        found = [(one['BlockIndex'], 'FirstBlockToken' in one, 'SecondBlockToken' in one) for one in listed]
        assert found == [(1, True, True), (2, False, True)]
        other = snapshot(volume())
        wanted = {'FirstSnapshotId': other, 'SecondSnapshotId': second}
        assert refused(region.direct.list_changed_blocks, **wanted) == 'ValidationException'


class TestWriting:
    @pytest.fixture
    def opened(self, region: Region) -> str:
        id = str(region.direct.start_snapshot(VolumeSize=1, ClientToken='once')['SnapshotId'])
        region.clock.sleep(1)
        return id

    def complete(self, region: Region, id: str, count: int) -> str:
        return str(region.direct.complete_snapshot(SnapshotId=id, ChangedBlocksCount=count)['Status'])

    def test_it_is_not_known_at_once(self, region: Region) -> None:
        id = region.direct.start_snapshot(VolumeSize=1)['SnapshotId']
        assert refused(put, region=region, id=id, index=0) == 'ResourceNotFoundException'
        region.clock.sleep(1)
        put(region, id, 0)

    def test_what_is_written_is_there(self, region: Region, opened: str) -> None:
        for index, data in ((2047, A), (0, A), (0, B)):
            put(region, opened, index, data)
        assert self.complete(region, opened, 2) == 'pending'
        region.clock.sleep(30)
        id = region.ec2.create_volume(AvailabilityZone=ZONES[0], SnapshotId=opened)['VolumeId']
        disk = region.ebs.disk(id)
        assert (disk.block(0), disk.block(2047), disk.written()) == (B, A, [0, 2047])

    def test_a_token_opens_one_snapshot(self, region: Region, opened: str) -> None:
        assert region.direct.start_snapshot(VolumeSize=1, ClientToken='once')['SnapshotId'] == opened

    @pytest.mark.parametrize(
        ('index', 'data', 'other'),
        [
            (2048, A, {}),
            (0, A[1:], {}),
            (0, A, {'DataLength': 512}),
            (0, A, {'Checksum': digest(B)}),
        ],
    )
    def test_what_is_no_block_of_it(self, region: Region, opened: str, index: int, data: bytes, other: Any) -> None:
        with pytest.raises(region.direct.exceptions.ValidationException):
            put(region, opened, index, data, **other)
        assert self.complete(region, opened, 0) == 'pending'

    def test_a_wrong_count_spoils_it(self, region: Region, opened: str) -> None:
        put(region, opened, 0)
        call = region.direct.complete_snapshot
        assert refused(call, SnapshotId=opened, ChangedBlocksCount=2) == 'ValidationException'
        region.clock.sleep(60)
        assert region.ec2.describe_snapshots(SnapshotIds=[opened])['Snapshots'][0]['State'] == 'error'

    def test_after_the_end_there_is_no_writing(self, region: Region, opened: str) -> None:
        self.complete(region, opened, 0)
        assert refused(put, region=region, id=opened, index=0) == 'ValidationException'

    def test_nobody_comes_back_to_it(self, region: Region, opened: str) -> None:
        region.clock.sleep(3600)
        assert refused(put, region=region, id=opened, index=0) == 'ValidationException'

    def test_it_cannot_be_read_before_the_end(self, region: Region, opened: str) -> None:
        assert refused(region.direct.list_snapshot_blocks, SnapshotId=opened) == 'ValidationException'

    def test_a_hundred_at_once(self, region: Region, opened: str) -> None:
        for _ in range(99):
            region.direct.start_snapshot(VolumeSize=1)
        assert refused(region.direct.start_snapshot, VolumeSize=1) == 'ConcurrentLimitExceededException'

    def test_a_child_has_its_parent_s_blocks(self, region: Region, opened: str) -> None:
        put(region, opened, 0)
        self.complete(region, opened, 1)
        region.clock.sleep(60)
        child = region.direct.start_snapshot(VolumeSize=1, ParentSnapshotId=opened)['SnapshotId']
        region.clock.sleep(1)
        put(region, child, 1, B)
        self.complete(region, child, 1)
        region.clock.sleep(60)
        assert indexes(region, child) == [0, 1]
