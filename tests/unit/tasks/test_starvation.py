"""Records that cannot be continued keep no others waiting, whatever is wrong with them and however many they are."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.models import Backup, Group, GroupSnapshot, Snapshot, Volume, base
from chalicelib.tasks import reconcile
from tests.factories import context, create_volume
from tests.run_statistics import Counting
from tests.simulation import Killed, Simulation

POISONED, GOOD, CALLS = 200, 20, 8

#: What each kind of record cannot be without.
FACTS: dict[type[base.StatefulRecord], dict[str, Any]] = {
    Volume: {'size': 1, 'status': 'creating'},
    Snapshot: {'volume_id': 'v', 'volume_size': 1, 'status': 'creating'},
    Backup: {'volume_id': 'v', 'size': 1, 'status': 'creating'},
    Group: {'group_type_id': 't', 'status': 'creating'},
    GroupSnapshot: {'group_id': 'g', 'group_type_id': 't', 'status': 'creating'},
}


def raises(_: str) -> None:
    raise errors.ServiceUnavailable(reason='its machine is out of reach')


def is_unexpected(_: str) -> None:
    raise KeyError('volume_project_id')


def takes_the_process_with_it(_: str) -> None:
    raise Killed


def stored(kind: type[base.StatefulRecord], prefix: str, number: int) -> None:
    """A record that is overdue; the poisoned ones longest."""
    overdue = base.after(-7200 if prefix == 'poisoned' else -3600)
    kind(
        'project', f'{prefix}-{uuid.uuid4()}', created_at=base.now(), user_id='u', owner='r', in_flight='1',
        deadline=overdue, operation={'action': 'none'}, **FACTS[kind],
    ).save()  # fmt: skip


@pytest.mark.parametrize('poison', [raises, is_unexpected, takes_the_process_with_it])
def test_every_good_record_is_brought_on(
    simulation: Simulation, poison: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, counted: Counting
) -> None:
    continue_work = reconcile._continue_work

    def poisoned(record: base.StatefulRecord) -> None:
        if record.id.startswith('poisoned'):
            poison(record.id)
        continue_work(record)

    monkeypatch.setattr(reconcile, '_continue_work', poisoned)
    each = POISONED // (10 if poison is takes_the_process_with_it else 1)  # one call for each that dies
    for kind in FACTS:
        for number in range(each):
            stored(kind, 'poisoned', number)
        for number in range(GOOD):
            stored(kind, 'good', number)
    for _ in range(CALLS if poison is not takes_the_process_with_it else each * len(FACTS) + CALLS):
        with contextlib.suppress(Killed):
            reconcile.run({})
    waiting = [one.id for kind in FACTS for one in kind.scan() if one.in_flight and one.id.startswith('good')]
    counted('good records among poisoned ones', GOOD * len(FACTS))
    assert waiting == []


def test_a_record_that_cannot_be_read_is_put_off(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        stored(Volume, 'poisoned', number)
    stored(Volume, 'good', 0)
    find = Volume.find_or_none

    def unreadable(project_id: str, id: str) -> Volume | None:
        if id.startswith('poisoned'):
            raise ValueError('no number')
        return find(project_id, id)

    monkeypatch.setattr(Volume, 'find_or_none', unreadable)
    reconcile.run({})
    monkeypatch.undo()
    assert {one.id[:4] for one in Volume.scan() if base.is_overdue(one, base.now())} == set()
    assert [one.in_flight for one in Volume.scan() if one.id.startswith('good')] == [None]


def test_looks_that_fail_come_less_and_less_often(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(Volume, 'poisoned', 0)
    monkeypatch.setattr(reconcile, '_continue_work', is_unexpected)
    [record], pauses = Volume.scan(), []
    for _ in range(12):
        looked = base.now()
        reconcile._look(Volume, record.project_id, record.id)
        pauses.append(_seconds(looked, record.reload().deadline))
    assert 29 <= pauses[0] <= 61
    assert pauses[3] > 200
    assert all(1790 <= pause <= 3601 for pause in pauses[7:])
    assert record.reload().looks == 12


def test_a_record_without_progress_is_reported_at_the_third_look(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Within eight minutes of its deadline: looks are at most 60 and 120 s apart, and up to a minute late each."""
    stored(Volume, 'poisoned', 0)
    monkeypatch.setattr(reconcile, '_continue_work', is_unexpected)
    monkeypatch.setenv('AWS_LAMBDA_FUNCTION_NAME', 'stack-reconcile')
    [record], seen = Volume.scan(), []
    for _ in range(4):
        reconcile._look(Volume, record.project_id, record.id)
        seen.append('"why": "stuck"' in capsys.readouterr().out)
    assert seen == [False, False, True, True]


def test_failed_executions_and_work_that_was_not_started_are_reported(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv('AWS_LAMBDA_FUNCTION_NAME', 'stack-reconcile')
    reconcile.run({'detail': {'executionArn': 'arn', 'input': '{}'}})
    assert '"why": "execution failed", "Attention": 1' in capsys.readouterr().out
    create_volume(context(), 1)
    simulation.queue.clear()  # its message is lost
    simulation.reconcile()
    assert '"why": "not started", "Attention": 2' in capsys.readouterr().out


def _seconds(one: str, other: str) -> float:
    import datetime

    form = '%Y-%m-%dT%H:%M:%S.%f'
    return (datetime.datetime.strptime(other, form) - datetime.datetime.strptime(one, form)).total_seconds()


def test_a_call_ends_in_time(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look that takes a worker's whole time is the last of its call; what is left waits for the next."""
    for number in range(5):
        stored(Volume, 'slow', number)
    clock = [0.0]
    monkeypatch.setattr(reconcile.time, 'monotonic', lambda: clock[0])

    def slow(_: base.StatefulRecord) -> None:
        clock[0] += 27

    monkeypatch.setattr(reconcile, '_continue_work', slow)
    reconcile.run({})
    assert clock[0] == 27
    assert sum(base.is_overdue(one, base.now()) for one in Volume.scan()) == 4
