"""A request is checked, then another one changes what was checked: the write's own condition must notice.

The other request is served whole just before the first write of the one under test.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pynamodb.connection import Connection

from chalicelib import errors
from chalicelib.models import Group, Snapshot, Volume, reading
from chalicelib.operations import backups, group_snapshots, groups, snapshots, transfers, volumes
from tests import invariants
from tests.data_backends import Data
from tests.factories import context, create_group, create_group_snapshot, create_snapshot, create_volume
from tests.simulation import Simulation

WRITES = ('PutItem', 'UpdateItem', 'DeleteItem', 'TransactWriteItems')


@contextlib.contextmanager
def before_the_write(other: Callable[[], object]) -> Iterator[None]:
    """Serve the other request before the first write of this one."""
    call, served = Connection._make_api_call, []

    def around(connection: Connection, operation: str, *arguments: Any, **facts: Any) -> Any:
        if operation in WRITES and not served:
            served.append(operation)
            with reading.together():  # another process, which has fetched nothing
                other()
        return call(connection, operation, *arguments, **facts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Connection, '_make_api_call', around)
        yield
    assert served


@pytest.fixture
def volume(simulation: Simulation, data: Data) -> Volume:
    made = create_volume(context(), 5)
    simulation.settle()
    return made.reload()


@pytest.fixture
def snapshot(simulation: Simulation, volume: Volume) -> Snapshot:
    made = create_snapshot(context(), volume)
    simulation.settle()
    return made.reload()


@pytest.fixture
def group(simulation: Simulation) -> Group:
    """A group with one volume."""
    made = create_group(context())
    simulation.settle()
    create_volume(context(), 1, group_id=made.id)
    simulation.settle()
    return made.reload()


def back_up(volume: Volume, snapshot: Snapshot | None = None) -> object:
    facts: dict[str, Any] = dict.fromkeys(('name', 'description', 'container', 'availability_zone'))
    id = snapshot.id if snapshot else None
    return backups.create(
        context(), volume_id=volume.id, incremental=False, force=False, snapshot_id=id, metadata={}, **facts
    )


READERS: dict[str, Callable[[Volume, Snapshot], object]] = {
    'clone': lambda volume, snapshot: create_volume(context(), 5, snapshot_id=snapshot.id),
    'backup': lambda volume, snapshot: back_up(volume, snapshot),
}


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize('cascade', [False, True])
def test_a_snapshot_that_is_read_by_now_stays(
    simulation: Simulation, volume: Volume, snapshot: Snapshot, reader: str, cascade: bool
) -> None:
    with before_the_write(lambda: READERS[reader](volume, snapshot)), pytest.raises(errors.Invalid):
        volumes.delete(context(), volume.id, cascade=True) if cascade else snapshots.delete(context(), snapshot.id)
    assert (volume.reload().status, snapshot.reload().reader_count) == ('available', 1)
    simulation.settle()
    assert (snapshot.reload().status, snapshot.reload().reader_count) == ('available', 0)


def test_a_snapshot_that_is_read_stays_in_spite_of_its_status(simulation: Simulation, snapshot: Snapshot) -> None:
    create_volume(context(), 5, snapshot_id=snapshot.id)
    assert snapshot.reload().status == 'available'
    with pytest.raises(errors.InvalidSnapshot, match='being read by 1'):
        snapshots.delete(context(), snapshot.id)


def test_a_volume_that_is_read_by_now_stays(simulation: Simulation, volume: Volume) -> None:
    with (
        before_the_write(lambda: create_volume(context(), 5, source_volid=volume.id)),
        pytest.raises(errors.InvalidVolume, match='being read by 1'),
    ):
        volumes.delete(context(), volume.id)
    simulation.settle()
    invariants.check(simulation)


#: Copies of a volume or snapshot -> what they are made of.
COPIES: dict[str, Callable[[Volume, Snapshot], object]] = {
    'clone': lambda volume, _: create_volume(context(), 5, source_volid=volume.id),
    'backup': lambda volume, _: back_up(volume),
    'from snapshot': lambda _, snapshot: create_volume(context(), 5, snapshot_id=snapshot.id),
    'backup of snapshot': lambda volume, snapshot: back_up(volume, snapshot),
}


@pytest.mark.parametrize('name', COPIES)
def test_a_source_that_changes_its_status_is_not_copied(
    simulation: Simulation, volume: Volume, snapshot: Snapshot, name: str
) -> None:
    def change() -> None:
        if 'snapshot' in name:
            snapshots.delete(context(), snapshot.id)
        else:
            volumes.extend(context(), volume.id, 8)

    with before_the_write(change), pytest.raises(errors.Invalid):
        COPIES[name](volume, snapshot)
    assert [one.reload().reader_count for one in (volume, snapshot)] == [0, 0]
    simulation.settle()
    assert len(list(Volume.scan())) == 1
    invariants.check(simulation)


def test_a_volume_with_a_reservation_is_not_extended(simulation: Simulation, volume: Volume) -> None:
    """Whatever has left it there: a second one would overwrite it, and the quota would never be right again."""
    volume.update(actions=[Volume.reserved_gb.set(2)])
    with pytest.raises(errors.InvalidVolume):
        volumes.extend(context(), volume.id, 8)
    assert volume.reload().reserved_gb == 2


def test_a_group_with_a_group_snapshot_stays_when_its_volumes_have_left(simulation: Simulation, group: Group) -> None:
    taken = create_group_snapshot(context(), group)
    simulation.settle()
    [member] = [one for one in Volume.scan() if one.group_id == group.id]
    groups.update(context(), group.id, {}, add=[], remove=[member.id])
    with pytest.raises(errors.InvalidGroup, match='has dependent group snapshots'):
        groups.delete(context(), group.id, delete_volumes=False)
    group_snapshots.delete(context(), taken.id)
    simulation.settle()
    groups.delete(context(), group.id, delete_volumes=False)
    simulation.settle()
    assert list(Group.scan()) == []
    invariants.check(simulation)


def test_a_group_that_is_snapshotted_by_now_stays(simulation: Simulation, group: Group) -> None:
    with before_the_write(lambda: create_group_snapshot(context(), group)), pytest.raises(errors.Invalid):
        groups.delete(context(), group.id, delete_volumes=True)
    simulation.settle()
    assert group.reload().group_snapshot_count == 1
    invariants.check(simulation)


def test_an_offer_does_not_include_a_volume_that_is_read_by_now(simulation: Simulation, volume: Volume) -> None:
    made, key = transfers.create(context(), volume.id, name=None, no_snapshots=False, allow_encrypted=False)
    with (
        before_the_write(lambda: volumes.reset_status(context('admin'), volume.id, 'available', None, None)),
        pytest.raises(errors.CinderlessError),
    ):
        transfers.accept(context(project_id='taker'), made.id, key)
    assert volume.reload().project_id == 'project'


def test_work_that_lost_its_record_to_an_equal_request_does_not_end_it(simulation: Simulation, volume: Volume) -> None:
    """An administrator ends an extension while its backend works, and the owner requests another: equal in status."""

    def again() -> None:
        simulation.around = quiet
        with reading.together():
            volumes.reset_status(context('admin'), volume.id, 'available', None, None)
            volumes.extend(context(), volume.id, 10)

    quiet = simulation.around

    @contextlib.contextmanager
    def during(name: str) -> Iterator[None]:
        yield
        if name.endswith('extend_volume'):
            again()

    volumes.extend(context(), volume.id, 8)
    simulation.around = during
    simulation.settle()
    assert (volume.reload().status, volume.reload().size) == ('available', 10)
    invariants.check(simulation)
