"""Fixtures that tests of every kind may ask for."""

from tests.system.cloud import cloud
from tests.world import tables, world

__all__ = ['cloud', 'tables', 'world']
