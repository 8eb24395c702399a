"""The workflows on EBS volumes beside another backend's: data is copied there and back, byte for byte."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.drivers.base import GIB
from chalicelib.models import Backup, Volume
from chalicelib.operations import backups, moves, reverts, volumes
from chalicelib.operations import snapshots as operations
from local.ebs.cloud import Refused
from tests import invariants
from tests.backup_factories import create_backup
from tests.data_backends import Data, Disk, DiskBackends
from tests.ebs import TIMES, ZONES, Region, driver, region, served
from tests.factories import context, create_snapshot, create_volume
from tests.fake_driver import Backend, Object
from tests.simulation import Simulation

__all__ = ['region', 'served']

HOST = 'cinderless@aws'

#: GiB: three shards, so three ranges.
SIZE = 9


class Mixed(DiskBackends):
    """Two backends in memory, and EBS."""

    keep = False

    def names(self) -> list[str]:
        return [*super().names(), HOST]

    def backend(self, host: str) -> Any:
        if host.startswith(HOST):
            return Backend(HOST, {}, availability_zone='aws')
        return super().backend(host)

    def driver(self, host: str) -> Any:
        ours = host.startswith(HOST)
        return driver(zones=[ZONES[0]], keep_backup_snapshots=self.keep) if ours else super().driver(host)


@pytest.fixture
def data(simulation: Simulation, region: Region, monkeypatch: pytest.MonkeyPatch) -> Data:
    from chalicelib.tasks import backends

    made = Data(simulation, monkeypatch)
    monkeypatch.setattr(backends, 'configured', lambda: Mixed(simulation.backends, made))
    simulation.report()
    return made


@pytest.fixture
def on_ebs(simulation: Simulation, data: Data) -> Volume:
    made = create_volume(context(), SIZE, availability_zone='aws')
    simulation.settle()
    assert made.reload().status == 'available'
    return made


@pytest.fixture
def on_disk(simulation: Simulation, data: Data) -> Volume:
    made = create_volume(context(), SIZE, availability_zone='nova')
    simulation.settle()
    data.of(made).fill(seed=1)
    return made


def fill(region: Region, volume: Volume, seed: int) -> None:
    """As an instance writes."""
    disk = region.ebs.disk(str(volume.reload().provider_id))
    for tile, content in Disk(SIZE * GIB).fill(seed).tiles.items():
        disk.write(tile * len(content), content)


def contents(region: Region, volume: Volume) -> dict[int, bytes]:
    """Blocks that are not zero."""
    disk = region.ebs.disk(str(volume.reload().provider_id))
    found = {index: disk.block(index) or b'' for index in disk.written()}
    return {index: block for index, block in found.items() if block.strip(b'\0')}


def of_disk(disk: Disk) -> dict[int, bytes]:
    """The same of a disk in memory."""
    size = 512 * 1024
    indexes = sorted({tile * 64 * 1024 // size for tile in disk.tiles})
    found = {index: disk.read(index * size, size) for index in indexes}
    return {index: block for index, block in found.items() if block.strip(b'\0')}


def backed_up(simulation: Simulation, volume: Volume, **facts: Any) -> Backup:
    backup = create_backup(context(), volume, **facts)
    simulation.settle()
    assert backup.reload().status == 'available', backup.fail_reason
    return backup


def restore(simulation: Simulation, backup: Backup, volume: Volume) -> None:
    backups.restore(context(), backup.id, volume_id=volume.id, name=None)
    simulation.settle()


def check(simulation: Simulation, region: Region) -> None:
    """Records and EBS agree: each volume and snapshot is there once, and nothing else is."""
    region.clock.sleep(30)
    simulation.backends[HOST] = mirrored(region)
    invariants.check(simulation)
    del simulation.backends[HOST]
    assert not [one for one in region.ebs.cloud.snapshots.values() if 'cinder:for' in one.tags.now]


def mirrored(region: Region) -> Backend:
    """EBS as a backend in memory, so that it can be held against the records."""
    cloud = region.ebs.cloud
    cloud.settle()
    volumes = {one.tags.now['cinder:name']: Object(one.zone, one.facts['Size']) for one in cloud.volumes.values()}
    snapshots = {one.tags.now['cinder:name']: Object(ZONES[0], one.size) for one in cloud.snapshots.values()}
    assert len(volumes) == len(cloud.volumes)
    return Backend(HOST, {ZONES[0]: 1000}, objects={**volumes, **snapshots})


def test_from_disk_to_ebs_and_back(
    simulation: Simulation, data: Data, region: Region, on_disk: Volume, on_ebs: Volume
) -> None:
    original = of_disk(data.of(on_disk))
    fill(region, on_ebs, seed=7)
    before = on_ebs.reload().provider_id
    restore(simulation, backed_up(simulation, on_disk), on_ebs)
    on_ebs = on_ebs.reload()
    assert (on_ebs.status, on_ebs.provider_id == before) == ('available', False)
    assert contents(region, on_ebs) == original
    data.of(on_disk).fill(seed=9)
    restore(simulation, backed_up(simulation, on_ebs), on_disk)
    assert of_disk(data.of(on_disk)) == original
    assert region.ebs.cloud.snapshots == {}
    check(simulation, region)


def test_increments_of_ebs(simulation: Simulation, data: Data, region: Region, on_ebs: Volume, on_disk: Volume) -> None:
    fill(region, on_ebs, seed=1)
    backed_up(simulation, on_ebs)
    fill(region, on_ebs, seed=2)
    expected = contents(region, on_ebs)
    child = backed_up(simulation, on_ebs, incremental=True)
    assert child.reload().parent_id
    restore(simulation, child, on_disk)
    assert of_disk(data.of(on_disk)) == expected
    check(simulation, region)


def test_increments_of_ebs_read_what_has_changed(
    simulation: Simulation, data: Data, region: Region, on_ebs: Volume, on_disk: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last backup's snapshot is kept for that, and deleted with the last one of its volume, or of its backups."""
    monkeypatch.setattr(Mixed, 'keep', True)
    fill(region, on_ebs, seed=1)
    backed_up(simulation, on_ebs)
    [kept] = region.ebs.cloud.snapshots.values()
    region.ebs.disk(str(on_ebs.reload().provider_id)).write(5 * GIB, b'changed!')
    expected = contents(region, on_ebs)
    region.ebs.calls.clear()
    child = backed_up(simulation, on_ebs, incremental=True)
    assert (region.ebs.calls.count('GetSnapshotBlock'), region.ebs.calls.count('ListChangedBlocks')) == (1, 3)
    assert kept.id not in region.ebs.cloud.snapshots
    assert len(region.ebs.cloud.snapshots) == 1
    restore(simulation, child, on_disk)
    assert of_disk(data.of(on_disk)) == expected
    backups.delete(context(), child.id)
    simulation.settle()
    check(simulation, region)


