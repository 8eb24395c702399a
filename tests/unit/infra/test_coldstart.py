"""What a cold start may not load. How long it takes is for the bench; what it loads is for here."""

from __future__ import annotations

import sys

import pytest

from bench import coldstart
from infra import smoke
from infra.render import ROOT

#: Only the backup engine moves data.
EXPECTED = {'backup_worker': ['zstandard', 'blake3', 'cryptography']}


@pytest.mark.parametrize('function', coldstart.STARTS)
def test_a_function_loads_what_is_heavy_only_where_it_is_used(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coldstart, 'TIMES', 1)
    _, _, heavy = coldstart.start(function, sys.executable, [str(ROOT)])
    assert heavy == EXPECTED.get(function, [])


def test_every_function_is_measured_and_smoked() -> None:
    handlers = {'api_handler' if name == 'api' else name for name in coldstart.STARTS}
    assert handlers == set(smoke.REACHES)
