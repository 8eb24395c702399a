"""Interpreter of the part of the Amazon States Language that the state machines use, in this thread, without waiting.

Delays between retries pass on the execution's own clock, drawn by full jitter; Wait states take no time. Everything
else is as in Step Functions: parameters, result paths, retry counts per state, catches in order, inline Map.
"""

from __future__ import annotations

import copy
import functools
import json
import random
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from infra import asl, changes

FOLDER = Path(__file__).parent.parent / 'stepfunctions'

#: Runs one task: (name, input) -> result.
Worker = Callable[[str, Any], Any]


@functools.cache
def complete(machine: str) -> dict[str, Any]:
    """Return the state machine as deployed."""
    return asl.load(FOLDER / f'{machine}{asl.SUFFIX}')


definition = complete


@functools.cache
def released() -> dict[str, Any]:
    """Return {name: state machine} of the last release, as it was deployed."""
    known = changes.last_release()[1]['Machines']
    return {name: json.loads(re.sub(r'(?<!")\$\{\w+}(?!")', '4', text)) for name, text in known.items()}


def impatient(machine: str) -> dict[str, Any]:
    """Return the state machine with at most two retries of each error, for backends that take real time to fail."""
    patient = json.loads(json.dumps(complete(machine)), object_hook=_twice_at_most)
    return dict(patient)


def _twice_at_most(node: dict[str, Any]) -> dict[str, Any]:
    return {**node, 'MaxAttempts': min(node['MaxAttempts'], 2)} if 'MaxAttempts' in node else node


