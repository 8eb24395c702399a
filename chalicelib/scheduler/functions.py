"""The values that a backend's ``filter_function`` and ``goodness_function`` read, and their evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from chalicelib.errors import ExpressionError
from chalicelib.scheduler.expressions import evaluate
from chalicelib.scheduler.pools import PoolState
from chalicelib.scheduler.request_spec import RequestSpec

#: Names of ``stats.*`` that a goodness function does not have.
_OF_FILTERS_ONLY = ('cluster_name', 'backend_id')


def stats(pool: PoolState) -> dict[str, Any]:
    """Return the ``stats.*`` of a filter function. Unlike ``capabilities.*``, they include capacity promised since."""
    capabilities = pool.capabilities
    return {
        'host': pool.host,
        'cluster_name': pool.cluster_name,
        'backend_id': pool.name,
        'volume_backend_name': capabilities.get('volume_backend_name'),
        'vendor_name': capabilities.get('vendor_name'),
        'driver_version': capabilities.get('driver_version'),
        'storage_protocol': capabilities.get('storage_protocol'),
        'QoS_support': capabilities.get('QoS_support', False),
        'total_capacity_gb': pool.total_capacity_gb,
        'allocated_capacity_gb': pool.allocated_capacity_gb,
        'free_capacity_gb': pool.free_capacity_gb,
        'reserved_percentage': pool.reserved_percentage,
        'updated': pool.reported_at,
    }


def goodness_stats(pool: PoolState) -> dict[str, Any]:
    """Return the ``stats.*`` of a goodness function."""
    return {key: value for key, value in stats(pool).items() if key not in _OF_FILTERS_ONLY}


def evaluate_each(
    function: str, of_pool: Mapping[str, Any], pool: PoolState, spec: RequestSpec
) -> Iterator[Any | ExpressionError]:
    """Yield the value of ``function``, or the error in its place; ``of_pool`` is read as ``stats.*``.

    If the function reads the pool's protocol, there is one value for every spelling of that protocol. A pool with an
    empty list of protocols has one value, too.
    """
    names = {
        'stats': of_pool,
        'capabilities': pool.capabilities,
        'volume': {'size': spec.size, **spec.volume_properties},
        'extra': spec.extra_specs,
        'qos': spec.qos_specs or {},
    }
    protocols = pool.capabilities.get('storage_protocol')
    if 'storage_protocol' not in function or not isinstance(protocols, list) or not protocols:
        yield _value(function, names)
        return
    for protocol in protocols:
        spelled = {'storage_protocol': protocol}
        yield _value(
            function, {**names, 'stats': {**of_pool, **spelled}, 'capabilities': {**pool.capabilities, **spelled}}
        )


def _value(function: str, names: Mapping[str, Mapping[str, Any]]) -> Any | ExpressionError:
    try:
        return evaluate(function, names)
    except ExpressionError as error:
        return error
