"""The local cloud at another address, over TLS: what clients and hosts get, and what stays on 127.0.0.1."""

from __future__ import annotations

import socket
import ssl
import uuid
from pathlib import Path

import pytest
import requests

from local import launch
from local.hypervisor import Hypervisor
from tests.system.clients import User
from tests.system.cloud import family, start
from tests.system.test_data import Attached
from tests.system.test_local_cloud import listening

#: Also loopback, so that no other machine reaches it during a test; its hexadecimal form in /proc/net/tcp.
ADDRESS, HEX = '127.0.0.2', '0200007F'


def test_clients_and_hosts_get_the_address_and_verify_the_certificate(tmp_path: Path) -> None:
    ports = launch.free_ports()
    with start(tmp_path, **ports, LISTEN=ADDRESS, TLS='1') as cloud:
        api = f'https://{ADDRESS}:{ports["PORT"]}'
        assert cloud.ready['volume'] == f'{api}/v3'
        addresses = {address for pid in family(cloud.process.pid) for address in listening(pid)}
        assert addresses == {'0100007F', HEX}
        for port in (ports['AWS_PORT'], ports['APPLIANCE_PORT']):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((ADDRESS, int(port)), timeout=5)
        user = User(cloud, 'demo')
        assert user.sdk.block_storage.get_endpoint().startswith(api)
        volume = user.volume()
        assert all(link['href'].startswith(api) for link in user.cinder.volumes.get(volume.id).links)
        host = Hypervisor('compute-1', f'iqn.2004-10.com.example:{uuid.uuid4().hex[:12]}')
        with Attached(user, volume, host) as info:
            assert info['target_portal'] == f'{ADDRESS}:{ports["ISCSI_PORT"]}'
            host.io(info, 'write -P 0x5a 0 4M')
        user.wait(user.cinder.backups, user.cinder.backups.create(volume.id).id)
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(cloud.ready['volume'], timeout=10)
        with pytest.raises(ssl.SSLError), socket.create_connection((ADDRESS, int(ports['PORT'])), timeout=5) as raw:
            ssl.create_default_context().wrap_socket(raw, server_hostname=ADDRESS)
        user.tidy()
