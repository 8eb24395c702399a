"""python-cinderclient, openstacksdk and the command lines against the running local cloud, unmodified."""

from __future__ import annotations

import uuid
from typing import Any

import openstack.exceptions
import pytest
from cinderclient import exceptions

from tests.system.clients import Shell, User, admin, demo, shell, unique, until
from tests.system.cloud import Cloud

__all__ = ['admin', 'demo', 'shell']

CONNECTOR = {
    'initiator': 'iqn.1993-08.org.debian:01:aaa',
    'ip': '10.0.0.11',
    'host': 'compute-1',
    'platform': 'x86_64',
    'os_type': 'linux',
    'multipath': False,
}

ABSENT = '00000000-0000-4000-8000-000000000000'


class TestVolumes:
    def test_the_life_of_a_volume_in_the_sdk(self, demo: User) -> None:
        storage = demo.sdk.block_storage
        made = storage.create_volume(size=1, name=unique('data'), metadata={'rack': '7'})
        volume = storage.wait_for_status(made, status='available', interval=1)
        assert (volume.size, volume.metadata, volume.is_bootable, volume.availability_zone) == (
            1, {'rack': '7'}, False, 'nova',
        )  # fmt: skip
        renamed = storage.update_volume(volume, name='renamed', description='with words')
        assert (renamed.name, renamed.description) == ('renamed', 'with words')
        assert storage.set_volume_metadata(volume, rack='8', row='2').metadata == {'rack': '8', 'row': '2'}
        storage.delete_volume_metadata(volume, keys=['row'])
        assert storage.get_volume_metadata(volume).metadata == {'rack': '8'}
        storage.set_volume_bootable_status(volume, True)
        storage.set_volume_readonly(volume, True)
        storage.extend_volume(volume, 2)
        grown = until(lambda: (found := storage.get_volume(volume.id)).size == 2 and found)
        assert (grown.status, grown.is_bootable) == ('available', True)
        assert storage.find_volume('renamed').id == volume.id
        storage.delete_volume(volume)
        storage.wait_for_delete(volume, interval=1)
        assert storage.find_volume('renamed') is None

    def test_snapshots_and_copies(self, demo: User) -> None:
        storage = demo.sdk.block_storage
        source = demo.volume()
        snapshot = storage.create_snapshot(volume_id=source.id, name=unique('snap'), metadata={'a': 'b'})
        snapshot = storage.wait_for_status(snapshot, status='available', interval=1)
        assert (snapshot.size, snapshot.volume_id, snapshot.metadata) == (1, source.id, {'a': 'b'})
        with pytest.raises(exceptions.BadRequest, match='have snapshots'):
            demo.cinder.volumes.delete(source.id)
        from_snapshot = demo.volume(2, snapshot_id=snapshot.id)
        assert (from_snapshot.size, from_snapshot.snapshot_id) == (2, snapshot.id)
        clone = demo.volume(source_volid=source.id)
        assert clone.source_volid == source.id
        assert [each.id for each in storage.snapshots(volume_id=source.id)] == [snapshot.id]
        demo.cinder.volumes.delete(source.id, cascade=True)
        until(lambda: source.id not in {volume.id for volume in demo.cinder.volumes.list()})
        assert demo.cinder.volume_snapshots.list() == []

    def test_pages(self, demo: User) -> None:
        """Markers and limits, and the next link that the SDK follows."""
        made = [demo.volume(name=f'page-{number}').id for number in range(5)]
        newest_first = list(reversed(made))
        assert [each.id for each in demo.sdk.block_storage.volumes(details=False, limit=2)] == newest_first
        first = demo.cinder.volumes.list(limit=2)
        second = demo.cinder.volumes.list(limit=2, marker=first[-1].id)
        assert [each.id for each in [*first, *second]] == newest_first[:4]
        by_name = demo.cinder.volumes.list(sort='name:asc', limit=3)
        assert [each.name for each in by_name] == ['page-0', 'page-1', 'page-2']
        assert [each.id for each in demo.cinder.volumes.list(search_opts={'name': 'page-3'})] == [made[3]]

    def test_projects_are_apart(self, cloud: Cloud, demo: User, admin: User) -> None:
        volume = demo.volume()
        alt = User(cloud, 'alt')
        with pytest.raises(exceptions.NotFound):
            alt.cinder.volumes.get(volume.id)
        assert alt.cinder.volumes.list() == []
        assert admin.cinder.volumes.get(volume.id).id == volume.id
        everywhere = admin.cinder.volumes.list(search_opts={'all_tenants': 1})
        assert volume.id in {each.id for each in everywhere}
        reader = User(cloud, 'reader')
        assert reader.cinder.volumes.get(volume.id).name == volume.name
        with pytest.raises(exceptions.Forbidden):
            reader.cinder.volumes.delete(volume.id)


