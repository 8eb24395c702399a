"""Images and keys in the local cloud: real iSCSI and workflows, a fake Glance, the standalone identity's tokens."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.fake_glance import FakeGlance, serving
from tests.system.cloud import Cloud, start

IMAGE = random.Random(1).randbytes(3 * 1024**2) + bytes(20 * 1024**2) + random.Random(2).randbytes(9 * 1024**2 + 77)

#: Seconds within which a volume must have come to rest.
PATIENCE = 90


class Api:
    """The block storage API as a user of the local cloud's identity calls it."""

    def __init__(self, cloud: Cloud, user: str) -> None:
        self._http, self._url = urllib3.PoolManager(), cloud.ready['volume']
        domain = {'name': 'Default'}
        claim = {'methods': ['password'], 'password': {'user': {'name': user, 'password': user, 'domain': domain}}}
        project = {'project': {'name': user, 'domain': domain}}
        login = {'auth': {'identity': claim, 'scope': project}}
        answer = self._http.request('POST', f'{cloud.ready["identity"]}/auth/tokens', json=login)
        self._token = answer.headers['X-Subject-Token']
        self.catalog = {one['type']: one['endpoints'][0]['url'] for one in answer.json()['token']['catalog']}

    def raw(self, method: str, url: str, body: Any = None, accept: str = 'application/json') -> tuple[int, bytes]:
        headers = {'X-Auth-Token': self._token, 'OpenStack-API-Version': 'volume 3.71', 'Accept': accept}
        sent = None if body is None else json.dumps(body)
        headers |= {} if sent is None else {'Content-Type': 'application/json'}
        answer = self._http.request(method, url, body=sent, headers=headers)
        return answer.status, answer.data

    def call(self, method: str, path: str, body: Any = None) -> Any:
        status, content = self.raw(method, self._url + path, body)
        assert status < 300, content
        return json.loads(content) if content else None

    def create(self, **facts: Any) -> Any:
        return self.settled(self.call('POST', '/volumes', {'volume': {'size': 1, **facts}})['volume']['id'])

    def settled(self, id: str) -> Any:
        """The volume once it is at rest."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            volume = self.call('GET', f'/volumes/{id}')['volume']
            if volume['status'] in ('available', 'error'):
                return volume
            time.sleep(0.2)
        pytest.fail(f'volume {id} is still {volume["status"]}')


@pytest.fixture(scope='module')
def glance() -> Iterator[FakeGlance]:
    with serving(FakeGlance()) as running:
        yield running
    assert running.violations == []


@pytest.fixture(scope='module')
def own_cloud(glance: FakeGlance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder: Path = tmp_path_factory.mktemp('images')
    with start(folder, GLANCE_URL=glance.url) as running:
        yield running


@pytest.mark.xdist_group('images')
def test_an_image_comes_and_goes_as_it_is(own_cloud: Cloud, glance: FakeGlance) -> None:
    api = Api(own_cloud, 'demo')
    image = glance.add(IMAGE, hw_disk_bus='virtio')
    volume = api.create(imageRef=image)
    assert (volume['status'], volume['bootable']) == ('available', 'true')
    assert volume['volume_image_metadata']['image_id'] == image
    upload = {'image_name': 'again', 'disk_format': 'raw', 'container_format': 'bare', 'visibility': 'private'}
    made = api.call('POST', f'/volumes/{volume["id"]}/action', {'os-volume_upload_image': upload})
    assert api.settled(volume['id'])['status'] == 'available'
    sent = glance.data[made['os-volume_upload_image']['image_id']]
    assert (len(sent), sent[: len(IMAGE)] == IMAGE, any(sent[len(IMAGE) :])) == (1024**3, True, False)
    other = glance.add(b'other' * 1000)
    api.call('POST', f'/volumes/{volume["id"]}/action', {'os-reimage': {'image_id': other}})
    assert api.settled(volume['id'])['volume_image_metadata']['image_id'] == other
    assert {asked[2].get('x-auth-token', '')[:3] for asked in glance.requests} == {'c1.'}


@pytest.mark.xdist_group('images')
def test_nova_finds_the_key_of_an_encrypted_volume(own_cloud: Cloud) -> None:
    admin, demo = Api(own_cloud, 'admin'), Api(own_cloud, 'demo')
    kind = admin.call('POST', '/types', {'volume_type': {'name': 'LUKS'}})['volume_type']
    encryption = {'provider': 'luks', 'cipher': 'aes-xts-plain64', 'key_size': 256, 'control_location': 'front-end'}
    admin.call('POST', f'/types/{kind["id"]}/encryption', {'encryption': encryption})
    volume = demo.create(volume_type='LUKS')
    assert (volume['status'], volume['encrypted']) == ('available', True)
    id = demo.call('GET', f'/volumes/{volume["id"]}/encryption')['encryption_key_id']
    url = f'{demo.catalog["key-manager"]}/v1/secrets/{id}/payload'
    status, key = demo.raw('GET', url, accept='application/octet-stream')
    assert (status, len(key)) == (200, 32)
    assert Api(own_cloud, 'demo').raw('GET', url, accept='application/octet-stream') == (200, key)
    assert admin.raw('GET', demo.catalog['key-manager'])[0] == 300


@pytest.mark.xdist_group('images')
def test_the_bus_of_notifications_is_there(own_cloud: Cloud) -> None:
    buses = own_cloud.client('events').list_event_buses()['EventBuses']
    assert 'cinderless-notifications' in [bus['Name'] for bus in buses]
