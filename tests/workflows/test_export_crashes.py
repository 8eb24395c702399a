"""Every crash point of what a client waits for: attach, detach, connections, transfers, the comparison of backends.

The API and the worker are two processes: either the worker dies and the API continues, or both die. Afterwards the
schedules run, as much time passes as they need, and a client repeats what it wanted: nothing of it is lost, doubled,
stuck, or open to a host that has no right to it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.models import Attachment, Transfer, Volume, base
from chalicelib.operations import attachments, transfers, volumes
from chalicelib.operations import legacy_attachments as legacy
from chalicelib.tasks import backend_reconciliation
from tests import invariants
from tests.factories import context, create_volume
from tests.fake_driver import OURS, Object
from tests.simulation import Killed, Simulation
from tests.unit.operations.test_attachments import HOST, OTHER_HOST
from tests.workflows.crashes import Crasher, Scenario, Stage, recover
from tests.workflows.test_crashes import noting

DAY = 86_400

Prepared = Any


def volume(simulation: Simulation) -> Volume:
    made = create_volume(context(), 5)
    simulation.settle()
    return made.reload()


def attach(made: Volume, host: dict[str, Any] | None = HOST) -> Attachment:
    return attachments.create(context(), volume_id=made.id, instance_id='server', connector=host, mode='rw')


def reserved(simulation: Simulation) -> Attachment:
    return attach(volume(simulation), None)


def attached(simulation: Simulation) -> Attachment:
    made = attach(volume(simulation))
    attachments.complete(context(), made.id)
    return made


def connected(simulation: Simulation) -> Volume:
    made = volume(simulation)
    legacy.reserve(context(), made.id)
    legacy.initialize_connection(context(), made.id, HOST)
    return made


def legacy_attached(simulation: Simulation) -> Volume:
    made = connected(simulation)
    legacy.attach(context(), made.id, instance_id='server', host_name=None, mountpoint='/dev/vdb', mode='rw')
    return made.reload()


def exported(simulation: Simulation) -> Volume:
    """A host connected without a reservation, and went away."""
    made = volume(simulation)
    legacy.initialize_connection(context(), made.id, HOST)
    return made


def offered(simulation: Simulation) -> tuple[Transfer, str]:
    return offer(exported(simulation))


def offer(made: Volume) -> tuple[Transfer, str]:
    return transfers.create(context(), made.id, name=None, no_snapshots=False, allow_encrypted=False)


def accept(made: tuple[Transfer, str]) -> None:
    transfers.accept(context(project_id='receiver'), made[0].id, made[1])


def strays(simulation: Simulation) -> Volume:
    """An object, an export and a marked entry that nothing uses, all of them old."""
    made = exported(simulation)
    simulation.big.objects['volume-stray'] = Object('pool', 1, deployment=OURS)
    simulation.backends[made.backend].paths[f'volume-{made.id}'].add('left')
    simulation.backends[made.backend].fail('terminate_connection', errors.DriverError(backend='b', reason='r'))
    with contextlib.suppress(errors.DriverError):
        legacy.terminate_connection(context(), made.id, HOST)
    compare(simulation)
    return made


def given_up(simulation: Simulation) -> Volume:
    """An extension that was recorded as failed, and that the backend carried out."""
    made = volume(simulation)
    volumes.extend(context(), made.id, 8)
    backend = simulation.backends[made.backend]
    backend.fail_for_good('extend_volume', backend.refuses())
    backend.fail('get_volume_size', backend.refuses())
    simulation.settle()
    backend.objects[f'volume-{made.id}'].size = 8
    simulation.report()
    compare(simulation)
    return made


def lost_growth(simulation: Simulation) -> Volume:
    """An extension that was recorded, and that the backend no longer has."""
    made = volume(simulation)
    volumes.extend(context(), made.id, 8)
    simulation.settle()
    simulation.backends[made.backend].objects[f'volume-{made.id}'].size = 5
    compare(simulation)
    return made


def compare(simulation: Simulation, days: float = 0) -> None:
    """Compare every backend with the records, as the schedule does so many days from now."""
    with in_days(days):
        backend_reconciliation.run(simulation.backends)


@contextlib.contextmanager
def in_days(days: float) -> Iterator[None]:
    """The records' time, so many days from now."""
    seconds, after = days * DAY, base.after
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, 'now', lambda: after(seconds))
        patch.setattr(base, 'after', lambda more: after(seconds + more))
        yield


def compare_late(simulation: Simulation, _: Prepared = None) -> None:
    compare(simulation, days=3)