class TestTypes:
    def test_a_type_with_extra_specs_places_its_volumes(self, demo: User, admin: User) -> None:
        kind = admin.cinder.volume_types.create(unique('zone-two'), 'far away')
        kind.set_keys({'volume_backend_name': 'xfs-az2', 'RESKEY:availability_zones': 'az2'})
        assert kind.get_keys()['volume_backend_name'] == 'xfs-az2'
        volume = demo.volume(volume_type=kind.name)
        assert (volume.volume_type, volume.availability_zone) == (kind.name, 'az2')
        seen = admin.cinder.volumes.get(volume.id)
        assert getattr(seen, 'os-vol-host-attr:host') == 'cinderless@xfs-az2#remote'
        with pytest.raises(exceptions.BadRequest, match='still in use'):
            admin.cinder.volume_types.delete(kind)
        with pytest.raises(exceptions.BadRequest, match='currently in use'):
            kind.unset_keys(['volume_backend_name'])
        renamed = admin.cinder.volume_types.update(kind.id, name=unique('other'))
        assert demo.cinder.volumes.get(volume.id).volume_type == renamed.name
        volume.delete()
        until(lambda: not demo.cinder.volumes.list())
        kind.unset_keys(['volume_backend_name'])
        assert set(kind.get_keys()) == {'RESKEY:availability_zones'}
        admin.cinder.volume_types.delete(kind)
        with pytest.raises(exceptions.NotFound):
            demo.cinder.volume_types.get(kind.id)

    def test_members_may_not_make_types(self, demo: User) -> None:
        with pytest.raises(exceptions.Forbidden, match="Policy doesn't allow volume_extension:type_create"):
            demo.cinder.volume_types.create('mine')

    def test_nobody_fits_and_a_message_says_why(self, demo: User, admin: User) -> None:
        kind = admin.cinder.volume_types.create(unique('nowhere'))
        kind.set_keys({'volume_backend_name': 'unknown'})
        volume = demo.cinder.volumes.create(1, volume_type=kind.name)
        demo.wait(demo.cinder.volumes, volume.id, 'error')
        [message] = [each for each in demo.cinder.messages.list() if each.resource_uuid == volume.id]
        assert message.event_id == 'VOLUME_VOLUME_001_003'
        assert 'the volume type requires other capabilities' in message.user_message
        assert demo.cinder.messages.get(message.id).request_id == message.request_id
        message.delete()
        with pytest.raises(exceptions.NotFound):
            demo.cinder.messages.get(message.id)
        volume.delete()
        until(lambda: not demo.cinder.volumes.list())
        admin.cinder.volume_types.delete(kind)


