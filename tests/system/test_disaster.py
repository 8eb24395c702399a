"""A service whose tables are lost: rebuilt from exports and from a backup in another repository, used by its API."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from cinderclient import exceptions

from infra import disaster
from infra.exports import Place
from local import launch
from local.hypervisor import Hypervisor
from tests import table_exports
from tests.system.clients import User, until
from tests.system.cloud import Cloud, start
from tests.system.test_data import Attached

TIME, LIMIT = '2026-11-30T10:00:00.000Z', 17


def settings(admin: User, project: str) -> None:
    """A type with QoS specs that is the project's default, and a limit."""
    cinder = admin.cinder
    specs = cinder.qos_specs.create('slow', {'consumer': 'front-end', 'total_iops_sec': '100'})
    made = cinder.volume_types.create('gold')
    made.set_keys({'volume_backend_name': 'xfs-nova'})
    cinder.qos_specs.associate(specs, made.id)
    cinder.default_types.create(made.id, project)
    cinder.quotas.update(project, volumes=LIMIT)


def backup_elsewhere(user: User, admin: User, host: Hypervisor, cloud: Cloud) -> Any:
    """A backup whose record names its repository, as that of a copy does."""
    volume = user.volume()
    with Attached(user, volume, host) as info:
        host.io(info, 'write -P 0x5a 0 8M', 'write -P 0xa5 900M 1M')
    backup = user.wait(user.cinder.backups, user.cinder.backups.create(volume.id, name='nightly').id)
    record = admin.cinder.backups.export_record(backup.id)
    key = {'project_id': {'S': user.project}, 'id': {'S': backup.id}}
    cloud.client('dynamodb').delete_item(TableName=cloud.ready['tables']['backups'], Key=key)
    user.cinder.volumes.delete(volume.id)
    until(lambda: not user.cinder.volumes.list())
    admin.cinder.backups.import_record(record['backup_service'], record['backup_url'])
    return admin.wait(admin.cinder.backups, backup.id)


def export(cloud: Cloud) -> None:
    cloud.client('s3').create_bucket(Bucket='exports')
    for name, table in cloud.ready['tables'].items():
        items = table_exports.scan(cloud.client('dynamodb'), table)
        table_exports.write(cloud.client('s3'), 'exports', '', f'lost-{name}', items, TIME)


def lose(cloud: Cloud) -> None:
    """Delete every record, as in a new stack."""
    client = cloud.client('dynamodb')
    for name, table in cloud.ready['tables'].items():
        for item in table_exports.scan(client, table) if name not in ('pools', 'services') else ():
            client.delete_item(TableName=table, Key={key: item[key] for key in ('project_id', 'id')})


@pytest.mark.timeout(240)
def test_settings_and_backups_are_there_and_the_bytes_compare(tmp_path: Path) -> None:
    host, ports = Hypervisor('compute-1', f'iqn.2004-10.com.example:{uuid.uuid4().hex[:12]}'), launch.free_ports()
    with start(tmp_path, **ports) as cloud:
        admin = User(cloud, 'admin')
        settings(admin, admin.project)
        backup = backup_elsewhere(admin, admin, host, cloud)
        export(cloud)
        lose(cloud)
    with start(tmp_path, **ports) as cloud:
        s3, dynamodb, bucket = cloud.client('s3'), cloud.client('dynamodb'), cloud.ready['bucket']
        planned = disaster.plan(disaster.read(s3, Place('exports', ''), 'lost'), disaster.object_exists(s3))
        assert planned.buckets == [bucket]
        allowed = {'OtherBackupResources': f'arn:aws:s3:::{bucket},arn:aws:s3:::{bucket}/*'}
        disaster.check_target(planned, 'cinderless', allowed, dynamodb)
        assert disaster.restore(planned, 'cinderless', dynamodb) == sum(map(len, planned.items.values()))
        check(User(cloud, 'admin'), backup, host)


def check(admin: User, backup: Any, host: Hypervisor) -> None:
    cinder = admin.cinder
    gold = cinder.volume_types.find(name='gold')
    assert gold.get_keys() == {'volume_backend_name': 'xfs-nova'}
    assert cinder.qos_specs.get(gold.qos_specs_id).specs == {'total_iops_sec': '100'}
    with pytest.raises(exceptions.ClientException, match='409'):
        cinder.volume_types.create('gold')
    usage = cinder.quotas.get(admin.project, usage=True)
    assert (usage.volumes['limit'], usage.volumes['in_use'], usage.backups['in_use']) == (LIMIT, 0, 1)
    (found,) = cinder.backups.list()
    assert (found.id, found.name, found.status) == (backup.id, 'nightly', 'available')
    restored = admin.wait(cinder.volumes, cinder.restores.restore(backup.id).volume_id)
    assert restored.volume_type == 'gold'
    with Attached(admin, restored, host) as info:
        host.io(info, 'read -P 0x5a 0 8M', 'read -P 0 8M 1M', 'read -P 0xa5 900M 1M')
    admin.tidy()
