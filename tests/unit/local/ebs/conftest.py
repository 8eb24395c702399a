"""A region of its own for each test, over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests import ebs
from tests.ebs import Region


@pytest.fixture(scope='module')
def served() -> Iterator[Region]:
    with ebs.serving() as region:
        yield region


@pytest.fixture
def region(served: Region) -> Region:
    served.fresh()
    return served


Make = Callable[..., str]


@pytest.fixture
def volume(region: Region) -> Make:
    """Create a volume that is available and visible."""

    def make(**parameters: Any) -> str:
        wanted = {'AvailabilityZone': ebs.ZONES[0], 'Size': 1, 'VolumeType': 'gp3', **parameters}
        made = region.ec2.create_volume(**wanted)
        region.clock.sleep(10)
        return str(made['VolumeId'])

    return make


@pytest.fixture
def snapshot(region: Region) -> Make:
    """Take a snapshot and wait until it is completed."""

    def make(volume_id: str, **parameters: Any) -> str:
        made = region.ec2.create_snapshot(VolumeId=volume_id, **parameters)
        region.clock.sleep(60)
        return str(made['SnapshotId'])

    return make


def refused(call: Callable[..., Any], **parameters: Any) -> str:
    """The error code of a call that must not succeed."""
    with pytest.raises(ClientError) as error:
        call(**parameters)
    return str(error.value.response['Error']['Code'])
