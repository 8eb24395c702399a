"""What holds for all pools and requests, found out by trying many."""

from __future__ import annotations

import contextlib
import json
import math
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.errors import CinderlessError, ExpressionError
from chalicelib.scheduler import capacity
from chalicelib.scheduler.config import SchedulerConfig
from chalicelib.scheduler.expressions import evaluate
from chalicelib.scheduler.extra_specs import compile_requirement
from chalicelib.scheduler.filter_scheduler import schedule
from chalicelib.scheduler.filters import FILTERS
from chalicelib.scheduler.pools import PoolState
from chalicelib.scheduler.request_spec import Facts, RequestSpec, Retry
from chalicelib.scheduler.weighers import WEIGHERS, normalise
from tests.vectors import cinder
from tests.vectors.cinder import pool_states

FUNCTIONS = st.sampled_from(
    ['volume.size > 20', 'stats.free_capacity_gb > 50', "extra.tier == 'gold'", '1 +', 'stats.absent', '50', None]
)

#: Reports as drivers make them, sane but with all the odd values that are allowed.
REPORTS = st.fixed_dictionaries(
    {
        'total_capacity_gb': st.one_of(st.integers(0, 2000), st.sampled_from(['infinite', 'unknown', 1024.5])),
        'free_capacity_gb': st.one_of(st.integers(0, 2000), st.sampled_from(['infinite', 'unknown', None, 1.25])),
    },
    optional={
        'allocated_capacity_gb': st.integers(0, 2000),
        'provisioned_capacity_gb': st.integers(0, 4000),
        'reserved_percentage': st.integers(0, 100),
        'thin_provisioning_support': st.booleans(),
        'max_over_subscription_ratio': st.sampled_from([1.0, 2.5, 20, '1.5', 'auto', 0.5]),
        'tier': st.sampled_from(['gold', 'silver', ['gold', 'bronze'], 5]),
        'filter_function': FUNCTIONS,
        'goodness_function': FUNCTIONS,
        'storage_protocol': st.sampled_from(['iSCSI', 'fc', 'ebs']),
    },
)

SPECS = st.builds(
    RequestSpec,
    size=st.integers(0, 300),
    new_size=st.none() | st.integers(1, 600),
    availability_zone=st.sampled_from([None, 'az1', 'az2']),
    extra_specs=st.dictionaries(
        st.sampled_from(['tier', 'provisioning:type', 'storage_protocol', 'absent']),
        st.sampled_from(['gold', 'thick', '<in> scsi', 's!= x', '<or> gold <or> silver', '>= 5']),
        max_size=2,
    ),
    retry=st.none() | st.just(Retry(1, ('h@b#p0',))),
)

#: Anything that JSON can carry, numbers without end and not-a-number with it.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just('infinite'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    [
        *('total_capacity_gb', 'free_capacity_gb', 'allocated_capacity_gb', 'provisioned_capacity_gb'),
        *('reserved_percentage', 'thin_provisioning_support', 'max_over_subscription_ratio', 'pool_name'),
        *('storage_protocol', 'filter_function', 'goodness_function', 'volume_backend_name', 'tier', 'pools'),
    ]
)
WILD_REPORTS = JSON | st.dictionaries(KEYS, JSON | st.lists(st.dictionaries(KEYS, JSON, max_size=8), max_size=4))


def states_of(reports: list[dict[str, Any]]) -> list[PoolState]:
    return [
        PoolState.from_record(
            {'name': f'h@b#p{number}', 'availability_zone': f'az{number % 2 + 1}', 'capabilities': report}
        )
        for number, report in enumerate(reports)
    ]


def with_filters(*names: str) -> SchedulerConfig:
    return SchedulerConfig(scheduler_default_filters=names, scheduler_default_weighers=())


