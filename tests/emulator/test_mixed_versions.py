"""``make emulator``: fifty operations of all kinds while state machines and functions are of different releases.

In local clouds: this version's functions with the last release's state machines, as executions have them that began
before an update; and the last release's functions with this version's state machines, as after an update that is
rolled back. In each, the definitions change under the load.
"""

from __future__ import annotations

import collections
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from infra import changes, release
from local import launch
from local.children import bound
from tests.system import cloud as clouds
from tests.system.clients import User, unique, until

pytestmark = pytest.mark.xdist_group('emulator')

#: Volumes per kind of operation, and how many clients work at the same time.
VOLUMES, CLIENTS = 5, 3

#: Statuses that last.
FINAL = ('available', 'in-use', 'error', 'error_extending', 'error_deleting', 'error_restoring', 'deleted')


@pytest.fixture
def old_cloud(tmp_path: Path) -> Iterator[clouds.Cloud]:
    """A local cloud of the last release: its functions and state machines."""
    source = tmp_path / 'release'
    release.extract(*changes.last_release(), source)
    log, state = tmp_path / 'log', tmp_path / 'state'
    environment = {**os.environ, **launch.free_ports(), 'STATE_DIR': str(state)}
    environment.pop('RECORD_CALLS', None)  # that release's recorder writes another form
    with log.open('wb') as output:
        command = [sys.executable, '-m', 'local']
        process = subprocess.Popen(bound(command), cwd=source, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield clouds.Cloud(clouds.wait_until_ready(process, state, log), state, process, log)
    finally:
        process.terminate()
        process.wait(clouds.STOP)


def update_machines(cloud: clouds.Cloud, definitions: Mapping[str, str]) -> int:
    """Give the cloud's state machines these definitions, as CloudFormation does; return how many it has."""
    states, known = cloud.client('stepfunctions'), cloud.ready['machines']
    place = f'arn:aws:lambda:{cloud.ready["region"]}:123456789012:function'
    values = {'BackupConcurrency': '4'}
    values |= {f'{word}Arn': f'{place}:{cloud.ready["functions"][name]}' for word, name in WORKERS.items()}
    for name in known.keys() & definitions.keys():
        text = re.sub(r'\$\{(\w+)}', lambda found: values[found[1]], definitions[name])
        states.update_state_machine(stateMachineArn=known[name], definition=text)
    return len(known.keys() & definitions.keys())


WORKERS = {'VolumeWorker': 'volume_worker', 'BackupWorker': 'backup_worker'}


class Operations:
    """What each client does with its volumes, one operation after the other; ``ended`` counts how they ended."""

    def __init__(self, cloud: clouds.Cloud) -> None:
        self.user = User(cloud, 'demo')
        self.admin = User(cloud, 'admin')
        self.ended: collections.Counter[tuple[str, str]] = collections.Counter()
        self.admin.cinder.quotas.update(self.user.project, volumes=-1, snapshots=-1, backups=-1, gigabytes=-1)

    def end(self, kind: str, manager: Any, id: str, status: str = 'available') -> bool:
        """Wait until an operation has ended; return whether it succeeded."""
        found = until(lambda: next(iter([s for s in [_status(manager, id)] if s in FINAL]), None))
        self.ended[kind, found] += 1
        return bool(found == status)

    def other_pool(self, id: str) -> str:
        host = getattr(self.admin.cinder.volumes.get(id), 'os-vol-host-attr:host')
        return SLOW if host != SLOW else FAST

    def run(self) -> None:
        cinder = self.user.cinder
        for _ in range(VOLUMES):
            volume = cinder.volumes.create(1, name=unique('mixed'))
            if not self.end('create_volume', cinder.volumes, volume.id):
                continue
            volume.extend(volume, 2)
            self.end('extend_volume', cinder.volumes, volume.id)
            snapshot = cinder.volume_snapshots.create(volume.id)
            self.end('create_snapshot', cinder.volume_snapshots, snapshot.id)
            clone = cinder.volumes.create(2, snapshot_id=snapshot.id)
            self.end('create_volume from a snapshot', cinder.volumes, clone.id)
            backup = cinder.backups.create(volume.id)
            self.end('backup_volume', cinder.backups, backup.id)
            self.end('the volume of a backup', cinder.volumes, volume.id)
            cinder.restores.restore(backup.id, clone.id)
            self.end('restore_backup', cinder.volumes, clone.id)
            cinder.volumes.revert_to_snapshot(volume, snapshot)
            self.end('revert_to_snapshot', cinder.volumes, volume.id)
            self.admin.cinder.volumes.migrate_volume(clone.id, self.other_pool(clone.id), False, True)
            self.end('move_volume', cinder.volumes, clone.id)
            for kind, manager, one in (
                ('delete_backup', cinder.backups, backup),
                ('delete_snapshot', cinder.volume_snapshots, snapshot),
                ('delete_volume', cinder.volumes, clone),
                ('delete_volume', cinder.volumes, volume),
            ):
                one.delete()
                self.end(kind, manager, one.id, 'deleted')


FAST, SLOW = 'cinderless@xfs-nova#fast', 'cinderless@xfs-nova#slow'


def _status(manager: Any, id: str) -> str:
    from cinderclient import exceptions

    try:
        return str(manager.get(id).status)
    except exceptions.NotFound:
        return 'deleted'


def load(cloud: clouds.Cloud, *changes_: Callable[[], Any]) -> collections.Counter[tuple[str, str]]:
    """Run clients, and each change in turn while they work; return how their operations ended."""
    clients = [Operations(cloud) for _ in range(CLIENTS)]
    failed: list[BaseException] = []

    def work(client: Operations) -> None:
        try:
            client.run()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for change in changes_:
        until(lambda: sum(sum(client.ended.values()) for client in clients) >= 10 or failed)
        change()
    for thread in threads:
        thread.join()
    assert [str(error) for error in failed] == []
    ended = sum((client.ended for client in clients), collections.Counter())
    for (kind, status), count in sorted(ended.items()):
        print(f'{count:4} {kind}: {status}')
    return ended


def test_old_state_machines_and_new_functions(cloud_of_this_version: clouds.Cloud) -> None:
    running = cloud_of_this_version
    assert update_machines(running, changes.last_release()[1]['Machines']) == 24
    new = changes.machines(changes.current())
    ended = load(running, lambda: update_machines(running, new))
    assert {status for _, status in ended} == {'available', 'deleted'}
    assert sum(ended.values()) == 13 * VOLUMES * CLIENTS


def test_new_state_machines_and_old_functions(old_cloud: clouds.Cloud) -> None:
    old, new = changes.last_release()[1]['Machines'], changes.machines(changes.current())
    assert update_machines(old_cloud, new) == 24
    ended = load(old_cloud, lambda: update_machines(old_cloud, old))
    assert {status for _, status in ended} == {'available', 'deleted'}
    assert sum(ended.values()) == 13 * VOLUMES * CLIENTS


@pytest.fixture
def cloud_of_this_version(tmp_path: Path) -> Iterator[clouds.Cloud]:
    with clouds.start(tmp_path / 'cloud', STATE='memory') as running:
        yield running
