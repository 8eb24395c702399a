"""In the local cloud the double answers what is EBS's, and moto the rest of EC2."""

from __future__ import annotations

import pytest

from chalicelib.drivers import ebs_client
from chalicelib.drivers.base import SnapshotRef, VolumeRef
from local import fidelity
from tests import ebs
from tests.unit.local.conftest import Clients
from tests.unit.local.ebs.conftest import refused


@pytest.fixture
def cloud(aws: Clients, monkeypatch: pytest.MonkeyPatch) -> Clients:
    monkeypatch.setattr(fidelity, '_ebs', [])
    fidelity.install_ebs()
    return aws


def test_volumes_are_ours_and_instances_are_moto_s(cloud: Clients) -> None:
    ec2 = cloud('ec2')
    image = ec2.describe_images()['Images'][0]['ImageId']
    placement = {'AvailabilityZone': 'us-east-1a'}
    instance = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, Placement=placement)['Instances'][0]
    wanted = {'AvailabilityZone': 'us-east-1b', 'Size': 1, 'ClientToken': 'once'}
    ids = {ec2.create_volume(**wanted)['VolumeId'] for _ in range(2)}
    assert len(ids) == 1
    attachment = {'VolumeId': ids.pop(), 'InstanceId': instance['InstanceId'], 'Device': '/dev/sdf'}
    assert refused(ec2.attach_volume, **attachment) == 'InvalidVolume.ZoneMismatch'


def test_tags_of_instances_are_moto_s(cloud: Clients) -> None:
    ec2 = cloud('ec2')
    image = ec2.describe_images()['Images'][0]['ImageId']
    id = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)['Instances'][0]['InstanceId']
    ec2.create_tags(Resources=[id], Tags=[{'Key': 'a', 'Value': 'b'}])
    found = ec2.describe_instances(Filters=[{'Name': 'tag:a', 'Values': ['b']}])['Reservations']
    assert found[0]['Instances'][0]['InstanceId'] == id


def test_keys_are_moto_s(cloud: Clients) -> None:
    key = cloud('kms').create_key()['KeyMetadata']['KeyId']
    ec2 = cloud('ec2')
    wanted = {'AvailabilityZone': 'us-east-1a', 'Size': 1, 'Encrypted': True}
    for name in (key, '12345678-1234-1234-1234-123456789012'):
        ec2.create_volume(**wanted, KmsKeyId=name)
    double = fidelity._ebs[0].cloud
    assert [volume.doomed for volume in double.volumes.values()] == [False, True]


def test_the_driver_works_in_it(cloud: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in ``make run``: the driver's own clients, answered quickly within this process."""
    monkeypatch.delenv('AWS_ENDPOINT_URL_EC2', raising=False)
    monkeypatch.setattr(ebs_client, '_client', lambda service, region: cloud(service))
    made = ebs.driver(zones=['us-east-1a'])
    made.check_for_setup_error()
    volume = VolumeRef('7f2b6a2e-0000-4000-8000-000000000001', 1, 'p', 'c@aws#us-east-1a')
    id = made.create_volume(volume)['provider_id']
    fidelity._ebs[0].disk(id).write(0, b'hello')
    frozen = SnapshotRef('7f2b6a2e-0000-4000-8000-000000000002', 1, volume)
    made.create_snapshot(frozen)
    with made.open_snapshot(frozen, 'path') as device:
        assert device.read(0, 512)[:5] == b'hello'
        assert list(device.allocated(0, 1024**3)) == [(0, 512 * 1024)]
    with made.open_restore(volume, 'path') as target:
        target.write(512 * 1024, b'x' * 512 * 1024)
    update = made.complete_restore(volume, 'path', lambda: [(512 * 1024, 512 * 1024)])
    assert fidelity._ebs[0].disk(update['provider_id']).written() == [1]
