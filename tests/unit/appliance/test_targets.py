from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from appliance import targets
from appliance.errors import Busy, Unavailable
from appliance.keys import Account
from appliance.targets import Lun, Targets, Wanted
from appliance.tgt import Mode, NoAnswer, Op, TgtError
from tests.unit.appliance.fakes import FakeTgt

IQN, OTHER_IQN = 'iqn.2026-01.t:1', 'iqn.2026-01.t:2'
HOST, OTHER = 'iqn.2026-01.a:h', 'iqn.2026-01.a:i'
LUN = Lun('/store/volume-1', 1024**3, 'volume-id', readonly=False, flags='')
ONE, TWO = Account('a' * 20, 'secret-one'), Account('b' * 20, 'secret-two')
WANTED = Wanted(LUN, {ONE: HOST})
GROWN = LUN._replace(size=2 * LUN.size)


@pytest.fixture
def sizes() -> dict[str, int]:
    return {LUN.path: LUN.size}


@pytest.fixture
def tgt(sizes: dict[str, int]) -> FakeTgt:
    return FakeTgt(lambda path: sizes[path])


@pytest.fixture
def served(tgt: FakeTgt) -> Targets:
    made = Targets(tgt)
    made.serve(IQN, WANTED)
    return made


def test_a_target_is_tuned_and_named(tgt: FakeTgt, served: Targets) -> None:
    target = tgt.target(IQN)
    assert target.settings == targets.NEGOTIATION
    assert target.lun is not None
    assert target.lun.facts['scsi_sn'] == 'volume-id'
    assert (target.lun.facts['thin_provisioning'], target.lun.facts['readonly']) == ('1', '0')
    assert (target.names, target.seen) == ([HOST], [ONE.user])


def test_wwids_differ_between_volumes_and_not_between_hosts() -> None:
    """tgt's own WWID is the target's number: multipath would take two hosts' first volumes for one."""
    other = LUN._replace(serial='other')
    assert LUN.wwid == LUN._replace(path='/elsewhere', size=1).wwid
    assert LUN.wwid != other.wwid
    assert len(LUN.wwid) == 32


def test_an_export_costs_no_process_and_few_requests(tgt: FakeTgt) -> None:
    made = Targets(tgt)
    made.serve(IQN, WANTED)
    assert len(tgt.requests) <= 13
    before = len(tgt.requests)
    made.serve(IQN, WANTED)
    assert len(tgt.requests) == before


def test_no_initiator_is_admitted_before_its_account_is_bound(tgt: FakeTgt, served: Targets) -> None:
    assert tgt.requests[-1][:2] == (Mode.TARGET, Op.BIND)
    assert (Mode.ACCOUNT, Op.BIND) in [request[:2] for request in tgt.requests]
    assert tgt.login(IQN, HOST, *ONE)


def test_accounts_are_never_unbound(tgt: FakeTgt, served: Targets) -> None:
    """tgt leaves a gap, in which it loses an account and of which "show target" dies."""
    served.serve(IQN, Wanted(LUN, {ONE: HOST, TWO: OTHER}))
    tgt.login(IQN, OTHER, *TWO)
    served.serve(IQN, Wanted(LUN, {TWO: OTHER}))
    assert tgt.target(IQN).sessions == {}
    tgt.login(IQN, OTHER, *TWO)
    with pytest.raises(PermissionError):
        tgt.login(IQN, OTHER, *ONE)
    assert not [request for request in tgt.requests if request[1] == Op.UNBIND]
    assert tgt.passwords.keys() == {TWO.user}


def test_accounts_that_earlier_versions_shared_stay(tgt: FakeTgt, served: Targets) -> None:
    """Other targets may have them, and deleting an account unbinds it there."""
    tgt.call('add', Mode.ACCOUNT, Op.NEW, 'user=cinderless-last,password=p')
    tgt.call('bind', Mode.ACCOUNT, Op.BIND, 'user=cinderless-last', tid=min(tgt.live))
    after = Targets(tgt)
    after.adopt({IQN: WANTED})
    after.serve(IQN, WANTED)
    assert tgt.target(IQN).seen == [ONE.user]
    assert 'cinderless-last' in tgt.passwords


