"""A seed of Hypothesis that makes the same draws in every process."""

from __future__ import annotations

import pytest
from hypothesis.internal.conjecture.providers import HypothesisProvider


@pytest.fixture
def repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed makes the same draws in every process: Hypothesis mixes in constants of the modules that are loaded."""
    monkeypatch.setattr(HypothesisProvider, '_maybe_draw_constant', lambda *_, **__: None)
