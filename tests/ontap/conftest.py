from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ontap.cluster import Cluster
from tests.ontap.disks import NoDisks
from tests.ontap.driver_fixture import identity
from tests.ontap.server import Double

__all__ = ['identity']


@pytest.fixture
def double(identity: Path) -> Iterator[Double]:
    """An ONTAP without disks."""
    with Double(Cluster(NoDisks()), identity) as running:
        yield running
