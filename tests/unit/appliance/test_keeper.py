"""The thread that makes tgtd have what the journal has, and the targets that no export has."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import pytest

from appliance import keeper
from appliance.keeper import Keeper
from appliance.tgt import Mode, NoAnswer, Op
from tests.unit.appliance.agent_fixture import GIB, HOST, IQN, VOLUME, Rig

STRAY = 'iqn.2010-10.org.openstack:volume-gone'


@pytest.fixture
def attached(tmp_path: Path) -> Rig:
    """With a tgtd of the agent's own, which it may pause."""
    rig = Rig(tmp_path, pause=contextlib.nullcontext)
    rig.appliance.create_volume(VOLUME, GIB)
    rig.appliance.create_export(VOLUME, 'e1', HOST, 'rw')
    return rig


def add(rig: Rig, iqn: str, path: str = '') -> None:
    rig.tgt.call('add', Mode.TARGET, Op.NEW, f'targetname={iqn}', tid=1)
    if path:
        rig.tgt.call('add', Mode.LOGICALUNIT, Op.NEW, f'path={path}', tid=1, lun=1)


def due(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Keeper:
    """A keeper that compares all targets at its next look."""
    monkeypatch.setattr(keeper, 'COMPARE', 0.0)
    return Keeper(rig.appliance)


@pytest.mark.parametrize('change', ['offline', 'no lun', 'gone'])
def test_what_another_program_changed_is_put_right(attached: Rig, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    tid = next(iter(attached.tgt.live))
    if change == 'offline':
        attached.tgt.call('set', Mode.TARGET, Op.UPDATE, 'state=offline', tid=tid)
    elif change == 'no lun':
        attached.tgt.call('delete', Mode.LOGICALUNIT, Op.DELETE, tid=tid, lun=1)
    else:
        attached.tgt.call('delete', Mode.TARGET, Op.DELETE, tid=tid, force=True)
    assert due(attached, monkeypatch).check()
    attached.login('e1')
    lun = attached.target().lun
    assert lun is not None
    assert lun.size == GIB


def test_a_comparison_disturbs_nothing_that_is_right(attached: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    sid = attached.login('e1')
    assert due(attached, monkeypatch).check()
    assert attached.target().sessions == {sid: HOST}


def test_a_target_without_an_export_is_removed(attached: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    add(attached, STRAY)
    assert due(attached, monkeypatch).check()
    assert [target.iqn for target in attached.tgt.live.values()] == [IQN]


@pytest.mark.parametrize('iqn', ['iqn.2010-10.org.openstack:other-1', 'iqn.2026-01.theirs:volume-1'])
def test_a_target_that_is_not_named_like_ours_stays(attached: Rig, monkeypatch: pytest.MonkeyPatch, iqn: str) -> None:
    add(attached, iqn)
    assert due(attached, monkeypatch).check()
    assert iqn in [target.iqn for target in attached.tgt.live.values()]


def test_at_a_shared_tgtd_the_path_says_whose_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another agent at that tgtd names its targets as we do."""
    rig = Rig(tmp_path)
    rig.tgt._size_of = lambda path: GIB
    ours = rig.store.path(VOLUME._replace(name='volume-gone'))
    for path, left in (('', [STRAY]), ('/theirs/fast/volume-gone', [STRAY]), (ours, [])):
        rig.tgt.live.clear()
        add(rig, STRAY, path)
        assert due(rig, monkeypatch).check()
        assert [target.iqn for target in rig.tgt.live.values()] == left


def test_a_tgtd_that_is_away_is_looked_at_again(attached: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    attached.tgt.life = 2
    attached.tgt.live.clear()
    attached.tgt.passwords.clear()
    one, exchange = Keeper(attached.appliance), attached.tgt._exchange

    def away(request: bytes) -> tuple[int, str]:
        raise NoAnswer('away')

    monkeypatch.setattr(attached.tgt, '_exchange', away)
    assert not one.check()
    monkeypatch.setattr(attached.tgt, '_exchange', exchange)
    assert one.check()
    attached.login('e1')


def test_the_thread_goes_on_after_a_fault_and_ends_when_told(
    attached: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(keeper, 'INTERVAL', 0.01)
    looked, failures = threading.Event(), iter([RuntimeError('a fault')])

    def reconcile(compare: bool = False) -> bool:
        for failure in failures:
            raise failure
        looked.set()
        return True

    monkeypatch.setattr(attached.appliance, 'reconcile', reconcile)
    one = Keeper(attached.appliance)
    one.start()
    one.wake()
    assert looked.wait(10)
    one.stop()
    assert 'a fault' in capsys.readouterr().err
    looked.clear()
    time.sleep(0.05)
    assert not looked.is_set()
