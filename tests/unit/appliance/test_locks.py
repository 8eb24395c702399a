from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from appliance.errors import Unavailable
from appliance.locks import KeyedLocks


def test_one_object_is_one_request_s_at_a_time() -> None:
    locks, inside, most = KeyedLocks(), [], []

    def work(number: int) -> None:
        with locks.holding('a'):
            inside.append(number)
            most.append(len(inside))
            inside.remove(number)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(200)))
    assert max(most) == 1


def test_another_object_does_not_wait() -> None:
    locks = KeyedLocks(timeout=0)
    with locks.holding('a'), locks.holding('b'):
        pass


def test_a_request_that_waits_too_long_is_told_so() -> None:
    locks = KeyedLocks(timeout=0)
    with locks.holding('a'), pytest.raises(Unavailable, match='a is in use'), locks.holding('b', 'a'):
        pass
    with locks.holding('a', 'b'):
        pass


def test_two_requests_for_two_objects_cannot_block_each_other() -> None:
    locks = KeyedLocks(timeout=10)
    meet = threading.Barrier(2)

    def work(*keys: str) -> None:
        meet.wait(10)
        for _ in range(300):
            with locks.holding(*keys):
                pass

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(work, 'a', 'b'), threads.submit(work, 'b', 'a')]:
            done.result(20)


def test_a_lock_ends_with_its_last_user() -> None:
    locks = KeyedLocks(timeout=0)
    with locks.holding('a', 'b', 'a'):
        pass
    with pytest.raises(ZeroDivisionError), locks.holding('a'):
        raise ZeroDivisionError
    assert locks._locks == {}
