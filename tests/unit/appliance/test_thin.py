"""What differs between two thin volumes: the real thin_delta on metadata that thin_restore makes, and the steps before.

No live thin pool is tested: that needs a kernel with device-mapper.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from appliance import thin
from appliance.errors import NotComparable
from appliance.lvm import LvmStore
from appliance.names import Key
from tests.unit.appliance.fakes import FakeLvm

KIB, GIB = 1024, 1024**3

#: Bytes of a block of the pool: 128 sectors.
BLOCK = 64 * KIB

#: Device 2 is a snapshot of 1, which then had block 50 written again, and 300 to 302 for the first time.
METADATA = """<superblock uuid="" time="2" transaction="3" data_block_size="128" nr_data_blocks="4096">
  <device dev_id="1" mapped_blocks="103" transaction="0" creation_time="0" snap_time="2">
    <range_mapping origin_begin="0" data_begin="0" length="50" time="0"/>
    <single_mapping origin_block="50" data_block="200" time="2"/>
    <range_mapping origin_begin="51" data_begin="51" length="49" time="0"/>
    <range_mapping origin_begin="300" data_begin="300" length="3" time="2"/>
  </device>
  <device dev_id="2" mapped_blocks="100" transaction="1" creation_time="1" snap_time="1">
    <range_mapping origin_begin="0" data_begin="0" length="100" time="0"/>
  </device>
</superblock>
"""

NEW, OLD = Key('fast', 'snapshot-2'), Key('fast', 'snapshot-1')


@pytest.fixture(scope='module')
def metadata(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('metadata')
    (folder / 'thin.xml').write_text(METADATA)
    with (folder / 'metadata').open('wb') as file:
        file.truncate(4 << 20)
    subprocess.run(['thin_restore', '-i', folder / 'thin.xml', '-o', folder / 'metadata'], check=True)
    return folder / 'metadata'


def delta(metadata: Path, first: int, second: int) -> str:
    command = ['thin_delta', '--snap1', str(first), '--snap2', str(second), metadata]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def blocks(*found: tuple[int, int]) -> list[tuple[int, int]]:
    return [(start * BLOCK, stop * BLOCK) for start, stop in found]


@pytest.mark.parametrize(('first', 'second'), [(1, 2), (2, 1)])
def test_blocks_that_are_mapped_differently(metadata: Path, first: int, second: int) -> None:
    found = delta(metadata, first, second)
    assert list(thin.differences(found, 0, GIB)) == blocks((50, 51), (300, 303))
    assert list(thin.differences(found, 50 * BLOCK + 5, 302 * BLOCK)) == [
        (50 * BLOCK + 5, 51 * BLOCK),
        (300 * BLOCK, 302 * BLOCK),
    ]
    assert list(thin.differences(found, 51 * BLOCK, 300 * BLOCK)) == []


def test_a_device_does_not_differ_from_itself(metadata: Path) -> None:
    assert list(thin.differences(delta(metadata, 1, 1), 0, GIB)) == []


@pytest.mark.parametrize(
    'output',
    ['', 'no current metadata snap', '<superblock/>', '<superblock data_block_size="128"/>',
     '<superblock data_block_size="128"><diff><unheard_of begin="0" length="1"/></diff></superblock>',
     '<superblock data_block_size="128"><diff><different begin="0"/></diff></superblock>'],
)  # fmt: skip
def test_output_that_is_not_understood(output: str) -> None:
    with pytest.raises(NotComparable):
        list(thin.differences(output, 0, GIB))


class TestPool:
    @pytest.fixture
    def lvm(self, metadata: Path) -> FakeLvm:
        lvm = FakeLvm()
        lvm.deltas['3', '2'] = delta(metadata, 1, 2)
        return lvm

    @pytest.fixture
    def store(self, lvm: FakeLvm) -> LvmStore:
        store = LvmStore(lvm.group, lvm.pool, lvm)
        store.create(Key('fast', 'volume-1'), GIB)
        for snapshot in (OLD, NEW):
            store.copy(Key('fast', 'volume-1'), snapshot, GIB)
        return store

    def test_it_is_read_through_a_metadata_snapshot(self, store: LvmStore, lvm: FakeLvm) -> None:
        assert store.compares()
        assert list(store.changes(NEW, OLD, 0, GIB)) == blocks((50, 51), (300, 303))
        assert not lvm.reserved

    def test_what_a_crash_left_reserved_is_released(self, store: LvmStore, lvm: FakeLvm) -> None:
        """An old metadata snapshot would show an old state, in which an id may be another volume's."""
        lvm.reserved = True
        assert list(store.changes(NEW, OLD, 0, GIB)) == blocks((50, 51), (300, 303))
        assert not lvm.reserved

    def test_a_failure_means_that_nothing_is_known(self, store: LvmStore, lvm: FakeLvm) -> None:
        lvm.deltas.clear()
        with pytest.raises(NotComparable, match='no current metadata snap'):
            store.changes(NEW, OLD, 0, GIB)
        assert not lvm.reserved
        with pytest.raises(NotComparable):
            store.changes(NEW, Key('fast', 'snapshot-9'), 0, GIB)

    def test_a_host_without_the_tools(self, store: LvmStore, lvm: FakeLvm) -> None:
        lvm.tools = False
        assert not store.compares()
        with pytest.raises(NotComparable, match='dmsetup'):
            store.changes(NEW, OLD, 0, GIB)


def test_names_of_devices() -> None:
    """As ``dmsetup ls`` shows them: a '-' within a name is doubled."""
    assert thin.device('vg-1', 'thin-pool') == 'vg--1-thin--pool'
