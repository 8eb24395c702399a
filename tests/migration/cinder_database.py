"""Runs in .venv-cinder: builds a database with Cinder's own alembic, and fills it through Cinder's own API and objects.

Input: {'url': SQLAlchemy URL, 'revision': alembic revision, None for the newest, 'volumes': further volumes, 'step':
'build' or 'later' (changes in a database that was built)}. Output: {name: id} of what was made. What a volume service
would do (a volume becomes available on a host) is done through the objects, as the volume manager does it.
"""

from __future__ import annotations

import json
import sys
import tempfile
import uuid

import eventlet

eventlet.monkey_patch()

from cinder import context, objects, rpc  # noqa: E402
from cinder.common import config  # noqa: E402, F401

objects.register_all()

from cinder.db import api as db  # noqa: E402
from cinder.db import migration  # noqa: E402
from cinder.group import api as group_api  # noqa: E402
from cinder.message import api as message_api  # noqa: E402
from cinder.message import message_field  # noqa: E402
from cinder.objects import base as objects_base  # noqa: E402
from cinder.transfer import api as transfer_api  # noqa: E402
from cinder.volume import api as volume_api  # noqa: E402
from cinder.volume import group_types, qos_specs, rpcapi, volume_types  # noqa: E402
from oslo_config import cfg  # noqa: E402

LVM, CEPH, ONTAP = 'old@lvm#lvm', 'old@ceph#rbd', 'old@ontap#vol1'

PROJECTS = tuple(uuid.UUID(int=number).hex for number in (1, 2))


def main() -> None:
    request = json.load(sys.stdin)
    with tempfile.NamedTemporaryFile('w', suffix='.conf') as file:
        file.write(f'[DEFAULT]\ntransport_url = fake:/\n[database]\nconnection = {request["url"]}\n')
        file.flush()
        cfg.CONF(['--config-file', file.name], project='cinder')
    if request['step'] == 'build':
        migration.db_sync(request['revision'])
    rpc.init(cfg.CONF)
    world = World()
    made = {'build': lambda: build(world, request['volumes']), 'later': lambda: later(world)}[request['step']]()
    json.dump(made, sys.stdout)


class World:
    """Cinder's API as an administrator of a project calls it."""

    def __init__(self) -> None:
        self.volumes, self.groups = volume_api.API(), group_api.API()
        self.transfers, self.messages = transfer_api.API(), message_api.API()
        self.admin = self.of(PROJECTS[0])

    def of(self, project_id: str) -> context.RequestContext:
        return context.RequestContext('user', project_id, is_admin=True, roles=['admin'], overwrite=False)

    def volume(self, name: str, host: str | None = LVM, *, project: int = 0, status: str = 'available', **facts):
        """Create a volume through the API; then do what scheduler and volume manager do."""
        save = {
            key: facts.pop(key) for key in ('encryption_key_id', 'group_id', '_name_id', 'bootable') if key in facts
        }
        made = self.volumes.create(
            self.of(PROJECTS[project]), facts.pop('size', 1), name, f'{name}, described', **facts
        )
        volume = objects.Volume.get_by_id(self.admin, made['id'])
        volume.update({'status': status, 'host': host, 'launched_at': volume.created_at, **save})
        volume.save()
        return volume

    def snapshot(self, volume, name: str, status: str = 'available'):
        made = self.volumes.create_snapshot_force(self.of(volume.project_id), volume, name, 'described', {'of': name})
        made.update({'status': status, 'progress': '100%'})
        made.save()
        return made

    def attach(self, volume, host: str):
        """Attach as Nova does: reserve, give the connector, complete."""
        instance = str(uuid.uuid4())
        attachment = self.volumes._attachment_reserve(self.of(volume.project_id), volume, instance)
        attachment.connector = {'host': host, 'ip': '127.0.0.1', 'initiator': 'iqn.2010-10.org.openstack:h'}
        attachment.connection_info = {
            'driver_volume_type': 'iscsi', 'target_portal': '127.0.0.1:3260', 'target_lun': 1,
            'target_iqn': f'iqn.2010-10.org.openstack:volume-{volume.id}', 'auth_method': 'CHAP',
            'auth_username': 'known', 'auth_password': 'the-chap-secret', 'attachment_id': attachment.id,
        }  # fmt: skip
        attachment.save()
        db.volume_attached(self.admin, attachment.id, instance, host, '/dev/vdb', 'rw')
        return attachment


