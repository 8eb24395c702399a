"""The cloud on one machine: the deployed template, booted in one process. ``python -m local`` or ``make run``."""
