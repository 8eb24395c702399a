from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import certificate
from tests.ontap.cluster import Cluster
from tests.ontap.disks import NoDisks
from tests.ontap.server import Double


@pytest.fixture(scope='session')
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate, which takes openssl a moment."""
    folder = tmp_path_factory.mktemp('ontap')
    certificate.ensure(folder)
    return folder


@pytest.fixture
def double(identity: Path) -> Iterator[Double]:
    """An ONTAP without disks."""
    with Double(Cluster(NoDisks()), identity) as running:
        yield running
