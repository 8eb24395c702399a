"""The driver with the double behind it, for tests of the contract."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest

from appliance import certificate
from chalicelib.drivers.ontap import OntapDriver
from tests.contract.driver_suite import Backend
from tests.ontap.cluster import Cluster
from tests.ontap.fabric import Fabric
from tests.ontap.server import USERS, Double

HOST = 'cinderless@ontap'
TARGET_IQN = 'iqn.1992-08.com.netapp:sn.svm1:vs.1'
SECRET = 'a secret of forty characters, made for tests'


@pytest.fixture(scope='session')
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate; one for the session, since openssl is slow."""
    folder = tmp_path_factory.mktemp('ontap')
    certificate.ensure(folder)
    return folder


def driver(double: Double, **options: Any) -> OntapDriver:
    known = {
        'url': double.url,
        'svm': 'svm1',
        'username': 'vsadmin',
        'password': USERS['vsadmin'][0],
        'chap_secret': SECRET,
        'fingerprint': certificate.fingerprint(double.certificate),
    }
    return OntapDriver('ontap', known | options)


class Appliance(contextlib.ExitStack):
    """``with Appliance(folder) as ontap``: REST, disks and portals."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def __enter__(self) -> Appliance:
        super().__enter__()
        self.fabric = self.enter_context(Fabric(self._folder, TARGET_IQN))
        self.double = self.enter_context(Double(Cluster(self.fabric, self.fabric.addresses), self._folder))
        return self

    def driver(self, **options: Any) -> OntapDriver:
        return driver(self.double, **{'iscsi_port': self.fabric.port, **options})

    def backend(self) -> Backend:
        return Backend(self.driver(), f'{HOST}#fast', f'{HOST}#slow', too_large=1000)
