"""FlexVols as pools: their reports to the scheduler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.drivers.base import GIB
from chalicelib.drivers.ontap_client import Client, Record, Refused
from chalicelib.errors import BackendMisconfigured

VOLUMES = '/storage/volumes'

_FIELDS = (
    'name,space.size,space.available,space.afs_total,guarantee.type,efficiency.dedupe,efficiency.compression,'
    'encryption.enabled,aggregates.name,snapmirror.is_protected,snapshot_directory_access_enabled'
)

#: FlexVols that can hold LUNs.
_USABLE = {'is_svm_root': 'false', 'style': 'flexvol', 'type': 'rw', 'state': 'online'}

#: The capabilities of each pool, in the form of Cinder's capability report.
_POOL: Mapping[str, Any] = {
    'multiattach': True,
    'online_extend_support': True,
    'QoS_support': True,
    'sparse_copy_volume': True,
    'reserved_percentage': 0,
    'max_over_subscription_ratio': 20.0,
    'netapp_is_flexgroup': 'false',
}


def pools(client: Client, backend: str, wanted: list[str]) -> list[Record]:
    """Return the FlexVols of this backend: those of option ``pools``, or all. Raises BackendMisconfigured."""
    found = {one['name']: one for one in client.records(VOLUMES, **_USABLE, fields=_FIELDS)}
    for name in wanted:
        if name not in found:
            reason = f'option pools names {name!r}; SVM {client.svm} has {", ".join(sorted(found)) or "no FlexVol"}'
            raise BackendMisconfigured(backend=backend, reason=reason)
    return [found[name] for name in wanted or sorted(found)]


def report(client: Client, flexvols: list[Record], luns: list[Record], thick: bool) -> list[dict[str, Any]]:
    """Return the pools of ``get_volume_stats``; ``luns`` are all of the SVM, with size and location."""
    disks = _disks(client)
    return [_pool(one, _provisioned(one, luns), disks, thick) for one in flexvols]


def _pool(flexvol: Record, provisioned: int, disks: Mapping[str, Mapping[str, str]], thick: bool) -> dict[str, Any]:
    space, aggregates = flexvol['space'], [one['name'] for one in flexvol.get('aggregates', [])]
    total = space.get('afs_total', space['size'])
    aggregate = aggregates[0] if len(aggregates) == 1 else ''
    return {
        **_POOL,
        'pool_name': flexvol['name'],
        'total_capacity_gb': round(total / GIB, 2),
        'free_capacity_gb': round(space['available'] / GIB, 2),
        'provisioned_capacity_gb': round(provisioned / GIB, 2),
        'utilization': round(100 * (1 - space['available'] / total), 2) if total else 100.0,
        'thin_provisioning_support': not thick,
        'thick_provisioning_support': thick,
        'netapp_thin_provisioned': _text(flexvol.get('guarantee', {}).get('type') == 'none'),
        'netapp_dedup': _text(flexvol.get('efficiency', {}).get('dedupe', 'none') not in ('none', 'disabled')),
        'netapp_compression': _text(
            flexvol.get('efficiency', {}).get('compression', 'none') not in ('none', 'disabled')
        ),
        'netapp_flexvol_encryption': _text(bool(flexvol.get('encryption', {}).get('enabled'))),
        'netapp_mirrored': _text(bool(flexvol.get('snapmirror', {}).get('is_protected'))),
        'netapp_aggregate': aggregate,
        # LUNs are cloned from the FlexVol's snapshots by a path in the snapshot directory.
        'consistent_group_snapshot_enabled': bool(flexvol.get('snapshot_directory_access_enabled', True)),
        **disks.get(aggregate, {}),
    }


def _provisioned(flexvol: Record, luns: list[Record]) -> int:
    """Return the bytes allocated to all but snapshots, which share their volume's blocks."""
    inside = (lun for lun in luns if lun['location']['volume']['name'] == flexvol['name'])
    return sum(lun['space']['size'] for lun in inside if '/snapshot-' not in lun['name'])


def _disks(client: Client) -> dict[str, dict[str, str]]:
    """Return disk and RAID types of the aggregates; nothing for an account of the SVM, which lacks the permission."""
    try:
        found = client.all_records('/storage/aggregates', fields=_AGGREGATE)
    except (BackendMisconfigured, Refused):
        return {}
    primaries = {one['name']: one.get('block_storage', {}).get('primary', {}) for one in found}
    return {
        name: {'netapp_disk_type': primary.get('disk_class', ''), 'netapp_raid_type': primary.get('raid_type', '')}
        for name, primary in primaries.items()
    }


_AGGREGATE = 'block_storage.primary.disk_class,block_storage.primary.raid_type'


def _text(value: bool) -> str:
    """Return a flag as text, as Cinder reports it and extra specs compare it."""
    return str(value).lower()
