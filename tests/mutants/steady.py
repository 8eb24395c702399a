"""A pytest plugin for runs of mutants: Hypothesis draws the same, and does not judge how fast a busy machine is."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile('mutants', suppress_health_check=list(HealthCheck), deadline=None, derandomize=True)
settings.load_profile('mutants')