def test_close_removes_target_sessions_and_account(tgt: FakeTgt, served: Targets) -> None:
    tgt.login(IQN, HOST, *ONE)
    for _ in range(2):
        served.close(IQN)
    assert (tgt.live, tgt.passwords) == ({}, {})
    assert not served.is_served(IQN)
    assert served.sessions(IQN) == []


def test_a_grown_lun_is_made_again_and_admits_the_same_initiator(
    tgt: FakeTgt, served: Targets, sizes: dict[str, int]
) -> None:
    tgt.login(IQN, HOST, *ONE)
    sizes[LUN.path] *= 2
    served.serve(IQN, WANTED._replace(lun=GROWN))
    target = tgt.target(IQN)
    assert target.lun is not None
    assert (target.lun.size, target.sessions) == (2 * LUN.size, {})
    assert target.lun.facts['scsi_sn'] == 'volume-id'
    tgt.login(IQN, HOST, *ONE)


def test_logins_are_refused_while_there_is_no_lun(tgt: FakeTgt, served: Targets) -> None:
    tgt.requests.clear()
    served.serve(IQN, WANTED._replace(lun=GROWN))
    steps = [(mode, op) for mode, op, _ in tgt.requests if op != Op.SHOW]
    assert steps[0] == steps[-1] == (Mode.TARGET, Op.UPDATE)
    assert (Mode.LOGICALUNIT, Op.DELETE) in steps


def test_what_failed_is_done_by_the_next_call(tgt: FakeTgt, served: Targets, sizes: dict[str, int]) -> None:
    tgt._size_of = lambda path: (_ for _ in ()).throw(OSError)
    with pytest.raises(TgtError):
        served.serve(IQN, WANTED._replace(lun=GROWN))
    with pytest.raises(PermissionError, match='later'):
        tgt.login(IQN, HOST, *ONE)
    assert not served.is_served(IQN)
    tgt._size_of = lambda path: GROWN.size
    served.serve(IQN, WANTED._replace(lun=GROWN))
    tgt.login(IQN, HOST, *ONE)


