from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from appliance.errors import Full, NoPool
from appliance.names import Key
from appliance.pools import RESERVE, Pools
from appliance.store import Medium, Object

GIB = 1024**3
KEY = Key('fast', 'volume-1')
MEDIUM = Medium(100 * GIB, 100 * GIB)


class Shelf:
    """A store as far as pools use it."""

    def __init__(self, *objects: Object, medium: Medium = MEDIUM) -> None:
        self.contents = {'fast': {f'volume-{n}': found for n, found in enumerate(objects)}, 'slow': {}}
        self._medium = medium

    def objects(self, pool: str) -> dict[str, Object]:
        return self.contents[pool]

    def medium(self) -> Medium:
        return self._medium


def pools(shelf: Shelf, ratio: float = 2.0, **capacities: int) -> Pools:
    return Pools(shelf, capacities or {'fast': 10 * GIB, 'slow': 0}, ratio)  # type: ignore[arg-type]  # a part of a Store


def test_usage_is_what_is_promised_and_what_is_written() -> None:
    usage = pools(Shelf(Object(4 * GIB, GIB), Object(4 * GIB, 2 * GIB))).usage('fast')
    assert usage == (10 * GIB, 7 * GIB, 8 * GIB, 2)


def test_a_pool_without_a_capacity_has_what_the_medium_has() -> None:
    assert pools(Shelf()).usage('slow') == (100 * GIB, 100 * GIB - RESERVE, 0, 0)


def test_free_is_never_more_than_the_medium_has_nor_less_than_nothing() -> None:
    assert pools(Shelf(medium=Medium(100 * GIB, GIB))).usage('fast').free_bytes == GIB - RESERVE
    assert pools(Shelf(Object(20 * GIB, 20 * GIB))).usage('fast').free_bytes == 0
    assert pools(Shelf(medium=Medium(4 * GIB, 4 * GIB))).usage('fast').total_bytes == 4 * GIB


def test_an_unknown_pool_is_no_missing_object() -> None:
    with pytest.raises(NoPool, match='fast, slow'):
        pools(Shelf()).check('other')


@pytest.mark.parametrize(
    ('shelf', 'growth', 'written', 'reason'),
    [
        (Shelf(Object(9 * GIB, 0), Object(9 * GIB, 0)), 3 * GIB, 0, 'cannot hold'),
        (Shelf(Object(9 * GIB, 9 * GIB)), 2 * GIB, GIB, 'left to write'),
        (Shelf(medium=Medium(100 * GIB, RESERVE)), GIB, 0, 'left to write'),
    ],
)
def test_what_does_not_fit_is_refused(shelf: Shelf, growth: int, written: int, reason: str) -> None:
    with pytest.raises(Full, match=reason), pools(shelf).claim(KEY, growth, written):
        pass


def test_what_just_fits_is_not() -> None:
    with pools(Shelf(Object(10 * GIB, 0))).claim(KEY, 10 * GIB):
        pass


def test_a_thin_object_may_be_larger_than_its_pool_as_the_scheduler_counts() -> None:
    with pools(Shelf()).claim(KEY, 15 * GIB):
        pass


def test_a_claim_ends_with_its_block_even_after_an_error() -> None:
    made = pools(Shelf())
    for _ in range(5):
        with pytest.raises(ZeroDivisionError), made.claim(KEY, 10 * GIB):
            raise ZeroDivisionError


def test_claims_at_the_same_time_see_each_other() -> None:
    """Twenty requests of 1 GiB each for what may be promised ten times: ten get it."""
    made, meet = pools(Shelf(), 1.0), threading.Barrier(20)

    def claim(number: int) -> bool:
        meet.wait(10)
        try:
            with made.claim(Key('fast', f'volume-{number}'), GIB):
                done.wait(10)
                return True
        except Full:
            refused.release()
            return False

    done, refused = threading.Event(), threading.Semaphore(0)
    with ThreadPoolExecutor(20) as threads:
        results = [threads.submit(claim, number) for number in range(20)]
        for _ in range(10):
            assert refused.acquire(timeout=10)
        done.set()
    assert sum(result.result() for result in results) == 10
