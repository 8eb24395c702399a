"""The EBS driver on the strict double, under the contract of all drivers."""

from __future__ import annotations

from local.ebs import Timing
from tests.contract import calls, driver_model
from tests.contract.driver_suite import AttachedContract, Backend, DriverContract, RestoreContract
from tests.contract.group_suite import GroupContract
from tests.ebs import Region, backend, region, served

__all__ = ['backend', 'region', 'served']


class TestDriver(DriverContract):
    pass


class TestRestore(RestoreContract):
    pass


class TestAttached(AttachedContract):
    places = AttachedContract.places[:20]  # each is a block of 512 KiB here


class TestGroups(GroupContract):
    pass


def test_model(backend: Backend) -> None:
    driver_model.check(backend)


def test_calls(backend: Backend, region: Region) -> None:
    region.fresh(Timing(*[0.0] * 8))
    calls.check('ebs', backend, {'instance_id': region.instance}, region.ebs.calls)
