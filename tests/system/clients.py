"""Unmodified clients of the running local cloud, as users have them: libraries, and the two command lines."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openstack.config
import openstack.connection
import pytest
import yaml
from cinderclient import client as cinder
from cinderclient.exceptions import NotFound

from tests.system.cloud import Cloud

#: Seconds to wait for one status.
PATIENCE = 120

BIN = Path(sys.executable).parent


def unique(name: str) -> str:
    return f'{name}-{uuid.uuid4().hex[:8]}'


def until(found: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + patience
    while not (answer := found()):
        assert time.monotonic() < deadline, 'it took too long'
        time.sleep(0.1)
    return answer


def region(cloud: Cloud, user: str) -> Any:
    """openstacksdk's view of one cloud of clouds.yaml."""
    return openstack.config.OpenStackConfig(config_files=[str(cloud.clouds_yaml)]).get_one(cloud=user)


class User:
    """One user of clouds.yaml, with the libraries, who tidies up."""

    def __init__(self, cloud: Cloud, name: str, microversion: str = '3.71') -> None:
        config = region(cloud, name)
        self.sdk = openstack.connection.Connection(config=config)
        self.cinder = cinder.Client(microversion, session=config.get_session())
        self.project = self.sdk.current_project_id

    def volume(self, size: int = 1, **facts: Any) -> Any:
        """A volume that is available."""
        made = self.cinder.volumes.create(size, **{'name': unique('volume'), **facts})
        return self.wait(self.cinder.volumes, made.id)

    def wait(self, manager: Any, id: str, status: str = 'available') -> Any:
        """The resource, once it has the status; fails on any error that is not it."""

        def look() -> Any:
            found = manager.get(id)
            assert found.status == status or not found.status.startswith('error'), self.messages(id)
            return found if found.status == status else None

        return until(look)

    def messages(self, id: str) -> list[str]:
        return [message.user_message for message in self.cinder.messages.list() if message.resource_uuid == id]

    def tidy(self) -> None:
        """Remove all that the project has."""
        for attachment in self.cinder.attachments.list():
            self.cinder.attachments.delete(attachment.id)
        for manager in (self.cinder.backups, self.cinder.volume_snapshots, self.cinder.volumes):
            self._remove_all(manager)

    @staticmethod
    def _remove_all(manager: Any) -> None:
        for found in manager.list():
            with contextlib.suppress(NotFound):  # the test has begun its deletion
                until(lambda id=found.id: manager.get(id).status.startswith(('available', 'error')))
                found.delete()
        until(lambda: not manager.list())


@pytest.fixture
def demo(cloud: Cloud) -> Iterator[User]:
    """A member of project demo."""
    user = User(cloud, 'demo')
    yield user
    user.tidy()


@pytest.fixture
def admin(cloud: Cloud) -> User:
    return User(cloud, 'admin')


class Shell:
    """The two command lines, each in an environment of its own."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def openstack(self, *words: str, user: str = 'demo') -> Any:
        """Run ``openstack ...``; return its parsed output."""
        done = self.run_openstack(*words, '-f', 'json', user=user)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def do(self, *words: str, user: str = 'demo') -> None:
        """Run an ``openstack`` command that prints nothing."""
        done = self.run_openstack(*words, user=user)
        assert (done.returncode, done.stdout) == (0, ''), done.stderr

    def run_openstack(self, *words: str, user: str = 'demo') -> subprocess.CompletedProcess[str]:
        return self._run([str(BIN / 'openstack'), *words], self._cloud.openstack_environment(user))

    def cinder(self, *words: str, user: str = 'demo') -> str:
        """Run ``cinder ...`` with the newest microversion; return its output."""
        done = self.run_cinder(*words, user=user)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run_cinder(self, *words: str, user: str = 'demo') -> subprocess.CompletedProcess[str]:
        auth = yaml.safe_load(self._cloud.clouds_yaml.read_text())['clouds'][user]['auth']
        told = {f'OS_{name.upper()}': value for name, value in auth.items()}
        environment = {**os.environ, **told, 'OS_IDENTITY_API_VERSION': '3', 'OS_VOLUME_API_VERSION': '3.71'}
        return self._run([str(BIN / 'cinder'), *words], environment)

    @staticmethod
    def _run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def shell(cloud: Cloud) -> Shell:
    return Shell(cloud)
