"""Weights, their normalisation, and the order or chance that is made of them."""

from __future__ import annotations

import random
from typing import Any

import pytest

from chalicelib.scheduler.filter_scheduler import schedule
from chalicelib.scheduler.request_spec import Facts
from chalicelib.scheduler.weighers import normalise
from tests.unit.scheduler.build import config, pool, pools, spec, weights


@pytest.mark.parametrize(
    ('raw', 'normalised'),
    [([5], [0]), ([3, 3], [0, 0]), ([0, 5, 10], [0, 0.5, 1]), ([-10, 0], [0, 1]), ([10, 20, 15], [0, 1, 0.5])],
)
def test_normalisation(raw: list[float], normalised: list[float]) -> None:
    assert normalise(raw) == normalised


def test_capacity_is_virtual_free_space() -> None:
    states = pools(
        thick={'free': 40.5},
        thin={'thin': True, 'ratio': 5.0, 'provisioned': 100},
        over={'free': 10, 'provisioned': 150},
    )
    assert weights('CapacityWeigher', states) == {'thick': 40.5, 'thin': 400, 'over': -50}
    thick = spec(extra_specs={'provisioning:type': 'thick'})
    assert weights('CapacityWeigher', states, thick) == {'thick': 40.5, 'thin': 0, 'over': -50}


def test_a_pool_without_a_ratio_has_the_schedulers() -> None:
    states = pools(default={'thin': True, 'provisioned': 100}, own={'thin': True, 'provisioned': 100, 'ratio': 2.0})
    found = weights('CapacityWeigher', states, max_over_subscription_ratio='3.0')
    assert found == {'default': 200, 'own': 100}


@pytest.mark.parametrize(
    ('frees', 'multiplier', 'expected'),
    [
        (['infinite', 'unknown', 5], 1.0, [-1, -1, 5]),
        (['infinite', 10, 60], -1.0, [5060, 10, 60]),
        (['infinite', 10], -1.0, [10010, 10]),
        (['infinite', 10, 60], 0.0, [5060, 10, 60]),
        (['infinite', 'unknown'], -1.0, [0, 0]),
    ],
)
def test_capacity_without_limit_is_wanted_least(frees: list[Any], multiplier: float, expected: list[float]) -> None:
    states = [pool(f'h@b#{number}', free=free) for number, free in enumerate(frees)]
    found = weights('CapacityWeigher', states, capacity_weight_multiplier=multiplier)
    assert list(found.values()) == expected


def test_the_filter_and_the_weigher_agree_on_room() -> None:
    states = pools(a={'free': 40.126}, b={'thin': True, 'ratio': '1.5', 'provisioned': 33.333}, c={'free': 'infinite'})
    decision = schedule(spec(), states, config('CapacityFilter', weighers=('CapacityWeigher',)))
    assert decision.weighings[0].raw == {
        'host@backend#a': 40.13,
        'host@backend#b': 116.67,
        'host@backend#c': -1,
    }


def test_allocated_capacity() -> None:
    assert weights('AllocatedCapacityWeigher', pools(a={'allocated': 7}, b={})) == {'a': 7, 'b': 0}


def test_number_of_volumes() -> None:
    facts = Facts(volume_counts={'host@backend#a': 3, 'host@backend': 9})
    assert weights('VolumeNumberWeigher', pools(a={}, b={}), facts=facts) == {'a': 3, 'b': 0}


@pytest.mark.parametrize('function', ["stats.storage_protocol == 'iscsi'", '40 + 2 # storage_protocol', '50'])
@pytest.mark.parametrize('protocols', [[], ['iscsi'], None])
def test_a_backend_without_a_protocol_costs_no_other_pool(function: str, protocols: list[str] | None) -> None:
    """One whose function reads an empty list of protocols made every decision with this weigher fail."""
    bad = {'goodness_function': function, 'storage_protocol': protocols}
    found = weights('GoodnessWeigher', pools(bad=bad, good={'goodness_function': '10'}))
    assert found.keys() == {'bad', 'good'}
    assert found['good'] == 10


@pytest.mark.parametrize(
    ('function', 'goodness'),
    [
        ('50', 50),
        ('volume.size * 4', 40),
        ('volume.size > 1', 100),
        ('volume.size > 100', 0),
        ('100', 100),
        ('101', 0),
        ('0 - 1', 0),
        ('nan', 0),
        (None, 0),
        ("stats.storage_protocol == 'iscsi' ? 80 : 20", 80),
        ("stats.storage_protocol == 'fc' ? 80 : 20", 20),
        ('1 / 3', pytest.approx(1 / 3)),
    ],
)
def test_goodness(function: str | None, goodness: float) -> None:
    states = [pool(goodness_function=function, storage_protocol='iSCSI')]
    assert weights('GoodnessWeigher', states) == {'pool': goodness}


