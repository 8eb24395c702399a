"""A local cloud for tests: the real server in a process of its own, one per pytest worker.

``cloud`` is a fixture for the whole session: tests share it, so each creates its own projects and names and changes no
others. A test that must break or reconfigure a cloud starts its own with ``start``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local import launch
from local.children import bound

ROOT = Path(__file__).parent.parent.parent

#: Seconds in which everything must have stopped.
STOP = 10


@dataclasses.dataclass(frozen=True, eq=False)
class Cloud:
    """One running local cloud. ``ready`` is the content of ready.json."""

    ready: dict[str, Any]
    state_dir: Path
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def clouds_yaml(self) -> Path:
        return self.state_dir / 'clouds.yaml'

    @functools.cache  # noqa: B019 - as many clients as services, for the life of a test session
    def client(self, service: str) -> Any:
        """A boto3 client for the cloud's AWS endpoint."""
        import boto3

        return boto3.client(
            service,
            region_name=self.ready['region'],
            endpoint_url=self.ready['aws'],
            aws_access_key_id=self.ready['access_key'],
            aws_secret_access_key=self.ready['secret_key'],
        )

    def openstack_environment(self, cloud: str = 'demo') -> dict[str, str]:
        """An environment in which the openstack CLI talks to this cloud."""
        return {**os.environ, 'OS_CLIENT_CONFIG_FILE': str(self.clouds_yaml), 'OS_CLOUD': cloud}

    def kill(self) -> None:
        """Send SIGKILL, and wait until the children have ended too."""
        pids = family(self.process.pid)
        self.process.kill()
        self.process.wait(STOP)
        deadline = time.monotonic() + STOP
        while any(alive(pid) for pid in pids):
            assert time.monotonic() < deadline, 'children outlive their server'
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, wait, and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(STOP)


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    children = Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
    return [pid, *(each for child in children for each in family(int(child)))]


def alive(pid: int) -> bool:
    try:
        return Path(f'/proc/{pid}/stat').read_text().rpartition(') ')[2][0] != 'Z'
    except OSError:
        return False


@contextlib.contextmanager
def start(folder: Path, **environment: str) -> Iterator[Cloud]:
    """Boot a cloud with its state in ``folder``, on free ports; stop it in the end unless the test did."""
    folder.mkdir(parents=True, exist_ok=True)
    process, state_dir, log = spawn([sys.executable, '-m', 'local'], folder, **environment)
    try:
        yield Cloud(wait_until_ready(process, state_dir, log), state_dir, process, log)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(STOP)


def spawn(command: list[str], folder: Path, **environment: str) -> tuple[subprocess.Popen[bytes], Path, Path]:
    """Start a command that serves a cloud; returns (process, state folder, log)."""
    state_dir, log = folder / 'state', folder / 'log'
    (state_dir / 'ready.json').unlink(missing_ok=True)  # of a server that was killed
    told = {**os.environ, **launch.free_ports(), 'STATE_DIR': str(state_dir), **environment}
    with log.open('ab') as output:
        process = subprocess.Popen(bound(command), cwd=ROOT, env=told, stdout=output, stderr=subprocess.STDOUT)
    return process, state_dir, log


def wait_until_ready(process: subprocess.Popen[bytes], state_dir: Path, log: Path) -> dict[str, Any]:
    """Return ready.json. Fails the test with the end of the log when the cloud does not come up."""
    try:
        return launch.wait_ready(process, state_dir / 'ready.json', log)
    except launch.Failed as error:
        pytest.fail(f'{error}:\n{log.read_text()[-4000:]}')


@pytest.fixture(scope='session')
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The worker's cloud."""
    with start(tmp_path_factory.mktemp('cloud')) as running:
        yield running
