"""Cost of one placement: CPU milliseconds by the number of pools, from pool records to the decision.

Default filters and weigher; half of the pools are thin, free space has decimals, every third pool has no capacity.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

from chalicelib.scheduler.config import SchedulerConfig
from chalicelib.scheduler.filter_scheduler import schedule
from chalicelib.scheduler.pools import PoolState
from chalicelib.scheduler.request_spec import RequestSpec

SIZES = (10, 100, 1_000, 10_000)
NOW = 1_700_000_000.0


def pool_record(number: int, rng: random.Random) -> dict[str, Any]:
    """Return one pool as it is stored between reports, with the usual report of a driver."""
    total = rng.randint(1_000, 100_000)
    free = 0.5 if number % 3 == 0 else round(rng.uniform(0.2, 0.9) * total, 2)
    return {
        'name': f'host{number // 10}@backend#pool{number}',
        'availability_zone': rng.choice(('az1', 'az2', 'az3')),
        'disabled': False,
        'frozen': False,
        'up': True,
        'reported_at': NOW - rng.uniform(0, 60),
        'capabilities': {
            'pool_name': f'pool{number}',
            'volume_backend_name': 'backend',
            'vendor_name': 'Vendor',
            'driver_version': '1.0',
            'storage_protocol': ['iSCSI', 'iscsi'],
            'total_capacity_gb': total,
            'free_capacity_gb': free,
            'allocated_capacity_gb': total - int(free),
            'provisioned_capacity_gb': total - int(free),
            'reserved_percentage': 5,
            'thin_provisioning_support': number % 2 == 0,
            'thick_provisioning_support': True,
            'max_over_subscription_ratio': '20.0',
            'multiattach': True,
            'QoS_support': False,
            'online_extend_support': True,
            'ssd': number % 4 != 0,
        },
    }


def cpu_ms(decide: Callable[[], object], pools: int) -> float:
    """Return CPU milliseconds of one call: the best of five rounds, for other work on the machine only adds."""
    calls = max(1, 5_000 // pools)
    best = float('inf')
    for _ in range(5):
        start = time.process_time()
        for _ in range(calls):
            decide()
        best = min(best, (time.process_time() - start) / calls)
    return best * 1000


def run() -> list[tuple[str, str]]:
    """Return (figure, value) per number of pools, for a plain request and for one with a zone and an extra spec."""
    rng, config = random.Random(1), SchedulerConfig()
    requests = {
        'any type': RequestSpec(10),
        'zone and extra spec': RequestSpec(10, availability_zone='az1', extra_specs={'ssd': '<is> True'}),
    }
    figures = []
    for pools in SIZES:
        records = [pool_record(number, rng) for number in range(pools)]
        for name, spec in requests.items():
            milliseconds = cpu_ms(
                lambda spec=spec, records=records: schedule(  # type: ignore[misc]
                    spec, map(PoolState.from_record, records), config, now=NOW
                ),
                pools,
            )
            figures.append((f'scheduler: one decision over {pools:,} pools, {name}', f'{milliseconds:.3f} ms CPU'))
    return figures


if __name__ == '__main__':
    for figure, value in run():
        print(f'{figure}: {value}')
