"""Runs in .venv-cinder: has Cinder's own drivers write backups: a full one, and incremental ones over it.

Input: {'url': database, 'driver': 'posix' or 's3', 'place': folder or bucket, 'endpoint': of S3, 'algorithm': of the
compression, 'files': one for each backup, in order}. Output: ids of the backups.
"""

from __future__ import annotations

import json
import pathlib
import sys
import tempfile
import uuid

import eventlet

eventlet.monkey_patch()

from cinder import context, objects, rpc  # noqa: E402
from cinder.common import config  # noqa: E402, F401

objects.register_all()

from cinder.backup.drivers import posix, s3  # noqa: E402
from cinder.db import migration  # noqa: E402
from oslo_config import cfg  # noqa: E402

CONF = """
[DEFAULT]
transport_url = fake:/
backup_compression_algorithm = {algorithm}
backup_file_size = 1048576
backup_s3_object_size = 1048576
backup_sha_block_size_bytes = 32768
backup_s3_block_size = 32768
backup_enable_progress_timer = false
backup_s3_enable_progress_timer = false
backup_posix_path = {place}
backup_s3_store_bucket = {place}
backup_s3_endpoint_url = {endpoint}
backup_s3_store_access_key = test
backup_s3_store_secret_key = test
[database]
connection = {url}
"""


def main() -> None:
    request = json.load(sys.stdin)
    with tempfile.NamedTemporaryFile('w', suffix='.conf') as file:
        file.write(CONF.format(**request))
        file.flush()
        cfg.CONF(['--config-file', file.name], project='cinder')
    migration.db_sync()
    rpc.init(cfg.CONF)
    admin = context.RequestContext('user', uuid.uuid4().hex, is_admin=True, overwrite=False)
    kind = objects.VolumeType.get_by_name_or_id(admin, '__DEFAULT__')
    volume = objects.Volume(
        admin, user_id='user', project_id=admin.project_id, size=1, status='available', host='h@b#p',
        display_name='data', volume_type_id=kind.id, metadata={'purpose': 'test'},
    )  # fmt: skip
    volume.create()
    json.dump(list(backups(request, admin, volume)), sys.stdout)


def backups(request, admin, volume):
    driver = {'posix': posix.PosixBackupDriver, 's3': s3.S3BackupDriver}[request['driver']](admin)
    parent = None
    for path in request['files']:
        made = objects.Backup(
            admin, user_id='user', project_id=admin.project_id, volume_id=volume.id, size=1, status='creating',
            display_name='nightly', parent_id=parent, snapshot_id=None,
        )  # fmt: skip
        made.create()
        with pathlib.Path(path).open('rb') as file:
            driver.backup(made, file)
        made.update({'status': 'available'})
        made.save()
        parent = made.id
        yield made.id


if __name__ == '__main__':
    main()
