"""iSCSI targets in tgtd: the LUN, the accounts and initiators, the sessions.

``Wanted`` describes a target. ``serve`` brings tgtd to it from any state: it builds the target, replaces its LUN, or
only sets it ready. tgtd's state is known from confirmed steps. After a step that fails or gets no answer the state is
in doubt: the next call reads it from tgtd ("show target") before it changes anything.

Rules that tgt makes necessary:

* Access by initiator name only. For tgt a name and an address are alternatives, so an address would open the target.
* A target without names admits no initiator: the name is bound last, after account and LUN.
* Accounts are never unbound: that leaves a gap in tgt's list, after which it loses the last account, and "show target"
  crashes. A target whose accounts must change is removed and rebuilt.
* A target's number is never reused. tgt checks name, account and state at the start of a login, and looks the target up
  by its number at the end: a login that a client delays would reach the next target of that number.
* tgt numbers targets, and derives a LUN's WWID from the number: two hosts with multipath would merge different volumes.
  So each LUN gets its own WWID and serial number.
* tgt does not notice that a file grows. So the LUN is replaced: logins are refused meanwhile, sessions are dropped, and
  their commands in flight are on disk before the old LUN is removed. For an initiator this is a lost connection: it
  logs in again and repeats unanswered commands, so none fails, and it sees the new size.

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

#: Without these a write is transferred in steps of 8 KiB, each requested by tgtd.
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

#: Target numbers are C ints. Each start of the agent begins at the host's uptime times this many a second, so that an
#: agent that takes over a tgtd uses no earlier number.
_NUMBERS_A_SECOND = 16
_MOST_NUMBERS = 2**31 - 1

#: The users that ``keys`` derives. Other accounts are bound to other targets, too: earlier versions shared some.
_USER = re.compile(f'[A-Za-z0-9]{{{USER_LENGTH}}}')

_GONE = (Status.NO_TARGET, Status.NO_SESSION, Status.NO_CONNECTION)


class Lun(NamedTuple):
    """The LUN of a target. ``serial`` is the volume's id, ``flags`` tgt's bsoflags."""

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
        """Whether tgtd has this LUN, as far as it reports. Sizes that round to the same megabyte look alike."""
        if info is None or abs(info.megabytes * 10**6 - self.size) > 10**6:
            return False
        ours = (self.path, self.serial[:36], self.wwid, self.readonly, True)
        return ours == (info.path, info.serial, info.wwid, info.readonly, info.thin)


class Wanted(NamedTuple):
    """The required state of a target. ``admitted`` maps each CHAP account to the initiator that uses it."""

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
    """A target in tgtd. ``lun`` is None while it has none, or not the right one."""

    tid: int
    life: int
    users: frozenset[str] = frozenset()
    initiators: frozenset[str] = frozenset()
    lun: Lun | None = None
    ready: bool = True
    #: False from the first step of a change until its last step is confirmed.
    known: bool = False

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """The state is in doubt until the block ends without an error."""
        self.known = False
        yield
        self.known = True


class Targets:
    """Thread-safe for callers that hold the locks of different objects."""

    def __init__(self, tgt: Tgt) -> None:
        self._tgt = tgt
        self._lock = threading.Lock()
        self._live: dict[str, _Live] = {}
        self._number = int(time.monotonic() * _NUMBERS_A_SECOND) % _MOST_NUMBERS

    def adopt(self, wanted: Mapping[str, Wanted]) -> None:
        """Read the targets that an earlier agent left in a running tgtd; ``serve`` brings them up to date."""
        for info in self._tgt.targets():
            if info.iqn in wanted:
                self._live[info.iqn] = self._as_shown(info, wanted[info.iqn].lun)

    def serve(self, iqn: str, wanted: Wanted) -> None:
        """Bring this target up in tgtd, ready for logins. Sessions continue unless LUN or accounts must change."""
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
        """Remove the target with all its sessions. A missing one is success."""
        live = self._look(iqn)
        if live is None:
            return
        with live.changing():
            self._empty(live)
            # A login that began before the target was offline may have completed since.
            self._end_sessions(live)
            self._tgt.call('delete a target', Mode.TARGET, Op.DELETE, tid=live.tid, force=True, allow=_GONE)
            for user in filter(_USER.fullmatch, live.users):
                self.remove_account(user)
        del self._live[iqn]

    def remove_account(self, user: str) -> None:
        """Delete an account that no target uses. A missing one is success."""
        self._tgt.call('delete an account', Mode.ACCOUNT, Op.DELETE, f'user={user}', allow=(Status.NO_ACCOUNT,))

    def refuse_logins(self, iqn: str) -> None:
        """Refuse logins, with a status that makes initiators retry, until ``serve`` or ``close``.

        Raises Busy if a session is open: commands to an offline target would be lost. Then logins are allowed again.
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
        """Close the LUN of an offline target: LVM removes no open volume. ``serve`` opens it again."""
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
        """Whether the target is confirmed to exist and be ready. Offline targets are not."""
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
        """Return targets in tgtd whose names begin with ``prefix`` and are not among ``but``."""
        return [info for info in self._tgt.targets() if info.iqn.startswith(prefix) and info.iqn not in but]

    def remove_stray(self, iqn: str) -> None:
        """Remove a target without an export. Its number and accounts are read first."""
        self._live.setdefault(iqn, _Live(0, self._tgt.life))
        self._live[iqn].known = False
        self.close(iqn)

    # State of tgtd

    def _look(self, iqn: str, expected: Lun | None = None) -> _Live | None:
        """Return the target's state in tgtd, read again when it is in doubt. ``expected`` as in ``_as_shown``."""
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
        """``expected`` is the required LUN: tgtd does not distinguish nearly equal sizes."""
        lun = expected if expected and expected.is_shown_by(info.lun) else None
        return _Live(info.tid, self._tgt.life, info.users, info.initiators, lun, info.ready, known=True)

    # Steps

    def _build(self, iqn: str, wanted: Wanted) -> _Live:
        """Create the target, or return the one that an unanswered request or an earlier agent created."""
        live = self._add(iqn, wanted.lun)
        if live.known:
            return live
        try:
            with live.changing():
                self._fill(live, wanted)
        except TgtError:
            with contextlib.suppress(ApplianceError):  # the first error is more specific
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
        """Create a target under a new number. Raises Busy if another program has one of that name."""
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
        """Whether the agent's target has the name; False if only the number is used, by another user of tgtd."""
        for info in self._tgt.targets():
            if info.iqn == iqn:
                if info.lun and info.lun.path != lun.path:
                    raise Busy(f'tgtd has a target {iqn} of another program: remove it there')
                self._live[iqn] = self._as_shown(info, lun)
                return True
        return False

    def _next_number(self) -> int:
        with self._lock:
            self._number = self._number % _MOST_NUMBERS + 1
            return self._number

    def _add_account(self, live: _Live, account: Account) -> None:
        """An existing account of that name has the same secret: both are derived from one key."""
        parameters = f'user={account.user},password={account.secret}'
        self._tgt.call('add an account', Mode.ACCOUNT, Op.NEW, parameters, allow=(Status.ACCOUNT_EXISTS,))
        self._tgt.call('bind an account', Mode.ACCOUNT, Op.BIND, f'user={account.user}', tid=live.tid)
        live.users |= {account.user}

    def _bind(self, live: _Live, initiator: str) -> None:
        self._tgt.call('bind an initiator', Mode.TARGET, Op.BIND, f'initiator-name={initiator}', tid=live.tid)
        live.initiators |= {initiator}

    def _reload(self, live: _Live, lun: Lun) -> None:
        """Replace the LUN while sessions are open."""
        with live.changing():
            self._empty(live)
            self._new_lun(live, lun)
            self._state(live, ready=True)

    def _empty(self, live: _Live) -> None:
        """Refuse logins, end the sessions, and remove the LUN when its commands are done."""
        self._state(live, ready=False)
        self._end_sessions(live)
        self._remove_lun(live)

    def _new_lun(self, live: _Live, lun: Lun) -> None:
        store = f'path={lun.path}' + (f',bsoflags={lun.flags}' if lun.flags else '')
        self._tgt.call('add a LUN', Mode.LOGICALUNIT, Op.NEW, store, tid=live.tid, lun=LUN)
        self._tgt.call('name a LUN', Mode.LOGICALUNIT, Op.UPDATE, lun.parameters, tid=live.tid, lun=LUN)
        live.lun = lun

    def _remove_lun(self, live: _Live) -> None:
        """tgt refuses while commands are in progress; without sessions these only wait for the disk."""
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
        """End sessions until none are left: a login that began earlier may complete after the first query."""
        deadline = time.monotonic() + SETTLE
        while True:
            remaining = self._tgt.sessions(live.tid)
            if not remaining:
                return
            if time.monotonic() > deadline:
                raise Busy(f'sessions of {remaining[0].initiator} do not end')
            for session in remaining:
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
