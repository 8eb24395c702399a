"""Horizon against the local cloud: ``python -m tests.horizon``."""
