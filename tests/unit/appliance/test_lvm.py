from __future__ import annotations

import pytest

from appliance.errors import Full, Invalid, NotFound, Unavailable
from appliance.lvm import LvmStore
from appliance.names import Key
from appliance.store import Medium
from tests.unit.appliance.fakes import FakeLvm

MIB = 1024**2
GIB = 1024**3
KEY, COPY = Key('fast', 'volume-1'), Key('slow', 'snapshot-1')


@pytest.fixture
def lvm() -> FakeLvm:
    return FakeLvm()


@pytest.fixture
def store(lvm: FakeLvm) -> LvmStore:
    return LvmStore(lvm.group, lvm.pool, lvm)


def test_a_volume_is_thin_and_tagged_with_its_pool(store: LvmStore, lvm: FakeLvm) -> None:
    store.create(KEY, GIB)
    assert store.size(KEY) == GIB
    assert store.size(Key('slow', 'volume-1')) is None
    assert store.objects('fast').keys() == {'volume-1'}
    assert store.path(KEY) == '/dev/vg/volume-1'
    assert lvm.volumes['volume-1'].tags == {'cinderless.pool.fast'}


def test_a_copy_is_a_thin_snapshot_in_its_own_pool_grown(store: LvmStore, lvm: FakeLvm) -> None:
    store.create(KEY, GIB)
    store.copy(KEY, COPY, 2 * GIB)
    assert store.size(COPY) == 2 * GIB
    assert lvm.volumes.keys() == {'volume-1', '_snapshot-1'}
    assert lvm.volumes['_snapshot-1'].tags == {'cinderless.pool.slow'}
    assert store.objects('slow').keys() == {'snapshot-1'}
    assert store.path(COPY) == '/dev/vg/_snapshot-1'


def test_a_copy_replaces_what_had_its_name(store: LvmStore, lvm: FakeLvm) -> None:
    store.create(KEY, GIB)
    store.create(COPY, GIB)
    old = lvm.volumes['_snapshot-1']
    store.copy(KEY, COPY, GIB)
    assert lvm.volumes['_snapshot-1'] is not old
    assert len(lvm.volumes) == 2


def test_grow_rename_delete(store: LvmStore, lvm: FakeLvm) -> None:
    store.create(KEY, GIB)
    for size in (2 * GIB, 2 * GIB, GIB):
        store.grow(KEY, size)
    assert store.size(KEY) == 2 * GIB
    store.rename(KEY, 'volume-2')
    for _ in range(2):
        store.delete(Key('fast', 'volume-2'))
    assert lvm.volumes == {}


@pytest.mark.parametrize(
    'output',
    [
        'Insufficient free space: 1 extents needed, but only 0 available',
        'Insufficient suitable contiguous allocatable extents for logical volume volume-2: 9 more required',
        'Free space in pool vg/thin is above threshold, new volumes are not allowed.',
    ],
)
def test_a_full_pool_is_full(store: LvmStore, lvm: FakeLvm, output: str) -> None:
    store.create(KEY, GIB)
    lvm.full = output
    with pytest.raises(Full, match=output[:20]):
        store.create(Key('fast', 'volume-2'), GIB)
    with pytest.raises(Full):
        store.grow(KEY, 2 * GIB)
    assert store.size(KEY) == GIB


def test_other_failures_are_told_apart(store: LvmStore, lvm: FakeLvm) -> None:
    with pytest.raises(NotFound):
        store.rename(KEY, 'volume-2')
    with pytest.raises(NotFound):
        store.copy(KEY, COPY, GIB)
    store.create(KEY, GIB)
    with pytest.raises(Unavailable, match='already exists'):
        store.create(KEY, GIB)


def test_volumes_of_others_are_none_of_ours(store: LvmStore, lvm: FakeLvm) -> None:
    store.create(KEY, GIB)
    lvm.volumes['root'] = type(lvm.volumes['volume-1'])(GIB, {'foreign'})
    assert store.objects('fast').keys() == {'volume-1'}
    store.recover()
    assert 'root' in lvm.volumes


