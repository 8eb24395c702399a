"""Threads that are bounded, in order, and hand on what they raise."""

from __future__ import annotations

import threading

import pytest

from chalicelib.backup.layout import GIB, Geometry, Shard, parse_backup_key, plan
from chalicelib.backup.limits import Pool
from chalicelib.errors import InvalidInput
from tests.unit.backup.fakes import Killed


@pytest.mark.parametrize('width', [0, 1, 4])
def test_results_come_in_order_and_few_wait(width: int) -> None:
    begun: list[int] = []

    def call(number: int) -> int:
        begun.append(number)
        return number

    with Pool(width) as pool:
        calls = (lambda number=number: call(number) for number in range(20))
        for taken, future in enumerate(pool.ordered(calls)):
            assert future.result() == taken
            assert len(begun) <= taken + max(1, width)
    assert sorted(begun) == list(range(20))


@pytest.mark.parametrize('width', [0, 2])
def test_a_failure_reaches_who_asked(width: int) -> None:
    def die() -> None:
        raise Killed

    with Pool(width) as pool, pytest.raises(Killed):
        pool.submit(die).result()


def test_calls_run_at_once() -> None:
    meeting = threading.Barrier(3)
    with Pool(3) as pool:
        assert sorted(f.result(timeout=60) for f in pool.ordered([meeting.wait] * 3)) == [0, 1, 2]


def test_a_plan_covers_the_volume_once() -> None:
    assert plan(10 * GIB) == [Shard(0, 0, 4 * GIB), Shard(1, 4 * GIB, 4 * GIB), Shard(2, 8 * GIB, 2 * GIB)]
    geometry = Geometry(1024, 4096)
    for size in (512, 4096, 4608, 40960):
        shards = plan(size, geometry)
        extents = [geometry.extent(shard, block) for shard in shards for block in range(geometry.blocks(shard))]
        position = 0
        for offset, length in extents:
            assert offset == position
            assert 0 < length <= 1024
            position += length
        assert position == size


@pytest.mark.parametrize(('block', 'shard'), [(0, 4096), (1000, 4000), (1024, 4000), (1024, 0), (-512, 1024)])
def test_blocks_fill_shards(block: int, shard: int) -> None:
    with pytest.raises(InvalidInput):
        Geometry(block, shard)


def test_volumes_beyond_five_digits_of_shards_are_refused() -> None:
    with pytest.raises(InvalidInput, match='100000 shards'):
        plan(512 * 100_001, Geometry(512, 512))


@pytest.mark.parametrize('key', ['backups/a', 'shards/a/b', 'backups/a/b/c', 'backups/../b', 'a'])
def test_what_is_no_manifest_s_key_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput):
        parse_backup_key(key)
