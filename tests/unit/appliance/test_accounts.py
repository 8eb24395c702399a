"""tgt's accounts as tgt keeps them: a gap hides the last account from logins, and "show target" dies of it."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from appliance.accounts import Accounts
from appliance.keys import Account
from appliance.tgt import Mode, Op
from tests.unit.appliance.fakes import Crashed, FakeTgt

IQN, NAME = 'iqn.2026-01.t:1', 'iqn.2026-01.a:h'


def prepared() -> tuple[FakeTgt, Accounts]:
    tgt = FakeTgt()
    tgt.call('add', Mode.TARGET, Op.NEW, f'targetname={IQN}', tid=1)
    tgt.call('bind', Mode.TARGET, Op.BIND, f'initiator-name={NAME}', tid=1)
    accounts = Accounts(tgt, 1)
    accounts.prepare()
    return tgt, accounts


def test_the_fault_that_this_is_about() -> None:
    tgt, _ = prepared()
    for user in ('a', 'b'):
        tgt.call('add', Mode.ACCOUNT, Op.NEW, f'user={user},password=p')
        tgt.call('bind', Mode.ACCOUNT, Op.BIND, f'user={user}', tid=1)
    tgt.call('unbind', Mode.ACCOUNT, Op.UNBIND, 'user=a', tid=1)
    with pytest.raises(PermissionError):
        tgt.login(IQN, NAME, 'b', 'p')
    with pytest.raises(Crashed):
        tgt.targets()


def test_a_new_target_lets_nobody_in_without_an_account() -> None:
    tgt, accounts = prepared()
    with pytest.raises(PermissionError):
        tgt.login(IQN, NAME)
    accounts.add(Account('a', 'p'))
    accounts.remove('a')
    with pytest.raises(PermissionError):
        tgt.login(IQN, NAME, 'a', 'p')
    with pytest.raises(PermissionError):
        tgt.login(IQN, NAME)


def test_an_account_of_that_name_is_replaced_by_one_with_our_secret() -> None:
    tgt, accounts = prepared()
    accounts.add(Account('a', 'old'))
    accounts.add(Account('a', 'new'))
    tgt.login(IQN, NAME, 'a', 'new')
    with pytest.raises(PermissionError):
        tgt.login(IQN, NAME, 'a', 'old')


def test_removing_what_is_not_there_is_fine_and_changes_nothing() -> None:
    tgt, accounts = prepared()
    before = list(tgt.target(IQN).seen)
    accounts.remove('a')
    assert tgt.target(IQN).seen == before


class _Watched(FakeTgt):
    """After each request, whoever has an account and is not being removed can log in."""

    def __init__(self) -> None:
        super().__init__()
        self.good: set[str] = set()

    def _exchange(self, request: bytes) -> tuple[int, str]:
        answer = super()._exchange(request)
        for target in self.live.values():
            hidden = self.good - set(target.seen)
            assert not hidden, f'{hidden} cannot log in for a moment'
            assert target.count or not target.names, 'the target asks for no secret for a moment'
        return answer


class AccountsMachine(RuleBasedStateMachine):
    """Any order of adding and removing, with an agent that starts anew now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.tgt = _Watched()
        self.tgt.call('add', Mode.TARGET, Op.NEW, f'targetname={IQN}', tid=1)
        self.accounts = Accounts(self.tgt, 1)
        self.accounts.prepare()
        self.tgt.call('bind', Mode.TARGET, Op.BIND, f'initiator-name={NAME}', tid=1)

    @rule(number=st.integers(0, 20))
    def add(self, number: int) -> None:
        user = f'u{number}'
        self.tgt.good.discard(user)
        self.accounts.add(Account(user, 'p'))
        self.tgt.good.add(user)

    @rule(number=st.integers(0, 20))
    def remove(self, number: int) -> None:
        self.tgt.good.discard(f'u{number}')
        self.accounts.remove(f'u{number}')

    @rule()
    def adopt(self) -> None:
        self.accounts = Accounts(self.tgt, 1, self.tgt.targets()[0].users)

    @invariant()
    def nothing_is_hidden_and_nothing_is_left(self) -> None:
        info = self.tgt.targets()[0]
        assert self.tgt.good <= info.users
        assert {user for user in self.tgt.passwords if user.startswith('u')} == self.tgt.good
        for user in self.tgt.good:
            self.tgt.login(IQN, NAME, user, 'p')


TestAccountsMachine = AccountsMachine.TestCase
TestAccountsMachine.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
