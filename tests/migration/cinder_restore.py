"""Runs in .venv-cinder: Cinder's own POSIX driver backs a file up and restores it, for ``bench.moving``.

Input: {'url': database, 'place': folder of backups, 'algorithm', 'files': one for each backup, 'target': file to
restore to, 'rounds'}. Output: {'ids': of the backups, 'cpu': CPU seconds of each restore of the last one, with its
ancestors}.
"""

from __future__ import annotations

import json
import pathlib
import sys
import tempfile
import time

import eventlet

eventlet.monkey_patch()

from cinder import context, objects, rpc  # noqa: E402
from cinder.common import config  # noqa: E402, F401

objects.register_all()

from cinder.backup.drivers import posix  # noqa: E402
from cinder.db import migration  # noqa: E402
from oslo_config import cfg  # noqa: E402

CONF = """
[DEFAULT]
transport_url = fake:/
backup_compression_algorithm = {algorithm}
backup_enable_progress_timer = false
backup_posix_path = {place}
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
    admin = context.RequestContext('user', 'project', is_admin=True, overwrite=False)
    driver, made = posix.PosixBackupDriver(admin), []
    for path in request['files']:
        made.append(_backup(admin, made[-1].id if made else None))
        with pathlib.Path(path).open('rb') as file:
            driver.backup(made[-1], file)
        made[-1].update({'status': 'available'})
        made[-1].save()
    size = pathlib.Path(request['files'][-1]).stat().st_size
    costs = [_restore(driver, made[-1], request['target'], size) for _ in range(request['rounds'])]
    json.dump({'ids': [one.id for one in made], 'cpu': costs}, sys.stdout)


def _backup(admin, parent: str | None):
    kind = objects.VolumeType.get_by_name_or_id(admin, '__DEFAULT__')
    volume = next(iter(objects.VolumeList.get_all(admin)), None)
    if volume is None:
        volume = objects.Volume(
            admin,
            user_id='user',
            project_id='project',
            size=1,
            status='available',
            host='h@b#p',
            volume_type_id=kind.id,
        )
        volume.create()
    made = objects.Backup(
        admin, user_id='user', project_id='project', volume_id=volume.id, size=1, status='creating', parent_id=parent,
        snapshot_id=None,
    )  # fmt: skip
    made.create()
    return made


def _restore(driver, backup, target: str, size: int) -> float:
    backup.update({'status': 'restoring'})
    backup.save()
    with pathlib.Path(target).open('wb') as file:
        file.truncate(size)
        began = time.process_time()
        driver.restore(backup, backup.volume_id, file, True)
        return time.process_time() - began


if __name__ == '__main__':
    main()
