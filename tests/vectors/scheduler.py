"""Compare decisions of Cinder's own scheduler with the project's: ``python -m tests.vectors``.

The folder is ``tests/vectors/decisions``, or the one that ``SCHEDULER_VECTORS`` names. Each file holds
``cases`` (one decision each, by ``op``) or tables of small functions (micro.json). Prints every failure with what was
expected and what came, and as its last line ``N passed, M failed``. Nothing in here knows any particular case.

Cinder dies of some reports and requests (``crash:<exception>``); the project's scheduler must still decide.
"""

from __future__ import annotations

import difflib
import json
import os
import random
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from chalicelib import errors
from chalicelib.scheduler import capacity, expressions, extra_specs, filter_scheduler, hosts
from chalicelib.scheduler.config import SchedulerConfig
from chalicelib.scheduler.decision import Decision
from chalicelib.scheduler.pools import PoolState
from chalicelib.scheduler.request_spec import Facts, RequestSpec, Retry
from tests.vectors import cinder
from tests.vectors.cinder import consume, pool_states

TOLERANCE = 1e-6
#: The share of draws may be off by this much.
SHARE_TOLERANCE = 0.03

#: What Cinder runs where a case has no configuration.
CINDER_DEFAULTS = {'scheduler_default_filters': ['AvailabilityZoneFilter', 'CapacityFilter', 'CapabilitiesFilter']}

#: Cinder's exceptions and the project's; every other error has the same name.
ERRORS: dict[str, type[Exception]] = {
    'CinderException': errors.CinderlessError,
}

Case = dict[str, Any]
#: (what, expected, found).
Check = tuple[str, Any, Any]


def same(expected: Any, found: Any) -> bool:
    """Compare JSON values; numbers within the tolerance, tuples as lists."""
    if isinstance(expected, bool) or isinstance(found, bool):
        return expected is found
    if isinstance(expected, int | float) and isinstance(found, int | float):
        return abs(expected - found) <= TOLERANCE
    if isinstance(expected, list) and isinstance(found, list | tuple):
        return len(expected) == len(found) and all(map(same, expected, found))
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(same(expected[key], found[key]) for key in expected)
    return bool(expected == found)


def config_of(case: Case) -> SchedulerConfig:
    return SchedulerConfig.from_options({**CINDER_DEFAULTS, **case.get('config', {})})


def facts_of(case: Case) -> Facts:
    volumes = case.get('volumes', ())
    counts: dict[str, int] = {}
    for volume in volumes:
        counts[volume['host']] = counts.get(volume['host'], 0) + 1
    return Facts(
        volume_backends={volume['id']: volume.get('cluster_name') or volume['host'] for volume in volumes},
        volume_counts=counts,
        instance_hosts=case.get('instances', {}),
    )


def spec_of(case: Case, **changes: Any) -> RequestSpec:
    return cinder.read_request({**case['request_spec'], **changes}, case.get('filter_properties') or {})


