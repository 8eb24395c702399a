"""SIGKILL at random times under mixed load: acknowledged work is stored, and nothing is left over.

Each round kills one part of a local cloud, which must come back, and then all of it. A few rounds here; ``make crash
RUNS=50`` runs 50 rounds, and SEED repeats the times of a run.
"""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cinderclient import exceptions

from chalicelib.iscsi import open_device
from local import launch
from tests.system import crash
from tests.system.clients import User, until
from tests.system.cloud import Cloud, alive, family, start
from tests.system.crash import PARTS, Ledger, Load

RUNS = int(os.environ.get('CRASH_RUNS', '2'))
SEED = int(os.environ.get('CRASH_SEED', '') or random.randrange(1 << 30))

#: Seconds of load before a kill, at most.
LONGEST = 4

INITIATOR = 'iqn.2004-10.com.example:crash'


class Crashes:
    """One state folder over many runs of its cloud, and the acknowledged calls."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ports = folder, launch.free_ports()
        self.ledger, self.draw = Ledger(), random.Random(SEED)
        self.facts: dict[str, Any] = {}

    def prepare(self, cloud: Cloud) -> None:
        """One volume that is attached and written, one that has bytes and is backed up."""
        user, admin = User(cloud, 'demo'), User(cloud, 'admin')
        limits = ('volumes', 'gigabytes', 'snapshots', 'backups', 'backup_gigabytes')
        admin.cinder.quotas.update(user.project, **dict.fromkeys(limits, -1))
        attached, source = user.volume(), user.volume()
        made = attach(user, source.id)
        with open_device(made['connection_info'], initiator=INITIATOR) as device:
            device.write(0, crash.pattern(7))
        user.cinder.attachments.delete(made['id'])
        for volume in (attached, source):
            self.ledger.sizes[volume.id] = {1}
        info = attach(user, attached.id)['connection_info']
        self.facts = {'info': info, 'initiator': INITIATOR, 'source': source.id}

    def life(self, number: int) -> str:
        """Boot, compare with the acknowledged calls of earlier runs, load, kill one part, then all processes."""
        victim = list(PARTS)[number % len(PARTS)]
        with start(self.folder, **self.ports) as cloud:
            if not self.facts:
                self.prepare(cloud)
            self.check(cloud)
            cloud = dataclasses.replace(cloud, ready={**cloud.ready, **self.facts})
            before, pauses = self.ledger.acknowledged, [self.draw.uniform(0.2, LONGEST) for _ in range(2)]
            with Load(cloud, self.ledger, number + 1) as load:
                time.sleep(pauses[0])
                kill_part(cloud, victim)
                time.sleep(pauses[1])
                load.stopped.set()
                cloud.kill()
        done = self.ledger.acknowledged - before
        return f'{victim} killed after {pauses[0]:.1f} s, all after {pauses[1]:.1f} s more; {done} acknowledged'

    def power_cut(self, number: int, disk: Disk) -> str:
        """Like ``life``, but the file system of the state folder stops and loses unsynced data."""
        with start(self.folder, **self.ports) as cloud:
            if not self.facts:
                self.prepare(cloud)
            self.check(cloud)
            cloud = dataclasses.replace(cloud, ready={**cloud.ready, **self.facts})
            before, pause = self.ledger.acknowledged, self.draw.uniform(0.5, LONGEST)
            with Load(cloud, self.ledger, number + 1, flush=True) as load:
                time.sleep(pause)
                for pid in family(cloud.process.pid):
                    os.kill(pid, signal.SIGSTOP)  # the machine stops: nothing is acknowledged from here on
                load.stopped.set()
                disk.cut()
                cloud.kill()
            disk.power_on()
        return f'power cut after {pause:.1f} s; {self.ledger.acknowledged - before} acknowledged'

    def check(self, cloud: Cloud) -> None:
        user = User(cloud, 'demo')
        crash.settle(user)
        broken = [
            *crash.compare(user, self.ledger),
            *crash.compare_bytes(self.facts['info'], INITIATOR, self.ledger),
            *crash.miscounted(cloud),
            *crash.left_over(cloud),
        ]
        assert not broken, f'seed {SEED}: {broken}'

    def restore_and_remove(self) -> None:
        """The newest backup has the bytes of its volume; then everything is deleted, and nothing is left."""
        with start(self.folder, **self.ports) as cloud:
            self.check(cloud)
            user = User(cloud, 'demo')
            newest = list(self.ledger.backups)[-1]
            restored = user.wait(user.cinder.volumes, user.cinder.restores.restore(newest).volume_id)
            info = attach(user, restored.id)['connection_info']
            with open_device(info, initiator=INITIATOR) as device:
                assert device.read(0, crash.BLOCK) == crash.pattern(7)
            user.tidy()
            crash.settle(user)
            assert crash.miscounted(cloud) == []
            assert all(not backend.objects for backend in crash.Backends(cloud).backends.values())


class Disk:
    """An XFS of its own for a state folder, on a loop device, that can lose its power."""

    def __init__(self, folder: Path) -> None:
        self._image, self.mounted = folder / 'disk.img', folder / 'disk'
        with self._image.open('wb') as file:
            file.truncate(8 << 30)
        self.mounted.mkdir()
        run('mkfs.xfs', '-q', str(self._image))
        run('mount', '-o', 'loop', str(self._image), str(self.mounted))

    def cut(self) -> None:
        run('xfs_io', '-x', '-c', 'shutdown', str(self.mounted))

    def power_on(self) -> None:
        """Power on with a copy: a mount namespace created meanwhile may hold the dead file system."""
        dead, self._image = self._image, self._image.with_name(f'{self._image.name}+')
        run('umount', str(self.mounted))
        run('cp', '--sparse=always', str(dead), str(self._image))
        dead.unlink()
        run('mount', '-o', 'loop,nouuid', str(self._image), str(self.mounted))

    def remove(self) -> None:
        run('umount', str(self.mounted))
        self._image.unlink()


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=120)


def attach(user: User, id: str) -> Any:
    connector = {'host': 'compute-1', 'initiator': INITIATOR, 'ip': '127.0.0.1'}
    made = user.cinder.attachments.create(id, connector, str(uuid.uuid4()), 'rw')
    user.cinder.attachments.complete(made['id'])
    return made


def kill_part(cloud: Cloud, victim: str) -> None:
    """SIGKILL one program of the family, and wait for its successor."""
    (pid, *_) = crash.pids(cloud, PARTS[victim])
    os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid))
    until(lambda: [each for each in crash.pids(cloud, PARTS[victim]) if each != pid])


@pytest.fixture
def crashes(tmp_path: Path) -> Crashes:
    return Crashes(tmp_path)


@pytest.mark.timeout(300 + 180 * RUNS)
def test_nothing_acknowledged_is_lost(crashes: Crashes, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(RUNS):
        story = crashes.life(number)
        with capsys.disabled():
            print(f'\nround {number + 1} of {RUNS}: {story}', end='', flush=True)
    crashes.restore_and_remove()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path)
    yield made
    made.remove()


@pytest.mark.timeout(300 + 180 * RUNS)
def test_a_power_cut_loses_nothing_acknowledged(disk: Disk, capsys: pytest.CaptureFixture[str]) -> None:
    """Writes to an attached volume count as acknowledged once the host has flushed them."""
    crashes = Crashes(disk.mounted)
    for number in range(max(1, RUNS // 2)):
        story = crashes.power_cut(number, disk)
        with capsys.disabled():
            print(f'\nround {number + 1}: {story}', end='', flush=True)
    crashes.restore_and_remove()


def test_a_full_disk_stops_writes_with_a_status_and_loses_nothing(disk: Disk) -> None:
    crashes, filler = Crashes(disk.mounted), disk.mounted / 'filler'
    with start(crashes.folder, **crashes.ports) as cloud:
        crashes.prepare(cloud)
        cinder = User(cloud, 'demo').cinder
        free = os.statvfs(disk.mounted)
        run('fallocate', '-l', str(free.f_bavail * free.f_frsize - (4 << 20)), str(filler))
        with pytest.raises(exceptions.ClientException) as refused:
            cinder.volumes.create(1)
        assert refused.value.code >= 500
        assert {one.id for one in User(cloud, 'demo').cinder.volumes.list()} == set(crashes.ledger.sizes)  # logs in
        filler.unlink()
        crashes.ledger.sizes[cinder.volumes.create(1).id] = {1}
        cloud.kill()
    with start(crashes.folder, **crashes.ports) as cloud:
        crashes.check(cloud)
