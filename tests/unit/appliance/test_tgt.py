"""The control protocol: what we send is byte for byte what tgtadm sends, and what tgtd shows is understood."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance import tgt as tgt_module
from appliance.errors import Unavailable
from appliance.tgt import LunInfo, Mode, NoAnswer, Op, Session, Status, TargetInfo, Tgt, TgtError


class Ear:
    """Listens as tgtd does, keeps what it receives, and gives one answer to all."""

    def __init__(self, prefix: str) -> None:
        self.heard: list[bytes] = []
        self.answer = struct.pack('@II', 0, 8)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(f'{prefix}.7')
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.heard.append(self._request(connection))
                connection.sendall(self.answer)

    @staticmethod
    def _request(connection: socket.socket) -> bytes:
        """The length is at byte 72; tgtadm writes in two pieces."""
        data = connection.recv(4096)
        while len(data) < 76 or len(data) < struct.unpack_from('@I', data, 72)[0]:
            more = connection.recv(4096)
            if not more:
                break
            data += more
        return data

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def prefix() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix='ear-') as folder:
        yield f'{folder}/ipc'


@pytest.fixture
def ear(prefix: str) -> Iterator[Ear]:
    made = Ear(prefix)
    yield made
    made.close()


@pytest.fixture
def tgt(prefix: str) -> Tgt:
    made = Tgt(7)
    made.socket = f'{prefix}.7'
    return made


#: tgtadm's arguments; the client sends the same.
STEPS: list[tuple[str, Mode, Op, str, dict[str, int]]] = [
    ('--mode system --op show', Mode.SYSTEM, Op.SHOW, '', {}),
    ('--mode portal --op show', Mode.PORTAL, Op.SHOW, '', {}),
    ('--mode target --op show', Mode.TARGET, Op.SHOW, '', {}),
    ('--mode target --op new --tid 5 -T iqn.x:y', Mode.TARGET, Op.NEW, 'targetname=iqn.x:y', {'tid': 5}),
    ('--mode target --op delete --force --tid 5', Mode.TARGET, Op.DELETE, '', {'tid': 5, 'force': True}),
    ('--mode target --op update --tid 5 -n a -v b', Mode.TARGET, Op.UPDATE, 'a=b', {'tid': 5}),
    ('--mode target --op bind --tid 5 -Q iqn.a', Mode.TARGET, Op.BIND, 'initiator-name=iqn.a', {'tid': 5}),
    ('--mode target --op unbind --tid 5 -Q iqn.a', Mode.TARGET, Op.UNBIND, 'initiator-name=iqn.a', {'tid': 5}),
    ('--mode lu --op new --tid 5 --lun 1 -b /a', Mode.LOGICALUNIT, Op.NEW, 'path=/a', {'tid': 5, 'lun': 1}),
    ('--mode lu --op update --tid 5 --lun 1 -P a=1,b=2', Mode.LOGICALUNIT, Op.UPDATE, 'targetOps a=1,b=2,',
     {'tid': 5, 'lun': 1}),
    ('--mode lu --op delete --tid 5 --lun 1', Mode.LOGICALUNIT, Op.DELETE, '', {'tid': 5, 'lun': 1}),
    ('--mode account --op new --user u --password p', Mode.ACCOUNT, Op.NEW, 'user=u,password=p', {}),
    ('--mode account --op bind --tid 5 --user u', Mode.ACCOUNT, Op.BIND, 'user=u', {'tid': 5}),
    ('--mode account --op unbind --tid 5 --user u', Mode.ACCOUNT, Op.UNBIND, 'user=u', {'tid': 5}),
    ('--mode account --op delete --user u', Mode.ACCOUNT, Op.DELETE, 'user=u', {}),
    ('--mode conn --op show --tid 5', Mode.CONNECTION, Op.SHOW, '', {'tid': 5}),
    ('--mode conn --op delete --tid 5 --sid 3 --cid 1', Mode.CONNECTION, Op.DELETE, '', {'tid': 5, 'sid': 3, 'cid': 1}),
]  # fmt: skip


@pytest.mark.parametrize('step', STEPS, ids=[step[0] for step in STEPS])
def test_we_send_what_tgtadm_sends(ear: Ear, tgt: Tgt, prefix: str, step: tuple[str, Mode, Op, str, Any]) -> None:
    arguments, mode, op, parameters, where = step
    command = ['tgtadm', '-C', '7', '--lld', 'iscsi', *arguments.split()]
    subprocess.run(command, env=os.environ | {'TGT_IPC_SOCKET': prefix}, check=True, timeout=30)
    tgt.call('send the same', mode, op, parameters, **where)
    theirs, ours = ear.heard
    assert ours == theirs


def test_a_refusal_has_its_status_and_no_parameter(ear: Ear, tgt: Tgt) -> None:
    ear.answer = struct.pack('@II', Status.ACCOUNT_EXISTS, 8)
    with pytest.raises(TgtError) as refused:
        tgt.call('add an account', Mode.ACCOUNT, Op.NEW, 'user=u,password=a-secret')
    assert refused.value.tgt_status == Status.ACCOUNT_EXISTS
    assert 'a-secret' not in str(refused.value)
    assert tgt.call('x', Mode.ACCOUNT, Op.NEW, 'user=u,password=p', allow=(Status.ACCOUNT_EXISTS,)) == ''


def test_a_tgtd_that_is_gone_or_hangs_up_is_unavailable(ear: Ear, tgt: Tgt) -> None:
    ear.answer = b''
    with pytest.raises(Unavailable, match='without an answer'):
        tgt.system()
    with pytest.raises(Unavailable, match='control port 9'):
        Tgt(9).system()


class Mute(Ear):
    """tgtd that does not run: it takes connections into its backlog, and reads them when it may continue."""

    def __init__(self, prefix: str) -> None:
        self.going_on = threading.Event()
        super().__init__(prefix)

    def _serve(self) -> None:
        self.going_on.wait()
        super()._serve()


@pytest.fixture
def mute(prefix: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mute]:
    monkeypatch.setattr(tgt_module, 'TIMEOUT', 0.1)
    made = Mute(prefix)
    yield made
    made.going_on.set()
    made.close()


def test_nothing_is_sent_before_an_unanswered_request_is_done(mute: Mute, tgt: Tgt) -> None:
    """Else what was given up would be done after what is sent later."""
    for number in range(3):
        with pytest.raises(NoAnswer):
            tgt.call('add a target', Mode.TARGET, Op.NEW, f'targetname=iqn.x:{number}', tid=number)
    mute.going_on.set()
    tgt.call('add a target', Mode.TARGET, Op.NEW, 'targetname=iqn.x:last', tid=9)
    assert len(mute.heard) == 2
    assert b'iqn.x:0' in mute.heard[0]
    assert b'iqn.x:last' in mute.heard[1]


def test_an_unanswered_request_to_a_tgtd_that_is_gone_is_done_with(mute: Mute, tgt: Tgt, prefix: str) -> None:
    with pytest.raises(NoAnswer):
        tgt.system()
    mute.close()
    Path(f'{prefix}.7').unlink()
    mute.going_on.set()
    Ear(prefix)
    tgt.system()


def test_a_tgtd_is_known_by_its_process(ear: Ear, tgt: Tgt) -> None:
    assert tgt.life == 0
    tgt.system()
    assert tgt.life == os.getpid()


SHOWN = """\
Target 1: iqn.2010-10.org.openstack:volume-1
    System information:
        Driver: iscsi
        State: ready
    I_T nexus information:
        I_T nexus: 3
            Initiator: iqn.test:a alias: none
            Connection: 0
                IP Address: 192.0.2.7
    LUN information:
        LUN: 0
            Type: controller
            Backing store path: None
        LUN: 1
            Type: disk
            SCSI ID: 6abc
            SCSI SN: volume-id
            Size: 1074 MB, Block size: 512
            Online: Yes
            Readonly: No
            Thin-provisioning: Yes
            Backing store type: rdwr
            Backing store path: /srv/volume-1
            Backing store flags:
    Account information:
        cinderless-filler-1
        cinderless-last
    ACL information:
        iqn.test:a
        192.0.2.0/24
