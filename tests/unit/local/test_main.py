"""The process of the local cloud: what a signal interrupts, and what it does not."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from local import __main__ as main


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The program's handler; as before afterwards."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    monkeypatch.setattr(main._Signals, 'arrived', False)
    for number in numbers:
        signal.signal(number, main._stop)
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_a_signal_ends_the_wait() -> None:
    with pytest.raises(main.Stop):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_waits_for_a_look_at_the_children() -> None:
    steps: list[str] = []

    def look() -> None:
        with main.undisturbed():
            os.kill(os.getpid(), signal.SIGTERM)
            steps.append('looked')
        steps.append('not reached')

    with pytest.raises(main.Stop):
        look()
    assert steps == ['looked']


def test_a_second_signal_disturbs_no_stop() -> None:
    with pytest.raises(main.Stop):
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGINT)
