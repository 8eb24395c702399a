from __future__ import annotations

import random

import pytest

from appliance import targets
from appliance.errors import Busy, Unavailable
from appliance.keys import Account
from appliance.targets import Lun, Targets
from appliance.tgt import Mode, Op, TgtError
from tests.unit.appliance.fakes import FakeTgt

IQN, OTHER_IQN = 'iqn.2026-01.t:1', 'iqn.2026-01.t:2'
HOST, OTHER = 'iqn.2026-01.a:h', 'iqn.2026-01.a:i'
LUN = Lun('/store/volume-1', 1024**3, 'volume-id', readonly=False, flags='')
ONE, TWO = Account('one', 'secret-one'), Account('two', 'secret-two')


@pytest.fixture
def sizes() -> dict[str, int]:
    return {LUN.path: LUN.size}


@pytest.fixture
def tgt(sizes: dict[str, int]) -> FakeTgt:
    return FakeTgt(lambda path: sizes[path])


@pytest.fixture
def served(tgt: FakeTgt) -> Targets:
    made = Targets(tgt)
    made.open(IQN, LUN)
    return made


def test_a_target_is_tuned_named_and_closed(tgt: FakeTgt, served: Targets) -> None:
    target = tgt.target(IQN)
    assert target.settings == targets.NEGOTIATION
    assert target.lun is not None
    assert target.lun.facts['scsi_sn'] == 'volume-id'
    assert (target.lun.facts['thin_provisioning'], target.lun.facts['readonly']) == ('1', '0')
    assert target.names == []


def test_wwids_differ_between_volumes_and_not_between_hosts() -> None:
    """tgt's own WWID is the target's number: multipath would take two hosts' first volumes for one."""
    other = LUN._replace(serial='other')
    assert LUN.wwid == LUN._replace(path='/elsewhere', size=1).wwid
    assert LUN.wwid != other.wwid
    assert len(LUN.wwid) == 32


def test_an_export_costs_no_process_and_few_requests(tgt: FakeTgt) -> None:
    made = Targets(tgt)
    made.open(IQN, LUN)
    made.admit(IQN, HOST, ONE)
    assert len(tgt.requests) <= 20
    before = len(tgt.requests)
    made.open(IQN, LUN)
    made.admit(IQN, HOST, ONE)
    assert len(tgt.requests) == before


def test_nobody_is_let_in_before_his_account_is_bound(tgt: FakeTgt, served: Targets) -> None:
    served.admit(IQN, HOST, ONE)
    bound = [mode for mode, op, _ in tgt.requests if op == Op.BIND]
    assert bound[-1] == Mode.TARGET
    assert Mode.TARGET not in bound[:-1]
    assert tgt.login(IQN, HOST, *ONE)


def test_expel_shuts_out_before_it_takes_the_account(tgt: FakeTgt, served: Targets) -> None:
    served.admit(IQN, HOST, ONE)
    served.admit(IQN, OTHER, TWO)
    tgt.login(IQN, HOST, *ONE)
    kept = tgt.login(IQN, OTHER, *TWO)
    tgt.requests.clear()
    for _ in range(2):
        served.expel(IQN, HOST, ONE.user)
    assert tgt.requests[0][:2] == (Mode.TARGET, Op.UNBIND)
    assert tgt.target(IQN).sessions == {kept: OTHER}
    tgt.login(IQN, OTHER, *TWO)
    with pytest.raises(PermissionError):
        tgt.login(IQN, HOST, *ONE)


def test_close_removes_target_and_sessions(tgt: FakeTgt, served: Targets) -> None:
    served.admit(IQN, HOST, ONE)
    tgt.login(IQN, HOST, *ONE)
    for _ in range(2):
        served.close(IQN)
    assert tgt.live == {}
    served.expel(IQN, HOST, ONE.user)
    assert served.size(IQN) is None
    assert served.sessions(IQN) == []