class TaskFailed(Exception):
    """A task's error, by the name that Retry and Catch look for."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name, message)
        self.output = {'Error': name, 'Cause': json.dumps({'errorType': name, 'errorMessage': message})}
        self.name = name


class Execution:
    """One run. ``path`` lists the states that were entered, ``transitions`` counts as AWS bills.

    ``wait`` is called with the seconds of each delay between retries.
    """

    def __init__(
        self, machine: str, payload: Any, worker: Worker, wait: Callable[[float], None] = lambda _: None
    ) -> None:
        self.machine, self.worker, self.wait = machine, worker, wait
        self.random = random.Random(machine)
        self.path: list[str] = []
        self.status = 'RUNNING'
        self.payload = copy.deepcopy(payload)

    @property
    def transitions(self) -> int:
        return len(self.path) + 1

    def run(self) -> str:
        """Run to the end; the status. A worker that is killed by more than an Exception aborts the execution."""
        try:
            self.output = self._states(definition(self.machine), self.payload)
            self.status = 'SUCCEEDED'
        except TaskFailed as failed:
            self.status, self.output = 'FAILED', failed.output
        except BaseException:
            self.status = 'ABORTED'
            raise
        return self.status

    def _states(self, machine: Mapping[str, Any], data: Any) -> Any:
        name = machine['StartAt']
        while True:
            self.path.append(name)
            state = machine['States'][name]
            data, following = getattr(self, f'_{state["Type"].lower()}')(state, data)
            if following is None:
                return data
            name = following

    def _task(self, state: Mapping[str, Any], data: Any) -> tuple[Any, str | None]:
        event = _filled(state['Parameters'], data)
        return self._attempt(state, data, lambda: self.worker(event['task'], event['input']))

    def _map(self, state: Mapping[str, Any], data: Any) -> tuple[Any, str | None]:
        def run() -> list[Any]:
            items = _at(state['ItemsPath'], data)
            inputs = [_filled(state['ItemSelector'], data, {'Map': {'Item': {'Value': item}}}) for item in items]
            return [self._states(state['ItemProcessor'], one) for one in inputs]

        return self._attempt(state, data, run)

    def _attempt(self, state: Mapping[str, Any], data: Any, work: Callable[[], Any]) -> tuple[Any, str | None]:
        tried = [0 for _ in state.get('Retry', [])]
        while True:
            try:
                result = _json(work())
            except Exception as error:
                failed = error if isinstance(error, TaskFailed) else TaskFailed(type(error).__name__, str(error))
                rule = _matching(state.get('Retry', []), failed.name)
                if rule is not None and tried[rule] < state['Retry'][rule].get('MaxAttempts', 3):
                    self.wait(self.random.uniform(0, _interval(state['Retry'][rule], tried[rule])))
                    tried[rule] += 1
                    continue
                return self._caught(state, data, failed)
            return _with(data, state.get('ResultPath', '$'), result), state.get('Next')

    def _caught(self, state: Mapping[str, Any], data: Any, failed: TaskFailed) -> tuple[Any, str | None]:
        rule = _matching(state.get('Catch', []), failed.name)
        if rule is None:
            raise failed
        catch = state['Catch'][rule]
        return _with(data, catch.get('ResultPath', '$'), failed.output), catch['Next']

    def _choice(self, state: Mapping[str, Any], data: Any) -> tuple[Any, str | None]:
        for choice in state['Choices']:
            if _fits(choice, data):
                return data, choice['Next']
        return data, state['Default']

    def _pass(self, state: Mapping[str, Any], data: Any) -> tuple[Any, str | None]:
        return data, state.get('Next')

    def _wait(self, state: Mapping[str, Any], data: Any) -> tuple[Any, str | None]:
        return data, state.get('Next')

    def _succeed(self, state: Mapping[str, Any], data: Any) -> tuple[Any, str | None]:
        return data, None

    def _fail(self, state: Mapping[str, Any], data: Any) -> tuple[Any, str | None]:
        name = _at(state['ErrorPath'], data) if 'ErrorPath' in state else state.get('Error', '')
        raise TaskFailed(name, _at(state['CausePath'], data) if 'CausePath' in state else state.get('Cause', ''))


def _fits(choice: Mapping[str, Any], data: Any) -> bool:
    """Whether the data meets a rule of a Choice, which has one comparison."""
    try:
        value = _at(choice['Variable'], data)
    except (KeyError, IndexError):
        if 'IsPresent' not in choice:
            raise
        return not choice['IsPresent']
    wanted = {key: choice[key] for key in ('BooleanEquals', 'StringEquals', 'NumericEquals') if key in choice}
    return bool(choice.get('IsPresent', True)) and all(value == one for one in wanted.values())


def _interval(rule: Mapping[str, Any], tried: int) -> float:
    """Seconds that jitter draws the next delay from."""
    first, rate = rule.get('IntervalSeconds', 1), rule.get('BackoffRate', 2)
    return float(min(first * rate ** min(tried, 64), rule.get('MaxDelaySeconds', 31_622_400)))


def _matching(rules: list[dict[str, Any]], name: str) -> int | None:
    for number, rule in enumerate(rules):
        if name in rule['ErrorEquals'] or 'States.ALL' in rule['ErrorEquals']:
            return number
    return None


def _json(value: Any) -> Any:
    """Return a result after a round trip through JSON; raises for values that JSON does not support."""
    return json.loads(json.dumps(value))


def _at(path: str, data: Any, context: Any = None) -> Any:
    """Follow ``$.a.b[0]`` into the data, ``$$.a.b`` into the context."""
    value = context if path.startswith('$$') else data
    for key in filter(None, re.split(r'[.\[\]]', path.lstrip('$'))):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def _filled(template: Any, data: Any, context: Any = None) -> Any:
    """Fill in a payload template: ``key.$: path``."""
    if isinstance(template, dict):
        return {
            key.removesuffix('.$'): copy.deepcopy(_at(value, data, context))
            if key.endswith('.$')
            else _filled(value, data)
            for key, value in template.items()
        }
    return template


def _with(data: Any, path: str | None, value: Any) -> Any:
    if path is None:
        return data
    if path == '$':
        return value
    return {**data, path.removeprefix('$.'): value}
