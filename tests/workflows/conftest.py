"""Fixtures of tests that run several workflows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from chalicelib.clients.glance import Images
from chalicelib.clients.http import NoTokens
from chalicelib.models import Volume
from chalicelib.operations import cloud
from tests.data_backends import Data
from tests.factories import context, create_volume
from tests.fake_glance import FakeGlance, serving
from tests.simulation import Simulation


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
