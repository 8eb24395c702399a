"""The ONTAP driver under the contract of all drivers, over a strict double with real disks and portals."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract import driver_model
from tests.contract.driver_suite import Backend
from tests.contract.iscsi_backends import TestAttached, TestDriver, TestOpened, TestPaths, TestRestore
from tests.ontap.rig import Appliance

__all__ = ['TestAttached', 'TestDriver', 'TestOpened', 'TestPaths', 'TestRestore']


@pytest.fixture(scope='module')
def ontap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    with Appliance(tmp_path_factory.mktemp('ontap')) as running:
        yield running


@pytest.fixture
def backend(ontap: Appliance) -> Backend:
    return ontap.backend()


def test_model(backend: Backend) -> None:
    driver_model.check(backend)