def outcome(decide: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """Return (result, None) or (None, the service's own error); anything else is a failure of the case."""
    try:
        return decide(), None
    except errors.CinderlessError as error:
        return None, error


def error_check(expected: str | None, error: Exception | None, winner: Any) -> Check:
    """Compare the error; a decision without a winner is Cinder's NoValidBackend."""
    found = type(error).__name__ if error else 'NoValidBackend' if winner is None else None
    if expected and error and isinstance(error, ERRORS.get(expected, ())):
        found = expected
    return 'error', expected, found


def trace_checks(trace: Case, decision: Decision, config: SchedulerConfig) -> Iterator[Check]:
    """Compare what each filter left, up to the first that left nothing, and the raw weights."""
    yield 'considered', trace['considered'], decision.considered
    removed: dict[str, set[str]] = {}
    for removal in decision.removed:
        removed.setdefault(removal.filter, set()).update(removal.pools)
    left = decision.considered
    for (name, expected), ours in zip(trace['after'], config.scheduler_default_filters, strict=False):
        left = [pool for pool in left if pool not in removed.get(ours, ())]
        yield f'after {name}', [name, expected], [ours, left]
        if not left:
            return
    for expected, weighing in zip(trace.get('raw_weights', ()), decision.weighings, strict=False):
        found = {'weigher': weighing.weigher, 'multiplier': weighing.multiplier, 'raw': weighing.raw}
        yield f'raw weights of {weighing.weigher}', expected, found


def decision_checks(case: Case, decide: Callable[[], Decision]) -> Iterator[Check]:
    """Compare the parts of ``expect`` that every decision may have."""
    expect, config = case['expect'], config_of(case)
    decision, error = outcome(decide)
    if expect.get('error', '').startswith('crash:'):
        yield 'survives', None, error
        return
    yield error_check(expect.get('error'), error, decision and decision.winner)
    if decision is None:
        return
    if 'chosen' in expect:
        yield 'chosen', expect['chosen'], decision.winner
    if 'trace' in expect:
        yield from trace_checks(expect['trace'], decision, config)


def state_of(pool: PoolState, config: SchedulerConfig) -> Case:
    capabilities = pool.capabilities
    names = ('total_capacity_gb', 'free_capacity_gb', 'allocated_capacity_gb', 'provisioned_capacity_gb')
    return {
        **{name: getattr(pool, name) for name in names},
        'reserved_percentage': pool.reserved_percentage,
        'max_over_subscription_ratio': pool.ratio(config.max_over_subscription_ratio),
        'thin_provisioning_support': pool.thin_provisioning_support,
        'thick_provisioning_support': capabilities.get('thick_provisioning_support', False),
        'storage_protocol': capabilities.get('storage_protocol'),
        'multiattach': capabilities.get('multiattach', False),
        'QoS_support': capabilities.get('QoS_support', False),
    }


def state_checks(case: Case) -> Iterator[Check]:
    pools = {pool.name: pool for pool in pool_states(case['services'])}
    for name, state in case['expect'].get('pool_states', {}).items():
        found = state_of(pools[name], config_of(case)) if name in pools else {}
        yield f'state of {name}', state, {key: found.get(key, 'missing') for key in state}


def create(case: Case) -> Iterator[Check]:
    pools, config, facts = pool_states(case['services']), config_of(case), facts_of(case)
    yield from state_checks(case)
    yield from decision_checks(case, lambda: filter_scheduler.schedule(spec_of(case), pools, config, facts=facts))
    if 'ordered' in case['expect']:
        anywhere = filter_scheduler.schedule(spec_of(case, resource_backend=None), pools, config, facts=facts)
        yield 'ordered', case['expect']['ordered'], anywhere.ranking


def check_host(case: Case) -> Iterator[Check]:
    pools, config, facts = pool_states(case['services']), config_of(case), facts_of(case)
    backend = case['backend']
    yield from decision_checks(
        case, lambda: filter_scheduler.check_host(spec_of(case), pools, config, backend, facts=facts)
    )


def retype(case: Case) -> Iterator[Check]:
    pools, config, facts = pool_states(case['services']), config_of(case), facts_of(case)
    volume = case['request_spec']['volume_properties']
    current, policy = volume.get('cluster_name') or volume['host'], case['migration_policy']
    yield from decision_checks(
        case, lambda: filter_scheduler.retype(spec_of(case), pools, config, current, policy, facts=facts)
    )


def final_checks(case: Case, pools: list[PoolState]) -> Iterator[Check]:
    if 'final' in case['expect']:
        names = ('free_capacity_gb', 'allocated_capacity_gb', 'provisioned_capacity_gb')
        found = {pool.name: {name: getattr(pool, name) for name in names} for pool in pools}
        yield 'final', case['expect']['final'], {name: found[name] for name in case['expect']['final'] if name in found}


def sequence(case: Case) -> Iterator[Check]:
    pools, config, facts = pool_states(case['services']), config_of(case), facts_of(case)
    placements = []
    for asked in case['requests']:
        spec = spec_of(asked)
        winner = filter_scheduler.schedule(spec, pools, config, facts=facts).winner
        placements.append(winner)
        if winner:
            pools = consume(pools, winner, spec.size or 0)
    if 'placements' in case['expect']:
        yield 'placements', case['expect']['placements'], placements
    yield from final_checks(case, pools)


def retry(case: Case) -> Iterator[Check]:
    """Schedule until it is refused, or may not be tried again; every backend chosen fails."""
    pools, config, facts = pool_states(case['services']), config_of(case), facts_of(case)
    size, before = spec_of(case).size or 0, Retry()
    attempts: list[Case] = []
    while not attempts or (before.backends and 'error' not in attempts[-1]):
        given_back = consume(pools, before.backends[-1], -size) if before.backends else pools
        asked = {**case, 'filter_properties': {'retry': before._asdict()} if before.backends else {}}
        decision = filter_scheduler.schedule(spec_of(asked), given_back, config, facts=facts)
        count = decision.retry.num_attempts if decision.retry else None
        if decision.considered:  # Cinder counts attempts before it gives anything back
            pools = given_back
        if decision.winner is None:
            attempts.append({'error': 'NoValidBackend', **({'num_attempts': count} if count else {})})
            break
        attempts.append({'backend': decision.winner, 'num_attempts': count})
        pools = consume(pools, decision.winner, size)
        before = decision.retry.tried(decision.winner) if decision.retry else Retry()
    if 'attempts' in case['expect']:
        yield 'attempts', case['expect']['attempts'], attempts
    yield from final_checks(case, pools)


def group(case: Case) -> Iterator[Check]:
    pools, config, facts = pool_states(case['services']), config_of(case), facts_of(case)
    specs = []
    for request_spec in [case['group_spec'], *case['request_spec_list']]:
        zone = {'resource_properties': request_spec['volume_properties']}
        specs.append(cinder.read_request({**request_spec, **zone}, case.get('filter_properties') or {}))
    decision, error = outcome(lambda: filter_scheduler.schedule_group(specs[0], specs[1:], pools, config, facts=facts))
    if case['expect'].get('error', '').startswith('crash:'):
        yield 'survives', None, error
        return
    winner = decision and decision.winner
    if 'error' in case['expect'] or error:
        yield error_check(case['expect'].get('error'), error, winner)
    yield 'chosen', case['expect'].get('chosen'), winner
    parts = [part for part in decision.parts if part.considered] if decision else []  # Cinder filters no empty list
    for trace, part in zip(case['expect'].get('traces', ()), parts, strict=True):
        yield from trace_checks(trace, part, config)


def get_pools(case: Case) -> Iterator[Check]:
    found = filter_scheduler.get_pools(pool_states(case['services']), config_of(case), case.get('filters'))
    yield 'pools', case['expect']['pools'], [pool['name'] for pool in found]


def backup_host(case: Case) -> Iterator[Check]:
    keys = ('volume', 'availability_zone', 'driver')
    asked = {key: case[key] for key in keys if key in case}
    asked['same_host'] = case.get('config', {}).get('backup_use_same_host', False)
    host, error = outcome(lambda: cinder.get_backup_host(case['backup_services'], **asked))
    yield 'error', case['expect'].get('error'), type(error).__name__ if error else None
    if 'any_of' in case['expect']:
        hosts_expected = case['expect']['any_of']
        yield 'host', hosts_expected, hosts_expected if host in hosts_expected else host


def stochastic(case: Case) -> Iterator[Check]:
    pools, config, facts, rng = pool_states(case['services']), config_of(case), facts_of(case), random.Random(1)
    draws = case.get('draws', 2000)
    won: dict[str, int] = {}
    for _ in range(draws):
        decision = filter_scheduler.schedule(spec_of(case), pools, config, facts=facts, rng=rng)
        won[decision.require()] = won.get(decision.require(), 0) + 1
    for name, share in case['expect']['share'].items():
        found = won.get(name, 0) / draws
        yield f'share of {name}', f'{share} +- {SHARE_TOLERANCE}', _within(share, found)
    yield from trace_checks(case['expect']['trace'], decision, config)


def _within(share: float, found: float) -> str:
    return f'{share if abs(share - found) <= SHARE_TOLERANCE else found} +- {SHARE_TOLERANCE}'


OPERATIONS: dict[str, Callable[[Case], Iterator[Check]]] = {
    'create': create,
    'check_host': check_host,
    'retype': retype,
    'sequence': sequence,
    'retry': retry,
    'group': group,
    'get_pools': get_pools,
    'backup_host': backup_host,
    'stochastic': stochastic,
    'states': state_checks,
}


def evaluator(row: Case, document: Case) -> Iterator[Check]:
    value, error = outcome(lambda: expressions.evaluate(row['expr'], document['evaluator']['names']))
    yield 'fails', 'error' in row, isinstance(error, errors.ExpressionError)
    if 'error' not in row:
        yield 'value', row['intended'] if 'intended' in row else row['value'], value
        yield 'type', row.get('type', type(value).__name__), type(value).__name__


def extra_specs_match(row: list[Any], document: Case) -> Iterator[Check]:
    """Where Cinder crashes, the requirement must not match; a TypeError here removes the pool, which is the same."""
    capability, requirement, result = row
    try:
        found = extra_specs.compile_requirement(requirement)(capability)
    except TypeError:
        found = False
    yield 'match', result is True, found


def capacity_factors(row: Case, document: Case) -> Iterator[Check]:
    names = ('total_capacity', 'free_capacity', 'provisioned_capacity', 'reserved_percentage')
    given = row['in']
    thin = given['thin'] and given['thin_provisioning_support']
    ratio = given['max_over_subscription_ratio'] if thin else None
    total, free, provisioned, reserved = (given[name] for name in names)
    found = cinder.capacity_factors(total, free, provisioned, reserved, ratio)
    yield 'factors', row['out'], {key: getattr(found, key) for key in row['out']}


def max_over_subscription_ratio(row: Case, document: Case) -> Iterator[Check]:
    yield 'ratio', row['out'], capacity.max_over_subscription_ratio(row['capability'], row['global'])


def extract_host(row: Case, document: Case) -> Iterator[Check]:
    """The table does not give its input: it is put together from the parts."""
    name = row['backend'] if row['pool'] is None else f'{row["backend"]}#{row["pool"]}'
    parts = {'host': hosts.extract_host(name, 'host'), 'backend': hosts.extract_host(name)}
    yield name, row, {**parts, 'pool': hosts.extract_host(name, 'pool'), 'pool+default': hosts.pool_or_default(name)}


def append_host(row: list[Any], document: Case) -> Iterator[Check]:
    yield 'name', row[2], cinder.append_host(row[0], row[1])


def hosts_are_equivalent(row: list[Any], document: Case) -> Iterator[Check]:
    yield 'equivalent', row[2], cinder.hosts_are_equivalent(row[0], row[1])


TABLES: dict[str, Callable[[Any, Case], Iterator[Check]]] = {
    'evaluator': evaluator,
    'evaluator_upstream_bug': evaluator,
    'extra_specs_match': extra_specs_match,
    'capacity_factors': capacity_factors,
    'max_over_subscription_ratio': max_over_subscription_ratio,
    'extract_host': extract_host,
    'append_host': append_host,
    'hosts_are_equivalent': hosts_are_equivalent,
}


def case_checks(case: Case) -> Iterator[Check]:
    """Look the operation up only when the checks are read, so that an unknown one is a failure like others."""
    yield from OPERATIONS[case.get('op', 'create')](case)


def row_checks(name: str, row: Any, document: Case) -> Iterator[Check]:
    yield from TABLES[name](row, document)


def rows_of(document: Case) -> Iterator[tuple[str, Iterator[Check]]]:
    """Yield (id, checks) of everything in one file: cases, or tables of small functions."""
    for case in document.get('cases', ()):
        yield case['id'], case_checks(case)
    tables = {name: table for name, table in document.items() if name not in ('cases', 'format', 'generated_with')}
    for name, table in tables.items():
        for row in table['cases'] if isinstance(table, dict) else table:
            yield f'{name} {json.dumps(row)[:100]}', row_checks(name, row, document)


def failures(checks: Iterable[Check]) -> list[str]:
    """Return one text per check that fails; an exception fails the row as well."""
    texts = []
    try:
        for name, expected, found in checks:
            if not same(expected, found):
                diff = difflib.unified_diff(_lines(expected), _lines(found), 'expected', 'found', lineterm='', n=1)
                texts.append(f'  {name}\n    ' + '\n    '.join(list(diff)[2:]))
    except Exception:
        texts.append(traceback.format_exc())
    return texts


def _lines(value: Any) -> list[str]:
    return json.dumps(value, indent=1, default=str).splitlines()


def main() -> int:
    """Run every file of the folder; return the exit code."""
    folder = Path(os.environ.get('SCHEDULER_VECTORS', Path(__file__).parent / 'decisions'))
    passed = failed = 0
    for path in sorted(folder.glob('*.json')):
        for name, checks in rows_of(json.loads(path.read_text())):
            if texts := failures(checks):
                failed += 1
                print(f'FAILED {path.name}: {name}', *texts, sep='\n')
            else:
                passed += 1
    if not passed:
        print(f'nothing passed: is {folder} the folder of the vectors?')
    print(f'{passed} passed, {failed} failed')
    return 0 if passed and not failed else 1
