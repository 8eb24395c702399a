"""Commands against the tables of SBC-3 and SPC-4, and what becomes of answers."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.iscsi import scsi
from chalicelib.iscsi.pdu import Malformed
from chalicelib.iscsi.scsi import BlockLimits, Capacity, Provisioning, ScsiError, Sense

UNIT_ATTENTION = bytes.fromhex('70 00 06 00000000 0a 00000000 29 00 00000000')
DESCRIPTOR_SENSE = bytes.fromhex('72 03 11 00 00000000')


@pytest.mark.parametrize(
    ('command', 'arguments', 'expected'),
    [
        (scsi.read16, (0x0102030405060708, 0x0A0B0C0D), '88 00 0102030405060708 0a0b0c0d 00 00'),
        (scsi.write16, (1, 2048), '8a 00 0000000000000001 00000800 00 00'),
        (scsi.write_same_unmap, (1, 2048), '93 08 0000000000000001 00000800 00 00'),
        (scsi.unmap, (24,), '42 00 00000000 00 0018 00' + '00' * 6),
        (scsi.get_lba_status, (1,), '9e 12 0000000000000001 00004008 00 00'),
        (scsi.read_capacity16, (), '9e 10 0000000000000000 00000020 00 00'),
        (scsi.inquiry, (), '12 00 00 00ff 00' + '00' * 10),
        (scsi.inquiry, (0xB0,), '12 01 b0 00ff 00' + '00' * 10),
    ],
)
def test_command_descriptor_blocks(command: Callable[..., bytes], arguments: tuple[int, ...], expected: str) -> None:
    assert command(*arguments).hex() == expected.replace(' ', '')


def test_commands_without_arguments() -> None:
    assert bytes(16) == scsi.TEST_UNIT_READY
    assert scsi.SYNCHRONIZE_CACHE.hex() == '91' + '00' * 15


def test_unmap_parameter_list() -> None:
    assert scsi.unmap_list(5, 6).hex() == '0016 0010 00000000 0000000000000005 00000006 00000000'.replace(' ', '')


class TestVerdicts:
    def test_good_is_final(self) -> None:
        assert scsi.repeat_after(scsi.GOOD, b'', 0) is None

    @pytest.mark.parametrize('key', [scsi.UNIT_ATTENTION, scsi.ABORTED_COMMAND])
    def test_what_has_passed_is_repeated_at_once(self, key: int) -> None:
        sense = UNIT_ATTENTION[:2] + bytes([key]) + UNIT_ATTENTION[3:]
        assert scsi.repeat_after(scsi.CHECK_CONDITION, sense, 0) == 0.0

    @pytest.mark.parametrize('status', [scsi.BUSY, scsi.TASK_SET_FULL])
    def test_a_busy_device_is_given_ever_more_time(self, status: int) -> None:
        pauses = [scsi.repeat_after(status, b'', repeats) or 0 for repeats in range(scsi.MOST_REPEATS)]
        assert pauses == sorted(pauses)
        assert pauses[0] > 0

    def test_so_is_one_that_is_becoming_ready_but_not_one_that_is_not(self) -> None:
        assert scsi.repeat_after(scsi.CHECK_CONDITION, bytes.fromhex('72020401'), 0)
        with pytest.raises(ScsiError, match='NOT READY, 04h/02h'):
            scsi.repeat_after(scsi.CHECK_CONDITION, bytes.fromhex('72020402'), 0)

    def test_patience_ends(self) -> None:
        with pytest.raises(ScsiError, match='UNIT ATTENTION, 29h/00h: power on or reset'):
            scsi.repeat_after(scsi.CHECK_CONDITION, UNIT_ATTENTION, scsi.MOST_REPEATS)
        with pytest.raises(ScsiError, match='TASK SET FULL'):
            scsi.repeat_after(scsi.TASK_SET_FULL, b'', scsi.MOST_REPEATS)

    @pytest.mark.parametrize(
        ('status', 'sense', 'message'),
        [
            (0x02, DESCRIPTOR_SENSE, 'MEDIUM ERROR, 11h/00h: unrecovered read error'),
            (0x02, b'', 'CHECK CONDITION without sense data'),
            (0x02, b'\x70\x00\x06', 'CHECK CONDITION without sense data'),
            (0x18, b'', 'RESERVATION CONFLICT'),
            (0x40, b'', 'TASK ABORTED'),
            (0x77, b'', 'SCSI status 0x77'),
        ],
    )
    def test_errors_are_final_and_say_what_is_wrong(self, status: int, sense: bytes, message: str) -> None:
        with pytest.raises(ScsiError, match=message):
            scsi.repeat_after(status, sense, 0)

    @settings(deadline=None)
    @given(st.integers(1, 255), st.binary(max_size=40), st.integers(0, 20))
    def test_any_answer_has_a_verdict(self, status: int, sense: bytes, repeats: int) -> None:
        with contextlib.suppress(ScsiError):
            pause = scsi.repeat_after(status, sense, repeats)
            assert pause is not None
            assert repeats < scsi.MOST_REPEATS


class TestSense:
    def test_fixed_and_descriptor_format(self) -> None:
        assert Sense.parse(UNIT_ATTENTION) == (6, 0x2900)
        assert Sense.parse(DESCRIPTOR_SENSE) == (3, 0x1100)
        assert Sense.parse(b'\x7f' + bytes(20)) is None

    def test_an_unknown_code_is_still_shown(self) -> None:
        assert str(Sense(4, 0x8123)) == 'HARDWARE ERROR, 81h/23h: see the SCSI list of additional sense codes'


class TestCapacity:
    def answer(self, last: int = 99, block_size: int = 512, flags: int = 0) -> bytes:
        return struct.pack('>QIBBH16x', last, block_size, 0, 0, flags)

    def test_fields(self) -> None:
        assert Capacity.parse(self.answer(flags=0xC000)) == (100, 512, True, True)
        assert Capacity.parse(self.answer(flags=0x8000)) == (100, 512, True, False)
        assert Capacity.parse(self.answer(flags=0x3FFF)) == (100, 512, False, False)
        assert Capacity.parse(self.answer(last=2**64 - 1, block_size=4096)) == (2**64, 4096, False, False)

    @pytest.mark.parametrize('block_size', [0, 1, 256, 520, 131072, 2**32 - 1])
    def test_an_impossible_block_size_is_refused(self, block_size: int) -> None:
        with pytest.raises(Malformed, match=f'{block_size} bytes'):
            Capacity.parse(self.answer(block_size=block_size))

    def test_a_short_answer_is_refused(self) -> None:
        with pytest.raises(Malformed, match='31 bytes instead of 32'):
            Capacity.parse(self.answer()[:-1])


class TestVitalProductData:
    def test_block_limits(self) -> None:
        page = bytes([0, 0xB0, 0, 60]) + struct.pack('>BBHIIIIIIIQ', 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10) + bytes(20)
        assert BlockLimits.parse(page) == BlockLimits(transfer=3, unmap=6, unmap_granularity=8, write_same=10)
        assert BlockLimits.parse(page[:16]) == BlockLimits(transfer=3)
        assert BlockLimits.parse(b'') == BlockLimits()

    def test_provisioning(self) -> None:
        assert Provisioning.parse(bytes([0, 0xB2, 0, 4, 0, 0xE4, 2, 0])) == Provisioning(unmap=True, write_same=True)
        assert Provisioning.parse(bytes([0, 0xB2, 0, 4, 0, 0x40, 2, 0])) == Provisioning(unmap=False, write_same=True)
        assert Provisioning.parse(b'') == Provisioning()

    def test_a_page_ends_where_it_says(self) -> None:
        assert scsi.vpd_page(bytes([0, 0x80, 0, 2]) + b'abcd', 0x80) == bytes([0, 0x80, 0, 2]) + b'ab'
        assert len(scsi.vpd_page(bytes([0, 0x80, 1, 2]) + bytes(300), 0x80)) == 4 + 258

    def test_another_page_than_asked_for_is_refused(self) -> None:
        for answer in (b'', b'\0\x80', bytes([0, 0x83, 0, 0])):
            with pytest.raises(Malformed, match='VPD page 80h'):
                scsi.vpd_page(answer, 0x80)


def descriptors(*ranges: tuple[int, int, int]) -> bytes:
    body = b''.join(struct.pack('>QIB3x', *fields) for fields in ranges)
    return struct.pack('>I4x', 4 + len(body)) + body


class TestLbaStatus:
    def test_descriptors_from_the_block_asked_for(self) -> None:
        answer = descriptors((90, 20, 0), (110, 5, 1), (115, 1, 2))
        assert list(scsi.lba_statuses(answer, 100)) == [(10, False), (5, True), (1, False)]

    @pytest.mark.parametrize(
        'answer',
        [
            b'',
            bytes(8),
            descriptors(),
            descriptors((0, 100, 1)),
            descriptors((101, 5, 1)),
            descriptors((100, 0, 1)),
            descriptors((100, 5, 1), (106, 5, 1)),
            descriptors((100, 5, 1), (100, 5, 1)),
        ],
    )
    def test_gaps_and_standstill_are_refused(self, answer: bytes) -> None:
        with pytest.raises(Malformed, match='GET LBA STATUS'):
            list(scsi.lba_statuses(answer, 100))

    def test_a_cut_off_descriptor_does_not_count(self) -> None:
        assert list(scsi.lba_statuses(descriptors((100, 5, 1), (105, 5, 1))[:-1], 100)) == [(5, True)]

    @settings(deadline=None)
    @given(st.binary(max_size=100), st.integers(0, 2**64))
    def test_any_answer_goes_forward_or_is_refused(self, answer: bytes, block: int) -> None:
        try:
            counts = [count for count, _ in scsi.lba_statuses(answer, block)]
        except Malformed:
            return
        assert counts
        assert all(count > 0 for count in counts)
