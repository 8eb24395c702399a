"""The pools as the scheduler wants them: the last report of each, with what was claimed since taken off."""

from __future__ import annotations

import functools
import json
import time
from typing import TYPE_CHECKING

from chalicelib import aws
from chalicelib.config import settings
from chalicelib.models import Pool, Service, base

if TYPE_CHECKING:  # the scheduler is imported where it is called: most processes of the API never do
    from chalicelib.scheduler.config import SchedulerConfig
    from chalicelib.scheduler.pools import PoolState

#: Seconds that pools are remembered for a first choice; a claim is decided by the record itself.
TTL = 5

#: What ``claimable_gb`` holds for a pool that reports no limit.
UNLIMITED_GB = 2**50

_known: list[tuple[float, list[PoolState]]] = []


@functools.cache
def config() -> SchedulerConfig:
    """Return the scheduler's settings: Cinder's, unless ``SCHEDULER_OPTIONS`` names others.

    The affinity filters are on: they decide nothing unless a request has their hint.
    """
    from chalicelib.scheduler.config import DEFAULT_FILTERS, SchedulerConfig

    usual = {
        'scheduler_default_filters': (*DEFAULT_FILTERS, 'DifferentBackendFilter', 'SameBackendFilter'),
        'scheduler_max_attempts': settings().scheduler_max_attempts,
        'report_max_age': settings().report_max_age,
    }
    return SchedulerConfig.from_options({**usual, **json.loads(aws.document(settings().scheduler_options) or '{}')})


def forget() -> None:
    """Read the pools again at their next use."""
    _known.clear()


def states(*, fresh: bool = False) -> list[PoolState]:
    """Return the pools, by name, at most ``TTL`` seconds old; ``fresh`` reads them, consistently."""
    if fresh or not _known or _known[0][0] < time.monotonic():
        _known[:] = [(time.monotonic() + TTL, _read())]
    return _known[0][1]


def volume_counts() -> dict[str, int]:
    """Return the number of volumes on each pool, as last read."""
    return {state.host: state.record['volume_count'] for state in states()}


def _read() -> list[PoolState]:
    services = {service.host: service for service in base.every(Service, base.GLOBAL)}
    pools = sorted(base.every(Pool, base.GLOBAL), key=lambda pool: pool.id)
    return [_state(pool, services.get(backend(pool.id))) for pool in pools]


def backend(pool_id: str) -> str:
    """Return ``host@backend`` of ``host@backend#pool``."""
    return pool_id.partition('#')[0]


def _state(pool: Pool, service: Service | None) -> PoolState:
    from chalicelib.scheduler.pools import PoolState

    record = {
        'name': pool.id,
        'availability_zone': pool.availability_zone,
        'capabilities': {**pool.report, 'allocated_capacity_gb': pool.allocated_gb},
        'reported_at': pool.reported_at,
        'warning': pool.warning,
        'volume_count': int(pool.volume_count),
        'disabled': service is not None and service.disabled,
        'frozen': service is not None and service.frozen,
        'up': service is None or service.backend_state != 'down',
    }
    reported = PoolState.from_record(record)
    available = None if reported.warning else available_gb(reported)
    return reported if available is None else _promised(reported, available - pool.claimable_gb)


def _promised(reported: PoolState, gigabytes: float) -> PoolState:
    """The pool with so much more promised than its backend knew of."""
    free = reported.free_capacity_gb
    return reported._replace(
        free_capacity_gb=free if free is None else free - gigabytes,
        provisioned_capacity_gb=reported.provisioned_capacity_gb + gigabytes,
    )


def available_gb(state: PoolState) -> float | None:
    """Return the GiB that a believable report lets be promised, as the scheduler counts; None for no limit."""
    if state.free_capacity_gb is None:
        return 0
    return state.virtual_free_gb(config().max_over_subscription_ratio)
