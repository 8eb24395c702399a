"""What a project may have: resources, default limits, and which refusal each gives.

Source: Cinder's quota.py and quota_utils.py. -1 is unlimited. Sizes are GiB.
A volume type has limits of its own: ``volumes_<type id>`` here, since a type may be renamed, and
``volumes_<type name>`` to users.
"""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib import errors

UNLIMITED = -1

#: Cinder keeps usages in signed 32-bit columns.
MAX_USAGE = 2**31 - 1

#: Resource -> default limit.
DEFAULTS: Mapping[str, int] = {
    'volumes': 10,
    'per_volume_gigabytes': UNLIMITED,
    'snapshots': 10,
    'gigabytes': 1000,
    'backups': 10,
    'backup_gigabytes': 1000,
    'groups': 10,
}

#: Limits of the size of one volume: nothing is counted.
NOT_COUNTED = frozenset({'per_volume_gigabytes'})

#: Resources that are also counted per volume type; without a limit of the type's own they are unlimited.
PER_TYPE = ('volumes', 'gigabytes', 'snapshots')

#: Start of a resource's name -> refusal, in the order of Cinder's search (gigabytes before numbers).
_REFUSALS: tuple[tuple[str, type[errors.OverQuota]], ...] = (
    ('backup_gigabytes', errors.VolumeBackupSizeExceedsAvailableQuota),
    ('gigabytes', errors.VolumeSizeExceedsAvailableQuota),
    ('volumes', errors.VolumeLimitExceeded),
    ('snapshots', errors.SnapshotLimitExceeded),
    ('backups', errors.BackupLimitExceeded),
    ('groups', errors.GroupLimitExceeded),
)


def with_type(deltas: Mapping[str, int], type_id: str | None) -> dict[str, int]:
    """Add the counters of a volume type to deltas; those that are zero are left out."""
    wanted = {name: delta for name, delta in deltas.items() if delta}
    if type_id is None:
        return wanted
    return wanted | {f'{name}_{type_id}': delta for name, delta in wanted.items() if name in PER_TYPE}


def ceiling(limit: int) -> int:
    """The highest usage that a limit allows."""
    return MAX_USAGE if limit == UNLIMITED else min(limit, MAX_USAGE)


def refusal(over: str, *, shown: str, requested: int, limit: int, used: int) -> errors.OverQuota:
    """The error of one resource that would be over its limit; ``shown`` is its name to users."""
    kind = next(kind for prefix, kind in _REFUSALS if over.startswith(prefix))
    return kind(name=shown, allowed=limit, requested=requested, quota=limit, consumed=used)


def search_order(over: list[str]) -> list[str]:
    """Resources that would be over their limit, the one that Cinder names first in front."""
    ranks = [prefix for prefix, _ in _REFUSALS]
    return sorted(over, key=lambda name: (next(i for i, prefix in enumerate(ranks) if name.startswith(prefix)), name))
