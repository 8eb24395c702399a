"""Real bytes: QEMU writes over iSCSI, backups carry them through S3, restores bring them back, strangers stay out."""

from __future__ import annotations

import random
import uuid
from pathlib import Path
from typing import Any

import pytest

from local.hypervisor import Hypervisor
from tests.system.clients import User, demo, until
from tests.system.cloud import Cloud

__all__ = ['demo']

MIB = 1 << 20


@pytest.fixture
def host() -> Hypervisor:
    return hypervisor('compute-1')


def hypervisor(name: str) -> Hypervisor:
    return Hypervisor(name, f'iqn.2004-10.com.example:{uuid.uuid4().hex[:12]}')


class Attached:
    """A volume attached to a host, from connect to disconnect."""

    def __init__(self, user: User, volume: Any, host: Hypervisor, mode: str = 'rw') -> None:
        self.user, self.volume, self.host, self.mode = user, volume, host, mode

    def __enter__(self) -> dict[str, Any]:
        attachments = self.user.cinder.attachments
        self.made = attachments.create(self.volume.id, self.host.connector, str(uuid.uuid4()), self.mode)
        attachments.complete(self.made['id'])
        info: dict[str, Any] = self.made['connection_info']
        return info

    def __exit__(self, *_: object) -> None:
        self.user.cinder.attachments.delete(self.made['id'])


def image(path: Path, seed: int, tiles: int = 12) -> Path:
    """A raw image of 1 GiB with some MiB of random data, one of them at each end."""
    draw = random.Random(seed)
    with path.open('wb') as file:
        file.truncate(1024 * MIB)
        for place in [0, 1023, *draw.sample(range(1, 1023), tiles)]:
            file.seek(place * MIB)
            file.write(draw.randbytes(MIB))
    return path


@pytest.fixture
def images(tmp_path: Path) -> tuple[Path, Path]:
    """Two different ones."""
    return image(tmp_path / 'first.raw', 1), image(tmp_path / 'second.raw', 2)


def test_written_backed_up_and_restored(demo: User, host: Hypervisor, images: tuple[Path, Path]) -> None:
    """A full backup of an attached volume, an incremental one, and each of them brought back elsewhere and in place."""
    first, second = images
    volume = demo.volume()
    with Attached(demo, volume, host) as info:
        host.write_image(first, info)
        full = demo.cinder.backups.create(volume.id, force=True)
        until(lambda: demo.cinder.volumes.get(volume.id).status == 'in-use')
        host.write_image(second, info)
        demo.wait(demo.cinder.backups, full.id)
        child = demo.wait(demo.cinder.backups, demo.cinder.backups.create(volume.id, force=True, incremental=True).id)
        host.io(info, 'write -P 0x5a 0 8M')
    new = demo.wait(demo.cinder.volumes, demo.cinder.restores.restore(full.id).volume_id)
    with Attached(demo, new, host, 'ro') as info:
        assert host.compare(first, info)
    demo.cinder.restores.restore(child.id, volume.id)
    demo.wait(demo.cinder.volumes, volume.id)
    with Attached(demo, volume, host) as info:
        assert host.compare(second, info)


def method(user: User, backup: Any) -> str:
    _, body = user.cinder.client.get(f'/backups/{backup.id}?method=1')
    return str(body['backup']['cinderless:method'])


def test_an_increment_reads_what_changed(demo: User, host: Hypervisor, images: tuple[Path, Path]) -> None:
    """Writes, discards and an extension in between; then a restore of the last backup, in place."""
    first, second = images
    volume = demo.volume()
    with Attached(demo, volume, host) as info:
        host.write_image(first, info)
    full = demo.wait(demo.cinder.backups, demo.cinder.backups.create(volume.id).id)
    with Attached(demo, volume, host) as info:
        host.write_image(second, info)
        host.io(info, 'discard 4M 8M')
        host.io(info, 'write -P 0x5a 5M 64k')
        demo.cinder.volumes.extend(volume.id, 2)
        until(lambda: demo.cinder.volumes.get(volume.id).size == 2)
        host.io(info, 'write -P 0x5b 1500M 64k')
        child = demo.cinder.backups.create(volume.id, force=True, incremental=True)
        child = demo.wait(demo.cinder.backups, child.id)
        host.io(info, 'write -P 0x66 0 100M')
        host.io(info, 'write -P 0x66 1499M 8M')
    assert [method(demo, one) for one in (full, child)] == ['full', 'changed_blocks']
    new = demo.wait(demo.cinder.volumes, demo.cinder.restores.restore(child.id).volume_id)
    demo.cinder.restores.restore(child.id, volume.id)
    demo.wait(demo.cinder.volumes, volume.id)
    for one in (new, volume):
        with Attached(demo, one, host) as info:
            host.io(info, 'read -P 0 4M 1M')
            host.io(info, 'read -P 0x5a 5M 64k')
            host.io(info, 'read -P 0x5b 1500M 64k')
            host.io(info, 'read -P 0 1501M 8M')
    again = demo.wait(demo.cinder.backups, demo.cinder.backups.create(volume.id, incremental=True).id)
    assert method(demo, again) == 'changed_blocks'