SCENARIOS = [
    Scenario('attach', volume, lambda _, made: attach(made)),
    Scenario('attach what a host left', exported, lambda _, made: attach(made, OTHER_HOST)),
    Scenario('connect', reserved, lambda _, made: attachments.update(context(), made.id, HOST)),
    Scenario('complete', lambda one: attach(volume(one)), lambda _, made: attachments.complete(context(), made.id)),
    Scenario('detach', attached, lambda _, made: attachments.delete(context(), made.id)),
    Scenario('legacy connect', volume, lambda _, made: legacy.initialize_connection(context(), made.id, HOST)),
    Scenario('legacy disconnect', connected, lambda _, made: legacy.terminate_connection(context(), made.id, HOST)),
    Scenario('legacy disconnect all', connected, lambda _, made: legacy.terminate_connection(context(), made.id, None)),
    Scenario(
        'legacy attach',
        connected,
        lambda _, made: legacy.attach(
            context(), made.id, instance_id='server', host_name=None, mountpoint='/dev/vdb', mode='rw'
        ),
    ),
    Scenario('legacy detach', legacy_attached, lambda _, made: legacy.detach(context(), made.id, None)),
    Scenario(
        'force detach', legacy_attached, lambda _, made: legacy.force_detach(context('admin'), made.id, None, HOST)
    ),
    Scenario(
        'reset', attached, lambda _, made: volumes.reset_status(
            context('admin'), made.volume_id, 'available', 'detached', None
        )
    ),
    Scenario('read-only', exported, lambda _, made: volumes.set_readonly(context(), made.id, True)),
    Scenario('offer', exported, lambda _, made: offer(made)),
    Scenario('accept', offered, lambda _, made: accept(made)),
    Scenario('withdraw', offered, lambda _, made: transfers.delete(context(), made[0].id)),
    Scenario('compare', strays, compare_late),
    Scenario('compare sizes', given_up, compare_late),
    Scenario('compare sizes, lost growth', lost_growth, compare_late),
]  # fmt: skip


@pytest.mark.parametrize('worker_only', [False, True], ids=['both die', 'worker dies'])
@pytest.mark.parametrize('scenario', SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_crash_point(
    scenario: Scenario, worker_only: bool, tables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, trace = Stage(scenario, monkeypatch), Crasher()
    play(stage, trace, worker_only)
    assert trace.calls
    for index in range(len(trace.calls) + 1):
        with noting(trace, index):
            play(stage, Crasher(index), worker_only)


def play(stage: Stage, crasher: Crasher, worker_only: bool) -> None:
    simulation = stage.world_again()
    for backend in simulation.backends.values():
        backend.faults.clear()
    if worker_only:
        stage.monkeypatch.setattr(simulation, 'work', _dying(simulation.work))
    with stage._standing_around(simulation, crasher), contextlib.suppress(Killed, errors.CinderlessError):
        stage.scenario.request(simulation, stage.prepared)
    recover(simulation)
    for _ in range(2):  # what the first sees, the second removes
        compare_late(simulation)
        compare(simulation, days=6)
        with in_days(7):
            recover(simulation)
    assert invariants.unrecorded_exports(simulation) == []
    assert invariants.surviving_sessions(simulation) == []
    check_links()
    repeat(simulation)
    invariants.check(simulation)
    left = [(name, ids) for backend in simulation.backends.values() for name, ids in backend.paths.items() if ids]
    assert left == []
    assert [backend.sessions for backend in simulation.backends.values() if backend.sessions] == []
    assert {one.status for one in Volume.scan()} == {'available'}
    assert (list(Attachment.scan()), list(Transfer.scan())) == ([], [])
    assert 'volume-stray' not in simulation.big.objects


def _dying(work: Callable[..., Any]) -> Callable[..., Any]:
    """A worker whose death is seen by the API as an invoke without an answer."""

    def dying(task: str, payload: Any) -> Any:
        try:
            return work(task, payload)
        except Killed as killed:
            raise errors.BackendUnavailable(backend=task, reason=str(killed)) from None

    return dying


def check_links() -> None:
    """Check that the volume's summary of its attachments agrees with the attachments' own records."""
    known = {one.id: one for one in Attachment.scan()}
    linked = {id: link for one in Volume.scan() for id, link in one.attachments.items()}
    assert known.keys() == linked.keys()
    assert {id: one.attach_status for id, one in known.items()} == {
        id: link['attach_status'] for id, link in linked.items()
    }


def repeat(simulation: Simulation) -> None:
    """What clients do in the end: withdraw the offer, detach, disconnect, release the reservation."""
    for transfer in list(Transfer.scan()):
        transfers.delete(context(project_id=transfer.project_id), transfer.id)
    for attachment in list(Attachment.scan()):
        attachments.delete(context(project_id=attachment.project_id), attachment.id)
    for one in list(Volume.scan()):
        assert one.status != 'in-use' or one.attachments  # a reset changes both or nothing
        caller = context(project_id=one.project_id)
        legacy.terminate_connection(caller, one.id, None)
        legacy.detach(caller, one.id, None)


def test_a_session_that_survives_is_seen(simulation: Simulation) -> None:
    made = attached(simulation)
    [(name, id)] = simulation.big.sessions or simulation.fast.sessions
    backend = simulation.big if simulation.big.sessions else simulation.fast
    assert (name, id, invariants.surviving_sessions(simulation)) == (f'volume-{made.volume_id}', made.id, [])
    attachments.delete(context(), made.id)
    assert backend.sessions == {}
    backend.sessions[name, id] = HOST['initiator']
    assert invariants.surviving_sessions(simulation) != []
