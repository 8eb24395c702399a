"""Backups as tests need them, with Cinder's usual values filled in."""

from __future__ import annotations

import uuid
from typing import Any

from chalicelib.context import Context
from chalicelib.models import Backup, Volume, base
from chalicelib.operations import backups


def create_backup(caller: Context, volume: Volume, **facts: Any) -> Backup:
    """Request a backup as the API does, without running its workflow."""
    usual: dict[str, Any] = {
        'name': 'nightly',
        'description': None,
        'container': None,
        'incremental': False,
        'force': False,
        'snapshot_id': None,
        'metadata': {},
        'availability_zone': None,
    }
    return backups.create(caller, volume_id=volume.id, **{**usual, **facts})


def stored_backup(volume: Volume, **facts: Any) -> Backup:
    """A backup's record as it is, without a workflow behind it."""
    moment = base.now()
    usual = {
        'created_at': moment,
        'data_timestamp': moment,
        'user_id': 'u',
        'volume_id': volume.id,
        'lineage': volume.id,
        'size': volume.size,
        'container': 'volumebackups',
        'status': 'available',
        'manifest_key': f'backups/{volume.id}/x',
    }
    project, id = facts.pop('project_id', volume.project_id), facts.pop('id', str(uuid.uuid4()))
    backup = Backup(project, id, **{**usual, **facts})
    backup.save()
    return backup
