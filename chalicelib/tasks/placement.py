"""Choose a pool for a volume and claim the room on it; or ask whether work may be done where it is."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Sequence

from chalicelib.models import Volume, base
from chalicelib.operations import pools, reservations, scheduling, services
from chalicelib.rules.sentences import for_users
from chalicelib.scheduler import filter_scheduler
from chalicelib.scheduler.decision import Decision
from chalicelib.scheduler.pools import PoolState
from chalicelib.scheduler.request_spec import RequestSpec
from chalicelib.tasks.awaiting import await_backend
from chalicelib.tasks.work import VolumeWork

logger = logging.getLogger(__name__)


def place(work: VolumeWork, failed: reservations.FailedPlacement | None = None) -> str:
    """Claim capacity for the volume on the best candidate and return the pool's name.

    ``failed``: the pool that the volume has is left in the same transaction; the record's operation says so already.
    The first choice is made from pools that are some seconds old; what they refuse or lose is asked again of the
    records themselves. Raises BackendUnavailable when a backend that is down would do, NoValidBackend,
    with what each filter removed, or StateChanged.
    """
    volume = work.record
    decide = functools.partial(scheduling.decide, volume)
    for fresh in (False, True):
        decision = decide(pools.states(fresh=fresh))
        claimed = _claim_first(work, decision, failed)
        if claimed:
            return claimed
    await_backend(decide)
    logger.info('volume %s fits nowhere: %s', volume.id, ' | '.join(decision.explain()))
    raise scheduling.refusal(volume, decision, _reason(volume, decision))


def _claim_first(work: VolumeWork, decision: Decision, failed: reservations.FailedPlacement | None) -> str | None:
    """Claim the best candidate that still has room; one that has not was seen through an old or crowded report."""
    volume = work.record
    zones = {pool.name: pool.availability_zone for pool in pools.states()}
    for name in [name for name, _ in decision.candidates if name != volume.host]:  # never the one that it leaves
        try:
            reservations.claim(volume, name, zones.get(name), work.is_ours, failed)
        except reservations.NoCapacity:
            continue
        return name
    return None


def _reason(volume: Volume, decision: Decision) -> str:
    """Why nobody took the volume, and what happened to those who tried."""
    if decision.candidates:
        return f'All {len(decision.candidates)} candidates were filled by other volumes meanwhile; try again.'
    attempted = volume.operation_facts().get('attempted', [])
    failures = dict.fromkeys(for_users(attempt['error'], attempt['reason']) for attempt in attempted)
    return ' '.join([f'{decision.summary().removesuffix(".")}.', *(f'Attempt failed: {reason}' for reason in failures)])


def check(record: base.StatefulRecord, spec: RequestSpec, host: str) -> str:
    """Have the scheduler agree to work on ``host``; return the pool (the best one of a host without '#pool').

    Not all of that work claims something, so what an administrator said of the backend is read.
    ``record`` is what the work is under way for. Raises BackendUnavailable when that is down, NoValidBackend, or
    StateChanged.
    """

    def decide(known: Sequence[PoolState]) -> Decision:
        return filter_scheduler.check_host(spec, known, pools.config(), host, now=time.time())

    for fresh in (False, True):
        decision = decide(pools.states(fresh=fresh))
        if decision.winner and (fresh or services.takes_work(host)):
            return decision.winner
    await_backend(decide)
    logger.info('%s of %s %s is refused: %s', spec.operation, record.resource, record.id, decision.summary())
    raise scheduling.refusal(record, decision)
