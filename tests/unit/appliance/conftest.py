from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.appliance.agent_fixture import Rig
from tests.unit.appliance.fakes import FakeLvm


@pytest.fixture(params=['files', 'lvm'])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Rig:
    """A store that copies slowly, and one that copies at once."""
    return Rig(tmp_path, FakeLvm() if request.param == 'lvm' else None)


@pytest.fixture
def files(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


@pytest.fixture
def lvm(tmp_path: Path) -> Rig:
    return Rig(tmp_path, FakeLvm())