class TestAttachments:
    def test_as_nova_attaches(self, demo: User) -> None:
        volume, server = demo.volume(), str(uuid.uuid4())
        made = demo.cinder.attachments.create(volume.id, None, server, 'rw')
        assert (made['status'], demo.cinder.volumes.get(volume.id).status) == ('reserved', 'reserved')
        with pytest.raises(exceptions.BadRequest, match='must be available or downloading to reserve'):
            demo.cinder.attachments.create(volume.id, None, str(uuid.uuid4()), 'rw')
        updated = demo.cinder.attachments.update(made['id'], CONNECTOR)
        info = updated.connection_info
        assert (info['driver_volume_type'], info['auth_method'], info['access_mode']) == ('iscsi', 'CHAP', 'rw')
        assert demo.cinder.attachments.update(made['id'], CONNECTOR).connection_info == info
        demo.cinder.attachments.complete(made['id'])
        seen = demo.cinder.volumes.get(volume.id)
        assert (seen.status, [one['server_id'] for one in seen.attachments]) == ('in-use', [server])
        assert demo.cinder.attachments.show(made['id']).connection_info == info
        assert [each.id for each in demo.cinder.attachments.list(search_opts={'volume_id': volume.id})] == [made['id']]
        with pytest.raises(exceptions.BadRequest):
            demo.cinder.volumes.delete(volume.id)
        demo.cinder.attachments.delete(made['id'])
        assert demo.cinder.volumes.get(volume.id).status == 'available'

    def test_as_nova_attached_before(self, demo: User) -> None:
        volume = demo.volume()
        actions = demo.cinder.volumes
        actions.reserve(volume.id)
        info = actions.initialize_connection(volume.id, CONNECTOR)
        assert info['data']['target_iqn'].endswith(volume.id)
        actions.attach(volume.id, str(uuid.uuid4()), '/dev/vdb')
        assert actions.get(volume.id).status == 'in-use'
        actions.begin_detaching(volume.id)
        actions.terminate_connection(volume.id, CONNECTOR)
        actions.detach(volume.id)
        assert actions.get(volume.id).status == 'available'

    def test_through_the_sdk(self, demo: User) -> None:
        volume = demo.volume()
        storage = demo.sdk.block_storage
        made = storage.create_attachment(volume.id, connector=CONNECTOR, instance=str(uuid.uuid4()))
        storage.complete_attachment(made)
        assert storage.get_attachment(made).status == 'attached'
        storage.delete_attachment(made)
        assert storage.get_volume(volume.id).status == 'available'


class TestBackups:
    def test_full_incremental_and_restore(self, demo: User) -> None:
        volume = demo.volume()
        with pytest.raises(exceptions.BadRequest, match='No backups available to do an incremental backup'):
            demo.cinder.backups.create(volume.id, incremental=True)
        full = demo.cinder.backups.create(volume.id, name='full', metadata={'a': 'b'})
        full = demo.wait(demo.cinder.backups, full.id)
        assert (full.size, full.is_incremental, full.metadata, full.container) == (
            1,
            False,
            {'a': 'b'},
            'volumebackups',
        )
        child = demo.cinder.backups.create(volume.id, name='child', incremental=True)
        assert demo.wait(demo.cinder.backups, child.id).is_incremental
        assert demo.cinder.backups.get(full.id).has_dependent_backups
        restored = demo.cinder.restores.restore(child.id)
        new = demo.wait(demo.cinder.volumes, restored.volume_id)
        assert (new.name, new.metadata) == (volume.name, {'src_backup_id': child.id})
        demo.wait(demo.cinder.backups, child.id)
        demo.cinder.restores.restore(full.id, volume.id)
        demo.wait(demo.cinder.volumes, volume.id)
        assert [each.id for each in demo.cinder.backups.list(sort='name:asc')] == [child.id, full.id]
        renamed = demo.cinder.backups.update(full.id, name='kept', description='long')
        assert renamed['backup']['name'] == 'kept'

    def test_of_a_snapshot_through_the_sdk(self, demo: User) -> None:
        storage = demo.sdk.block_storage
        volume = demo.volume()
        snapshot = storage.create_snapshot(volume_id=volume.id, name='s')
        storage.wait_for_status(snapshot, status='available', interval=1)
        backup = storage.create_backup(volume_id=volume.id, snapshot_id=snapshot.id, name='of-snapshot')
        backup = storage.wait_for_status(backup, status='available', interval=1)
        assert (backup.snapshot_id, backup.volume_id) == (snapshot.id, volume.id)
        storage.delete_backup(backup)
        storage.wait_for_delete(backup, interval=1)

    def test_an_administrator_cancels_and_resets(self, demo: User, admin: User) -> None:
        volume = demo.volume()
        backup = demo.wait(demo.cinder.backups, demo.cinder.backups.create(volume.id).id)
        admin.cinder.backups.reset_state(backup.id, 'error')
        assert demo.cinder.backups.get(backup.id).status == 'error'
        with pytest.raises(exceptions.BadRequest):
            demo.cinder.restores.restore(backup.id)
        with pytest.raises(exceptions.Forbidden):
            demo.cinder.backups.delete(backup.id, force=True)
        admin.cinder.backups.delete(backup.id, force=True)
        until(lambda: not demo.cinder.backups.list())


