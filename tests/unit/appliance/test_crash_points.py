"""Each verb, cut off before every system call and every request to tgtd or LVM, then repeated by a new agent.

The kernel names the places: Python's audit events for opening, renaming, removing, truncating and ioctl. A process that
is dead does nothing more, so what follows the cut fails, too, clean-up included.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.names import Key
from tests.unit.appliance.agent_fixture import GIB, HOST, OTHER, SNAPSHOT, VOLUME, Rig
from tests.unit.appliance.fakes import Crashed, FakeLvm

EVENTS = {'open', 'os.rename', 'os.remove', 'os.truncate', 'os.mkdir', 'os.scandir', 'fcntl.ioctl'}


class Cut(BaseException):
    """The process is gone."""


class Power:
    """Counts steps; with a limit, none is done after it."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.steps = 0

    def step(self) -> None:
        if self.limit is not None and self.steps >= self.limit:
            raise Cut
        self.steps += 1

    def before(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def stepped(argument: Any) -> Any:
            self.step()
            return function(argument)

        return stepped


current: Power | None = None


@functools.cache
def listen() -> None:
    """An audit hook cannot be removed; it does something only while there is a ``current`` power."""

    def heard(event: str, _: tuple[Any, ...]) -> None:
        if current is not None and event in EVENTS:
            current.step()

    sys.addaudithook(heard)


@contextlib.contextmanager
def powered(rig: Rig, power: Power) -> Iterator[None]:
    """Run the rig on this power; whatever is cut off is not reported."""
    global current
    listen()
    rig.tgt._exchange = power.before(rig.tgt._exchange)  # type: ignore[method-assign, assignment]
    if rig.lvm:
        rig.store._run = power.before(rig.lvm)  # type: ignore[attr-defined]
    current = power
    try:
        with contextlib.suppress(Cut):
            yield
    finally:
        current = None


def base(rig: Rig) -> None:
    """A volume with data, a snapshot of it, and one path."""
    rig.appliance.create_volume(VOLUME, GIB)
    if not rig.lvm:
        rig.write(VOLUME, b'old')
    rig.appliance.create_snapshot(SNAPSHOT, 'volume-1')
    if not rig.lvm:
        rig.write(VOLUME, b'new')
    rig.appliance.create_export(VOLUME, 'kept', OTHER, 'ro')
    rig.appliance.create_volume(Key('slow', 'volume-4'), GIB)


NEW = Key('slow', 'volume-2')


def retire(rig: Rig, *names: str, then: Key | None = None) -> None:
    """Snapshots of backups that end one after the other; a folder of the tests claims to compare them."""
    rig.store.compares = lambda: True  # type: ignore[method-assign]
    for name in names:
        if rig.store.size(VOLUME) is not None:
            rig.appliance.create_snapshot(Key('fast', name), 'volume-1')
        rig.appliance.retire_snapshot(Key('fast', name))
    if then is not None:
        rig.appliance.delete(then)


def freeze(rig: Rig) -> None:
    rig.store.compares = lambda: True  # type: ignore[method-assign]
    rig.appliance.create_snapshot(Key('fast', 'snapshot-2'), 'volume-1', kept=True)


VERBS: dict[str, Callable[[Rig], Any]] = {
    'create': lambda rig: rig.appliance.create_volume(NEW, GIB),
    'from snapshot': lambda rig: rig.appliance.create_volume(NEW, 2 * GIB, {'snapshot': 'snapshot-1', 'pool': 'fast'}),
    'clone': lambda rig: rig.appliance.create_volume(NEW, 2 * GIB, {'volume': 'volume-1', 'pool': 'fast'}),
    'snapshot': lambda rig: rig.appliance.create_snapshot(Key('fast', 'snapshot-2'), 'volume-1'),
    'group snapshot': lambda rig: rig.appliance.create_snapshots(
        {Key('fast', 'snapshot-4'): 'volume-1', Key('slow', 'snapshot-5'): 'volume-4'}
    ),
    'extend': lambda rig: rig.appliance.extend_volume(VOLUME, 2 * GIB),
    'revert': lambda rig: rig.appliance.revert_volume(VOLUME, 'snapshot-1'),
    'export': lambda rig: rig.appliance.create_export(VOLUME, 'e1', HOST, 'rw'),
    'second export': lambda rig: rig.appliance.create_export(VOLUME, 'e1', OTHER, 'ro'),
    'unexport': lambda rig: rig.appliance.delete_export(VOLUME, 'kept'),
    'delete snapshot': lambda rig: rig.appliance.delete(SNAPSHOT),
    'delete volume': lambda rig: rig.appliance.delete(VOLUME),
    'manage': lambda rig: rig.appliance.create_volume(Key('fast', 'volume-3'), GIB, {'existing': 'stranger'}),
    'manage a snapshot': lambda rig: rig.appliance.create_snapshot(
        Key('fast', 'snapshot-3'), 'volume-1', existing='stranger'
    ),
    'retire': lambda rig: retire(rig, 'snapshot-1'),
    'retire the next': lambda rig: retire(rig, 'snapshot-1', 'snapshot-2'),
    'delete a volume with a kept snapshot': lambda rig: retire(rig, 'snapshot-1', then=VOLUME),
    'temporary snapshot': lambda rig: freeze(rig),
    'release': lambda rig: rig.appliance.release(VOLUME),
    'release a snapshot': lambda rig: rig.appliance.release(SNAPSHOT),
}

#: Verbs that make something, and how a caller who gave up removes it.
UNDONE: dict[str, Callable[[Rig], Any]] = {
    'create': lambda rig: rig.appliance.delete(NEW),
    'clone': lambda rig: rig.appliance.delete(NEW),
    'snapshot': lambda rig: rig.appliance.delete(Key('fast', 'snapshot-2')),
    'export': lambda rig: rig.appliance.delete_export(VOLUME, 'e1'),
}


def make(folder: Path, kind: str) -> Rig:
    rig = Rig(folder, FakeLvm() if kind == 'lvm' else None)
    rig.store.create(Key('fast', 'stranger'), GIB // 2)
    base(rig)
    return rig


def state(rig: Rig) -> dict[str, Any]:
    """All that can be read from outside, and what is left over."""
    keys = [Key(pool, name) for pool in rig.capacities for name in rig.store.objects(pool)]
    targets = {
        target.iqn: (sorted(target.names), sorted(user for user in target.seen if not user.startswith('cinderless')),
                     target.lun and (target.lun.size, target.lun.facts), target.settings.get('state', 'ready'))
        for target in rig.tgt.live.values()
    }  # fmt: skip
    return {
        'objects': {str(key): (rig.store.size(key), None if rig.lvm else rig.read(key, 3)) for key in keys},
        'journal': {
            str(key): dataclasses.replace(record, kept=int(record.kept > 0))
            for key, record in rig.journal.items()
            if record.exports or record.source
        },
        'targets': targets,
        'left': sorted(rig.lvm.volumes) if rig.lvm else sorted(path.name for path in rig.folder.rglob('*.*')),
    }


def number_of_steps(kind: str, verb: str, folder: Path) -> int:
    power, rig = Power(), make(folder, kind)
    with powered(rig, power):
        VERBS[verb](rig)
    return power.steps


def cut_off(folder: Path, kind: str, verb: str) -> Iterator[Rig]:
    """The agent in its next life, once for each step that the verb was cut off before."""
    steps = number_of_steps(kind, verb, folder / 'all')
    assert steps >= 4
    for survived in range(steps):
        rig = make(folder / str(survived), kind)
        with powered(rig, Power(survived)):
            VERBS[verb](rig)
        next_life(rig, kind)
        yield rig


def next_life(rig: Rig, kind: str) -> None:
    """A new agent, with a new tgtd, or with the one that served the last agent if it is shared.

    tgt may die of a gap among its accounts; then its unit starts it again.
    """
    if kind != 'shared tgtd':
        rig.start()
        return
    rig.tgt.__dict__.pop('_exchange', None)
    try:
        rig.start(rig.tgt)
    except Crashed:
        rig.start()


def lived_through(folder: Path, kind: str, verb: Callable[[Rig], Any] | None) -> dict[str, Any]:
    """The state after a life without a cut, as the next life finds it."""
    rig = make(folder, kind)
    if verb:
        verb(rig)
    next_life(rig, kind)
    return state(rig)


@pytest.mark.parametrize('kind', ['files', 'lvm', 'shared tgtd'])
@pytest.mark.parametrize('verb', VERBS)
def test_a_repeat_after_a_cut_gives_what_one_call_gives(tmp_path: Path, kind: str, verb: str) -> None:
    expected = lived_through(tmp_path / 'expected', kind, VERBS[verb])
    for rig in cut_off(tmp_path, kind, verb):
        VERBS[verb](rig)
        next_life(rig, kind)
        assert state(rig) == expected


@pytest.mark.parametrize('kind', ['files', 'lvm', 'shared tgtd'])
@pytest.mark.parametrize('verb', UNDONE)
def test_a_caller_that_gives_up_leaves_nothing(tmp_path: Path, kind: str, verb: str) -> None:
    expected = lived_through(tmp_path / 'expected', kind, None)
    for rig in cut_off(tmp_path, kind, verb):
        UNDONE[verb](rig)
        next_life(rig, kind)
        assert state(rig) == expected


#: Verbs that change the volume itself.
CHANGING = {'delete volume', 'delete a volume with a kept snapshot', 'release', 'revert', 'extend'}


@pytest.mark.parametrize('verb', sorted(set(VERBS) - CHANGING))
def test_a_cut_never_touches_the_volume(tmp_path: Path, verb: str) -> None:
    for rig in cut_off(tmp_path, 'files', verb):
        assert (rig.store.size(VOLUME), rig.read(VOLUME, 3)) == (GIB, b'new')


def test_a_revert_is_all_or_nothing(tmp_path: Path) -> None:
    seen = {rig.read(VOLUME, 3) for rig in cut_off(tmp_path, 'files', 'revert')}
    assert seen == {b'old', b'new'}