def test_snapshots_and_clones_hold_what_was_there(demo: User, host: Hypervisor, images: tuple[Path, Path]) -> None:
    first, second = images
    volume = demo.volume()
    with Attached(demo, volume, host) as info:
        host.write_image(first, info)
        snapshot = demo.cinder.volume_snapshots.create(volume.id, force=True)
        demo.wait(demo.cinder.volume_snapshots, snapshot.id)
        host.write_image(second, info)
    made = demo.volume(2, snapshot_id=snapshot.id)
    with Attached(demo, made, host) as info:
        host.io(info, 'read -P 0 1G 1G')
        assert host.compare(first, info)
    backup = demo.cinder.backups.create(volume.id, snapshot_id=snapshot.id)
    demo.wait(demo.cinder.backups, backup.id)
    demo.cinder.restores.restore(backup.id, volume.id)
    demo.wait(demo.cinder.volumes, volume.id)
    with Attached(demo, volume, host) as info:
        assert host.compare(first, info)


def test_an_attached_volume_grows_under_its_host(demo: User, host: Hypervisor) -> None:
    volume = demo.volume()
    with Attached(demo, volume, host) as info:
        host.io(info, 'write -P 0xab 1023M 1M')
        demo.cinder.volumes.extend(volume.id, 2)
        until(lambda: demo.cinder.volumes.get(volume.id).size == 2)
        host.io(info, 'read -P 0xab 1023M 1M', 'write -P 0xcd 2047M 1M')
    with Attached(demo, volume, host) as info:
        host.io(info, 'read -P 0xab 1023M 1M', 'read -P 0 1G 1023M', 'read -P 0xcd 2047M 1M')


def test_a_foreign_initiator_is_refused(demo: User, host: Hypervisor) -> None:
    """It has the address, the name of the target, and even the CHAP account."""
    volume = demo.volume()
    with Attached(demo, volume, host) as info:
        host.io(info, 'read 0 512')
        with pytest.raises(RuntimeError, match='qemu-io failed'):
            hypervisor('stranger').io(info, 'read 0 512')
        with pytest.raises(RuntimeError, match='qemu-io failed'):
            host.io({**info, 'auth_password': 'guessed-at-random'}, 'read 0 512')
        host.io(info, 'read 0 512')


def test_a_host_that_was_detached_is_out(demo: User, host: Hypervisor) -> None:
    volume = demo.volume()
    with Attached(demo, volume, host) as info:
        host.io(info, 'write -P 1 0 4k')
    with pytest.raises(RuntimeError, match='qemu-io failed'):
        host.io(info, 'read 0 512')
    with Attached(demo, volume, hypervisor('compute-2')) as other, pytest.raises(RuntimeError, match='qemu-io failed'):
        host.io({**other, **{key: info[key] for key in ('auth_username', 'auth_password')}}, 'read 0 512')


def test_read_only_is_kept_by_the_target(demo: User, host: Hypervisor) -> None:
    volume = demo.volume()
    with Attached(demo, volume, host, 'ro') as info:
        assert info['access_mode'] == 'ro'
        host.io(info, 'read 0 512', read_only=True)
        with pytest.raises(RuntimeError, match='qemu-io failed'):
            host.io(info, 'write 0 512')


def test_a_damaged_byte_in_s3_fails_the_restore(cloud: Cloud, demo: User, host: Hypervisor) -> None:
    """The restored volume is in error, with a message; the backup stays available."""
    volume = demo.volume()
    with Attached(demo, volume, host) as info:
        host.io(info, 'write -P 0x77 0 4M')
    backup = demo.wait(demo.cinder.backups, demo.cinder.backups.create(volume.id).id)
    s3, bucket = cloud.client('s3'), cloud.ready['bucket']
    pages = s3.get_paginator('list_objects_v2').paginate(Bucket=bucket)
    keys = [item['Key'] for page in pages for item in page.get('Contents', ())]
    [pack] = [key for key in keys if '/packs/' in key and volume.id in key]
    data = bytearray(s3.get_object(Bucket=bucket, Key=pack)['Body'].read())
    data[-1] ^= 1
    s3.put_object(Bucket=bucket, Key=pack, Body=bytes(data))
    with Attached(demo, volume, host) as info:
        host.io(info, 'write -P 0x11 0 4M')  # a restore reads what differs from the backup
    demo.cinder.restores.restore(backup.id, volume.id)
    demo.wait(demo.cinder.volumes, volume.id, 'error_restoring')
    [message] = demo.messages(volume.id)
    assert 'is damaged' in message
    assert until(lambda: demo.cinder.backups.get(backup.id).status == 'available')
    restored = demo.cinder.restores.restore(backup.id)
    demo.wait(demo.cinder.volumes, restored.volume_id, 'error')


def test_nothing_temporary_is_left_on_the_appliance(cloud: Cloud, demo: User, host: Hypervisor) -> None:
    """After the records are deleted, the appliance has no volume or snapshot of them."""
    volume = demo.volume()
    with Attached(demo, volume, host) as info:
        host.io(info, 'write -P 3 0 1M')
        backup = demo.cinder.backups.create(volume.id, force=True)
        demo.wait(demo.cinder.backups, backup.id)
    demo.wait(demo.cinder.volumes, demo.cinder.restores.restore(backup.id).volume_id)
    demo.tidy()
    assert [name for name in objects(cloud) if name.startswith(('volume-', 'snapshot-'))] == []


def objects(cloud: Cloud) -> list[str]:
    """Names of all files in the appliance's store: it is mounted where only the agent sees it."""
    server = cloud.process.pid
    agents = Path(f'/proc/{server}/task/{server}/children').read_text().split()
    stores = [Path(f'/proc/{agent}/root{cloud.state_dir}/appliance/mount') for agent in agents]
    found = [path.name for store in stores for path in store.rglob('*')]
    assert found, 'no store was found'
    return found