class TestQuotasAndLimits:
    def test_limits_are_set_used_and_refused(self, demo: User, admin: User) -> None:
        admin.cinder.quotas.update(demo.project, volumes=1, gigabytes=2)
        try:
            volume = demo.volume()
            usage = demo.cinder.quotas.get(demo.project, usage=True)
            assert usage.volumes == {'limit': 1, 'in_use': 1, 'reserved': 0}
            with pytest.raises(exceptions.OverLimit) as refused:
                demo.cinder.volumes.create(1)
            assert 'VolumeLimitExceeded: Maximum number of volumes allowed (1) exceeded' in str(refused.value)
            with pytest.raises(exceptions.OverLimit, match='VolumeSizeExceedsAvailableQuota'):
                demo.cinder.volumes.extend(volume.id, 3)
            absolute = {each.name: each.value for each in demo.cinder.limits.get().absolute}
            assert (absolute['maxTotalVolumes'], absolute['totalVolumesUsed']) == (1, 1)
            with pytest.raises(exceptions.Forbidden):
                demo.cinder.quotas.update(demo.project, volumes=100)
        finally:
            admin.cinder.quotas.delete(demo.project)
        assert demo.cinder.quotas.get(demo.project).volumes == 10
        assert admin.cinder.quota_classes.get('default').volumes == 10

    def test_an_sdk_quota_set(self, demo: User, admin: User) -> None:
        storage = admin.sdk.block_storage
        storage.update_quota_set(demo.project, snapshots=3)
        assert storage.get_quota_set(demo.project).snapshots == 3
        storage.revert_quota_set(demo.project)
        assert storage.get_quota_set(demo.project).snapshots == 10


class TestDeployment:
    def test_zones_services_and_pools(self, demo: User, admin: User) -> None:
        zones = {each.zoneName: each.zoneState for each in demo.cinder.availability_zones.list()}
        assert zones == {'nova': {'available': True}, 'az2': {'available': True}}
        services = {(each.binary, each.host, each.state) for each in admin.cinder.services.list()}
        assert ('cinder-volume', 'cinderless@xfs-nova', 'up') in services
        assert {'cinder-scheduler', 'cinder-backup'} <= {binary for binary, _, _ in services}
        with pytest.raises(exceptions.Forbidden):
            demo.cinder.services.list()
        pools = {each.name: each for each in admin.cinder.pools.list(detailed=True)}
        assert set(pools) == {'cinderless@xfs-nova#fast', 'cinderless@xfs-nova#slow', 'cinderless@xfs-az2#remote'}
        assert 'iSCSI' in pools['cinderless@xfs-nova#fast'].storage_protocol
        assert {each.name for each in admin.sdk.block_storage.backend_pools()} == set(pools)

    def test_a_disabled_service_takes_no_volumes(self, demo: User, admin: User) -> None:
        host = 'cinderless@xfs-nova'
        admin.cinder.services.disable_log_reason(host, 'cinder-volume', 'repairs')
        try:
            [found] = admin.cinder.services.list(host=host)
            assert (found.status, found.disabled_reason) == ('disabled', 'repairs')
            volume = demo.cinder.volumes.create(1)
            demo.wait(demo.cinder.volumes, volume.id, 'error')
        finally:
            admin.cinder.services.enable(host, 'cinder-volume')
        assert demo.volume().status == 'available'

    def test_versions_are_negotiated(self, cloud: Cloud, demo: User) -> None:
        low, high = demo.cinder.api_version.get_string(), demo.sdk.block_storage.get_endpoint_data()
        assert low == '3.71'
        assert str(high.max_microversion) == '(3, 71)'
        old = User(cloud, 'demo', microversion='3.0')
        volume = demo.volume()
        assert not hasattr(old.cinder.volumes.get(volume.id), 'group_id')
        assert hasattr(demo.cinder.volumes.get(volume.id), 'group_id')


