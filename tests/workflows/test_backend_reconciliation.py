"""Backends compared with the records: own, unknown objects are deleted after the grace time, and no others."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest

from chalicelib import aws, errors
from chalicelib.drivers.base import GIB, StoredObject
from chalicelib.models import Attachment, Pool, Snapshot, Volume, base
from chalicelib.operations import attachments, quotas, reconciliations, volumes
from chalicelib.operations import legacy_attachments as legacy
from chalicelib.tasks import backend_reconciliation as reconciliation
from chalicelib.tasks import differences
from tests import invariants
from tests.factories import context, create_snapshot, create_volume, stored_volume
from tests.fake_driver import OURS, Object
from tests.simulation import BIG, Simulation
from tests.small_dynamodb import SmallDynamoDB
from tests.unit.operations.test_attachments import HOST

HOST_OF_BIG = 'cinderless@big'

ADMIN = context('admin')


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time go on for the records, by seconds."""
    passed = [0.0]

    def now() -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=passed[0])

    def form(moment: datetime.datetime) -> str:
        return moment.strftime('%Y-%m-%dT%H:%M:%S.%f')

    monkeypatch.setattr(base, 'now', lambda: form(now()))
    monkeypatch.setattr(base, 'after', lambda seconds: form(now() + datetime.timedelta(seconds=seconds)))

    def go_on(seconds: float) -> None:
        passed[0] += seconds

    return go_on


def compare() -> dict[str, Any]:
    """As the schedule does: in a worker."""
    report: dict[str, Any] = aws.invoke('worker', 'reconcile_backend', {'backend': HOST_OF_BIG})
    return report


def volume(simulation: Simulation, **facts: Any) -> Volume:
    made = create_volume(context(), 1, **facts)
    simulation.settle()
    return made.reload()


def on_big(simulation: Simulation) -> Volume:
    while True:
        made = volume(simulation)
        if made.backend == HOST_OF_BIG:
            return made


def stray(simulation: Simulation, name: str = 'volume-stray', **facts: Any) -> None:
    simulation.big.objects[name] = Object('pool', 1, **{'deployment': OURS, **facts})


def test_what_is_on_a_record_is_never_unknown(simulation: Simulation, later: Callable[[float], None]) -> None:
    made = on_big(simulation)
    create_snapshot(context(), made)
    simulation.settle()
    attachments.create(context(), volume_id=made.id, instance_id=None, connector=HOST, mode='rw')
    legacy.initialize_connection(context(), on_big(simulation).id, HOST)
    before = (dict(simulation.big.objects), {name: set(ids) for name, ids in simulation.big.paths.items()})
    for _ in range(3):
        report = compare()
        assert (report['unknown'], report['differences'], report['removed'], report['stopped']) == ({}, [], [], None)
        later(10 * reconciliation.OBJECT_GRACE)
    assert (dict(simulation.big.objects), {name: set(ids) for name, ids in simulation.big.paths.items()}) == before


@pytest.mark.parametrize('name', ['volume-stray', 'snapshot-stray'])
def test_what_is_ours_and_unknown_goes_after_its_grace_time(
    simulation: Simulation, later: Callable[[float], None], name: str
) -> None:
    stray(simulation, name)
    simulation.big.paths[name] = {'e'} if name.startswith('volume-') else set()
    first = compare()
    assert list(first['unknown']) == [name]
    later(reconciliation.OBJECT_GRACE - 60)
    assert compare()['unknown'][name]['first_seen'] == first['unknown'][name]['first_seen']
    assert name in simulation.big.objects
    later(120)
    report = compare()
    assert (report['removed'], report['unknown'], report['unknown_count']) == ([name], {}, 0)
    assert name not in simulation.big.objects
    assert not simulation.big.paths.get(name)


@pytest.mark.parametrize('deployment', ['', 'another'])
def test_what_others_made_is_never_touched(
    simulation: Simulation, later: Callable[[float], None], deployment: str
) -> None:
    stray(simulation, deployment=deployment)
    simulation.big.paths['volume-stray'] = {'theirs'}
    for _ in range(3):
        assert compare()['unknown'] == {}
        later(10 * reconciliation.OBJECT_GRACE)
    assert 'volume-stray' in simulation.big.objects
    assert simulation.big.paths['volume-stray'] == {'theirs'}