def test_increments_of_users_snapshots(simulation: Simulation, data: Data, region: Region, on_ebs: Volume) -> None:
    """While the parent's snapshot is there; without it all is read, and the data are as right."""
    made, snapshots = [], []
    for seed in (1, 2, 3):
        fill(region, on_ebs, seed)
        snapshots.append(create_snapshot(context(), on_ebs))
        simulation.settle()
        if seed == 3:
            operations.delete(context(), snapshots[1].id)
            simulation.settle()
        region.ebs.calls.clear()
        made.append(backed_up(simulation, on_ebs, snapshot_id=snapshots[-1].id, incremental=seed > 1))
        assert region.ebs.calls.count('ListChangedBlocks') == (3 if seed == 2 else 0)
    expected = contents(region, on_ebs)
    restore(simulation, made[-1], on_ebs)
    assert contents(region, on_ebs) == expected
    check(simulation, region)


def test_a_snapshot_that_takes_hours(simulation: Simulation, data: Data, region: Region, on_ebs: Volume) -> None:
    """The copy waits for it, a worker's time after the other."""
    fill(region, on_ebs, seed=1)
    region.ebs.cloud.timing = dataclasses.replace(TIMES, snapshot=7200)
    backup = create_backup(context(), on_ebs)
    [execution] = simulation.settle()
    assert backup.reload().status == 'available'
    assert execution.path.count('CopyRange') > 8
    check(simulation, region)


