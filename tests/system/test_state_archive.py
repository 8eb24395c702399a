"""``cinderless state``: an archive written under load starts elsewhere with everything that was acknowledged."""

from __future__ import annotations

import copy
import fcntl
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cinderless.pause import descendants, paused
from local.hypervisor import Hypervisor
from tests.system.clients import User
from tests.system.cloud import ROOT, Cloud, start
from tests.system.crash import Ledger, Load, compare, compare_bytes, miscounted, settle
from tests.system.test_data import Attached

#: Seconds of load before the export, and after it.
LOAD = 4


def program(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, '-m', 'cinderless', *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    return done


class Values(dict[int, set[int]]):
    """Values of blocks: each that was ever written, for a comparison with a time in between."""

    def __setitem__(self, place: int, values: set[int]) -> None:
        super().__setitem__(place, self.get(place, set()) | values)


@pytest.fixture
def host() -> Hypervisor:
    return Hypervisor('compute-1', f'iqn.2004-10.com.example:{uuid.uuid4().hex[:12]}')


@pytest.fixture
def loaded(tmp_path: Path, host: Hypervisor) -> Iterator[tuple[Cloud, Ledger, dict[str, Any]]]:
    """A cloud with an attached volume and one with a backup, of known bytes."""
    with start(tmp_path / 'first') as cloud:
        user, ledger = User(cloud, 'demo'), Ledger()
        limits = ('volumes', 'gigabytes', 'snapshots', 'backups', 'backup_gigabytes')
        User(cloud, 'admin').cinder.quotas.update(user.project, **dict.fromkeys(limits, -1))
        source = user.volume()
        with Attached(user, source, host) as info:
            host.io(info, 'write -P 0x5a 0 8M', 'write -P 0xa5 900M 1M')
        user.wait(user.cinder.backups, user.cinder.backups.create(source.id).id)
        written = user.volume()
        attachment = user.cinder.attachments.create(written.id, host.connector, str(uuid.uuid4()), 'rw')
        user.cinder.attachments.complete(attachment['id'])
        facts = {'info': attachment['connection_info'], 'initiator': host.initiator, 'source': source.id}
        cloud.ready.update(facts)
        ledger.sizes = {source.id: {1}, written.id: {1}}
        yield cloud, ledger, facts


def test_an_archive_under_load_has_all_that_was_acknowledged(
    loaded: tuple[Cloud, Ledger, dict[str, Any]], host: Hypervisor, tmp_path: Path
) -> None:
    cloud, ledger, facts = loaded
    ledger.blocks = Values()
    archive = tmp_path / 'state.archive'
    with Load(cloud, ledger, 1):
        time.sleep(LOAD)
        before = copy.deepcopy(ledger)
        shown = program('state', 'export', str(archive), '--state-dir', str(cloud.state_dir)).stderr
        assert 'export: 100 %' in shown
        at_once = copy.deepcopy(ledger)
        time.sleep(LOAD)
    assert before.acknowledged > 50
    assert ledger.acknowledged > at_once.acknowledged, 'the load continues after the export'
    assert not (cloud.state_dir / '.export').exists()
    assert archive.stat().st_mode & 0o777 == 0o600
    token = User(cloud, 'demo').sdk.auth_token
    cloud.stop()
    program('state', 'import', str(archive), '--state-dir', str(tmp_path / 'second' / 'state'))
    with start(tmp_path / 'second', **ports(cloud)) as other:
        other.ready.update(facts)
        user = User(other, 'demo')
        settle(user)
        assert compare(user, between(before, at_once)) == []
        assert compare_bytes(facts['info'], host.initiator, blocks(before, at_once)) == []
        assert miscounted(other) == []
        url = f'{other.ready["volume"]}/{user.project}/volumes'
        assert user.sdk.session.get(url, headers={'X-Auth-Token': token}, authenticated=False).ok
        latest = sorted(user.cinder.backups.list(), key=lambda backup: backup.created_at)[-1]
        restored = user.wait(user.cinder.volumes, user.cinder.restores.restore(latest.id).volume_id)
        with Attached(user, restored, host) as info:
            host.io(info, 'read -P 0x5a 0 8M', 'read -P 0 8M 1M', 'read -P 0xa5 900M 1M')


def ports(cloud: Cloud) -> dict[str, str]:
    """The same ports, which attachments name."""
    urls = {'PORT': cloud.ready['volume'].removesuffix('/v3'), 'AWS_PORT': cloud.ready['aws']}
    urls |= {'ISCSI_PORT': cloud.ready['iscsi'], 'APPLIANCE_PORT': cloud.ready['appliance']}
    return {name: url.rpartition(':')[2] for name, url in urls.items()}


def between(before: Ledger, after: Ledger) -> Ledger:
    """What was acknowledged before the export must be there; what was requested until after it may be."""
    allowed = Ledger()
    allowed.sizes = {id: sizes | after.sizes[id] for id, sizes in before.sizes.items()}
    allowed.gone, allowed.doubtful = before.gone, after.gone | after.doubtful
    allowed.snapshots, allowed.backups = before.snapshots, before.backups
    return allowed


def blocks(before: Ledger, after: Ledger) -> Ledger:
    """Per place the values from the last one before the export to the last one after it; they grow with time."""
    allowed = Ledger()
    for place, values in after.blocks.items():
        least = max(before.blocks.get(place, {0}))
        allowed.blocks[place] = {value for value in values | {0} if value >= least}
    return allowed


def test_an_export_that_is_killed_leaves_a_cloud_that_works(cloud: Cloud, tmp_path: Path) -> None:
    """Between the stop of the children and their continuation."""
    code = (
        'import os, sys; from pathlib import Path; from cinderless.pause import paused\n'
        'with paused(int(sys.argv[1]), Path(sys.argv[2])): os.kill(os.getpid(), 9)'
    )
    command = [sys.executable, '-c', code, str(cloud.process.pid), str(cloud.state_dir)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    user = User(cloud, 'demo')
    volume = user.volume()
    user.cinder.volumes.delete(volume.id)


def test_all_children_are_still_in_a_pause_and_continue_after_it(cloud: Cloud) -> None:
    with paused(cloud.process.pid, cloud.state_dir):
        children = descendants(cloud.process.pid)
        assert len(children) >= 3
        assert {Path(f'/proc/{pid}/stat').read_text().rpartition(') ')[2][0] for pid in children} == {'T'}
    user = User(cloud, 'demo')
    user.cinder.volumes.delete(user.volume().id)


def test_one_export_at_a_time(cloud: Cloud, tmp_path: Path) -> None:
    staging = cloud.state_dir / '.export'
    staging.mkdir()
    descriptor = os.open(staging, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        refused = program('state', 'export', str(tmp_path / 'a'), '--state-dir', str(cloud.state_dir), code=2)
        assert 'another export' in refused.stderr
        assert list(tmp_path.iterdir()) == []
    finally:
        os.close(descriptor)
        staging.rmdir()


def test_a_state_that_is_in_memory_is_not_exported(tmp_path: Path) -> None:
    with start(tmp_path, STATE='memory') as memory:
        refused = program('state', 'export', str(tmp_path / 'a'), '--state-dir', str(memory.state_dir), code=2)
        assert 'has no stored state' in refused.stderr