Target 12: iqn.theirs
    System information:
        Driver: iscsi
        State: offline
    Account information:
    ACL information:
"""


def reply(ear: Ear, text: str) -> None:
    ear.answer = struct.pack('@II', 0, 8 + len(text) + 1) + text.encode() + b'\0'


def test_targets_are_read(ear: Ear, tgt: Tgt) -> None:
    reply(ear, SHOWN)
    lun = LunInfo('/srv/volume-1', 1074, 'volume-id', '6abc', readonly=False, thin=True)
    users, names = {'cinderless-filler-1', 'cinderless-last'}, {'iqn.test:a', '192.0.2.0/24'}
    assert tgt.targets() == [
        TargetInfo(1, 'iqn.2010-10.org.openstack:volume-1', frozenset(users), frozenset(names), lun, True),
        TargetInfo(12, 'iqn.theirs', frozenset(), frozenset(), None, False),
    ]
    reply(ear, '')
    assert tgt.targets() == []


def test_sessions_are_counted_by_address(ear: Ear, tgt: Tgt) -> None:
    reply(ear, SHOWN + SHOWN.replace('192.0.2.7', 'fe80::1%eth0'))
    assert tgt.session_addresses() == {'192.0.2.7': 1, 'fe80::1': 1}


def test_sessions_and_portals_are_read(ear: Ear, tgt: Tgt) -> None:
    one = 'Session: {}\n    Connection: {}\n        Initiator: iqn.test:a alias: x y\n        IP Address: {}\n'
    reply(ear, one.format(7, 0, '192.0.2.7') + one.format(8, 1, '2001:db8::1'))
    assert tgt.sessions(1) == [
        Session(7, 0, 'iqn.test:a', '192.0.2.7'),
        Session(8, 1, 'iqn.test:a', '2001:db8::1'),
    ]
    reply(ear, 'Portal: 127.0.0.1:3260,1\nPortal: [::1]:3261,1\n')
    assert tgt.portals() == {'127.0.0.1:3260', '[::1]:3261'}


def test_another_protocol_is_recognized(ear: Ear, tgt: Tgt, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tgtd that understands tgtadm and not us, or the other way round."""
    monkeypatch.setenv('TGT_IPC_SOCKET', prefix)
    reply(ear, 'System:\n    State: ready\n')
    tgt.check_protocol()
    monkeypatch.setattr(tgt, 'system', lambda: 'something else')
    with pytest.raises(Unavailable, match='control protocol'):
        tgt.check_protocol()


def test_the_socket_is_where_tgtadm_looks() -> None:
    assert Path(Tgt(7).socket).name.endswith('.7')
