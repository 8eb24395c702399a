"""EventBridge."""

from __future__ import annotations

from typing import Any

import pytest

from local import events
from local.events import Bus, Clock, Rule

DETAIL = {'executionArn': 'arn:e', 'stateMachineArn': 'arn:sm:cloud-create', 'status': 'FAILED'}


@pytest.mark.parametrize(
    ('schedule', 'seconds'),
    [('rate(1 minute)', 60), ('rate(5 minutes)', 300), ('rate(2 hours)', 7200), ('rate(1 day)', 86400)],
)
def test_a_rate_has_a_period(schedule: str, seconds: int) -> None:
    assert events.period(schedule) == seconds


@pytest.mark.parametrize('schedule', ['cron(0 * * * ? *)', 'rate(1 fortnight)', ''])
def test_other_expressions_are_refused(schedule: str) -> None:
    with pytest.raises(ValueError, match='rate'):
        events.period(schedule)


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def rule(seen: list[dict[str, Any]], schedule: str = '', pattern: dict[str, Any] | None = None) -> Rule:
    return Rule('arn:rule', schedule, pattern or {}, [seen.append])


def test_a_schedule_fires_one_period_after_the_start_and_then_each() -> None:
    seen: list[dict[str, Any]] = []
    time = Time()
    clock = Clock([rule(seen, 'rate(1 minute)')], time)
    clock.start()
    clock.stop()
    clock.tick()
    assert (seen, clock.pause()) == ([], 60)
    time.now += 60
    clock.tick()
    clock.tick()
    assert len(seen) == 1
    time.now += 30
    assert clock.pause() == 30
    time.now += 30
    clock.tick()
    assert [event['detail-type'] for event in seen] == ['Scheduled Event'] * 2
    assert seen[0]['resources'] == ['arn:rule']


def test_periods_in_which_the_process_was_stopped_are_not_made_up_for() -> None:
    seen: list[dict[str, Any]] = []
    time = Time()
    clock = Clock([rule(seen, 'rate(1 minute)')], time)
    clock.start()
    clock.stop()
    time.now += 3600 + 10
    clock.tick()
    clock.tick()
    assert (len(seen), clock.pause()) == (1, 50)


def test_an_execution_that_ended_is_told_as_step_functions_does() -> None:
    event = events.execution_ended(DETAIL)
    assert event['source'] == 'aws.states'
    assert event['detail-type'] == 'Step Functions Execution Status Change'
    assert event['resources'] == ['arn:e']
    assert event['detail'] == DETAIL


@pytest.mark.parametrize(
    ('pattern', 'fits'),
    [
        ({'source': ['aws.states']}, True),
        ({'source': ['aws.states'], 'detail': {'status': ['FAILED', 'ABORTED']}}, True),
        ({'detail': {'status': ['SUCCEEDED']}}, False),
        ({'detail': {'stateMachineArn': [{'prefix': 'arn:sm:cloud-'}]}}, True),
        ({'detail': {'stateMachineArn': [{'prefix': 'arn:sm:other-'}]}}, False),
        ({'detail': {'missing': ['x']}}, False),
        ({'source': {'status': ['FAILED']}}, False),
    ],
)
def test_a_pattern_fits_or_not(pattern: dict[str, Any], fits: bool) -> None:
    seen: list[dict[str, Any]] = []
    Bus([rule(seen, pattern=pattern)]).put(events.execution_ended(DETAIL))
    assert bool(seen) is fits
