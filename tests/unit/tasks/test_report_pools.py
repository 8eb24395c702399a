"""Reports: what they make of pools and services, and what they must not take away."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.models import Pool, Service, base
from chalicelib.operations import pools, reservations, services
from chalicelib.tasks import report_pools
from tests import invariants
from tests.factories import context, create_volume, stored_volume
from tests.fake_driver import FakeDriver, Object
from tests.simulation import BIG, FAST, Simulation


def pool(name: str = BIG) -> Pool:
    return Pool.get(base.GLOBAL, name, consistent_read=True)


def service(host: str = 'cinderless@big') -> Service:
    return Service.get(base.GLOBAL, f'cinder-volume:{host}', consistent_read=True)


def reporting(monkeypatch: pytest.MonkeyPatch, backend: str = '', **facts: Any) -> None:
    """Let the pools of a backend (of all) report these facts instead of their own."""
    stats = FakeDriver.get_volume_stats

    def changed(driver: FakeDriver) -> dict[str, Any]:
        found = stats(driver)
        wanted = facts if backend in found['volume_backend_name'] else {}
        return found | {'pools': [{**one, **wanted} for one in found['pools']]}

    monkeypatch.setattr(FakeDriver, 'get_volume_stats', changed)


def test_a_first_report_makes_pools_and_services(simulation: Simulation) -> None:
    assert (pool().claimable_gb, pool(FAST).claimable_gb) == (100, 20)
    assert pool().report['volume_backend_name'] == 'big'
    assert pool().availability_zone == 'nova'
    assert (service().binary, service().host, service().backend_state) == ('cinder-volume', 'cinderless@big', 'up')
    assert {one.binary for one in Service.scan()} == {'cinder-volume', 'cinder-scheduler', 'cinder-backup'}


def test_uuid_and_age_of_a_service_stay(simulation: Simulation) -> None:
    before = service()
    simulation.report()
    assert (service().uuid, service().created_at) == (before.uuid, before.created_at)
    assert service().heartbeat_at > before.heartbeat_at


def test_a_report_does_not_enable_what_was_disabled(simulation: Simulation) -> None:
    services.set_enabled(context('admin'), 'cinderless@big', 'cinder-volume', False, 'maintenance')
    simulation.report()
    assert (service().disabled, service().disabled_reason) == (True, 'maintenance')


def test_a_backend_that_fails_is_down_and_harms_no_other(simulation: Simulation) -> None:
    simulation.big.fail('get_volume_stats', simulation.big.unavailable())
    before = pool(FAST).reported_at
    simulation.report()
    assert service().backend_state == 'down'
    assert pool(FAST).reported_at > before
    volume = create_volume(context(), 5)
    simulation.settle()
    assert volume.reload().host == FAST


def test_a_backend_that_comes_back_is_up(simulation: Simulation) -> None:
    simulation.big.fail('get_volume_stats', simulation.big.unavailable())
    simulation.report()
    simulation.report()
    assert service().backend_state == 'up'


def test_a_worker_that_could_not_ask_says_nothing_of_its_backend(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A busy table does not count as an outage of a backend."""

    def busy(*_: object) -> None:
        raise errors.ServiceUnavailable(reason='the database is busy')

    monkeypatch.setattr(report_pools.aws, 'invoke', busy)
    report_pools.run({})
    assert service().backend_state == 'up'
    assert 'no report was requested from backend cinderless@big' in caplog.text