@given(st.lists(REPORTS, max_size=6), SPECS, st.permutations(sorted(FILTERS)))
def test_the_order_of_filters_does_not_change_who_is_left(
    reports: list[dict[str, Any]], spec: RequestSpec, order: list[str]
) -> None:
    states = states_of(reports)
    straight = schedule(spec, states, with_filters(*sorted(FILTERS)))
    shuffled = schedule(spec, states, with_filters(*order))
    assert straight.ranking == shuffled.ranking


@given(st.lists(REPORTS, max_size=6), SPECS, st.sampled_from(sorted(FILTERS)))
def test_a_filter_removes_and_never_adds_or_reorders(
    reports: list[dict[str, Any]], spec: RequestSpec, name: str
) -> None:
    decision = schedule(spec, states_of(reports), with_filters(name))
    left = [pool for pool, _ in decision.ranking]
    removed = [pool for removal in decision.removed for pool in removal.pools]
    assert sorted(left + removed) == sorted(decision.considered)
    assert left == [pool for pool in decision.considered if pool in left]
    assert all(removal.reason for removal in decision.removed)


@given(REPORTS, SPECS, st.integers(0, 500))
def test_what_fits_fits_when_it_is_smaller(report: dict[str, Any], spec: RequestSpec, less: int) -> None:
    (state,) = states_of([report])
    large, small = RequestSpec(spec.size, extra_specs=spec.extra_specs), max(1, (spec.size or 0) - less)
    if schedule(large, [state], with_filters('CapacityFilter')).winner and spec.size:
        assert schedule(
            RequestSpec(small, extra_specs=spec.extra_specs), [state], with_filters('CapacityFilter')
        ).winner


@given(REPORTS, st.integers(1, 300), st.integers(0, 500))
def test_more_free_space_never_costs_a_fit(report: dict[str, Any], size: int, more: int) -> None:
    free = report['free_capacity_gb']
    roomier = {**report, 'free_capacity_gb': free + more if isinstance(free, int | float) else free}
    if report.get('max_over_subscription_ratio') == 'auto':
        roomier['max_over_subscription_ratio'] = report['max_over_subscription_ratio'] = 2.0
    tight, wide = states_of([report, roomier])
    fits = with_filters('CapacityFilter')
    assert not schedule(RequestSpec(size), [tight], fits).winner or schedule(RequestSpec(size), [wide], fits).winner


@given(REPORTS, st.integers(1, 200), st.integers(1, 200))
def test_a_pool_that_keeps_taking_what_fits_never_promises_more_than_it_had(
    report: dict[str, Any], size: int, times: int
) -> None:
    (state,) = states_of([report])
    room, promised = state.virtual_free_gb('20.0') if state.free_capacity_gb is not None else 0, 0
    for _ in range(min(times, 20)):
        if not schedule(RequestSpec(size), [state], with_filters('CapacityFilter')).winner:
            break
        state, promised = state.consume(size), promised + size
    assert room is None or promised <= max(room, 0)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_normalised_weights_lie_between_0_and_1_and_keep_the_order(weights: list[float]) -> None:
    scaled = normalise(weights)
    assert all(0 <= weight <= 1 for weight in scaled)
    by_raw = sorted(range(len(weights)), key=lambda index: weights[index])
    assert [scaled[index] for index in by_raw] == sorted(scaled)


@given(st.lists(REPORTS, max_size=6), SPECS, st.floats(-5, 5), st.floats(-5, 5))
def test_weights_are_finite_within_bounds_and_sorted(
    reports: list[dict[str, Any]], spec: RequestSpec, one: float, other: float
) -> None:
    config = SchedulerConfig(
        scheduler_default_filters=(),
        scheduler_default_weighers=('CapacityWeigher', 'AllocatedCapacityWeigher', 'GoodnessWeigher'),
        capacity_weight_multiplier=one,
        allocated_capacity_weight_multiplier=other,
    )
    found = [weight for _, weight in schedule(spec, states_of(reports), config).ranking]
    assert found == sorted(found, reverse=True)
    assert all(abs(weight) <= abs(one) + abs(other) + 1 + 1e-9 for weight in found)