def test_commands_in_flight_are_waited_for(tgt: FakeTgt, served: Targets, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, real = iter([20, 20]), tgt._logicalunit_delete
    monkeypatch.setattr(tgt, '_logicalunit_delete', lambda *a, **k: next(answers, None) or real(*a, **k))
    served.serve(IQN, WANTED._replace(lun=GROWN))
    monkeypatch.setattr(tgt, '_logicalunit_delete', lambda *a, **k: 20)
    monkeypatch.setattr(targets, 'SETTLE', 0.0)
    with pytest.raises(TgtError, match='delete a LUN'):
        served.serve(IQN, WANTED)


def test_sessions_that_do_not_end_are_reported(tgt: FakeTgt, served: Targets, monkeypatch: pytest.MonkeyPatch) -> None:
    tgt.login(IQN, HOST, *ONE)
    with monkeypatch.context() as patch:
        patch.setattr(tgt, '_connection_delete', lambda *a, **k: 0)
        patch.setattr(targets, 'SETTLE', 0.0)
        with pytest.raises(Busy, match=HOST):
            served.close(IQN)
    served.close(IQN)
    assert tgt.live == {}


def test_hold_leaves_a_target_in_use_alone(tgt: FakeTgt, served: Targets) -> None:
    """What a session sends to a target that is held is lost."""
    sid = tgt.login(IQN, HOST, *ONE)
    with pytest.raises(Busy, match=HOST):
        served.refuse_logins(IQN)
    assert tgt.target(IQN).settings.get('state', 'ready') == 'ready'
    assert sid in tgt.target(IQN).sessions


def test_hold_ends_a_session_that_slipped_in(tgt: FakeTgt, served: Targets, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tgt._target_update

    def slip_in(tid: int, text: str, **rest: object) -> int:
        if text == 'state=offline':
            tgt.login(IQN, HOST, *ONE)
        return real(tid, text, **rest)

    monkeypatch.setattr(tgt, '_target_update', slip_in)
    with pytest.raises(Busy):
        served.refuse_logins(IQN)
    assert tgt.target(IQN).sessions == {}
    assert tgt.target(IQN).settings['state'] == 'ready'
    assert served.is_served(IQN)


def test_hold_and_serve(tgt: FakeTgt, served: Targets) -> None:
    served.refuse_logins(IQN)
    assert not served.is_served(IQN)
    with pytest.raises(PermissionError, match='later'):
        tgt.login(IQN, HOST, *ONE)
    served.serve(IQN, WANTED)
    tgt.login(IQN, HOST, *ONE)
    served.refuse_logins('iqn.2026-01.t:none')


def test_a_target_that_cannot_be_made_leaves_nothing(tgt: FakeTgt) -> None:
    made = Targets(tgt)
    tgt._size_of = lambda path: (_ for _ in ()).throw(OSError)
    with pytest.raises(Unavailable, match='add a LUN'):
        made.serve(IQN, WANTED)
    assert (tgt.live, tgt.passwords) == ({}, {})


def test_no_number_is_used_twice(tgt: FakeTgt, served: Targets) -> None:
    """tgt looks up a target by its number when a login ends: one begun at the number's last target would get in."""
    numbers = [*tgt.live]
    for turn in range(3):
        served.close(IQN)
        served.serve(IQN, WANTED)
        served.serve(f'{OTHER_IQN}.{turn}', WANTED._replace(admitted={Account(str(turn) * 20, 'p'): OTHER}))
        numbers += tgt.live.keys() - set(numbers)
    assert len(numbers) == 7
    after = Targets(tgt)
    after._number = targets._MOST_NUMBERS - 1
    assert [after._next_number() for _ in range(2)] == [targets._MOST_NUMBERS, 1]


def test_the_next_life_begins_at_other_numbers(tgt: FakeTgt, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([1000.0, 1001.0])
    monkeypatch.setattr('appliance.targets.time.monotonic', lambda: next(clock))
    first, second = Targets(tgt), Targets(tgt)
    assert first._next_number() < second._next_number()


def test_a_target_of_ours_that_a_lost_request_made_is_taken_over(tgt: FakeTgt) -> None:
    tgt.call('add a target', Mode.TARGET, Op.NEW, f'targetname={IQN}', tid=7)
    made = Targets(tgt)
    made.serve(IQN, WANTED)
    tgt.login(IQN, HOST, *ONE)
    assert made.is_served(IQN)


def test_a_tgtd_that_was_started_again_has_nothing(tgt: FakeTgt, served: Targets) -> None:
    tgt.live.clear()
    tgt.passwords.clear()
    tgt.life = 2
    assert not served.is_served(IQN)
    served.serve(IQN, WANTED)
    tgt.login(IQN, HOST, *ONE)


class Outage:
    """From the ``first`` request on tgtd gives no answer; what it was sent is done when it continues."""

    def __init__(self, tgt: FakeTgt, first: int) -> None:
        self._tgt, self._left, self._late = tgt, first, list[bytes]()
        self._exchange = tgt._exchange
        tgt._exchange = self  # type: ignore[method-assign]

    def __call__(self, request: bytes) -> tuple[int, str]:
        if self._left <= 0:
            self._late.append(request)
            raise NoAnswer('asleep')
        self._left -= 1
        return self._exchange(request)

    def end(self) -> None:
        self._tgt._exchange = self._exchange  # type: ignore[method-assign]
        for request in self._late:
            self._exchange(request)


def interrupted(tgt: FakeTgt, step: object) -> Iterator[None]:
    """Once for each request of the step: it and all after it are done late."""
    assert callable(step)
    before = len(tgt.requests)
    step()
    for first in range(len(tgt.requests) - before):
        yield
        outage = Outage(tgt, first)
        with pytest.raises(NoAnswer):
            step()
        outage.end()


def test_late_requests_are_found(tgt: FakeTgt, served: Targets) -> None:
    """Whatever a call was at when tgtd fell silent, the next call finds what was done."""
    sizes = iter([GROWN, LUN] * 100)
    for _ in interrupted(tgt, lambda: served.close(IQN)):
        served.serve(IQN, WANTED)
    served.serve(IQN, WANTED)
    for _ in interrupted(tgt, lambda: served.serve(IQN, WANTED._replace(lun=next(sizes)))):
        served.serve(IQN, WANTED._replace(lun=next(sizes)))
        tgt.login(IQN, HOST, *ONE)
    served.close(IQN)
    assert (tgt.live, tgt.passwords) == ({}, {})


class TestSharedTgtd:
    """A tgtd that was there before the agent, with targets of others."""

    @pytest.fixture
    def theirs(self, tgt: FakeTgt) -> FakeTgt:
        for tid in (1, 3):
            tgt.call('add', Mode.TARGET, Op.NEW, f'targetname=iqn.2026-01.theirs:{tid}', tid=tid)
        return tgt

    def test_their_numbers_are_left_alone(self, theirs: FakeTgt) -> None:
        made = Targets(theirs)
        made.adopt({})
        made._number = 0
        for number in range(3):
            made.serve(f'{IQN}.{number}', WANTED._replace(admitted={Account(str(number) * 20, 'p'): HOST}))
        assert sorted(theirs.live) == [1, 2, 3, 4, 5]

    def test_a_name_that_is_taken_is_not_ours(self, theirs: FakeTgt, sizes: dict[str, int]) -> None:
        sizes[f'{LUN.path}.theirs'] = LUN.size
        theirs.call('add', Mode.LOGICALUNIT, Op.NEW, f'path={LUN.path}.theirs', tid=3, lun=1)
        with pytest.raises(Busy, match='remove it there'):
            Targets(theirs).serve('iqn.2026-01.theirs:3', WANTED)
        assert sorted(theirs.live) == [1, 3]

    def test_sessions_outlive_the_agent(self, theirs: FakeTgt) -> None:
        Targets(theirs).serve(IQN, WANTED)
        sid = theirs.login(IQN, HOST, *ONE)
        after = Targets(theirs)
        after.adopt({IQN: WANTED})
        after.serve(IQN, WANTED)
        assert theirs.target(IQN).sessions == {sid: HOST}
        theirs.login(IQN, HOST, *ONE)

    def test_an_initiator_that_no_export_admits_is_shut_out(self, theirs: FakeTgt) -> None:
        Targets(theirs).serve(IQN, Wanted(LUN, {ONE: HOST, TWO: OTHER}))
        theirs.login(IQN, OTHER, *TWO)
        after = Targets(theirs)
        after.adopt({IQN: WANTED})
        after.serve(IQN, WANTED)
        assert (theirs.target(IQN).names, theirs.target(IQN).sessions) == ([HOST], {})

    @pytest.mark.parametrize('left', ['state=offline', 'grown', 'no lun'])
    def test_what_an_agent_left_half_done_is_finished(self, theirs: FakeTgt, sizes: dict[str, int], left: str) -> None:
        Targets(theirs).serve(IQN, WANTED)
        tid = next(tid for tid, target in theirs.live.items() if target.iqn == IQN)
        if left == 'grown':
            sizes[LUN.path] *= 2
        elif left == 'no lun':
            theirs.call('delete', Mode.LOGICALUNIT, Op.DELETE, tid=tid, lun=1)
        else:
            theirs.call('set', Mode.TARGET, Op.UPDATE, left, tid=tid)
        after, wanted = Targets(theirs), WANTED._replace(lun=LUN._replace(size=sizes[LUN.path]))
        after.adopt({IQN: wanted})
        after.serve(IQN, wanted)
        lun = theirs.target(IQN).lun
        assert lun is not None
        assert lun.size == sizes[LUN.path]
        theirs.login(IQN, HOST, *ONE)


def test_many_targets_at_once_get_different_numbers(tgt: FakeTgt) -> None:
    made = Targets(tgt)
    iqns = [f'iqn.2026-01.t:{random.random()}' for _ in range(40)]
    wanted = [WANTED._replace(admitted={Account(f'{number:020}', 'p'): HOST}) for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(made.serve, iqns, wanted))
    assert len(tgt.live) == 40
    assert {target.iqn for target in tgt.live.values()} == set(iqns)
