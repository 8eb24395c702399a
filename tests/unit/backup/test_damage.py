"""Every kind of damage to every object of a backup: always noticed, and never a wrong byte on the target."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.backup import engine
from chalicelib.backup.manifests import load_shard
from chalicelib.errors import BackupError, CinderlessError
from tests.run_statistics import Counting
from tests.unit.backup import flows
from tests.unit.backup.fakes import MemoryDevice, MemoryRepository, image

BLOCK, SHARD = flows.GEOMETRY.block_size, flows.GEOMETRY.shard_size
SIZE = 2 * SHARD + BLOCK + 512


def make_repository() -> tuple[MemoryRepository, dict[str, bytes]]:
    """A chain of three in which shards are full, changed, unchanged, and grown."""
    memory, contents = MemoryRepository(), {}
    data = image(SIZE - BLOCK, 1)
    for number, change in enumerate((b'', b'first change', b'second change')):
        data[SHARD : SHARD + 512] = change.ljust(512, b'.')
        if number == 2:
            data += image(BLOCK, 2, 512)
        flows.back_up(memory, data, f'b{number}', f'b{number - 1}' if number else None)
        contents[f'b{number}'] = bytes(data)
    return memory, contents


PRISTINE, CONTENTS = make_repository()
OBJECTS = sorted(PRISTINE.objects)


def needed_by(backup_id: str) -> list[str]:
    """The objects whose loss breaks a backup: found by taking each away."""
    needed = []
    for key in OBJECTS:
        memory = PRISTINE.copy()
        memory.delete([key])
        try:
            flows.restored(memory, backup_id)
        except BackupError:
            needed.append(key)
    return needed


def frames_of(backup_id: str) -> Iterator[tuple[int, str, int, int]]:
    """(block, pack's key, first byte, last byte) of every stored block."""
    manifest = flows.load(PRISTINE, backup_id)
    for index, ref in enumerate(manifest.shards):
        listing = load_shard(PRISTINE, manifest, index, ref)
        for block, entry in listing.stored(0, listing.blocks):
            yield block, listing.packs[entry.pack].key, entry.offset, entry.offset + entry.length - 1


NEEDED = {backup_id: needed_by(backup_id) for backup_id in CONTENTS}


def restore_checked(memory: MemoryRepository, backup_id: str) -> None:
    """Restore; whatever happens, all that was written is right."""
    expected = CONTENTS[backup_id]
    target = MemoryDevice(b'\xaa' * len(expected))
    try:
        flows.restore_to(memory, target, backup_id)
    finally:
        for offset, length in target.writes + target.zeroed:
            assert target.data[offset : offset + length] == expected[offset : offset + length]
    assert target.data == expected


def scrub(memory: MemoryRepository, backup_id: str) -> None:
    result = engine.verify_backup(memory, flows.load(memory, backup_id), limits=flows.LIMITS)
    if result.damaged:
        assert result.damage
        raise BackupError(reason=result.damage[0])


def copy(memory: MemoryRepository, backup_id: str) -> None:
    """To an empty place: nothing damaged is committed there."""
    target = MemoryRepository()
    try:
        engine.copy_backup(
            memory, target, flows.load(memory, backup_id), flows.WRAPPER, flows.WRAPPER, limits=flows.LIMITS
        )
    finally:
        assert flows.backup_key(flows.LINEAGE, backup_id) not in target.objects


def bit_flips(data: bytes, key: str) -> Iterator[bytes]:
    """At both ends of every block in a pack that b2 still needs, and all over anything else."""
    frames = [(first, last) for _, pack, first, last in frames_of('b2') if pack == key]
    ends = [position for frame in frames for position in frame]
    for position in ends or range(0, len(data), 1 + len(data) // 50):
        for bit in (0, 7):
            yield data[:position] + bytes([data[position] ^ 1 << bit]) + data[position + 1 :]


def truncations(data: bytes, key: str) -> Iterator[bytes]:
    yield from (data[:length] for length in {0, 1, len(data) // 2, len(data) - 1})


def extra_bytes(data: bytes, key: str) -> Iterator[bytes]:
    yield from (data + b'\0', data + b'\n', data + data, b'\0' + data)


def swapped(data: bytes, key: str) -> Iterator[bytes]:
    """Any other object in its place."""
    yield from (other for name, other in PRISTINE.objects.items() if name != key and other != data)


def replayed(data: bytes, key: str) -> Iterator[bytes]:
    """What another backup of the chain has in its place: of the same kind, and of the same shard if it is of one."""
    place = '/'.join(key.split('/')[: 2 if key.startswith('backups/') else 3])
    yield from (other for name, other in PRISTINE.objects.items() if name.startswith(f'{place}/') and other != data)


def missing(data: bytes, key: str) -> Iterator[None]:
    yield None


@pytest.mark.parametrize('check', [restore_checked, scrub, copy])
@pytest.mark.parametrize('fault', [bit_flips, truncations, extra_bytes, swapped, replayed, missing])
def test_damage_is_always_noticed(
    fault: Callable[[bytes, str], Iterator[bytes | None]],
    check: Callable[[MemoryRepository, str], None],
    counted: Counting,
) -> None:
    objects, cases = set(), 0
    for backup_id, needed in NEEDED.items():
        for key in needed:
            for damaged in fault(PRISTINE.objects[key], key):
                objects.add(key)
                cases += 1
                memory = PRISTINE.copy()
                memory.delete([key])
                if damaged is not None:
                    memory.put(key, damaged)
                with pytest.raises(CinderlessError):
                    check(memory, backup_id)
    counted(f'damage noticed by {check.__name__.removesuffix("_checked")}: {fault.__name__.replace("_", " ")}', cases)
    assert objects == {key for keys in NEEDED.values() for key in keys}


def test_the_matrix_covers_every_kind_of_object() -> None:
    kinds = {key.split('/')[0] for keys in NEEDED.values() for key in keys}
    assert kinds == {'backups', 'shards', 'packs'}
    assert [key for key in NEEDED['b2'] if key.endswith('/b0')], 'the chain shares an older listing'


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_any_change_of_any_object_writes_no_wrong_byte(data: st.DataObject) -> None:
    """Bytes outside all blocks of this backup may change unseen: what is restored is right all the same."""
    key = data.draw(st.sampled_from(OBJECTS))
    memory = PRISTINE.copy()
    content = bytearray(memory.objects[key])
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] ^= data.draw(st.integers(1, 255))
    memory.put(key, content)
    with contextlib.suppress(CinderlessError):
        restore_checked(memory, data.draw(st.sampled_from(sorted(CONTENTS))))


@pytest.mark.parametrize('fault', [bit_flips, truncations, extra_bytes, swapped])
def test_a_damaged_intent_or_progress_stops_the_backup(
    fault: Callable[[bytes, str], Iterator[bytes | None]],
) -> None:
    origin = PRISTINE.copy()
    data = CONTENTS['b2']
    backup = flows.begin(origin, len(data), 'b3', 'b2')
    result = engine.backup_shard(
        MemoryDevice(data), origin, backup, 0, seconds_left=flows.countdown(3), limits=flows.LIMITS
    )
    assert result.cursor
    for key in (f'running/{flows.LINEAGE}/b3', str(result.cursor['partial'])):
        for damaged in fault(origin.objects[key], key):
            memory = origin.copy()
            memory.put(key, damaged or b'')
            with pytest.raises(CinderlessError):
                go_on(memory, data, result.cursor)


def go_on(memory: MemoryRepository, data: bytes, cursor: dict[str, int | str]) -> None:
    backup = engine.open_backup(memory, flows.WRAPPER, flows.LINEAGE, 'b3')
    engine.backup_shard(MemoryDevice(data), memory, backup, 0, cursor=cursor, limits=flows.LIMITS)


def test_a_damaged_parent_stops_the_incremental() -> None:
    memory = PRISTINE.copy()
    key = f'shards/{flows.LINEAGE}/00001/b2'
    memory.put(key, memory.objects[key][:-1])
    with pytest.raises(BackupError, match=key):
        flows.back_up(memory, CONTENTS['b2'], 'b3', 'b2')


def test_a_scrub_counts_and_goes_on() -> None:
    memory = PRISTINE.copy()
    packs = [key for key in OBJECTS if key.startswith(f'packs/{flows.LINEAGE}/00000/b0')]
    memory.delete(packs[:1])
    flipped = bytearray(memory.objects[packs[1]])
    flipped[40] ^= 1
    memory.put(packs[1], flipped)
    result = engine.verify_backup(memory, flows.load(memory, 'b0'), limits=flows.LIMITS)
    assert result.done
    assert result.checked == 33
    broken = [
        (pack, first) for _, pack, first, _ in frames_of('b0') if pack == packs[0] or (pack, first) == (packs[1], 0)
    ]
    assert {packs[0] in message for message in result.damage} == {True, False}
    assert result.damaged == len(broken) > 2
    memory.delete([f'shards/{flows.LINEAGE}/00001/b0'])
    assert engine.verify_backup(memory, flows.load(memory, 'b0'), limits=flows.LIMITS).damaged == len(broken) + 16


def test_another_key_opens_nothing() -> None:
    other = flows.RecoveryKeyWrapper.from_private(b'q' * 32)
    key = f'backups/{flows.LINEAGE}/b0'
    with pytest.raises(CinderlessError, match='data key'):
        engine.load_backup(PRISTINE, other, key)


def test_a_later_format_is_refused_by_name() -> None:
    memory = PRISTINE.copy()
    key = f'backups/{flows.LINEAGE}/b0'
    memory.put(key, memory.objects[key].replace(b'cinderless-backup-1', b'cinderless-backup-9'))
    with pytest.raises(BackupError, match=r"'cinderless-backup-9', and this release reads 'cinderless-backup-1'"):
        flows.load(memory, 'b0')


def test_a_sample_finds_damage_in_time_and_reads_its_part() -> None:
    """Each scrub draws a new sample; one in several calls keeps to what it drew."""
    memory, limits = PRISTINE.copy(), dataclasses.replace(flows.LIMITS, step_blocks=1)
    manifest = flows.load(memory, 'b2')
    blocks = sum(manifest.geometry.blocks(shard) for shard in engine.plan(manifest.size, manifest.geometry))
    checked = [engine.verify_backup(memory, manifest, sample=25, limits=limits).checked for _ in range(40)]
    assert all(1 <= count < blocks for count in checked)
    assert 0.1 < sum(checked) / len(checked) / blocks < 0.5
    assert engine.verify_backup(memory, manifest, sample=100, limits=limits).checked == blocks
    pack = next(key for key in memory.objects if key.startswith('packs/'))
    memory.objects[pack] = bytes(len(memory.objects[pack]))
    assert any(engine.verify_backup(memory, manifest, sample=25, limits=limits).damaged for _ in range(200))
    cursor, together = None, 0
    while True:
        result = engine.verify_backup(
            memory, manifest, sample=50, limits=limits, cursor=cursor, seconds_left=flows.countdown(0)
        )
        together, cursor = together + result.checked, result.cursor
        if result.done:
            break
    assert 1 <= together < blocks
