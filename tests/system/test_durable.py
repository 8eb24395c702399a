"""Acknowledged work is stored after a SIGKILL: records, bytes, backups, keys, tokens and exports."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from local import launch
from local.children import bound
from local.hypervisor import Hypervisor
from tests.system.clients import User
from tests.system.cloud import start
from tests.system.test_data import Attached

MIB = 1 << 20


class Machine:
    """One state folder and its ports, over several lives of its cloud."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = launch.free_ports()

    def start(self) -> Any:
        return start(self.folder, **self.ports)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def host() -> Hypervisor:
    return Hypervisor('compute-1', f'iqn.2004-10.com.example:{uuid.uuid4().hex[:12]}')


def test_everything_acknowledged_is_there_after_a_kill(machine: Machine, host: Hypervisor) -> None:
    with machine.start() as cloud:
        user = User(cloud, 'demo')
        token = user.sdk.auth_token
        volume = user.volume(metadata={'kept': 'yes'})
        attachment = user.cinder.attachments.create(volume.id, host.connector, str(uuid.uuid4()), 'rw')
        info = attachment['connection_info']
        user.cinder.attachments.complete(attachment['id'])
        host.io(info, 'write -P 0x5a 0 4M', 'write -P 0xa5 900M 1M')
        snapshot = user.cinder.volume_snapshots.create(volume.id, force=True)
        user.wait(user.cinder.volume_snapshots, snapshot.id)
        backup = user.wait(user.cinder.backups, user.cinder.backups.create(volume.id, force=True).id)
        host.io(info, 'write -P 0x77 8M 1M')
        cloud.kill()
    with machine.start() as cloud:
        again = User(cloud, 'demo')
        assert again.sdk.session.get(
            f'{cloud.ready["volume"]}/{again.project}/volumes', headers={'X-Auth-Token': token}, authenticated=False
        ).ok
        found = again.cinder.volumes.get(volume.id)
        assert (found.status, found.metadata['kept']) == ('in-use', 'yes')
        shown = again.cinder.attachments.show(attachment['id'])
        assert shown.connection_info == info
        host.io(info, 'read -P 0x5a 0 4M', 'read -P 0x77 8M 1M', 'read -P 0xa5 900M 1M', 'write -P 1 16M 1M')
        restored = again.wait(again.cinder.volumes, again.cinder.restores.restore(backup.id).volume_id)
        with Attached(again, restored, host) as other:
            host.io(other, 'read -P 0x5a 0 4M', 'read -P 0 8M 1M', 'read -P 0xa5 900M 1M')
        clone = again.volume(snapshot_id=snapshot.id)
        with Attached(again, clone, host) as other:
            host.io(other, 'read -P 0x5a 0 4M', 'read -P 0 8M 1M')
        again.cinder.attachments.delete(attachment['id'])
        again.tidy()


def test_a_host_that_stays_attached_goes_on_after_the_restart(machine: Machine, host: Hypervisor) -> None:
    """One QEMU process for the whole time, as a guest's disk: its initiator logs in again and repeats what it sent."""
    with machine.start() as cloud:
        user = User(cloud, 'demo')
        volume = user.volume()
        attachment = user.cinder.attachments.create(volume.id, host.connector, str(uuid.uuid4()), 'rw')
        info = attachment['connection_info']
        user.cinder.attachments.complete(attachment['id'])
        guest = Guest(host, info)
        assert 'wrote 4194304' in guest.run('write -P 0x5a 0 4M')
        assert 'failed' not in guest.run('flush')
        cloud.kill()
        guest.send('write -P 0x77 8M 1M')  # while nothing listens
    with machine.start() as cloud:
        assert 'wrote 1048576' in guest.answer()
        assert 'failed' not in guest.run('read -P 0x5a 0 4M') + guest.run('read -P 0x77 8M 1M')
        assert 'wrote 1048576' in guest.run('write -P 0x33 16M 1M')
        assert 'failed' not in guest.run('flush')
        guest.end()
        host.io(info, 'read -P 0x77 8M 1M', 'read -P 0x33 16M 1M')
        user = User(cloud, 'demo')
        user.cinder.attachments.delete(attachment['id'])
        user.tidy()


class Guest:
    """qemu-io with its standard input open: a device that is opened once."""

    def __init__(self, host: Hypervisor, info: Any) -> None:
        with host._secret(info) as secret:
            command = ['qemu-io', *secret, '--image-opts', host.drive(info)]
            pipe = {'stdin': subprocess.PIPE, 'stdout': subprocess.PIPE, 'stderr': subprocess.STDOUT}
            self._process = subprocess.Popen(bound(command), **pipe)  # type: ignore[call-overload]
            self.answer()  # the first prompt: it has read the secret's file

    def send(self, command: str) -> None:
        self._process.stdin.write(f'{command}\n'.encode())
        self._process.stdin.flush()

    def answer(self) -> str:
        """What it prints until the next prompt."""
        found = b''
        while not found.endswith(b'qemu-io> '):
            read = self._process.stdout.read1()
            assert read, found
            found += read
        return found.decode()

    def run(self, command: str) -> str:
        self.send(command)
        return self.answer()

    def end(self) -> None:
        self._process.communicate(b'quit\n', timeout=60)


def test_interrupted_work_is_done_after_the_restart(machine: Machine) -> None:
    with machine.start() as cloud:
        cinder = User(cloud, 'demo').cinder
        volume = User(cloud, 'demo').volume()
        made = [cinder.volumes.create(1).id for _ in range(4)]
        snapshot = cinder.volume_snapshots.create(volume.id).id
        cloud.kill()
    with machine.start() as cloud:
        user = User(cloud, 'demo')
        for id in made:
            user.wait(user.cinder.volumes, id)
        user.wait(user.cinder.volume_snapshots, snapshot)
        user.tidy()
