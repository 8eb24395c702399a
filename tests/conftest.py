"""Fixtures that tests of every kind may ask for."""

from tests.recording import pytest_configure, pytest_sessionfinish, pytest_unconfigure
from tests.system.cloud import cloud
from tests.world import tables, world

__all__ = ['cloud', 'pytest_configure', 'pytest_sessionfinish', 'pytest_unconfigure', 'tables', 'world']
