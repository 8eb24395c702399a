"""No export outlives the right to the data: whatever changes that right ends the exports that were made before."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pynamodb.connection import Connection

from chalicelib import errors
from chalicelib.models import Transfer, Volume, base, reading
from chalicelib.operations import attachments, backups, exports, images, managing, moves, reverts, transfers, volumes
from chalicelib.operations import legacy_attachments as legacy
from chalicelib.rules import states
from tests import invariants
from tests.chap import chap, paths
from tests.factories import context, create_snapshot, create_volume
from tests.simulation import FAST, Simulation
from tests.unit.operations.test_attachments import HOST, OTHER_HOST
from tests.workflows.crashes import Scenario, Stage

__all__ = ['chap']

ADMIN = context('admin')


def connect(volume: Volume, host: dict[str, Any] = HOST) -> dict[str, Any]:
    return legacy.initialize_connection(context(), volume.id, host)


def offer(volume: Volume) -> tuple[Transfer, str]:
    return transfers.create(context(), volume.id, name=None, no_snapshots=False, allow_encrypted=False)


def restore(volume: Volume) -> None:
    from chalicelib.models import Backup

    backup = Backup(
        volume.project_id, 'b1', created_at=base.now(), user_id='u', volume_id=volume.id, size=1, status='available',
    )  # fmt: skip
    backup.save()
    backups.restore(context(), 'b1', volume_id=volume.id, name=None)


def reimage(volume: Volume) -> None:
    images.reimage(context(), volume.id, 'image', reserved=False)


def revert(volume: Volume) -> None:
    [snapshot] = volumes.snapshots_of(volume)
    reverts.revert(context(), volume.id, snapshot.id)


def retype(volume: Volume) -> None:
    from chalicelib.operations import volume_types

    made = volume_types.create(ADMIN, name='other', description=None, is_public=True, extra_specs={})
    moves.retype(context(), volume.id, made.name, 'on-demand')


def migrate(volume: Volume) -> None:
    facts: dict[str, Any] = {'cluster': None, 'force_host_copy': False, 'lock_volume': False}
    moves.migrate(ADMIN, volume.id, host=FAST, **facts)


#: Whatever changes the right to the data, or the data under its owner: each ends what was exported before.
CHANGES: dict[str, Callable[[Volume], object]] = {
    'transfer': offer,
    'restore': restore,
    'reimage': reimage,
    'revert': revert,
    'retype': retype,
    'migrate': migrate,
    'read-only flag': lambda volume: volumes.set_readonly(context(), volume.id, True),
    'delete': lambda volume: volumes.delete(context(), volume.id, cascade=True),
    'force delete': lambda volume: volumes.delete(ADMIN, volume.id, cascade=True, force=True),
    'unmanage': lambda volume: managing.unmanage_volume(ADMIN, volume.id),
    'reset to detached': lambda volume: volumes.reset_status(ADMIN, volume.id, None, 'detached', None),
    'force detach': lambda volume: legacy.force_detach(ADMIN, volume.id, None, HOST),
    'reserve': lambda volume: legacy.reserve(context(), volume.id),
    'attachment': lambda volume: attachments.create(
        context(), volume_id=volume.id, instance_id=None, connector=None, mode=None
    ),
}


#: Changes that give the volume to another project, or its data away: nothing is exported until they are over.
EXCLUSIVE = ('transfer', 'restore', 'reimage', 'revert', 'retype', 'delete', 'force delete', 'unmanage')


@pytest.fixture
def volume(chap: Simulation, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Volume:
    """On a backend; with a snapshot where the change needs one."""
    monkeypatch.setattr(images, 'usable', lambda *_: None)
    made = create_volume(context(), 1)
    chap.settle()
    if 'revert' in request.node.name:
        create_snapshot(context(), made)
        chap.settle()
    return made.reload()


@pytest.mark.parametrize('change', CHANGES)
def test_what_changes_the_right_to_the_data_ends_the_exports(chap: Simulation, volume: Volume, change: str) -> None:
    connect(volume)
    connect(volume, OTHER_HOST)
    assert len(paths(chap)) == 2
    CHANGES[change](volume)
    if change == 'force detach':  # names one host
        legacy.terminate_connection(context(), volume.id, OTHER_HOST)
    if change in ('delete', 'force delete', 'unmanage'):  # their workflows end them, whatever becomes of the request
        chap.settle()
    else:
        assert volume.reload().exports == {}
    assert paths(chap) == []


@pytest.mark.parametrize('change', EXCLUSIVE)
def test_nothing_is_exported_while_the_change_lasts(chap: Simulation, volume: Volume, change: str) -> None:
    CHANGES[change](volume)
    with pytest.raises(errors.InvalidVolume, match='cannot be connected in status'):
        connect(volume)
    assert (paths(chap), volume.reload().exports) == ([], {})


def test_a_volume_on_its_way_to_another_backend_is_not_exported(chap: Simulation, volume: Volume) -> None:
    migrate(volume)
    with pytest.raises(errors.InvalidVolume, match='is being migrated'):
        connect(volume)
    reserved = volume.reload()
    assert (reserved.status, reserved.exports, paths(chap)) == ('available', {}, [])


@pytest.mark.parametrize('status', sorted(states.VOLUME_STATUSES))
def test_an_attachment_is_not_connected_either(chap: Simulation, status: str) -> None:
    """Reserved before the change, connected during it."""
    from tests.unit.operations.test_attachments import create, make_volume

    volume = make_volume(chap)
    made = create(volume)
    volume.update(actions=[Volume.status.set(status), Volume.attachment_count.set(0)])
    refused = status in states.NOT_EXPORTABLE or 'error' in status
    try:
        attachments.update(context(), made.id, HOST)
    except (errors.InvalidVolume, errors.ResourceConflict):
        assert refused
        assert paths(chap) == []
    else:
        assert not refused


def test_the_donor_has_no_way_to_a_volume_that_was_taken_over(chap: Simulation, volume: Volume) -> None:
    """Neither an export of before, nor one that no record knows, nor its secret for the receiver's host."""
    donors = connect(volume)['data']
    transfer, key = offer(volume)
    chap.backends[volume.backend].paths[f'volume-{volume.id}'].add('made-by-a-worker-that-was-late')
    transfers.accept(context(project_id='receiver'), transfer.id, key)
    assert paths(chap) == []
    with pytest.raises(errors.VolumeNotFound):
        connect(volume)
    receivers = legacy.initialize_connection(context(project_id='receiver'), volume.id, HOST)['data']
    assert receivers['auth_password'] != donors['auth_password']
    volumes.delete(context(project_id='receiver'), volume.id)
    chap.settle()
    assert list(Volume.scan()) == []


