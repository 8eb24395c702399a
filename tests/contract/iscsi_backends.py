"""The suites of a backend whose volumes workers and hosts reach over iSCSI. A test module imports those it passes:
pytest finds them there, and hands them the module's fixture ``backend``."""

from __future__ import annotations

from tests.contract.driver_suite import (
    AttachedContract,
    ChangesContract,
    DriverContract,
    OpenedContract,
    RestoreContract,
)
from tests.contract.iscsi_suite import IscsiContract


class TestDriver(DriverContract):
    pass


class TestOpened(OpenedContract):
    pass


class TestRestore(RestoreContract):
    pass


class TestPaths(IscsiContract):
    pass


class TestAttached(AttachedContract):
    pass


class TestChanges(ChangesContract):
    pass