class TestErrors:
    @pytest.mark.parametrize('manager', ['volumes', 'volume_snapshots', 'backups', 'volume_types', 'messages'])
    def test_what_is_not_there_is_404(self, demo: User, manager: str) -> None:
        with pytest.raises(exceptions.NotFound) as refused:
            getattr(demo.cinder, manager).get(ABSENT)
        assert ABSENT in str(refused.value)

    def test_the_sdks_own_error(self, demo: User) -> None:
        with pytest.raises(openstack.exceptions.NotFoundException, match=f'Volume {ABSENT} could not be found'):
            demo.sdk.block_storage.get_volume(ABSENT)

    @pytest.mark.parametrize(
        ('facts', 'message'),
        [
            ({'size': 0}, 'minimum of 1'),
            ({'size': -1}, 'minimum of 1'),
            ({'size': 'x'}, 'does not match'),
            ({'size': 1, 'availability_zone': 'moon'}, "Availability zone 'moon' is invalid"),
            ({'size': 1, 'imageRef': ABSENT}, 'This cloud has no image service'),
        ],
    )
    def test_what_makes_no_sense_is_400(self, demo: User, facts: dict[str, Any], message: str) -> None:
        with pytest.raises(exceptions.BadRequest) as refused:
            demo.cinder.volumes.create(**facts)
        assert message in str(refused.value)

    @pytest.mark.parametrize('version', ['3.72', '3.999'])
    def test_a_version_of_the_future_is_406(self, demo: User, version: str) -> None:
        answer = demo.sdk.block_storage.get('/volumes', headers={'OpenStack-API-Version': f'volume {version}'})
        assert answer.status_code == 406
        assert 'Minimum is 3.0 and maximum is 3.71' in answer.json()['computeFault']['message']

    def test_without_a_token_is_401(self, demo: User) -> None:
        answer = demo.sdk.session.get(
            demo.sdk.block_storage.get_endpoint() + '/volumes', authenticated=False, raise_exc=False
        )
        assert answer.status_code == 401

    def test_a_wrong_password_is_told_at_once(self, shell: Shell) -> None:
        done = shell.run_openstack('--os-password', 'wrong', 'volume', 'list')
        assert done.returncode == 1
        assert '401' in done.stderr


