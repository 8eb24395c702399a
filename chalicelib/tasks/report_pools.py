"""Reports of the backends: query every backend, and record its pools and its service.

models/pool.py describes how a report and concurrent claims are reconciled.
"""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

from pynamodb.expressions.update import Action

from chalicelib import aws, errors
from chalicelib.config import settings
from chalicelib.drivers.base import VolumeRef
from chalicelib.models import Pool, Service, Volume, base
from chalicelib.models.pool import service_id, service_uuid
from chalicelib.operations import pools
from chalicelib.scheduler import reports
from chalicelib.scheduler.pools import PoolState
from chalicelib.tasks import backend_reconciliation, backends, side_by_side

logger = logging.getLogger(__name__)


#: Services without a backend: they are up while this function runs.
CONTROL = ('cinder-scheduler', 'cinder-backup')

#: Seconds after which a backend that gave no answer is queried again while work waits for it.
AGAIN = 15

#: Seconds after which a call queries no more backends, and compares none; each may take aws.INVOKE_TIMEOUT, and the
#: function has 290 seconds.
REPORTS, COMPARISONS = 150, 250


def run(event: Mapping[str, Any]) -> None:
    """Have workers query every backend of the document, some at a time; one that fails harms no other.

    In a random order: when many give no answer and the time ends, it is not always the same that are left out. Those
    that gave none are not compared with the records.
    """
    hosts, begun, answered = backends.configured().names(), time.monotonic(), set[str]()

    def request(host: str) -> None:
        if _request_report(host):
            answered.add(host)

    side_by_side.each(lambda host: _each(request, host), random.sample(hosts, len(hosts)), begun + REPORTS)
    known = {service.host for service in base.every(Service, base.GLOBAL) if service.binary == 'cinder-volume'}
    for host in known - set(hosts):
        _each(lambda gone: _mark_down(gone, errors.HostNotFound(id=gone)), host)
    for binary in CONTROL:
        _write_service(binary, settings().table_prefix, settings().default_availability_zone, 'up')
    backend_reconciliation.run(random.sample(sorted(answered), len(answered)), begun + COMPARISONS)


def _each(work: Callable[[str], None], host: str) -> None:
    """Do one host's part; the failure of one keeps no other from its part, and the next report tries again."""
    try:
        work(host)
    except errors.CinderlessError as error:
        logger.warning('no report was requested from backend %s: %s', host, error.message)


def _request_report(host: str) -> bool:
    """Whether the backend answered."""
    try:
        answer = aws.invoke(settings().volume_worker, 'report_backend', {'backend': host})
    except errors.DriverError as error:
        _mark_down(host, error)  # other errors do not show the backend's state; without reports it is down in time
        return False
    return bool(answer['pools'])


def report_backend(payload: Mapping[str, Any]) -> dict[str, int]:
    """Query one backend and record its report. Payload: backend, as ``host@backend``. Runs in a worker."""
    host = payload['backend']
    zone = backends.having(host).backend(host).availability_zone or settings().default_availability_zone
    moment = base.now()
    before = {pool.id: pool for pool in base.every(Pool, base.GLOBAL) if pools.backend(pool.id) == host}
    try:
        report = backends.having(host).report(host)
    except errors.DriverError as error:
        _mark_down(host, error)
        return {'pools': 0}
    service = {'host': host, 'availability_zone': zone, 'capabilities': report, 'reported_at': moment}
    records = {record['name']: record for record in reports.pool_records(service)}
    for name, record in records.items():
        _write_pool(record, before.get(name))
    for name in before.keys() - records.keys():
        _write_pool(
            {**service, 'name': name, 'capabilities': before[name].report, 'warning': 'not reported any more'},
            before[name],
        )
    _write_service('cinder-volume', host, zone, 'up')
    for pool in before.values():
        _remove_leftovers(pool)
    return {'pools': len(records)}


def renew_report(host: str) -> None:
    """Query a backend that gave no answer again, for work that waits for it: the next report may be minutes away.

    Of all waiting workers, one queries it every ``AGAIN`` seconds. Runs in a worker.
    """
    due = (Service.backend_state == 'down') & (Service.updated_at < base.after(-AGAIN))
    if host not in backends.configured().names():
        return
    try:
        base.update(Service(base.GLOBAL, service_id(host)), base.touched(Service), due)
    except base.moved_on(Service):
        return
    report_backend({'backend': host})
    pools.forget()


