"""Each verb, interrupted at each request to tgtd, then followed by a verb; in the end tgtd has what the journal has.

A request is interrupted in four ways: it is not done; it is done and the answer is lost; it is done later, before the
next request that tgtd answers; tgtd gives no more answers from there on until the verb has failed. The quick run takes
each point in each way once, followed by the same verb or by one of the others in turn. INTERRUPTIONS=all follows each
with every verb.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from appliance.errors import ApplianceError
from appliance.keys import Account
from appliance.tgt import NoAnswer
from tests.unit.appliance.agent_fixture import GIB, HOST, OTHER, SNAPSHOT, VOLUME, Rig
from tests.unit.appliance.fakes import FakeLvm, FakeTgt

THIRD = 'iqn.2026-01.org.example:third'
WAYS = ('not done', 'answer lost', 'done later', 'silent from here on')

VERBS: dict[str, Callable[[Rig], Any]] = {
    'export': lambda rig: rig.appliance.create_export(VOLUME, 'e1', HOST, 'rw'),
    'export to another': lambda rig: rig.appliance.create_export(VOLUME, 'kept', THIRD, 'rw'),
    'unexport': lambda rig: rig.appliance.delete_export(VOLUME, 'kept'),
    'unexport shared': lambda rig: rig.appliance.delete_export(VOLUME, 'old-1'),
    'unexport all': lambda rig: rig.appliance.delete_exports(VOLUME),
    'extend': lambda rig: rig.appliance.extend_volume(VOLUME, 2 * GIB),
    'revert': lambda rig: rig.appliance.revert_volume(VOLUME, 'snapshot-1'),
    'unexport snapshot': lambda rig: rig.appliance.delete_export(SNAPSHOT, 'reader'),
    'delete snapshot': lambda rig: rig.appliance.delete(SNAPSHOT),
    'delete volume': lambda rig: rig.appliance.delete(VOLUME),
    'release': lambda rig: rig.appliance.release(VOLUME),
}


class Flaky(FakeTgt):
    """Interrupts one request, counted from ``at``, in one of ``WAYS``."""

    def __init__(self, size_of: Callable[[str], int]) -> None:
        super().__init__(size_of)
        self.seen = 0
        self.at = -1
        self.way = ''
        self._late: list[bytes] = []

    def interrupt(self, at: int, way: str) -> None:
        self.seen, self.at, self.way = 0, at, way

    def go_on(self) -> None:
        self.at = -1

    def _exchange(self, request: bytes) -> tuple[int, str]:
        number, self.seen = self.seen, self.seen + 1
        if self.at < 0 or number < self.at or (number > self.at and self.way != 'silent from here on'):
            self._do_late()
            return super()._exchange(request)
        if self.way == 'answer lost':
            super()._exchange(request)
        elif self.way == 'done later' or number == self.at:
            self._late += [request] if self.way != 'not done' else []
        raise NoAnswer('no answer')

    def _do_late(self) -> None:
        late, self._late = self._late, []
        for request in late:
            super()._exchange(request)


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host does not die here, and waiting for its disk is most of the time."""
    monkeypatch.setattr(os, 'fsync', lambda file: None)


class Point(NamedTuple):
    verb: str
    step: int
    way: str
    then: str


def make(folder: Path, kind: str) -> Rig:
    """A volume with four exports, two of which share a target as an earlier version made them, and a snapshot."""
    rig = Rig(folder, FakeLvm() if kind == 'lvm' else None)
    rig.tgt = Flaky(rig._size_of)
    rig.start(rig.tgt)
    rig.appliance.create_volume(VOLUME, GIB)
    if kind == 'files':
        rig.write(VOLUME, b'old')
    rig.appliance.create_snapshot(SNAPSHOT, 'volume-1')
    if kind == 'files':
        rig.write(VOLUME, b'new')
    rig.appliance.create_export(VOLUME, 'kept', OTHER, 'ro')
    rig.appliance.create_export(SNAPSHOT, 'reader', OTHER, 'ro')
    rig.appliance.create_export(VOLUME, 'old-1', HOST, 'rw')
    shared = rig.journal.get(VOLUME).exports['old-1']
    record = rig.journal.get(VOLUME).with_export('old-2', dataclasses.replace(shared, initiator=OTHER))
    rig.journal.put(VOLUME, record)
    rig.exports.settle(VOLUME)
    return rig


