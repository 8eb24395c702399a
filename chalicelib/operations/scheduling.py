"""Call the scheduler: the request for a volume, the facts that filters need, and the decision as users see it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib import errors
from chalicelib.context import Context
from chalicelib.models import Volume
from chalicelib.operations import cloud, pools, volume_types
from chalicelib.scheduler import filter_scheduler
from chalicelib.scheduler.decision import Decision, Removal
from chalicelib.scheduler.pools import PoolState
from chalicelib.scheduler.request_spec import Facts, RequestSpec, Retry

#: Hints that name volumes, whose pools the affinity filters must know.
AFFINITY_HINTS = ('different_host', 'same_host')


def decide(volume: Volume, known: Sequence[PoolState]) -> Decision:
    """Decide which of these pools a new volume may go to; nothing is claimed."""
    return filter_scheduler.schedule(
        new_volume(volume, known), known, pools.config(), facts=facts(volume), now=time.time()
    )


def new_volume(volume: Volume, known: Sequence[PoolState]) -> RequestSpec:
    """Return the scheduler's request for a volume that has no pool yet."""
    operation = volume.operation_facts()
    attempts = operation.get('attempted', [])
    tried = {name: None for attempt in attempts for name in _tried(attempt, known)}
    zones = tuple(operation.get('availability_zones') or ())
    return spec_of(
        volume,
        'create_volume',
        availability_zone=None if zones else volume.availability_zone,
        availability_zones=zones,
        resource_backend=operation.get('resource_backend'),
        scheduler_hints=operation.get('scheduler_hints') or {},
        retry=Retry(len(attempts), tuple(tried)),
    )


def _tried(attempt: Mapping[str, str], known: Sequence[PoolState]) -> list[str]:
    """Return what not to try again: the pool that failed, and all pools of a backend that did not answer."""
    kind = getattr(errors, attempt['error'], None)
    if not (isinstance(kind, type) and issubclass(kind, errors.BackendUnavailable)):
        return [attempt['host']]
    backend = pools.backend(attempt['host'])
    return [attempt['host'], *(pool.name for pool in known if pools.backend(pool.name) == backend)]


def spec_of(volume: Volume, operation: str, type_id: str | None = None, **wanted: Any) -> RequestSpec:
    """Return a request about a volume under the name of the scheduler's method; ``type_id``: another type's specs.

    Raises VolumeTypeNotFound for a type that is gone: its extra specs are unknown.
    """
    kind = volume_types.read(type_id) if type_id else volume_types.of(volume)
    usual = {'size': int(volume.size), 'extra_specs': kind.extra_specs if kind else {}}
    return RequestSpec(**{**usual, **wanted}, volume_properties=_properties(volume), operation=operation)


def _properties(volume: Volume) -> dict[str, object]:
    """What filter and goodness functions may read as ``volume.*``."""
    names = ('size', 'availability_zone', 'user_id', 'project_id', 'metadata', 'volume_type_id', 'attach_status')
    return {name: getattr(volume, name) for name in names}


def facts(volume: Volume) -> Facts:
    """Look up the facts that filters and weighers need; other projects' volumes are invisible to hints."""
    hints = volume.operation_facts().get('scheduler_hints') or {}
    return Facts(
        volume_backends=_named_volumes(volume),
        volume_counts=pools.volume_counts(),
        instance_hosts=_instance_hosts(hints.get('local_to_instance')),
    )


def _instance_hosts(server_id: object) -> Mapping[str, str]:
    """Query Nova for a hint's server's host, if a filter uses it. Raises ServiceUnavailable when it does not answer."""
    compute = cloud.compute() if 'InstanceLocalityFilter' in pools.config().scheduler_default_filters else None
    host = compute.host_of(str(server_id)) if compute and server_id else None
    return {str(server_id): host} if host else {}


def _named_volumes(volume: Volume) -> Mapping[str, str]:
    hints = volume.operation_facts().get('scheduler_hints') or {}
    named = [id for hint in AFFINITY_HINTS for id in _listed(hints.get(hint))]
    if not named:
        return {}
    found = Volume.batch_get([(volume.project_id, id) for id in dict.fromkeys(named)], consistent_read=True)
    return {one.id: one.host for one in found if one.host}


def _listed(hint: object) -> list[str]:
    return [str(id) for id in hint] if isinstance(hint, list | tuple) else [str(hint)] if hint else []


def shown(context: Context, decision: Decision) -> dict[str, Any]:
    """Return {candidates, removed} as the caller may see them: names of pools are for administrators.

    Other users see each candidate's weight, and how many pools each filter removed for which reason.
    """
    if not context.is_admin:
        return {
            'candidates': [{'weight': one.weight} for one in decision.candidates],
            'removed': [
                {'filter': one.filter, 'pools': len(one.pools), 'reason': one.reason} for one in decision.removed
            ],
        }
    return {
        'candidates': [{'host': name, 'weight': weight} for name, weight in decision.ranking],
        'removed': [
            {'filter': one.filter, 'pools': list(one.pools), 'reason': _in_full(one)} for one in decision.removed
        ],
    }


def _in_full(removal: Removal) -> str:
    return f'{removal.reason} ({removal.detail})' if removal.detail else removal.reason