class TestCommandLines:
    """One story for each: a command starts a whole Python, so commands are dear."""

    def test_openstack(self, shell: Shell, demo: User) -> None:
        name = unique('cli')
        made = shell.openstack('volume', 'create', '--size', '1', '--property', 'a=b', name)
        assert (made['size'], made['properties'], made['status']) == (1, {'a': 'b'}, 'creating')
        demo.wait(demo.cinder.volumes, made['id'])
        shell.do('volume', 'set', '--description', 'words', '--property', 'c=d', name)
        shell.do('volume', 'unset', '--property', 'a', name)
        shown = shell.openstack('volume', 'show', name)
        assert (shown['description'], shown['properties']) == ('words', {'c': 'd'})
        shell.openstack('volume', 'snapshot', 'create', '--volume', name, f'{name}-snap')
        demo.wait(demo.cinder.volume_snapshots, demo.cinder.volume_snapshots.list()[0].id)
        backup = shell.openstack('volume', 'backup', 'create', '--name', f'{name}-backup', name)
        demo.wait(demo.cinder.backups, backup['id'])
        restored = shell.openstack('volume', 'backup', 'restore', f'{name}-backup', f'{name}-restored')
        demo.wait(demo.cinder.volumes, restored['volume_id'])
        demo.wait(demo.cinder.backups, backup['id'])
        listed = shell.openstack('volume', 'list', '--long')
        assert {(each['Name'], each['Status']) for each in listed} == {
            (name, 'available'), (f'{name}-restored', 'available'),
        }  # fmt: skip
        shell.do('volume', 'backup', 'delete', f'{name}-backup')
        shell.do('volume', 'snapshot', 'delete', f'{name}-snap')
        until(lambda: not demo.cinder.volume_snapshots.list())
        shell.do('volume', 'delete', name, f'{name}-restored')
        until(lambda: not demo.cinder.volumes.list())

    def test_openstack_for_administrators(self, shell: Shell, demo: User) -> None:
        name = unique('kind')
        made = shell.openstack('volume', 'type', 'create', '--property', 'a=b', name, user='admin')
        assert made['properties'] == {'a': 'b'}
        shell.do('volume', 'type', 'set', '--property', 'c=d', name, user='admin')
        shell.do('volume', 'type', 'unset', '--property', 'a', name, user='admin')
        assert shell.openstack('volume', 'type', 'show', name, user='admin')['properties'] == {'c': 'd'}
        shell.do('volume', 'type', 'delete', name, user='admin')
        binaries = {each['Binary'] for each in shell.openstack('volume', 'service', 'list', user='admin')}
        assert 'cinder-volume' in binaries
        pools = shell.openstack('volume', 'backend', 'pool', 'list', user='admin')
        assert {each['Name'] for each in pools} >= {'cinderless@xfs-nova#fast'}

    def test_openstack_attachments(self, shell: Shell, demo: User) -> None:
        """All but create, which requests the server from Nova first."""
        volume = demo.volume()
        made = demo.cinder.attachments.create(volume.id, CONNECTOR, str(uuid.uuid4()), 'rw')
        words = ('--os-volume-api-version', '3.54', 'volume', 'attachment')
        shell.do(*words, 'complete', made['id'])
        shown = shell.openstack(*words, 'show', made['id'])
        assert (shown['Status'], shown['Properties']['driver_volume_type']) == ('attached', 'iscsi')
        assert [each['ID'] for each in shell.openstack(*words, 'list')] == [made['id']]
        shell.openstack(*words, 'set', '--initiator', CONNECTOR['initiator'], '--host', 'compute-1', made['id'])
        shell.do(*words, 'delete', made['id'])
        assert demo.cinder.volumes.get(volume.id).status == 'available'

    def test_cinder(self, shell: Shell, demo: User) -> None:
        name = unique('cinder')
        assert 'creating' in shell.cinder('create', '1', '--name', name, '--metadata', 'a=b')
        [volume] = demo.cinder.volumes.list()
        demo.wait(demo.cinder.volumes, volume.id)
        assert 'a : b' in shell.cinder('show', name)
        shell.cinder('metadata', name, 'set', 'c=d')
        shell.cinder('rename', name, f'{name}-renamed')
        shell.cinder('snapshot-create', volume.id, '--name', 'snap')
        shell.cinder('backup-create', volume.id, '--name', 'saved')
        demo.wait(demo.cinder.backups, demo.cinder.backups.list()[0].id)
        assert 'available' in shell.cinder('backup-list')
        made = shell.cinder('attachment-create', volume.id, '--connect', 'True', '--initiator', CONNECTOR['initiator'])
        assert 'iscsi' in made
        shell.cinder('attachment-delete', demo.cinder.attachments.list()[0].id)
        assert f'{name}-renamed' in shell.cinder('list')
        assert 'gigabytes' in shell.cinder('quota-usage', demo.project, user='admin')
        refused = shell.run_cinder('show', ABSENT)
        assert refused.returncode == 1
        assert 'No volume with a name or ID' in refused.stderr
