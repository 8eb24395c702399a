"""Cinder's NetApp QoS specs as ONTAP's QoS policies.

A volume's own policy is named after the volume and the policy's content. A change of type, or of a size that limits
depend on, creates another policy, assigns it to the LUN, and removes the old one: each step may be repeated.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

from chalicelib.drivers.base import VolumeRef
from chalicelib.drivers.ontap_client import Client, Record, Refused
from chalicelib.errors import InvalidVolumeType
from chalicelib.jitter import jittered

#: Spec -> (kind of policy, ONTAP's field, factor). ``...perGiB`` is times the size for a fixed policy, and per TiB for
#: an adaptive one; bytes a second become ONTAP's megabytes.
SPECS: Mapping[str, tuple[str, str, float]] = {
    'maxiops': ('fixed', 'max_throughput_iops', 1),
    'maxiopspergib': ('fixed', 'max_throughput_iops', 1),
    'maxbps': ('fixed', 'max_throughput_mbps', 1 / 1024**2),
    'maxbpspergib': ('fixed', 'max_throughput_mbps', 1 / 1024**2),
    'miniops': ('fixed', 'min_throughput_iops', 1),
    'miniopspergib': ('fixed', 'min_throughput_iops', 1),
    'expectediopspergib': ('adaptive', 'expected_iops', 1024),
    'peakiopspergib': ('adaptive', 'peak_iops', 1024),
    'absoluteminiops': ('adaptive', 'absolute_min_iops', 1),
}

POLICIES = '/storage/qos/policies'

#: Seconds between attempts to remove a policy.
PAUSE = 1.0

_EXISTS, _GONE = ('8454273', '1'), '4'
_GROUP = 'netapp:qos_policy_group'


def policy(volume: VolumeRef, size: int) -> Record | None:
    """Return the policy's body for a volume of ``size`` GiB; None without specs. Raises InvalidVolumeType."""
    kinds: dict[str, dict[str, Any]] = {}
    for name, text in volume.qos_specs.items():
        spec = SPECS.get(name.lower())
        if spec is None:
            raise InvalidVolumeType(reason=f'QoS spec {name!r} is not supported by ONTAP: use {", ".join(SPECS)}')
        kind, field, factor = spec
        per_size = size if kind == 'fixed' and name.lower().endswith('pergib') else 1
        kinds.setdefault(kind, {})[field] = max(1, round(_number(name, text) * factor * per_size))
    if not kinds:
        return None
    if len(kinds) > 1:
        raise InvalidVolumeType(reason='the QoS specs mix fixed and adaptive limits')
    named = hashlib.sha256(json.dumps(kinds, sort_keys=True).encode()).hexdigest()[:8]
    return {'name': f'{_prefix(volume)}{named}', **kinds}


def ensure(client: Client, volume: VolumeRef, size: int) -> str | None:
    """Return the name of the policy for the volume's LUN, created if necessary; None for no policy."""
    body, group = policy(volume, size), volume.extra_specs.get(_GROUP)
    if body is None:
        return group
    if group:
        raise InvalidVolumeType(reason=f'set either QoS specs or {_GROUP}')
    try:
        client.make(POLICIES, body, return_timeout='10')
    except Refused as refused:
        if refused.code not in _EXISTS:
            raise
    return str(body['name'])


def clean(client: Client, volume: VolumeRef, but: str | None = None) -> None:
    """Remove the volume's own policies but one; a missing one is success.

    ONTAP releases a policy some time after its last LUN: until then the removal is retried.
    """
    for found in client.records(POLICIES, name=f'{_prefix(volume)}*'):
        while found['name'] != but and not _removed(client, found):
            time.sleep(jittered(PAUSE))


def _removed(client: Client, found: Record) -> bool:
    try:
        client.remove(f'{POLICIES}/{found["uuid"]}', return_timeout='10')
    except Refused as refused:
        if refused.code != _GONE and client.left() < 2 * PAUSE + 1:
            raise
        return refused.code == _GONE
    return True


def is_own(volume: VolumeRef, name: str) -> bool:
    """Whether the policy was made for this volume."""
    return name.startswith(_prefix(volume))


def _prefix(volume: VolumeRef) -> str:
    return f'openstack-{volume.name_id or volume.id}-'


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0
    if not 0 < number < float('inf'):
        raise InvalidVolumeType(reason=f'QoS spec {name} is {text!r}: set a number above 0')
    return number