@given(
    total=st.floats(0.01, 1e6),
    free=st.floats(0, 1e6),
    provisioned=st.floats(0, 1e6),
    reserved=st.integers(0, 100),
    ratio=st.none() | st.floats(1, 50),
)
def test_the_factors_and_the_room_are_one_formula(
    total: float, free: float, provisioned: float, reserved: int, ratio: float | None
) -> None:
    factors = cinder.capacity_factors(total, free, provisioned, reserved, ratio)
    _, _, virtual_free = capacity.space(total, free, provisioned, reserved, ratio)
    assert factors.virtual_free_capacity == round(virtual_free, 2)
    assert factors.virtual_free_capacity <= factors.calculated_free_capacity
    assert 0 <= factors.reserved_capacity <= total


@settings(max_examples=300)
@given(st.lists(st.fixed_dictionaries({'capabilities': WILD_REPORTS}), max_size=4), SPECS)
def test_no_report_whatever_breaks_a_decision_or_costs_another_pool(
    services: list[dict[str, Any]], spec: RequestSpec
) -> None:
    good = {'pool_name': 'good', 'total_capacity_gb': 'infinite', 'free_capacity_gb': 'infinite'}
    asked = RequestSpec(spec.size, extra_specs={})
    listed = [{'host': f'h{number}@b', 'availability_zone': 'az1', **one} for number, one in enumerate(services)]
    listed.append({'host': 'good@b', 'availability_zone': 'az1', 'capabilities': {'pools': [good]}})
    states = pool_states(listed)
    everything = SchedulerConfig(
        scheduler_default_filters=tuple(FILTERS), scheduler_default_weighers=tuple(sorted(WEIGHERS))
    )
    decision = schedule(asked, states, everything, rng=random.Random(1))
    assert 'good@b#good' in [name for name, _ in decision.ranking]
    assert all(math.isfinite(weight) for _, weight in decision.ranking)
    assert decision.summary() or not decision.removed
    assert schedule(spec, states, everything, rng=random.Random(1)).explain()


@given(st.dictionaries(st.sampled_from(['query', 'different_host', 'same_host', 'local_to_instance']), JSON), JSON)
def test_no_hint_whatever_breaks_a_decision(hints: dict[str, Any], query: Any) -> None:
    """A hint that makes no sense refuses pools, or is an error of the API that names it."""
    everything = SchedulerConfig(scheduler_default_filters=tuple(FILTERS))
    for asked in (hints, {**hints, 'query': json.dumps(query)}, {'query': json.dumps(['and', query, ['=', query, 1]])}):
        try:
            decision = schedule(
                RequestSpec(1, scheduler_hints=asked), states_of([{'free_capacity_gb': 'infinite'}]), everything
            )
        except CinderlessError:
            continue
        assert decision.winner or decision.removed


@given(
    JSON, st.one_of(st.none(), st.text(), st.sampled_from(['<in> a', '<is> x', '<or>', 's< a', '= 5', '<or> a <or> b']))
)
def test_a_requirement_matches_or_not_or_cannot_be_compared(value: Any, requirement: str | None) -> None:
    try:
        assert compile_requirement(requirement)(value) in (True, False)
    except (TypeError, OverflowError):
        assert requirement is not None


@given(st.text(alphabet='1234567890.+-*/^<>=!?:&|(),\'" abmnotrdxvolume_size', max_size=60))
def test_any_text_is_an_expression_or_is_refused(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        evaluate(text, {'volume': {'size': 3}})


@given(st.lists(REPORTS, max_size=5), SPECS, st.integers())
def test_a_decision_depends_on_nothing_but_its_arguments(
    reports: list[dict[str, Any]], spec: RequestSpec, seed: int
) -> None:
    config = SchedulerConfig(
        scheduler_default_weighers=('CapacityWeigher', 'ChanceWeigher'),
        scheduler_weight_handler='StochasticHostWeightHandler',
    )
    first, second = (
        schedule(spec, states_of(reports), config, facts=Facts(), rng=random.Random(seed)) for _ in range(2)
    )
    assert first == second
