"""The double fails on demand, in AWS's ways."""

from __future__ import annotations

import pytest
from botocore.exceptions import ConnectionClosedError

from local.ebs.cloud import Cut
from tests.ebs import ZONES, Region
from tests.unit.local.ebs.conftest import Make, refused


def test_throttling(region: Region, volume: Make) -> None:
    region.ebs.throttle('DescribeVolumes', 2)
    region.ebs.throttle('StartSnapshot')
    codes = [refused(region.ec2.describe_volumes) for _ in range(2)]
    assert codes == ['RequestLimitExceeded'] * 2
    assert refused(region.direct.start_snapshot, VolumeSize=1) == 'RequestThrottledException'
    assert region.ec2.describe_volumes()['Volumes'] == []


def test_an_answer_that_gets_lost(region: Region, volume: Make) -> None:
    id = volume()
    region.ebs.lose_answer('CreateSnapshot')
    with pytest.raises(ConnectionClosedError):
        region.ec2.create_snapshot(VolumeId=id)
    region.clock.sleep(1)
    assert len(region.ec2.describe_snapshots()['Snapshots']) == 1


def test_a_request_that_gets_lost(region: Region) -> None:
    region.ebs.fail('CreateVolume', Cut())
    with pytest.raises(ConnectionClosedError):
        region.ec2.create_volume(AvailabilityZone=ZONES[0], Size=1)
    region.clock.sleep(1)
    assert region.ec2.describe_volumes()['Volumes'] == []


def test_calls_are_counted(region: Region, volume: Make) -> None:
    volume()
    region.ec2.describe_volumes()
    assert region.ebs.calls == ['CreateVolume', 'DescribeVolumes']


def test_a_parameter_that_is_none(region: Region) -> None:
    """The double reads requests by the API's model: nothing is passed over in silence."""
    from local.ebs.cloud import Refused
    from local.ebs.wire import query

    with pytest.raises(Refused, match='UnknownParameter'):
        query('CreateVolume', {'Action': 'CreateVolume', 'AvailabilityZone': 'a', 'Colour': 'red'})
    with pytest.raises(Refused, match='MissingParameter'):
        query('ModifyVolume', {'Size': '2'})
