"""Short forms of what a test needs: pools by a few numbers, requests, decisions."""

from __future__ import annotations

from typing import Any

from chalicelib.scheduler.config import SchedulerConfig
from chalicelib.scheduler.decision import Decision
from chalicelib.scheduler.filter_scheduler import schedule
from chalicelib.scheduler.pools import PoolState
from chalicelib.scheduler.request_spec import RequestSpec

SHORT = {
    'total': 'total_capacity_gb',
    'free': 'free_capacity_gb',
    'allocated': 'allocated_capacity_gb',
    'provisioned': 'provisioned_capacity_gb',
    'reserved': 'reserved_percentage',
    'thin': 'thin_provisioning_support',
    'ratio': 'max_over_subscription_ratio',
}


def report(**capabilities: Any) -> dict[str, Any]:
    """A capability report: 100 GiB, all free, unless arguments differ; short names for the numbers."""
    return {
        'total_capacity_gb': 100,
        'free_capacity_gb': 100,
        **{SHORT.get(key, key): value for key, value in capabilities.items()},
    }


def pool(name: str = 'host@backend#pool', zone: str = 'nova', **capabilities: Any) -> PoolState:
    return PoolState.from_record({'name': name, 'availability_zone': zone, 'capabilities': report(**capabilities)})


def pools(**each: dict[str, Any]) -> list[PoolState]:
    """One pool of one backend per keyword, in this order."""
    return [pool(f'host@backend#{name}', **capabilities) for name, capabilities in each.items()]


def service(host: str = 'host@backend', *reports: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """A service that reports these pools, in Cinder's form."""
    backend = {'volume_backend_name': 'backend', 'vendor_name': 'Vendor', 'driver_version': '1', 'pools': [*reports]}
    return {'host': host, 'availability_zone': 'nova', 'capabilities': {'storage_protocol': 'iSCSI', **backend}, **keys}


def spec(size: int | None = 10, **asked: Any) -> RequestSpec:
    return RequestSpec(size, **asked)


def config(*filters: str, weighers: tuple[str, ...] = (), **options: Any) -> SchedulerConfig:
    """Only these filters and weighers."""
    return SchedulerConfig(scheduler_default_filters=filters, scheduler_default_weighers=weighers, **options)


def passed(decision: Decision) -> list[str]:
    """The pool parts of the candidates' names, in alphabetical order."""
    return sorted(name.partition('#')[2] for name, _ in decision.ranking)


def survivors(filter_name: str, states: list[PoolState], asked: RequestSpec | None = None, **options: Any) -> list[str]:
    """What one filter alone leaves of the pools."""
    return passed(schedule(asked or spec(), states, config(filter_name), **options))


def weights(
    weigher: str, states: list[PoolState], asked: RequestSpec | None = None, **options: Any
) -> dict[str, float]:
    """Raw weights by the pool part of the name, of one weigher alone; options of the config and of ``schedule``."""
    of_schedule = {key: options.pop(key) for key in ('facts', 'rng') if key in options}
    decision = schedule(asked or spec(), states, config(weighers=(weigher,), **options), **of_schedule)
    return {name.partition('#')[2]: weight for name, weight in decision.weighings[0].raw.items()}
