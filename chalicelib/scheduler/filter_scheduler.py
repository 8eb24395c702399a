"""Cinder's FilterScheduler as pure functions: a request and the pools in, a decision out.

``schedule`` places a new volume; ``check_host``, ``retype`` and ``schedule_group`` are the other requests to Cinder's
scheduler. No function here fails for lack of a pool: the decision then has no candidates, and gives the reasons. They
raise Invalid for a hint that is malformed (InstanceLocalityFilter).
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chalicelib.scheduler.config import SchedulerConfig
from chalicelib.scheduler.decision import Candidate, Decision, Removal
from chalicelib.scheduler.extra_specs import bool_from_string
from chalicelib.scheduler.filters import FILTERS
from chalicelib.scheduler.hosts import extract_host, in_backend
from chalicelib.scheduler.placement_request import PlacementRequest
from chalicelib.scheduler.pools import Obstacle, PoolState
from chalicelib.scheduler.request_spec import Facts, RequestSpec, Retry
from chalicelib.scheduler.weighers import weigh_pools

_NO_FACTS = Facts()
_CHANCE = random.SystemRandom()


def schedule(
    spec: RequestSpec,
    pools: Iterable[PoolState],
    config: SchedulerConfig,
    *,
    facts: Facts = _NO_FACTS,
    rng: random.Random = _CHANCE,
    now: float | None = None,
) -> Decision:
    """Return the pools that may take a volume, best first.

    ``rng`` serves ChanceWeigher and the stochastic handler; ``now``, in seconds since the epoch, removes pools with
    stale reports (None: age does not matter). The caller claims the capacity on the winner, or on the next candidate if
    the claim fails, and releases what an earlier attempt claimed.
    """
    states = list(pools)
    spec, retry = _next_attempt(spec, config)
    if retry and retry.num_attempts > config.scheduler_max_attempts:
        reason = f'the request was tried {config.scheduler_max_attempts} times, and failed each time'
        return Decision([], [_removal(states, 'scheduler_max_attempts', reason)])
    considered, removed = _usable_pools(states, config, now)
    passed = considered
    request = PlacementRequest(spec, config, facts, rng)
    for name in config.scheduler_default_filters:
        if not passed:
            break
        passed, refused = FILTERS[name](request).run(passed)
        removed += refused
    candidates, weighings = weigh_pools(request, passed) if passed else ([], [])
    decision = Decision(candidates, removed, [pool.name for pool in considered], weighings, retry)
    if not spec.resource_backend:
        return decision
    return _only(decision, spec.resource_backend, 'resource_backend', 'the volume must be where its group or source is')


def check_host(
    spec: RequestSpec, pools: Iterable[PoolState], config: SchedulerConfig, backend: str, **options: Any
) -> Decision:
    """Decide whether ``backend`` may take the volume (migrate, manage, extend, create_snapshot).

    A backend without '#pool' means its best pool. The options are those of ``schedule``.
    """
    decision = schedule(dataclasses.replace(spec, resource_backend=None), pools, config, **options)
    return _only(decision, backend, 'check_host', 'the request names another backend')


def retype(
    spec: RequestSpec,
    pools: Iterable[PoolState],
    config: SchedulerConfig,
    current: str,
    migration_policy: str,
    **options: Any,
) -> Decision:
    """Return where a volume with a new type may be; ``current`` is its present ``cluster_name`` or ``host``.

    It stays on its pool, if that passes. A volume without '#pool' in its host may move to any pool of its backend.
    Otherwise policy ``on-demand`` allows any pool, ``never`` none. The options are those of ``schedule``.
    """
    spec = dataclasses.replace(spec, vol_exists_on=current, resource_backend=None)
    decision = schedule(spec, pools, config, **options)
    stays = [candidate for candidate in decision.candidates if in_backend(candidate.name, current)]
    if stays:
        return dataclasses.replace(decision, candidates=stays)
    if migration_policy == 'on-demand':
        return decision
    return _only(decision, current, 'migration_policy', 'the volume would have to move, but the policy is never')


@dataclasses.dataclass(frozen=True, slots=True)
class GroupDecision:
    """The candidates for a group: pools for its first volume, best first, and the decisions behind them.

    ``parts`` are about the group type first, then about each volume, up to the first that leaves no common backend.
    """

    candidates: list[Candidate]
    parts: list[Decision]

    @property
    def winner(self) -> str | None:
        """A pool; the group gets its backend, and its volumes any pools there."""
        return self.candidates[0].name if self.candidates else None

    def summary(self) -> str:
        """Return one text for users, of the part that failed or of the lack of a common backend."""
        failed = next((part for part in self.parts if not part.candidates), None)
        return failed.summary() if failed else 'No backend can take the group and all of its volumes.'


def schedule_group(
    group_spec: RequestSpec,
    specs: Sequence[RequestSpec],
    pools: Iterable[PoolState],
    config: SchedulerConfig,
    **options: Any,
) -> GroupDecision:
    """Return the backends that take a group: those where every volume finds some pool, and that suit the group type.

    ``group_spec`` has size 0 and ``group_specs``. The options are those of ``schedule``.
    """
    states = list(pools)
    parts = [schedule(group_spec, states, config, **options)]
    candidates: list[Candidate] = []
    for spec in specs:
        part = schedule(dataclasses.replace(spec, resource_backend=None), states, config, **options)
        candidates = _on_backends_of(candidates, part) if len(parts) > 1 else part.candidates
        parts.append(part)
        if not candidates:
            break
    return GroupDecision(_on_backends_of(candidates, parts[0]), parts)


def _on_backends_of(candidates: list[Candidate], decision: Decision) -> list[Candidate]:
    backends = {extract_host(one.name) for one in decision.candidates}
    return [candidate for candidate in candidates if extract_host(candidate.name) in backends]


def get_pools(
    pools: Iterable[PoolState],
    config: SchedulerConfig,
    filters: Mapping[str, Any] | None = None,
    volume_type: RequestSpec | None = None,
) -> list[dict[str, Any]]:
    """Return ``{name, capabilities}`` of pools whose service is up, as ``GET /scheduler-stats/get_pools`` lists them.

    ``filters``: ``name`` is compared exactly, every other key with the capability of that name. ``volume_type``: a
    request without a size, of which only the extra specs count; the enabled filters run on it.
    """
    wanted = dict(filters or {})
    name = wanted.pop('name', None)
    found = [
        pool
        for pool in pools
        if (pool.obstacle is None or pool.warning)
        and (not name or pool.name == name)
        and all(_equal(pool.capabilities.get(key), value) for key, value in wanted.items())
    ]
    if volume_type is not None:
        fit = {one.name for one in schedule(volume_type, found, config).candidates}
        found = [pool for pool in found if pool.name in fit]
    return [{'name': pool.name, 'capabilities': dict(pool.capabilities)} for pool in found]


def _equal(capability: Any, value: Any) -> bool:
    """Compare a capability with the text of a query string, as far as types allow."""
    if capability is None or isinstance(value, type(capability)):
        return bool(value == capability)
    if isinstance(capability, bool):
        return capability == bool_from_string(value)
    return str(value) == str(capability)


def _next_attempt(spec: RequestSpec, config: SchedulerConfig) -> tuple[RequestSpec, Retry | None]:
    """Count this attempt; with a maximum of one there are no retries, and nothing is recorded."""
    if config.scheduler_max_attempts == 1:
        return dataclasses.replace(spec, retry=None), None
    before = spec.retry or Retry()
    retry = Retry(before.num_attempts + 1, before.backends)
    return spec, retry


def _usable_pools(
    pools: Iterable[PoolState], config: SchedulerConfig, now: float | None
) -> tuple[list[PoolState], list[Removal]]:
    """Split off the pools whose service takes no work, and those whose report is bad or stale."""
    stale = Obstacle('PoolReport', f'the report is older than {config.report_max_age:g} s')
    usable: list[PoolState] = []
    others: dict[Obstacle, list[PoolState]] = {}
    for pool in pools:
        obstacle = pool.obstacle
        if obstacle is None and now is not None and now - (pool.reported_at or now) > config.report_max_age:
            obstacle = stale
        if obstacle is None:
            usable.append(pool)
        else:
            others.setdefault(obstacle, []).append(pool)
    return usable, [_removal(group, *obstacle) for obstacle, group in others.items()]


def _only(decision: Decision, backend: str, step: str, reason: str) -> Decision:
    """Keep the candidates on ``backend``, and record the others as removed by ``step``."""
    kept = [candidate for candidate in decision.candidates if in_backend(candidate.name, backend)]
    others = tuple(one.name for one in decision.candidates if not in_backend(one.name, backend))
    removed = [*decision.removed, Removal(step, others, reason, f'only {backend}')] if others else decision.removed
    return dataclasses.replace(decision, candidates=kept, removed=removed)


def _removal(pools: Sequence[PoolState], step: str, reason: str, detail: str = '') -> Removal:
    return Removal(step, tuple(pool.name for pool in pools), reason, detail)
