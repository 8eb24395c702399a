"""Check whether tgtd's CHAP challenges are predictable (CVE-2024-45751).

tgt before 1.0.93 takes them from rand() without a seed: every tgtd sends the same challenges in the same order. A
client that recorded one login can answer the same challenge later. Version numbers do not show this, since
distributions fix older versions (Debian 12: 1:1.0.85-1+deb12u1). So one challenge is fetched and searched in that
order.
"""

from __future__ import annotations

import contextlib
import ctypes
import secrets
import socket
import struct
import time
from collections.abc import Iterator

from appliance.daemon import address
from appliance.errors import Unavailable
from appliance.tgt import Mode, Op, Tgt

_PROBE = 'iqn.2010-10.org.openstack:cinderless-challenge-probe'
_TIMEOUT = 5.0

#: Bytes of rand()'s order that are searched: some 250 logins. The agent's own tgtd is at its first.
_LOOKED_AT = 200_000

#: A login request's header, RFC 7143, section 11.12: immediate login, security stage, ISID, CID 0.
_LOGIN = struct.Struct('>BB2xB3s6sHIH2xII16x')
_IMMEDIATE_LOGIN, _LOGIN_RESPONSE = 0x43, 0x23


def check(tgt: Tgt, portal: str) -> None:
    """Raises Unavailable if the challenges are predictable. Uses a temporary target, whose secret is not stored."""
    initiator = f'iqn.2010-10.org.openstack:probe-{secrets.token_hex(8)}'
    with _target(tgt, initiator):
        given = challenge(portal, initiator)
    if given in _rand_sequence():
        raise Unavailable(
            'the CHAP challenges of this tgtd can be predicted (CVE-2024-45751): install tgt 1.0.93, or the fixed '
            'package of your distribution (Debian 12: 1:1.0.85-1+deb12u1); --allow-predictable-challenges starts anyway'
        )


@contextlib.contextmanager
def _target(tgt: Tgt, initiator: str) -> Iterator[None]:
    """A target without a LUN that requires CHAP of this initiator. One left by a crash is removed first."""
    _remove(tgt)
    tid, user = int(time.monotonic()) % 2**30 + 2**30, f'probe-{secrets.token_hex(8)}'
    tgt.call('add a target', Mode.TARGET, Op.NEW, f'targetname={_PROBE}', tid=tid)
    try:
        tgt.call('add an account', Mode.ACCOUNT, Op.NEW, f'user={user},password={secrets.token_hex(8)}')
        tgt.call('bind an account', Mode.ACCOUNT, Op.BIND, f'user={user}', tid=tid)
        tgt.call('bind an initiator', Mode.TARGET, Op.BIND, f'initiator-name={initiator}', tid=tid)
        yield
    finally:
        _remove(tgt)


def _remove(tgt: Tgt) -> None:
    for info in tgt.targets():
        if info.iqn == _PROBE:
            tgt.call('delete a target', Mode.TARGET, Op.DELETE, tid=info.tid, force=True)
            for user in info.users:
                tgt.call('delete an account', Mode.ACCOUNT, Op.DELETE, f'user={user}')


def challenge(portal: str, initiator: str) -> bytes:
    """Begin a login, and return the target's challenge. Raises Unavailable."""
    names = {'InitiatorName': initiator, 'TargetName': _PROBE, 'SessionType': 'Normal', 'AuthMethod': 'CHAP'}
    try:
        with socket.create_connection(address(portal), _TIMEOUT) as connection:
            isid = b'\x80' + secrets.token_bytes(5)
            _exchange(connection, isid, 0, names)
            text = _exchange(connection, isid, 1, {'CHAP_A': '5'})
    except OSError as error:
        raise Unavailable(f'tgtd does not answer a login at {portal}: {error}') from error
    keys = dict(part.partition('=')[::2] for part in text.split('\0'))
    try:
        return bytes.fromhex(keys['CHAP_C'][2:])
    except (KeyError, ValueError) as error:
        raise Unavailable(f'tgtd sent no CHAP challenge at {portal}') from error


def _exchange(connection: socket.socket, isid: bytes, number: int, keys: dict[str, str]) -> str:
    """Send login keys in the security stage; return the keys of the answer. Raises OSError, or Unavailable."""
    text = ''.join(f'{name}={value}\0' for name, value in keys.items()).encode()
    header = _LOGIN.pack(_IMMEDIATE_LOGIN, 0, 0, len(text).to_bytes(3, 'big'), isid, 0, 0, 0, number, number)
    connection.sendall(header + text + bytes(-len(text) % 4))
    answer = _receive(connection, 48)
    if answer[0] & 0x3F != _LOGIN_RESPONSE or answer[36]:
        raise Unavailable(f'tgtd refuses a login (status {answer[36]:#04x}{answer[37]:02x})')
    size = int.from_bytes(answer[5:8], 'big')
    return _receive(connection, size + -size % 4)[:size].decode(errors='replace')


def _receive(connection: socket.socket, size: int) -> bytes:
    data = b''
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise ConnectionResetError('tgtd closed the connection')
        data += more
    return data


def _rand_sequence() -> bytes:
    """Return the low bytes of rand() with its default seed, 1."""
    libc = ctypes.CDLL(None)
    libc.srand(1)
    return bytes(libc.rand() & 0xFF for _ in range(_LOOKED_AT))
