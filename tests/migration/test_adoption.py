"""Data stays where it is: objects that Cinder named are attached, copied, grown and deleted by the records alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from local.place import FOLDER
from tests.migration import databases
from tests.system.clients import User, until
from tests.system.cloud import ROOT, Cloud, start
from tests.system.test_data import Attached, hypervisor, image

EVERY = {'all_tenants': '1'}

POOL = 'cinderless@xfs-nova#fast'


def store(cloud: Cloud) -> Path:
    """Return the storage host's folder of objects: the agent has the image mounted in a namespace of its own."""
    for mounts in Path('/proc').glob('[0-9]*/mounts'):
        try:
            found = [line.split()[1] for line in mounts.read_text().splitlines() if str(cloud.state_dir) in line]
        except (PermissionError, ProcessLookupError, FileNotFoundError):
            continue
        if found:
            return mounts.parent / 'root' / found[0].lstrip('/')
    return cloud.state_dir / 'appliance' / FOLDER


class Moved(NamedTuple):
    """A local cloud that a Cinder was brought to; the images that its volume and its snapshot have, and their ids."""

    admin: User
    folder: Path
    volume: Path
    snapshot: Path
    made: dict[str, Any]


@pytest.fixture(scope='module')
def moved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moved]:
    folder = tmp_path_factory.mktemp('adoption')
    database, made = databases.database(folder)
    (folder / 'hosts').write_text(f'old@lvm -> {POOL}\n')
    with start(folder / 'cloud') as cloud:
        objects = store(cloud) / 'fast'
        volume = image(objects / f'volume-{made["plain"]}', 1, tiles=2)
        snapshot = image(objects / f'snapshot-{made["snapshot"]}', 2, tiles=2)
        copies = [image(folder / 'volume.raw', 1, tiles=2), image(folder / 'snapshot.raw', 2, tiles=2)]
        command = [sys.executable, '-m', 'cinderless', 'migrate', 'run', '--apply', '--state-dir', str(cloud.state_dir)]
        command += ['--database', f'sqlite:///{database}', '--hosts', str(folder / 'hosts')]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
        assert done.returncode == 1, done.stderr  # some rows of that Cinder are left out
        assert volume.exists()
        assert snapshot.exists()
        yield Moved(User(cloud, 'admin'), objects, *copies, made)


def test_an_adopted_volume_lives_on(moved: Moved) -> None:
    host, cinder = hypervisor('compute-1'), moved.admin.cinder
    volume = cinder.volumes.get(moved.made['plain'])
    with Attached(moved.admin, volume, host) as info:
        assert host.compare(moved.volume, info)
        host.io(info, 'write -P 0x5a 0 4M')
    cinder.services.enable(POOL.partition('#')[0], 'cinder-volume')  # it was disabled in Cinder
    copy = moved.admin.volume(snapshot_id=moved.made['snapshot'])
    with Attached(moved.admin, copy, host, 'ro') as info:
        assert host.compare(moved.snapshot, info)
    until(lambda: cinder.volumes.get(volume.id).status == 'available')
    cinder.volumes.extend(volume, 2)
    until(lambda: cinder.volumes.get(volume.id).status == 'available')
    with Attached(moved.admin, volume, host, 'ro') as info:
        host.io(info, 'read -P 0x5a 0 4M', 'read -P 0 1024M 4M', read_only=True)
    assert (moved.folder / f'volume-{volume.id}').stat().st_size == 2 << 30
    until(lambda: cinder.volumes.get(volume.id).status == 'available')
    cinder.volume_snapshots.delete(moved.made['snapshot'])
    until(lambda: all(one.id != moved.made['snapshot'] for one in cinder.volume_snapshots.list(search_opts=EVERY)))
    cinder.volumes.delete(volume)
    until(lambda: not (moved.folder / f'volume-{volume.id}').exists())
