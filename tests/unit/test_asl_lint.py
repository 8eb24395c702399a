"""House rules of the state machines: what moto and AWS both run, and what keeps a record from getting stuck."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chalicelib import errors, tasks
from chalicelib.rules import workflows
from chalicelib.scheduler.config import SchedulerConfig
from infra import asl, retries

FOLDER = Path(__file__).parents[2] / 'stepfunctions'
FILES = sorted(FOLDER.glob('*.asl.yaml'))

TYPES = {'Task', 'Choice', 'Pass', 'Wait', 'Succeed', 'Fail', 'Map', 'Parallel'}

#: Keys of the language that moto does not run rightly, or that hide data in the definition.
FORBIDDEN = {'Assign', 'QueryLanguage', 'Arguments', 'Output', 'ItemBatcher', 'ItemReader', 'ResultWriter', 'Iterator'}

#: Names of errors without a class in the project.
RESERVED = re.compile(r'States\.(ALL|Timeout|TaskFailed)|Lambda\.\w+|Sandbox\.Timedout|Runtime\.ExitError')

WORKERS = {'${VolumeWorkerArn}', '${BackupWorkerArn}'}


def load(path: Path) -> dict[str, Any]:
    """The machine as it is deployed."""
    return asl.load(path)


def machine_states(machine: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All states, those of inline Maps too."""
    for name, state in machine['States'].items():
        yield name, state
        if 'ItemProcessor' in state:
            yield from machine_states(state['ItemProcessor'])


CASES = [(path.name, name, state) for path in FILES for name, state in machine_states(load(path))]
TASKS = [case for case in CASES if case[2]['Type'] == 'Task']


def named(cases: list[tuple[str, str, dict[str, Any]]]) -> Any:
    return pytest.mark.parametrize(
        ('file', 'name', 'state'), cases, ids=[f'{file.partition(".")[0]}.{name}' for file, name, _ in cases]
    )


def snake(name: str) -> str:
    return re.sub(r'(?<!^)(?=[A-Z])', '_', name).lower()


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_header_says_what_is_guaranteed_and_how_long_it_takes(path: Path) -> None:
    header = [line for line in path.read_text(encoding='utf-8').splitlines() if line.startswith('#')]
    for word in ('Input:', 'Guarantee:', 'Time budget:'):
        assert any(word in line for line in header), f'{path.name} has no {word}'
    assert 'Comment' in load(path)


@named(CASES)
def test_state_is_of_the_common_subset(file: str, name: str, state: dict[str, Any]) -> None:
    assert state['Type'] in TYPES
    assert state.get('Comment'), 'every state has a comment'
    assert not FORBIDDEN & set(state)
    if state['Type'] == 'Map':
        assert state['ItemProcessor'].get('ProcessorConfig', {}).get('Mode', 'INLINE') == 'INLINE'
        assert state['MaxConcurrency'] == '${BackupConcurrency}', 'the account decides (infra/resources.yaml)'
    if state['Type'] == 'Wait':
        assert 'SecondsPath' in state, 'seconds come from the input, so that tests need not wait'


@named(CASES)
def test_no_query_language_but_jsonpath(file: str, name: str, state: dict[str, Any]) -> None:
    assert '{%' not in str(state), 'JSONata'
    for path in paths(state):
        assert re.fullmatch(r'\$\$?(\.[A-Za-z_]\w*)*', path), f'{path} is more than a plain path'


def paths(node: Any) -> Iterator[str]:
    """Every path of a state: values of ``x.$`` and of ``xPath``."""
    if isinstance(node, dict):
        for key, value in node.items():
            if isinstance(value, str) and (key.endswith(('.$', 'Path')) or key == 'Variable'):
                yield value
            yield from paths(value)
    elif isinstance(node, list):
        for value in node:
            yield from paths(value)


@named(TASKS)
def test_task_runs_the_function_of_its_name(file: str, name: str, state: dict[str, Any]) -> None:
    task = state['Parameters']['task']
    assert task == snake(name)
    assert task in tasks.TASKS
    assert state['Resource'] in WORKERS
    assert state['Parameters'] == {'task': task, 'input.$': '$'}


@named(TASKS)
def test_task_is_bounded_and_every_error_of_it_leads_somewhere(file: str, name: str, state: dict[str, Any]) -> None:
    assert 0 < state['TimeoutSeconds'] <= 930
    assert {error for rule in state['Retry'] for error in rule['ErrorEquals']} >= {
        *retries.AWS_TRANSIENT,
        *retries.CRASHED,
    }
    assert state['Catch'][-1]['ErrorEquals'] == ['States.ALL']
    assert all('ResultPath' in rule for rule in state['Catch']), 'an error must not replace the ids'


