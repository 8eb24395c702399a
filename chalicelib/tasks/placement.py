"""Choose a pool for a volume and claim the room on it."""

from __future__ import annotations

import logging
import time

from pynamodb.expressions.condition import Condition

from chalicelib import errors
from chalicelib.models import Volume
from chalicelib.operations import holds, pools, volume_types
from chalicelib.scheduler import filter_scheduler
from chalicelib.scheduler.decision import Decision
from chalicelib.scheduler.request_spec import Facts, RequestSpec, Retry

logger = logging.getLogger(__name__)

#: Hints that name volumes, whose pools the affinity filters must know.
AFFINITY_HINTS = ('different_host', 'same_host')


def place(volume: Volume, held: Condition) -> str:
    """Claim room for the volume on the best candidate and return the pool's name.

    The first choice is made from pools that are some seconds old; what they refuse or lose is asked again of the
    records themselves. Raises NoValidBackend, with what each filter removed, or StateChanged.
    """
    spec, facts = request_spec(volume), _facts(volume)
    for fresh in (False, True):
        decision = filter_scheduler.schedule(
            spec, pools.states(fresh=fresh), pools.config(), facts=facts, now=time.time()
        )
        claimed = _claim_first(volume, decision, held)
        if claimed:
            return claimed
    logger.info('volume %s fits nowhere: %s', volume.id, ' | '.join(decision.explain()))
    raise errors.NoValidBackend(reason=_reason(volume, decision))


def _claim_first(volume: Volume, decision: Decision, held: Condition) -> str | None:
    """Claim the best candidate that still has room; one that has not was seen through an old or crowded report."""
    zones = {pool.name: pool.availability_zone for pool in pools.states()}
    for name, _ in decision.candidates:
        try:
            holds.claim(volume, name, zones.get(name), held)
        except holds.NoRoom:
            continue
        return name
    return None


def _reason(volume: Volume, decision: Decision) -> str:
    """Why nobody took the volume, and what happened to those who tried."""
    if decision.candidates:
        return f'All {len(decision.candidates)} candidates were filled by other volumes meanwhile; try again.'
    failures = [attempt['reason'] for attempt in volume.operation_facts().get('attempted', [])]
    return ' '.join([f'{decision.summary().removesuffix(".")}.', *(f'Attempt failed: {reason}' for reason in failures)])


def request_spec(volume: Volume) -> RequestSpec:
    """Return what the scheduler is asked for a new volume."""
    operation, kind = volume.operation_facts(), volume_types.by_id(volume.volume_type_id)
    attempted = tuple(attempt['host'] for attempt in operation.get('attempted', []))
    zones = tuple(operation.get('availability_zones') or ())
    return RequestSpec(
        size=int(volume.size),
        availability_zone=None if zones else volume.availability_zone,
        availability_zones=zones,
        extra_specs=kind.extra_specs if kind else {},
        volume_properties=_properties(volume),
        operation='create_volume',
        resource_backend=operation.get('resource_backend'),
        scheduler_hints=operation.get('scheduler_hints') or {},
        retry=Retry(len(attempted), attempted),
    )


def _properties(volume: Volume) -> dict[str, object]:
    """What filter and goodness functions may read as ``volume.*``."""
    names = ('size', 'availability_zone', 'user_id', 'project_id', 'metadata', 'volume_type_id', 'attach_status')
    return {name: getattr(volume, name) for name in names}


def _facts(volume: Volume) -> Facts:
    """Look up the pools of the volumes that the hints name; other projects' volumes are invisible."""
    hints = volume.operation_facts().get('scheduler_hints') or {}
    named = [id for hint in AFFINITY_HINTS for id in _listed(hints.get(hint))]
    if not named:
        return Facts()
    found = Volume.batch_get([(volume.project_id, id) for id in dict.fromkeys(named)], consistent_read=True)
    return Facts(volume_backends={one.id: one.host for one in found if one.host})


def _listed(hint: object) -> list[str]:
    return [str(id) for id in hint] if isinstance(hint, list | tuple) else [str(hint)] if hint else []
