"""What tests of the ONTAP driver share: a double without disks, references, and what the double remembers."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib.drivers import ontap, ontap_groups, ontap_luns, ontap_qos
from chalicelib.drivers.base import SnapshotRef, VolumeRef
from tests.ontap.cluster import Cluster
from tests.ontap.disks import NoDisks
from tests.ontap.driver_fixture import identity
from tests.ontap.server import Double

__all__ = ['identity']

HOST = 'iqn.2026-01.org.example:host'
OTHER = 'iqn.2026-01.org.example:other'
FAST, SLOW = 'cinderless@ontap#fast', 'cinderless@ontap#slow'
GIB = 1024**3


@pytest.fixture
def double(identity: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    """No call waits for long, and no device is opened."""
    monkeypatch.setattr(ontap_luns, 'LOOK', 0.01)
    monkeypatch.setattr(ontap_qos, 'PAUSE', 0.01)
    monkeypatch.setattr(ontap_groups, 'PAUSE', 0.01)
    monkeypatch.setattr('chalicelib.drivers.ontap_client.PAUSES', (0.0, 0.0))
    monkeypatch.setattr(ontap.iscsi, 'open_device', lambda data, initiator: Opened(data, initiator))
    with Double(Cluster(NoDisks()), identity) as running:
        yield running


class Opened:
    """In the place of a device: what it would have been opened with."""

    size, block_size = GIB, 512

    def __init__(self, data: dict[str, Any], initiator: str) -> None:
        self.data = data
        self.initiator = initiator


def volume(size: int = 1, host: str = FAST, **more: Any) -> VolumeRef:
    return VolumeRef(id=str(uuid.uuid4()), size=size, project_id='p', host=host, **more)


def snapshot(of: VolumeRef) -> SnapshotRef:
    return SnapshotRef(id=str(uuid.uuid4()), size=of.size, volume=of)


def remembered(cluster: Cluster) -> dict[str, Any]:
    """All that ONTAP remembers, by names: two runs of the same verbs compare equal."""
    return {
        'luns': {
            lun['name']: (
                lun['space']['size'],
                lun['space']['scsi_thin_provisioning_support_enabled'],
                lun.get('qos_policy', {}).get('name'),
                sorted((one['name'], one['value'].partition(' ')[2]) for one in lun['attributes']),
            )
            for lun in cluster.luns
        },
        'maps': sorted((one['lun']['name'], one['igroup']['name']) for one in cluster.maps),
        'igroups': sorted((one['name'], *(member['name'] for member in one['initiators'])) for one in cluster.igroups),
        'credentials': sorted(one['initiator'] for one in cluster.credentials),
        'snapshots': sorted((one['volume']['name'], one['name']) for one in cluster.snapshots),
        'groups': sorted(one['name'] for one in cluster.groups),
        'policies': sorted(one['name'] for one in cluster.policies),
    }