def catalog(world: World) -> dict[str, str]:
    admin = world.admin
    specs = qos_specs.create(admin, 'limited', {'consumer': 'front-end', 'read_iops_sec': '100'})
    gold = volume_types.create(admin, 'gold', {'tier': 'gold'}, True, None, 'fast')
    qos_specs.associate_qos_with_type(admin, specs.id, gold['id'])
    private = volume_types.create(admin, 'private', {}, False, [PROJECTS[1]], None)
    sealed = volume_types.create(admin, 'sealed')
    facts = {'cipher': 'aes-xts-plain64', 'key_size': 256, 'provider': 'luks', 'control_location': 'front-end'}
    db.volume_type_encryption_create(admin, sealed['id'], facts)
    db.project_default_volume_type_set(admin, gold['id'], PROJECTS[1])
    kind = group_types.create(admin, 'together', {'consistent_group_snapshot_enabled': '<is> False'})
    for project in PROJECTS:
        for resource, limit in (('volumes', 2000), ('gigabytes', 5000)):
            db.quota_create(admin, project, resource, limit)
    db.quota_create(admin, PROJECTS[0], 'gigabytes_gold', 500)
    db.quota_class_create(admin, 'default', 'per_volume_gigabytes', 900)
    return {'specs': specs.id, 'gold': gold['id'], 'private': private['id'], 'sealed': sealed['id'], 'kind': kind.id}


def build(world: World, more: int) -> dict[str, str]:
    admin, made = world.admin, catalog(world)
    gold = objects.VolumeType.get_by_id(admin, made['gold'])
    default = objects.VolumeType.get_by_name_or_id(admin, '__DEFAULT__')
    made['default'] = default.id
    plain = world.volume('plain', metadata={'purpose': 'test'})
    golden = world.volume('golden', project=1, volume_type=gold, size=3, bootable=True)
    db.volume_glance_metadata_bulk_create(admin, golden.id, {'image_id': 'an-image', 'os_type': 'linux'})
    moved = world.volume('moved', host=ONTAP, _name_id=str(uuid.uuid4()))
    attached, away = world.volume('attached', host=ONTAP), world.volume('attached elsewhere')
    made |= {
        'attachment': world.attach(attached, 'compute-1').id,
        'left_attachment': world.attach(away, 'compute-2').id,
    }
    ceph, broken = world.volume('on ceph', host=CEPH, size=2), world.volume('failed', host=None, status='error')
    snapshot, offered = world.snapshot(plain, 'first'), world.volume('offered')
    made |= {'busy_snapshot': world.snapshot(plain, 'second', 'creating').id, 'snapshot': snapshot.id}
    made['busy'] = world.volume('busy', status='extending').id
    transfer = world.transfers.create(admin, offered.id, 'an offer')
    made |= {'transfer': transfer['id'], 'auth_key': transfer['auth_key']}
    made |= {'group': grouped(world, made['kind'], default), 'backup': backup(world, plain).id}
    world.messages.create(
        admin,
        message_field.Action.EXTEND_VOLUME,
        resource_uuid=broken.id,
        detail=message_field.Detail.NOT_ENOUGH_SPACE_FOR_IMAGE,
    )
    service = objects.Service(admin, host='old@lvm', binary='cinder-volume', topic='cinder-volume', disabled=True)
    service.disabled_reason, service.rpc_current_version = 'being replaced', rpcapi.VolumeAPI.RPC_API_VERSION
    service.object_current_version = objects_base.OBJ_VERSIONS.get_current()
    service.create()
    named = {'plain': plain, 'golden': golden, 'moved': moved, 'attached': attached, 'left': away, 'ceph': ceph}
    made |= {name: volume.id for name, volume in {**named, 'broken': broken, 'offered': offered}.items()}
    for number in range(more):
        world.volume(f'more-{number}', project=number % 2, metadata={'number': str(number)})
    return made


def grouped(world: World, kind: str, volume_type) -> str:
    group = world.groups.create(world.admin, 'pair', 'two volumes', kind, [volume_type.id])
    group.update({'status': 'available', 'host': LVM})
    group.save()
    for number in range(2):
        world.volume(f'member-{number}', group_id=group.id)
    return group.id


def backup(world: World, volume):
    made = objects.Backup(
        world.admin, user_id='user', project_id=volume.project_id, volume_id=volume.id, size=1, status='available',
        display_name='nightly', container='volumebackups', service='cinder.backup.drivers.posix.PosixBackupDriver',
        service_metadata='backup', object_count=3, host='old', data_timestamp=volume.created_at,
        metadata={'kept': 'yes'},
    )  # fmt: skip
    made.create()
    return made


def later(world: World) -> dict[str, str]:
    """Change a database: one volume is renamed, one is larger, one is new, one is deleted."""
    volumes = {volume.display_name: volume for volume in objects.VolumeList.get_all(world.admin)}
    volumes['plain'].update({'display_name': 'renamed'})
    volumes['plain'].save()
    volumes['golden'].update({'size': 5})
    volumes['golden'].save()
    volumes['moved'].destroy()
    return {'new': world.volume('new').id}


if __name__ == '__main__':
    main()
