"""``cinderless migrate copy`` on a local cloud: from a LUN of tgtd and a loop device; killed, and with uses of both."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from local.children import bound
from tests.block_devices import loop_device
from tests.migration import databases
from tests.system.clients import User
from tests.system.cloud import ROOT, Cloud, start
from tests.system.test_data import Attached, hypervisor, image
from tests.tgt import Account, Tgtd

POOL = 'cinderless@xfs-nova#fast'

ACCOUNT = Account('reader', 'a secret of tgt')


class Moved(NamedTuple):
    """A local cloud with an unmanaged volume of 1 GiB, Cinder's database, and a folder."""

    cloud: Cloud
    admin: User
    database: Path
    folder: Path
    id: str

    def command(self, *words: str) -> list[str]:
        database = ('--database', f'sqlite:///{self.database}')
        options = ('--state-dir', str(self.cloud.state_dir), *database)
        return [sys.executable, '-m', 'cinderless', 'migrate', *words, *options]

    def copy(self, origin: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command('copy', self.id, origin, '--to', POOL, *words),
            cwd=ROOT, capture_output=True, text=True, timeout=240, env={**os.environ, **environment},
        )  # fmt: skip

    @property
    def volume(self) -> Any:
        return self.admin.cinder.volumes.get(self.id)


@pytest.fixture
def moved(tmp_path: Path) -> Iterator[Moved]:
    database, made = databases.database(tmp_path)
    with sqlite3.connect(database) as connection:
        connection.execute('UPDATE volumes SET size = 1 WHERE id = ?', (made['ceph'],))
    (tmp_path / 'hosts').write_text('old@ceph -> unmanaged\n')
    with start(tmp_path / 'cloud') as cloud:
        found = Moved(cloud, User(cloud, 'admin'), database, tmp_path, made['ceph'])
        done = subprocess.run(
            found.command('run', '--apply', '--hosts', str(tmp_path / 'hosts')),
            cwd=ROOT, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 1, done.stderr  # some rows of that Cinder are left out
        yield found


def test_a_lun_is_copied_though_the_command_is_killed(moved: Moved) -> None:
    original = image(moved.folder / 'original.raw', 3)
    before = original.read_bytes()
    with Tgtd() as tgtd:
        target = tgtd.add_target(original, account=ACCOUNT)
        url = f'iscsi://{ACCOUNT.user}@{target.portal}/{target.iqn}/1'
        secret = {'SOURCE_CHAP_SECRET': ACCOUNT.password}
        assert moved.copy(url, **secret).returncode == 0, 'without --apply nothing is written'
        assert moved.volume.status == 'maintenance'
        for seconds in (1.0, 2.0, 3.0):
            command = moved.command('copy', moved.id, url, '--to', POOL, '--apply')
            with subprocess.Popen(
                bound(command), cwd=ROOT, env={**os.environ, **secret}, stderr=subprocess.DEVNULL
            ) as process:
                time.sleep(seconds)
                process.send_signal(signal.SIGKILL)
            assert moved.volume.status in ('maintenance', 'available')
        done = moved.copy(url, '--apply', **secret)
    assert done.returncode == 0, done.stderr
    assert ACCOUNT.password not in done.stdout + done.stderr
    assert original.read_bytes() == before
    assert moved.volume.status == 'available'
    host = hypervisor('compute-1')
    with Attached(moved.admin, moved.volume, host, 'ro') as info:
        assert host.compare(original, info)


def test_a_device_in_use_is_refused(moved: Moved) -> None:
    original = image(moved.folder / 'original.raw', 4)
    with loop_device(original) as device:
        refused = moved.copy(str(original), '--apply')
        assert (refused.returncode, 'is in use' in refused.stderr) == (2, True), refused.stderr
        with device.open('r+b'):
            refused = moved.copy(str(device), '--apply')
        assert (refused.returncode, f'process {os.getpid()} has it open' in refused.stderr) == (2, True), refused.stderr
        assert moved.volume.status == 'maintenance'
        done = moved.copy(str(device), '--apply')
        assert done.returncode == 0, done.stderr
    host = hypervisor('compute-1')
    with Attached(moved.admin, moved.volume, host, 'ro') as info:
        assert host.compare(original, info)
