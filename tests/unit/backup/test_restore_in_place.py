"""A restore of what differs: the device then has the backup's bytes, and nothing else was read or written."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from chalicelib.backup import engine
from chalicelib.device import Changes
from chalicelib.errors import IntegrityError
from tests.unit.backup import flows
from tests.unit.backup.fakes import MemoryDevice, MemoryRepository

BLOCK = flows.GEOMETRY.block_size
SHARD = flows.GEOMETRY.shard_size


def listed(*extents: tuple[int, int]) -> Changes:
    """As a backend lists them: those that touch the range, not more."""

    def changes(offset: int, length: int) -> Iterable[tuple[int, int]]:
        for start, size in extents:
            first, last = max(start, offset), min(start + size, offset + length)
            if first < last:
                yield first, last - first

    return changes


def restore(memory: MemoryRepository, device: MemoryDevice, changes: Changes) -> None:
    manifest = flows.load(memory, 'b1')
    for shard in engine.plan(manifest.size, manifest.geometry):
        engine.restore_shard(
            device, memory, manifest, shard.index, target_is_zeroed=False, changes=changes, limits=flows.LIMITS
        )


@pytest.mark.parametrize('seed', range(20))
def test_any_changes(memory: MemoryRepository, seed: int) -> None:
    draw = random.Random(seed)
    size = draw.choice([SHARD // 2, SHARD, 2 * SHARD + 512])
    data = bytearray(draw.randbytes(size))
    for _ in range(3):
        start = draw.randrange(size) // BLOCK * BLOCK
        data[start : start + 2 * BLOCK] = bytes(len(data[start : start + 2 * BLOCK]))
    flows.back_up(memory, data, 'b1')
    now, extents = bytearray(data) + bytes(draw.choice([0, 2 * BLOCK])), []
    for _ in range(draw.randrange(5)):
        start = draw.randrange(size // 512) * 512
        length = min(draw.choice([512, BLOCK, 3 * BLOCK]), size - start)
        now[start : start + length] = draw.choice([bytes(length), draw.randbytes(length)])
        extents.append((start, length))
    if len(now) > size:
        now[size:] = draw.randbytes(len(now) - size)
        extents.append((size, len(now) - size))
    device = MemoryDevice(now)
    restore(memory, device, listed(*sorted(extents)))
    assert bytes(device.data) == bytes(data) + bytes(len(now) - size)


def test_nothing_else_is_written(memory: MemoryRepository) -> None:
    """What is not listed stays, though it differs: the backend knows."""
    data = random.Random(1).randbytes(SHARD)
    flows.back_up(memory, data, 'b1')
    device = MemoryDevice(b'x' * SHARD)
    restore(memory, device, listed((2 * BLOCK + 5, 1)))
    assert device.data[2 * BLOCK : 3 * BLOCK] == data[2 * BLOCK : 3 * BLOCK]
    assert device.data[: 2 * BLOCK] + device.data[3 * BLOCK :] == b'x' * (SHARD - BLOCK)


def test_changes_that_are_not_known(memory: MemoryRepository) -> None:
    data = random.Random(1).randbytes(SHARD)
    flows.back_up(memory, data, 'b1')
    device = MemoryDevice(b'x' * SHARD)
    restore(memory, device, lambda offset, length: None)
    assert device.data == data


def test_a_damaged_block_is_not_written(memory: MemoryRepository) -> None:
    data = random.Random(1).randbytes(SHARD)
    flows.back_up(memory, data, 'b1')
    for key in [key for key in memory.objects if key.startswith('packs/')]:
        damaged = bytearray(memory.get(key).data)
        damaged[len(damaged) // 3] ^= 1
        memory.put(key, bytes(damaged))
    device = MemoryDevice(b'x' * SHARD)
    with pytest.raises(IntegrityError):
        restore(memory, device, listed((0, SHARD)))