def test_a_host_that_comes_up_without_its_devices_gets_them(store: LvmStore, lvm: FakeLvm) -> None:
    store.create(KEY, GIB)
    store.copy(KEY, COPY, GIB)
    for volume in lvm.volumes.values():
        volume.active = False
    lvm.volumes['root'] = type(lvm.volumes['volume-1'])(GIB, {'foreign'}, active=False)
    store.recover()
    assert {name for name, volume in lvm.volumes.items() if volume.active} == {'volume-1', '_snapshot-1'}


def test_a_pool_that_shows_old_data_is_refused(store: LvmStore, lvm: FakeLvm) -> None:
    lvm.zeroes = False
    with pytest.raises(Invalid, match='lvchange --zero y vg/thin'):
        store.recover()


def test_the_medium_is_the_thin_pool(store: LvmStore) -> None:
    assert store.medium() == Medium(64 * GIB, 48 * GIB)


def commands_of_a_replacement() -> int:
    lvm = FakeLvm()
    store = LvmStore(lvm.group, lvm.pool, lvm)
    store.create(KEY, GIB)
    store.create(COPY, 2 * GIB)
    before = len(lvm.commands)
    store.copy(KEY, COPY, 2 * GIB)
    return len(lvm.commands) - before


@pytest.mark.parametrize('survived', range(commands_of_a_replacement()))
def test_a_replacement_that_a_crash_cut_off_is_finished_or_undone(store: LvmStore, lvm: FakeLvm, survived: int) -> None:
    """The volume is there before and after, old or new; nothing half-made stays."""
    store.create(KEY, GIB)
    store.create(COPY, 2 * GIB)
    old = lvm.volumes['_snapshot-1']
    lvm.die_before = iter(range(survived, -1, -1))
    with pytest.raises(KeyboardInterrupt):
        store.copy(KEY, COPY, 2 * GIB)
    lvm.die_before = None
    store.recover()
    assert lvm.volumes.keys() == {'volume-1', '_snapshot-1'}
    assert lvm.volumes['_snapshot-1'].size == 2 * GIB
    store.copy(KEY, COPY, 2 * GIB)
    assert lvm.volumes['_snapshot-1'] is not old


def test_a_command_that_hangs_or_cannot_be_started_is_unavailable(lvm: FakeLvm) -> None:
    """Not a fault of the agent: the request may be repeated."""

    def hangs(command: tuple[str, ...]) -> tuple[int, str, str]:
        raise OSError(f'{command[0]} did not end within 60 s')

    with pytest.raises(Unavailable, match='did not end within'):
        LvmStore(lvm.group, lvm.pool, hangs).create(KEY, GIB)


class Failing:
    """Runs lvm2's commands until the given one; that one and those after it fail, done or not, until ``repair``."""

    def __init__(self, lvm: FakeLvm, at: int, done: bool) -> None:
        self._lvm, self._left, self._done = lvm, at, done

    def __call__(self, command: tuple[str, ...]) -> tuple[int, str, str]:
        self._left -= 1
        if self._left >= 0:
            return self._lvm(command)
        if self._left == -1 and self._done:
            self._lvm(command)
        return 5, '', '  /dev/vg: Locking failed'

    def repair(self) -> None:
        self._left = 10**6


@pytest.mark.parametrize('done', [False, True])
def test_a_replacement_that_fails_is_finished_or_undone_without_a_start(done: bool) -> None:
    """Between two of its steps the volume has no name: it must not look deleted, nor stay so."""
    outcomes = set()
    for at in range(100):
        lvm = FakeLvm()
        failing = Failing(lvm, 10**6, done)
        store = LvmStore(lvm.group, lvm.pool, failing)
        store.create(KEY, GIB)
        store.create(COPY, GIB)
        old = lvm.volumes['volume-1']
        failing._left = at
        try:
            store.copy(COPY, KEY, GIB)
        except Unavailable:
            with pytest.raises(Unavailable):
                store.size(KEY)
            failing.repair()
        else:
            break
        assert store.size(KEY) == GIB
        assert lvm.volumes.keys() == {'volume-1', '_snapshot-1'}
        outcomes.add(lvm.volumes['volume-1'] is old)
        store.copy(COPY, KEY, GIB)
    assert at > 8
    assert outcomes == {True, False}
