"""The interface of the backup engine for tasks.

A backup:  ``begin_backup`` -> ``backup_shard`` for each shard of ``plan`` -> ``commit_backup``
A worker:  ``open_backup`` -> ``backup_shard``, again with its cursor until it is done
A restore: ``load_backup`` -> ``restore_shard`` for each of its shards, in any order
Others:    ``delete_backup``, ``collect``, ``verify_backup``, ``compare_shard``, ``lock_shard``, ``copy_backup``,
           ``list_backups``, ``load_volume_key``, ``store_volume_key``

All of it is idempotent: calls may be repeated, run twice at once or be killed, and a backup exists complete or not at
all.
"""

from __future__ import annotations

from chalicelib.backup.backup_copy import CopyResult, copy_backup
from chalicelib.backup.compare import compare_shard
from chalicelib.backup.copier import ShardResult, backup_shard
from chalicelib.backup.gc import Collected, Lease, collect
from chalicelib.backup.layout import Geometry, Shard, plan
from chalicelib.backup.lifecycle import begin_backup, commit_backup, delete_backup
from chalicelib.backup.limits import Limits
from chalicelib.backup.locks import lock_shard
from chalicelib.backup.manifests import Backup, Manifest, list_backups, load_backup, open_backup, peek_backup
from chalicelib.backup.restore import RestoreResult, restore_shard, stored_extents
from chalicelib.backup.verify import VerifyResult, verify_backup
from chalicelib.backup.volume_keys import VolumeKey, load_volume_key, store_volume_key

__all__ = [
    'Backup',
    'Collected',
    'CopyResult',
    'Geometry',
    'Lease',
    'Limits',
    'Manifest',
    'RestoreResult',
    'Shard',
    'ShardResult',
    'VerifyResult',
    'VolumeKey',
    'backup_shard',
    'begin_backup',
    'collect',
    'commit_backup',
    'compare_shard',
    'copy_backup',
    'delete_backup',
    'list_backups',
    'load_backup',
    'load_volume_key',
    'lock_shard',
    'open_backup',
    'peek_backup',
    'plan',
    'restore_shard',
    'store_volume_key',
    'stored_extents',
    'verify_backup',
]
