"""What differs between two snapshots on a real XFS, against their bytes.

``CHANGES_MODEL_EXAMPLES`` sets the number of histories (30); 1,000 take some minutes.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from appliance import extents
from appliance.errors import NotComparable
from appliance.files import FileStore
from appliance.names import Key
from tests.block_devices import file_system

BLOCK = 4096
KIB, MIB = 1024, 1024**2

EXAMPLES = int(os.environ.get('CHANGES_MODEL_EXAMPLES', '30'))

#: Bytes of a new volume, and the most that one grows to.
SIZE, LARGEST = MIB, 2 * MIB

#: fallocate(2): free blocks, or make them read as zeroes without freeing them.
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 0x01, 0x02, 0x10

_libc = ctypes.CDLL(None, use_errno=True)


def fallocate(file: int, mode: int, offset: int, length: int) -> None:
    if _libc.fallocate(file, mode, ctypes.c_long(offset), ctypes.c_long(length)) != 0:
        raise OSError(ctypes.get_errno(), 'fallocate')


@pytest.fixture(scope='module')
def xfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with file_system('xfs', tmp_path_factory.mktemp('xfs') / 'store', 0) as folder:
        yield folder


@pytest.fixture
def store(xfs: Path, request: pytest.FixtureRequest) -> FileStore:
    return FileStore(xfs / request.node.name.partition('[')[0], ['fast'])


def key(number: int, kind: str = 'snapshot') -> Key:
    return Key('fast', f'{kind}-{number}')


VOLUME = key(1, 'volume')


def changed(store: FileStore, new: Key, old: Key, stop: int = 0) -> list[tuple[int, int]]:
    return list(extents.joined(store.changes(new, old, 0, stop or store.size(new) or 0)))


def write(store: FileStore, which: Key, offset: int, data: bytes) -> None:
    with Path(store.path(which)).open('r+b', buffering=0) as file:
        os.pwrite(file.fileno(), data, offset)


def test_what_was_written_is_listed_and_the_rest_is_not(store: FileStore) -> None:
    store.create(VOLUME, 1024 * MIB)
    write(store, VOLUME, 0, os.urandom(MIB))
    store.copy(VOLUME, key(1), 0)
    for offset in (5, 512 * KIB, 900 * MIB):
        write(store, VOLUME, offset, b'x')
    store.copy(VOLUME, key(2), 0)
    assert changed(store, key(2), key(1)) == [
        (offset // BLOCK * BLOCK, offset // BLOCK * BLOCK + BLOCK) for offset in (5, 512 * KIB, 900 * MIB)
    ]
    assert list(store.changes(key(2), key(1), BLOCK, 513 * KIB)) == [(512 * KIB, 513 * KIB)]
    store.copy(key(1), VOLUME, 0)
    store.copy(VOLUME, key(3), 0)
    assert changed(store, key(3), key(1)) == []


def test_what_only_one_file_has(store: FileStore) -> None:
    """Blocks that the volume has overwritten are left to the snapshot alone."""
    store.create(VOLUME, 8 * MIB)
    write(store, VOLUME, 0, os.urandom(4 * MIB))
    store.copy(VOLUME, key(1), 0)
    assert store.exclusive(key(1)) == 0
    write(store, VOLUME, MIB, os.urandom(MIB))
    store.flush(VOLUME)
    assert store.exclusive(key(1)) == MIB


def test_more_extents_than_one_call_returns(store: FileStore) -> None:
    store.create(VOLUME, 64 * MIB)
    store.copy(VOLUME, key(1), 0)
    with Path(store.path(VOLUME)).open('r+b', buffering=0) as file:
        for offset in range(0, 48 * MIB, 2 * BLOCK):
            os.pwrite(file.fileno(), b'x' * BLOCK, offset)
    store.copy(VOLUME, key(2), 0)
    assert changed(store, key(2), key(1)) == [(offset, offset + BLOCK) for offset in range(0, 48 * MIB, 2 * BLOCK)]


def test_a_windows_border_joins(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extents, '_WINDOW', 2 * BLOCK)
    store.create(VOLUME, MIB)
    store.copy(VOLUME, key(1), 0)
    write(store, VOLUME, BLOCK, b'x' * 3 * BLOCK)
    store.copy(VOLUME, key(2), 0)
    assert changed(store, key(2), key(1)) == [(BLOCK, 4 * BLOCK)]


def test_blocks_that_move_during_the_comparison(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """As xfs_fsr and a dedupe do: the older file's map must be of the same time as the newer one's."""
    store.create(VOLUME, MIB)
    write(store, VOLUME, 0, b'x' * MIB)
    store.copy(VOLUME, key(1), 0)
    store.copy(VOLUME, key(2), 0)
    read, number = extents.pieces, iter(range(3))

    def moving(file: int, start: int, stop: int) -> Iterator[extents.Piece]:
        if next(number) == 2:
            write(store, key(1), 0, b'x' * BLOCK)
        return read(file, start, stop)

    monkeypatch.setattr(extents, 'pieces', moving)
    with pytest.raises(NotComparable, match='moved'):
        changed(store, key(2), key(1))


@pytest.mark.parametrize('flag', [0x2, 0x4, 0x8, 0x80, 0x100, 0x200, 0x400, 0x4000])
def test_an_extent_that_is_not_where_it_seems(store: FileStore, monkeypatch: pytest.MonkeyPatch, flag: int) -> None:
    monkeypatch.setattr(extents, '_extents', lambda *_: iter([(0, MIB, BLOCK, flag)]))
    store.create(VOLUME, MIB)
    with pytest.raises(NotComparable, match='flags'):
        changed(store, VOLUME, VOLUME)


def test_other_file_systems_are_not_compared(tmp_path: Path) -> None:
    with file_system('ext4', tmp_path / 'ext4', 64 * MIB) as folder:
        plain = FileStore(folder, ['fast'])
        plain.create(VOLUME, MIB)
        assert not plain.compares()
        with pytest.raises(NotComparable):
            changed(plain, VOLUME, VOLUME)


def test_the_last_block_of_a_file(store: FileStore) -> None:
    """FIEMAP reports whole blocks; a file may end within one."""
    store.create(VOLUME, 10 * BLOCK + 512)
    write(store, VOLUME, 0, b'x' * (10 * BLOCK + 512))
    store.copy(VOLUME, key(1), 0)
    write(store, VOLUME, 10 * BLOCK, b'y')
    store.copy(VOLUME, key(2), 0)
    assert changed(store, key(2), key(1)) == [(10 * BLOCK, 10 * BLOCK + 512)]


@dataclasses.dataclass
class History:
    """Counts what the model saw, over all of its histories."""

    compared: int = 0
    blocks: int = 0
    listed: int = 0
    different: int = 0


class ChangesModel(RuleBasedStateMachine):
    """Volumes and snapshots in any order of verbs; each pair of snapshots that exist is compared at the end of a step.

    Blocks that are listed and equal are allowed, and counted; one that differs and is not listed fails.
    """

    def __init__(self, folder: Path, history: History) -> None:
        super().__init__()
        self.store = FileStore(folder, ['fast'])
        self.history = history
        self.volumes: list[Key] = []
        self.snapshots: list[Key] = []
        self.made = 0

    def new(self, kind: str) -> Key:
        self.made += 1
        return key(self.made, kind)

    @initialize(seed=st.integers(0, 2**16))
    def first(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.volumes.append(self.new('volume'))
        self.store.create(self.volumes[0], SIZE)

    def volume(self, number: int) -> Key:
        return self.volumes[number % len(self.volumes)]

    def place(self, volume: Key, aligned: bool) -> int:
        size = self.store.size(volume) or 0
        return self.random.randrange(size) // (BLOCK if aligned else 1) * (BLOCK if aligned else 1)

    @rule(number=st.integers(0, 9), aligned=st.booleans(), length=st.sampled_from([1, 512, BLOCK, 5000, 128 * KIB]))
    def write(self, number: int, aligned: bool, length: int) -> None:
        volume = self.volume(number)
        offset = self.place(volume, aligned)
        end = min(offset + length, self.store.size(volume) or 0)
        write(self.store, volume, offset, self.random.randbytes(end - offset))

    @rule(number=st.integers(0, 9), length=st.sampled_from([512, BLOCK, 64 * KIB]))
    def write_the_same_or_zeroes(self, number: int, length: int) -> None:
        volume = self.volume(number)
        offset = self.place(volume, True)
        with Path(self.store.path(volume)).open('rb') as file:
            data = os.pread(file.fileno(), length, offset)
        write(self.store, volume, offset, data if self.random.random() < 0.5 else bytes(len(data)))

    @rule(number=st.integers(0, 9), aligned=st.booleans(), length=st.sampled_from([1024, BLOCK, 100 * KIB]),
          mode=st.sampled_from([PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE | KEEP_SIZE, KEEP_SIZE]))  # fmt: skip
    def discard(self, number: int, aligned: bool, length: int, mode: int) -> None:
        """As tgtd does for UNMAP and WRITE SAME, and preallocation."""
        volume = self.volume(number)
        with Path(self.store.path(volume)).open('r+b') as file:
            fallocate(file.fileno(), mode, self.place(volume, aligned), length)

    @rule(number=st.integers(0, 9), more=st.sampled_from([512, BLOCK, 200 * KIB]))
    def extend(self, number: int, more: int) -> None:
        volume = self.volume(number)
        self.store.grow(volume, min((self.store.size(volume) or 0) + more, LARGEST))

    @rule(number=st.integers(0, 9))
    def sync(self, number: int) -> None:
        self.store.flush(self.volume(number))

    @rule(number=st.integers(0, 9))
    def snapshot(self, number: int) -> None:
        self.snapshots.append(self.new('snapshot'))
        self.store.copy(self.volume(number), self.snapshots[-1], 0)
        if len(self.snapshots) > 4:
            self.store.delete(self.snapshots.pop(0))

    @rule(number=st.integers(0, 9), which=st.integers(0, 9))
    def revert(self, number: int, which: int) -> None:
        if self.snapshots:
            volume = self.volume(number)
            self.store.copy(self.snapshots[which % len(self.snapshots)], volume, self.store.size(volume) or 0)

    @rule(number=st.integers(0, 9), which=st.integers(0, 9))
    def clone(self, number: int, which: int) -> None:
        source = self.snapshots[which % len(self.snapshots)] if self.snapshots and which % 2 else self.volume(number)
        self.volumes.append(self.new('volume'))
        self.store.copy(source, self.volumes[-1], 0)
        if len(self.volumes) > 3:
            self.store.delete(self.volumes.pop(0))

    @rule(which=st.integers(0, 9))
    def delete_snapshot(self, which: int) -> None:
        if self.snapshots:
            self.store.delete(self.snapshots.pop(which % len(self.snapshots)))

    @invariant()
    def the_newest_is_compared_with_all(self) -> None:
        for old in self.snapshots[:-1]:
            self.compare(self.snapshots[-1], old)

    def compare(self, new: Key, old: Key) -> None:
        one, other = (Path(self.store.path(which)).read_bytes() for which in (new, old))
        end = min(len(one), len(other))
        found = changed(self.store, new, old, end)
        assert found == sorted(found)
        blocks = range(0, end, BLOCK)
        listed = {block for start, stop in found for block in range(start // BLOCK * BLOCK, stop, BLOCK)}
        one, other = one[:end], other[:end]
        different = {at for at in blocks if one[at : at + BLOCK] != other[at : at + BLOCK]}
        assert different <= listed
        self.history.compared += 1
        self.history.blocks += len(blocks)
        self.history.listed += len(listed)
        self.history.different += len(different)

    def teardown(self) -> None:
        for which in [*self.volumes, *self.snapshots]:
            self.store.delete(which)


def test_model(xfs: Path, repeatable: None) -> None:
    """No byte is missed, and little that is equal is listed."""
    history = History()

    class Bound(ChangesModel):
        def __init__(self) -> None:
            super().__init__(xfs / 'model', history)

    wanted = settings(
        max_examples=EXAMPLES, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(seed(1)(Bound), settings=wanted)
    print(f'{EXAMPLES} histories: {history}')
    assert history.compared > EXAMPLES
    assert 0 < history.different <= history.listed <= history.blocks // 4


def test_two_files_that_share_nothing(store: FileStore) -> None:
    """Two plain copies of the same bytes: all is listed, since only shared blocks prove equality."""
    store.create(VOLUME, MIB)
    write(store, VOLUME, 0, b'x' * MIB)
    store.create(key(1), MIB)
    write(store, key(1), 0, b'x' * MIB)
    assert changed(store, VOLUME, key(1)) == [(0, MIB)]
