"""The block device against a model of it, over every negotiation a target may choose."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.device import BlockDevice, Extent
from chalicelib.errors import CheckCondition, DeviceError, InvalidRange
from chalicelib.iscsi import IscsiDevice
from chalicelib.iscsi.transfers import Buffers
from tests.unit.iscsi.conftest import connect
from tests.unit.iscsi.fake_disk import BLOCK, Disk, sense
from tests.unit.iscsi.fake_target import Double, hang_up, once

BLOCKS = 1024
SIZE = BLOCKS * BLOCK
MIB = 1024**2

lengths = st.sampled_from([512, 1000, 4096, 8192, 65536, 262144, 1048576])
yes_no = st.sampled_from(['Yes', 'No'])

targets: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict[str, Any],
    answers=st.fixed_dictionaries(
        {},
        optional={
            'MaxRecvDataSegmentLength': lengths.map(str),
            'FirstBurstLength': lengths.filter(lambda length: length <= 262144).map(str),
            'MaxBurstLength': lengths.map(str),
            'InitialR2T': yes_no,
            'ImmediateData': yes_no,
        },
    ),
    declares=st.sampled_from([{}, {'TargetAlias': 'volume', 'X-org.example.key': '1', 'OFMarker': 'No'}]),
    segment=st.sampled_from([512, 4096, 5000, 262144]),
    window=st.integers(1, 12),
    status_apart=st.booleans(),
    in_random_order=st.none() | st.integers(0, 1000).map(random.Random),
)

disks = st.builds(
    Disk,
    blocks=st.just(BLOCKS),
    thin=st.booleans(),
    reads_zeroes=st.booleans(),
    write_same=st.booleans(),
    unmap=st.booleans(),
    lba_status=st.booleans(),
    vital_data=st.booleans(),
    most_transfer=st.sampled_from([0, 7, 100, 5000]),
    most_write_same=st.sampled_from([0, 64]),
    most_unmap=st.sampled_from([0, 64]),
    granularity=st.sampled_from([0, 8]),
)

ranges = st.builds(
    lambda start, count: (start * BLOCK, min(count, BLOCKS - start) * BLOCK),
    st.integers(0, BLOCKS),
    st.integers(0, 800),
)
operations = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(['read', 'write', 'zero', 'allocated']), ranges),
        st.tuples(st.sampled_from(['read_many', 'write_many', 'copy']), st.lists(ranges, max_size=6)),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(parameters=targets, disk=disks, queue_depth=st.integers(1, 9), steps=operations, seed=st.integers(0, 99))
def test_a_device_is_an_array_of_bytes(
    parameters: dict[str, Any], disk: Disk, queue_depth: int, steps: list[tuple[str, Any]], seed: int
) -> None:
    """Whatever is negotiated, in whatever order answers come: what is read is what was written, and no rule broken."""
    model = Model(seed)
    with Double(disk, **parameters) as target:
        with connect(target, queue_depth=queue_depth) as device:
            for verb, argument in steps:
                getattr(model, verb)(device, argument)
            assert device.read(0, SIZE) == model.data
            device.flush()
        assert disk.data == model.data
        assert target.violations == []


class Model:
    """What a device does, on plain memory."""

    def __init__(self, seed: int) -> None:
        self.data = bytearray(SIZE)
        self._chance = random.Random(seed)

    def read(self, device: IscsiDevice, span: tuple[int, int]) -> None:
        offset, length = span
        assert device.read(offset, length) == self.data[offset : offset + length]

    def write(self, device: IscsiDevice, span: tuple[int, int]) -> None:
        offset, length = span
        data = self._chance.randbytes(length)
        device.write(offset, data)
        self.data[offset : offset + length] = data

    def zero(self, device: IscsiDevice, span: tuple[int, int]) -> None:
        offset, length = span
        device.zero(offset, length)
        self.data[offset : offset + length] = bytes(length)

    def allocated(self, device: IscsiDevice, span: tuple[int, int]) -> None:
        """What is not yielded is zero; what is, is in order, apart from each other and inside the range."""
        end, (offset, length) = -1, span
        for start, size in device.allocated(offset, length):
            assert end < start
            assert offset <= start < start + size <= offset + length
            assert not any(self.data[max(end, offset) : start])
            end = start + size
        assert not any(self.data[max(end, offset) : offset + length])

    def read_many(self, device: IscsiDevice, spans: list[tuple[int, int]]) -> None:
        expected = [(offset, bytes(self.data[offset : offset + length])) for offset, length in spans]
        assert [(offset, bytes(view)) for offset, view in device.read_many(spans)] == expected

    def write_many(self, device: IscsiDevice, spans: list[tuple[int, int]]) -> None:
        """The memory of an extent is used again as soon as the next one is requested."""
        scratch = memoryview(bytearray(SIZE))

        def extents() -> Iterator[Extent]:
            for offset, length in spans:
                data = self._chance.randbytes(length)
                scratch[:length] = data
                self.data[offset : offset + length] = data
                yield offset, scratch[:length] if self._chance.random() < 0.7 else memoryview(data)

        device.write_many(extents())

    def copy(self, device: IscsiDevice, spans: list[tuple[int, int]]) -> None:
        """Read and write at once, each range onto itself."""
        device.write_many(device.read_many(spans))


def test_it_is_a_block_device(double: Double) -> None:
    device: BlockDevice = connect(double)
    with device as entered:
        assert entered is device
        assert (device.size, device.block_size) == (SIZE, 512)


@pytest.mark.parametrize(
    ('offset', 'length'), [(1, 512), (512, 100), (-512, 512), (0, -512), (SIZE, 512), (512, SIZE), (2**70, 512)]
)
def test_a_range_that_is_not_there_is_refused_before_anything_is_sent(double: Double, offset: int, length: int) -> None:
    device = connect(double)
    double.seen.clear()
    calls: list[Callable[[], object]] = [
        lambda: device.read(offset, length),
        lambda: list(device.read_many([(offset, length)])),
        lambda: device.zero(offset, length),
        lambda: list(device.allocated(offset, length)),
    ]
    if 0 <= length <= SIZE:
        calls += [
            lambda: device.write(offset, bytes(length)),
            lambda: device.write_many([(offset, memoryview(bytes(length)))]),
        ]
    for call in calls:
        with pytest.raises(InvalidRange, match=f'{length} bytes at {offset} are not whole blocks of 512 bytes'):
            call()
    assert double.seen == []
    device.close()


def test_transfers_are_of_one_mebibyte_or_what_the_device_allows() -> None:
    for most_blocks, commands in ((0, 4), (100, 82), (1, 8192)):
        with Double(Disk(blocks=8192, most_transfer=most_blocks)) as target, connect(target) as device:
            target.seen.clear()
            device.read(0, 4 * MIB)
            assert target.seen == [0x88] * commands


def test_the_queue_is_as_deep_as_asked(double: Double) -> None:
    """While the caller looks at a range, the next ones are in flight already."""
    with connect(double, queue_depth=5) as device:
        double.seen.clear()
        answers = device.read_many([(index * 512, 512) for index in range(50)])
        next(answers)
        device.flush()
        assert double.seen == [0x88] * (1 + 5) + [0x91]
        next(answers)
        device.flush()
        assert double.seen[-2:] == [0x88, 0x91]


def test_memory_is_bounded_by_the_queue(double: Double) -> None:
    device = connect(double, queue_depth=3)
    views = {id(view.obj) for _, view in device.read_many((0, SIZE) for _ in range(40))}
    assert len(views) <= 5
    device.close()


def test_so_it_is_for_writes(double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[object] = []

    def take(self: Buffers, length: int, real: Callable[[Buffers, int], memoryview] = Buffers.take) -> memoryview:
        view = real(self, length)
        taken.append(view.obj)
        return view

    monkeypatch.setattr(Buffers, 'take', take)
    with connect(double, queue_depth=3) as device:
        device.write_many((0, memoryview(bytearray(65536))) for _ in range(40))
    assert len(taken) == 40
    assert len({id(memory) for memory in taken}) <= 4


def test_a_reader_may_stop_early(double: Double) -> None:
    """What is in flight by then is taken in and thrown away."""
    device = connect(double, queue_depth=8)
    device.write(0, bytes(range(256)) * (SIZE // 256))
    for offset, _ in device.read_many((offset, 65536) for offset in range(0, SIZE, 65536)):
        if offset:
            break
    assert device.read(512, 4096) == bytes(range(256)) * 16
    device.close()


def test_a_failing_source_of_extents_leaves_no_write_behind(double: Double) -> None:
    """A write that is still in flight could come after a later one to the same place."""

    def extents() -> Iterator[Extent]:
        for block in range(8):
            yield block * 512, memoryview(bytes([1]) * 512)
        raise KeyError('no more')

    double.status_apart = True
    double.in_random_order = random.Random(0)
    device = connect(double, queue_depth=16)
    with pytest.raises(KeyError):
        device.write_many(extents())
    assert double.disk.data[: 8 * 512] == bytes([1]) * 512 * 8
    assert device.read(0, 8 * 512) == bytes([1]) * 512 * 8
    device.close()


def test_a_failing_transfer_leaves_none_behind(double: Double) -> None:
    device = connect(double, queue_depth=16)
    double.outcomes.append(sense(3, 0x1100))
    data = bytearray([1]) * 512
    with pytest.raises(CheckCondition, match=r'MEDIUM ERROR, 11h/00h: unrecovered read error'):
        device.write_many((block * 512, memoryview(data)) for block in range(8))
    data[:] = bytes(512)
    assert device.read(0, 8 * 512) == bytes(512) + bytes([1]) * 512 * 7
    device.close()


def test_closing_logs_out_once(double: Double) -> None:
    """Whatever is in flight, so that the target forgets the session at once."""
    for unfinished in (False, True):
        device = connect(double)
        reader = device.read_many([(0, 512)] * 20)
        if unfinished:
            next(reader)
        device.close()
        device.close()
    assert double.logouts == 2


@pytest.mark.parametrize('answer', [hang_up, lambda pdu: [b'\x3e' + pdu[1:]]], ids=['none', 'malformed'])
def test_a_target_that_does_not_accept_the_logout_is_left(
    double: Double, answer: Callable[[bytes], list[bytes]]
) -> None:
    device = connect(double)
    double.tamper = once(0x26, answer)
    device.close()
    assert double.logouts == 1


@pytest.mark.parametrize(('immediate', 'pdus'), [('Yes', 0), ('No', 1)])
def test_a_small_write_is_one_pdu_where_the_target_takes_immediate_data(
    double: Double, immediate: str, pdus: int
) -> None:
    double.answers = {'ImmediateData': immediate, 'InitialR2T': 'No'}
    with connect(double) as device:
        device.write(0, bytes(512))
    assert double.data_outs == pdus


def test_a_closed_device_says_so(double: Double) -> None:
    device = connect(double)
    reader = device.read_many([(0, 512)] * 20)
    next(reader)
    device.close()
    for call in (lambda: next(reader), lambda: device.read(0, 512), device.flush):
        with pytest.raises(DeviceError, match='it is closed'):
            call()
    device.close()


def test_flush_on_a_device_without_a_cache(double: Double) -> None:
    with connect(double) as device:
        double.outcomes.append(sense(5, 0x2000))
        device.flush()
        assert not double.outcomes


def test_its_repr_names_the_lun(double: Double) -> None:
    with connect(double) as device:
        assert repr(device) == f'<IscsiDevice iqn.2026-01.test:double LUN 1, {SIZE} bytes>'
