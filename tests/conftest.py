"""Fixtures for tests of every kind."""

from tests.groups import pytest_xdist_make_scheduler
from tests.recording import pytest_configure, pytest_sessionfinish, pytest_unconfigure
from tests.run_statistics import counted, pytest_terminal_summary
from tests.seeded import repeatable
from tests.simulation import own_settings, simulation, tables, tables_of_moto, unreliable
from tests.system.cloud import cloud

__all__ = [
    'cloud',
    'counted',
    'own_settings',
    'pytest_configure',
    'pytest_sessionfinish',
    'pytest_terminal_summary',
    'pytest_unconfigure',
    'pytest_xdist_make_scheduler',
    'repeatable',
    'simulation',
    'tables',
    'tables_of_moto',
    'unreliable',
]
