"""tgtd's control protocol, as tgtadm uses it: one request and one answer per connection to a UNIX socket.

The agent does not use tgtadm because tgtadm takes a CHAP secret as an argument, which every local user can read in
/proc, and because an export takes thirteen steps, each of which would cost a process. ``check_protocol`` compares the
two at start. Numbers are struct tgtadm_req and the enums of tgt's usr/tgtadm.h (1.0.85).

No answer does not mean that a request is not done: tgtd reads it from the socket when it runs again. So the socket of
an unanswered request stays open, and no further request is sent before tgtd has answered it or closed the socket. A
later answer therefore never describes a state that an earlier request can still change.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import threading
import time
from collections import Counter
from enum import IntEnum
from typing import NamedTuple

from appliance import commands
from appliance.errors import Unavailable

#: mode, op, driver, length, tid, sid, lun, cid, host_no, device_type, ac_dir, pack, force.
_REQUEST = struct.Struct('@II64sIiQQIIIIII')
_ANSWER = struct.Struct('@II')
#: struct ucred: pid, uid, gid.
_PEER = struct.Struct('@iII')
_DRIVER = b'iscsi'
_NO_TID = -1
_NO_LUN = 2**64 - 1

#: Seconds; tgtd answers from one loop, which a large "show" blocks for a quarter of a second per 3,000 targets.
TIMEOUT = 10.0

#: Prefix of tgtd's control sockets; tgtd and tgtadm read the same variable.
_SOCKET = os.environ.get('TGT_IPC_SOCKET', '/var/run/tgtd/socket')


class Mode(IntEnum):
    SYSTEM = 0
    TARGET = 1
    LOGICALUNIT = 2
    PORTAL = 3
    CONNECTION = 6
    ACCOUNT = 7


class Op(IntEnum):
    NEW = 0
    DELETE = 1
    SHOW = 2
    BIND = 3
    UNBIND = 4
    UPDATE = 5


class Status(IntEnum):
    """The answers that callers distinguish."""

    NO_TARGET = 4
    NO_LUN = 5
    NO_SESSION = 6
    NO_CONNECTION = 7
    TARGET_EXISTS = 9
    ACL_EXISTS = 12
    NO_ACL = 13
    ACCOUNT_EXISTS = 14
    NO_ACCOUNT = 15


class TgtError(Unavailable):
    """tgtd refused a step. The message never contains a parameter, since one of them is a CHAP secret."""

    def __init__(self, what: str, status: int) -> None:
        super().__init__(f'tgtd refused to {what} (status {status})')
        self.tgt_status = status


class NoAnswer(Unavailable):
    """tgtd did not answer a request: the step may be done already, may be done later, or never."""


class Session(NamedTuple):
    """One connection of one initiator (a session has one connection)."""

    sid: int
    cid: int
    initiator: str
    address: str


class LunInfo(NamedTuple):
    """A LUN as "show target" describes it. tgt rounds ``megabytes`` (10^6) and shows no exact size."""

    path: str
    megabytes: int
    serial: str
    wwid: str
    readonly: bool
    thin: bool


class TargetInfo(NamedTuple):
    """``lun`` is LUN 1, the only one that this agent makes; ``ready`` is False for an offline target."""

    tid: int
    iqn: str
    users: frozenset[str]
    initiators: frozenset[str]
    lun: LunInfo | None = None
    ready: bool = True


def pack(mode: Mode, op: Op, tid: int, sid: int, lun: int, cid: int, force: bool, parameters: str) -> bytes:
    """Return one request as bytes; parameters end with a zero byte."""
    text = parameters.encode() + b'\0' if parameters else b''
    header = _REQUEST.pack(mode, op, _DRIVER, _REQUEST.size + len(text), tid, sid, lun, cid, 0, 0, 0, 0, force)
    return header + text


class Tgt:
    """A tgtd, by its control port. Thread-safe: every request has its own connection, and tgtd answers in turn."""

    def __init__(self, control_port: int) -> None:
        self.control_port = control_port
        self.socket = f'{_SOCKET}.{control_port}'
        #: The process that answered last. Another number means a new tgtd, without the earlier targets.
        self.life = 0
        self._gate = threading.Lock()
        self._unanswered: list[socket.socket] = []

    def call(
        self, what: str, mode: Mode, op: Op, parameters: str = '', *, tid: int = _NO_TID, sid: int = 0,
        lun: int = _NO_LUN, cid: int = 0, force: bool = False, allow: tuple[Status, ...] = (),
    ) -> str:  # fmt: skip
        """Run one step and return tgtd's output. ``allow`` names refusals that mean that it is done already.

        Raises TgtError if tgtd refuses the step, or NoAnswer: then the step may be done already, or later.
        """
        status, text = self._exchange(pack(mode, op, tid, sid, lun, cid, force, parameters))
        if status != 0 and status not in allow:
            raise TgtError(what, status)
        return text

    def _exchange(self, request: bytes) -> tuple[int, str]:
        self._finish_unanswered()
        control = socket.socket(socket.AF_UNIX)
        try:
            control.settimeout(TIMEOUT)
            control.connect(self.socket)
            self.life = _PEER.unpack(control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))[0]
            control.sendall(request)
            answer = _read(control)
        except socket.timeout as error:  # noqa: UP041  # Python 3.9
            self._unanswered.append(control)
            raise NoAnswer(f'tgtd did not answer on control port {self.control_port} in {TIMEOUT:g} s') from error
        except OSError as error:
            control.close()
            raise NoAnswer(f'tgtd does not answer on control port {self.control_port}: {error}') from error
        control.close()
        return _split(answer)

    def _finish_unanswered(self) -> None:
        """Wait until tgtd is done with earlier unanswered requests. Raises NoAnswer."""
        if not self._unanswered:
            return
        deadline = time.monotonic() + TIMEOUT
        if not self._gate.acquire(timeout=TIMEOUT):
            raise NoAnswer('tgtd has not answered an earlier request')
        try:
            while self._unanswered:
                if not _is_done(self._unanswered[0], deadline):
                    raise NoAnswer('tgtd has not answered an earlier request')
                self._unanswered.pop(0).close()
        finally:
            self._gate.release()

    def system(self) -> str:
        return self.call('show its state', Mode.SYSTEM, Op.SHOW)

    def portals(self) -> set[str]:
        """Return ``ip:port`` of every address on which tgtd listens."""
        return set(re.findall(r'^Portal: (\S+),\d+$', self.call('show portals', Mode.PORTAL, Op.SHOW), re.MULTILINE))

    def targets(self) -> list[TargetInfo]:
        text = self.call('show targets', Mode.TARGET, Op.SHOW)
        return [_target(part) for part in re.split(r'^(?=Target \d+: )', text, flags=re.MULTILINE) if part.strip()]

    def sessions(self, tid: int) -> list[Session]:
        """Return the target's sessions; none if the target does not exist."""
        allow = (Status.NO_TARGET,)
        text = self.call('show connections', Mode.CONNECTION, Op.SHOW, tid=tid, allow=allow)
        return [Session(int(sid), int(cid), name, address) for sid, cid, name, address in _SESSION.findall(text)]

    def session_addresses(self) -> Counter[str]:
        """Return the number of sessions per address, by one reading of all targets; IPv6 scopes are cut off."""
        return Counter(_ADDRESS.findall(self.call('show targets', Mode.TARGET, Op.SHOW)))

    def check_protocol(self) -> None:
        """Raises Unavailable unless tgtadm, which belongs to this tgtd, gets the same answer as this code."""
        port = str(self.control_port)
        shown = commands.run('tgtadm', '-C', port, '--lld', 'iscsi', '--mode', 'system', '--op', 'show')
        if shown.strip('\0\n') != self.system().strip('\n'):
            raise Unavailable('this tgtd has a control protocol other than that of 1.0.85')


