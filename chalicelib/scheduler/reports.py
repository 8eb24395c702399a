"""Split the capability reports of services, in Cinder's format, into pools.

A report is ``{volume_backend_name, vendor_name, driver_version, storage_protocol, ..., pools: [{pool_name, ...}]}``;
without the key ``pools`` it describes the backend's only pool. A bad report affects its own pools only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chalicelib.scheduler.hosts import pool_or_default
from chalicelib.scheduler.pools import PROTOCOL_VARIANTS

#: Keys that a pool takes from its backend when it has no value for them; nothing else is inherited.
_FILLED = ('volume_backend_name', 'storage_protocol', 'vendor_name', 'driver_version', 'timestamp')
#: Keys that it takes only when it lacks them: a pool may disable a function with null.
_INHERITED = ('filter_function', 'goodness_function')

#: Keys of a service that its pools' records repeat.
_OF_SERVICE = ('availability_zone', 'disabled', 'frozen', 'up', 'reported_at')


def pool_records(service: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Split a service with its report into pool records, the form that ``PoolState.from_record`` reads.

    Of two pools of one name the later counts.
    """
    of_service = {key: service[key] for key in _OF_SERVICE if key in service}
    records = [
        _record(service, of_service, pool, capabilities, warning) for pool, capabilities, warning in _pools(service)
    ]
    return list({record['name']: record for record in records}.values())


def _pools(service: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Yield (name, capabilities, warning); without a name it is the whole backend."""
    report = service.get('capabilities')
    if not isinstance(report, dict):
        yield '', report, ''
        return
    inherited = {key: report.get(key) for key in _FILLED}
    inherited['timestamp'] = inherited['timestamp'] or service.get('reported_at')
    inherited['storage_protocol'] = _variants(inherited['storage_protocol'])
    inherited |= {key: report[key] for key in _INHERITED if key in report}
    pools = report.get('pools')
    if pools is None:
        name = report.get('volume_backend_name') or pool_or_default(service['host'])
        yield str(name), _merged(report, inherited), ''
    elif not isinstance(pools, list):
        yield '', report, 'pools is not a list'
    else:
        for pool in pools:
            name = pool.get('pool_name') if isinstance(pool, dict) else None
            if isinstance(name, str):
                yield name, _merged(pool, inherited), ''
            else:
                yield '', report, 'a pool has no pool_name'


def _record(
    service: Mapping[str, Any], of_service: Mapping[str, Any], pool: str, capabilities: Any, warning: str
) -> dict[str, Any]:
    suffix = f'#{pool}' if pool else ''
    host, cluster = service['host'] + suffix, service.get('cluster_name')
    names = {'name': cluster + suffix, 'host': host, 'cluster_name': cluster + suffix} if cluster else {'name': host}
    return {**of_service, **names, 'capabilities': capabilities, 'warning': warning}


def _merged(pool: Mapping[str, Any], inherited: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**inherited, **pool}
    for key in _FILLED:
        if not merged[key]:
            merged[key] = inherited[key]
    merged['storage_protocol'] = _variants(merged['storage_protocol'])
    return merged


def _variants(protocol: Any) -> Any:
    return PROTOCOL_VARIANTS.get(protocol, protocol) if isinstance(protocol, str) else protocol
