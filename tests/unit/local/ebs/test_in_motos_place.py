"""In the local cloud the double answers what is EBS's, and moto the rest of EC2."""

from __future__ import annotations

import pytest

from local import fidelity
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
