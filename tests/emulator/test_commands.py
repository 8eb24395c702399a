"""``make emulator``: every command of python-cinderclient's and python-openstackclient's shells, on the second AWS."""

from __future__ import annotations

import pytest

from tests.emulator.service import Service
from tests.system import test_cinder_commands, test_openstack_commands

pytestmark = pytest.mark.xdist_group('emulator')


@pytest.mark.parametrize('about', test_cinder_commands.STORIES)
def test_cinder(cloud: Service, about: str) -> None:
    test_cinder_commands.test_commands(cloud, about)  # type: ignore[arg-type]


@pytest.mark.parametrize('about', test_openstack_commands.STORIES)
def test_openstack(cloud: Service, about: str) -> None:
    test_openstack_commands.test_commands(cloud, about)  # type: ignore[arg-type]
