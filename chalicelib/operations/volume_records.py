"""The records of volumes: found, with their snapshots, and the condition that several operations share."""

from __future__ import annotations

from pynamodb.expressions.condition import Condition

from chalicelib.context import Context
from chalicelib.models import Snapshot, Volume, base
from chalicelib.operations import common
from chalicelib.rules import states


def get(context: Context, id: str) -> Volume:
    """Return the volume, of the caller's project or (administrators) of any. Raises VolumeNotFound."""
    return common.find(context, Volume, id)


def is_not_migrating() -> Condition:
    """The condition that a volume is not being migrated."""
    named = sorted(status for status in states.NOT_MIGRATING if status)
    condition: Condition = Volume.migration_status.does_not_exist() | Volume.migration_status.is_in(*named)
    return condition


def snapshots_of(volume: Volume) -> list[Snapshot]:
    """Return the volume's snapshots in its project, oldest first."""
    found = [one for one in base.every(Snapshot, volume.project_id) if one.volume_id == volume.id]
    return sorted(found, key=lambda snapshot: snapshot.created_at)
