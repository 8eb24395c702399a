"""What a cold start may not load. How long it takes is for the bench; what it loads is for here."""

from __future__ import annotations

import sys

import pytest

from bench import coldstart
from infra import smoke
from infra.render import ROOT

#: Only the backup engine moves data.
EXPECTED = {'backup_worker': ['zstandard', 'blake3', 'cryptography']}

#: What no function loads before an event needs it: a driver comes with its backend, EC2's client with its driver.
NOWHERE = ('chalicelib.drivers.ebs', 'chalicelib.drivers.ontap', 'chalicelib.drivers.appliance', 'chalicelib.iscsi')

#: What is not a function's business, and would cost it.
UNNEEDED = {
    'api': ('pynamodb', 'chalicelib.operations', 'chalicelib.tasks', 'chalicelib.drivers', 'chalicelib.backup'),
    'start_workflow': (
        'chalicelib.api',
        'chalicelib.models',
        'pynamodb',
        'chalicelib.operations',
        'chalicelib.drivers',
    ),
    'volume_worker': ('chalicelib.api', 'chalicelib.backup'),
    'backup_worker': ('chalicelib.api',),
    'reconcile': ('chalicelib.api', 'chalicelib.operations', 'chalicelib.clients', 'chalicelib.drivers'),
    'report_pools': ('chalicelib.api', 'chalicelib.clients', 'chalicelib.backup', 'chalicelib.operations.volumes'),
    'backup_schedules': ('chalicelib.api', 'chalicelib.operations', 'chalicelib.drivers', 'chalicelib.backup'),
}


@pytest.mark.parametrize('function', coldstart.STARTS)
def test_a_function_loads_what_is_heavy_only_where_it_is_used(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coldstart, 'TIMES', 1)
    monkeypatch.setattr(coldstart, 'HEAVY', (*coldstart.HEAVY, *NOWHERE, *UNNEEDED[function]))
    _, _, heavy = coldstart.start(function, sys.executable, [str(ROOT)])
    assert heavy == EXPECTED.get(function, [])


def test_every_function_is_measured_and_smoked() -> None:
    handlers = {'api_handler' if name == 'api' else name for name in coldstart.STARTS}
    assert handlers == set(smoke.REACHES)
