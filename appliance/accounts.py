"""CHAP accounts of targets, around two faults of tgt (up to 1.0.85 at least).

tgt keeps a target's accounts in an array with a count. Unbinding one empties its place and lowers the count, but closes
no gap; a login looks at the first ``count`` places only. So after an unbind the last account is not found any more,
though it is bound, and "show target" meets the gap and crashes tgtd. A target without accounts asks for no secret.

Therefore the last place always belongs to an account whose secret nobody knows, and a gap is filled at once with
another such account, whose place the next export takes. No login of a good account fails meanwhile.
"""

from __future__ import annotations

import itertools
import secrets

from appliance.keys import Account
from appliance.tgt import Mode, Op, Status, Tgt, TgtError

_LAST = 'cinderless-last'
_FILLER = 'cinderless-filler-'


class Accounts:
    """The accounts of one target. The caller holds the lock of the object that the target belongs to."""

    def __init__(self, tgt: Tgt, tid: int, users: frozenset[str] = frozenset()) -> None:
        """``users``: those of a target that was prepared in an earlier life."""
        self._tgt = tgt
        self._tid = tid
        self._fillers = {user for user in users if user.startswith(_FILLER)}

    def prepare(self) -> None:
        """For a new target: it asks for a secret from now on, and nobody has one."""
        self._fill()
        self._make_unknown(_LAST)
        self._bind(_LAST)

    def add(self, account: Account) -> None:
        """Make and bind an account; one of that name is replaced, since its secret is not known."""
        self.remove(account.user)
        self._tgt.call('add an account', Mode.ACCOUNT, Op.NEW, f'user={account.user},password={account.secret}')
        if self._fillers:
            self._unbind(self._fillers.pop())
            self._bind(account.user)
        else:
            self._unbind(_LAST)
            self._bind(account.user)
            self._bind(_LAST)

    def remove(self, user: str) -> None:
        """Unbind and delete an account; one that is not there is success."""
        if self._unbind(user):
            self._fill()
        self._tgt.call('delete an account', Mode.ACCOUNT, Op.DELETE, f'user={user}', allow=(Status.NO_ACCOUNT,))

    def _fill(self) -> None:
        names = (f'{_FILLER}{number}' for number in itertools.count(1))
        filler = next(name for name in names if name not in self._fillers)
        self._make_unknown(filler)
        self._bind(filler)
        self._fillers.add(filler)

    def _make_unknown(self, user: str) -> None:
        """An account, shared by all targets, whose secret is forgotten here and now."""
        parameters = f'user={user},password={secrets.token_hex(16)}'
        self._tgt.call('add an account', Mode.ACCOUNT, Op.NEW, parameters, allow=(Status.ACCOUNT_EXISTS,))

    def _bind(self, user: str) -> None:
        self._tgt.call('bind an account', Mode.ACCOUNT, Op.BIND, f'user={user}', tid=self._tid)

    def _unbind(self, user: str) -> bool:
        """Whether it was bound."""
        try:
            self._tgt.call('unbind an account', Mode.ACCOUNT, Op.UNBIND, f'user={user}', tid=self._tid)
        except TgtError as error:
            if error.tgt_status in (Status.NO_ACCOUNT, Status.NO_TARGET):
                return False
            raise
        return True
