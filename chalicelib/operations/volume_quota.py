"""What a volume counts in the quota of its project, and how the end of an operation changes that."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Mapping

from chalicelib.models import Snapshot, Volume
from chalicelib.operations.outcomes import Outcome
from chalicelib.rules import quotas as rules


def changes(volume: Volume, outcome: Outcome) -> tuple[dict[str, int], dict[str, int]]:
    """Return what an outcome changes: usage, and the reserved part of it; counters of types by their full names."""
    if not volume.consumes_quota:
        return {}, {}
    held, size = int(volume.reserved_gb), int(volume.size)
    gone = outcome.uncounted or outcome.is_removal
    usage = {'volumes': -1, 'gigabytes': -size - held} if gone else {'gigabytes': 0 if outcome.grown else -held}
    usage = rules.with_type(usage, volume.volume_type_id)
    reserved = rules.with_type({'gigabytes': -held}, volume.volume_type_id)
    if volume.reserved_type_id:
        of_new = _negated(_of_retype(volume, volume.reserved_type_id, volume.reserved_snapshots or {}))
        of_snapshots = _negated(rules.with_type(volume.reserved_snapshots or {}, volume.reserved_type_id))
        given = _negated(_of_retype(volume, volume.volume_type_id, {})) if outcome.retyped else of_new
        usage = {**usage, **given, **(_per_type(of_snapshots) if outcome.retyped else {})}
        reserved = {**reserved, **of_new}
    return _with_following(usage, outcome.following, volume.reserved_type_id), reserved


def _negated(deltas: Mapping[str, int]) -> dict[str, int]:
    return {name: -delta for name, delta in deltas.items()}


def _per_type(deltas: Mapping[str, int]) -> dict[str, int]:
    """Those of a type alone: what changes its type stays in the project."""
    return {name: delta for name, delta in deltas.items() if name not in rules.DEFAULTS}


def _of_retype(volume: Volume, type_id: str | None, snapshots: Mapping[str, int]) -> dict[str, int]:
    """One volume, its size, and its snapshots, in a type's own counters."""
    deltas = {'volumes': 1, 'gigabytes': int(volume.size) + snapshots.get('gigabytes', 0)}
    return _per_type(rules.with_type({**deltas, 'snapshots': snapshots.get('snapshots', 0)}, type_id))


def snapshots_of_retype(snapshots: Iterable[Snapshot], type_id: str) -> dict[str, int]:
    """Return {'snapshots', 'gigabytes'} of those snapshots that a retype of their volume brings to a type."""
    moving = [one for one in snapshots if one.consumes_quota and one.volume_type_id != type_id]
    return {'snapshots': len(moving), 'gigabytes': sum(int(one.volume_size) for one in moving)}


def of_retype(volume: Volume, type_id: str, snapshots: Iterable[Snapshot] = ()) -> dict[str, int]:
    """Return what a retype holds of the new type's quota."""
    return _of_retype(volume, type_id, snapshots_of_retype(snapshots, type_id))


def _with_following(usage: Mapping[str, int], following: Iterable[Snapshot], type_id: str | None) -> dict[str, int]:
    """Changes of usage, and those by snapshots that leave their types for another."""
    changes = collections.Counter(usage)
    for one in following:
        if one.consumes_quota:
            counted = {'snapshots': 1, 'gigabytes': int(one.volume_size)}
            changes.update(_per_type(rules.with_type(counted, type_id)))
            changes.subtract(_per_type(rules.with_type(counted, one.volume_type_id)))
    return dict(changes)
