"""A restore drill on EBS: the scratch volume is read back through a snapshot, and nothing is left of either."""

from __future__ import annotations

import contextlib

import pytest

from chalicelib.models import Backup, Volume
from chalicelib.operations import backup_checks
from tests.data_backends import Data
from tests.ebs import Region, region, served
from tests.factories import context
from tests.simulation import Simulation
from tests.workflows.test_ebs_backups import backed_up, check, data, fill, on_ebs

__all__ = ['data', 'on_ebs', 'region', 'served']


def drilled(simulation: Simulation, backup: Backup) -> Backup:
    backup_checks.drill(context(), backup.id)
    simulation.settle()
    return backup.reload()


@pytest.mark.parametrize('spoiled', [False, True], ids=['as it was', 'changed on the way'])
def test_a_drill_on_ebs(simulation: Simulation, data: Data, region: Region, on_ebs: Volume, spoiled: bool) -> None:
    fill(region, on_ebs, seed=1)
    backup = backed_up(simulation, on_ebs)

    def around(name: str) -> contextlib.AbstractContextManager[None]:
        for one in Volume.scan() if spoiled else ():
            if one.provider_id and (one.name or '').startswith('drill-'):
                region.ebs.disk(one.provider_id).write(5 * 1024**2, b'changed')
        return contextlib.nullcontext()

    simulation.around = around
    found = drilled(simulation, backup).drill
    simulation.around = lambda _: contextlib.nullcontext()
    assert found['result'] == ('damaged' if spoiled else 'passed'), found
    assert (found.get('reason'), [one.id for one in Volume.scan()]) == (None, [on_ebs.id])
    assert region.ebs.cloud.snapshots == {}
    check(simulation, region)
