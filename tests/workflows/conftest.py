"""Fixtures of tests that run several workflows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from chalicelib.clients.glance import Images
from chalicelib.models import Volume
from chalicelib.operations import cloud
from tests import machine
from tests.data_backends import Data
from tests.factories import context, create_volume
from tests.fake_glance import FakeGlance, serving
from tests.fake_nova import NoTokens
from tests.simulation import Simulation

#: Modules whose tests run a second time with the state machines of the last release: an update leaves executions in
#: flight, which keep their definition and call the tasks of this version.
ACROSS_AN_UPDATE = frozenset(
    f'tests.workflows.test_{name}'
    for name in (
        *('create_volume', 'delete_volume', 'extend_volume', 'snapshots', 'backup_machines', 'moves', 'revert'),
        *('managing', 'images', 'groups', 'backup_checks', 'backup_copies', 'backup_records'),
    )
)

#: Tests of what only this version's state machines do.
ONLY_CURRENT = frozenset(
    {
        'test_a_backend_that_answers_again_is_not_left_out_until_its_next_report',
        'test_the_driver_fails_and_nobody_knows_how_far_it_came',
        'test_what_did_not_grow_is_as_it_was',
    }
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.module.__name__ in ACROSS_AN_UPDATE and metafunc.function.__name__ not in ONLY_CURRENT:
        metafunc.fixturenames.append('machines_of')
        metafunc.parametrize('machines_of', ['this version', 'the last release'], indirect=True)


@pytest.fixture
def machines_of(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run executions by the definitions of this version, or of the last release where it has the state machine."""
    if request.param == 'the last release':
        known, current = machine.released(), machine.definition
        monkeypatch.setattr(machine, 'definition', lambda name: known.get(name) or current(name))


@pytest.fixture
def data(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> Data:
    """Disks behind the simulation's backends."""
    return Data(simulation, monkeypatch)


@pytest.fixture
def make_volume(simulation: Simulation, data: Data) -> Callable[[int], Volume]:
    """Makes an available volume of so many GiB, with data."""

    def make(size: int) -> Volume:
        made = create_volume(context(), size)
        simulation.settle()
        data.of(made).fill(seed=1)
        return made.reload()

    return make


@pytest.fixture
def volume(make_volume: Callable[[int], Volume]) -> Volume:
    """Two shards."""
    return make_volume(5)


@pytest.fixture
def glance(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGlance]:
    with serving(FakeGlance()) as running:
        monkeypatch.setattr(cloud, 'images', lambda: Images(running.url, NoTokens()))
        yield running
    assert running.violations == []