def test_a_backend_that_is_down_is_asked_again_while_work_waits_but_seldom(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The schedule's next report may come after the last repetition of what waits."""
    simulation.big.fail('get_volume_stats', simulation.big.unavailable())
    simulation.report()
    report_pools.renew_report('cinderless@big')
    assert service().backend_state == 'down', 'it was read just now'
    monkeypatch.setattr(report_pools, 'AGAIN', 0)
    report_pools.renew_report('cinderless@big')
    assert service().backend_state == 'up'
    simulation.big.fail('get_volume_stats', simulation.big.unavailable())
    report_pools.renew_report('cinderless@big')
    assert service().backend_state == 'up', 'a backend that is up keeps no work waiting'


def test_a_backend_that_left_the_document_is_not_asked_again(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_pools, 'AGAIN', 0)
    del simulation.backends['cinderless@big']
    simulation.report()
    report_pools.renew_report('cinderless@big')
    assert service().backend_state == 'down'


def test_a_worker_that_dies_marks_its_backend_down(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    from chalicelib import aws

    def invoke(function: str, task: str, payload: dict[str, Any]) -> Any:
        if payload['backend'] == 'cinderless@big':
            raise errors.BackendUnavailable(backend='report_backend', reason='no answer within 27 s')
        return simulation.invoke(function, task, payload)

    monkeypatch.setattr(aws, 'invoke', invoke)
    simulation.report()
    assert (service().backend_state, service('cinderless@fast').backend_state) == ('down', 'up')


def test_a_backend_that_left_the_document_is_down(simulation: Simulation) -> None:
    del simulation.backends['cinderless@big']
    simulation.report()
    assert service().backend_state == 'down'


def test_a_pool_that_is_not_reported_any_more_gets_nothing(simulation: Simulation) -> None:
    del simulation.big.pools['pool']
    simulation.big.pools['other'] = 50
    simulation.report()
    assert pool().warning == 'not reported any more'
    assert pool('cinderless@big#other').claimable_gb == 50
    volume = create_volume(context(), 5)
    simulation.settle()
    assert volume.reload().host == 'cinderless@big#other'


@pytest.mark.parametrize('total', [None, 'much', float('nan'), {}])
def test_an_absurd_report_takes_its_pool_out_and_no_other(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch, total: Any
) -> None:
    reporting(monkeypatch, 'big', total_capacity_gb=total)
    simulation.report()
    assert 'total_capacity_gb' in pool().warning
    assert pool().claimable_gb == 100
    assert pool(FAST).warning is None


def test_a_pool_recovers_from_an_absurd_report(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        reporting(patch, free_capacity_gb='much')
        simulation.report()
    assert pool().warning
    simulation.report()
    assert pool().warning is None


@pytest.mark.parametrize('unlimited', ['infinite', 'unknown'])
def test_a_pool_without_limits_takes_any_size(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch, unlimited: str
) -> None:
    reporting(monkeypatch, free_capacity_gb=unlimited)
    simulation.report()
    assert pool().claimable_gb == pools.UNLIMITED_GB
    simulation.big.pools['pool'] = 10**6
    volume = create_volume(context(), 900)
    simulation.settle()
    assert volume.reload().status == 'available'


def test_fractions_of_a_gigabyte_are_rounded_down(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    reporting(monkeypatch, total_capacity_gb=10.999, free_capacity_gb=10.999)
    simulation.report()
    assert 10.98 < pool().claimable_gb <= 11


def test_an_older_report_does_not_replace_a_newer_one(simulation: Simulation) -> None:
    before = pool()
    state = {'name': BIG, 'capabilities': before.report, 'reported_at': base.after(-3600), 'availability_zone': 'mars'}
    report_pools._write_pool(state, before)
    assert pool().availability_zone == 'nova'


@contextlib.contextmanager
def while_asked(simulation: Simulation, deed: Callable[[], object]) -> Iterator[None]:
    """Do something after the pool's record was read and before the backend has answered."""

    def around(name: str) -> contextlib.AbstractContextManager[None]:
        if name == 'cinderless@big get_volume_stats':
            simulation.around = lambda _: contextlib.nullcontext()
            deed()
        return contextlib.nullcontext()

    simulation.around = around
    yield
    simulation.around = lambda _: contextlib.nullcontext()


def test_a_claim_made_while_the_backend_is_asked_stays(simulation: Simulation) -> None:
    volume = create_volume(context(), 5)
    [state] = [one for one in pools.states() if one.name == BIG]
    with while_asked(
        simulation, lambda: reservations.claim(volume, state, base.owned_by(type(volume), *_owner(volume)))
    ):
        simulation.report()
    assert (pool().claimable_gb, pool().in_transit_gb) == (95, 5)


def _owner(volume: Any) -> tuple[Any, str]:
    from chalicelib.rules import workflows

    return workflows.VOLUME['create'], volume.owner


def test_a_volume_made_and_finished_while_the_backend_is_asked_stays_claimed(simulation: Simulation) -> None:
    """The report may or may not include it: it counts once too often rather than not at all."""
    create_volume(context(), 5)
    with while_asked(simulation, simulation.settle):
        simulation.report()
    assert pool().claimable_gb == 90
    simulation.report()
    assert pool().claimable_gb == 95
    invariants.check(simulation)


def test_what_is_in_transit_when_the_backend_is_asked_is_not_given_away(simulation: Simulation) -> None:
    create_volume(context(), 5)
    simulation.deliver()
    [execution] = simulation.executions.values()
    simulation.work('schedule', execution.payload)
    simulation.report()
    assert pool().claimable_gb == 95
    simulation.settle()
    simulation.report()
    assert pool().claimable_gb == 95


def test_leftovers_are_removed_when_the_backend_answers(simulation: Simulation) -> None:
    simulation.big.objects['volume-gone'] = Object('pool', 3)
    reservations.remember_leftover(BIG, 'project', 'gone')
    simulation.report()
    assert simulation.big.objects == {}
    assert not pool().leftovers


def test_a_leftover_that_cannot_be_removed_is_tried_again(simulation: Simulation) -> None:
    simulation.big.objects['volume-gone'] = Object('pool', 3)
    reservations.remember_leftover(BIG, 'project', 'gone')
    simulation.big.fail('delete_volume', simulation.big.unavailable())
    simulation.report()
    assert pool().leftovers == {'project/gone'}
    simulation.report()
    assert simulation.big.objects == {}


def test_a_volume_that_lives_there_is_no_leftover(simulation: Simulation) -> None:
    volume = stored_volume(host=BIG, claimed_gb=1)
    simulation.big.objects[f'volume-{volume.id}'] = Object('pool', 1)
    reservations.remember_leftover(BIG, 'project', volume.id)
    simulation.report()
    assert f'volume-{volume.id}' in simulation.big.objects
    assert not pool().leftovers


def test_stale_reports_leave_the_choice(simulation: Simulation) -> None:
    pool().update(actions=[Pool.reported_at.set(base.after(-3600))])
    pools.forget()
    volume = create_volume(context(), 5)
    simulation.settle()
    assert volume.reload().host == FAST
