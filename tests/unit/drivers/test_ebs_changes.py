"""What changed between two snapshots: listed by EBS where it can be, and never guessed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import pytest

from chalicelib import errors
from chalicelib.device import Changes
from chalicelib.drivers import ebs_changes
from chalicelib.drivers.base import GIB, SnapshotRef, VolumeRef
from chalicelib.drivers.ebs_device import BLOCK
from local.ebs.cloud import Cut, Refused
from tests.ebs import EbsBackend, Region, backend, driver, region, served

__all__ = ['backend', 'region', 'served']


def frozen(backend: EbsBackend, region: Region, volume: VolumeRef) -> SnapshotRef:
    snapshot = backend.snapshot(volume)
    region.clock.sleep(60)
    return snapshot


def indexes(extents: Iterable[tuple[int, int]] | None) -> list[int]:
    assert extents is not None
    return [offset // BLOCK + number for offset, length in extents for number in range(length // BLOCK)]


def known(changes: Changes | None) -> Changes:
    assert changes is not None
    return changes


@pytest.fixture
def two(backend: EbsBackend, region: Region) -> tuple[SnapshotRef, SnapshotRef]:
    """A volume's snapshots before and after blocks 1, 2 and 2047 were written; 0 was before."""
    volume = backend.volume(data=b'a' * BLOCK)
    first = frozen(backend, region, volume)
    for index in (1, 2, 2047):
        backend.write(volume, index * BLOCK, b'b' * BLOCK)
    return first, frozen(backend, region, volume)


def test_the_blocks_that_differ(backend: EbsBackend, two: tuple[SnapshotRef, SnapshotRef]) -> None:
    changes = known(backend.driver.changes_since(two[1], two[0]))
    assert indexes(changes(0, GIB)) == [1, 2, 2047]
    assert indexes(changes(2 * BLOCK, 100 * BLOCK)) == [2]
    assert changes(3 * BLOCK, 100 * BLOCK) == []


def test_many_pages_and_empty_ones(backend: EbsBackend, region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ebs_changes, 'PAGE', 100)
    volume = backend.volume()
    first = frozen(backend, region, volume)
    written = list(range(0, 1000, 2))
    for index in written:
        backend.write(volume, index * BLOCK, b'b' * 512)
    changes = known(backend.driver.changes_since(frozen(backend, region, volume), first))
    region.ebs.cloud.empty_pages = 2
    assert indexes(changes(0, GIB)) == written
    region.ebs.calls.clear()
    assert indexes(changes(0, 50 * BLOCK)) == written[:25]
    assert region.ebs.calls == ['ListChangedBlocks']


def test_what_cannot_be_compared_is_not_known(backend: EbsBackend, region: Region) -> None:
    """A snapshot that is gone, the wrong way round, of another volume, of one that was replaced or has grown."""
    ours = backend.driver
    volume, other = backend.volume(), backend.volume()
    first, foreign = frozen(backend, region, volume), frozen(backend, region, other)
    second = frozen(backend, region, volume)
    assert ours.changes_since(first, second) is None
    assert ours.changes_since(second, foreign) is None
    assert ours.changes_since(second, backend.snapshot_ref(volume)) is None
    ours.extend_volume(volume, 2)
    assert ours.changes_since(frozen(backend, region, volume), second) is None
    ours.revert_to_snapshot(volume, second)
    assert ours.changes_since(frozen(backend, region, volume), second) is None


def test_one_that_goes_meanwhile_is_not_known_any_more(
    backend: EbsBackend, two: tuple[SnapshotRef, SnapshotRef]
) -> None:
    changes = known(backend.driver.changes_since(two[1], two[0]))
    backend.driver.delete_snapshot(two[0])
    assert changes(0, GIB) is None


def test_ebs_that_does_not_compare_them(
    backend: EbsBackend, region: Region, two: tuple[SnapshotRef, SnapshotRef]
) -> None:
    changes = known(backend.driver.changes_since(two[1], two[0]))
    region.ebs.fail('ListChangedBlocks', Refused('ValidationException', 'unrelated', Reason='UNRELATED_SNAPSHOTS'))
    assert changes(0, GIB) is None


def test_other_failures_are_told(backend: EbsBackend, region: Region, two: tuple[SnapshotRef, SnapshotRef]) -> None:
    changes = known(backend.driver.changes_since(two[1], two[0]))
    region.ebs.throttle('ListChangedBlocks', 3)
    region.ebs.lose_answer('ListChangedBlocks', 2)
    assert indexes(changes(0, GIB)) == [1, 2, 2047]
    region.ebs.fail('ListChangedBlocks', Refused('AccessDeniedException', 'no', 403))
    with pytest.raises(errors.DeviceError, match='AccessDenied'):
        changes(0, GIB)
    region.ebs.fail('ListChangedBlocks', *[Cut()] * 100)
    with pytest.raises(errors.DeviceUnreachable):
        changes(0, GIB)


class TestKeeping:
    @pytest.fixture
    def backend(self, backend: EbsBackend) -> EbsBackend:
        backend.driver = driver(keep_backup_snapshots=True)
        return backend

    def names(self, region: Region) -> list[str]:
        return sorted(one.tags.now['cinder:name'] for one in region.ebs.cloud.snapshots.values())

    def test_the_last_one_stays_and_is_no_users(self, backend: EbsBackend, region: Region) -> None:
        volume = backend.volume()
        first, second = frozen(backend, region, volume), frozen(backend, region, volume)
        users = frozen(backend, region, volume)
        for one in (first, first, second, second):
            backend.driver.retire_snapshot(one)
            region.clock.sleep(5)
        assert self.names(region) == sorted([second.name, users.name])
        assert backend.driver.list_objects() == sorted([volume.name, users.name])
        assert backend.driver.changes_since(users, second) is not None
        [found] = backend.driver.get_manageable_snapshots(volume.pool)
        assert found.size == 1

    def test_it_goes_when_its_backup_goes(self, backend: EbsBackend, region: Region) -> None:
        kept = frozen(backend, region, backend.volume())
        backend.driver.retire_snapshot(kept)
        for _ in range(2):
            backend.driver.delete_snapshot(kept)
        backend.driver.retire_snapshot(kept)
        assert self.names(region) == []

    def test_it_goes_with_its_volume(self, backend: EbsBackend, region: Region) -> None:
        """Also when the option was taken back, and when the volume is only unmanaged."""
        for leave in (backend.driver.delete_volume, driver().delete_volume, backend.driver.unmanage):
            volume = backend.volume_ref()
            volume = dataclasses.replace(volume, **backend.driver.create_volume(volume))
            backend.driver.retire_snapshot(frozen(backend, region, volume))
            region.clock.sleep(5)
            assert len(self.names(region)) == 1
            leave(volume)
            region.clock.sleep(5)
            assert self.names(region) == []


def test_without_the_option_nothing_stays(backend: EbsBackend, region: Region) -> None:
    backend.driver.retire_snapshot(frozen(backend, region, backend.volume()))
    assert region.ebs.cloud.snapshots == {}
