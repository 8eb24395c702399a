"""Time that runs out, workers that die or come twice: whatever happens, the same bytes."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib.backup import engine
from chalicelib.backup.repository import Repository
from chalicelib.errors import BackupCanceled, RepositoryError
from tests.unit.backup import flows
from tests.unit.backup.fakes import KillAt, Killed, MemoryDevice, MemoryRepository, Meter, Wrapped, image

BLOCK, SHARD = flows.GEOMETRY.block_size, flows.GEOMETRY.shard_size
SIZE = SHARD + 5 * BLOCK + 512

FIRST, SECOND = image(SIZE, 1), image(SIZE, 1)
SECOND[SHARD:] = image(SIZE - SHARD, 2)
SECOND[512:1024] = b'changed!' * 64


def parent_of(repository: Repository) -> None:
    flows.back_up(repository, FIRST, 'one')


def whole_backup(repository: Repository) -> None:
    flows.back_up(repository, SECOND, 'two', 'one')


def calls_of(action: Callable[[Repository], object], repository: MemoryRepository) -> int:
    meter = Meter()
    action(Wrapped(repository.copy(), meter))
    return meter.calls.total()


def run_in_slices(call: Callable[[Any, Callable[[], float]], Any], looks: int) -> int:
    """Call with a seconds_left that ends after so many looks, and again with the cursor, until it is done."""
    cursor, slices = None, 0
    while True:
        result = call(cursor, flows.countdown(looks))
        slices += 1
        if result.done:
            assert result.cursor is None
            return slices
        cursor = json.loads(json.dumps(result.cursor))
        assert len(json.dumps(cursor)) < 1024


@pytest.mark.parametrize('looks', [0, 1, 2, 5, 100])
def test_a_backup_goes_on_from_its_cursor(memory: MemoryRepository, looks: int) -> None:
    parent_of(memory)
    backup, device = flows.begin(memory, SIZE, 'two', 'one'), MemoryDevice(SECOND)
    for index in range(2):
        run_in_slices(
            lambda cursor, seconds_left, index=index: engine.backup_shard(
                device, memory, backup, index, seconds_left=seconds_left, cursor=cursor, limits=flows.LIMITS
            ),
            looks,
        )
    flows.commit(memory, backup)
    assert flows.restored(memory, 'two') == SECOND
    assert len(device.reads) == len(set(device.reads)) == 16 + 6


def test_slices_store_nothing_twice(memory: MemoryRepository) -> None:
    """Blocks known from an earlier slice are known in the next one, and are counted once."""
    block = image(BLOCK, 5, 512)
    backup, device = flows.begin(memory, SHARD, 'one'), MemoryDevice(block * 16)
    results = []

    def step(cursor: Any, seconds_left: Callable[[], float]) -> engine.ShardResult:
        call = engine.backup_shard
        results.append(call(device, memory, backup, 0, seconds_left=seconds_left, cursor=cursor, limits=flows.LIMITS))
        return results[-1]

    assert run_in_slices(step, 3) == 4
    assert results[-1].counts.new == results[-1].counts.packs == 1
    assert [result.counts.data for result in results] == [4, 8, 12, 16]


@pytest.mark.parametrize('looks', [0, 1, 3, 100])
@pytest.mark.parametrize('zeroed', [False, True])
def test_a_restore_goes_on_from_its_cursor(memory: MemoryRepository, looks: int, zeroed: bool) -> None:
    parent_of(memory)
    manifest = flows.load(memory, 'one')
    target = MemoryDevice((b'\0' if zeroed else b'\xaa') * 3 * SHARD)
    for index in range(2):
        run_in_slices(
            lambda cursor, seconds_left, index=index: engine.restore_shard(
                target,
                memory,
                manifest,
                index,
                target_is_zeroed=zeroed,
                seconds_left=seconds_left,
                cursor=cursor,
                limits=flows.LIMITS,
            ),
            looks,
        )
    assert target.data == FIRST + bytes(3 * SHARD - SIZE)


@pytest.mark.parametrize('looks', [0, 2])
def test_a_scrub_goes_on_from_its_cursor(memory: MemoryRepository, looks: int) -> None:
    parent_of(memory)
    manifest, checked = flows.load(memory, 'one'), []

    def step(cursor: Any, seconds_left: Callable[[], float]) -> engine.VerifyResult:
        result = engine.verify_backup(memory, manifest, seconds_left=seconds_left, cursor=cursor, limits=flows.LIMITS)
        checked.append(result.checked)
        return result

    run_in_slices(step, looks)
    assert sum(checked) == 16 + 6


def test_what_a_slice_wrote_is_durable(memory: MemoryRepository) -> None:
    parent_of(memory)
    manifest, target = flows.load(memory, 'one'), MemoryDevice(bytes(SIZE))
    result = engine.restore_shard(
        target, memory, manifest, 0, target_is_zeroed=True, seconds_left=lambda: 0.0, limits=flows.LIMITS
    )
    assert not result.done
    assert target.flushed == 1


@pytest.mark.parametrize('after', [False, True], ids=['before', 'after'])
@pytest.mark.parametrize('action', [parent_of, whole_backup])
def test_killed_at_any_call_and_repeated(action: Callable[[Repository], None], after: bool) -> None:
    """A worker dies before or after any one of its calls takes effect; the retry starts from the beginning."""
    origin = MemoryRepository()
    if action is whole_backup:
        parent_of(origin)
    expected, backup_id = (SECOND, 'two') if action is whole_backup else (FIRST, 'one')
    count = calls_of(action, origin)
    assert count > 20
    for number in range(count):
        memory = origin.copy()
        with pytest.raises(Killed):
            action(Wrapped(memory, KillAt(number, after=after)))
        if f'backups/{flows.LINEAGE}/{backup_id}' in memory.objects:
            assert flows.restored(memory, backup_id) == expected  # there is there and whole
        action(memory)
        assert flows.restored(memory, backup_id) == expected
        flows.collect(memory)
        assert flows.restored(memory, backup_id) == expected


@pytest.mark.parametrize('after', [False, True], ids=['before', 'after'])
def test_restore_killed_at_any_call_and_repeated(memory: MemoryRepository, after: bool) -> None:
    parent_of(memory)
    for number in range(calls_of(lambda repository: flows.restored(repository, 'one'), memory)):
        target = MemoryDevice(b'\xaa' * SIZE)
        broken = Wrapped(memory, KillAt(number, after=after))
        try:
            flows.restore_to(broken, target, 'one')
        except Killed:
            flows.restore_to(memory, target, 'one')
        assert target.data == FIRST


@pytest.mark.parametrize('after', [False, True], ids=['before', 'after'])
def test_killed_in_a_slice_goes_on_from_the_last_cursor(after: bool) -> None:
    def run(repository: Repository, cursor: Any, seconds_left: Callable[[], float]) -> engine.ShardResult:
        backup = engine.open_backup(repository, flows.WRAPPER, flows.LINEAGE, 'one')
        device = MemoryDevice(FIRST[:SHARD])
        return engine.backup_shard(
            device, repository, backup, 0, cursor=cursor, seconds_left=seconds_left, limits=flows.LIMITS
        )

    origin = MemoryRepository()
    flows.begin(origin, SHARD, 'one')
    first = run(origin, None, flows.countdown(6))
    for number in range(calls_of(lambda repository: run(repository, first.cursor, lambda: math.inf), origin)):
        memory = origin.copy()
        with pytest.raises(Killed):
            run(Wrapped(memory, KillAt(number, after=after)), first.cursor, lambda: math.inf)
        assert run(memory, first.cursor, lambda: math.inf).done
        flows.commit(memory, engine.open_backup(memory, flows.WRAPPER, flows.LINEAGE, 'one'))
        assert flows.restored(memory, 'one') == FIRST[:SHARD]


def test_a_repository_that_fails_fails_the_call(memory: MemoryRepository) -> None:
    """Also from a thread that puts packs: no failure is lost."""
    backup = flows.begin(memory, SIZE, 'one')

    def refuse_packs(method: str, call: Callable[[], Any]) -> Any:
        if method == 'put':
            raise RepositoryError(key='packs', reason='it is full')
        return call()

    limits = engine.Limits(pack_size=flows.LIMITS.pack_size, uploads=2)
    with pytest.raises(RepositoryError, match='it is full'):
        engine.backup_shard(MemoryDevice(FIRST), Wrapped(memory, refuse_packs), backup, 0, limits=limits)
    assert not [key for key in memory.objects if key.startswith(('packs', 'shards'))]


def test_progress_may_stop_the_work(memory: MemoryRepository) -> None:
    backup = flows.begin(memory, SIZE, 'one')

    def cancel(done: int) -> None:
        if done > 2 * BLOCK:
            raise BackupCanceled(id='one')

    with pytest.raises(BackupCanceled):
        engine.backup_shard(MemoryDevice(FIRST), memory, backup, 0, progress=cancel, limits=flows.LIMITS)


def test_many_workers_on_one_shard_give_one_manifest(memory: MemoryRepository) -> None:
    """All read, store packs and meet at the manifest; the losers' packs are garbage, and are collected."""
    workers = 4
    barrier = threading.Barrier(workers)
    key = f'shards/{flows.LINEAGE}/00000/one'

    class Meeting(MemoryRepository):
        def put(self, key_: str, data: Any, *, if_none_match: bool = False) -> None:
            if key_ == key:
                barrier.wait()
            super().put(key_, data, if_none_match=if_none_match)

    repository = Meeting()
    backup = flows.begin(repository, SHARD, 'one')
    results: list[engine.ShardResult] = []

    def work() -> None:
        results.append(flows.copy_shard(repository, MemoryDevice(FIRST[:SHARD]), backup, 0))

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == workers
    assert len(set(results)) == 1
    manifest = flows.commit(repository, backup)
    packs = [name for name in repository.objects if name.startswith('packs/')]
    assert len(packs) == workers * results[0].counts.packs
    for _ in range(2):
        flows.collect(repository)
    own = [name for name in repository.objects if name.startswith(('packs/', 'shards/'))]
    assert len(own) + 1 == manifest.object_count
    assert flows.restored(repository, 'one') == FIRST[:SHARD]


def test_workers_of_different_shards_share_nothing(memory: MemoryRepository) -> None:
    size = 6 * SHARD
    data = image(size, 4)
    backup = flows.begin(memory, size, 'one')
    errors: list[BaseException] = []

    def work(index: int) -> None:
        try:
            limits = engine.Limits(pack_size=flows.LIMITS.pack_size)
            engine.backup_shard(MemoryDevice(data), memory, backup, index, limits=limits)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    flows.commit(memory, backup)
    assert flows.restored(memory, 'one') == data
