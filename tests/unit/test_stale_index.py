"""The index by id is behind: it names a project that the record has left, both, or none. It is not taken for a fact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.models import Volume, base
from chalicelib.operations import transfers, volumes
from chalicelib.tasks import create_volume, report_pools
from tests.factories import context
from tests.factories import create_volume as ask_for_volume
from tests.simulation import Simulation

ADMIN = context('admin', 'of-administrators')


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made; none is."""
    made: list[float] = []
    monkeypatch.setattr(base.time, 'sleep', made.append)
    return made


def transferred(simulation: Simulation) -> Volume:
    """A volume of project ``taker`` that was ``project``'s."""
    volume = ask_for_volume(context(), 1)
    simulation.settle()
    transfer, key = transfers.create(context(), volume.id, name=None, no_snapshots=True, allow_encrypted=False)
    transfers.accept(context(project_id='taker'), transfer.id, key)
    return Volume.find('taker', volume.id)


def index(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """Have the index answer these projects, the last answer from then on."""
    left, query = list(answers), Volume.query

    def stale(id: str, *arguments: Any, **facts: Any) -> Iterator[Any]:
        if facts.get('index_name') != 'by_id':
            return query(id, *arguments, **facts)  # type: ignore[no-any-return]
        found = left.pop(0) if len(left) > 1 else left[0]
        limit = facts.get('limit')
        return iter([Volume(project, id) for project in found][:limit])

    monkeypatch.setattr(Volume, 'query', stale)


#: What looks for a volume without knowing its project, or by a project that it has left.
LOOKS: dict[str, Callable[[str], Volume]] = {
    'administrator': lambda id: volumes.get(ADMIN, id),
    'task': lambda id: Volume.locate('project', id),
    'model': Volume.find_anywhere,
}


@pytest.mark.parametrize('look', LOOKS)
@pytest.mark.parametrize(
    'answers',
    [
        ([['project', 'taker']]),
        ([['taker', 'project']]),
        ([['project'], ['taker']]),
        ([['project'], ['project'], ['project'], ['project', 'taker']]),
        ([[], ['taker']]),
    ],
)
def test_a_transferred_volume_is_found(
    simulation: Simulation, look: str, answers: list[list[str]], pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = transferred(simulation)
    index(monkeypatch, *answers)
    assert LOOKS[look](volume.id).project_id == 'taker'


def test_what_there_is_not_is_looked_for_a_bounded_time(
    simulation: Simulation, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    index(monkeypatch, ['project'])
    with pytest.raises(errors.VolumeNotFound):
        Volume.find_anywhere('gone')
    assert sum(pauses) < 2
    pauses.clear()
    index(monkeypatch, [])
    with pytest.raises(errors.VolumeNotFound):
        Volume.find_anywhere('never')
    assert sum(pauses) <= 0.1


def test_a_late_worker_does_not_remove_the_object_of_a_volume_that_was_transferred(
    simulation: Simulation, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows the volume by its old project, finds nothing there, and must not take that for 'gone'."""
    volume = transferred(simulation)
    index(monkeypatch, [])
    payload = {'project_id': 'project', 'id': volume.id, 'placed': {'host': volume.host}, 'request_id': 'req-1'}
    create_volume._remove_unwanted(payload)
    assert f'volume-{volume.id}' in {**simulation.big.objects, **simulation.fast.objects}
    monkeypatch.undo()
    with pytest.MonkeyPatch.context() as patch:
        simulation.install(patch)
        report_pools.run({})
        assert f'volume-{volume.id}' in {**simulation.big.objects, **simulation.fast.objects}
