"""Backends that give no answer are waited for side by side, a few at a time, until a deadline of all of them."""

from __future__ import annotations

import contextvars
import threading
import time
from typing import Any

import pytest

from chalicelib import aws, errors
from chalicelib.models import Service, base
from chalicelib.tasks import backend_reconciliation, report_pools, side_by_side
from tests.fake_driver import Backend
from tests.simulation import Simulation

SILENT = 10


class Silence:
    """Workers whose backends give no answer: each call lasts until as many wait as may. Counts them."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(side_by_side.WIDTH)
        self.waiting = self.most = 0
        self.requests: list[str] = []
        self._lock = threading.Lock()

    def __call__(self, function: str, task: str, payload: dict[str, Any]) -> Any:
        with self._lock:
            self.requests.append(f'{task} {payload["backend"]}')
            self.waiting += 1
            self.most = max(self.most, self.waiting)
        try:
            self.barrier.wait(20)
        finally:
            with self._lock:
                self.waiting -= 1
        raise errors.BackendUnavailable(backend=payload['backend'], reason='no answer')


@pytest.fixture
def hosts(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """As many backends as fill the workers several times."""
    for number in range(2 * side_by_side.WIDTH - len(simulation.backends)):
        simulation.backends[f'cinderless@silent{number}'] = Backend(f'cinderless@silent{number}', {'pool': 100})
    monkeypatch.setattr(report_pools.backends, 'configured', lambda: _Names(list(simulation.backends)))
    return list(simulation.backends)


class _Names:
    def __init__(self, known: list[str]) -> None:
        self._known = known

    def names(self) -> list[str]:
        return self._known


def test_silent_backends_are_waited_for_side_by_side(hosts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    silence = Silence()
    monkeypatch.setattr(aws, 'invoke', silence)
    report_pools.run({})
    assert sorted(silence.requests) == sorted(f'report_backend {host}' for host in hosts)
    assert silence.most == side_by_side.WIDTH
    states = {one.host: one.backend_state for one in base.every(Service, base.GLOBAL) if one.binary == 'cinder-volume'}
    assert states == dict.fromkeys(hosts, 'down')


def test_comparisons_are_made_side_by_side(hosts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    silence = Silence()
    monkeypatch.setattr(aws, 'invoke', silence)
    monkeypatch.setattr(backend_reconciliation, 'INTERVAL', -1)
    backend_reconciliation.run(hosts)
    assert (len(silence.requests), silence.most) == (len(hosts), side_by_side.WIDTH)


def test_no_call_begins_after_the_deadline() -> None:
    begun: list[str] = []
    side_by_side.each(begun.append, ['a', 'b'], time.monotonic() - 1)
    assert begun == []


def test_the_function_ends_in_time_however_silent_its_backends_are() -> None:
    assert report_pools.REPORTS < report_pools.COMPARISONS < 290 - aws.INVOKE_TIMEOUT
    rounds = -(-SILENT // side_by_side.WIDTH)
    assert rounds * aws.INVOKE_TIMEOUT < report_pools.REPORTS


def test_a_call_sees_the_context_of_its_caller_and_fails_alone() -> None:
    about = contextvars.ContextVar('about', default='')
    about.set('request')
    seen: list[str] = []

    def work(member: str) -> None:
        seen.append(about.get())
        if member == 'a':
            raise KeyError(member)

    with pytest.raises(KeyError):
        side_by_side.each(work, ['a', 'b', 'c'], time.monotonic() + 60)
    assert seen == ['request'] * 3