@functools.cache
def steps(kind: str, verb: str, folder: Path) -> int:
    rig = make(folder / f'count-{kind}-{verb}', kind)
    before = len(rig.tgt.requests)
    VERBS[verb](rig)
    return len(rig.tgt.requests) - before


def points(kind: str, verb: str, folder: Path) -> Iterator[Point]:
    """Each with all verbs to follow, or, in the quick run, with the same verb and with the others in turn."""
    for turn, (step, way) in enumerate(itertools.product(range(steps(kind, verb, folder)), WAYS)):
        then = list(VERBS)
        if os.environ.get('INTERRUPTIONS') != 'all':
            then = [then[turn // 2 % len(then)] if turn % 2 else verb]
        yield from (Point(verb, step, way, other) for other in then)


def run(rig: Rig, point: Point) -> None:
    tgt = rig.tgt
    assert isinstance(tgt, Flaky)
    tgt.interrupt(point.step, point.way)
    with contextlib.suppress(NoAnswer):
        VERBS[point.verb](rig)
    tgt.go_on()
    with contextlib.suppress(ApplianceError):  # a verb may have nothing to do any more
        VERBS[point.then](rig)
    assert rig.appliance.reconcile()


def check(rig: Rig, kind: str) -> None:
    """tgtd has exactly the journal's targets, whole and ready; each export's host can log in; nothing else is left."""
    wanted: dict[str, dict[str, str]] = {}
    accounts: dict[str, Account] = {}
    modes = {}
    for key, record in rig.journal.items():
        assert not any(export.ending for export in record.exports.values())
        for export_id, export in record.exports.items():
            account = rig.account(export_id, key)
            wanted.setdefault(export.iqn, {})[account.user] = export.initiator
            accounts[account.user] = account
            modes[export.iqn] = (key, export.mode)
    assert sorted(target.iqn for target in rig.tgt.live.values()) == sorted(wanted)
    assert set(rig.tgt.passwords) == set(accounts)
    for iqn, admitted in wanted.items():
        target, (key, mode) = rig.target(iqn), modes[iqn]
        assert target.settings.get('state', 'ready') == 'ready'
        assert (set(target.seen), set(target.names)) == (set(admitted), set(admitted.values()))
        assert target.lun is not None
        assert (target.lun.path, target.lun.size) == (rig.store.path(key), rig.store.size(key))
        assert (target.lun.facts['readonly'], target.lun.facts['thin_provisioning']) == (str(int(mode == 'ro')), '1')
        for user, initiator in admitted.items():
            rig.tgt.login(iqn, initiator, *accounts[user])
    if kind == 'files' and rig.store.size(VOLUME) is not None:
        assert rig.read(VOLUME, 3) in (b'old', b'new')


@pytest.mark.parametrize('kind', ['files', 'lvm'])
@pytest.mark.parametrize('verb', VERBS)
def test_tgtd_has_what_the_journal_says_after_any_interruption(
    tmp_path: Path, kind: str, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    count = 0
    for count, point in enumerate(points(kind, verb, tmp_path), 1):
        rig = make(tmp_path / str(count), kind)
        try:
            run(rig, point)
            check(rig, kind)
        except BaseException:
            print(f'at {point}')
            raise
    with capsys.disabled():
        print(f' {verb} on {kind}: {count} interruptions', end='')
    assert count >= 20


@pytest.mark.parametrize('verb', VERBS)
def test_an_interrupted_verb_is_finished_without_a_caller(tmp_path: Path, verb: str) -> None:
    """What reads as done is done, and what was given up leaves no lasting harm: no caller repeats the verb."""
    for step in range(steps('files', verb, tmp_path)):
        for way in WAYS:
            rig = make(tmp_path / f'{step}-{way}', 'files')
            tgt = rig.tgt
            assert isinstance(tgt, Flaky)
            tgt.interrupt(step, way)
            with pytest.raises(NoAnswer):
                VERBS[verb](rig)
            tgt.go_on()
            rig.appliance.reconcile()
            check(rig, 'files')
