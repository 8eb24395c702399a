"""What was backed up is what is restored: any size, any content, any chain."""

from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.backup import engine, packs
from chalicelib.backup.layout import KIB, backup_key
from chalicelib.errors import BackupCanceled, BackupError, IntegrityError, InvalidBackup, InvalidInput, ObjectMissing
from tests.unit.backup import flows
from tests.unit.backup.fakes import MemoryDevice, MemoryRepository, Meter, Wrapped, image

BLOCK, SHARD = flows.GEOMETRY.block_size, flows.GEOMETRY.shard_size


@pytest.mark.parametrize('size', [512, BLOCK - 512, BLOCK, BLOCK + 512, SHARD - 512, SHARD, SHARD + 512, 3 * SHARD])
def test_every_edge_of_blocks_and_shards(memory: MemoryRepository, size: int) -> None:
    data = image(size, size)
    flows.back_up(memory, data, 'one')
    assert flows.restored(memory, 'one') == data


@given(sectors=st.integers(1, 300), seed=st.integers(0, 1 << 32), tile=st.sampled_from([512, 4096, 16384]))
@settings(max_examples=60, deadline=None)
def test_any_size_and_content(sectors: int, seed: int, tile: int) -> None:
    memory = MemoryRepository()
    data = image(sectors * 512, seed, tile)
    flows.back_up(memory, data, 'one')
    assert flows.restored(memory, 'one') == data


def test_the_format_s_own_geometry(memory: MemoryRepository) -> None:
    data = image(3 * 512 * KIB + 512, 1, 256 * KIB)
    manifest = flows.back_up(memory, data, 'one', geometry=engine.Geometry())
    assert manifest.geometry.block_size == 512 * KIB
    assert flows.restored(memory, 'one') == data