def _mark_down(host: str, error: errors.CinderlessError) -> None:
    """The backend gives no answer: its pools get nothing until it does."""
    logger.warning('backend %s is down: %s', host, error.message)
    _write_service('cinder-volume', host, None, 'down')


def _write_service(binary: str, host: str, zone: str | None, state: str) -> None:
    """Write the known facts of a service, and leave the fields alone that administrators set."""
    zone = zone or settings().default_availability_zone
    actions = [
        Service.created_at.set(Service.created_at | base.now()),
        Service.uuid.set(Service.uuid | service_uuid(binary, host)),
        Service.binary.set(binary),
        Service.host.set(host),
        Service.backend_state.set(state),
        *base.touched(Service),
        *([Service.heartbeat_at.set(base.now()), Service.availability_zone.set(zone)] if state == 'up' else []),
        *([Service.availability_zone.set(Service.availability_zone | zone)] if state != 'up' else []),
    ]
    base.write(Service(base.GLOBAL, f'{binary}:{host}'), actions)


def _write_pool(record: Mapping[str, Any], before: Pool | None) -> None:
    """Write one pool's report, unless a newer one is stored; an implausible report sets the warning, not capacity."""
    state = PoolState.from_record(record)
    if '#' not in state.name:
        logger.warning('backend %s: %s', state.name, state.warning)
        return
    if before is None:
        _add_pool(state)
        return
    actions = [
        Pool.report.set(dict(state.capabilities)),
        Pool.reported_at.set(record['reported_at']),
        Pool.availability_zone.set(record['availability_zone']),
        Pool.warning.set(state.warning) if state.warning else Pool.warning.remove(),
        *([] if state.warning else [_claimable(state, before)]),
        *base.touched(Pool),
    ]
    try:
        base.update(before, actions, Pool.reported_at < record['reported_at'])
    except errors.StateChanged:
        logger.info('pool %s has a newer report', state.name)


def _claimable_gb(state: PoolState) -> float:
    """GiB that the report lets be promised, in hundredths, rounded down."""
    available = pools.UNLIMITED_GB if state.warning else pools.available_gb(state)
    return pools.UNLIMITED_GB if available is None else math.floor(available * 100) / 100


def _claimable(state: PoolState, before: Pool) -> Action:
    """Set the claimable capacity: free, less in transit before the query, less what entered transit since."""
    action: Action = Pool.claimable_gb.set(
        _claimable_gb(state) - before.in_transit_gb + before.entered_gb - Pool.entered_gb
    )
    return action


def _add_pool(state: PoolState) -> None:
    pool = Pool(
        base.GLOBAL,
        state.name,
        created_at=base.now(),
        availability_zone=state.record['availability_zone'],
        report=dict(state.capabilities),
        reported_at=state.record['reported_at'],
        warning=state.warning or None,
        claimable_gb=_claimable_gb(state),
    )
    try:
        base.put(pool, Pool.id.does_not_exist())
    except errors.StateChanged:
        logger.info('pool %s has just been found by another report', state.name)


def _remove_leftovers(pool: Pool) -> None:
    """Remove what failed attempts may have left on a pool whose backend answers again."""
    known = sorted(pool.leftovers or ())
    for leftover in random.sample(known, len(known)):  # as in ``run``
        project_id, _, id = leftover.partition('/')
        try:
            if not _lives_on(pool.id, project_id, id):
                backends.on(pool.id).delete_volume(VolumeRef(id, 0, project_id, pool.id))
        except errors.CinderlessError as error:
            logger.warning('volume %s may still be on %s: %s', id, pool.id, error.message)
            continue
        base.update(pool, [Pool.leftovers.delete({leftover}), *base.touched(Pool)])


def _lives_on(pool_id: str, project_id: str, id: str) -> bool:
    """Whether a pool has a live volume of this id, in whatever project: it may have been transferred since."""
    try:
        volume = Volume.locate(project_id, id)
    except errors.VolumeNotFound:
        return False
    return volume.host == pool_id
