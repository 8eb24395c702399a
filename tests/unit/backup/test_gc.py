"""The collector: what must stay, what must go, and in which cases it must refuse to choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.backup import engine
from chalicelib.backup.layout import running_key
from chalicelib.errors import BackupCanceled, IntegrityError, LeaseLost, ObjectMissing
from tests.unit.backup import flows
from tests.unit.backup.fakes import MemoryDevice, MemoryRepository, Meter, Wrapped, image

BLOCK, SHARD = flows.GEOMETRY.block_size, flows.GEOMETRY.shard_size
SIZE = 2 * SHARD + 512


def delete(repository: MemoryRepository, backup_id: str) -> None:
    engine.delete_backup(repository, flows.LINEAGE, backup_id)


def chain(memory: MemoryRepository, length: int = 4) -> dict[str, bytes]:
    data, contents = image(SIZE, 1), {}
    for number in range(length):
        data[number * BLOCK : (number + 1) * BLOCK] = image(BLOCK, 100 + number, 512)
        flows.back_up(memory, data, f'b{number}', f'b{number - 1}' if number else None)
        contents[f'b{number}'] = bytes(data)
    return contents


@pytest.mark.parametrize('victims', [('b0',), ('b3',), ('b1', 'b2'), ('b0', 'b1', 'b2'), ('b3', 'b0')])
def test_deleting_any_backup_is_safe(memory: MemoryRepository, victims: tuple[str, ...]) -> None:
    contents = chain(memory)
    before = len(memory.objects)
    for victim in victims:
        delete(memory, victim)
        with pytest.raises(ObjectMissing):
            flows.load(memory, victim)
    assert flows.collect(memory).objects > 0
    assert len(memory.objects) < before
    for backup_id in contents.keys() - set(victims):
        assert flows.restored(memory, backup_id) == contents[backup_id]
        assert not engine.verify_backup(memory, flows.load(memory, backup_id), limits=flows.LIMITS).damaged


def test_nothing_is_left_of_a_lineage_without_backups(memory: MemoryRepository) -> None:
    for backup_id in chain(memory):
        delete(memory, backup_id)
    collected = flows.collect(memory)
    assert collected.done
    assert not memory.objects
    assert collected.bytes > 0


def test_another_lineage_is_not_touched(memory: MemoryRepository) -> None:
    data = image(SIZE, 9)
    flows.back_up(memory, data, 'one', lineage='lineage-10')
    for backup_id in chain(memory):
        delete(memory, backup_id)
    flows.collect(memory)
    assert flows.restored(memory, 'one', lineage='lineage-10') == data


def test_a_second_collection_finds_nothing(memory: MemoryRepository) -> None:
    chain(memory)
    delete(memory, 'b1')
    flows.collect(memory)
    assert flows.collect(memory).objects == 0


def test_the_young_are_spared(memory: MemoryRepository) -> None:
    chain(memory)
    delete(memory, 'b3')
    assert flows.collect(memory, grace=10.0, clock=lambda: 9.0).objects == 0
    assert flows.collect(memory, grace=10.0, clock=lambda: 10.0).objects > 0


def test_a_running_backup_keeps_its_packs_and_its_parent_s(memory: MemoryRepository) -> None:
    contents = chain(memory, 2)
    data = contents['b1'][:SHARD] + bytes(image(SIZE - SHARD, 7))
    backup = flows.begin(memory, SIZE, 'b2', 'b1')
    flows.copy_shard(memory, MemoryDevice(data), backup, 1)
    for backup_id in contents:
        delete(memory, backup_id)
    flows.collect(memory)
    for index in (0, 2):
        flows.copy_shard(memory, MemoryDevice(data), backup, index)
    flows.commit(memory, backup)
    assert flows.restored(memory, 'b2') == data
    flows.collect(memory)
    assert flows.restored(memory, 'b2') == data


def test_progress_of_a_running_backup_is_kept(memory: MemoryRepository) -> None:
    data = image(SHARD, 1)
    backup, device = flows.begin(memory, SHARD, 'one'), MemoryDevice(data)
    seconds_left = flows.countdown(3)
    first = engine.backup_shard(device, memory, backup, 0, seconds_left=seconds_left, limits=flows.LIMITS)
    flows.collect(memory)
    assert engine.backup_shard(device, memory, backup, 0, cursor=first.cursor, limits=flows.LIMITS).done
    flows.commit(memory, backup)
    assert flows.restored(memory, 'one') == data
    flows.collect(memory)
    assert not list(memory.list('partial/'))


def test_an_abandoned_backup_goes_once_it_is_deleted(memory: MemoryRepository) -> None:
    backup = flows.begin(memory, SIZE, 'one')
    flows.copy_shard(memory, MemoryDevice(image(SIZE, 1)), backup, 0)
    flows.collect(memory)
    assert [key for key in memory.objects if key.startswith('packs/')]
    delete(memory, 'one')
    flows.collect(memory)
    assert not memory.objects


def test_a_commit_that_overtakes_its_delete_takes_itself_back(memory: MemoryRepository) -> None:
    """The tombstone comes after the commit's check and before its put."""
    backup = flows.begin(memory, SHARD, 'one')
    flows.copy_shard(memory, MemoryDevice(image(SHARD, 1)), backup, 0)

    class Overtaken(MemoryRepository):
        def put(self, key: str, data: object, **options: bool) -> None:
            if key.startswith('backups/'):
                delete(self, 'one')
            super().put(key, data, **options)  # type: ignore[arg-type]

    repository = Overtaken()
    repository.objects, repository.times = memory.objects, memory.times
    with pytest.raises(BackupCanceled):
        flows.commit(repository, backup)
    assert not list(memory.list('backups/'))


