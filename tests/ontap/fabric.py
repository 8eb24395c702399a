"""The data side of the double: LUNs as files with reflinks, shown by a real tgtd behind LIFs of our own.

tgt shows one set of LUNs to all who may log in to a target; ONTAP has one target per SVM and shows each initiator the
LUNs that are mapped to it. So every initiator has a target of its own at tgtd, and a LIF is a small proxy that reads
who logs in and hands the connection to that initiator's target. From there on it is tgtd's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import socket
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from appliance.image import ImageStore
from appliance.targets import NEGOTIATION
from appliance.tgt import Mode, Op, Session, Status, Tgt, TgtError
from tests.tgt import Tgtd

FICLONE = 0x40049409

_GONE = (Status.NO_TARGET, Status.NO_SESSION, Status.NO_CONNECTION)
_HEADER = 48
_LOGIN = 0x03


@dataclasses.dataclass(frozen=True)
class Unit:
    """A LUN as an initiator sees it."""

    uuid: str
    serial: str
    size: int
    thin: bool

    @property
    def parameters(self) -> str:
        wwid = hashlib.sha256(self.serial.encode()).hexdigest()[:32]
        facts = {'vendor_id': 'NETAPP', 'product_id': 'LUN C-Mode', 'scsi_sn': self.serial, 'scsi_id': wwid}
        facts |= {'thin_provisioning': str(int(self.thin))}
        return 'targetOps ' + ''.join(f'{name}={value},' for name, value in facts.items())


class Host:
    """An initiator's target at tgtd. ``gate`` is held while its LUNs change under its sessions."""

    def __init__(self, tgt: Tgt, tid: int) -> None:
        self.tgt = tgt
        self.tid = tid
        self.iqn = f'iqn.2026-01.local.double:host-{tid}'
        self.units: dict[int, Unit] = {}
        self.account: tuple[str, str] | None = None
        self.gate = threading.RLock()
        self.links: set[socket.socket] = set()
        tgt.call('add a target', Mode.TARGET, Op.NEW, f'targetname={self.iqn}', tid=tid)
        for name, value in NEGOTIATION.items():
            tgt.call('tune a target', Mode.TARGET, Op.UPDATE, f'{name}={value}', tid=tid)
        tgt.call('open a target', Mode.TARGET, Op.BIND, 'initiator-address=ALL', tid=tid)

    def sessions(self) -> list[Session]:
        return self.tgt.sessions(self.tid)

    def authenticate(self, account: tuple[str, str] | None) -> None:
        if self.account:
            user = f'user={self.account[0]}'
            self.tgt.call('unbind an account', Mode.ACCOUNT, Op.UNBIND, user, tid=self.tid)
            self.tgt.call('delete an account', Mode.ACCOUNT, Op.DELETE, user)
        if account:
            secret = f'user={account[0]},password={account[1]}'
            self.tgt.call('add an account', Mode.ACCOUNT, Op.NEW, secret)
            self.tgt.call('bind an account', Mode.ACCOUNT, Op.BIND, f'user={account[0]}', tid=self.tid)
        self.account = account

    def show(self, number: int, unit: Unit, path: Path) -> None:
        """Map the unit as LUN ``number``. 0 is not added: tgt's own LUN 0 is its controller."""
        self.units[number] = unit
        if number:
            self.tgt.call('add a LUN', Mode.LOGICALUNIT, Op.NEW, f'path={path}', tid=self.tid, lun=number)
            self.tgt.call('name a LUN', Mode.LOGICALUNIT, Op.UPDATE, unit.parameters, tid=self.tid, lun=number)

    def hide(self, number: int) -> None:
        del self.units[number]
        deadline = time.monotonic() + 10
        while number:
            try:
                self.tgt.call('delete a LUN', Mode.LOGICALUNIT, Op.DELETE, tid=self.tid, lun=number)
                return
            except TgtError:  # commands are at work
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.005)

    @contextlib.contextmanager
    def between_sessions(self) -> Iterator[None]:
        """ONTAP changes a LUN under its sessions; tgt cannot, so here the host logs in again, and misses nothing."""
        with self.gate:
            for link in list(self.links):
                with contextlib.suppress(OSError):
                    link.shutdown(socket.SHUT_RDWR)
            deadline = time.monotonic() + 10
            while self.sessions() and time.monotonic() < deadline:
                for session in self.sessions():
                    self.tgt.call('end a session', Mode.CONNECTION, Op.DELETE, tid=self.tid,
                                  sid=session.sid, cid=session.cid, allow=_GONE)  # fmt: skip
            yield

    def remove(self) -> None:
        self.authenticate(None)
        self.tgt.call('delete a target', Mode.TARGET, Op.DELETE, tid=self.tid, force=True, allow=_GONE)


