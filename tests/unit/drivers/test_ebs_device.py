"""Snapshots as devices: what is read, in how many calls, and what is refused."""

from __future__ import annotations

import pytest

from chalicelib.config import settings
from chalicelib.drivers import ebs_device
from chalicelib.drivers.base import GIB
from chalicelib.drivers.ebs_client import Api
from chalicelib.drivers.ebs_device import BLOCK, RestoreDevice, SnapshotDevice, count_blocks
from chalicelib.errors import DeviceError, DeviceUnreachable, InvalidRange
from local.ebs.cloud import Cut, Refused
from tests.ebs import ZONES, Region, region, served

__all__ = ['region', 'served']


#: Of objects of this deployment; others' may not be read (infra/roles.yaml).
OURS = [{'Key': 'cinder:deployment', 'Value': settings().table_prefix}]


def written(region: Region, *indexes: int) -> SnapshotDevice:
    """A completed snapshot of 1 GiB with these blocks, each full of its index."""
    id = region.ec2.create_volume(AvailabilityZone=ZONES[0], Size=1, VolumeType='gp3')['VolumeId']
    region.clock.sleep(5)
    for index in indexes:
        region.ebs.disk(id).put(index, index.to_bytes(4, 'big') * (BLOCK // 4))
    tags = [{'ResourceType': 'snapshot', 'Tags': OURS}]
    snapshot = region.ec2.create_snapshot(VolumeId=id, TagSpecifications=tags)['SnapshotId']
    region.clock.sleep(60)
    region.ebs.calls.clear()
    return SnapshotDevice(Api('aws', 'us-east-1'), snapshot, GIB)


def opened(region: Region) -> RestoreDevice:
    snapshot = region.direct.start_snapshot(VolumeSize=1, Tags=OURS)['SnapshotId']
    return RestoreDevice(Api('aws', 'us-east-1'), snapshot, GIB)


class TestReading:
    def test_any_sectors(self, region: Region) -> None:
        with written(region, 0, 1, 2047) as device:
            assert device.read(BLOCK - 512, 1024) == bytes(512) + (1).to_bytes(4, 'big') * 128
            assert device.read(GIB - 512, 512) == (2047).to_bytes(4, 'big') * 128
            assert device.read(5 * BLOCK, 2 * BLOCK) == bytes(2 * BLOCK)

    def test_holes_cost_no_call(self, region: Region) -> None:
        with written(region, 3) as device:
            ranges = [(index * BLOCK, BLOCK) for index in range(100)]
            found = [(offset, bytes(data[:4])) for offset, data in device.read_many(ranges)]
        assert found[3] == (3 * BLOCK, b'\0\0\0\3')
        assert [offset for offset, _ in found] == [offset for offset, _ in ranges]
        assert (region.ebs.calls.count('GetSnapshotBlock'), region.ebs.calls.count('ListSnapshotBlocks')) == (1, 1)

    def test_allocated_is_what_was_written(self, region: Region) -> None:
        with written(region, 0, 1, 5) as device:
            assert list(device.allocated(0, GIB)) == [(0, 2 * BLOCK), (5 * BLOCK, BLOCK)]
            assert list(device.allocated(512, BLOCK)) == [(512, BLOCK)]
            assert list(device.allocated(6 * BLOCK, BLOCK)) == []

    def test_many_pages_and_empty_ones(self, region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ebs_device, 'PAGE', 100)
        indexes = list(range(0, 1000, 2))
        region.ebs.cloud.empty_pages = 2
        with written(region, *indexes) as device:
            assert [offset // BLOCK for offset, _ in device.allocated(0, GIB)] == indexes
            assert len(device._tokens) <= 300
            assert device.read(0, 512) == bytes(512)

    def test_a_damaged_block_is_read_again(self, region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
        sums = iter(['wrong', 'wrong'])
        right = ebs_device.checksum
        monkeypatch.setattr(ebs_device, 'checksum', lambda data: next(sums, None) or right(data))
        with written(region, 1) as device:
            assert device.read(BLOCK, 512) == (1).to_bytes(4, 'big') * 128
        assert region.ebs.calls.count('GetSnapshotBlock') == 3

    def test_and_never_returned(self, region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ebs_device, 'checksum', lambda _: 'wrong')
        with written(region, 1) as device, pytest.raises(DeviceError, match='checksum'):
            device.read(BLOCK, 512)

    def test_throttling_and_lost_answers(self, region: Region) -> None:
        with written(region, 0, 1) as device:
            region.ebs.throttle('GetSnapshotBlock', 4)
            region.ebs.lose_answer('ListSnapshotBlocks', 2)
            assert device.read(BLOCK, 512)[:4] == b'\0\0\0\1'

    def test_an_api_that_is_gone(self, region: Region) -> None:
        with written(region, 0) as device:
            region.ebs.fail('GetSnapshotBlock', *[Cut()] * 100)
            with pytest.raises(DeviceUnreachable):
                device.read(0, 512)

    @pytest.mark.parametrize(('offset', 'length'), [(-512, 512), (1, 512), (0, 100), (GIB, 512), (GIB - 512, 1024)])
    def test_what_is_no_range_of_it(self, region: Region, offset: int, length: int) -> None:
        with written(region) as device, pytest.raises(InvalidRange):
            device.read(offset, length)

    def test_it_is_not_written(self, region: Region) -> None:
        with written(region) as device:
            for call in (lambda: device.write(0, bytes(512)), lambda: device.zero(0, 512)):
                with pytest.raises(DeviceError, match='reading only'):
                    call()


class TestWriting:
    def test_blocks_of_a_snapshot_that_is_not_known_yet(self, region: Region) -> None:
        with opened(region) as device:
            device.write_many([(0, memoryview(b'a' * 2 * BLOCK)), (GIB - BLOCK, memoryview(b'z' * BLOCK))])
            device.zero(8 * BLOCK, BLOCK)
            device.flush()
            assert list(device.allocated(0, GIB)) == []
        assert region.ebs.cloud.snapshots[device._snapshot_id].touched == {0, 1, 2047}

    @pytest.mark.parametrize(('offset', 'length'), [(512, BLOCK), (0, 512), (GIB, BLOCK)])
    def test_only_whole_blocks(self, region: Region, offset: int, length: int) -> None:
        with opened(region) as device, pytest.raises(InvalidRange):
            device.write(offset, bytes(length))

    def test_one_block_that_fails_fails_all(self, region: Region) -> None:
        region.clock.sleep(5)
        with opened(region) as device:
            region.clock.sleep(5)
            region.ebs.fail('PutSnapshotBlock', Refused('AccessDeniedException', 'no', 403))
            with pytest.raises(DeviceError, match='AccessDenied'):
                device.write(0, bytes(100 * BLOCK))

    def test_it_is_not_read(self, region: Region) -> None:
        with opened(region) as device, pytest.raises(DeviceError, match='writing only'):
            device.read(0, BLOCK)

    def test_a_snapshot_that_is_gone(self, region: Region) -> None:
        with opened(region) as device:
            region.ec2.delete_snapshot(SnapshotId=device._snapshot_id)
            with pytest.raises(DeviceError, match='does not exist'):
                device.write(0, bytes(BLOCK))


@pytest.mark.parametrize(
    ('extents', 'count'),
    [
        ([], 0),
        ([(0, 1)], 1),
        ([(0, BLOCK), (BLOCK, BLOCK)], 2),
        ([(0, 100), (200, 100), (BLOCK - 1, 2)], 2),
        ([(5 * BLOCK, 3 * BLOCK)], 3),
    ],
)
def test_blocks_that_extents_touch(extents: list[tuple[int, int]], count: int) -> None:
    assert count_blocks(extents) == count
