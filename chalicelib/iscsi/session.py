"""The full feature phase of one session (RFC 7143, sections 4 and 11): commands in flight, and PDUs of the target.

One thread drives a session: it submits commands and receives PDUs until the command that it waits for is done. Data
moves between the socket and the command's own memory, without a copy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from chalicelib.iscsi import pdu, scsi
from chalicelib.iscsi.login import LoggedIn
from chalicelib.iscsi.pdu import NO_TAG, Malformed, Opcode, Response
from chalicelib.iscsi.transport import Buffer, Connection, remaining
from chalicelib.jitter import jittered

_NOT_SENT = NO_TAG
_NOTHING = memoryview(b'')

#: The event with which a target announces its shutdown: it waits some seconds for the logout (section 11.9.1).
_LOGOUT_REQUESTED = 1

#: Events of an Asynchronous Message that end the session (section 11.9.1); all others leave it open.
_ENDING_EVENTS: Mapping[int, str] = {
    _LOGOUT_REQUESTED: 'the target requested a logout',
    2: 'the target drops the connection',
    3: 'the target drops all connections of the session',
    4: 'the target requests a new negotiation',
}

#: Reject reasons (section 11.17.1).
_REJECTIONS: Mapping[int, str] = {
    0x02: 'data digest error',
    0x03: 'SNACK reject',
    0x04: 'protocol error',
    0x05: 'command not supported',
    0x06: 'too many immediate commands',
    0x07: 'task in progress',
    0x08: 'invalid data acknowledgement',
    0x09: 'invalid PDU field',
    0x0A: 'out of resources',
    0x0C: 'waiting for logout',
}


class Command:
    """One SCSI command: a read fills ``into``, a write sends ``data``; a command without data has neither.

    ``data`` and ``into`` must stay unchanged until the command is done. A read may return less than ``into`` only if
    ``exact`` is false; ``received`` is the number of bytes.
    """

    def __init__(
        self, cdb: bytes, *, into: memoryview | None = None, data: memoryview | None = None, exact: bool = True
    ) -> None:
        self.cdb = cdb
        self.into = into
        self.data = _NOTHING if data is None else data
        self.exact = exact
        self.repeats = 0  # retries that the device requested
        self.resent = 0  # sessions lost while it was in flight
        self.reset()

    def reset(self) -> None:
        """Reset to the state before it was sent."""
        self.tag = _NOT_SENT
        self.received = 0
        self.sent = 0
        self.data_sn = 0
        self.r2t_sn = 0
        self.done = False
        self.status = scsi.GOOD
        self.sense = b''

    @property
    def length(self) -> int:
        """Bytes expected to be transferred."""
        return len(self.data if self.into is None else self.into)

    @property
    def direction(self) -> int:
        if self.into is not None:
            return pdu.READ
        return pdu.WRITE if self.data else 0

    @property
    def submitted(self) -> bool:
        return self.tag != _NOT_SENT


class Session:
    """Raises Malformed when the target violates the protocol, OSError when the link is lost; both end the session."""

    def __init__(self, connection: Connection, logged_in: LoggedIn, lun: bytes) -> None:
        self._connection = connection
        self._parameters = logged_in.parameters
        self._lun = lun
        self._cmd_sn = logged_in.cmd_sn
        self._max_cmd_sn = logged_in.max_cmd_sn
        self._exp_stat_sn = logged_in.exp_stat_sn
        self._tag = 0
        self._logged_out = False
        #: In flight, in the order of submission, by tag.
        self.commands: dict[int, Command] = {}
        self._handlers: Mapping[int, Callable[[Response, float], None]] = {
            Opcode.DATA_IN: self._data_in,
            Opcode.SCSI_RESPONSE: self._scsi_response,
            Opcode.READY_TO_TRANSFER: self._ready_to_transfer,
            Opcode.NOP_IN: self._nop_in,
            Opcode.ASYNC_MESSAGE: self._async_message,
            Opcode.REJECT: self._reject,
            Opcode.LOGOUT_RESPONSE: self._logout_response,
        }
        if self._parameters.header_digest:
            connection.use_header_digest()

    def execute(self, command: Command, deadline: float) -> Command:
        """Run one command, and retry it where the device requests that. Raises ScsiError, Malformed, OSError."""
        while True:
            self.submit(command, deadline)
            while not command.done:
                self.receive(deadline)
            pause = scsi.repeat_after(command.status, command.sense, command.repeats)
            if pause is None:
                return command
            time.sleep(min(jittered(pause), remaining(deadline)))
            command.reset()
            command.repeats += 1

    def submit(self, command: Command, deadline: float) -> None:
        """Send a command, with as much of its data as needs no R2T, once the target's window allows it."""
        while pdu.newer(self._cmd_sn, self._max_cmd_sn):
            self.receive(deadline)
        self._tag = (self._tag + 1) % NO_TAG
        command.tag = self._tag
        self.commands[command.tag] = command
        pdus = self._opening(command)
        self._cmd_sn = (self._cmd_sn + 1) & 0xFFFFFFFF
        self._connection.send(pdus, deadline)

    def receive(self, deadline: float) -> None:
        """Receive one PDU from the target and handle it."""
        response = self._connection.receive_header(deadline)
        handler = self._handlers.get(response.opcode)
        if handler is None:
            raise Malformed(f'unexpected opcode {response.opcode:#04x}')
        if pdu.newer(response.max_cmd_sn, self._max_cmd_sn):
            self._max_cmd_sn = response.max_cmd_sn
        handler(response, deadline)

    def logout(self, deadline: float) -> None:
        """End the session in order, so that the target releases it at once."""
        self._connection.send([(pdu.logout(NO_TAG - 1, self._cmd_sn, self._exp_stat_sn), b'')], deadline)
        while not self._logged_out:
            self.receive(deadline)

    def close(self) -> None:
        self._connection.close()

    def _opening(self, command: Command) -> list[tuple[bytes, Buffer]]:
        """The command PDU with immediate data, and unsolicited Data-Out PDUs, up to FirstBurstLength."""
        agreed, data = self._parameters, command.data
        first = min(len(data), agreed.first_burst_length)
        immediate = min(first, agreed.max_send_segment) if agreed.immediate_data else 0
        unsolicited = first - immediate if not agreed.initial_r2t else 0
        flags = command.direction | (0 if unsolicited else pdu.FINAL)
        header = pdu.scsi_command(
            flags, immediate, self._lun, command.tag, command.length, self._cmd_sn, self._exp_stat_sn, command.cdb
        )
        command.sent = immediate
        return [(header, data[:immediate]), *self._data_out(command, NO_TAG, unsolicited)]

    def _data_out(self, command: Command, transfer_tag: int, length: int) -> list[tuple[bytes, Buffer]]:
        """The next ``length`` bytes of the command's data as one sequence of Data-Out PDUs."""
        pdus: list[tuple[bytes, Buffer]] = []
        end = command.sent + length
        while command.sent < end:
            data = command.data[command.sent : min(end, command.sent + self._parameters.max_send_segment)]
            header = pdu.data_out(
                command.sent + len(data) == end,
                len(data),
                self._lun,
                command.tag,
                transfer_tag,
                self._exp_stat_sn,
                len(pdus),
                command.sent,
            )
            pdus.append((header, data))
            command.sent += len(data)
        return pdus

    def _data_in(self, response: Response, deadline: float) -> None:
        command = self._in_flight(response)
        into, offset, length = command.into, response.offset, response.data_length
        if into is None or offset != command.received or offset + length > len(into) or response.sn != command.data_sn:
            raise Malformed(f'Data-In of {length} bytes at {offset} where byte {command.received} was expected')
        self._connection.receive_data_into(into[offset : offset + length], deadline)
        command.received += length
        command.data_sn += 1
        if response.flags & pdu.HAS_STATUS:
            self._finish(command, response, b'')

    def _scsi_response(self, response: Response, deadline: float) -> None:
        command = self._in_flight(response)
        data = self._connection.receive_data(response.data_length, deadline)
        if response.response:
            raise Malformed(f'the target did not execute a command (iSCSI response {response.response:#04x})')
        self._finish(command, response, data[2 : 2 + int.from_bytes(data[:2])])

    def _finish(self, command: Command, response: Response, sense: bytes) -> None:
        """Raises Malformed for status GOOD with data missing."""
        self._advance(response)
        del self.commands[command.tag]
        moved = command.received + command.sent
        if response.status == scsi.GOOD and command.exact and moved != command.length:
            raise Malformed(f'a command ended with GOOD after {moved} of {command.length} bytes')
        command.status, command.sense, command.done = response.status, sense, True

    def _ready_to_transfer(self, response: Response, deadline: float) -> None:
        command = self._in_flight(response)
        offset, length = response.offset, response.desired
        within = 0 < length <= min(command.length - offset, self._parameters.max_burst_length)
        if not command.data or offset != command.sent or not within or response.sn != command.r2t_sn:
            raise Malformed(f'R2T for {length} bytes at {offset} where byte {command.sent} was expected')
        command.r2t_sn += 1
        self._connection.send(self._data_out(command, response.transfer_tag, length), deadline)

    def _nop_in(self, response: Response, deadline: float) -> None:
        self._connection.receive_data(response.data_length, deadline)
        if response.transfer_tag != NO_TAG:
            answer = pdu.nop_out(response.lun, response.transfer_tag, self._cmd_sn, self._exp_stat_sn)
            self._connection.send([(answer, b'')], deadline)

    def _async_message(self, response: Response, deadline: float) -> None:
        self._connection.receive_data(response.data_length, deadline)
        self._advance(response)
        event = response.sn >> 24
        if event == _LOGOUT_REQUESTED:
            self._connection.send([(pdu.logout(NO_TAG - 1, self._cmd_sn, self._exp_stat_sn), b'')], deadline)
        if event in _ENDING_EVENTS:
            raise ConnectionAbortedError(_ENDING_EVENTS[event])

    def _reject(self, response: Response, deadline: float) -> None:
        self._connection.receive_data(response.data_length, deadline)
        reason = _REJECTIONS.get(response.response, 'unknown reason')
        raise Malformed(f'the target rejected a PDU: {reason} ({response.response:#04x})')

    def _logout_response(self, response: Response, deadline: float) -> None:
        self._connection.receive_data(response.data_length, deadline)
        self._logged_out = True

    def _advance(self, response: Response) -> None:
        self._exp_stat_sn = (response.stat_sn + 1) & 0xFFFFFFFF

    def _in_flight(self, response: Response) -> Command:
        command = self.commands.get(response.tag)
        if command is None:
            raise Malformed(f'opcode {response.opcode:#04x} for a task that is not in flight')
        return command