class Fabric:
    """``with Fabric(folder) as fabric``: a store of 8 GiB, a tgtd, and two LIFs at one port."""

    def __init__(self, folder: Path, target_iqn: str) -> None:
        self.target_iqn = target_iqn
        self._folder = folder
        self._lock = threading.RLock()
        self._hosts: dict[str, Host] = {}
        self._next_tid = 1
        self.port = 0
        self.addresses: list[str] = []

    def __enter__(self) -> Fabric:
        with contextlib.ExitStack() as stack:
            store = ImageStore(self._folder / 'store.img', 8 * 1024**3, self._folder / 'store', ['luns'])
            stack.callback(store.close)
            self._tgtd = stack.enter_context(Tgtd())
            self._tgt = Tgt(1)
            self._tgt.socket = self._tgtd._environment()['TGT_IPC_SOCKET'] + '.1'
            self._lifs = [Lif(self, '127.0.0.1', 0)]
            self._lifs.append(Lif(self, '127.0.0.2', self._lifs[0].port))
            for lif in self._lifs:
                stack.callback(lif.close)
            self.port, self.addresses = self._lifs[0].port, [lif.address for lif in self._lifs]
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def tgtd_portal(self) -> str:
        return self._tgtd.portal

    def create(self, uuid: str, size: int) -> None:
        with self._path(uuid).open('xb') as file:
            file.truncate(size)

    def clone(self, source: str, uuid: str) -> None:
        """Copy point-in-time consistently, even during writes to the source; an existing target is overwritten."""
        with self._path(source).open('rb') as old, self._path(uuid).open('wb') as new:
            fcntl.ioctl(new.fileno(), FICLONE, old.fileno())

    def clone_all(self, clones: Mapping[str, str]) -> None:
        """Copy each target from its source, all point-in-time consistent."""
        with self._lock, self._tgtd.paused():
            for source, uuid in clones.items():
                self.clone(source, uuid)

    def delete(self, uuid: str) -> None:
        self._path(uuid).unlink()

    def change(self, unit: Unit, source: str = '') -> None:
        """Give a LUN another size, the data of a source, or other features, even while hosts have it open."""
        with self._lock, contextlib.ExitStack() as stack:
            shown = [
                (host, number)
                for host in self._hosts.values()
                for number, one in host.units.items()
                if one.uuid == unit.uuid
            ]
            for host, _ in shown:
                stack.enter_context(host.between_sessions())
            if source:
                self.clone(source, unit.uuid)
            with self._path(unit.uuid).open('r+b') as file:
                file.truncate(unit.size)
            for host, number in shown:
                host.hide(number)
                host.show(number, unit, self._path(unit.uuid))

    def show(self, initiator: str, number: int, unit: Unit) -> None:
        with self._lock:
            self.host(initiator).show(number, unit, self._path(unit.uuid))

    def hide(self, initiator: str, number: int) -> None:
        with self._lock:
            host = self.host(initiator)
            host.hide(number)
            self._tidy(initiator)

    def authenticate(self, initiator: str, account: tuple[str, str] | None) -> None:
        with self._lock:
            self.host(initiator).authenticate(account)
            self._tidy(initiator)

    def initiators(self) -> list[str]:
        """One name per session."""
        with self._lock:
            return [name for name, host in self._hosts.items() for _ in host.sessions()]

    def host(self, initiator: str) -> Host:
        with self._lock:
            if initiator not in self._hosts:
                self._hosts[initiator] = Host(self._tgt, self._next_tid)
                self._next_tid += 1
            return self._hosts[initiator]

    def _tidy(self, initiator: str) -> None:
        host = self._hosts[initiator]
        if not host.units and not host.account and not host.sessions():
            host.remove()
            del self._hosts[initiator]

    def _path(self, uuid: str) -> Path:
        return self._folder / 'store' / 'luns' / uuid


class Lif:
    """A portal: it looks at the first login request only."""

    def __init__(self, fabric: Fabric, address: str, port: int) -> None:
        self._fabric = fabric
        self._server = socket.create_server((address, port))
        self.address, self.port = self._server.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        with link, contextlib.suppress(OSError, ValueError):
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            header, keys = _login(link)
            host = self._fabric.host(keys['InitiatorName'])
            if keys.get('TargetName') == self._fabric.target_iqn:
                keys['TargetName'] = host.iqn
            ip, _, port = self._fabric.tgtd_portal.rpartition(':')
            with host.gate:
                tgtd = socket.create_connection((ip, int(port)))
                host.links.update((link, tgtd))
            tgtd.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                tgtd.sendall(_request(header, keys))
                back = threading.Thread(target=_pump, args=(tgtd, link), daemon=True)
                back.start()
                _pump(link, tgtd)
                back.join()
            finally:
                host.links.difference_update((link, tgtd))
                tgtd.close()


def _login(link: socket.socket) -> tuple[bytes, dict[str, str]]:
    header = _receive(link, _HEADER)
    if header[0] & 0x3F != _LOGIN:
        raise ValueError('no login')
    length = int.from_bytes(header[5:8], 'big')
    text = _receive(link, length + -length % 4)[:length].rstrip(b'\0').decode()
    return header, dict(pair.split('=', 1) for pair in text.split('\0'))


def _request(header: bytes, keys: dict[str, str]) -> bytes:
    text = b''.join(f'{key}={value}\0'.encode() for key, value in keys.items())
    return header[:4] + struct.pack('>I', len(text)) + header[8:] + text + bytes(-len(text) % 4)


def _receive(link: socket.socket, length: int) -> bytes:
    data = b''
    while len(data) < length:
        more = link.recv(length - len(data))
        if not more:
            raise ConnectionError('gone')
        data += more
    return data


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Forward data until either side ends, then shut both down."""
    with contextlib.suppress(OSError):
        while data := source.recv(262144):
            target.sendall(data)
    for link in (source, target):
        with contextlib.suppress(OSError):
            link.shutdown(socket.SHUT_RDWR)
