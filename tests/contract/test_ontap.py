"""The ONTAP driver under the contract of all drivers, over a strict double with real disks and portals."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from chalicelib.drivers.base import VolumeRef
from tests.contract import calls, driver_model
from tests.contract.driver_suite import Backend
from tests.contract.group_suite import GroupContract
from tests.contract.iscsi_backends import TestAttached, TestDriver, TestOpened, TestPaths, TestRestore
from tests.ontap.driver_fixture import Appliance

__all__ = ['TestAttached', 'TestDriver', 'TestOpened', 'TestPaths', 'TestRestore']


@pytest.fixture(scope='module')
def ontap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with Appliance(tmp_path_factory.mktemp('ontap')) as running:
        yield running


@pytest.fixture
def backend(ontap: Appliance) -> Backend:
    return ontap.backend()


class TestGroups(GroupContract):
    pass


class TestGroupsOfSeveralFlexVols(GroupContract):
    def volumes(self, backend: Backend) -> list[VolumeRef]:
        found = [backend.volume_ref(host=host) for host in (backend.host, backend.other_host, backend.host)]
        for one in found:
            backend.driver.create_volume(one)
        return found


def test_model(backend: Backend) -> None:
    driver_model.check(backend)


def test_calls(ontap: Appliance, backend: Backend) -> None:
    """The SVM's target and portals are known: two requests, once in five minutes."""
    backend.driver._target()  # type: ignore[attr-defined]
    calls.check('ontap', backend, {'initiator': 'iqn.2026-01.org.example:calls'}, ontap.double.calls)