def test_reload_shows_the_new_size_and_lets_the_same_initiators_in(
    tgt: FakeTgt, served: Targets, sizes: dict[str, int]
) -> None:
    served.admit(IQN, HOST, ONE)
    tgt.login(IQN, HOST, *ONE)
    sizes[LUN.path] *= 2
    served.reload(IQN, LUN._replace(size=sizes[LUN.path]))
    target = tgt.target(IQN)
    assert target.lun is not None
    assert (target.lun.size, target.sessions) == (2 * LUN.size, {})
    assert target.lun.facts['scsi_sn'] == 'volume-id'
    assert served.size(IQN) == 2 * LUN.size
    tgt.login(IQN, HOST, *ONE)


def test_reload_refuses_logins_while_there_is_no_lun(tgt: FakeTgt, served: Targets) -> None:
    served.admit(IQN, HOST, ONE)
    tgt.requests.clear()
    served.reload(IQN, LUN)
    steps = [(mode, op) for mode, op, _ in tgt.requests if op != Op.SHOW]
    assert steps[0] == steps[-1] == (Mode.TARGET, Op.UPDATE)
    assert (Mode.LOGICALUNIT, Op.DELETE) in steps


def test_a_reload_that_failed_is_done_by_the_next(
    tgt: FakeTgt, served: Targets, sizes: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    served.admit(IQN, HOST, ONE)
    size = sizes.pop(LUN.path)
    tgt._size_of = lambda path: (_ for _ in ()).throw(OSError)
    with pytest.raises(TgtError):
        served.reload(IQN, LUN)
    with pytest.raises(PermissionError, match='later'):
        tgt.login(IQN, HOST, *ONE)
    tgt._size_of = lambda path: size
    served.open(IQN, LUN)
    tgt.login(IQN, HOST, *ONE)


def test_commands_in_flight_are_waited_for(tgt: FakeTgt, served: Targets, monkeypatch: pytest.MonkeyPatch) -> None:
    answers, real = iter([20, 20]), tgt._logicalunit_delete
    monkeypatch.setattr(tgt, '_logicalunit_delete', lambda *a, **k: next(answers, None) or real(*a, **k))
    served.reload(IQN, LUN)
    monkeypatch.setattr(tgt, '_logicalunit_delete', lambda *a, **k: 20)
    monkeypatch.setattr(targets, 'SETTLE', 0.0)
    with pytest.raises(TgtError, match='delete a LUN'):
        served.reload(IQN, LUN)


def test_sessions_that_do_not_end_are_told(tgt: FakeTgt, served: Targets, monkeypatch: pytest.MonkeyPatch) -> None:
    served.admit(IQN, HOST, ONE)
    tgt.login(IQN, HOST, *ONE)
    monkeypatch.setattr(tgt, '_connection_delete', lambda *a, **k: 0)
    monkeypatch.setattr(targets, 'SETTLE', 0.0)
    with pytest.raises(Busy, match=HOST):
        served.expel(IQN, HOST, ONE.user)


def test_hold_leaves_a_target_in_use_alone(tgt: FakeTgt, served: Targets) -> None:
    """What a session sends to a target that is held is lost."""
    served.admit(IQN, HOST, ONE)
    sid = tgt.login(IQN, HOST, *ONE)
    with pytest.raises(Busy, match=HOST):
        served.hold(IQN)
    assert tgt.target(IQN).settings.get('state', 'ready') == 'ready'
    assert sid in tgt.target(IQN).sessions


def test_hold_ends_a_session_that_slipped_in(tgt: FakeTgt, served: Targets, monkeypatch: pytest.MonkeyPatch) -> None:
    served.admit(IQN, HOST, ONE)
    real = tgt._target_update

    def slip_in(tid: int, text: str, **rest: object) -> int:
        if text == 'state=offline':
            tgt.login(IQN, HOST, *ONE)
        return real(tid, text, **rest)

    monkeypatch.setattr(tgt, '_target_update', slip_in)
    with pytest.raises(Busy):
        served.hold(IQN)
    assert tgt.target(IQN).sessions == {}
    assert tgt.target(IQN).settings['state'] == 'ready'


def test_hold_and_release(tgt: FakeTgt, served: Targets) -> None:
    served.admit(IQN, HOST, ONE)
    served.hold(IQN)
    with pytest.raises(PermissionError, match='later'):
        tgt.login(IQN, HOST, *ONE)
    served.release(IQN)
    tgt.login(IQN, HOST, *ONE)
    served.hold('iqn.2026-01.t:none')
    served.release('iqn.2026-01.t:none')


def test_a_target_that_cannot_be_made_leaves_nothing(tgt: FakeTgt) -> None:
    made = Targets(tgt)
    tgt._size_of = lambda path: (_ for _ in ()).throw(OSError)
    with pytest.raises(Unavailable, match='add a LUN'):
        made.open(IQN, LUN)
    assert tgt.live == {}
    assert made.size(IQN) is None


def test_numbers_are_used_again(tgt: FakeTgt, served: Targets) -> None:
    served.open(OTHER_IQN, LUN)
    served.close(IQN)
    served.open('iqn.2026-01.t:3', LUN)
    assert sorted(tgt.live) == [1, 2]


class TestSharedTgtd:
    """A tgtd that was there before the agent, with targets of others."""

    @pytest.fixture
    def theirs(self, tgt: FakeTgt) -> FakeTgt:
        for tid in (1, 3):
            tgt.call('add', Mode.TARGET, Op.NEW, f'targetname=iqn.2026-01.theirs:{tid}', tid=tid)
        return tgt

    def test_their_numbers_are_left_alone(self, theirs: FakeTgt) -> None:
        made = Targets(theirs)
        made.adopt(set())
        for number in range(3):
            made.open(f'{IQN}.{number}', LUN)
        assert sorted(theirs.live) == [1, 2, 3, 4, 5]

    def test_a_number_that_was_taken_meanwhile(self, theirs: FakeTgt) -> None:
        made = Targets(theirs)
        made.open(IQN, LUN)
        assert theirs.live[2].iqn == IQN

    def test_a_name_that_is_taken_is_not_ours(self, theirs: FakeTgt) -> None:
        with pytest.raises(Busy, match='remove it there'):
            Targets(theirs).open('iqn.2026-01.theirs:3', LUN)
        assert sorted(theirs.live) == [1, 3]

    def test_sessions_outlive_the_agent_and_strangers_are_shut_out(self, theirs: FakeTgt) -> None:
        before = Targets(theirs)
        before.open(IQN, LUN)
        before.admit(IQN, HOST, ONE)
        sid = theirs.login(IQN, HOST, *ONE)
        theirs.call('bind', Mode.TARGET, Op.BIND, f'initiator-name={OTHER}', tid=2)
        after = Targets(theirs)
        after.adopt({IQN})
        with pytest.raises(PermissionError, match='name'):
            theirs.login(IQN, HOST, *ONE)
        after.open(IQN, LUN)
        after.admit(IQN, HOST, ONE)
        assert theirs.target(IQN).sessions == {sid: HOST}
        assert theirs.target(IQN).names == [HOST]
        theirs.login(IQN, HOST, *ONE)

    def test_an_adopted_lun_is_made_anew_when_nobody_uses_it(self, theirs: FakeTgt, sizes: dict[str, int]) -> None:
        Targets(theirs).open(IQN, LUN)
        sizes[LUN.path] *= 2
        after = Targets(theirs)
        after.adopt({IQN})
        after.open(IQN, LUN._replace(size=sizes[LUN.path]))
        lun = theirs.target(IQN).lun
        assert lun is not None
        assert lun.size == sizes[LUN.path]


def test_many_targets_at_once_get_different_numbers(tgt: FakeTgt) -> None:
    from concurrent.futures import ThreadPoolExecutor

    made = Targets(tgt)
    iqns = [f'iqn.2026-01.t:{random.random()}' for _ in range(40)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda iqn: made.open(iqn, LUN), iqns))
    assert sorted(tgt.live) == list(range(1, 41))
    assert {target.iqn for target in tgt.live.values()} == set(iqns)
