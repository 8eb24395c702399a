"""Records as the tables hold them once their workflows are done."""

from __future__ import annotations

import uuid
from typing import Any

from chalicelib.models import (
    Attachment,
    Backup,
    Group,
    GroupSnapshot,
    GroupType,
    Message,
    Pool,
    QosSpecs,
    Service,
    Snapshot,
    Transfer,
    Volume,
    VolumeType,
    base,
)

HOST = 'host@lvm#pool'


class Records:
    """Makes records of one project; each method takes attributes that differ from the usual."""

    def __init__(self, project: str) -> None:
        self.project = project

    def type(self, **facts: Any) -> VolumeType:
        """A volume type, by way of its operation: its name must be taken too."""
        from chalicelib.context import Context
        from chalicelib.operations import volume_types

        admin = Context(user_id='admin', project_id=self.project, roles=frozenset(('admin',)))
        usual = {'name': f't-{uuid.uuid4().hex}', 'description': None, 'is_public': True, 'extra_specs': {}}
        return volume_types.create(admin, **(usual | facts))

    def qos_specs(self, **facts: Any) -> QosSpecs:
        """QoS specs, by way of their operation."""
        from chalicelib.context import Context
        from chalicelib.operations import qos_specs

        admin = Context(user_id='admin', project_id=self.project, roles=frozenset(('admin',)))
        usual = {'name': f'q-{uuid.uuid4().hex}', 'consumer': 'back-end', 'specs': {}}
        return qos_specs.create(admin, **(usual | facts))

    def default_type(self) -> VolumeType:
        from chalicelib.context import Context
        from chalicelib.operations import volume_types

        return volume_types.default(Context(user_id='u', project_id=self.project, roles=frozenset()))

    def key(self) -> str:
        """The id of a key in the built-in key manager."""
        from chalicelib.context import Context
        from chalicelib.operations import keys

        made = keys.create(Context(user_id='user-member', project_id=self.project, roles=frozenset()), {})
        assert made.record is not None
        made.record.save()
        return made.id

    def volume(self, **facts: Any) -> Volume:
        usual = {
            'created_at': base.now(),
            'user_id': 'user-member',
            'size': 1,
            'status': 'available',
            'availability_zone': 'nova',
            'volume_type_id': self.default_type().id,
            'replication_status': 'disabled',
            'host': HOST,
            'shared_targets': True,
        }
        return self._saved(Volume, usual | facts)

    def attached(self, **facts: Any) -> tuple[Volume, Attachment]:
        """A volume in use, and its attachment."""
        volume_id, attachment_id = str(uuid.uuid4()), str(uuid.uuid4())
        link = {
            'attach_status': 'attached',
            'instance_id': str(uuid.uuid4()),
            'host_name': 'compute1',
            'mountpoint': '/dev/vdb',
            'attached_at': base.now(),
        }
        usual = {'status': 'in-use', 'attach_status': 'attached', 'attachment_count': 1}
        volume = self.volume(id=volume_id, attachments={attachment_id: link}, **(usual | facts))
        attachment = self._saved(
            Attachment,
            {
                'id': attachment_id,
                'created_at': base.now(),
                'volume_id': volume_id,
                'instance_id': link['instance_id'],
                'attach_status': 'attached',
                'attach_mode': 'rw',
                'mountpoint': '/dev/vdb',
                'attached_host': 'compute1',
                'attached_at': link['attached_at'],
                'connector': {'host': 'compute1', 'initiator': 'iqn.1993-08.org.debian:01:c'},
                'connection_info': {'driver_volume_type': 'iscsi', 'target_lun': 1},
            },
        )
        return volume, attachment

    def attachment(self, volume: Volume, **facts: Any) -> Attachment:
        """A reservation of the volume."""
        usual = {'created_at': base.now(), 'volume_id': volume.id, 'attach_status': 'reserved', 'attach_mode': 'null'}
        made = self._saved(Attachment, usual | facts)
        link = {'attach_status': made.attach_status, 'instance_id': made.instance_id, 'host_name': None,
                'mountpoint': None, 'attached_at': None}  # fmt: skip
        volume.update(
            actions=[
                Volume.attachments.set({**volume.attachments, made.id: link}),
                Volume.attachment_count.add(1),
                Volume.status.set(made.attach_status),
                Volume.attach_status.set(made.attach_status),
            ]
        )
        return made

    def snapshot(self, volume: Volume | None = None, **facts: Any) -> Snapshot:
        volume = volume or self.volume()
        volume.update(actions=[Volume.snapshot_count.add(1)])
        usual = {
            'created_at': base.now(),
            'user_id': 'user-member',
            'volume_id': volume.id,
            'volume_size': volume.size,
            'volume_type_id': volume.volume_type_id,
            'status': 'available',
            'progress': '100%',
            'host': volume.host,
        }
        return self._saved(Snapshot, usual | facts)

    def backup(self, volume: Volume | None = None, **facts: Any) -> Backup:
        volume = volume or self.volume()
        moment = base.now()
        usual = {
            'created_at': moment,
            'user_id': 'user-member',
            'volume_id': volume.id,
            'size': volume.size,
            'status': 'available',
            'container': 'volumebackups',
            'availability_zone': 'nova',
            'data_timestamp': moment,
            'service': 'cinder.backup.drivers.cinderless.S3BackupDriver',
            'lineage': volume.id,
        }
        return self._saved(Backup, usual | facts)

    def transfer(self, volume: Volume | None = None, **facts: Any) -> tuple[Transfer, str]:
        """An offer and its key, by way of its operation: volume and offer know each other."""
        from chalicelib.context import Context
        from chalicelib.operations import transfers

        volume = volume or self.volume()
        member = Context(user_id='user-member', project_id=self.project, roles=frozenset(('member',)))
        usual = {'name': 'x', 'no_snapshots': False, 'allow_encrypted': True}
        return transfers.create(member, volume.id, **(usual | facts))

    def group_type(self, **facts: Any) -> GroupType:
        """A group type, by way of its operation: its name must be taken too."""
        from chalicelib.context import Context
        from chalicelib.operations import group_types

        admin = Context(user_id='admin', project_id=self.project, roles=frozenset(('admin',)))
        usual = {'name': f'g-{uuid.uuid4().hex}', 'description': 'd', 'is_public': True, 'group_specs': {}}
        return group_types.create(admin, **(usual | facts))

    def group(self, volumes: int = 0, **facts: Any) -> Group:
        """A group with so many volumes of the default type."""
        usual = {
            'created_at': base.now(),
            'user_id': 'user-member',
            'name': 'test_group',
            'description': 'this is a test group',
            'status': 'available',
            'group_type_id': facts.get('group_type_id') or self.group_type().id,
            'volume_type_ids': [self.default_type().id],
            'availability_zone': 'nova',
            'host': HOST.partition('#')[0],
            'volume_count': volumes,
        }
        group = self._saved(Group, usual | facts)
        for _ in range(volumes):
            self.volume(group_id=group.id)
        return group

    def group_snapshot(self, group: Group | None = None, **facts: Any) -> GroupSnapshot:
        """A snapshot of a group with one volume, or of this group."""
        from chalicelib.operations.group_members import volumes_of

        group = group or self.group(volumes=1)
        group.update(actions=[Group.group_snapshot_count.add(1)])
        usual = {
            'created_at': base.now(),
            'user_id': 'user-member',
            'name': 'test_group_snapshot',
            'status': 'available',
            'group_id': group.id,
            'group_type_id': group.group_type_id,
        }
        made = self._saved(GroupSnapshot, usual | facts)
        for volume in volumes_of(group):
            self.snapshot(volume, group_snapshot_id=made.id)
        return made

    def message(self, **facts: Any) -> Message:
        usual = {
            'created_at': base.now(),
            'request_id': f'req-{uuid.uuid4()}',
            'resource_type': 'VOLUME',
            'resource_uuid': str(uuid.uuid4()),
            'action_id': '001',
            'detail_id': '003',
            'user_message': 'schedule allocate volume:Could not find any available weighted backend.',
            'guaranteed_until': base.after(2592000),
            'expires': 4000000000,
        }
        return self._saved(Message, usual | facts)

    def service(self, host: str = 'host@lvm', **facts: Any) -> Service:
        usual = {
            'id': f'cinder-volume:{host}',
            'created_at': base.now(),
            'binary': 'cinder-volume',
            'host': host,
            'availability_zone': 'nova',
            'uuid': str(uuid.uuid4()),
            'heartbeat_at': base.now(),
            'backend_state': 'up',
        }
        service = Service(base.GLOBAL, **(usual | facts))
        service.save()
        return service

    def pool(self, id: str = HOST, **facts: Any) -> Pool:
        """A pool as its backend's report left it."""
        from chalicelib.operations import pools

        report = {
            'total_capacity_gb': 10, 'free_capacity_gb': 10, 'allocated_capacity_gb': 0, 'storage_protocol': 'iSCSI',
            'vendor_name': 'v', 'volume_backend_name': 'lvm', 'driver_version': '1', 'backend_state': 'up',
        }  # fmt: skip
        usual = {'created_at': base.now(), 'availability_zone': 'nova', 'report': report, 'reported_at': base.now()}
        pool = Pool(base.GLOBAL, id, claimable_gb=10, **(usual | facts))
        pool.save()
        pools.forget()
        return pool

    def _saved(self, kind: Any, facts: dict[str, Any]) -> Any:
        record = kind(facts.pop('project_id', self.project), facts.pop('id', str(uuid.uuid4())), **facts)
        record.save()
        return record