@pytest.mark.parametrize(
    ('function', 'why'),
    [
        ('stats.absent', 'stats.absent is unknown'),
        ('1 +', 'expected an operand, found the end'),
        ("'text'", 'not supported'),
        ('1, 2', 'not supported'),
        ('stats.backend_id == 1', 'stats.backend_id is unknown'),
        ('stats.cluster_name', 'stats.cluster_name is unknown'),
        ('(0-8) ^ 0.5', 'not supported'),
    ],
)
def test_goodness_that_is_no_number_weighs_0_and_says_why(function: str, why: str) -> None:
    states = pools(bad={'goodness_function': function}, good={'goodness_function': '10'})
    decision = schedule(spec(), states, config(weighers=('GoodnessWeigher',)))
    (weighing,) = decision.weighings
    assert list(weighing.raw.values()) == [0, 10]
    assert list(weighing.faults) == ['host@backend#bad']
    assert why in weighing.faults['host@backend#bad']
    assert decision.winner == 'host@backend#good'
    assert any('GoodnessWeigher weighs host@backend#bad as 0: ' in line for line in decision.explain())


def test_no_free_capacity_weighs_0() -> None:
    decision = schedule(spec(), pools(a={'free': None}, b={'free': 5}), config(weighers=('CapacityWeigher',)))
    assert list(decision.weighings[0].raw.values()) == [0, 5]
    assert 'host@backend#a' in decision.weighings[0].faults


def test_chance_is_the_callers() -> None:
    states = pools(a={}, b={})
    first = weights('ChanceWeigher', states, rng=random.Random(7))
    assert first == weights('ChanceWeigher', states, rng=random.Random(7))
    assert first != weights('ChanceWeigher', states, rng=random.Random(8))


def test_weights_are_normalised_multiplied_and_summed() -> None:
    states = pools(a={'free': 0, 'allocated': 0}, b={'free': 50, 'allocated': 10}, c={'free': 100, 'allocated': 40})
    both = config(
        weighers=('CapacityWeigher', 'AllocatedCapacityWeigher'),
        capacity_weight_multiplier=2.0,
        allocated_capacity_weight_multiplier=-1.0,
    )
    assert schedule(spec(), states, both).ranking == [
        ('host@backend#b', pytest.approx(2 * 50 / 60 - 0.25)),
        ('host@backend#c', pytest.approx(2 * 60 / 60 - 1)),
        ('host@backend#a', pytest.approx(0)),
    ]


def test_a_multiplier_of_its_own() -> None:
    facts = Facts(volume_counts={'host@backend#a': 4})
    packed = config(weighers=('VolumeNumberWeigher',), volume_number_multiplier=0.5)
    assert schedule(spec(), pools(a={}, b={}), packed, facts=facts).ranking == [
        ('host@backend#a', 0.5),
        ('host@backend#b', 0.0),
    ]


@pytest.mark.parametrize('weighers', [(), ('CapacityWeigher',)])
def test_ties_keep_the_order_of_the_pools(weighers: tuple[str, ...]) -> None:
    decision = schedule(spec(), pools(z={}, a={}, m={}), config(weighers=weighers))
    assert [name[-1] for name, _ in decision.ranking] == ['z', 'a', 'm']


def test_the_stochastic_handler_rotates_and_does_not_sort() -> None:
    states = pools(a={'free': 60}, b={'free': 10}, c={'free': 30})
    drawn = config(weighers=('CapacityWeigher',), scheduler_weight_handler='StochasticHostWeightHandler')
    orders = {
        ''.join(name[-1] for name, _ in schedule(spec(1), states, drawn, rng=random.Random(seed)).ranking)
        for seed in range(40)
    }
    assert orders == {'abc', 'bca', 'cab'}


def test_the_chance_to_win_is_the_share_of_raw_weight() -> None:
    states, rng = pools(a={'free': 60}, b={'free': 10}, c={'free': 30}), random.Random(3)
    drawn = config(weighers=('CapacityWeigher',), scheduler_weight_handler='StochasticHostWeightHandler')
    winners = [schedule(spec(1), states, drawn, rng=rng).require()[-1] for _ in range(1500)]
    shares = [winners.count(name) / len(winners) for name in 'abc']
    assert shares == pytest.approx([0.6, 0.1, 0.3], abs=0.05)


def test_a_pool_that_weighs_nothing_cannot_win() -> None:
    class Lowest(random.Random):
        def random(self) -> float:
            return 0.0

    drawn = config(weighers=('CapacityWeigher',), scheduler_weight_handler='StochasticHostWeightHandler')
    states = pools(none={'free': 0}, some={'free': 10})
    assert schedule(spec(1), states, drawn, rng=Lowest()).winner == 'host@backend#some'


def test_nothing_to_draw_from_is_no_error() -> None:
    drawn = config(weighers=('CapacityWeigher',), scheduler_weight_handler='StochasticHostWeightHandler')
    assert schedule(spec(), [], drawn).candidates == []
    empty = pools(a={'free': 0}, b={'free': 0})
    assert [name[-1] for name, _ in schedule(spec(), empty, drawn).ranking] == ['a', 'b']
