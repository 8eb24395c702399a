"""EventBridge: rules on a schedule, and rules on the executions that end."""

from __future__ import annotations

import dataclasses
import datetime
import logging
import re
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from local.settings import ACCOUNT, REGION

Invoke = Callable[[dict[str, Any]], Any]

_RATE = re.compile(r'rate\((\d+) (minute|hour|day)s?\)')
_SECONDS = {'minute': 60, 'hour': 3600, 'day': 86400}

log = logging.getLogger('local.events')


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """One AWS::Events::Rule with a schedule or a pattern, and the functions it invokes."""

    arn: str
    schedule: str
    pattern: Mapping[str, Any]
    targets: Sequence[Invoke]

    def fire(self, event: dict[str, Any]) -> None:
        for invoke in self.targets:
            invoke(event)


def period(schedule: str) -> int:
    """Seconds between two runs of ``rate(...)``. Raises ValueError for any other expression."""
    found = _RATE.fullmatch(schedule)
    if found is None:
        raise ValueError(f'the local cloud keeps rate(...) schedules, not {schedule!r}')
    return int(found[1]) * _SECONDS[found[2]]


class Clock:
    """Fires the rules on a schedule from one thread, the first time one period after ``start``, as AWS does."""

    def __init__(self, rules: Sequence[Rule], now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._rules = rules
        self._due: dict[str, float] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name='clock', daemon=True)

    def start(self) -> None:
        self._due = {rule.arn: self._now() + period(rule.schedule) for rule in self._rules}
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(1)

    def _run(self) -> None:
        while not self._stopped.wait(max(0.0, self.pause())):
            self.tick()

    def pause(self) -> float:
        """Seconds until the next rule is due."""
        return min(self._due.values(), default=self._now() + 3600) - self._now()

    def tick(self) -> None:
        """Fire the rules that are due, each once: periods in which this process was stopped are not made up for."""
        for rule in self._rules:
            late = self._now() - self._due[rule.arn]
            if late >= 0:
                self._due[rule.arn] += period(rule.schedule) * (1 + late // period(rule.schedule))
                rule.fire(event('aws.events', 'Scheduled Event', {}, [rule.arn]))


def event(source: str, kind: str, detail: Mapping[str, Any], resources: Sequence[str]) -> dict[str, Any]:
    """An event in EventBridge's envelope."""
    return {
        'version': '0',
        'id': str(uuid.uuid4()),
        'detail-type': kind,
        'source': source,
        'account': ACCOUNT,
        'time': f'{datetime.datetime.now(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}',
        'region': REGION,
        'resources': list(resources),
        'detail': dict(detail),
    }


def execution_ended(detail: Mapping[str, Any]) -> dict[str, Any]:
    """The event that Step Functions sends when an execution ends."""
    return event('aws.states', 'Step Functions Execution Status Change', detail, [detail['executionArn']])


def matches(pattern: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether an event fits a pattern: every key by a literal or by ``{'prefix': ...}``."""
    return all(_matches(wanted, found.get(key)) for key, wanted in pattern.items())


def _matches(wanted: Any, value: Any) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and matches(wanted, value)
    return any(_fits(option, value) for option in wanted)


def _fits(option: Any, value: Any) -> bool:
    if isinstance(option, Mapping):
        return isinstance(value, str) and value.startswith(option['prefix'])
    return bool(option == value)


class Bus:
    """Delivers an event to every rule with a matching pattern."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules

    def put(self, found: dict[str, Any]) -> None:
        for rule in self._rules:
            if matches(rule.pattern, found):
                rule.fire(found)
