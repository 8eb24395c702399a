"""A target in this process, to play what tgtd does not: other parameters, other orders, and every kind of mischief.

It shares no code with the initiator, keeps its disk in memory, and notes in ``violations`` where the initiator itself
breaks RFC 7143. ``tamper`` sees every PDU before it is sent and may replace, drop or multiply it.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import select
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.unit.iscsi.fake_disk import Disk, Outcome

NONE = 0xFFFFFFFF

#: Gets the number of the PDU (from 0, over all connections) and its bytes; returns what to send instead.
Tamper = Callable[[int, bytes], list[bytes]]


class HangUp(Exception):
    """Raised by ``tamper`` to close the connection, or when the initiator did."""


def reply(
    opcode: int,
    *,
    flags: int = 0x80,
    byte2: int = 0,
    byte3: int = 0,
    tag: int = NONE,
    transfer_tag: int = NONE,
    words: tuple[int, int, int, int, int, int] = (0, 0, 0, 0, 0, 0),
    data: bytes = b'',
) -> bytes:
    """Any PDU of a target; ``words`` are the last six of the header, StatSN first."""
    header = struct.pack('>BBBBI8sII6I', opcode, flags, byte2, byte3, len(data), bytes(8), tag, transfer_tag, *words)
    return header + data + bytes(-len(data) % 4)


@dataclass
class Task:
    """A write that is being collected."""

    cdb: bytes
    data: bytearray
    received: int = 0
    due: int = 0  # where the R2T that is being answered ends
    data_sn: int = 0
    r2t_sn: int = 0


@dataclass
class Double:
    """``with Double() as target: open_device(target.connection_data(), ...)``."""

    disk: Disk = field(default_factory=Disk)
    answers: dict[str, str] = field(default_factory=dict)
    declares: dict[str, str] = field(default_factory=dict)
    chap: tuple[str, str] | None = None
    own_chap: tuple[str, str] | None = None
    algorithms: str = '5678'
    login_status: int = 0
    split_text: bool = False
    segment: int = 65536
    window: int = 64
    in_random_order: random.Random | None = None
    status_apart: bool = False
    #: What the next commands end with instead of being carried out (all but those of the probe).
    outcomes: deque[Outcome] = field(default_factory=deque)
    #: The same for TEST UNIT READY.
    outcomes_of_probe: deque[Outcome] = field(default_factory=deque)
    tamper: Tamper = lambda number, pdu: [pdu]
    violations: list[str] = field(default_factory=list)
    #: Keys of the operational stage, as the initiator sent them.
    heard: dict[str, str] = field(default_factory=dict)
    #: Keys of the first request of the login.
    named: dict[str, str] = field(default_factory=dict)
    #: Operation codes of all commands, and the number of logins.
    seen: list[int] = field(default_factory=list)
    #: Transfer tags of the NOP-Outs that answered a ping.
    pongs: list[int] = field(default_factory=list)
    data_outs: int = 0
    #: Answers that were sent and that the initiator had not acknowledged, at each command.
    lags: list[int] = field(default_factory=list)
    isids: list[bytes] = field(default_factory=list)
    logins: int = 0
    logouts: int = 0
    sent: int = 0

    def __enter__(self) -> Double:
        self._listener = socket.create_server(('127.0.0.1', 0))
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        self._thread.join()

    @property
    def portal(self) -> str:
        host, port = self._listener.getsockname()
        return f'{host}:{port}'

    def connection_data(self, **more: Any) -> dict[str, Any]:
        return {'target_portal': self.portal, 'target_iqn': 'iqn.2026-01.test:double', 'target_lun': 1} | more

    def hang_up(self) -> None:
        """Cut all connections."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(HangUp, OSError), connection:
            _Conversation(self, connection).run()


