"""Callers and requests as tests need them, with Cinder's usual values filled in."""

from __future__ import annotations

import uuid
from typing import Any

from chalicelib.context import Context, implied_roles
from chalicelib.models import Group, GroupSnapshot, Snapshot, Volume, base
from chalicelib.operations import common, group_creation, group_snapshots, group_types, snapshots, volume_types, volumes


def context(
    role: str = 'member', project_id: str = 'project', *, microversion: tuple[int, int] = (3, 71), **facts: Any
) -> Context:
    """Return a caller with one role; every call creates a new request."""
    usual = {'user_id': f'{role}-user', 'roles': implied_roles([role]), 'microversion': microversion}
    return Context(**{**usual, **facts, 'project_id': project_id})


def create_volume(caller: Context, size: int | None = 1, **facts: Any) -> Volume:
    """Request a volume as the API does, without running its workflow."""
    usual: dict[str, Any] = {
        'name': 'data',
        'description': None,
        'availability_zone': None,
        'volume_type': None,
        'metadata': {},
        'snapshot_id': None,
        'source_volid': None,
        'multiattach': False,
        'scheduler_hints': {},
    }
    return volumes.create(caller, size=size, **{**usual, **facts})


def create_snapshot(caller: Context, volume: Volume, *, force: bool = False, **facts: Any) -> Snapshot:
    """Request a snapshot as the API does, without running its workflow."""
    usual: dict[str, Any] = {'name': 'snap', 'description': None, 'metadata': {}}
    return snapshots.create(caller, volume.id, **{**usual, **facts}, force=force)


def stored_volume(project_id: str = 'project', **facts: Any) -> Volume:
    """A volume's record as it is, without a workflow behind it."""
    usual = {'created_at': base.now(), 'user_id': 'u', 'size': 1, 'status': 'available'}
    volume = Volume(project_id, facts.pop('id', str(uuid.uuid4())), **{**usual, **facts})
    volume.save()
    return volume


def stored_snapshot(volume: Volume, **facts: Any) -> Snapshot:
    """A snapshot's record as it is, without a workflow behind it."""
    usual = {
        'created_at': base.now(),
        'user_id': 'u',
        'volume_id': volume.id,
        'volume_size': volume.size,
        'status': 'available',
    }
    snapshot = Snapshot(volume.project_id, facts.pop('id', str(uuid.uuid4())), **{**usual, **facts})
    snapshot.save()
    return snapshot


def query(**facts: Any) -> common.ListQuery:
    return common.ListQuery(**facts)


def create_group(caller: Context, *, group_specs: dict[str, str] | None = None, **facts: Any) -> Group:
    """Request a group of the default volume type and a new group type, without running its workflow."""
    kind = group_types.create(
        context('admin'),
        name=f'g-{uuid.uuid4().hex}',
        description=None,
        is_public=True,
        group_specs=group_specs or {},
    )
    usual: dict[str, Any] = {
        'name': 'group',
        'description': None,
        'group_type': kind.id,
        'volume_types_': [volume_types.default(caller).id],
        'availability_zone': None,
    }
    return group_creation.create(caller, **{**usual, **facts})


def create_group_snapshot(caller: Context, group: Group) -> GroupSnapshot:
    return group_snapshots.create(caller, group.id, name='group snap', description=None)
