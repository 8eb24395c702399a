"""Services, pools and zones as an operator sees them."""

from __future__ import annotations

import pytest

from chalicelib import errors
from chalicelib.models import Service, base
from chalicelib.operations import services, volume_types
from tests.factories import context, create_volume
from tests.simulation import BIG, FAST, Simulation

ADMIN = context('admin')


def test_rows(simulation: Simulation) -> None:
    rows = services.list_(ADMIN)
    assert [(row['binary'], row['host']) for row in rows] == [
        ('cinder-backup', 'cinderless'),
        ('cinder-scheduler', 'cinderless'),
        ('cinder-volume', 'cinderless@big'),
        ('cinder-volume', 'cinderless@fast'),
    ]
    assert {(row['status'], row['state'], row['zone']) for row in rows} == {('enabled', 'up', 'nova')}
    assert all(row['updated_at'] and row['uuid'] for row in rows)


def test_filters(simulation: Simulation) -> None:
    assert len(services.list_(ADMIN, host='cinderless')) == 4
    assert len(services.list_(ADMIN, host='cinderless@big')) == 1
    assert len(services.list_(ADMIN, binary='cinder-volume')) == 2
    assert services.list_(ADMIN, host='nothing') == []


def test_a_silent_service_is_down(simulation: Simulation) -> None:
    Service(base.GLOBAL, 'cinder-volume:cinderless@big').update(actions=[Service.heartbeat_at.set(base.after(-3600))])
    [row] = services.list_(ADMIN, host='cinderless@big')
    assert row['state'] == 'down'


def test_a_disabled_backend_gets_nothing(simulation: Simulation) -> None:
    row = services.set_enabled(ADMIN, 'cinderless@big', 'cinder-volume', False, 'new disks')
    assert (row['status'], row['disabled_reason']) == ('disabled', 'new disks')
    volume = create_volume(context(), 1)
    simulation.settle()
    assert volume.reload().host == FAST
    row = services.set_enabled(ADMIN, 'cinderless@big', 'cinder-volume', True)
    assert (row['status'], row['disabled_reason']) == ('enabled', None)


def test_an_unknown_service(simulation: Simulation) -> None:
    with pytest.raises(errors.ServiceNotFoundOnHost) as refused:
        services.set_enabled(ADMIN, 'zz', 'cinder-volume', False)
    assert refused.value.message == 'Service cinder-volume could not be found on host zz.'
    assert len(services.list_(ADMIN)) == 4


def test_pools(simulation: Simulation) -> None:
    create_volume(context(), 5)
    simulation.settle()
    detailed = {pool['name']: pool['capabilities'] for pool in services.pools(ADMIN, {}, True)}
    assert set(detailed) == {BIG, FAST}
    assert detailed[BIG]['allocated_capacity_gb'] == 5
    assert detailed[BIG]['total_capacity_gb'] == 100
    assert services.pools(ADMIN, {'name': FAST}, False) == [{'name': FAST}]
    assert services.pools(ADMIN, {'volume_backend_name': 'big'}, False) == [{'name': BIG}]


def test_pools_that_fit_a_type(simulation: Simulation) -> None:
    volume_types.create(
        ADMIN, name='fast', description=None, is_public=True, extra_specs={'volume_backend_name': 'fast'}
    )
    assert services.pools(ADMIN, {'volume_type': 'fast'}, False) == [{'name': FAST}]


def test_zones(simulation: Simulation) -> None:
    simulation.fast.availability_zone = 'west'
    simulation.report()
    assert services.availability_zones(context()) == [('nova', True), ('west', True)]
    services.set_enabled(ADMIN, 'cinderless@fast', 'cinder-volume', False)
    assert services.availability_zones(context()) == [('nova', True), ('west', False)]


def test_the_default_zone_is_known_without_reading(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    simulation.fast.availability_zone = 'west'
    simulation.report()
    assert services.known_zones(context(), ['east', 'west', 'nova']) == ['west', 'nova']
    monkeypatch.setattr(services, 'availability_zones', None)
    assert services.known_zones(context(), ['nova']) == ['nova']
