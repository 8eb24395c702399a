"""A full disk: nothing new begins, and deletions and log-ins free space again. The disk is a file system of its own."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from cinderclient import exceptions

from local import launch, reserve
from local.hypervisor import Hypervisor
from tests.system.clients import User, until
from tests.system.cloud import Cloud, start
from tests.system.test_crash import Disk, run
from tests.system.test_data import Attached

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path)
    yield made
    made.remove()


def free(disk: Disk) -> int:
    found = os.statvfs(disk.mounted)
    return found.f_bavail * found.f_frsize


def fill(disk: Disk, leave: int) -> None:
    """Leave this many bytes."""
    filler = disk.mounted / f'filler-{uuid.uuid4().hex}'
    run('fallocate', '-l', str(free(disk) - leave), str(filler))


def written(user: User, host: Hypervisor) -> Any:
    """A volume with 96 MiB of data that does not compress."""
    volume = user.volume()
    with Attached(user, volume, host) as info:
        host.io(info, *(f'write -P {number} {number}M 1M' for number in range(1, 97)))
    return volume


def revoke(user: User, cloud: Cloud) -> None:
    session = user.sdk.session
    token = session.get_token()
    answer = session.delete(
        f'{cloud.ready["identity"]}/auth/tokens', headers={'X-Subject-Token': token}, raise_exc=False
    )
    assert answer.status_code == 204, answer.text
    answer = requests.get(
        f'{cloud.ready["volume"]}/{user.project}/volumes', headers={'X-Auth-Token': token}, timeout=30
    )
    assert answer.status_code == 401


def test_deletions_and_log_ins_work_and_free_the_disk(disk: Disk) -> None:
    host = Hypervisor('compute-1', f'iqn.2004-10.com.example:{uuid.uuid4().hex[:12]}')
    with start(disk.mounted, **launch.free_ports(), BACKUP_GRACE='1') as cloud:
        user = User(cloud, 'demo')
        volumes = [written(user, host) for _ in range(2)]
        backup = user.wait(user.cinder.backups, user.cinder.backups.create(volumes[0].id).id)
        until(lambda: (cloud.state_dir / reserve.NAME).exists() or user.cinder.volumes.set_metadata(volumes[0], {}))
        fill(disk, leave=20 * MIB)
        for refused in (
            lambda: user.cinder.volumes.create(1),
            lambda: user.cinder.backups.create(volumes[0].id),
            lambda: user.cinder.volumes.extend(volumes[0], 2),
        ):
            with pytest.raises(exceptions.ClientException, match='disk of the local cloud is full') as error:
                refused()
            assert error.value.code == 507
        fill(disk, leave=1 * MIB)
        User(cloud, 'demo').cinder.volumes.list()
        fill(disk, leave=2 * MIB)  # also what the file in the state folder kept
        assert not (cloud.state_dir / reserve.NAME).exists()
        user = User(cloud, 'demo')
        revoke(user, cloud)
        user = User(cloud, 'demo')
        assert {one.id for one in user.cinder.volumes.list()} == {one.id for one in volumes}
        user.cinder.backups.delete(backup.id)
        until(lambda: not user.cinder.backups.list())
        for volume in volumes:
            user.cinder.volumes.delete(volume.id)
        until(lambda: not user.cinder.volumes.list())
        until(lambda: free(disk) > reserve.RESERVE)
        user.wait(user.cinder.volumes, user.cinder.volumes.create(1).id)
        user.tidy()


def test_hosts_that_write_more_than_the_disk_has_lose_nothing_that_was_flushed(disk: Disk) -> None:
    """Volumes are claims: their sum may exceed the disk. A flush fails; earlier ones, and the service, remain."""
    hosts = [Hypervisor('compute-1', f'iqn.2004-10.com.example:{uuid.uuid4().hex[:12]}') for _ in range(2)]
    ports = launch.free_ports()
    with start(disk.mounted, **ports) as cloud:
        user = User(cloud, 'demo')
        flushed, greedy = user.volume(), user.volume()
        infos = [connect(user, volume, host) for volume, host in zip((flushed, greedy), hosts, strict=True)]
        hosts[0].io(infos[0], *(f'write -P {number} {number}M 1M' for number in range(1, 33)), 'flush')
        fill(disk, leave=48 * MIB)
        with pytest.raises(RuntimeError, match='qemu-io failed'):
            hosts[1].io(infos[1], *(f'write -P {number} {number}M 1M' for number in range(1, 161)), 'flush')
        User(cloud, 'demo').cinder.volumes.list()
        cloud.kill()
    with start(disk.mounted, **ports) as cloud:
        user = User(cloud, 'demo')
        assert {one.status for one in user.cinder.volumes.list()} == {'in-use'}
        hosts[0].io(infos[0], *(f'read -P {number} {number}M 1M' for number in range(1, 33)))
        detach(user, greedy)
        user.cinder.volumes.delete(greedy)
        for filler in disk.mounted.glob('filler-*'):
            filler.unlink()
        until(lambda: free(disk) > reserve.RESERVE)
        hosts[0].io(infos[0], 'write -P 0x5a 500M 8M', 'flush', 'read -P 0x5a 500M 8M')
        user.tidy()


def connect(user: User, volume: Any, host: Hypervisor) -> Any:
    made = user.cinder.attachments.create(volume.id, host.connector, str(uuid.uuid4()), 'rw')
    user.cinder.attachments.complete(made['id'])
    return made['connection_info']


def detach(user: User, volume: Any) -> None:
    for attachment in user.cinder.attachments.list(search_opts={'volume_id': volume.id}):
        user.cinder.attachments.delete(attachment.id)


def test_a_deleted_backups_data_is_removed_after_a_restart(tmp_path: Path) -> None:
    """The execution that waits for it ends with the local cloud."""
    ports = launch.free_ports()
    host = Hypervisor('compute-1', f'iqn.2004-10.com.example:{uuid.uuid4().hex[:12]}')
    with start(tmp_path, **ports, BACKUP_GRACE='600') as cloud:
        user = User(cloud, 'demo')
        volume = written(user, host)
        backup = user.wait(user.cinder.backups, user.cinder.backups.create(volume.id).id)
        user.cinder.backups.delete(backup.id)
        until(lambda: not user.cinder.backups.list())
        assert any('/packs/' in name for name in stored(cloud))
        cloud.kill()
    time.sleep(1)
    with start(tmp_path, **ports, BACKUP_GRACE='1') as cloud:
        until(lambda: not any('/packs/' in name for name in stored(cloud)))
        User(cloud, 'demo').tidy()


def stored(cloud: Any) -> list[str]:
    found = cloud.client('s3').list_objects_v2(Bucket=cloud.ready['bucket'])
    return [one['Key'] for one in found.get('Contents', ())]
