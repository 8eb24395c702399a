"""Choose a pool for work and claim capacity on it, or find out whether the work may be done where the volume is.

Decisions come from operations/scheduling.py. The first one is made of pools that are some seconds old. If it refuses,
or if its candidates turn out to be full, a second one is made of the records themselves.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import time
from collections.abc import Callable, Sequence

from chalicelib import errors
from chalicelib.models import Volume, base
from chalicelib.operations import pools, reservations, scheduling, services
from chalicelib.rules.sentences import for_users
from chalicelib.scheduler import filter_scheduler
from chalicelib.scheduler.decision import Decision
from chalicelib.scheduler.filter_scheduler import GroupDecision
from chalicelib.scheduler.pools import PoolState
from chalicelib.scheduler.request_spec import RequestSpec
from chalicelib.tasks.work import VolumeWork

logger = logging.getLogger(__name__)

#: Characters of an explanation that are kept: a record must not outgrow DynamoDB for a cloud of many pools.
LONGEST_EXPLANATION = 30_000


def place(work: VolumeWork, failed: reservations.FailedPlacement | None = None) -> str:
    """Claim capacity for the volume on the best candidate and return the pool's name.

    ``failed``: leave the volume's pool in the same transaction; ``work.record.operation`` names the attempt already.
    Raises BackendUnavailable when a backend that is down would do, NoValidBackend, with what each filter removed, or
    StateChanged.
    """
    volume = work.record
    decide = functools.partial(scheduling.decide, volume)
    for fresh in (False, True):
        decision = decide(pools.states(fresh=fresh))
        claimed = claim_best(work, decision, not_on=volume.host, failed=failed)
        if claimed:
            return claimed
    await_backend(decide)
    logger.info('volume %s fits nowhere: %s', volume.id, ' | '.join(decision.explain()))
    raise refusal(volume, decision, _reason(volume, decision))


def claim_best(
    work: VolumeWork,
    decision: Decision,
    *,
    not_on: str | None,
    failed: reservations.FailedPlacement | None = None,
) -> str | None:
    """Claim capacity on the best candidate that still has it; return its name, or None.

    A candidate without capacity was judged by an old report, or was filled meanwhile. ``not_on``: a pool that the
    volume must leave.
    """
    for candidate in decision.candidates:
        if candidate.name != not_on:
            with contextlib.suppress(reservations.NoCapacity):
                reservations.claim(work.record, candidate.pool, work.is_ours, failed)
                return candidate.name
    return None


def _reason(volume: Volume, decision: Decision) -> str:
    """Why no pool took the volume, and what happened on those that were tried."""
    if decision.candidates:
        return f'All {len(decision.candidates)} candidates were filled by other volumes meanwhile; try again.'
    attempted = volume.operation_facts().get('attempted', [])
    failures = dict.fromkeys(for_users(attempt['error'], attempt['reason']) for attempt in attempted)
    return ' '.join([f'{decision.summary().removesuffix(".")}.', *(f'Attempt failed: {reason}' for reason in failures)])


def check(record: base.StatefulRecord, spec: RequestSpec, host: str) -> str:
    """Have the scheduler agree to work on ``host``; return the pool (the best one of a host without '#pool').

    ``record`` is what the work is under way for. Raises BackendUnavailable when that is down, NoValidBackend, or
    StateChanged.
    """

    def decide(known: Sequence[PoolState]) -> Decision:
        return filter_scheduler.check_host(spec, known, pools.config(), host, now=time.time())

    decision = decided_for(host, decide, lambda found: bool(found.candidates))
    if decision.winner:
        return decision.winner
    await_backend(decide)
    logger.info('%s of %s %s is refused: %s', spec.operation, record.resource, record.id, decision.summary())
    raise refusal(record, decision)


def decided_for(
    host: str, decide: Callable[[Sequence[PoolState]], Decision], agrees: Callable[[Decision], bool]
) -> Decision:
    """Return the decision about work on ``host``.

    Such work need not claim anything, so no condition would notice that an administrator has just disabled or frozen
    the backend: that is read.
    """
    decision = decide(pools.states())
    if agrees(decision) and services.takes_work(host):
        return decision
    return decide(pools.states(fresh=True))


def await_backend(decide: Callable[[Sequence[PoolState]], Decision | GroupDecision]) -> None:
    """Raise BackendUnavailable when only a backend that is down keeps work from being done, and renew its report.

    ``decide`` gets the pools, as last read, as they are once their backends answer. The state machine repeats the task,
    which then decides by the new report; reports come every five minutes otherwise. A backend that has not reported for
    longer than ``report_max_age`` is not waited for.
    """
    known = pools.states()
    revived = [pool.once_up() for pool in known]
    if revived == known or not (candidates := decide(revived).candidates):
        return
    from chalicelib.tasks import report_pools  # no other task needs it

    backend = pools.backend(candidates[0].name)
    report_pools.renew_report(backend)
    raise errors.BackendUnavailable(backend=backend, reason='its last report failed')


def refusal(record: base.StatefulRecord, decision: Decision, reason: str = '') -> errors.NoValidBackend:
    """Return the error that users see, and record the whole explanation on the work under way, for its message.

    ``reason`` replaces the decision's summary. A record that another request owns by now is left alone: its message is
    not written either.
    """
    kind = type(record)
    known = record.operation or {}
    attempts = [f'{one["host"]} failed with {one["error"]}: {one["reason"]}' for one in known.get('attempted', [])]
    operation = {**known, 'explanation': '\n'.join([*decision.explain(), *attempts])[:LONGEST_EXPLANATION]}
    try:
        base.update(record, [kind.operation.set(operation), *base.touched(kind)], kind.owner == record.owner)
    except (errors.StateChanged, errors.NotFound) as lost:
        raise base.state_changed(record) from lost
    return errors.NoValidBackend(reason=reason or decision.summary())