def test_an_object_whose_record_has_work_under_way_is_not_unknown(
    simulation: Simulation, later: Callable[[float], None]
) -> None:
    made = create_volume(context(), 1)
    simulation.deliver()
    stray(simulation, f'volume-{made.id}')  # the record names no backend yet
    assert compare()['unknown'] == {}


def test_what_gets_a_record_during_its_grace_time_stays(simulation: Simulation, later: Callable[[float], None]) -> None:
    stray(simulation, 'volume-late')
    compare()
    stored_volume(id='late', host=BIG)
    later(10 * reconciliation.OBJECT_GRACE)
    assert compare()['removed'] == []
    assert 'volume-late' in simulation.big.objects


def test_a_record_that_appears_at_the_last_moment_saves_the_object(
    simulation: Simulation, later: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stray(simulation, 'snapshot-late')
    compare()
    later(10 * reconciliation.OBJECT_GRACE)
    stopped = reconciliation._stopped

    def during(*arguments: Any) -> Any:
        Snapshot(
            'p', 'late', created_at=base.now(), user_id='u', volume_id='v', volume_size=1, status='available'
        ).save()  # fmt: skip
        return stopped(*arguments)

    monkeypatch.setattr(reconciliation, '_stopped', during)
    assert compare()['removed'] == []
    assert 'snapshot-late' in simulation.big.objects


def test_an_export_that_no_record_names_ends_soon(simulation: Simulation, later: Callable[[float], None]) -> None:
    made = on_big(simulation)
    attached = attachments.create(context(), volume_id=made.id, instance_id=None, connector=HOST, mode='rw')
    simulation.big.paths[f'volume-{made.id}'].add('left')
    assert compare()['unknown_count'] == 1
    later(reconciliation.EXPORT_GRACE + 1)
    assert compare()['removed'] == [f'volume-{made.id}/left']
    assert simulation.big.paths[f'volume-{made.id}'] == {attached.id}


def test_an_export_without_an_id_ends_as_late_as_an_object(
    simulation: Simulation, later: Callable[[float], None]
) -> None:
    made = on_big(simulation)
    attachments.create(context(), volume_id=made.id, instance_id=None, connector=HOST, mode='rw')
    simulation.big.unnamed.add((f'volume-{made.id}', 'by-hand'))
    assert [one['kind'] for one in compare()['unknown'].values()] == ['unnamed']
    later(reconciliation.OBJECT_GRACE - 60)
    assert compare()['removed'] == []
    later(120)
    assert compare()['removed'] == [f'volume-{made.id}/by-hand']
    assert simulation.big.unnamed == set()
    assert len(simulation.big.paths[f'volume-{made.id}']) == 1


def test_an_export_without_an_id_may_be_one_that_a_record_names(
    simulation: Simulation, later: Callable[[float], None]
) -> None:
    """Its tag was removed by hand: the server still writes there."""
    made = on_big(simulation)
    attachments.create(context(), volume_id=made.id, instance_id=None, connector=HOST, mode='rw')
    simulation.big.paths[f'volume-{made.id}'].clear()
    simulation.big.unnamed.add((f'volume-{made.id}', 'server'))
    for _ in range(3):
        assert compare()['unknown'] == {}
        later(10 * reconciliation.OBJECT_GRACE)
    assert simulation.big.unnamed


def test_many_exports_without_an_id_wait_for_a_confirmation(
    simulation: Simulation, later: Callable[[float], None]
) -> None:
    for number in range(reconciliation.MOST_UNKNOWN + 1):
        simulation.big.unnamed.add((f'volume-{on_big(simulation).id}', f'host-{number}'))
    compare()
    later(2 * reconciliation.OBJECT_GRACE)
    assert (compare()['stopped'], len(simulation.big.unnamed)) == (reconciliations.TOO_MANY, 6)
    reconciliations.confirm(ADMIN, HOST_OF_BIG)
    compare()
    assert simulation.big.unnamed == set()


def test_idle_access_goes_after_its_grace_time_however_much_it_is(
    simulation: Simulation, later: Callable[[float], None]
) -> None:
    simulation.big.idle = {f'host-{number}' for number in range(20)}
    assert compare()['stopped'] is None
    later(reconciliation.OBJECT_GRACE - 60)
    simulation.big.idle.remove('host-3')  # in use again
    compare()
    simulation.big.idle.add('host-3')
    later(120)
    assert len(compare()['removed']) == 19
    assert simulation.big.idle == {'host-3'}


def test_an_export_of_work_under_way_stays(simulation: Simulation, later: Callable[[float], None]) -> None:
    made = on_big(simulation)
    simulation.big.paths[f'volume-{made.id}'].add('of-a-worker')
    made.update(actions=[Volume.in_flight.set('1'), Volume.status.set('uploading')])
    compare()
    later(10 * reconciliation.EXPORT_GRACE)
    assert compare()['removed'] == []
    assert simulation.big.paths[f'volume-{made.id}'] == {'of-a-worker'}


def test_marked_entries_are_finished(simulation: Simulation, later: Callable[[float], None]) -> None:
    """The backend was away when a failed attach was undone, and no request came since."""
    made = on_big(simulation)
    simulation.big.fail('initialize_connection', None)
    legacy.initialize_connection(context(), made.id, HOST)
    simulation.big.fail('terminate_connection', simulation.big.unavailable())
    with pytest.raises(errors.BackendUnavailable):
        legacy.terminate_connection(context(), made.id, HOST)
    [entry] = made.reload().exports.values()
    assert entry['ending']
    compare()
    assert made.reload().exports
    later(reconciliation.EXPORT_GRACE + 1)
    compare()
    assert (made.reload().exports, simulation.big.paths[f'volume-{made.id}']) == ({}, set())


def test_an_entry_without_an_export_is_dropped_in_the_end(
    simulation: Simulation, later: Callable[[float], None]
) -> None:
    made = on_big(simulation)
    legacy.initialize_connection(context(), made.id, HOST)
    simulation.big.paths[f'volume-{made.id}'].clear()
    later(reconciliation.EXPORT_GRACE + 1)
    compare()
    assert made.reload().exports
    later(reconciliation.OBJECT_GRACE)
    compare()
    assert made.reload().exports == {}


def test_many_unknown_objects_stop_the_removal_until_a_confirmation(
    simulation: Simulation, later: Callable[[float], None]
) -> None:
    for number in range(reconciliation.MOST_UNKNOWN + 1):
        stray(simulation, f'volume-stray{number}')
    compare()
    later(2 * reconciliation.OBJECT_GRACE)
    report = compare()
    assert (report['stopped'], report['removed']) == (reconciliations.TOO_MANY, [])
    stray(simulation, 'volume-seen-later')
    reconciliations.confirm(ADMIN, HOST_OF_BIG)
    later(2 * reconciliation.OBJECT_GRACE)
    assert len(compare()['removed']) == reconciliation.MOST_UNKNOWN + 1
    assert 'volume-seen-later' in simulation.big.objects


def test_more_than_a_hundredth_is_too_many(simulation: Simulation) -> None:
    unknown = {f'volume-{number}': {'kind': 'object'} for number in range(3)}
    assert reconciliation._stopped(unknown, 299, {}, {}, {}) == reconciliations.TOO_MANY
    assert reconciliation._stopped(unknown, 300, {}, {}, {}) is None
    assert reconciliation._stopped({'volume-1': {'kind': 'object'}}, 3, {}, {}, {}) is None


@pytest.mark.parametrize('table', ['volumes', 'snapshots', 'backups'])
@pytest.mark.parametrize('first', [False, True], ids=['known before', 'never compared'])
def test_restored_tables_stop_everything_until_a_confirmation(
    tables: SmallDynamoDB, simulation: Simulation, later: Callable[[float], None], table: str, first: bool
) -> None:
    """The restore lost a record: its volume is live, and looks like an orphan."""
    made = on_big(simulation)
    legacy.initialize_connection(context(), made.id, HOST)
    if not first:
        compare()
    restored = tables.tables[f'{OURS}-{table}']
    restored.id, restored.restored = 'another', True
    made.delete()
    for _ in range(3):
        assert compare()['stopped'] == reconciliations.TABLES_CHANGED
        later(2 * reconciliation.OBJECT_GRACE)
    assert f'volume-{made.id}' in simulation.big.objects
    reconciliations.confirm(ADMIN, HOST_OF_BIG)
    assert compare()['stopped'] is None
    assert f'volume-{made.id}' not in simulation.big.objects
    assert compare()['stopped'] is None


def test_what_differs_is_reported_and_left(simulation: Simulation, later: Callable[[float], None]) -> None:
    grown, lost, attached = on_big(simulation), on_big(simulation), on_big(simulation)
    simulation.big.objects[f'volume-{grown.id}'].size = 3
    grown.update(actions=[Volume.status.set('error_extending')])
    del simulation.big.objects[f'volume-{lost.id}']
    made = attachments.create(context(), volume_id=attached.id, instance_id=None, connector=HOST, mode='rw')
    attachments.complete(context(), made.id)
    simulation.big.paths[f'volume-{attached.id}'].clear()
    found = {one['kind']: one for one in compare()['differences']}
    assert set(found) == {'size', 'missing', 'missing_export'}
    assert (found['size']['expected'], found['size']['found']) == (1, 3)
    assert found['missing']['name'] == f'volume-{lost.id}'
    assert found['missing_export']['export_id'] == made.id
    assert Attachment.find(made.project_id, made.id).attach_status == 'attached'


def usage() -> dict[str, int]:
    return quotas.usages('project')['gigabytes']


def given_up(simulation: Simulation, found_gb: int) -> Volume:
    """Return a 1 GiB volume in ``error_extending`` whose object has ``found_gb`` GiB; its size was not reported."""
    made = on_big(simulation)
    simulation.big.fail_for_good('extend_volume', simulation.big.refuses())
    simulation.big.fail('get_volume_size', simulation.big.refuses())
    volumes.extend(context(), made.id, 3)
    simulation.settle()
    simulation.big.faults.clear()
    simulation.big.objects[f'volume-{made.id}'].size = found_gb
    assert (made.reload().status, made.reload().size) == ('error_extending', 1)
    return made


def finished(simulation: Simulation, later: Callable[[float], None]) -> None:
    """Two comparisons, and what the schedules do after them."""
    compare()
    later(differences.GRACE + 1)
    compare()
    later(base.START_DEADLINE + 1)
    simulation.reconcile()
    simulation.settle()


@pytest.mark.parametrize('attached', [False, True])
def test_an_extension_that_its_backend_carried_out_is_finished(
    simulation: Simulation, later: Callable[[float], None], attached: bool
) -> None:
    made = given_up(simulation, 3)
    if attached:
        link = {'attach_status': 'attached', 'host_name': None}
        made.update(actions=[Volume.attachments.set({'a': link}), Volume.attachment_count.set(1)])
    calls = len([call for call in simulation.big.calls if call.startswith('extend')])
    finished(simulation, later)
    made = made.reload()
    status = 'in-use' if attached else 'available'
    assert (made.status, made.size, made.claimed_gb, made.in_transit_gb) == (status, 3, 3, 0)
    assert (usage()['reserved'], simulation.big.objects[f'volume-{made.id}'].size) == (0, 3)
    assert len([call for call in simulation.big.calls if call.startswith('extend')]) == calls + 1
    simulation.report()
    invariants.check(simulation)
    assert compare()['differences'] == []


def test_a_grown_object_on_a_full_pool_is_recorded(simulation: Simulation, later: Callable[[float], None]) -> None:
    """The pool's report counts the growth already, so it needs no free capacity."""
    made = given_up(simulation, 3)
    simulation.big.objects['volume-of-others'] = Object('pool', 100 - simulation.big.used('pool'))
    simulation.report()
    assert Pool.get(base.GLOBAL, BIG).claimable_gb == 0
    finished(simulation, later)
    assert (made.reload().status, made.reload().size, made.reload().claimed_gb) == ('available', 3, 3)
    assert Pool.get(base.GLOBAL, BIG).claimable_gb == 0


@pytest.mark.parametrize('status', ['available', 'in-use', 'error_extending'])
def test_an_object_that_lost_its_growth_grows_again(
    simulation: Simulation, later: Callable[[float], None], status: str
) -> None:
    made = on_big(simulation)
    volumes.extend(context(), made.id, 3)
    simulation.settle()
    link = {'a': {'attach_status': 'attached', 'host_name': None}} if status == 'in-use' else {}
    made.update(
        actions=[Volume.status.set(status), Volume.attachments.set(link), Volume.attachment_count.set(len(link))]
    )
    simulation.big.objects[f'volume-{made.id}'].size = 2
    finished(simulation, later)
    made = made.reload()
    assert (made.status, made.size) == ('in-use' if link else 'available', 3)
    assert simulation.big.objects[f'volume-{made.id}'].size == 3
    simulation.report()
    invariants.check(simulation)


def test_a_size_that_cannot_be_made_one_is_tried_once_a_day(
    simulation: Simulation, later: Callable[[float], None]
) -> None:
    made = given_up(simulation, 3)
    quotas.update('project', {'gigabytes': usage()['in_use'] + 1})
    for _ in range(3):
        finished(simulation, later)
    assert (made.reload().status, made.reload().size, usage()['reserved']) == ('error_extending', 1, 0)
    assert [one['found'] for one in compare()['differences']] == [3]
    quotas.update('project', {'gigabytes': usage()['in_use'] + 2})
    finished(simulation, later)
    assert made.reload().status == 'error_extending'
    later(differences.AGAIN)
    finished(simulation, later)
    assert (made.reload().status, made.reload().size) == ('available', 3)


def test_a_backend_that_cannot_grow_it_again_leaves_it_as_it_was(
    simulation: Simulation, later: Callable[[float], None]
) -> None:
    made = given_up(simulation, 1)
    made.update(actions=[Volume.size.set(2), Volume.claimed_gb.set(2)])
    simulation.big.fail_for_good('extend_volume', simulation.big.full(1))
    finished(simulation, later)
    assert (made.reload().status, made.reload().size, made.reload().claimed_gb) == ('error_extending', 2, 2)


def test_a_volume_that_changed_meanwhile_keeps_its_size(
    simulation: Simulation, later: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = given_up(simulation, 3)
    compare()
    later(differences.GRACE + 1)
    list_ = differences.list_

    def during(*arguments: Any) -> Any:
        volumes.reset_status(ADMIN, made.id, 'error', None, None)
        return list_(*arguments)

    monkeypatch.setattr(differences, 'list_', during)
    compare()
    assert (made.reload().status, made.reload().in_flight, usage()['reserved']) == ('error', None, 0)


def test_many_sizes_that_differ_wait_for_a_confirmation(simulation: Simulation, later: Callable[[float], None]) -> None:
    """A backend that reports in another unit must not change records and quotas."""
    made = [on_big(simulation) for _ in range(differences.MOST + 1)]
    for one in made:
        simulation.big.objects[f'volume-{one.id}'].size = 2
    finished(simulation, later)
    assert compare()['stopped'] == reconciliations.MANY_SIZES
    assert {one.reload().size for one in made} == {1}
    reconciliations.confirm(ADMIN, HOST_OF_BIG)
    finished(simulation, later)
    assert {one.reload().size for one in made} == {2}


def test_a_size_that_is_no_whole_number_of_gib_does_not_differ(simulation: Simulation) -> None:
    made = on_big(simulation)
    stored = [StoredObject(f'volume-{made.id}', 'pool', GIB - 1)]
    assert differences.list_(stored, [], {f'volume-{made.id}': made}, []) == []


def test_a_backend_that_refuses_a_removal_is_asked_again(
    simulation: Simulation, later: Callable[[float], None]
) -> None:
    stray(simulation)
    compare()
    later(2 * reconciliation.OBJECT_GRACE)
    simulation.big.fail('delete_volume', errors.VolumeIsBusy(id='stray', reason='a session'))
    assert compare()['removed'] == []
    assert compare()['removed'] == ['volume-stray']


def test_the_schedule_compares_each_backend_when_it_is_due(
    simulation: Simulation, later: Callable[[float], None]
) -> None:
    from chalicelib.tasks import report_pools

    report_pools.run({})
    assert reconciliations.report_of(HOST_OF_BIG)
    simulation.big.calls.clear()
    report_pools.run({})
    assert 'inventory ' not in simulation.big.calls
    later(reconciliation.INTERVAL + 1)
    simulation.fast.fail('inventory', simulation.fast.unavailable())
    report_pools.run({})
    assert 'inventory ' in simulation.big.calls


def test_what_an_administrator_sees(simulation: Simulation) -> None:
    stray(simulation)
    compare()
    [report] = reconciliations.list_(ADMIN, HOST_OF_BIG)
    assert report['host'] == HOST_OF_BIG
    assert [one['name'] for one in report['unknown']] == ['volume-stray']
    assert 'tables' not in report
    with pytest.raises(errors.ServiceNotFoundOnHost):
        reconciliations.confirm(ADMIN, 'cinderless@nowhere')
