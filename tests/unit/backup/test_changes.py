"""A source that lists what changed since the parent: only that is read, and the backup is the same as without."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.backup import engine
from chalicelib.backup.repository import Repository
from chalicelib.device import Changes
from tests.unit.backup import flows
from tests.unit.backup.fakes import MemoryDevice, MemoryRepository, image

BLOCK, SHARD = flows.GEOMETRY.block_size, flows.GEOMETRY.shard_size
SIZE = 2 * SHARD
BLOCKS = SIZE // BLOCK


def told(*extents: tuple[int, int]) -> Changes:
    """Extents whose beginning is in the requested range, as a listing of blocks has them."""

    def changes(offset: int, length: int) -> Iterable[tuple[int, int]]:
        return [one for one in extents if offset <= one[0] < offset + length]

    return changes


def unknown(offset: int, length: int) -> None:
    return None


def back_up(
    repository: Repository, device: MemoryDevice, backup_id: str, changes: Changes, looks: int = 1000
) -> engine.Manifest:
    """In slices of ``looks`` looks at the clock."""
    backup = flows.begin(repository, device.size, backup_id, 'one')
    for shard in engine.plan(device.size, backup.geometry):
        result, cursor = None, None
        while result is None or not result.done:
            result = engine.backup_shard(
                device, repository, backup, shard.index, changes=changes, cursor=cursor, limits=flows.LIMITS,
                seconds_left=flows.countdown(looks),
            )  # fmt: skip
            cursor = result.cursor
    return flows.commit(repository, backup)


def test_only_what_changed_is_read(memory: MemoryRepository) -> None:
    first = image(SIZE, 1)
    flows.back_up(memory, first, 'one')
    second = bytearray(first)
    second[5 * BLOCK : 6 * BLOCK] = image(BLOCK, 2)
    second[SHARD : SHARD + BLOCK] = bytes(BLOCK)
    device = MemoryDevice(second)
    back_up(memory, device, 'two', told((5 * BLOCK + 512, 512), (SHARD, BLOCK)))
    assert device.reads == [(5 * BLOCK, BLOCK), (SHARD, BLOCK)]
    assert flows.restored(memory, 'two') == second


def test_nothing_changed(memory: MemoryRepository) -> None:
    """Each shard is a pointer to the parent's, and not even the map of the device is read."""
    data = image(SIZE, 1)
    parent = flows.back_up(memory, data, 'one')
    device = MemoryDevice(data)
    device.allocated = None  # type: ignore[method-assign,assignment]  # not to be called
    child = back_up(memory, device, 'two', told())
    assert (device.reads, child.shards) == ([], parent.shards)
    assert flows.restored(memory, 'two') == data


def test_what_changed_and_holds_nothing_is_zero(memory: MemoryRepository) -> None:
    data = image(SIZE, 1)
    flows.back_up(memory, data, 'one')
    data[:BLOCK] = bytes(BLOCK)
    device = MemoryDevice(data, allocated=[(BLOCK, SIZE - BLOCK)])
    back_up(memory, device, 'two', told((0, BLOCK)))
    assert device.reads == []
    assert flows.restored(memory, 'two') == data


def test_a_volume_that_has_grown_is_read_from_its_old_end_on(memory: MemoryRepository) -> None:
    first = image(SHARD + 3 * BLOCK, 1)
    flows.back_up(memory, first, 'one')
    second = first + image(SIZE - len(first), 2) + image(SHARD, 3)
    device = MemoryDevice(second)
    back_up(memory, device, 'two', told())
    assert device.reads[0] == (SHARD + 3 * BLOCK, BLOCK)
    assert flows.restored(memory, 'two') == second


def test_a_full_backup_reads_all(memory: MemoryRepository) -> None:
    device = MemoryDevice(image(SHARD, 1))
    backup = flows.begin(memory, SHARD, 'one')
    engine.backup_shard(device, memory, backup, 0, changes=told(), limits=flows.LIMITS)
    flows.commit(memory, backup)
    assert flows.restored(memory, 'one') == device.data


@pytest.mark.parametrize('order', [(unknown, told), (told, unknown)])
def test_knowledge_that_comes_or_goes_on_the_way(memory: MemoryRepository, order: Any) -> None:
    """A worker with a list continues where one without stopped, and the other way round."""
    first, second = image(SHARD, 1), image(SHARD, 1)
    second[BLOCK : 2 * BLOCK], second[9 * BLOCK : 10 * BLOCK] = image(BLOCK, 2), bytes(BLOCK)
    flows.back_up(memory, first, 'one')
    backup, device = flows.begin(memory, SHARD, 'two', 'one'), MemoryDevice(second)
    known = told((BLOCK, BLOCK), (9 * BLOCK, BLOCK))
    cursor = None
    for changes in [known if one is told else unknown for one in (*order, order[1])]:
        result = engine.backup_shard(
            device,
            memory,
            backup,
            0,
            changes=changes,
            cursor=cursor,
            limits=flows.LIMITS,
            seconds_left=flows.countdown(2),
        )
        cursor = result.cursor
    engine.backup_shard(device, memory, backup, 0, changes=changes, cursor=cursor, limits=flows.LIMITS)
    flows.commit(memory, backup)
    assert flows.restored(memory, 'two') == second


@settings(max_examples=60, deadline=None)
@given(
    changed=st.sets(st.integers(0, BLOCKS - 1)),
    more=st.sets(st.integers(0, BLOCKS - 1)),
    looks=st.sampled_from([0, 1, 3, 1000]),
    seed=st.integers(1, 3),
)
def test_the_backup_is_that_of_one_that_knows_nothing(changed: set[int], more: set[int], looks: int, seed: int) -> None:
    """Whatever changed, listed with more that did not, and however often the time runs out."""
    memory = MemoryRepository()
    data = image(SIZE, seed)
    flows.back_up(memory, data, 'one')
    for block in changed:
        new = bytes(BLOCK) if block % 3 == 0 else image(BLOCK, block + 10)
        data[block * BLOCK : (block + 1) * BLOCK] = new
    changes = told(*((block * BLOCK, BLOCK) for block in sorted(changed | more)))
    ours = back_up(memory, MemoryDevice(data), 'two', changes, looks)
    theirs = back_up(memory, MemoryDevice(data), 'three', unknown, looks)
    assert flows.restored(memory, 'two') == data
    assert (ours.stored_bytes > 0) == (theirs.stored_bytes > 0)
