"""What the scheduler knows of the simulation, and what users and operators read of its decision."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib import errors
from chalicelib.clients.nova import Compute
from chalicelib.models import Volume
from chalicelib.operations import cloud, pools, scheduling, volumes
from chalicelib.scheduler.config import SchedulerConfig
from tests.factories import context, create_volume
from tests.fake_nova import FakeNova, NoTokens, serving
from tests.simulation import BIG, Simulation

SERVER = '0b5e7f0e-9d5c-4b0e-8a39-0c2c7f4f3d11'


@pytest.fixture
def nova(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNova]:
    """A cloud with servers, whose operator has switched InstanceLocalityFilter on."""
    with serving(FakeNova()) as running:
        config = SchedulerConfig(scheduler_default_filters=('CapacityFilter', 'InstanceLocalityFilter'))
        monkeypatch.setattr(pools, 'config', lambda: config)
        monkeypatch.setattr(cloud, 'compute', lambda: Compute(running.url, NoTokens()))
        yield running


def near(server: str) -> Volume:
    return create_volume(context(), 1, scheduler_hints={'local_to_instance': server})


def test_beside_its_server(simulation: Simulation, nova: FakeNova) -> None:
    nova.hosts = {SERVER: 'cinderless'}
    volume = near(SERVER)
    simulation.settle()
    assert volume.reload().status == 'available'


def test_where_the_server_is_not(simulation: Simulation, nova: FakeNova) -> None:
    nova.hosts = {SERVER: 'elsewhere'}
    volume = near(SERVER)
    simulation.settle()
    assert volume.reload().status == 'error'


@pytest.mark.parametrize('known', [{}, {SERVER: ''}])
def test_a_server_of_which_nova_tells_no_host(simulation: Simulation, nova: FakeNova, known: dict[str, str]) -> None:
    nova.hosts = known
    wanted: dict[str, Any] = {'scheduler_hints': {'local_to_instance': SERVER}}
    facts = {'name': None, 'description': None, 'availability_zone': None, 'volume_type': None, 'metadata': {}}
    sources = {'snapshot_id': None, 'source_volid': None, 'multiattach': False}
    with pytest.raises(errors.HintNotSupported, match='Nova did not report the host'):
        volumes.dry_run(context(), size=1, **facts, **sources, **wanted)


def test_nobody_asks_nova_without_the_hint_or_the_filter(
    simulation: Simulation, nova: FakeNova, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_volume(context(), 1)
    simulation.settle()
    monkeypatch.setattr(pools, 'config', SchedulerConfig)
    near(SERVER)
    simulation.settle()
    assert nova.requests == []


def test_numbers_of_volumes_count_for_their_weigher(simulation: Simulation) -> None:
    volume = create_volume(context(), 1)
    simulation.settle()
    pools.forget()
    assert scheduling.facts(volume.reload()).volume_counts == {BIG: 1, 'cinderless@fast#pool': 0}


def test_options_are_those_of_cinder(monkeypatch: pytest.MonkeyPatch) -> None:
    from chalicelib import config

    monkeypatch.setenv('SCHEDULER_OPTIONS', '{"scheduler_default_weighers": ["VolumeNumberWeigher"]}')
    config.settings.cache_clear()
    pools.config.cache_clear()
    try:
        assert pools.config().scheduler_default_weighers == ('VolumeNumberWeigher',)
        assert 'SameBackendFilter' in pools.config().scheduler_default_filters
    finally:
        monkeypatch.undo()
        config.settings.cache_clear()
        pools.config.cache_clear()
