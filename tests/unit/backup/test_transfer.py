"""Backups in another repository, under another key."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.backup import engine, keys
from chalicelib.backup.layout import backup_key, deleted_key
from chalicelib.errors import BackupCanceled, IntegrityError, KeyUnavailable, ObjectMissing
from tests.unit.backup import flows
from tests.unit.backup.fakes import KillAt, Killed, MemoryDevice, MemoryRepository, Meter, Wrapped, image

THERE = keys.RecoveryKeyWrapper.from_private(b'q' * 32)
SIZE = 2 * flows.GEOMETRY.shard_size + 512


@pytest.fixture
def contents(memory: MemoryRepository) -> dict[str, bytearray]:
    """A full backup, one with a changed shard (the others are pointers), and one without a change."""
    first = image(SIZE, 1)
    second = bytearray(first)
    second[:512] = b'changed!' * 64
    for backup_id, data, parent in (('one', first, None), ('two', second, 'one'), ('three', second, 'two')):
        flows.back_up(memory, data, backup_id, parent)
    return {'one': first, 'two': second, 'three': second}


def copy(memory: MemoryRepository, target: MemoryRepository | Wrapped, backup_id: str) -> engine.Manifest:
    manifest = flows.load(memory, backup_id)
    copied = engine.copy_backup(memory, target, manifest, flows.WRAPPER, THERE, limits=flows.LIMITS).manifest
    assert copied
    return copied


def restored_there(target: MemoryRepository, backup_id: str) -> bytearray:
    manifest = engine.load_backup(target, THERE, backup_key(flows.LINEAGE, backup_id))
    device = MemoryDevice(b'\xaa' * manifest.size)
    for shard in engine.plan(manifest.size, manifest.geometry):
        engine.restore_shard(device, target, manifest, shard.index, target_is_zeroed=False, limits=flows.LIMITS)
    return device.data


@pytest.mark.parametrize('backup_id', ['one', 'two', 'three'])
def test_one_backup_alone_is_whole(memory: MemoryRepository, contents: dict[str, bytearray], backup_id: str) -> None:
    target = MemoryRepository()
    moved = copy(memory, target, backup_id)
    assert moved.root_hash == flows.load(memory, backup_id).root_hash
    assert restored_there(target, backup_id) == contents[backup_id]
    assert not engine.verify_backup(target, moved, limits=flows.LIMITS).damaged


def test_only_the_new_key_opens_it(memory: MemoryRepository, contents: dict[str, bytearray]) -> None:
    target = MemoryRepository()
    copy(memory, target, 'one')
    with pytest.raises(KeyUnavailable):
        flows.load(target, 'one')
    with pytest.raises(KeyUnavailable):
        engine.load_backup(memory, THERE, backup_key(flows.LINEAGE, 'one'))


def test_the_next_of_a_chain_costs_what_is_new(memory: MemoryRepository, contents: dict[str, bytearray]) -> None:
    target = MemoryRepository()
    copy(memory, target, 'one')
    before = {key for key in target.objects if key.startswith('packs/')}
    copy(memory, target, 'two')
    assert len({key for key in target.objects if key.startswith('packs/')} - before) == 1
    assert restored_there(target, 'two') == contents['two']


def test_collection_there_takes_nothing_that_is_needed(
    memory: MemoryRepository, contents: dict[str, bytearray]
) -> None:
    target = MemoryRepository()
    for backup_id in contents:
        copy(memory, target, backup_id)
    flows.collect(target)
    engine.delete_backup(target, flows.LINEAGE, 'two')
    flows.collect(target)
    for backup_id in ('one', 'three'):
        assert restored_there(target, backup_id) == contents[backup_id]
    for backup_id in ('one', 'three'):
        engine.delete_backup(target, flows.LINEAGE, backup_id)
    flows.collect(target)
    assert not target.objects


@pytest.mark.parametrize('after', [False, True])
def test_killed_at_any_call_and_repeated(memory: MemoryRepository, contents: dict[str, bytearray], after: bool) -> None:
    meter = Meter()
    copy(memory, Wrapped(MemoryRepository(), meter), 'two')
    for number in range(meter.calls.total()):
        target = MemoryRepository()
        with pytest.raises(Killed):
            copy(memory, Wrapped(target, KillAt(number, after=after)), 'two')
        flows.collect(target)
        copy(memory, target, 'two')
        assert restored_there(target, 'two') == contents['two']


def test_damage_is_not_copied(memory: MemoryRepository, contents: dict[str, bytearray]) -> None:
    target = MemoryRepository()
    pack = next(key for key in memory.objects if key.startswith('packs/'))
    memory.objects[pack] += b'x'
    with pytest.raises(IntegrityError):
        copy(memory, target, 'one')
    assert not any(key.startswith('backups/') for key in target.objects)


def test_what_shrank_there_is_noticed(memory: MemoryRepository, contents: dict[str, bytearray]) -> None:
    target = MemoryRepository()
    copy(memory, target, 'one')
    pack = next(key for key in target.objects if key.startswith('packs/'))
    target.put(pack, target.objects[pack][:-1])
    with pytest.raises(IntegrityError, match=f'{pack}: it has .* bytes in the target, not'):
        copy(memory, target, 'two')


def test_what_was_deleted_there_does_not_come_back(memory: MemoryRepository, contents: dict[str, bytearray]) -> None:
    target = MemoryRepository()
    target.put(deleted_key(flows.LINEAGE, 'one'), b'')
    with pytest.raises(BackupCanceled):
        copy(memory, target, 'one')


def test_a_copy_goes_on_from_its_cursor_and_a_collector_may_come_between(
    memory: MemoryRepository, contents: dict[str, bytearray]
) -> None:
    """Older packs that only a deleted copy refers to are there at the beginning."""
    target = MemoryRepository()
    copy(memory, target, 'one')
    engine.delete_backup(target, flows.LINEAGE, 'one')
    manifest, cursor, calls = flows.load(memory, 'two'), None, 0
    while True:
        moved, cursor = engine.copy_backup(
            memory, target, manifest, flows.WRAPPER, THERE, limits=flows.LIMITS, cursor=cursor, seconds_left=lambda: 0.0
        )
        flows.collect(target)
        calls += 1
        if moved:
            break
    assert calls == len(manifest.shards) > 1
    assert restored_there(target, 'two') == contents['two']


def test_a_delete_that_overtakes_a_copy_takes_it_back(memory: MemoryRepository, contents: dict[str, bytearray]) -> None:
    meter = Meter()
    copy(memory, Wrapped(MemoryRepository(), meter), 'two')
    for number in range(1, meter.calls.total() - 1):
        target, left = MemoryRepository(), [number]

        def around(method: str, call: Callable[[], Any], target: MemoryRepository = target, left: Any = left) -> Any:
            left[0] -= 1
            if not left[0]:
                engine.delete_backup(target, flows.LINEAGE, 'two')
            return call()

        with contextlib.suppress(BackupCanceled, ObjectMissing):
            copy(memory, Wrapped(target, around), 'two')
        assert backup_key(flows.LINEAGE, 'two') not in target.objects
