"""What fails around a backup, once or permanently: S3 at each of its calls, the source, the target, the key."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator

import pytest

from chalicelib import errors
from chalicelib.backup.keys import RecoveryKeyWrapper
from chalicelib.models import Volume
from chalicelib.operations import backups
from chalicelib.tasks import backup_data
from tests.backup_factories import create_backup
from tests.data_backends import Data
from tests.factories import context
from tests.invariants import check
from tests.run_statistics import Counting
from tests.simulation import Simulation
from tests.workflows.crashes import Crasher
from tests.workflows.test_backup_crashes import DataStage

REFUSED = errors.RepositoryError(key='k', reason='SlowDown: Please reduce your request rate.')


class Refusal(Crasher):
    """S3 refuses its call number ``index``, or loses the answer of one that changes something. The process survives."""

    def __init__(self, index: int | None, *, after: bool = False) -> None:
        super().__init__(index)
        self._after = after

    @contextlib.contextmanager
    def around(self, name: str) -> Iterator[None]:
        if not name.startswith(('s3 put', 's3 delete') if self._after else 's3 '):
            yield
            return
        self.calls.append(name)
        refused = len(self.calls) - 1 == self.index
        if refused and not self._after:
            raise REFUSED
        yield
        if refused:
            raise REFUSED


@pytest.mark.parametrize('after', [False, True], ids=['refused', 'answer lost'])
@pytest.mark.parametrize('name', ['incremental', 'restore', 'delete', 'import', 'scrub', 'drill', 'copy'])
def test_s3_fails_at_any_call(
    name: str, after: bool, tables: None, monkeypatch: pytest.MonkeyPatch, counted: Counting
) -> None:
    """One failure: the workflow repeats the call, and the backup is right."""
    stage, trace = DataStage(name, monkeypatch), Refusal(None, after=after)
    stage.play(trace)
    for index in range(len(trace.calls)):
        stage.play(Refusal(index, after=after))
    counted('failures of S3 survived', len(trace.calls))


@pytest.mark.parametrize('call', ['cinderless@big open_snapshot', 'cinderless@big read', 's3 put'])
def test_a_source_that_disappears(simulation: Simulation, data: Data, volume: Volume, call: str) -> None:
    """An operator deletes the source on the backend: the backup records the reason, and the volume is unchanged."""

    def around(name: str) -> contextlib.AbstractContextManager[None]:
        if name == call:
            for frozen in [one for one in simulation.big.objects if one.startswith('snapshot-')]:
                simulation.big.objects.pop(frozen)
                simulation.big.paths.pop(frozen, None)
        return contextlib.nullcontext()

    backup = create_backup(context(), volume)
    simulation.around = around
    simulation.settle()
    backup = backup.reload()
    assert (backup.status, volume.reload().status) == ('error', 'available')
    assert backup.fail_reason
    backups.delete(context(), backup.id)
    simulation.settle()
    check(simulation)


def test_a_target_that_fills_up(simulation: Simulation, data: Data, volume: Volume) -> None:
    """The volume is in error_restoring with the reason; the backup is as good as before, and restores elsewhere."""
    original = data.of(volume).copy(data.of(volume).size)
    backup = create_backup(context(), volume)
    simulation.settle()
    written = itertools.count()

    def around(name: str) -> contextlib.AbstractContextManager[None]:
        if name == 'cinderless@big write' and next(written) >= 3:
            raise errors.CheckCondition(device='d', reason='SPACE ALLOCATION FAILED WRITE PROTECT')
        return contextlib.nullcontext()

    simulation.around = around
    backups.restore(context(), backup.id, volume_id=volume.id, name=None)
    simulation.settle()
    assert (volume.reload().status, backup.reload().status) == ('error_restoring', 'available')
    assert next(written) > 3
    simulation.around = lambda _: contextlib.nullcontext()
    _, target = backups.restore(context(), backup.id, volume_id=None, name=None)
    simulation.settle()
    assert data.of(target).same(original)
    check(simulation)


def test_a_key_that_is_not_the_one(
    simulation: Simulation, data: Data, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The restore writes no byte, and the volume returns to available."""
    backup = create_backup(context(), volume)
    simulation.settle()
    data.of(volume).fill(seed=2)
    before = data.of(volume).copy(data.of(volume).size)
    monkeypatch.setattr(backup_data, 'key_wrapper', lambda _: RecoveryKeyWrapper.from_private(b'q' * 32))
    backups.restore(context(), backup.id, volume_id=volume.id, name=None)
    simulation.settle()
    assert (volume.reload().status, backup.reload().status) == ('available', 'available')
    assert data.of(volume).same(before)
    check(simulation)
