"""Who is closed when there are too many connections without a good signature."""

from __future__ import annotations

import random

import pytest

from appliance import admission
from appliance.admission import Admission


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def door(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Admission[int]:
    monkeypatch.setattr(admission, 'MOST_PENDING', 6)
    monkeypatch.setattr(admission, 'MOST_PENDING_OF_ONE', 3)
    monkeypatch.setattr(admission, 'MOST_PROVEN', 2)
    return Admission(clock)


def test_one_address_closes_its_own_oldest(door: Admission[int]) -> None:
    closed = [door.admit(number, 'a') for number in range(5)]
    assert closed == [[], [], [], [0], [1]]


def test_the_address_with_most_makes_room(door: Admission[int]) -> None:
    for number, address in enumerate('aaabbc'):
        assert door.admit(number, address) == []
    assert door.admit(6, 'd') == [0]
    assert door.admit(7, 'e') == [1]


def test_an_address_that_proved_itself_is_spared(door: Admission[int]) -> None:
    door.admit(0, 'a')
    door.prove(0, 'a')
    for number in range(1, 6):
        assert door.admit(number, 'a') == []
    assert door.admit(6, 'x') == []
    assert door.admit(7, 'a') == [6]
    assert door.admit(8, 'a') == [1]


def test_time_counts_from_the_arrival(door: Admission[int], clock: Clock) -> None:
    door.admit(0, 'a')
    clock.now = admission.DEADLINE / 2
    door.admit(1, 'b')
    clock.now = admission.DEADLINE
    assert door.overdue() == [0]
    door.prove(1, 'b')
    clock.now *= 10
    assert door.overdue() == []


def test_of_proven_connections_the_longest_idle_makes_room(door: Admission[int]) -> None:
    assert [door.prove(number, 'a') for number in range(2)] == [[], []]
    door.set_idle(0)
    assert door.prove(2, 'a') == [0]
    door.remove(0)
    assert door.prove(3, 'a') == [], 'all are at work'


@pytest.mark.parametrize('seed', range(20))
def test_the_bounds_hold_whatever_happens(door: Admission[int], clock: Clock, seed: int) -> None:
    dice, there = random.Random(seed), set[int]()
    for number in range(400):
        there.add(number)
        there -= set(door.admit(number, dice.choice('abcdefgh')))
        if dice.random() < 0.2:
            one = dice.choice(sorted(there))
            there -= set(door.prove(one, dice.choice('ab')))
            door.set_idle(one)
        clock.now += dice.random()
        there -= set(door.overdue())
        assert len(there) <= 6 + 3
        if dice.random() < 0.3:
            one = dice.choice(sorted(there) or [0])
            door.remove(one)
            there.discard(one)
