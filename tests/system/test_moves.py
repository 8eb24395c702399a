"""Real bytes on the move: QEMU's data is intact after a migration, a retype, a revert, and an unmanage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from local.hypervisor import Hypervisor
from tests.system.clients import User, admin, demo, unique, until
from tests.system.test_data import Attached, hypervisor, image

__all__ = ['admin', 'demo']


@pytest.fixture
def host() -> Hypervisor:
    return hypervisor('compute-1')


@pytest.fixture
def written(demo: User, host: Hypervisor, tmp_path: Path) -> tuple[Any, Path]:
    """A volume that holds an image, and the image."""
    first, volume = image(tmp_path / 'first.raw', 1), demo.volume()
    with Attached(demo, volume, host) as info:
        host.write_image(first, info)
    return demo.wait(demo.cinder.volumes, volume.id), first


def place(admin: User, volume: Any) -> str:
    return str(getattr(admin.cinder.volumes.get(volume.id), 'os-vol-host-attr:host'))


def elsewhere(admin: User, volume: Any) -> str:
    """Another pool in the volume's zone."""
    here, services = place(admin, volume), admin.cinder.services.list()
    near = {one.host for one in services if one.zone == volume.availability_zone}
    names = [pool.name for pool in admin.cinder.pools.list(detailed=False)]
    return next(name for name in names if name != here and name.partition('#')[0] in near)


def holds(demo: User, host: Hypervisor, volume: Any, expected: Path) -> bool:
    with Attached(demo, volume, host) as info:
        same: bool = host.compare(expected, info)
    until(lambda: demo.cinder.volumes.get(volume.id).status == 'available')
    return same


def test_a_migrated_volume(demo: User, admin: User, host: Hypervisor, written: tuple[Any, Path]) -> None:
    volume, expected = written
    target = elsewhere(admin, volume)
    admin.cinder.volumes.migrate_volume(volume.id, target, True, True)
    until(lambda: admin.cinder.volumes.get(volume.id).migration_status in ('success', 'error'))
    assert place(admin, volume) == target, demo.messages(volume.id)
    assert holds(demo, host, volume, expected)


def test_a_retyped_volume(demo: User, admin: User, host: Hypervisor, written: tuple[Any, Path]) -> None:
    volume, expected = written
    target = elsewhere(admin, volume)
    kind = admin.cinder.volume_types.create(unique('type'))
    kind.set_keys({'pool_name': target.partition('#')[2]})
    demo.cinder.volumes.retype(volume.id, kind.name, 'on-demand')
    until(lambda: demo.cinder.volumes.get(volume.id).status == 'available')
    shown = demo.cinder.volumes.get(volume.id)
    assert (shown.volume_type, place(admin, volume)) == (kind.name, target), demo.messages(volume.id)
    assert holds(demo, host, volume, expected)


def test_a_reverted_volume(demo: User, host: Hypervisor, written: tuple[Any, Path], tmp_path: Path) -> None:
    volume, expected = written
    snapshot = demo.cinder.volume_snapshots.create(volume.id)
    demo.wait(demo.cinder.volume_snapshots, snapshot.id)
    with Attached(demo, volume, host) as info:
        host.write_image(image(tmp_path / 'second.raw', 2), info)
    demo.wait(demo.cinder.volumes, volume.id)
    demo.cinder.volumes.revert_to_snapshot(volume, snapshot)
    demo.wait(demo.cinder.volumes, volume.id)
    assert demo.cinder.volume_snapshots.get(snapshot.id).status == 'available'
    assert holds(demo, host, volume, expected)


def test_a_volume_that_leaves_and_comes_back(
    demo: User, admin: User, host: Hypervisor, written: tuple[Any, Path]
) -> None:
    volume, expected = written
    pool = place(admin, volume)
    admin.cinder.volumes.unmanage(volume.id)
    until(lambda: volume.id not in {one.id for one in demo.cinder.volumes.list()})
    name = f'unmanaged-volume-{volume.id}'
    listed = {one.reference['source-name']: one for one in admin.cinder.volumes.list_manageable(pool)}
    assert (listed[name].size, listed[name].safe_to_manage) == (1, True)
    managed = admin.cinder.volumes.manage(pool, {'source-name': name}, name='back')
    back = admin.wait(admin.cinder.volumes, managed.id)
    assert back.size == 1
    assert holds(admin, host, back, expected)
    admin.cinder.volumes.delete(back.id)
    until(lambda: back.id not in {one.id for one in admin.cinder.volumes.list()})
