"""Nova's own volume client and os-brick, unmodified and in an environment of their own, against the local cloud."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib.models.pool import service_uuid
from tests.system import environments
from tests.system.clients import User, unique
from tests.system.cloud import Cloud

#: Nova takes seconds to import: with ``--dist loadgroup`` one worker has all of it.
pytestmark = pytest.mark.xdist_group('nova')

STORY = Path(__file__).with_name('nova_volumes.py')

ENCRYPTION = {'provider': 'luks', 'cipher': 'aes-xts-plain64', 'key_size': 256, 'control_location': 'front-end'}


@pytest.fixture(scope='module')
def told(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Yield the results of Nova's client, which takes seconds to import and so runs once."""
    conf = tmp_path_factory.mktemp('nova') / 'nova.conf'
    conf.write_text(configuration(cloud, conf.parent))
    admin, demo = User(cloud, 'admin'), User(cloud, 'demo')
    kind = admin.cinder.volume_types.create(unique('encrypted'))
    admin.cinder.volume_encryption_types.create(kind, ENCRYPTION)
    yield environments.run(
        'nova',
        [str(STORY)],
        {'nova_conf': str(conf), 'context': context(demo), 'encrypted_type': kind.name},
    )
    demo.tidy()
    admin.cinder.volume_types.delete(kind)


def configuration(cloud: Cloud, locks: Path) -> str:
    """Return an operator's nova.conf: the catalog has the endpoint, Nova's own user authenticates its calls."""
    return textwrap.dedent(f"""
        [cinder]
        os_region_name = {cloud.ready['region']}
        [oslo_concurrency]
        lock_path = {locks}
        [service_user]
        send_service_user_token = true
        auth_type = password
        auth_url = {cloud.ready['identity']}
        username = cinder
        password = cinder
        project_name = service
        user_domain_name = Default
        project_domain_name = Default
        """)


def context(user: User) -> dict[str, Any]:
    """Return what keystonemiddleware passes to Nova for a request, with the catalog in the form of version 2."""
    session = user.sdk.session
    access = session.auth.get_access(session)
    catalog = [
        {
            'type': service['type'],
            'name': service['name'],
            'endpoints': [
                {'region': one['region'], f'{one["interface"]}URL': one['url']} for one in service['endpoints']
            ],
        }
        for service in access.service_catalog.catalog
    ]
    return {
        'user_id': access.user_id,
        'project_id': access.project_id,
        'auth_token': access.auth_token,
        'service_catalog': catalog,
    }


def test_a_volume_is_attached_and_detached(told: dict[str, Any]) -> None:
    story = told['attaches']
    service = service_uuid('cinder-volume', 'cinderless@xfs-nova')
    assert story['statuses'] == ['reserved', 'attaching', 'in-use', 'detaching', 'in-use', 'available']
    assert (story['reserved']['status'], story['reserved']['connection_info']) == ('reserved', {})
    assert story['volume']['attachments'] == {
        story['server']: {'attachment_id': story['reserved']['id'], 'mountpoint': '/dev/vdb'}
    }
    assert (story['volume']['attach_status'], story['volume']['multiattach']) == ('attached', False)
    assert (story['volume']['shared_targets'], story['volume']['service_uuid']) == (False, service)
    assert (story['same again'], story['listed']) == ([True, True], True)
    assert story['refusals'] == {'while attached': 'InvalidInput', 'of what is gone': 'VolumeAttachmentNotFound'}
    assert story['gone'] == 'VolumeNotFound'


def test_os_brick_understands_the_connection(told: dict[str, Any], cloud: Cloud) -> None:
    data, brick = told['attaches']['data'], told['attaches']['brick']
    assert brick['targets'] == [[cloud.ready['iscsi'], data['target_iqn'], data['target_lun']]]
    assert brick['logins'] == 1
    assert brick['settings'] == {
        'node.session.auth.authmethod': 'CHAP',
        'node.session.auth.username': data['auth_username'],
        'node.session.auth.password': data['auth_password'],
        'node.session.scan': 'manual',
        'node.startup': 'automatic',
    }


def test_a_server_from_before_attachments(told: dict[str, Any], cloud: Cloud) -> None:
    story = told['attached before']
    assert story['statuses'] == ['in-use', 'available']
    [[portal, iqn, lun]] = story['brick']['targets']
    assert (portal, iqn.startswith('iqn.'), lun) == (cloud.ready['iscsi'], True, 1)
    assert story['brick']['settings']['node.session.auth.authmethod'] == 'CHAP'


def test_snapshots(told: dict[str, Any]) -> None:
    story = told['snapshots']
    seen = story['snapshot']
    assert (seen['status'], seen['progress'], seen['volume_id']) == ('available', '100%', story['volume'])
    assert (story['copy of'], story['listed']) == (True, True)
    assert (story['refusals'], story['gone']) == ({'in use': 'InvalidInput'}, 'SnapshotNotFound')


def test_a_compute_host_learns_of_the_key(told: dict[str, Any]) -> None:
    story = told['encrypted']
    assert story['types']
    assert story['encrypted'].pop('encryption_key_id')
    assert story['encrypted'] == ENCRYPTION
    assert story['plain'] == {'encryption_key_id': None}


def test_microversions(told: dict[str, Any]) -> None:
    refused = {version for version, answer in told['versions'].items() if answer != 'not refused'}
    assert refused == {'3.99'}
    assert told['versions']['3.99'] == 'CinderAPIVersionNotAvailable'


def test_answers_become_novas_exceptions(told: dict[str, Any]) -> None:
    story = told['trouble']
    assert {'maxTotalVolumes', 'totalVolumesUsed'} <= set(story.pop('limits'))
    assert story == {
        'get': 'VolumeNotFound',
        'get_snapshot': 'SnapshotNotFound',
        'reserve': 'VolumeNotFound',
        'attachment_get': 'VolumeAttachmentNotFound',
        'attachment_create': 'VolumeNotFound',
        'begin_detaching': 'InvalidInput',
        'quota': 'OverQuota',
    }