def _read(control: socket.socket) -> bytes:
    return b''.join(iter(lambda: control.recv(65536), b''))


def _is_done(control: socket.socket, deadline: float) -> bool:
    """Return whether tgtd closes the connection, as it does after an answer, before the deadline."""
    control.settimeout(max(deadline - time.monotonic(), 0.001))
    try:
        _read(control)
    except socket.timeout:  # noqa: UP041  # Python 3.9
        return False
    except OSError:  # the tgtd that had the request has ended
        return True
    return True


def _split(answer: bytes) -> tuple[int, str]:
    """Return status and text. A tgtd that crashes closes the connection without an answer."""
    if len(answer) < _ANSWER.size:
        raise NoAnswer('tgtd closed the control connection without an answer')
    status, _ = _ANSWER.unpack_from(answer)
    return status, answer[_ANSWER.size :].decode(errors='replace').strip('\0')


_SESSION = re.compile(r'Session: (\d+)\s+Connection: (\d+)\s+Initiator: (\S+)[^\n]*\s+IP Address: (\S+)')
_ADDRESS = re.compile(r'^ +IP Address: ([^\s%]+)(?:%\S+)?$', re.MULTILINE)
_HEADING = re.compile(r'Target (\d+): (\S+)')
_STATE = re.compile(r'^        State: (\S+)$', re.MULTILINE)
_LIST = r' information:\n((?:        \S+\n?)*)'
_ACCOUNTS = re.compile('Account' + _LIST)
_ACL = re.compile('ACL' + _LIST)
_LUN = re.compile(r'^        LUN: 1\n((?:            .*\n)+)', re.MULTILINE)
_FACT = re.compile(r'^            ([^:\n]+): (.*)$', re.MULTILINE)


def _target(text: str) -> TargetInfo:
    """Parse one target of "show target". Addresses in its access list are treated as names, which no export has."""
    heading, state = _HEADING.match(text), _STATE.search(text)
    assert heading is not None
    ready = state is None or state[1] == 'ready'
    return TargetInfo(int(heading[1]), heading[2], _words(_ACCOUNTS, text), _words(_ACL, text), _lun(text), ready)


def _lun(text: str) -> LunInfo | None:
    found = _LUN.search(text)
    if found is None:
        return None
    facts = dict(_FACT.findall(found[1]))
    return LunInfo(
        path=facts.get('Backing store path', ''),
        megabytes=int(facts.get('Size', '0').partition(' ')[0]),
        serial=facts.get('SCSI SN', '').strip(),
        wwid=facts.get('SCSI ID', '').strip(),
        readonly=facts.get('Readonly') == 'Yes',
        thin=facts.get('Thin-provisioning') == 'Yes',
    )


def _words(part: re.Pattern[str], text: str) -> frozenset[str]:
    found = part.search(text)
    return frozenset(found[1].split()) if found else frozenset()
