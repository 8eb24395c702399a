"""Sessions that are lost, portals that do not work, devices that need patience."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator

import pytest

from chalicelib.errors import (
    CheckCondition,
    DeviceError,
    DeviceTimeout,
    DeviceUnreachable,
    LoginFailed,
    ProtocolError,
)
from chalicelib.iscsi import reconnect
from tests.unit.iscsi.conftest import connect, impatient
from tests.unit.iscsi.fake_disk import Disk, sense
from tests.unit.iscsi.fake_target import Double, hang_up, once

SCSI_RESPONSE, DATA_IN, R2T = 0x21, 0x25, 0x31
PATTERN = bytes(range(256)) * 256  # 64 KiB


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconnect, '_PAUSES', (0.0, 0.0, 0.0))


@pytest.fixture
def nowhere() -> Iterator[str]:
    """A portal that refuses connections: bound, but not listening."""
    with socket.socket() as sock:
        sock.bind(('127.0.0.1', 0))
        yield f'127.0.0.1:{sock.getsockname()[1]}'


@pytest.fixture
def silent() -> Iterator[str]:
    """A portal that accepts connections and sends nothing."""
    with socket.create_server(('127.0.0.1', 0)) as listener:
        yield f'127.0.0.1:{listener.getsockname()[1]}'


class TestLostSessions:
    @pytest.mark.parametrize('opcode', [SCSI_RESPONSE, R2T])
    def test_writes_are_sent_again(self, double: Double, opcode: int) -> None:
        double.answers = {'FirstBurstLength': '4096', 'MaxBurstLength': '8192'}
        device = connect(double, queue_depth=4)
        double.tamper = once(opcode, hang_up)
        device.write_many([(index * 65536, memoryview(bytearray(PATTERN))) for index in range(8)])
        assert double.disk.data == PATTERN * 8
        assert double.logins == 2
        device.close()

    def test_reads_are_sent_again(self, double: Double) -> None:
        double.disk.data[:] = PATTERN * 8
        double.segment = 8192
        device = connect(double, queue_depth=4)
        double.tamper = once(DATA_IN, lambda pdu: [pdu[:1000], *hang_up(pdu)])
        for number, (_, data) in enumerate(device.read_many((index % 8 * 65536, 65536) for index in range(40))):
            assert data == PATTERN
            if number == 10:
                double.tamper = once(DATA_IN, hang_up)
        assert double.logins == 3
        device.close()

    def test_not_for_ever(self, double: Double, caplog: pytest.LogCaptureFixture) -> None:
        """A target that accepts every login and then hangs up is given up after a number of sessions."""
        device = connect(double)

        def tamper(number: int, pdu: bytes) -> list[bytes]:
            if pdu[0] == DATA_IN and len(pdu) == 48 + 4096:
                hang_up(pdu)
            return [pdu]

        double.tamper = tamper
        with caplog.at_level(logging.WARNING), pytest.raises(DeviceUnreachable, match='the session was lost'):
            device.read(0, 4096)
        assert double.logins == 6
        assert 'connecting again' in caplog.text
        with pytest.raises(DeviceError, match='closed'):
            device.read(0, 4096)

    def test_a_smaller_device_is_another_one(self, double: Double) -> None:
        for change in ({'blocks': 512}, {'serial': 'double-2'}):
            device = connect(double)
            whole = double.disk
            double.disk = Disk(**change)
            double.hang_up()
            with pytest.raises(LoginFailed, match='a different one than before, or smaller'):
                device.write(0, PATTERN)
            assert not any(double.disk.data)
            double.disk = whole

    def test_a_larger_device_is_the_same(self, double: Double) -> None:
        device = connect(double)
        double.disk = Disk(blocks=2048)
        double.hang_up()
        device.write(0, PATTERN)
        assert device.size == 1024 * 512
        device.close()

    def test_a_refusal_is_final(self, double: Double) -> None:
        device = connect(double)
        double.login_status = 0x0202
        double.hang_up()
        with pytest.raises(LoginFailed, match='0x0202'):
            device.read(0, 512)
        assert len(double.isids) == 2

    def test_a_target_that_is_gone(self) -> None:
        with Double() as target:
            device = connect(target)
        with pytest.raises(DeviceUnreachable, match=r'portal 127\.0\.0\.1:\d+: .*refused'):
            device.read(0, 512)

    def test_silence_is_not_a_lost_session(self, double: Double) -> None:
        """A write that may still be under way must not be raced by its repetition on another session."""
        device = impatient(connect(double))
        double.tamper = lambda number, pdu: []
        with pytest.raises(DeviceTimeout, match=r'did not answer in 0\.2 s: the target is silent'):
            device.write(0, PATTERN)
        assert double.logins == 1

    def test_time_at_rest_does_not_count(self, double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
        """A caller may take longer over a range than the timeout, with reads in flight all the while."""
        device = connect(double)
        reader = device.read_many((index * 65536, 65536) for index in range(8))
        next(reader)
        monkeypatch.setattr(time, 'monotonic', lambda now=time.monotonic: now() + 3600)
        assert len(list(reader)) == 7
        device.close()


class TestPortals:
    def test_all_are_tried_in_their_order(self, double: Double, nowhere: str) -> None:
        connect(double, target_portals=[nowhere, double.portal]).close()
        assert double.logins == 1

    def test_a_silent_one_leaves_time_for_the_others(self, double: Double, silent: str) -> None:
        connect(double, timeout=3, target_portals=[silent, double.portal]).close()
        with pytest.raises(DeviceTimeout, match=r'did not answer in 0\.3 s'):
            connect(double, timeout=0.3, target_portals=[silent, silent.replace('127.0.0.1', 'localhost')])

    def test_the_session_moves_to_another(self, double: Double) -> None:
        with Double(double.disk) as first:
            device = connect(double, target_portals=[first.portal, double.portal])
            assert (first.logins, double.logins) == (1, 0)
        device.write(0, PATTERN)
        assert double.logins == 1
        device.close()

    def test_if_none_works_each_is_named_and_the_most_telling_error_raised(self, double: Double, nowhere: str) -> None:
        double.login_status = 0x0201
        with pytest.raises(LoginFailed) as caught:
            connect(double, target_portals=[nowhere, double.portal])
        assert f'portal {nowhere}: ' in caught.value.message
        assert f'portal {double.portal}: authentication failed' in caught.value.message


class TestPatience:
    def test_a_unit_attention_is_passed_over(self, double: Double) -> None:
        device = connect(double, queue_depth=4)
        double.outcomes.extend([sense(6, 0x2900), sense(6, 0x2A09), sense(0xB, 0x4700)])
        device.write_many((index * 65536, memoryview(PATTERN)) for index in range(8))
        assert double.disk.data == PATTERN * 8
        assert not double.outcomes
        device.close()

    def test_but_not_for_ever(self, double: Double) -> None:
        device = connect(double)
        double.outcomes.extend([sense(6, 0x2900)] * 20)
        with pytest.raises(CheckCondition, match='UNIT ATTENTION, 29h/00h: power on or reset'):
            device.write(0, PATTERN)
        assert len(double.outcomes) == 11

    def test_a_busy_device_is_asked_again(self, double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
        pauses: list[float] = []
        monkeypatch.setattr('time.sleep', pauses.append)
        device = connect(double)
        double.outcomes.extend([(0x08, b''), (0x28, b''), sense(2, 0x0401)])
        device.write(0, PATTERN)
        assert len(pauses) == 3
        device.close()

    def test_within_the_timeout(self, double: Double) -> None:
        device = impatient(connect(double))
        double.outcomes.extend([(0x08, b'')] * 20)
        with pytest.raises(DeviceTimeout):
            device.write(0, PATTERN)


class TestLuns:
    def test_a_lun_that_is_no_disk(self) -> None:
        with Double(Disk(kind=0x0C)) as target, pytest.raises(ProtocolError, match='not a disk'):
            connect(target)

    def test_a_lun_that_is_not_there(self, double: Double) -> None:
        double.outcomes_of_probe.append(sense(5, 0x2500))
        with pytest.raises(CheckCondition, match='ILLEGAL REQUEST, 25h/00h: the LUN does not exist'):
            connect(double)

    def test_a_lun_that_has_just_been_reset(self, double: Double) -> None:
        double.outcomes_of_probe.extend([sense(6, 0x2900)] * 3)
        connect(double).close()

    def test_a_serial_number_that_is_not_ascii(self) -> None:
        """Such a device works, and it is the same unit after the session was lost."""
        with Double(Disk(serial='Größe')) as target, connect(target) as device:
            target.hang_up()
            device.write(0, PATTERN)
            assert device.read(0, len(PATTERN)) == PATTERN

    def test_a_lun_without_vital_product_data(self) -> None:
        with Double(Disk(vital_data=False)) as target, connect(target) as device:
            device.write(0, PATTERN)
            assert device.read(0, len(PATTERN)) == PATTERN
