"""The full feature phase: what a target may do, and what it may not."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count

import pytest

from chalicelib.errors import DeviceTimeout, ProtocolError
from chalicelib.iscsi import IscsiDevice
from tests.unit.iscsi.conftest import connect, impatient
from tests.unit.iscsi.fake_target import NONE, Double, once, patched, preceded, reply

SCSI_RESPONSE, DATA_IN, R2T, NOP_IN, ASYNC, REJECT = 0x21, 0x25, 0x31, 0x20, 0x32, 0x3F
PATTERN = bytes(range(256)) * 128  # 32 KiB

Change = Callable[[bytes], list[bytes]]


@pytest.fixture
def device(double: Double) -> IscsiDevice:
    """Data-In PDUs of 8 KiB, and an R2T for each 8 KiB of a write."""
    double.answers = {'InitialR2T': 'Yes', 'ImmediateData': 'No', 'MaxBurstLength': '8192'}
    double.segment = 8192
    double.status_apart = True
    double.disk.data[: len(PATTERN)] = PATTERN
    return connect(double)


def read(device: IscsiDevice) -> bytes:
    return device.read(0, len(PATTERN))


def write(device: IscsiDevice) -> None:
    device.write(65536, PATTERN)
    device.flush()


@pytest.mark.parametrize(
    ('operation', 'opcode', 'change', 'message'),
    [
        pytest.param(
            read, DATA_IN, patched(40, 512), 'Data-In of 8192 bytes at 512 where byte 0 was expected', id='gap'
        ),
        pytest.param(read, DATA_IN, patched(40, NONE), 'where byte 0 was expected', id='offset far away'),
        pytest.param(read, DATA_IN, patched(36, 1), 'where byte 0 was expected', id='wrong DataSN'),
        pytest.param(read, DATA_IN, lambda pdu: [pdu, pdu], 'where byte 8192 was expected', id='data twice'),
        pytest.param(read, DATA_IN, patched(16, 0x7777), 'not in flight', id='unknown tag'),
        pytest.param(read, DATA_IN, patched(4, 0x01002000), 'additional header segments', id='header segments'),
        pytest.param(read, DATA_IN, lambda pdu: [], 'where byte 0 was expected', id='data missing at the start'),
        pytest.param(
            read,
            DATA_IN,
            lambda pdu: [reply(DATA_IN, tag=int.from_bytes(pdu[16:20], 'big'), data=bytes(len(PATTERN) + 4))],
            'Data-In of 32772 bytes at 0',
            id='more than requested',
        ),
        pytest.param(write, R2T, lambda pdu: [b'\x25' + pdu[1:]], 'Data-In of 0 bytes', id='data for a write'),
        pytest.param(read, DATA_IN, lambda pdu: [b'\x31' + pdu[1:48]], 'R2T for 0 bytes', id='R2T for a read'),
        pytest.param(write, R2T, patched(44, 0), 'R2T for 0 bytes at 0', id='R2T for nothing'),
        pytest.param(write, R2T, patched(44, 8193), 'R2T for 8193 bytes at 0', id='R2T beyond MaxBurstLength'),
        pytest.param(write, R2T, patched(40, 32768), 'R2T for 8192 bytes at 32768', id='R2T beyond the data'),
        pytest.param(write, R2T, patched(40, 8192), 'where byte 0 was expected', id='R2T out of order'),
        pytest.param(write, R2T, patched(36, 1), 'where byte 0 was expected', id='wrong R2TSN'),
        pytest.param(write, R2T, lambda pdu: [pdu, pdu], 'where byte 8192 was expected', id='R2T twice'),
        pytest.param(
            write,
            R2T,
            lambda pdu: [reply(SCSI_RESPONSE, tag=int.from_bytes(pdu[16:20], 'big'))],
            'ended with GOOD after 0 of 32768 bytes',
            id='a write that is done before its data came',
        ),
        pytest.param(
            read,
            DATA_IN,
            lambda pdu: [reply(SCSI_RESPONSE, tag=int.from_bytes(pdu[16:20], 'big'))],
            'ended with GOOD after 0 of 32768 bytes',
            id='a read that is done without data',
        ),
        pytest.param(write, SCSI_RESPONSE, patched(16, 0x7777), 'opcode 0x21 for a task', id='answer for no task'),
        pytest.param(write, SCSI_RESPONSE, lambda pdu: [pdu, pdu], 'not in flight', id='answer twice'),
        pytest.param(write, SCSI_RESPONSE, patched(2, 1, 1), 'iSCSI response 0x01', id='target failure'),
        pytest.param(write, SCSI_RESPONSE, patched(5, 2**24 - 1, 3), '16777215 bytes', id='absurd sense data'),
        pytest.param(read, DATA_IN, preceded(reply(0x23)), 'unexpected opcode 0x23', id='login response'),
        pytest.param(read, DATA_IN, preceded(reply(0x1C)), 'unexpected opcode 0x1c', id='vendor opcode'),
        pytest.param(read, DATA_IN, preceded(b'GET / HTTP/1.1\r\n' * 3), 'additional header|opcode', id='HTTP'),
        pytest.param(
            write,
            R2T,
            preceded(reply(REJECT, byte2=9, data=bytes(48))),
            'rejected a PDU: invalid PDU field',
            id='reject',
        ),
        pytest.param(write, R2T, preceded(reply(REJECT, byte2=0x77)), r'unknown reason \(0x77\)', id='odd reject'),
    ],
)
def test_a_broken_protocol_ends_the_session(
    double: Double,
    device: IscsiDevice,
    operation: Callable[[IscsiDevice], object],
    opcode: int,
    change: Change,
    message: str,
) -> None:
    double.tamper = once(opcode, change)
    with pytest.raises(ProtocolError, match=message):
        operation(device)
    assert double.logins == 1
    double.violations.clear()  # what the double makes of its own mischief


def test_sense_data_that_claims_to_be_longer_than_it_is(double: Double, device: IscsiDevice) -> None:
    double.outcomes.append((2, bytes.fromhex('70 00 06 00000000 0a 00000000 29 00 00000000')))
    double.tamper = once(SCSI_RESPONSE, lambda pdu: [pdu[:48] + b'\xff\xff' + pdu[50:]])
    write(device)
    assert read(device) == PATTERN


class TestPings:
    def test_are_answered(self, double: Double, device: IscsiDevice) -> None:
        ping = reply(NOP_IN, transfer_tag=0x1234, data=b'are you there')
        double.tamper = once(DATA_IN, preceded(ping, ping))
        assert read(device) == PATTERN
        device.flush()
        assert double.pongs == [0x1234, 0x1234]

    def test_that_want_no_answer_get_none(self, double: Double, device: IscsiDevice) -> None:
        double.tamper = once(DATA_IN, preceded(reply(NOP_IN)))
        assert read(device) == PATTERN
        device.flush()
        assert double.pongs == []

    def test_do_not_stand_for_an_answer(self, double: Double) -> None:
        """A target that pings without end but never answers is as good as silent."""
        device = impatient(connect(double))
        double.tamper = lambda number, pdu: [reply(NOP_IN)] * 50_000
        with pytest.raises(DeviceTimeout, match=r'did not answer in 0\.2 s'):
            read(device)


@pytest.mark.parametrize('event', [0, 255])
def test_async_messages_of_no_concern(double: Double, device: IscsiDevice, event: int) -> None:
    message = reply(ASYNC, words=(5, 0, 0, event << 24, 0, 0), data=b'\0\4abcd')
    double.tamper = once(DATA_IN, preceded(message))
    assert read(device) == PATTERN
    assert double.logins == 1


def test_a_logout_that_is_asked_for_is_given(double: Double, device: IscsiDevice) -> None:
    double.tamper = once(DATA_IN, preceded(reply(ASYNC, words=(5, 0, 0, 1 << 24, 0, 0))))
    assert read(device) == PATTERN
    device.close()
    patience = iter(range(1000))
    while double.logouts < 2 and next(patience, None) is not None:  # the first session's is on its own thread
        time.sleep(0.005)
    assert (double.logins, double.logouts) == (2, 2)


@pytest.mark.parametrize('event', [1, 2, 3, 4])
def test_async_messages_that_end_the_session(double: Double, device: IscsiDevice, event: int) -> None:
    """Logout requested, connection or all connections dropped, negotiation requested: continue with a new session."""
    double.tamper = once(DATA_IN, preceded(reply(ASYNC, words=(5, 0, 0, event << 24, 0, 0))))
    assert read(device) == PATTERN
    assert double.logins == 2


class TestWindow:
    def test_a_narrow_one_is_kept_to(self, double: Double) -> None:
        """The double notes each command beyond MaxCmdSN as a violation."""
        double.window = 1
        with connect(double, queue_depth=8) as device:
            device.write(0, PATTERN)
            assert [offset for offset, _ in device.read_many((index * 512, 512) for index in range(30))][-1] == 29 * 512

    def test_a_closed_one_is_waited_for(self, double: Double) -> None:
        """Until a NOP-In opens it."""
        device = connect(double)
        numbers = count()
        shut: list[int] = []

        def tamper(number: int, pdu: bytes) -> list[bytes]:
            if next(numbers):
                return [pdu]
            exp_cmd_sn = int.from_bytes(pdu[28:32], 'big')
            shut.append(exp_cmd_sn)
            closed = reply(NOP_IN, words=(0, exp_cmd_sn, exp_cmd_sn - 1, 0, 0, 0))
            return [closed, pdu]

        double.window = 0
        double.tamper = tamper
        device.read(0, 512)
        assert shut
        device.close()

    def test_an_old_one_does_not_count(self, double: Double) -> None:
        """MaxCmdSN never decreases; an answer that was overtaken may have a smaller one (RFC 7143, section 4.2.2.1)."""
        with connect(double) as device:
            impatient(device, 1.0)
            double.tamper = lambda number, pdu: patched(32, int.from_bytes(pdu[28:32], 'big') - 40)(pdu)
            for _ in range(20):
                device.flush()

    def test_one_that_never_opens_is_a_timeout(self, double: Double) -> None:
        device = impatient(connect(double))
        double.window = 0
        device.read(0, 512 * 8)
        for _ in range(64):
            try:
                device.read(0, 512)
            except DeviceTimeout:
                break
        else:
            pytest.fail('64 commands went through a window that was closed')

    def test_sequence_numbers_wrap_around(self, double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr('chalicelib.iscsi.login.secrets.randbits', lambda bits: 2**bits - 10)
        with connect(double, queue_depth=4) as device:
            assert len(list(device.read_many((index * 512, 512) for index in range(50)))) == 50


def test_unsolicited_data_up_to_the_first_burst(double: Double) -> None:
    """Immediate data, then Data-Out without R2T, then the rest by R2T: the double checks each step's limits."""
    double.answers = {'MaxRecvDataSegmentLength': '1024', 'FirstBurstLength': '4096', 'MaxBurstLength': '8192'}
    solicited: list[int] = []

    def watch(number: int, pdu: bytes) -> list[bytes]:
        if pdu[0] == R2T:
            solicited.append(int.from_bytes(pdu[40:44], 'big'))
        return [pdu]

    double.tamper = watch
    with connect(double) as device:
        device.write(0, PATTERN)
    assert double.disk.data[: len(PATTERN)] == PATTERN
    assert solicited == [4096, 12288, 20480, 28672]


def test_each_answer_is_acknowledged_with_the_next_command(double: Double) -> None:
    """A target keeps the answers that are not acknowledged."""
    with connect(double, queue_depth=1) as device:
        for _ in range(3):
            device.read(0, 512)
            device.write(0, bytes(512))
    assert set(double.lags) == {0}
