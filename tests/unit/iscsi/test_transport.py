from __future__ import annotations

import socket
import sys
import threading
import time
import types
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.iscsi import transport
from chalicelib.iscsi.pdu import Malformed
from chalicelib.iscsi.transport import SEGMENT_LIMIT, Connection
from tests.unit.iscsi.fake_target import reply

Pair = tuple[Connection, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Our end as a connection, the target's as a bare socket."""
    ours, theirs = socket.socketpair()
    connection = Connection(ours)
    with theirs:
        yield connection, theirs
    connection.close()


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def test_a_header_and_its_data_with_padding(pair: Pair) -> None:
    connection, theirs = pair
    theirs.sendall(reply(0x25, tag=7, data=b'abcde') + reply(0x20))
    header = connection.receive_header(soon())
    buffer = bytearray(5)
    connection.receive_data_into(memoryview(buffer), soon())
    assert (header.opcode, header.tag, header.data_length, bytes(buffer)) == (0x25, 7, 5, b'abcde')
    assert connection.receive_header(soon()).opcode == 0x20


def test_what_comes_in_pieces_is_waited_for(pair: Pair) -> None:
    connection, theirs = pair

    def drip() -> None:
        for byte in reply(0x20, tag=7):
            theirs.sendall(bytes([byte]))

    thread = threading.Thread(target=drip)
    thread.start()
    assert connection.receive_header(soon()).tag == 7
    thread.join()


def test_silence_ends_with_the_deadline(pair: Pair) -> None:
    connection, theirs = pair
    with pytest.raises(TimeoutError, match='silent'):
        connection.receive_header(soon(0.05))
    theirs.sendall(bytes(47))
    with pytest.raises(TimeoutError):
        connection.receive_header(soon(0.05))
    with pytest.raises(TimeoutError):
        connection.receive_header(soon(-1))


def test_a_dripping_target_gains_no_time(pair: Pair) -> None:
    """Each byte within the deadline does not make the next deadline."""
    connection, theirs = pair
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(0.02):
            theirs.sendall(b'\0')

    thread = threading.Thread(target=drip)
    thread.start()
    with pytest.raises(TimeoutError):
        connection.receive_data(SEGMENT_LIMIT, soon(0.2))
    stop.set()
    thread.join()


def test_a_closed_connection_is_lost(pair: Pair) -> None:
    connection, theirs = pair
    theirs.sendall(bytes(20))
    theirs.close()
    with pytest.raises(ConnectionResetError, match='closed the connection'):
        connection.receive_header(soon())
    with pytest.raises(OSError, match='pipe'):
        connection.send([(bytes(48), b'')], soon())


def test_a_target_that_takes_nothing_ends_with_the_deadline(pair: Pair) -> None:
    connection, _ = pair
    with pytest.raises(TimeoutError):
        connection.send([(bytes(48), memoryview(bytes(64 * 1024**2)))], soon(0.1))


def test_an_absurd_length_takes_no_memory(pair: Pair) -> None:
    connection, _ = pair
    with pytest.raises(Malformed, match='16777215 bytes'):
        connection.receive_data(2**24 - 1, soon())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 100_000)), max_size=20), st.integers(600, 2000))
def test_all_is_sent_however_many_pieces_it_is(sizes: list[tuple[int, int]], small: int) -> None:
    """More buffers than one system call takes, and more bytes than the socket holds."""
    pdus = [(bytes([fill]) * 48, memoryview(bytes([fill ^ 0xFF]) * size)) for fill, size in sizes]
    pdus += [(bytes(48), memoryview(b'\1\2\3\4'))] * small
    expected = b''.join(header + bytes(data) for header, data in pdus)
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    received = bytearray()

    def read() -> None:
        while part := theirs.recv(5000):
            received.extend(part)

    thread = threading.Thread(target=read)
    thread.start()
    connection = Connection(ours)
    connection.send(pdus, soon())
    connection.close()
    thread.join()
    theirs.close()
    assert received == expected


class Interrupted:
    """A socket whose calls send a few bytes each, as when a signal interrupts them."""

    def __init__(self, real: socket.socket) -> None:
        self._real = real
        self.setsockopt, self.close = real.setsockopt, real.close

    def sendmsg(self, buffers: list[bytes]) -> int:
        return self._real.send(b''.join(buffers)[:7])


def test_a_send_that_was_interrupted_goes_on_with_the_rest(pair: Pair) -> None:
    connection, theirs = pair
    connection._socket = Interrupted(connection._socket)  # type: ignore[assignment]
    pdus = [(bytes([number]) * 48, bytes([number + 100]) * 20) for number in range(3)]
    connection.send(pdus, soon())
    expected = b''.join(header + data for header, data in pdus)
    assert theirs.recv(1000) == expected


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20), min_size=1).filter(any), st.data())
def test_what_is_left_after_a_partial_send(buffers: list[bytes], data: st.DataObject) -> None:
    whole = b''.join(buffers)
    sent = data.draw(st.integers(0, len(whole) - 1))
    assert b''.join(transport._without(list(buffers), sent)) == whole[sent:]


@pytest.mark.timeout(20)
def test_the_last_microsecond_is_not_for_ever(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket timeout of zero would mean none."""
    monkeypatch.setattr(transport, 'remaining', lambda deadline: 1e-7)
    with pytest.raises(TimeoutError):
        pair[0].receive_header(0)


class TestHeaderDigest:
    @pytest.fixture(autouse=True)
    def _checksum(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Any checksum does to see that it is sent and checked; tgtd judges the real one."""
        module = types.ModuleType('google_crc32c')
        module.__dict__.update(implementation='c', value=zlib.crc32)
        monkeypatch.setitem(sys.modules, 'google_crc32c', module)

    def test_it_follows_each_header(self, pair: Pair) -> None:
        connection, theirs = pair
        connection.use_header_digest()
        connection.send([(bytes(48), b'data')], soon())
        assert theirs.recv(1000) == bytes(48) + zlib.crc32(bytes(48)).to_bytes(4, 'little') + b'data'
        header = reply(0x20, tag=7)
        theirs.sendall(header + zlib.crc32(header).to_bytes(4, 'little'))
        assert connection.receive_header(soon()).tag == 7

    def test_a_wrong_one_is_noticed(self, pair: Pair) -> None:
        connection, theirs = pair
        connection.use_header_digest()
        theirs.sendall(reply(0x20) + bytes(4))
        with pytest.raises(Malformed, match='digest'):
            connection.receive_header(soon())
