"""``make emulator``: workflows with real bytes over iSCSI and on EBS, retries, dead letters, a second deploy."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.emulator.aws import REGION
from tests.emulator.service import EBS, Service, wait_for
from tests.system.clients import User, demo
from tests.system.test_data import (
    host,
    images,
    test_a_damaged_byte_in_s3_fails_the_restore,
    test_a_foreign_initiator_is_refused,
    test_an_attached_volume_grows_under_its_host,
    test_snapshots_and_clones_hold_what_was_there,
    test_written_backed_up_and_restored,
)

__all__ = [
    'demo',
    'host',
    'images',
    'test_a_damaged_byte_in_s3_fails_the_restore',
    'test_a_foreign_initiator_is_refused',
    'test_an_attached_volume_grows_under_its_host',
    'test_snapshots_and_clones_hold_what_was_there',
    'test_written_backed_up_and_restored',
]

pytestmark = pytest.mark.xdist_group('emulator')


def test_a_volume_on_ebs(cloud: Service, demo: User) -> None:
    """Create, attach to an instance of the project, extend, snapshot, clone, delete; EC2 agrees with the records."""
    ec2 = cloud.client('ec2')
    volume = demo.volume(availability_zone=EBS)
    [made] = described(ec2, volume.id)
    assert {'cinder:deployment': cloud.stack, 'cinder:project': demo.project}.items() <= tags(made).items()
    assert (made['Size'], made['VolumeType'], made['AvailabilityZone']) == (1, 'gp3', f'{REGION}a')
    instance = instance_of(ec2, demo.project)
    connector = {'instance': instance, 'host': 'compute-1', 'ip': '127.0.0.1'}
    attachment = demo.cinder.attachments.create(volume.id, connector, None, 'rw')
    demo.cinder.attachments.complete(attachment['id'])
    [made] = described(ec2, volume.id)
    assert [each['InstanceId'] for each in made['Attachments']] == [instance]
    demo.cinder.attachments.delete(attachment['id'])
    demo.wait(demo.cinder.volumes, volume.id)
    demo.cinder.volumes.extend(volume.id, 2)
    wait_for(lambda: demo.cinder.volumes.get(volume.id).size == 2)
    snapshot = demo.wait(demo.cinder.volume_snapshots, demo.cinder.volume_snapshots.create(volume.id).id)
    clone = demo.volume(2, snapshot_id=snapshot.id, availability_zone=EBS)
    assert described(ec2, clone.id)[0]['Size'] == 2
    demo.tidy()
    assert described(ec2, volume.id) == described(ec2, clone.id) == []


def described(ec2: Any, volume_id: str) -> list[Any]:
    filters = [{'Name': 'tag:cinder:name', 'Values': [f'volume-{volume_id}']}]
    found = ec2.describe_volumes(Filters=filters)['Volumes']
    return [each for each in found if each['State'] != 'deleting']


def tags(found: Any) -> dict[str, str]:
    return {tag['Key']: tag['Value'] for tag in found['Tags']}


def instance_of(ec2: Any, project: str) -> str:
    """An EC2 instance with the tag that lets the project's volumes be attached."""
    of = [{'ResourceType': 'instance', 'Tags': [{'Key': 'cinder:project', 'Value': project}]}]
    image = ec2.describe_images()['Images'][0]['ImageId']
    placed = {'AvailabilityZone': f'{REGION}a'}
    [made] = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, Placement=placed, TagSpecifications=of)[
        'Instances'
    ]
    return str(made['InstanceId'])


def test_a_backend_that_answers_again_costs_time_and_no_status(cloud: Service, demo: User) -> None:
    """The storage host is away: Provision is retried under its error's class, and the volume becomes available."""
    cloud.agent.stop()
    made = demo.cinder.volumes.create(1, name='patient')

    try:
        wait_for(lambda: cloud.errors('create_volume', made.id))
    finally:
        cloud.agent.start()
    demo.wait(demo.cinder.volumes, made.id)
    assert cloud.errors('create_volume', made.id) == {'BackendUnavailable'}


def test_a_message_that_starts_nothing_becomes_a_dead_letter(cloud: Service) -> None:
    sqs, queues = cloud.client('sqs'), cloud.ready['queues']
    work, dead = queues[f'{cloud.stack}-work'], queues[f'{cloud.stack}-work-dead']
    sqs.set_queue_attributes(QueueUrl=work, Attributes={'VisibilityTimeout': '1'})
    sqs.send_message(QueueUrl=work, MessageBody=json.dumps({'action': 'create'}))
    [letter] = wait_for(lambda: sqs.receive_message(QueueUrl=dead, WaitTimeSeconds=1).get('Messages'))
    assert json.loads(letter['Body']) == {'action': 'create'}
    sqs.delete_message(QueueUrl=dead, ReceiptHandle=letter['ReceiptHandle'])
    sqs.set_queue_attributes(QueueUrl=work, Attributes={'VisibilityTimeout': '180'})


def test_a_second_deploy_changes_nothing(cloud: Service, demo: User) -> None:
    volume = demo.volume()
    assert 'No changes to deploy' in cloud.deploy()
    assert demo.cinder.volumes.get(volume.id).status == 'available'