class _Conversation:
    """One connection."""

    def __init__(self, double: Double, connection: socket.socket) -> None:
        self.double, self.connection = double, connection
        self.stat_sn = 1000
        self.cmd_sn = -1
        self.max_cmd_sn = 0
        self.in_flight = 0
        self.tasks: dict[int, Task] = {}
        self.outbox: list[deque[Callable[[], bytes]]] = []
        self.agreed: dict[str, str] = {}
        self.declared = not double.declares

    def run(self) -> None:
        self._login()
        self.double.logins += 1
        while True:
            waiting = None if not self.outbox else 0
            if select.select([self.connection], [], [], waiting)[0]:
                self._take(*self._receive())
            else:
                self._send_one()

    def _violation(self, text: str) -> None:
        self.double.violations.append(text)

    # The wire.

    def _read(self, length: int) -> bytes:
        data = b''
        while len(data) < length:
            part = self.connection.recv(length - len(data))
            if not part:
                raise HangUp
            data += part
        return data

    def _receive(self) -> tuple[bytes, bytes]:
        header = self._read(48)
        length = int.from_bytes(header[5:8], 'big')
        data = self._read(length + -length % 4)
        return header, data[:length]

    def _send(self, pdu: bytes) -> None:
        number, self.double.sent = self.double.sent, self.double.sent + 1
        for part in self.double.tamper(number, pdu):
            self.connection.sendall(part)

    def _send_one(self) -> None:
        """Answers to one command keep their order; those to several are mixed if so wanted."""
        chance = self.double.in_random_order
        answers = chance.choice(self.outbox) if chance else self.outbox[0]
        self._send(answers.popleft()())
        if not answers:
            self.outbox = [others for others in self.outbox if others]

    def _window(self) -> tuple[int, int]:
        """ExpCmdSN and MaxCmdSN; like any target's, MaxCmdSN never decreases."""
        self.max_cmd_sn = max(self.max_cmd_sn, self.cmd_sn + self.double.window - self.in_flight - 1)
        return self.cmd_sn & NONE, self.max_cmd_sn & NONE

    def _advance(self) -> int:
        self.stat_sn = (self.stat_sn + 1) & NONE
        return self.stat_sn - 1 & NONE

    # Login.

    def _login(self) -> None:
        stage, transit = 0, False
        while not (stage == 1 and transit):
            header, text = self._receive()
            self._greet(header)
            keys = dict(pair.split('=', 1) for pair in text.decode().split('\0') if pair)
            self.double.named = self.double.named or keys
            stage, transit = header[1] >> 2 & 3, bool(header[1] & 0x80)
            status, transit, answer = self._negotiate(stage, keys, transit)
            flags = stage << 2 | (0x80 | header[1] & 3 if transit else 0)
            self._answer_login(flags, ''.join(f'{key}={value}\0' for key, value in answer.items()).encode(), status)
            if status:
                raise HangUp

    def _greet(self, header: bytes) -> None:
        if header[0] != 0x43:
            self._violation(f'opcode {header[0]:#04x} in the login phase')
        if self.cmd_sn == -1:
            self.cmd_sn = int.from_bytes(header[24:28], 'big')
            self.max_cmd_sn = self.cmd_sn + self.double.window - 1
            self.double.isids.append(header[8:14])

    def _negotiate(self, stage: int, keys: dict[str, str], transit: bool) -> tuple[int, bool, dict[str, str]]:
        """(login status, whether to move on, answer)"""
        if self.double.login_status:
            return self.double.login_status, False, {}
        if stage == 0:
            return self._security(keys, transit)
        answer, declared, self.declared = self._operational(keys), self.declared, True
        return (0, transit, answer) if declared else (0, False, answer | self.double.declares)

    def _answer_login(self, flags: int, data: bytes, status: int) -> None:
        if self.double.split_text and data:
            self._login_response(flags & 0x0C | 0x40, data[:9], 0)
            header, text = self._receive()
            if text or header[1] & 0xC0:
                self._violation('more than an empty request for the rest of a text')
            data = data[9:]
        self._login_response(flags, data, status)

    def _login_response(self, flags: int, data: bytes, status: int) -> None:
        words = (self._advance(), *self._window(), status << 16, 0, 0)
        self._send(reply(0x23, flags=flags, tag=0, words=words, data=data))

    def _security(self, keys: dict[str, str], transit: bool) -> tuple[int, bool, dict[str, str]]:
        if self.double.chap is None:
            return 0, transit, {'AuthMethod': 'None'} if 'AuthMethod' in keys else {}
        if 'CHAP_A' in keys:
            offered = keys['CHAP_A'].split(',')
            self.algorithm = next((name for name in offered if name in self.double.algorithms), '')
            self.identifier, self.challenge = 7, b'challenge of the double'
            challenge = '0x' + self.challenge.hex()
            return 0, False, {'CHAP_A': self.algorithm, 'CHAP_I': str(self.identifier), 'CHAP_C': challenge}
        if 'CHAP_R' in keys:
            name, secret = self.double.chap
            right = self._hash(self.identifier, secret, self.challenge)
            if (keys['CHAP_N'], keys['CHAP_R']) != (name, right):
                return 0x0201, False, {}
            return 0, transit, self._prove(keys)
        return (0, False, {'AuthMethod': 'CHAP'}) if keys.get('AuthMethod') == 'CHAP' else (0x0201, False, {})

    def _prove(self, keys: dict[str, str]) -> dict[str, str]:
        if self.double.own_chap is None or 'CHAP_I' not in keys:
            return {}
        name, secret = self.double.own_chap
        proof = self._hash(int(keys['CHAP_I']), secret, bytes.fromhex(keys['CHAP_C'][2:]))
        return {'CHAP_N': name, 'CHAP_R': proof}

    def _hash(self, identifier: int, secret: str, challenge: bytes) -> str:
        name = {'5': 'md5', '6': 'sha1', '7': 'sha256', '8': 'sha3_256'}[self.algorithm]
        return '0x' + hashlib.new(name, bytes([identifier]) + secret.encode() + challenge).hexdigest()

    def _operational(self, keys: dict[str, str]) -> dict[str, str]:
        """Take what is offered unless ``answers`` has another value."""
        mine = {key: self.double.answers.get(key, value.split(',')[-1]) for key, value in keys.items()}
        self.agreed |= mine
        self.double.heard |= keys
        return {key: value for key, value in mine.items() if value != 'NotUnderstood'}

    # Full feature phase.

    def _take(self, header: bytes, data: bytes) -> None:
        kind = header[0] & 0x3F
        tag = int.from_bytes(header[16:20], 'big')
        if kind == 0x01:
            self._command(header, tag, data)
        elif kind == 0x05:
            self._data_out(header, tag, data)
        elif kind == 0x06:
            self.double.logouts += 1
            self._send(reply(0x26, tag=tag, words=(self._advance(), *self._window(), 0, 0, 0)))
            raise HangUp
        elif kind == 0x00:
            self.double.pongs.append(int.from_bytes(header[20:24], 'big'))
        else:
            self._violation(f'opcode {kind:#04x}')

    def _number(self, key: str) -> int:
        return int(self.agreed[key])

    def _command(self, header: bytes, tag: int, data: bytes) -> None:
        expected, cmd_sn = struct.unpack_from('>II', header, 20)
        if cmd_sn != self.cmd_sn & NONE or self.cmd_sn > self.max_cmd_sn:
            self._violation(f'CmdSN {cmd_sn} where {self.cmd_sn} of at most {self.max_cmd_sn} was due')
        self.double.lags.append((self.stat_sn - int.from_bytes(header[28:32], 'big')) & NONE)
        self.cmd_sn += 1
        self.in_flight += 1
        cdb, writes, final = header[32:48], bool(header[1] & 0x20), bool(header[1] & 0x80)
        self.double.seen.append(cdb[0])
        first = min(expected, self._number('FirstBurstLength'), self._number('MaxBurstLength'))
        if data and (
            self.agreed['ImmediateData'] == 'No' or len(data) > min(first, self._number('MaxRecvDataSegmentLength'))
        ):
            self._violation(f'{len(data)} bytes of immediate data')
        if not writes:
            self._carry_out(tag, cdb, b'', expected)
            return
        if not final and self.agreed['InitialR2T'] == 'Yes':
            self._violation('unsolicited data')
        task = self.tasks[tag] = Task(cdb, bytearray(expected), len(data), due=len(data) if final else first)
        task.data[: len(data)] = data
        self._collect(tag, task)

    def _data_out(self, header: bytes, tag: int, data: bytes) -> None:
        self.double.data_outs += 1
        task = self.tasks[tag]
        data_sn, offset = struct.unpack_from('>II', header, 36)
        final = bool(header[1] & 0x80)
        if offset != task.received or data_sn != task.data_sn or len(data) > self._number('MaxRecvDataSegmentLength'):
            self._violation(f'Data-Out {data_sn} of {len(data)} bytes at {offset}')
        task.data[offset : offset + len(data)] = data
        task.received += len(data)
        task.data_sn = 0 if final else task.data_sn + 1
        if final != (task.received == task.due):
            self._violation(f'F bit {final} at {task.received} of {task.due}')
        self._collect(tag, task)

    def _collect(self, tag: int, task: Task) -> None:
        """Carry out a write that is complete, or request more when the last burst is in."""
        if task.received == len(task.data):
            del self.tasks[tag]
            self._carry_out(tag, task.cdb, bytes(task.data), 0)
        elif task.received == task.due:
            length = min(len(task.data) - task.received, self._number('MaxBurstLength'))
            task.due += length
            offset, task.r2t_sn = task.received, task.r2t_sn + 1

            def ask(sn: int = task.r2t_sn - 1) -> bytes:
                words = (self.stat_sn, *self._window(), sn, offset, length)
                return reply(0x31, tag=tag, transfer_tag=tag ^ 0x5A5A, words=words)

            self.outbox.append(deque([ask]))

    def _carry_out(self, tag: int, cdb: bytes, data: bytes, expected: int) -> None:
        outcomes = self.double.outcomes_of_probe if cdb[0] == 0x00 else self.double.outcomes
        if outcomes and cdb[0] not in (0x12, 0x9E):
            outcome, answer = outcomes.popleft(), b''
        else:
            outcome, answer = self.double.disk.carry_out(cdb, data)
        self.outbox.append(deque(self._answers(tag, outcome, answer[:expected])))

    def _answers(self, tag: int, outcome: Outcome, data: bytes) -> Iterator[Callable[[], bytes]]:
        """Made when sent, so that their numbers are in order on the wire."""
        size = self.double.segment
        with_status = bool(data) and not self.double.status_apart
        for number, start in enumerate(range(0, len(data), size)):
            last = start + size >= len(data) and with_status
            yield (
                lambda number=number, start=start, last=last: self._data_in(  # type: ignore[misc]
                    tag, number, start, data[start : start + size], last
                )
            )
        if not with_status:
            yield lambda: self._response(tag, outcome)

    def _data_in(self, tag: int, number: int, offset: int, data: bytes, last: bool) -> bytes:
        if last:
            self.in_flight -= 1
        words = (self._advance() if last else 0, *self._window(), number, offset, 0)
        return reply(0x25, flags=0x81 if last else 0x00, tag=tag, words=words, data=data)

    def _response(self, tag: int, outcome: Outcome) -> bytes:
        self.in_flight -= 1
        status, sense_data = outcome
        data = len(sense_data).to_bytes(2, 'big') + sense_data if sense_data else b''
        return reply(0x21, byte3=status, tag=tag, words=(self._advance(), *self._window(), 0, 0, 0), data=data)


def once(opcode: int, change: Callable[[bytes], list[bytes]]) -> Tamper:
    """Tamper with the first PDU of a kind."""
    done: list[int] = []

    def tamper(number: int, pdu: bytes) -> list[bytes]:
        if done or pdu[0] & 0x3F != opcode:
            return [pdu]
        done.append(number)
        return change(pdu)

    return tamper


def patched(offset: int, value: int, size: int = 4) -> Callable[[bytes], list[bytes]]:
    """Another number at a place in the header."""
    return lambda pdu: [pdu[:offset] + value.to_bytes(size, 'big') + pdu[offset + size :]]


def preceded(*others: bytes) -> Callable[[bytes], list[bytes]]:
    return lambda pdu: [*others, pdu]


def hang_up(pdu: bytes) -> list[bytes]:
    raise HangUp
