"""One iSCSI target per volume at tgtd: its LUN, who may log in, who is logged in.

Rules that tgt makes necessary:

* Access by initiator name only. A name and an address are alternatives to tgt, so an address would open the target.
* A target without names is closed to all: a name is bound last and goes first. Accounts: see ``accounts``.
* tgt numbers targets, and derives a LUN's WWID from the number: two hosts with multipath would join different volumes
  into one. Each LUN is given a WWID and a serial of its own.
* tgt does not see a file grow. ``reload`` makes the LUN anew: new logins are refused for that moment, sessions are
  dropped, and what they had in flight is on disk before the old LUN is gone. An initiator takes that for a lost
  connection: it logs in again and repeats what was not answered, so no command fails, and it sees the new size.

The caller holds the lock of the object that a target belongs to.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from appliance.accounts import Accounts
from appliance.errors import Busy, Unavailable
from appliance.keys import Account
from appliance.tgt import Mode, Op, Session, Status, Tgt, TgtError

LUN = 1

#: Without these a write moves in steps of 8 KiB, each asked for.
NEGOTIATION = {
    'MaxRecvDataSegmentLength': '262144',
    'MaxXmitDataSegmentLength': '262144',
    'FirstBurstLength': '262144',
    'MaxBurstLength': '1048576',
    'MaxOutstandingR2T': '16',
    'InitialR2T': 'No',
    'ImmediateData': 'Yes',
}

#: Seconds to wait for sessions to end and for commands in flight to reach the disk.
SETTLE = 5.0

_GONE = (Status.NO_TARGET, Status.NO_SESSION, Status.NO_CONNECTION)


class Lun(NamedTuple):
    """What a target shows. ``serial`` is the volume's id, ``flags`` tgt's bsoflags."""

    path: str
    size: int
    serial: str
    readonly: bool
    flags: str

    @property
    def wwid(self) -> str:
        """32 hexadecimal digits; the first becomes 6, the type of a registered extended NAA name."""
        return hashlib.sha256(self.serial.encode()).hexdigest()[:32]

    @property
    def parameters(self) -> str:
        facts = {
            'vendor_id': 'Cinder',
            'product_id': 'Cinderless',
            'scsi_sn': self.serial[:36],
            'scsi_id': self.wwid,
            'thin_provisioning': '1',
            'readonly': str(int(self.readonly)),
        }
        return 'targetOps ' + ''.join(f'{name}={value},' for name, value in facts.items())


@dataclasses.dataclass
class _Live:
    """A target at tgtd. ``size`` of its LUN is 0 while that is unknown; ``admitted`` holds (initiator, user)."""

    tid: int
    accounts: Accounts
    size: int = 0
    admitted: set[tuple[str, str]] = dataclasses.field(default_factory=set)


class Targets:
    def __init__(self, tgt: Tgt) -> None:
        self._tgt = tgt
        self._lock = threading.Lock()
        self._live: dict[str, _Live] = {}
        #: Target numbers of others at a tgtd that is not ours alone.
        self._foreign: set[int] = set()

    def adopt(self, iqns: set[str]) -> None:
        """Take over those targets that an earlier agent left at a tgtd that goes on; their sessions go on, too.

        Nobody new is let in until he is admitted anew.
        """
        for info in self._tgt.targets():
            if info.iqn not in iqns:
                self._foreign.add(info.tid)
                continue
            for name in info.initiators:
                self._acl(Op.UNBIND, info.tid, name)
            self._live[info.iqn] = _Live(info.tid, Accounts(self._tgt, info.tid, info.users))

    def open(self, iqn: str, lun: Lun) -> None:
        """Have a target with this LUN. A LUN of another size is made anew, if no session uses it."""
        live = self._live.get(iqn)
        if live is None:
            self._new(iqn, lun)
        elif live.size != lun.size and not self.sessions(iqn):
            self.reload(iqn, lun)

    def admit(self, iqn: str, initiator: str, account: Account) -> None:
        """Let an initiator in, with this account."""
        live = self._live[iqn]
        if (initiator, account.user) in live.admitted:
            return
        live.accounts.add(account)
        self._acl(Op.BIND, live.tid, initiator)
        live.admitted.add((initiator, account.user))

    def expel(self, iqn: str, initiator: str, user: str) -> None:
        """Shut an initiator out, and end its sessions. One that was not admitted is success."""
        live = self._live.get(iqn)
        if live is None:
            return
        self._acl(Op.UNBIND, live.tid, initiator)
        live.accounts.remove(user)
        live.admitted.discard((initiator, user))
        self._kick(iqn, lambda session: session.initiator == initiator)

    def close(self, iqn: str) -> None:
        """Remove the target. Its initiators are expelled already."""
        live = self._live.get(iqn)
        if live is None:
            return
        self._kick(iqn, lambda session: True)
        self._remove_lun(live)
        self._tgt.call('delete a target', Mode.TARGET, Op.DELETE, tid=live.tid, force=True, allow=_GONE)
        with self._lock:
            del self._live[iqn]

    def sessions(self, iqn: str) -> list[Session]:
        live = self._live.get(iqn)
        return self._tgt.sessions(live.tid) if live else []

    def size(self, iqn: str) -> int | None:
        """What the target's LUN shows; None without a target, 0 if unknown."""
        live = self._live.get(iqn)
        return live.size if live else None

    def hold(self, iqn: str) -> None:
        """Refuse logins, with an answer that initiators take for "later", until ``reload``, ``release`` or ``close``.

        Raises Busy if a session is open: what it sends to a held target would be lost.
        """
        live = self._live.get(iqn)
        if live is None:
            return
        self._refuse_sessions(iqn)
        self._state(live, 'offline')
        try:
            self._refuse_sessions(iqn)
        except Busy:
            self._kick(iqn, lambda session: True)
            self._state(live, 'ready')
            raise

    def unload(self, iqn: str) -> None:
        """Have tgtd close what a held target shows: LVM removes no volume that is open. ``reload`` shows it again."""
        live = self._live.get(iqn)
        if live:
            live.size = 0
            self._remove_lun(live)

    def release(self, iqn: str) -> None:
        live = self._live.get(iqn)
        if live:
            self._state(live, 'ready')

    def reload(self, iqn: str, lun: Lun) -> None:
        """Make the target's LUN anew, under the sessions. After an error the target stays held: repeat the call."""
        live = self._live[iqn]
        live.size = 0
        self._state(live, 'offline')
        self._kick(iqn, lambda session: True)
        self._remove_lun(live)
        self._new_lun(live, lun)
        self._state(live, 'ready')

    def _refuse_sessions(self, iqn: str) -> None:
        for session in self.sessions(iqn):
            raise Busy(f'{iqn} is in use by {session.initiator}: detach it there first')

    def _new(self, iqn: str, lun: Lun) -> None:
        live = self._number(iqn)
        try:
            live.accounts.prepare()
            for name, value in NEGOTIATION.items():
                self._tgt.call('tune a target', Mode.TARGET, Op.UPDATE, f'{name}={value}', tid=live.tid)
            self._new_lun(live, lun)
        except Unavailable:
            self.close(iqn)
            raise

    def _number(self, iqn: str) -> _Live:
        """Make a target under the lowest number that is free."""
        with self._lock:
            while True:
                taken = self._foreign.union(live.tid for live in self._live.values())
                tid = next(number for number in itertools.count(1) if number not in taken)
                try:
                    self._tgt.call('add a target', Mode.TARGET, Op.NEW, f'targetname={iqn}', tid=tid)
                except TgtError as error:
                    self._learn(iqn, error)
                    continue
                return self._live.setdefault(iqn, _Live(tid, Accounts(self._tgt, tid)))

    def _learn(self, iqn: str, error: TgtError) -> None:
        """Somebody else uses this tgtd: see which numbers, and go on unless it is our name that is taken."""
        if error.tgt_status != Status.TARGET_EXISTS:
            raise error
        others = [info for info in self._tgt.targets() if info.iqn not in self._live]
        if any(info.iqn == iqn for info in others):
            raise Busy(f'tgtd has a target {iqn} that this agent did not make: remove it there') from error
        self._foreign = {info.tid for info in others}

    def _new_lun(self, live: _Live, lun: Lun) -> None:
        store = f'path={lun.path}' + (f',bsoflags={lun.flags}' if lun.flags else '')
        self._tgt.call('add a LUN', Mode.LOGICALUNIT, Op.NEW, store, tid=live.tid, lun=LUN)
        self._tgt.call('name a LUN', Mode.LOGICALUNIT, Op.UPDATE, lun.parameters, tid=live.tid, lun=LUN)
        live.size = lun.size

    def _remove_lun(self, live: _Live) -> None:
        """tgt refuses while commands are at work; without sessions that is a matter of the disk."""
        deadline = time.monotonic() + SETTLE
        while True:
            try:
                allow = (Status.NO_LUN, Status.NO_TARGET)
                self._tgt.call('delete a LUN', Mode.LOGICALUNIT, Op.DELETE, tid=live.tid, lun=LUN, allow=allow)
                return
            except TgtError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.005)

    def _kick(self, iqn: str, which: Callable[[Session], bool]) -> None:
        """End sessions until there are none: a login that was let in before may end after the first look."""
        live, deadline = self._live[iqn], time.monotonic() + SETTLE
        while True:
            doomed = [session for session in self._tgt.sessions(live.tid) if which(session)]
            if not doomed:
                return
            if time.monotonic() > deadline:
                raise Busy(f'sessions of {doomed[0].initiator} at {iqn} do not end')
            for session in doomed:
                self._tgt.call('end a session', Mode.CONNECTION, Op.DELETE, tid=live.tid,
                               sid=session.sid, cid=session.cid, allow=_GONE)  # fmt: skip

    def _state(self, live: _Live, state: str) -> None:
        self._tgt.call(f'set a target {state}', Mode.TARGET, Op.UPDATE, f'state={state}', tid=live.tid)

    def _acl(self, op: Op, tid: int, initiator: str) -> None:
        allow = (Status.ACL_EXISTS, Status.NO_ACL, Status.NO_TARGET) if op == Op.UNBIND else (Status.ACL_EXISTS,)
        what = f'{op.name.lower()} an initiator'
        self._tgt.call(what, Mode.TARGET, op, f'initiator-name={initiator}', tid=tid, allow=allow)
