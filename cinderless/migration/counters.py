"""What a record counts in, and the names that belong to it, both derived from the record itself.

A record is written, replaced and removed together with the difference that this makes to the counters.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from chalicelib.models import base
from chalicelib.rules import quotas


class Counter(NamedTuple):
    """An attribute of a record that counts; of a quota, ``attribute`` is the resource in its usage."""

    kind: str
    project_id: str
    id: str
    attribute: str


#: How much a record adds to each counter.
Counts = Mapping[Counter, int]


def of(kind: str, project_id: str, values: Mapping[str, Any]) -> Counts:
    """Return what a record of these attributes adds; nothing for a kind that is not counted."""
    counted: Callable[[str, Mapping[str, Any]], Counts] = _COUNTED.get(kind, lambda *_: {})
    return {counter: amount for counter, amount in counted(project_id, values).items() if amount}


def _usage(project_id: str, amounts: Mapping[str, int], type_id: str | None = None) -> Counts:
    with_type = quotas.with_type(amounts, type_id)
    return {Counter('Quota', project_id, 'quota', name): amount for name, amount in with_type.items()}


def _volume(project_id: str, values: Mapping[str, Any]) -> Counts:
    found: collections.Counter[Counter] = collections.Counter()
    size = int(values['size'])
    if values.get('consumes_quota', True):
        found.update(_usage(project_id, {'volumes': 1, 'gigabytes': size}, values.get('volume_type_id')))
    if values.get('claimed_gb') is not None and values.get('host'):
        found[Counter('Pool', base.GLOBAL, values['host'], 'allocated_gb')] += int(values['claimed_gb'])
        found[Counter('Pool', base.GLOBAL, values['host'], 'volume_count')] += 1
    if values.get('group_id'):
        found[Counter('Group', project_id, values['group_id'], 'volume_count')] += 1
    return found


def _snapshot(project_id: str, values: Mapping[str, Any]) -> Counts:
    if not values.get('consumes_quota', True):
        return {}
    return _usage(project_id, {'snapshots': 1, 'gigabytes': int(values['volume_size'])}, values.get('volume_type_id'))


def _backup(project_id: str, values: Mapping[str, Any]) -> Counts:
    return _usage(project_id, {'backups': 1, 'backup_gigabytes': int(values['size'])})


def _group(project_id: str, values: Mapping[str, Any]) -> Counts:
    return _usage(project_id, {'groups': 1})


def _group_snapshot(project_id: str, values: Mapping[str, Any]) -> Counts:
    return {Counter('Group', project_id, values['group_id'], 'group_snapshot_count'): 1}


def _volume_type(project_id: str, values: Mapping[str, Any]) -> Counts:
    specs = values.get('qos_specs_id')
    return {Counter('QosSpecs', base.GLOBAL, specs, 'association_count'): 1} if specs else {}


_COUNTED: Mapping[str, Callable[[str, Mapping[str, Any]], Counts]] = {
    'Backup': _backup,
    'Group': _group,
    'GroupSnapshot': _group_snapshot,
    'Snapshot': _snapshot,
    'Volume': _volume,
    'VolumeType': _volume_type,
}

#: Kind -> the prefix of its record's unique name, and the attribute after it.
_NAMED = {'VolumeType': 'volume_type', 'GroupType': 'group_type', 'QosSpecs': 'qos_specs', 'Transfer': 'transfer'}


def name_of(kind: str, project_id: str, id: str, values: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return (id, owner) of the name that belongs to a record, None for none."""
    if kind not in _NAMED:
        return None
    if kind == 'Transfer':
        return f'transfer:{id}', project_id
    return f'{_NAMED[kind]}:{values["name"]}', id