def test_a_backend_that_is_away_keeps_volume_and_offer_as_they_are(chap: Simulation, volume: Volume) -> None:
    connect(volume)
    store = chap.backends[volume.backend]
    store.fail('terminate_connection', store.unavailable())
    with pytest.raises(errors.BackendUnavailable):
        offer(volume)
    assert volume.reload().status == 'available'
    transfer, key = offer(volume)
    store.fail('terminate_connection', store.unavailable())
    with pytest.raises(errors.BackendUnavailable):
        transfers.accept(context(project_id='receiver'), transfer.id, key)
    transfers.accept(context(project_id='receiver'), transfer.id, key)
    assert paths(chap) == []


def test_attachments_that_a_reset_left_keep_a_volume_from_its_transfer(chap: Simulation, volume: Volume) -> None:
    attachments.create(context(), volume_id=volume.id, instance_id=None, connector=HOST, mode='rw')
    volumes.reset_status(ADMIN, volume.id, 'available', None, None)
    with pytest.raises(errors.InvalidVolume, match='has attachments; delete them first'):
        offer(volume)
    with pytest.raises(errors.InvalidVolume, match='must be available and detached'):
        restore(volume)


def test_a_host_that_connects_while_the_flag_changes_keeps_it_from_changing(
    chap: Simulation, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its export is for reading and writing, and would outlive the flag."""
    end_all = exports.end_all

    def late(one: Volume) -> Volume:
        ended = end_all(one)
        connect(Volume.find(one.project_id, one.id))
        return ended

    monkeypatch.setattr(exports, 'end_all', late)
    with pytest.raises(errors.InvalidVolume, match='has connections; detach it first'):
        volumes.set_readonly(context(), volume.id, True)
    assert 'readonly' not in volume.reload().admin_metadata


def test_a_volume_has_a_bounded_number_of_exports(chap: Simulation, volume: Volume) -> None:
    for number in range(exports.MAX_EXPORTS):
        connect(volume, {**HOST, 'initiator': f'iqn.2026-11.example:{number}'})
    with pytest.raises(errors.InvalidVolume, match='32 connections'):
        connect(volume, {**HOST, 'initiator': 'iqn.2026-11.example:more'})
    connect(volume, {**HOST, 'initiator': 'iqn.2026-11.example:7'})


def prepare(simulation: Simulation) -> Volume:
    made = create_volume(context(), 1)
    simulation.settle()
    create_snapshot(context(), made)
    simulation.settle()
    connect(made)
    return made


@contextlib.contextmanager
def intruding_anywhere(
    simulation: Simulation, at: int, intruder: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[str]]:
    """Run the intruder just before the call with this number: of DynamoDB, of a worker, of a backend's verb."""
    call, seen, inside = Connection._make_api_call, [], []

    def noted(name: str) -> None:
        if not inside:
            seen.append(name)
            if len(seen) - 1 == at:
                inside.append(True)
                with reading.together():  # another process, which has fetched nothing
                    intruder()
                inside.clear()

    @contextlib.contextmanager
    def standing(name: str) -> Iterator[None]:
        noted(name)
        yield
        noted(f'{name}, done')

    def around(connection: Connection, operation: str, *arguments: Any, **facts: Any) -> Any:
        noted(operation)
        return call(connection, operation, *arguments, **facts)

    with monkeypatch.context() as patch:
        patch.setattr(Connection, '_make_api_call', around)
        patch.setattr(simulation, 'around', standing)
        yield seen


def attempt(request: Callable[[Volume], object], volume: Volume) -> None:
    with contextlib.suppress(errors.CinderlessError):
        request(volume)


@pytest.mark.parametrize('order', ['change first', 'connection first'])
@pytest.mark.parametrize('change', [name for name in CHANGES if name != 'reset to detached'])
def test_a_host_that_connects_at_any_moment_of_the_change(
    change: str, order: str, tables: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every interleaving each export is recorded, and none exists while the data belongs to another project."""
    monkeypatch.setattr(images, 'usable', lambda *_: None)
    stage = Stage(Scenario('exported', prepare, lambda simulation, made: None), monkeypatch)
    pair: list[Callable[[Volume], object]] = [CHANGES[change], lambda volume: connect(volume, OTHER_HOST)]
    first, second = pair if order == 'change first' else reversed(pair)
    calls, at = 1, 0
    while at < calls:
        simulation = stage.world_again()
        intruder = functools.partial(attempt, second, stage.prepared)
        with intruding_anywhere(simulation, at, intruder, monkeypatch) as seen:
            attempt(first, stage.prepared)
        calls = len(seen)
        now = stage.prepared.reload()
        assert invariants.unrecorded_exports(simulation) == [], (at, seen)
        if now.status in states.NOT_EXPORTABLE and change in EXCLUSIVE and now.status not in ('deleting', 'unmanaging'):
            assert (now.exports, sum(map(len, simulation.big.paths.values()))) == ({}, 0), (at, seen)
        at += 1
