"""Backends whose exports have a CHAP account, and a key to encrypt its secret."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import pytest

from chalicelib import errors
from chalicelib.drivers.base import ConnectionInfo, Connector, VolumeRef
from tests.fake_driver import FakeBackends, FakeDriver
from tests.simulation import Simulation

#: Part of every secret: must not be found where secrets must not be.
CANARY = 'canary'


class ChapDriver(FakeDriver):
    """Answers as iSCSI drivers do; the same export id has the same secret each time."""

    def initialize_connection(
        self, volume: VolumeRef, connector: Connector, export_id: str, mode: Literal['rw', 'ro'] = 'rw'
    ) -> ConnectionInfo:
        if not connector.get('initiator'):
            raise errors.InvalidConnector(missing='initiator')
        super().initialize_connection(volume, connector, export_id, mode)
        return {'driver_volume_type': 'iscsi', 'data': self._data(volume, export_id, mode)}

    @staticmethod
    def _data(volume: VolumeRef, export_id: str, mode: str) -> dict[str, Any]:
        return {
            'target_portal': '10.0.0.1:3260',
            'target_iqn': f'iqn.2010-10.org.openstack:{volume.name}',
            'target_lun': 1,
            'target_discovered': False,
            'auth_method': 'CHAP',
            'auth_username': export_id[:8],
            'auth_password': f'{CANARY}-{export_id}',
            'discovery_auth_password': f'{CANARY}-discovery',
            'access_mode': mode,
            'volume_id': volume.id,
        }


class ChapBackends(FakeBackends):
    def driver(self, host: str) -> ChapDriver:
        return ChapDriver(self.backend(host))


@pytest.fixture
def chap(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulation]:
    """The simulation with such backends, and KMS."""
    import boto3

    from chalicelib import aws
    from chalicelib.tasks import backends

    key = boto3.client('kms', region_name='us-east-1').create_key()['KeyMetadata']['KeyId']
    known = aws.settings()._replace(kms_key_id=key)
    monkeypatch.setattr(aws, 'settings', lambda: known)
    monkeypatch.setattr(backends, 'configured', lambda: ChapBackends(simulation.backends))
    aws.client.cache_clear()
    yield simulation
    aws.client.cache_clear()


def paths(simulation: Simulation) -> list[tuple[str, str]]:
    """(object, export id) of every path on any backend."""
    return sorted(
        (name, export)
        for backend in simulation.backends.values()
        for name, exports in backend.paths.items()
        for export in exports
    )
