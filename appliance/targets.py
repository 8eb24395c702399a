"""iSCSI targets at tgtd: the LUN, who may log in, who is logged in.

A target is described by ``Wanted``. ``serve`` brings tgtd to it, whatever tgtd has: it builds the target, makes its LUN
again, or only sets it ready. What tgtd has is known from the steps that it confirmed. A step that fails or gets no
answer leaves the target in doubt: the next call reads it from tgtd ("show target") before it changes anything.

Rules that tgt makes necessary:

* Access by initiator name only. To tgt a name and an address are alternatives, so an address would open the target.
* A target without names admits no initiator: the name is bound last, when account and LUN are there.
* Accounts are never unbound. tgt leaves a gap in its list then, in which it loses the last account and which crashes
  "show target". A target whose accounts must change is removed and built again.
* A target's number is never used twice. tgt checks name, account and state at the start of a login and looks the target
  up by its number at the end: a login that a client holds open would end at the number's next target.
* tgt numbers targets, and derives a LUN's WWID from the number: two hosts with multipath would join different volumes
  into one. Each LUN is given a WWID and a serial of its own.
* tgt does not see a file grow. The LUN is made again: logins are refused for that moment, sessions are dropped, and
  what they had in flight is on disk before the old LUN is gone. An initiator takes that for a lost connection: it logs
  in again and repeats what was not answered, so no command fails, and it sees the new size.

The caller holds the lock of the object that a target belongs to.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from appliance.errors import ApplianceError, Busy
from appliance.keys import USER_LENGTH, Account
from appliance.tgt import LunInfo, Mode, Op, Session, Status, TargetInfo, Tgt, TgtError

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

#: Target numbers are C ints. A life of the agent begins at the host's uptime times this many a second, so that one
#: that takes over a tgtd uses no number of the life before.
_NUMBERS_A_SECOND = 16
_MOST_NUMBERS = 2**31 - 1

#: What ``keys`` derives. Other accounts are bound to other targets, too: earlier versions shared some.
_USER = re.compile(f'[A-Za-z0-9]{{{USER_LENGTH}}}')

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

    def is_shown_by(self, info: LunInfo | None) -> bool:
        """Whether tgtd has this LUN, as far as it shows. Sizes that round to the same megabyte look alike."""
        if info is None or abs(info.megabytes * 10**6 - self.size) > 10**6:
            return False
        ours = (self.path, self.serial[:36], self.wwid, self.readonly, True)
        return ours == (info.path, info.serial, info.wwid, info.readonly, info.thin)


class Wanted(NamedTuple):
    """A target as it should be. ``admitted`` maps each CHAP account to the initiator that uses it."""

    lun: Lun
    admitted: Mapping[Account, str]

    @property
    def users(self) -> frozenset[str]:
        return frozenset(account.user for account in self.admitted)

    @property
    def initiators(self) -> frozenset[str]:
        return frozenset(self.admitted.values())


@dataclasses.dataclass
class _Live:
    """A target as tgtd has it. ``lun`` is None while there is none, or not the right one."""

    tid: int
    life: int
    users: frozenset[str] = frozenset()
    initiators: frozenset[str] = frozenset()
    lun: Lun | None = None
    ready: bool = True
    #: False from the first step of a change until its last one is confirmed.
    known: bool = False

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """In doubt, until the block ends without an error."""
        self.known = False
        yield
        self.known = True


class Targets:
    """Thread-safe for callers that hold different objects' locks."""

    def __init__(self, tgt: Tgt) -> None:
        self._tgt = tgt
        self._lock = threading.Lock()
        self._live: dict[str, _Live] = {}
        self._number = int(time.monotonic() * _NUMBERS_A_SECOND) % _MOST_NUMBERS

    def adopt(self, wanted: Mapping[str, Wanted]) -> None:
        """Read those targets that an earlier agent left at a tgtd that goes on; ``serve`` brings them up to date."""
        for info in self._tgt.targets():
            if info.iqn in wanted:
                self._live[info.iqn] = self._as_shown(info, wanted[info.iqn].lun)

    def serve(self, iqn: str, wanted: Wanted) -> None:
        """Have this target at tgtd, ready for logins. Sessions go on, unless LUN or accounts must change."""
        live = self._look(iqn, wanted.lun) or self._build(iqn, wanted)
        if (live.users, live.initiators) != (wanted.users, wanted.initiators):
            self.close(iqn)
            live = self._build(iqn, wanted)
        if live.lun != wanted.lun:
            self._reload(live, wanted.lun)
        elif not live.ready:
            with live.changing():
                self._state(live, ready=True)

    def close(self, iqn: str) -> None:
        """Remove the target, with everything that is logged in through it. A missing one is success."""
        live = self._look(iqn)
        if live is None:
            return
        with live.changing():
            self._empty(live)
            # A login that began before the target was offline may have ended meanwhile.
            self._end_sessions(live)
            self._tgt.call('delete a target', Mode.TARGET, Op.DELETE, tid=live.tid, force=True, allow=_GONE)
            for user in filter(_USER.fullmatch, live.users):
                self.remove_account(user)
        del self._live[iqn]

    def remove_account(self, user: str) -> None:
        """Delete an account that no target has. A missing one is success."""
        self._tgt.call('delete an account', Mode.ACCOUNT, Op.DELETE, f'user={user}', allow=(Status.NO_ACCOUNT,))

    def hold(self, iqn: str) -> None:
        """Refuse logins, with an answer that initiators take for "later", until ``serve`` or ``close``.

        Raises Busy if a session is open: what it sends to a held target would be lost. Then it is not held.
        """
        live = self._look(iqn)
        if live is None:
            return
        self._refuse_sessions(live, iqn)
        with live.changing():
            self._state(live, ready=False)
            try:
                self._refuse_sessions(live, iqn)
            except Busy:
                self._end_sessions(live)
                self._state(live, ready=True)
                live.known = True
                raise

    def unload(self, iqn: str) -> None:
        """Have tgtd close what a held target shows: LVM removes no volume that is open. ``serve`` shows it again."""
        live = self._live.get(iqn)
        if live:
            with live.changing():
                self._remove_lun(live)

    def sessions(self, iqn: str) -> list[Session]:
        live = self._live.get(iqn)
        return self._tgt.sessions(live.tid) if live else []

    def check_answers(self) -> None:
        """Raises NoAnswer unless tgtd answers now."""
        self._tgt.system()

    def is_served(self, iqn: str) -> bool:
        """Whether the target is there and ready, by confirmed steps. One that is held, or was left so, is not."""
        live = self._live.get(iqn)
        return bool(live and live.known and live.ready and live.lun and live.life == self._tgt.life)

    def differing(self, wanted: Mapping[str, Wanted]) -> set[str]:
        """Compare all targets with tgtd. Those that differ are in doubt from now on."""
        shown = {info.iqn: info for info in self._tgt.targets()}
        found = {iqn for iqn, one in wanted.items() if not _is_as_wanted(shown.get(iqn), one)}
        for iqn in found & set(self._live):
            self._live[iqn].known = False
        return found

    def strays(self, prefix: str, but: Collection[str]) -> list[TargetInfo]:
        """Targets at tgtd whose names begin with ``prefix`` and are not among ``but``."""
        return [info for info in self._tgt.targets() if info.iqn.startswith(prefix) and info.iqn not in but]

    def remove_stray(self, iqn: str) -> None:
        """Remove a target that no export has. Its number and accounts are read first."""
        self._live.setdefault(iqn, _Live(0, self._tgt.life))
        self._live[iqn].known = False
        self.close(iqn)

    # What tgtd has

    def _look(self, iqn: str, expected: Lun | None = None) -> _Live | None:
        """The target as tgtd has it, read from tgtd when it is in doubt. ``expected`` as in ``_as_shown``."""
        live = self._live.get(iqn)
        if live is None:
            return None
        if not live.known and live.life == self._tgt.life:
            shown = [info for info in self._tgt.targets() if info.iqn == iqn]
            live = self._as_shown(shown[0], live.lun or expected) if shown else None
        if live is None or live.life != self._tgt.life:
            del self._live[iqn]
            return None
        self._live[iqn] = live
        return live

    def _as_shown(self, info: TargetInfo, expected: Lun | None) -> _Live:
        """``expected`` is the LUN that it should have: tgtd does not distinguish nearly equal sizes."""
        lun = expected if expected and expected.is_shown_by(info.lun) else None
        return _Live(info.tid, self._tgt.life, info.users, info.initiators, lun, info.ready, known=True)

    # Steps

    def _build(self, iqn: str, wanted: Wanted) -> _Live:
        """Make the target, or return the one that an unanswered request or an earlier agent made."""
        live = self._add(iqn, wanted.lun)
        if live.known:
            return live
        try:
            with live.changing():
                self._fill(live, wanted)
        except TgtError:
            with contextlib.suppress(ApplianceError):  # the first error says more
                self.close(iqn)
            raise
        return live

    def _fill(self, live: _Live, wanted: Wanted) -> None:
        for account in wanted.admitted:
            self._add_account(live, account)
        for name, value in NEGOTIATION.items():
            self._tgt.call('tune a target', Mode.TARGET, Op.UPDATE, f'{name}={value}', tid=live.tid)
        self._new_lun(live, wanted.lun)
        for initiator in sorted(wanted.initiators):
            self._bind(live, initiator)

    def _add(self, iqn: str, lun: Lun) -> _Live:
        """Make a target under a new number. Raises Busy if another program made one of that name."""
        while True:
            live = self._live[iqn] = _Live(self._next_number(), self._tgt.life)
            try:
                self._tgt.call('add a target', Mode.TARGET, Op.NEW, f'targetname={iqn}', tid=live.tid)
            except TgtError as error:
                del self._live[iqn]
                if error.tgt_status != Status.TARGET_EXISTS:
                    raise
                if self._take_over(iqn, lun):
                    return self._live[iqn]
            else:
                live.life = self._tgt.life
                return live

    def _take_over(self, iqn: str, lun: Lun) -> bool:
        """Whether the name is taken by a target of ours; False if only the number is, by another user of the tgtd."""
        for info in self._tgt.targets():
            if info.iqn == iqn:
                if info.lun and info.lun.path != lun.path:
                    raise Busy(f'tgtd has a target {iqn} that this agent did not make: remove it there')
                self._live[iqn] = self._as_shown(info, lun)
                return True
        return False

    def _next_number(self) -> int:
        with self._lock:
            self._number = self._number % _MOST_NUMBERS + 1
            return self._number

    def _add_account(self, live: _Live, account: Account) -> None:
        """An account of that name has our secret already: both are derived from one key."""
        parameters = f'user={account.user},password={account.secret}'
        self._tgt.call('add an account', Mode.ACCOUNT, Op.NEW, parameters, allow=(Status.ACCOUNT_EXISTS,))
        self._tgt.call('bind an account', Mode.ACCOUNT, Op.BIND, f'user={account.user}', tid=live.tid)
        live.users |= {account.user}

    def _bind(self, live: _Live, initiator: str) -> None:
        self._tgt.call('bind an initiator', Mode.TARGET, Op.BIND, f'initiator-name={initiator}', tid=live.tid)
        live.initiators |= {initiator}

    def _reload(self, live: _Live, lun: Lun) -> None:
        """Make the LUN again, under the sessions."""
        with live.changing():
            self._empty(live)
            self._new_lun(live, lun)
            self._state(live, ready=True)

    def _empty(self, live: _Live) -> None:
        """Admit no login, end the sessions, and remove the LUN when its commands are done."""
        self._state(live, ready=False)
        self._end_sessions(live)
        self._remove_lun(live)

    def _new_lun(self, live: _Live, lun: Lun) -> None:
        store = f'path={lun.path}' + (f',bsoflags={lun.flags}' if lun.flags else '')
        self._tgt.call('add a LUN', Mode.LOGICALUNIT, Op.NEW, store, tid=live.tid, lun=LUN)
        self._tgt.call('name a LUN', Mode.LOGICALUNIT, Op.UPDATE, lun.parameters, tid=live.tid, lun=LUN)
        live.lun = lun

    def _remove_lun(self, live: _Live) -> None:
        """tgt refuses while commands are at work; without sessions that is a matter of the disk."""
        live.lun = None
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

    def _refuse_sessions(self, live: _Live, iqn: str) -> None:
        for session in self._tgt.sessions(live.tid):
            raise Busy(f'{iqn} is in use by {session.initiator}: detach it there first')

    def _end_sessions(self, live: _Live) -> None:
        """End sessions until there are none: a login that was let in before may end after the first look."""
        deadline = time.monotonic() + SETTLE
        while True:
            doomed = self._tgt.sessions(live.tid)
            if not doomed:
                return
            if time.monotonic() > deadline:
                raise Busy(f'sessions of {doomed[0].initiator} do not end')
            for session in doomed:
                self._tgt.call('end a session', Mode.CONNECTION, Op.DELETE, tid=live.tid,
                               sid=session.sid, cid=session.cid, allow=_GONE)  # fmt: skip

    def _state(self, live: _Live, *, ready: bool) -> None:
        state, allow = ('ready', ()) if ready else ('offline', (Status.NO_TARGET,))
        self._tgt.call(f'set a target {state}', Mode.TARGET, Op.UPDATE, f'state={state}', tid=live.tid, allow=allow)
        live.ready = ready


def _is_as_wanted(info: TargetInfo | None, wanted: Wanted) -> bool:
    if info is None or not info.ready or not wanted.lun.is_shown_by(info.lun):
        return False
    return (info.users, info.initiators) == (wanted.users, wanted.initiators)