@pytest.mark.parametrize('operation', ['StartSnapshot', 'PutSnapshotBlock', 'CompleteSnapshot', 'CreateVolume'])
def test_a_restore_that_fails_leaves_the_old_data(
    simulation: Simulation,
    data: Data,
    region: Region,
    on_disk: Volume,
    on_ebs: Volume,
    operation: str,
) -> None:
    fill(region, on_ebs, seed=7)
    before = contents(region, on_ebs)
    backup = backed_up(simulation, on_disk)
    region.ebs.fail(operation, *[Refused('AccessDeniedException', 'no')] * 100)
    restore(simulation, backup, on_ebs)
    status = 'available' if operation in ('StartSnapshot', 'PutSnapshotBlock') else 'error_restoring'
    assert (on_ebs.reload().status, backup.reload().status) == (status, 'available')
    region.ebs._before.clear()
    assert contents(region, on_ebs) == before
    check(simulation, region)
    volumes.delete(context(), on_ebs.id)
    simulation.settle()
    check(simulation, region)


@pytest.mark.parametrize(
    'operation', ['StartSnapshot', 'PutSnapshotBlock', 'CompleteSnapshot', 'CreateVolume', 'DeleteVolume']
)
def test_lost_answers_and_throttling(
    simulation: Simulation,
    data: Data,
    region: Region,
    on_disk: Volume,
    on_ebs: Volume,
    operation: str,
) -> None:
    original = of_disk(data.of(on_disk))
    backup = backed_up(simulation, on_disk)
    region.ebs.lose_answer(operation, 2)
    region.ebs.throttle(operation, 3)
    restore(simulation, backup, on_ebs)
    assert contents(region, on_ebs) == original
    check(simulation, region)


def test_revert(simulation: Simulation, data: Data, region: Region, on_ebs: Volume) -> None:
    fill(region, on_ebs, seed=1)
    snapshot = create_snapshot(context(), on_ebs)
    simulation.settle()
    frozen = contents(region, on_ebs)
    fill(region, on_ebs, seed=2)
    before = on_ebs.reload().provider_id
    reverts.revert(context(), on_ebs.id, snapshot.id)
    simulation.settle()
    on_ebs = on_ebs.reload()
    assert (on_ebs.status, on_ebs.provider_id == before) == ('available', False)
    assert contents(region, on_ebs) == frozen
    check(simulation, region)


def test_a_fifth_extension_in_a_day_changes_nothing(
    simulation: Simulation, data: Data, region: Region, on_ebs: Volume
) -> None:
    for size in range(SIZE + 1, SIZE + 6):
        volumes.extend(context(), on_ebs.id, size)
        simulation.settle()
        region.clock.sleep(3600)
    on_ebs = on_ebs.reload()
    assert (on_ebs.status, on_ebs.size) == ('available', SIZE + 4)
    check(simulation, region)


def test_a_clone_and_a_volume_of_a_snapshot(simulation: Simulation, data: Data, region: Region, on_ebs: Volume) -> None:
    fill(region, on_ebs, seed=1)
    snapshot = create_snapshot(context(), on_ebs)
    simulation.settle()
    made = [
        create_volume(context(), SIZE, source_volid=on_ebs.id),
        create_volume(context(), SIZE + 1, snapshot_id=snapshot.id),
    ]
    simulation.settle()
    assert [contents(region, one) for one in made] == [contents(region, on_ebs)] * 2
    with pytest.raises(errors.InvalidVolume):
        volumes.delete(context(), on_ebs.id)
    for one in made:
        volumes.delete(context(), one.id)
    simulation.settle()
    check(simulation, region)


def move(simulation: Simulation, volume: Volume, host: str) -> Volume:
    moves.migrate(context('admin'), volume.id, host=host, cluster=None, force_host_copy=False, lock_volume=False)
    simulation.settle()
    moved = volume.reload()
    assert (moved.status, moved.host, moved.migration_status) == ('available', host, 'success')
    return moved


def test_a_volume_moves_to_ebs_and_back(simulation: Simulation, data: Data, region: Region, on_disk: Volume) -> None:
    """Its extents are of 64 KiB, and EBS takes blocks of 512."""
    original, home = of_disk(data.of(on_disk)), str(on_disk.reload().host)
    moved = move(simulation, on_disk, f'{HOST}#{ZONES[0]}')
    assert contents(region, moved) == original
    moved = move(simulation, moved, home)
    [disk] = [disk for disks in data.disks.values() for disk in disks.values()]
    assert of_disk(disk) == original
    region.clock.sleep(60)
    region.ebs.cloud.settle()
    assert (region.ebs.cloud.volumes, region.ebs.cloud.snapshots) == ({}, {})
