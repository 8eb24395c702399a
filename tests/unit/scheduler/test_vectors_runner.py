"""The runner of vectors: it reads every form there is, and it can fail."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.scheduler.build import report, service
from tests.vectors import scheduler as vectors

A, B = 'h@a#p', 'h@a#q'
POOLS = [service('h@a', report(pool_name='p', free=20, allocated=80), report(pool_name='q', free=60, allocated=40))]
STAGES = ['AvailabilityZoneFilter', 'CapacityFilter', 'CapabilitiesFilter']
TRACE = {
    'considered': [A, B],
    'after': [[stage, [A, B]] for stage in STAGES],
    'raw_weights': [{'weigher': 'CapacityWeigher', 'multiplier': 1.0, 'raw': {A: 20, B: 60.0}}],
}


def asked(size: int, **more: Any) -> dict[str, Any]:
    return {'volume_id': 'v', 'volume_properties': {'size': size}, 'resource_properties': {'size': size}, **more}


def case(op: str, expect: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {'id': op, 'op': op, 'config': {}, 'services': POOLS, 'request_spec': asked(10), 'expect': expect, **more}


STATE = {'total_capacity_gb': 100, 'provisioned_capacity_gb': 80, 'max_over_subscription_ratio': 1.0}
FINAL = {
    A: {'free_capacity_gb': 20, 'allocated_capacity_gb': 80, 'provisioned_capacity_gb': 80},
    B: {'free_capacity_gb': 30, 'allocated_capacity_gb': 70, 'provisioned_capacity_gb': 70},
}
NOBODY = [[STAGES[0], [A, B]], [STAGES[1], []], [STAGES[2], []]]
BACKUP = [{'host': 'x', 'availability_zone': 'z', 'capabilities': {'backend_state': True}}]
STOCHASTIC = {'scheduler_weight_handler': 'cinder.scheduler.weights.stochastic.StochasticHostWeightHandler'}

CASES = [
    case('create', {'ordered': [[B, 1.0], [A, 0.0]], 'chosen': B, 'trace': TRACE, 'pool_states': {A: STATE}}),
    case('create', {'ordered': [[B, 1.0], [A, 0.0]], 'chosen': A}, request_spec=asked(10, resource_backend=A)),
    case(
        'create',
        {'ordered': [], 'chosen': None, 'error': 'NoValidBackend', 'trace': {'considered': [A, B], 'after': NOBODY}},
        request_spec=asked(500),
    ),
    case('create', {'error': 'crash:TypeError'}, filter_properties={'scheduler_hints': {'query': '5'}}),
    case(
        'create',
        {'error': 'CinderException'},
        config={'scheduler_default_filters': ['InstanceLocalityFilter']},
        filter_properties={'scheduler_hints': {'local_to_instance': '00000001-aaaa-4aaa-8aaa-aaaaaaaaaaaa'}},
    ),
    case('check_host', {'chosen': A, 'trace': TRACE}, backend=A),
    case('check_host', {'error': 'NoValidBackend'}, backend='h@none'),
    case(
        'retype',
        {'chosen': A},
        migration_policy='never',
        request_spec={'volume_properties': {'size': 90, 'host': A}},
    ),
    case(
        'sequence',
        {'placements': [B, None], 'final': FINAL},
        requests=[{'request_spec': asked(30)}, {'request_spec': asked(40)}],
    ),
    case(
        'retry',
        {
            'attempts': [
                {'backend': B, 'num_attempts': 1},
                {'backend': B, 'num_attempts': 2},
                {'backend': B, 'num_attempts': 3},
                {'error': 'NoValidBackend'},
            ],
            'final': FINAL,
        },
        request_spec=asked(30),
    ),
    case(
        'group',
        {'chosen': B, 'traces': [TRACE, TRACE]},
        group_spec={'group_type': {'extra_specs': {}}, 'volume_properties': {'size': 0}},
        request_spec_list=[asked(10)],
    ),
    case('get_pools', {'pools': [B]}, filters={'free_capacity_gb': '60'}),
    case('backup_host', {'any_of': ['x', 'y']}, backup_services=BACKUP),
    case('backup_host', {'error': 'ServiceNotFound'}, backup_services=[]),
    case('stochastic', {'share': {A: 0.25, B: 0.75}, 'trace': TRACE}, draws=1500, config=STOCHASTIC),
    case('states', {'pool_states': {A: STATE}}),
]

MICRO = {
    'evaluator': {
        'names': {'volume': {'size': 3}},
        'cases': [{'expr': 'volume.size', 'value': 3, 'type': 'int'}, {'expr': '1 +', 'error': 'ParseError'}],
    },
    'evaluator_upstream_bug': {'cases': [{'expr': 'volume.size and 2', 'cinder': 'KeyError', 'intended': 2}]},
    'extra_specs_match': {'cases': [[5, '<in> 5', 'TypeError'], ['a', 'a', True], ['a', 'b', False]]},
    'capacity_factors': [
        {
            'in': {
                'total_capacity': 10,
                'free_capacity': 4,
                'provisioned_capacity': 5,
                'reserved_percentage': 0,
                'max_over_subscription_ratio': 2.0,
                'thin_provisioning_support': True,
                'thin': True,
            },
            'out': {'virtual_free_capacity': 15, 'provisioned_type': 'thin'},
        }
    ],
    'max_over_subscription_ratio': [{'capability': {'thin_provisioning_support': True}, 'global': '3', 'out': 3.0}],
    'extract_host': [{'host': 'h', 'backend': 'h@b', 'pool': None, 'pool+default': '_pool0'}],
    'append_host': [['h@b', 'p', 'h@b#p']],
    'hosts_are_equivalent': [['h@b', 'h@b#p', True]],
}


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **files: Any) -> list[str]:
    for name, document in files.items():
        (folder / f'{name}.json').write_text(json.dumps(document))
    monkeypatch.setenv('SCHEDULER_VECTORS', str(folder))
    code = vectors.main()
    lines = capsys.readouterr().out.splitlines()
    assert (code == 0) is (lines[-1].endswith(' 0 failed') and not lines[-1].startswith('0 '))
    return lines


def test_every_form_of_vector_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = run(tmp_path, monkeypatch, capsys, cases={'format': '-', 'cases': CASES}, micro=MICRO)
    assert lines == [f'{len(CASES) + 11} passed, 0 failed']


WRONG: list[tuple[int, list[str | int], Any]] = [
    (0, ['chosen'], A),
    (0, ['ordered', 0, 1], 0.5),
    (0, ['ordered'], [[A, 0.0], [B, 1.0]]),
    (0, ['trace', 'considered'], [B, A]),
    (0, ['trace', 'after', 1, 1], [A]),
    (0, ['trace', 'raw_weights', 0, 'raw', A], 21),
    (0, ['trace', 'raw_weights', 0, 'multiplier'], -1.0),
    (0, ['pool_states', A, 'provisioned_capacity_gb'], 0),
    (0, ['pool_states', 'h@a#absent'], {'total_capacity_gb': 1}),
    (0, ['error'], 'NoValidBackend'),
    (2, ['error'], 'InvalidUUID'),
    (4, ['error'], 'NoValidBackend'),
    (5, ['chosen'], B),
    (6, ['error'], 'ServiceNotFound'),
    (7, ['chosen'], B),
    (8, ['placements'], [B, B]),
    (8, ['final', B, 'free_capacity_gb'], 60),
    (9, ['attempts', 3], {'error': 'NoValidBackend', 'num_attempts': 4}),
    (10, ['chosen'], A),
    (10, ['traces'], []),
    (11, ['pools'], [A, B]),
    (12, ['any_of'], ['y']),
    (13, ['error'], 'NoValidBackend'),
    (14, ['share', A], 0.35),
    (15, ['pool_states', A, 'total_capacity_gb'], 99),
]


@pytest.mark.parametrize(('index', 'path', 'value'), WRONG)
def test_a_wrong_expectation_fails_with_a_diff(
    index: int,
    path: list[str | int],
    value: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    changed = copy.deepcopy(CASES[index])
    target: Any = changed['expect']
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    lines = run(tmp_path, monkeypatch, capsys, cases={'cases': [CASES[index], changed]})
    assert lines[0] == f'FAILED cases.json: {changed["id"]}'
    assert len(lines) > 2
    assert lines[-1] == '1 passed, 1 failed'


@pytest.mark.parametrize(
    'document',
    [
        {'cases': [{'id': 'x', 'op': 'dance', 'expect': {}}]},
        {'dances': [1]},
        {'append_host': [['h', 'p', 'wrong']]},
        {'evaluator': {'names': {}, 'cases': [{'expr': '1', 'value': 1, 'type': 'float'}]}},
        {'evaluator': {'names': {}, 'cases': [{'expr': '1', 'error': 'ParseError'}]}},
        {'extra_specs_match': {'cases': [['a', 'a', False]]}},
    ],
)
def test_what_is_unknown_or_wrong_fails(
    document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, monkeypatch, capsys, document=document)[-1] == '0 passed, 1 failed'


def test_a_folder_without_vectors_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, monkeypatch, capsys) == [
        f'nothing passed: is {tmp_path} the folder of the vectors?',
        '0 passed, 0 failed',
    ]


@pytest.mark.parametrize(
    ('expected', 'found', 'equal'),
    [
        (1, 1.0000004, True),
        (1, 1.01, False),
        (True, 1, False),
        (0, False, False),
        ([['a', 1]], [('a', 1.0)], True),
        ([1], [1, 2], False),
        ({'a': [1]}, {'a': [1.0]}, True),
        ({'a': 1}, {'a': 1, 'b': 2}, False),
        (None, None, True),
        ('infinite', 'infinite', True),
        (5, '5', False),
    ],
)
def test_values_are_compared_as_json_within_the_tolerance(expected: Any, found: Any, equal: bool) -> None:
    assert vectors.same(expected, found) is equal


def test_the_projects_own_decisions_are_met(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv('SCHEDULER_VECTORS', raising=False)
    assert vectors.main() == 0
    passed = int(capsys.readouterr().out.splitlines()[-1].split()[0])
    assert passed > 200
