"""Mixed load with faults at every hop, then nothing differs: records, quota, pools, objects, exports and backups.

A short soak here; ``make soak MINUTES=60`` runs longer, and SEED repeats its choices.
"""

from __future__ import annotations

import collections
import contextlib
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.run_statistics import Counting
from tests.soak import drift, groups
from tests.soak.disturbances import Disturbances, Running, running
from tests.soak.server import counts
from tests.soak.systems import TYPES
from tests.soak.tenants import CLIENT_ERRORS, Tenant
from tests.soak.works import WORKS
from tests.system.clients import User

#: Seconds of load.
SECONDS = float(os.environ.get('SOAK_MINUTES', '0.3')) * 60
SEED = int(os.environ.get('SOAK_SEED', '') or random.randrange(1 << 30))

#: Share of the functions' calls to AWS and to the agent with a fault, and the tenants.
RATE, TENANTS = 0.05, 3

#: Quotas.
LIMITS = ('volumes', 'gigabytes', 'snapshots', 'backups', 'backup_gigabytes', 'groups')


def tenants_of(target: Running) -> list[Tenant]:
    """Tenants over two projects, whose quotas do not limit them. Each has clients of its own."""
    admin = retried(partial(User, target.cloud, 'admin'))
    prepared(admin)
    tenants = []
    for number in range(TENANTS):
        users = tuple(retried(partial(User, target.cloud, name)) for name in ('demo', 'alt'))
        for user in users:
            retried(partial(admin.cinder.quotas.update, user.project, **dict.fromkeys(LIMITS, -1)))
        tenants.append(Tenant(users, admin, target.systems, number, SEED))
    return tenants


def prepared(admin: User) -> None:
    """Create the volume types, one for each kind of backend, and the group type."""
    for name, (backend, _) in TYPES.items():
        kind = named(admin.cinder.volume_types, name)
        retried(partial(kind.set_keys, {'volume_backend_name': backend}))
    kind = named(admin.cinder.group_types, groups.GROUP_TYPE)
    retried(partial(kind.set_keys, {'consistent_group_snapshot_enabled': '<is> True'}))


def named(manager: Any, name: str) -> Any:
    """Return the type of this name; create it if the request before, without an answer, did not."""

    def find_or_create() -> Any:
        return next((one for one in manager.list() if one.name == name), None) or manager.create(name)

    return retried(find_or_create)


def retried(request: Callable[[], Any]) -> Any:
    """Repeat a request until no fault meets it."""
    for _ in range(20):
        with contextlib.suppress(*CLIENT_ERRORS):
            return request()
        time.sleep(1)
    return request()


def report(title: str, found: collections.Counter[str]) -> None:
    print(f'\n{title}: {sum(found.values())}')
    for name, number in sorted(found.items()):
        print(f'  {number:6} {name}')


@pytest.mark.timeout(SECONDS + 1800)
def test_nothing_differs_after_a_soak(tmp_path: Path, capsys: pytest.CaptureFixture[str], counted: Counting) -> None:
    with running(tmp_path, RATE, SEED) as target:
        tenants, disturbances = tenants_of(target), Disturbances(target, SEED)
        loaded(target, tenants, disturbances)
        target.end_faults()
        broken = [*drift.settle(target.cloud), *drift.compare(target.cloud, tenants), *drift.compare_data(tenants)]
        operations = sum((tenant.counts for tenant in tenants), collections.Counter())
        left = drift.remove_all(target, tenants)
        found = counts(target.log)
        with capsys.disabled():
            print(f'\nmake soak MINUTES={SECONDS / 60:g} SEED={SEED}')
            report('operations', operations)
            report('disturbances', disturbances.counts)
            report('faults', found['fault'])
            report('counted by the service (repairs and retries)', found['metric'])
            print(f'\ndrift: {len(broken) + len(left)}', *broken, *left, sep='\n  ')
    for name, number in (*operations.items(), *disturbances.counts.items()):
        counted(f'soak: {name}', number)
    counted('soak: faults', sum(found['fault'].values()))
    assert [*broken, *left] == [], f'seed {SEED}'


def loaded(target: Running, tenants: list[Tenant], disturbances: Disturbances) -> None:
    """Load and disturb the cloud for SECONDS."""
    stopped, failed = threading.Event(), threading.Event()
    with ThreadPoolExecutor(len(tenants), thread_name_prefix='tenant') as threads:
        works = [threads.submit(tenant.run, WORKS, stopped, failed) for tenant in tenants]
        try:
            disturbances.run(time.monotonic() + SECONDS, failed)
        finally:
            stopped.set()
        for work in works:
            work.result()
