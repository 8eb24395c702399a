"""Functions of Cinder's scheduler that this service does not use: only the vectors and their tests run them.

They use the functions in chalicelib/scheduler, which their vectors therefore check too.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from chalicelib import errors
from chalicelib.scheduler import capacity
from chalicelib.scheduler.hosts import extract_host
from chalicelib.scheduler.pools import PoolState, seconds
from chalicelib.scheduler.reports import pool_records
from chalicelib.scheduler.request_spec import RequestSpec, Retry

_NOTHING: Mapping[str, Any] = {}
_CHANCE = random.SystemRandom()


def get_backup_host(
    services: Iterable[Mapping[str, Any]],
    *,
    same_host: bool = False,
    volume: Mapping[str, Any] | None = None,
    availability_zone: str | None = None,
    driver: str | None = None,
    rng: random.Random = _CHANCE,
) -> str:
    """Return the host of one backup service that works, at random.

    A service: ``host``, ``availability_zone``, ``capabilities`` (``backend_state``, ``driver_name``,
    ``availability_zone``), perhaps ``up`` and ``disabled``. The zone is the request's, else the volume's, else any.
    With ``same_host`` (Cinder's backup_use_same_host) it must be the machine of the volume. Raises
    ServiceNotFound when there is none.
    """
    zone = availability_zone or (volume or {}).get('availability_zone')
    hosts: list[str]
    machine = extract_host(volume['host'], 'host') if volume and same_host else None
    if machine:
        hosts = [service['host'] for service in services if _is_enabled(service, machine, zone)]
    else:
        hosts = [service['host'] for service in services if _works(service.get('capabilities'), driver, zone)]
    if not hosts:
        raise errors.ServiceNotFound(id='cinder-backup')
    return rng.choice(hosts)


def _is_enabled(service: Mapping[str, Any], machine: str, zone: str | None) -> bool:
    in_zone = not zone or service.get('availability_zone') == zone
    return in_zone and service['host'] == machine and bool(service.get('up', True)) and not service.get('disabled')


def _works(report: Any, driver: str | None, zone: str | None) -> bool:
    if not isinstance(report, dict) or not report.get('backend_state'):
        return False
    return (not driver or report.get('driver_name') == driver) and (not zone or report.get('availability_zone') == zone)


class CapacityFactors(NamedTuple):
    """Every number that a decision about capacity depends on, rounded to two decimals."""

    total_capacity: float
    free_capacity: float
    reserved_capacity: int
    total_reserved_available_capacity: float
    max_over_subscription_ratio: float | None
    total_available_capacity: float
    provisioned_capacity: float
    calculated_free_capacity: float
    virtual_free_capacity: float
    free_percent: float
    provisioned_ratio: float
    provisioned_type: str


def capacity_factors(
    total: float, free: float, provisioned: float, reserved_percentage: float, ratio: float | None
) -> CapacityFactors:
    """Return all factors of a pool with limited capacity; ``ratio`` is None for thick provisioning."""
    reserve, total_available, virtual_free = capacity.space(total, free, provisioned, reserved_percentage, ratio)
    return CapacityFactors(
        total_capacity=float(total),
        free_capacity=free,
        reserved_capacity=reserve,
        total_reserved_available_capacity=capacity.to_cents(float(total) - reserve),
        max_over_subscription_ratio=ratio,
        total_available_capacity=capacity.to_cents(total_available),
        provisioned_capacity=provisioned,
        calculated_free_capacity=capacity.to_cents(total_available - provisioned),
        virtual_free_capacity=capacity.to_cents(virtual_free),
        free_percent=capacity.to_cents(virtual_free / total_available * 100) if total_available else 0,
        provisioned_ratio=capacity.to_cents(provisioned / total_available) if total_available else 0,
        provisioned_type='thick' if ratio is None else 'thin',
    )


def append_host(host: str | None, pool: str | None) -> str | None:
    """Return ``host#pool``; ``host`` unchanged when either is missing or empty."""
    return f'{host}#{pool}' if host and pool else host


def hosts_are_equivalent(one: str | None, other: str | None) -> bool:
    """Return whether both names are of one backend, whatever their pools."""
    if not (one and other):
        return one == other
    return extract_host(one) == extract_host(other)


def _retry(block: Mapping[str, Any] | None) -> Retry | None:
    """Read Cinder's retry block; ``hosts`` is the older name of ``backends``."""
    return Retry(block['num_attempts'], tuple(block.get('backends', block.get('hosts', ())))) if block else None


def read_request(request_spec: Mapping[str, Any], filter_properties: Mapping[str, Any] = _NOTHING) -> RequestSpec:
    """Read Cinder's request_spec and filter_properties; raises KeyError without volume_properties.size."""
    volume = request_spec['volume_properties']
    group_type = request_spec.get('group_type')
    return RequestSpec(
        size=volume['size'],
        new_size=filter_properties.get('new_size'),
        availability_zone=request_spec.get('resource_properties', _NOTHING).get('availability_zone'),
        availability_zones=tuple(request_spec.get('availability_zones') or ()),
        extra_specs=(request_spec.get('volume_type') or _NOTHING).get('extra_specs') or {},
        group_specs=group_type.get('extra_specs') or {} if group_type else None,
        qos_specs=volume.get('qos_specs'),
        volume_properties=volume,
        operation=request_spec.get('operation') or '',
        resource_backend=request_spec.get('resource_backend'),
        vol_exists_on=filter_properties.get('vol_exists_on'),
        scheduler_hints=filter_properties.get('scheduler_hints') or {},
        retry=_retry(filter_properties.get('retry')),
    )


def pool_states(services: Iterable[Mapping[str, Any]]) -> list[PoolState]:
    """Return the pools of all services, in the order of the services and of their reports.

    A service: ``host``, ``availability_zone``, ``capabilities`` (its report, None: silent), and perhaps
    ``cluster_name``, ``disabled``, ``frozen``, ``up``, ``reported_at``. Of a cluster the first service that takes work
    represents all. A report that cannot be read gives one pool, named as the backend, with a ``warning``.
    """
    return [PoolState.from_record(record) for service in _representatives(services) for record in pool_records(service)]


def _representatives(services: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return one service per backend, with the backend's newest report; in Cinder too a report is the cluster's."""
    chosen: dict[str, Mapping[str, Any]] = {}
    newest: dict[str, Mapping[str, Any]] = {}
    for service in services:
        backend = service.get('cluster_name') or service['host']
        if backend not in chosen or (_takes_work(service) and not _takes_work(chosen[backend])):
            chosen.pop(backend, None)  # pools rank by the place of the service that represents them
            chosen[backend] = service
        if service.get('capabilities') is not None and _age_key(service) >= _age_key(newest.get(backend, {})):
            newest[backend] = {key: service[key] for key in ('capabilities', 'reported_at') if key in service}
    return [{**service, **newest.get(backend, {})} for backend, service in chosen.items()]


def _age_key(service: Mapping[str, Any]) -> float:
    return seconds(service.get('reported_at')) or 0


def _takes_work(service: Mapping[str, Any]) -> bool:
    return not service.get('disabled') and not service.get('frozen') and bool(service.get('up', True))


def consume(pools: Iterable[PoolState], name: str, size: int) -> list[PoolState]:
    """Return the pools with ``size`` GiB promised on the one called ``name``."""
    return [pool.consume(size) if pool.name == name else pool for pool in pools]