def test_a_late_commit_after_the_collection_is_refused(memory: MemoryRepository) -> None:
    backup = flows.begin(memory, SHARD, 'one')
    flows.copy_shard(memory, MemoryDevice(image(SHARD, 1)), backup, 0)
    shard = dict(memory.objects)
    delete(memory, 'one')
    flows.collect(memory)
    memory.objects |= {key: data for key, data in shard.items() if not key.startswith('running/')}
    with pytest.raises(BackupCanceled):
        flows.commit(memory, backup)


def test_a_manifest_that_came_back_is_removed(memory: MemoryRepository) -> None:
    """A commit that died between its put and its second look."""
    flows.back_up(memory, image(SHARD, 1), 'one')
    manifest = memory.objects[f'backups/{flows.LINEAGE}/one']
    delete(memory, 'one')
    memory.put(f'backups/{flows.LINEAGE}/one', manifest)
    assert not list(engine.list_backups(memory))
    flows.collect(memory)
    assert not memory.objects


def test_intents_of_finished_backups_are_removed(memory: MemoryRepository) -> None:
    data = image(SHARD, 1)
    flows.back_up(memory, data, 'one')
    assert running_key(flows.LINEAGE, 'one') in memory.objects
    flows.collect(memory)
    assert running_key(flows.LINEAGE, 'one') not in memory.objects
    manifest = flows.back_up(memory, data, 'one')
    assert running_key(flows.LINEAGE, 'one') not in memory.objects, 'a redelivered begin writes none'
    assert manifest.backup_id == 'one'


def test_a_worker_that_slept_over_the_grace_time_shares_the_finished_backup(memory: MemoryRepository) -> None:
    """It saw neither intent nor manifest; then another made the backup, and the intent was collected."""
    data, began = image(SIZE, 1), []

    def around(method: str, call: Callable[[], Any]) -> Any:
        if method == 'put' and not began:
            began.append(method)
            flows.back_up(memory, data, 'one')
            flows.collect(memory)
            assert running_key(flows.LINEAGE, 'one') not in memory.objects
        return call()

    late = flows.back_up(Wrapped(memory, around), data, 'one')
    assert began
    assert late.root_hash == flows.load(memory, 'one').root_hash
    assert flows.restored(memory, 'one') == data


def test_without_the_lease_nothing_is_deleted(memory: MemoryRepository) -> None:
    class LostLease:
        def confirm(self) -> None:
            raise LeaseLost(lineage=flows.LINEAGE)

    chain(memory)
    flows.collect(memory)
    delete(memory, 'b1')
    before = dict(memory.objects)
    with pytest.raises(LeaseLost):
        flows.collect(memory, lease=LostLease())
    assert memory.objects == before


@pytest.mark.parametrize('damage', ['gone', 'header', 'references'])
def test_a_shard_with_a_damaged_manifest_is_not_swept(memory: MemoryRepository, damage: str) -> None:
    chain(memory)
    flows.collect(memory)
    delete(memory, 'b3')
    key = f'shards/{flows.LINEAGE}/00000/b1'
    content = bytearray(memory.objects.pop(key))
    if damage != 'gone':
        content[0 if damage == 'header' else 150] ^= 1
        memory.put(key, content)
    packs = set(memory.objects)
    with pytest.raises(IntegrityError, match=key):
        flows.collect(memory)
    assert {name for name in packs if name.startswith('packs/')} <= memory.objects.keys()
    delete(memory, 'b1')
    assert flows.collect(memory).done


def test_a_pointer_to_a_pointer_is_damage(memory: MemoryRepository) -> None:
    """The collector has no key, so it may be shown what no writer wrote: it must come to an end."""
    chain(memory, 2)
    pointer = memory.objects[f'shards/{flows.LINEAGE}/00002/b1']
    memory.put(f'shards/{flows.LINEAGE}/00002/b0', pointer)
    with pytest.raises(IntegrityError, match='is one itself'):
        flows.collect(memory)


def test_a_volume_that_grew_has_shards_its_older_backups_lack(memory: MemoryRepository) -> None:
    small, large = image(SHARD, 1), image(3 * SHARD, 1)
    flows.back_up(memory, small, 'one')
    flows.back_up(memory, large, 'two', 'one')
    flows.collect(memory)
    assert flows.collect(memory).objects == 0
    assert flows.restored(memory, 'one') == small
    assert flows.restored(memory, 'two') == large


def test_it_goes_on_from_its_cursor(memory: MemoryRepository) -> None:
    contents = chain(memory)
    delete(memory, 'b0')
    delete(memory, 'b1')
    whole = memory.copy()
    flows.collect(whole)
    cursor, slices = None, 0
    while True:
        result = flows.collect(memory, seconds_left=lambda: 0.0, cursor=cursor)
        slices += 1
        if result.done:
            break
        cursor = result.cursor
    assert slices == 3
    assert memory.objects == whole.objects
    assert flows.restored(memory, 'b3') == contents['b3']


def test_marking_reads_no_entries(memory: MemoryRepository) -> None:
    """Header and references are at the front: the look at a listing is one small read."""
    chain(memory, 3)
    meter = Meter()
    flows.collect(Wrapped(memory, meter))
    shards, backups, pointers = 3, 3, 4
    assert meter.calls['get'] == shards * backups + pointers