@named(TASKS)
def test_every_retrier_has_jitter_and_a_longest_delay(file: str, name: str, state: dict[str, Any]) -> None:
    for rule in state['Retry']:
        assert rule['JitterStrategy'] == 'FULL'
        assert rule['MaxDelaySeconds'] >= rule['IntervalSeconds']


@named(CASES)
def test_a_class_of_errors_stands_for_its_subclasses(file: str, name: str, state: dict[str, Any]) -> None:
    """Step Functions compares names: a subclass that is left out falls through to States.ALL."""
    caught = [error for rule in state.get('Catch', ()) for error in rule['ErrorEquals']]
    retried = [error for rule in state.get('Retry', ()) for error in rule['ErrorEquals']]
    for names, permanent in ((caught, set()), (retried, retries.PERMANENT)):
        assert len(names) == len(set(names)), 'the second of two rules never matches'
        assert set(subclasses(names)) - permanent <= set(names)


def subclasses(names: list[str]) -> Iterator[str]:
    for name in names:
        kind = getattr(errors, name, None)
        if kind is not None:
            yield from (
                child.__name__ for child in vars(errors).values() if isinstance(child, type) and issubclass(child, kind)
            )


#: Seconds that a driver's call takes before it is given up.
ANSWER = 24


def longest(state: dict[str, Any]) -> float:
    """Seconds that a task and all its repetitions may take: those of a crash in full, the others a driver's answer."""
    total = state['TimeoutSeconds']
    for rule in state['Retry']:
        crash = 'States.Timeout' in rule['ErrorEquals']
        total += longest_delay(rule) + rule['MaxAttempts'] * (state['TimeoutSeconds'] if crash else ANSWER)
    return total


def longest_delay(rule: dict[str, Any]) -> float:
    delays = (rule['IntervalSeconds'] * rule['BackoffRate'] ** number for number in range(rule['MaxAttempts']))
    return sum(min(delay, rule['MaxDelaySeconds']) for delay in delays)


def longest_way(machine: dict[str, Any], name: str, passed: tuple[str, ...] = ()) -> float:
    """Seconds of the longest way from a state to an end that enters no state twice."""
    state = machine['States'][name]
    follow = {state.get('Next'), state.get('Default'), *(rule['Next'] for rule in state.get('Choices', ()))}
    follow |= {rule['Next'] for rule in state.get('Catch', ())}
    own = longest(state) if state['Type'] == 'Task' else 0
    onward = [one for one in follow if one is not None and one not in (*passed, name)]
    return own + max((longest_way(machine, one, (*passed, name)) for one in onward), default=0)


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_all_retries_fit_into_the_time_of_the_machine(path: Path) -> None:
    machine = load(path)
    needed = longest_way(machine, machine['StartAt'])
    if path.name.startswith('create_volume'):
        needed *= SchedulerConfig().scheduler_max_attempts
    assert needed <= machine['TimeoutSeconds'], f'{needed:.0f} s'


@named(TASKS)
def test_an_outage_ends_before_the_reconciler_looks(file: str, name: str, state: dict[str, Any]) -> None:
    """AWS and the backend may be away as long as the retries last; the reconciler takes over after that."""
    machine = file.removesuffix(asl.SUFFIX)
    found = [row for rows in workflows.WORKFLOWS.values() for row in rows.values()]
    rows = [row for row in found if row.machine and row.machine.name == machine]
    outages = [rule for rule in state['Retry'] if {'ServiceUnavailable', 'BackendUnavailable'} & {*rule['ErrorEquals']}]
    assert max(longest_delay(rule) for rule in outages) <= min(row.deadline for row in rows)


@named(TASKS)
def test_errors_have_names_that_exist(file: str, name: str, state: dict[str, Any]) -> None:
    for rule in [*state['Retry'], *state['Catch']]:
        for error in rule['ErrorEquals']:
            assert RESERVED.fullmatch(error) or issubclass(getattr(errors, error), errors.CinderlessError)


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_every_state_can_be_reached_and_every_target_exists(path: Path) -> None:
    def check(machine: dict[str, Any]) -> None:
        targets = {machine['StartAt']}
        for state in machine['States'].values():
            targets |= {rule['Next'] for rule in [*state.get('Catch', []), *state.get('Choices', [])]}
            targets |= {state[key] for key in ('Next', 'Default') if key in state}
            if 'ItemProcessor' in state:
                check(state['ItemProcessor'])
        assert targets == set(machine['States'])

    check(load(path))
