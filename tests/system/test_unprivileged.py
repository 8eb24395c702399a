"""The local cloud of a user without any right: create, write, snapshot, back up, kill, restore, compare.

The user has no capability but one to read: the interpreter may be in a folder that only root reads.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import render
from local import launch
from local.hypervisor import Hypervisor
from tests.system.clients import User
from tests.system.cloud import Cloud, spawn, wait_until_ready
from tests.system.test_data import Attached

#: The user and group without rights of their own; the one who runs the tests, if that is not root.
UNPRIVILEGED = os.geteuid() or 65534

_READ = '+dac_read_search'

#: Runs a program as that user.
AS_UNPRIVILEGED: tuple[str, ...] = ()
if os.geteuid() == 0:
    AS_UNPRIVILEGED = (
        *('setpriv', f'--reuid={UNPRIVILEGED}', f'--regid={UNPRIVILEGED}', '--clear-groups', '--no-new-privs'),
        *(f'--inh-caps=-all,{_READ}', f'--ambient-caps=-all,{_READ}', f'--bounding-set=-all,{_READ}', '--'),
    )


def own(path: Path) -> None:
    """Give a file or folder to that user."""
    if os.geteuid() == 0:
        os.chown(path, UNPRIVILEGED, UNPRIVILEGED)


class Machine:
    """A state folder that the user owns, in a path with spaces and of more than the length of a socket's path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / 'my cloud of one user' / ('deep' * 20)
        self.folder.mkdir(parents=True)
        own(self.folder)
        self.ports = launch.free_ports()

    @contextlib.contextmanager
    def start(self) -> Iterator[Cloud]:
        command = [*AS_UNPRIVILEGED, sys.executable, '-m', 'local']
        process, state, log = spawn(
            command, self.folder, **self.ports, RECORD_CALLS=''
        )  # the recorder's file is root's
        try:
            yield Cloud(wait_until_ready(process, state, log), state, process, log)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(10)


@pytest.fixture
def machine() -> Iterator[Machine]:
    """Not in pytest's folder, which is root's alone."""
    render.templates()  # as the owner of the source tree, who runs make
    with tempfile.TemporaryDirectory(prefix='cinderless-') as name:
        Path(name).chmod(0o755)
        yield Machine(Path(name))


def test_a_user_without_rights_keeps_volumes_and_backups(machine: Machine) -> None:
    host = Hypervisor('compute-1', f'iqn.2004-10.com.example:{uuid.uuid4().hex[:12]}')
    with machine.start() as cloud:
        assert (cloud.state_dir / 'appliance' / 'store').stat().st_uid == UNPRIVILEGED
        assert 'mounts no image (not run as root)' in cloud.log.read_text()
        user = User(cloud, 'demo')
        volume = user.volume()
        with Attached(user, volume, host) as info:
            host.io(info, 'write -P 0x5a 0 4M', 'write -P 0xa5 900M 1M')
        snapshot = user.wait(user.cinder.volume_snapshots, user.cinder.volume_snapshots.create(volume.id).id)
        backup = user.wait(user.cinder.backups, user.cinder.backups.create(volume.id).id)
        with Attached(user, volume, host) as info:
            host.io(info, 'write -P 0x77 0 4M')
        cloud.kill()
    with machine.start() as cloud:
        user = User(cloud, 'demo')
        with Attached(user, user.cinder.volumes.get(volume.id), host) as info:
            host.io(info, 'read -P 0x77 0 4M', 'read -P 0xa5 900M 1M')
        restored = user.wait(user.cinder.volumes, user.cinder.restores.restore(backup.id).volume_id)
        for copy in (restored, user.volume(snapshot_id=snapshot.id)):
            with Attached(user, copy, host) as info:
                host.io(info, 'read -P 0x5a 0 4M', 'read -P 0xa5 900M 1M', 'read -P 0 4M 4M')
        user.tidy()


def test_state_that_only_root_can_mount_is_refused(machine: Machine) -> None:
    state = machine.folder / 'state'
    (state / 'appliance').mkdir(parents=True)
    (state / 'cinderless.json').write_text('{"version": 1, "durable": true}')
    (state / 'appliance' / 'store.img').touch()
    for path in (state, *state.rglob('*')):
        own(path)
    environment = {**os.environ, **machine.ports, 'STATE_DIR': str(state)}
    command = [*AS_UNPRIVILEGED, sys.executable, '-m', 'local']
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert 'store.img holds the volumes, and cannot be mounted here (not run as root)' in done.stderr
    assert 'Traceback' not in done.stderr