def test_only_what_is_allocated_is_read(memory: MemoryRepository) -> None:
    data = bytearray(4 * SHARD)
    extents = [(512, 512), (BLOCK * 3 - 512, 1024), (2 * SHARD, 2 * BLOCK), (4 * SHARD - 512, 512)]
    for offset, length in extents:
        data[offset : offset + length] = b'\x01' * length
    device = MemoryDevice(data, extents)
    flows.back_up(memory, device, 'one')
    assert [offset // BLOCK for offset, _ in device.reads] == [0, 2, 3, 32, 33, 63]
    assert flows.restored(memory, 'one') == data


def test_an_empty_volume_stores_no_pack(memory: MemoryRepository) -> None:
    manifest = flows.back_up(memory, bytes(2 * SHARD), 'one')
    assert not [key for key in memory.objects if key.startswith('packs/')]
    assert manifest.object_count == 3
    assert flows.restored(memory, 'one') == bytes(2 * SHARD)


def test_equal_blocks_of_a_shard_are_stored_once(memory: MemoryRepository) -> None:
    block = random.Random(1).randbytes(BLOCK)
    backup = flows.begin(memory, SHARD, 'one')
    result = flows.copy_shard(memory, MemoryDevice(block * (SHARD // BLOCK)), backup, 0)
    assert (result.counts.data, result.counts.new, result.counts.packs) == (16, 1, 1)
    flows.commit(memory, backup)
    assert flows.restored(memory, 'one') == block * 16


def test_a_block_that_does_not_shrink_is_stored_as_it_is(memory: MemoryRepository) -> None:
    backup = flows.begin(memory, 2 * BLOCK, 'one')
    data = random.Random(1).randbytes(BLOCK) + b'a' * BLOCK
    result = flows.copy_shard(memory, MemoryDevice(data), backup, 0)
    assert BLOCK < result.counts.stored < BLOCK + 200


def test_chain_of_twenty_incrementals(memory: MemoryRepository) -> None:
    draw = random.Random(7)
    data, kept = image(5 * SHARD // 2, 1), {}
    flows.back_up(memory, data, 'backup-0')
    kept['backup-0'] = bytes(data)
    for number in range(1, 21):
        for _ in range(4):
            offset = draw.randrange(len(data) // 512) * 512
            data[offset : offset + 512] = draw.choice([bytes(512), draw.randbytes(512), bytes(kept['backup-0'][:512])])
        flows.back_up(memory, data, f'backup-{number}', f'backup-{number - 1}')
        kept[f'backup-{number}'] = bytes(data)
    for backup_id, content in kept.items():
        assert flows.restored(memory, backup_id) == content


@given(st.lists(st.tuples(st.integers(1, 80), st.integers(0, 1 << 16), st.booleans()), min_size=2, max_size=5))
@settings(max_examples=40, deadline=None)
def test_any_chain_that_grows_and_branches(steps: list[tuple[int, int, bool]]) -> None:
    memory, data, parent = MemoryRepository(), bytearray(), None
    contents: dict[str, bytes] = {}
    for number, (sectors, seed, moves_on) in enumerate(steps):
        data = bytearray(data) + image(sectors * 512, seed)
        start = seed % len(data) // 512 * 512
        data[start : start + 512] = b'%-512d' % seed
        flows.back_up(memory, data, f'b{number}', parent)
        contents[f'b{number}'] = bytes(data)
        parent = f'b{number}' if moves_on or parent is None else parent
    assert {backup_id: flows.restored(memory, backup_id) for backup_id in contents} == contents


def test_an_unchanged_shard_costs_one_small_object(memory: MemoryRepository) -> None:
    data = image(3 * SHARD, 1)
    flows.back_up(memory, data, 'one')
    data[SHARD : SHARD + 512] = b'x' * 512
    before = set(memory.objects)
    manifest = flows.back_up(memory, data, 'two', 'one')
    new = {key: len(memory.objects[key]) for key in set(memory.objects) - before}
    assert sum(key.startswith('packs/') for key in new) == 1
    assert new[f'shards/{flows.LINEAGE}/00000/two'] < 300
    assert [shard.backup for shard in manifest.shards] == ['one', 'two', 'one']


def test_pointers_name_the_listing_itself(memory: MemoryRepository) -> None:
    """However long a chain of unchanged shards grows, a reader makes one step."""
    data = image(SHARD, 1)
    flows.back_up(memory, data, 'b0')
    for number in range(1, 4):
        manifest = flows.back_up(memory, data, f'b{number}', f'b{number - 1}')
    assert [shard.backup for shard in manifest.shards] == ['b0']


def test_reverted_blocks_are_found_in_the_parent(memory: MemoryRepository) -> None:
    """A block that moved within the shard is the parent's block still."""
    data = image(SHARD, 3)
    flows.back_up(memory, data, 'one')
    moved = data[BLOCK:] + data[:BLOCK]
    backup = flows.begin(memory, SHARD, 'two', 'one')
    result = flows.copy_shard(memory, MemoryDevice(moved), backup, 0)
    flows.commit(memory, backup)
    assert (result.counts.new, result.counts.packs) == (0, 0)
    assert flows.restored(memory, 'two') == moved


def test_packs_that_nothing_refers_to_are_not_listed(memory: MemoryRepository) -> None:
    first, second = image(SHARD, 1, 512), image(SHARD, 2, 512)
    flows.back_up(memory, first, 'one')
    flows.back_up(memory, second, 'two', 'one')
    flows.engine.delete_backup(memory, flows.LINEAGE, 'one')
    flows.collect(memory)
    assert not [key for key in memory.objects if '/one' in key]
    assert flows.restored(memory, 'two') == second


@pytest.mark.parametrize(('uploads', 'buffers'), [(0, 1), (2, 3)])
def test_a_few_buffers_serve_all_packs(memory: MemoryRepository, uploads: int, buffers: int) -> None:
    packs._spare.clear()
    limits = dataclasses.replace(flows.LIMITS, uploads=uploads)
    for number in range(3):
        data = image(3 * SHARD, number)
        flows.back_up(memory, data, f'b{number}', limits=limits)
        assert flows.restored(memory, f'b{number}') == data
        assert len({id(buffer.obj) for buffer in packs._spare}) == buffers


def test_facts_of_a_backup(memory: MemoryRepository) -> None:
    manifest = flows.back_up(memory, image(SHARD, 1), 'one')
    own = {key: len(data) for key, data in memory.objects.items() if key.startswith(('packs/', 'shards/'))}
    assert manifest.object_count == len(own) + 1
    assert manifest.stored_bytes == sum(own.values())
    assert manifest.object_key == backup_key(flows.LINEAGE, 'one')
    assert manifest.metadata == {'name': 'volume-1'}
    assert list(engine.list_backups(memory)) == [manifest.object_key]
    assert engine.peek_backup(memory, manifest.object_key)['size'] == SHARD


def test_root_hash_pins_one_backup(memory: MemoryRepository) -> None:
    one = flows.back_up(memory, image(SHARD, 1), 'one')
    two = flows.back_up(memory, image(SHARD, 2), 'two')
    assert one.root_hash != two.root_hash
    engine.load_backup(memory, flows.WRAPPER, one.object_key, root_hash=one.root_hash)
    with pytest.raises(IntegrityError):
        engine.load_backup(memory, flows.WRAPPER, one.object_key, root_hash=two.root_hash)


def test_every_step_repeated_does_nothing_new(memory: MemoryRepository) -> None:
    data = image(2 * SHARD, 1)
    manifest = flows.back_up(memory, data, 'one')
    objects = dict(memory.objects)
    assert flows.back_up(memory, image(2 * SHARD, 99), 'one').root_hash == manifest.root_hash
    assert memory.objects == objects


def test_a_finished_shard_is_not_read_again(memory: MemoryRepository) -> None:
    device, backup = MemoryDevice(image(SHARD, 1)), flows.begin(memory, SHARD, 'one')
    first = flows.copy_shard(memory, device, backup, 0)
    device.reads.clear()
    meter = Meter()
    assert flows.copy_shard(Wrapped(memory, meter), device, backup, 0) == first
    assert not device.reads
    assert meter.calls == {'get': 1}


def test_requests_of_a_full_backup(memory: MemoryRepository) -> None:
    """Per shard its packs and one manifest; per backup an intent and a manifest."""
    meter = Meter()
    manifest = flows.back_up(Wrapped(memory, meter), image(2 * SHARD, 1), 'one')
    assert meter.calls['put'] == manifest.object_count + 1


def test_a_larger_target_is_zeroed_beyond_the_end(memory: MemoryRepository) -> None:
    data = image(SHARD + 512, 1)
    flows.back_up(memory, data, 'one')
    target = MemoryDevice(b'\xaa' * 3 * SHARD)
    flows.restore_to(memory, target, 'one')
    assert target.data == data + bytes(2 * SHARD - 512)
    assert target.flushed


def test_zero_blocks_are_left_alone_on_a_zeroed_target(memory: MemoryRepository) -> None:
    data = image(2 * SHARD, 1)
    flows.back_up(memory, data, 'one')
    target = MemoryDevice(bytes(3 * SHARD))
    flows.restore_to(memory, target, 'one', zeroed=True)
    assert target.data == data + bytes(SHARD)
    assert not target.zeroed


def test_holes_of_the_target_are_not_zeroed(memory: MemoryRepository) -> None:
    flows.back_up(memory, bytes(2 * SHARD), 'one')
    dirty = [(512, 1024), (SHARD - 512, 1024)]
    target = MemoryDevice(bytes(2 * SHARD), dirty)
    for offset, length in dirty:
        target.data[offset : offset + length] = b'\xaa' * length
    flows.restore_to(memory, target, 'one')
    assert target.data == bytes(2 * SHARD)
    assert sum(length for _, length in target.zeroed) == 2048


def test_a_block_used_twice_is_read_once(memory: MemoryRepository) -> None:
    block = random.Random(1).randbytes(BLOCK)
    flows.back_up(memory, block * 4, 'one')
    meter = Meter()
    assert flows.restored(Wrapped(memory, meter), 'one') == block * 4
    assert meter.calls['get'] == 4  # the manifest twice (the helper looks at its size), its shard, one range


def test_neighbouring_blocks_come_in_one_read(memory: MemoryRepository) -> None:
    data = random.Random(1).randbytes(3 * BLOCK)
    flows.back_up(memory, data, 'one')
    manifest, meter = flows.load(memory, 'one'), Meter()
    device = MemoryDevice(bytes(len(data)))
    limits = engine.Limits(downloads=0)
    engine.restore_shard(device, Wrapped(memory, meter), manifest, 0, target_is_zeroed=True, limits=limits)
    assert device.data == data
    assert meter.calls == {'get': 2}


def test_targets_that_do_not_fit_are_refused(memory: MemoryRepository) -> None:
    flows.back_up(memory, image(SHARD + 512, 1), 'one')
    with pytest.raises(BackupError, match='take a larger one'):
        flows.restore_to(memory, MemoryDevice(bytes(SHARD)), 'one')
    coarse = MemoryDevice(bytes(2 * SHARD))
    coarse.block_size = 4096  # type: ignore[misc]
    with pytest.raises(BackupError, match='4096'):
        flows.restore_to(memory, coarse, 'one')


def test_sources_that_do_not_fit_are_refused(memory: MemoryRepository) -> None:
    backup = flows.begin(memory, SHARD, 'one')
    with pytest.raises(BackupError, match='began with'):
        flows.copy_shard(memory, MemoryDevice(bytes(2 * SHARD)), backup, 0)
    for size in (0, -512, 100, 513):
        with pytest.raises(InvalidInput):
            flows.begin(memory, size, 'two')
    with pytest.raises(InvalidInput):
        flows.copy_shard(memory, MemoryDevice(bytes(SHARD)), backup, 1)


def test_a_second_begin_must_agree_with_the_first(memory: MemoryRepository) -> None:
    flows.begin(memory, SHARD, 'one')
    with pytest.raises(InvalidBackup, match=f'began with {SHARD}'):
        flows.begin(memory, 2 * SHARD, 'one')


def test_a_parent_must_be_there(memory: MemoryRepository) -> None:
    flows.back_up(memory, image(SHARD, 1), 'one')
    engine.delete_backup(memory, flows.LINEAGE, 'one')
    for parent in ('one', 'never'):
        with pytest.raises(InvalidBackup, match='create a full backup'):
            flows.begin(memory, SHARD, 'two', parent)


def test_nothing_is_there_before_the_commit(memory: MemoryRepository) -> None:
    backup = flows.begin(memory, 2 * SHARD, 'one')
    flows.copy_shard(memory, MemoryDevice(image(2 * SHARD, 1)), backup, 0)
    with pytest.raises(ObjectMissing, match='shards/lineage-1/00001/one'):
        flows.commit(memory, backup)
    with pytest.raises(ObjectMissing):
        flows.load(memory, 'one')
    assert not list(engine.list_backups(memory))


def test_a_deleted_backup_is_cancelled_wherever_it_is(memory: MemoryRepository) -> None:
    backup = flows.begin(memory, 2 * SHARD, 'one')
    device = MemoryDevice(image(2 * SHARD, 1))
    flows.copy_shard(memory, device, backup, 0)
    engine.delete_backup(memory, flows.LINEAGE, 'one')
    with pytest.raises(BackupCanceled):
        flows.copy_shard(memory, device, backup, 1)
    with pytest.raises(BackupCanceled):
        flows.begin(memory, 2 * SHARD, 'one')
    flows.copy_shard(MemoryRepository(), device, backup, 1)  # a zombie's work elsewhere changes nothing here
    with pytest.raises((BackupCanceled, ObjectMissing)):
        flows.commit(memory, backup)
    assert not list(engine.list_backups(memory))


@pytest.mark.parametrize('bad', ['', 'a/b', '../x', 'a b', 'é', 'x' * 65, '-a', '.'])
def test_ids_that_are_no_part_of_a_key_are_refused(memory: MemoryRepository, bad: str) -> None:
    for lineage, backup_id in ((bad, 'one'), (flows.LINEAGE, bad)):
        with pytest.raises(InvalidInput):
            flows.begin(memory, SHARD, backup_id, lineage=lineage)
        with pytest.raises(InvalidInput):
            engine.delete_backup(memory, lineage, backup_id)
    assert not memory.objects


def test_progress_rises_to_the_end(memory: MemoryRepository) -> None:
    data = image(SHARD, 1)
    backup, seen = flows.begin(memory, SHARD, 'one'), list[int]()
    engine.backup_shard(MemoryDevice(data), memory, backup, 0, progress=seen.append, limits=flows.LIMITS)
    flows.commit(memory, backup)
    assert seen == sorted(seen)
    assert seen[-1] == SHARD
    seen.clear()
    target, manifest = MemoryDevice(bytes(SHARD)), flows.load(memory, 'one')
    engine.restore_shard(target, memory, manifest, 0, target_is_zeroed=True, progress=seen.append, limits=flows.LIMITS)
    assert seen == [SHARD // 4, SHARD // 2, SHARD * 3 // 4, SHARD]
    seen.clear()
    engine.verify_backup(memory, manifest, progress=seen.append, limits=flows.LIMITS)
    assert seen == [SHARD // 4, SHARD // 2, SHARD * 3 // 4, SHARD]
